//! Connections that come and go. Between two processes there is at most one, and both sides keep the same.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use tnet_fileinfo::ChunkIndex;
use tnet_proto::{ByeReason, FileHandle, PeerId};

use super::link_order::Links;
use super::{Content, Swarm};
use crate::addresses::{Contact, Pause};
use crate::io::{Direction, Event, FileKey, Output, PeerKey, Violation};
use crate::time::Time;
use crate::timers::Timer;

/// A connection that shares no file is closed after this long.
pub(super) const IDLE: Duration = Duration::from_secs(30);

/// A connection on which both sides have all files in common is closed after this long.
const LINGER: Duration = Duration::from_secs(1);

/// One connection.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) id: PeerId,
    pub(super) address: Option<SocketAddr>,
    pub(super) direction: Direction,
    /// Their numbers of files that we take part in: the link of the file has this number.
    pub(super) handles: BTreeMap<FileHandle, FileKey>,
    /// Their numbers of files that we do not take part in, or no longer.
    pub(super) former: FormerHandles,
    pub(super) links: Links,
    /// Requests that ended with a close. If the file is opened again at once, under whatever numbers, one of them may
    /// look like a new one to the other side, and its answer like one to a new request to us. Oldest first; a chunk
    /// that was asked for again and abandoned again is in it twice, and may be answered twice.
    pub(super) abandoned: Vec<(Content, ChunkIndex)>,
    /// Corrupt chunks that came over this connection.
    pub(super) corrupt: u32,
    /// Requests without a final answer, over all files.
    pub(super) open: u32,
    /// Bytes received since the progress window began.
    pub(super) window_bytes: u64,
    pub(super) window_began: Time,
    /// Windows in a row without enough bytes.
    pub(super) stalls: u32,
    pub(super) is_stalled: bool,
    pub(super) received: u64,
    pub(super) sent_chunks: u64,
    /// Upload slots that it uses or that are kept for it.
    pub(super) slots: u32,
    /// Slots kept for it that it left unused, in a row.
    pub(super) unused_slots: u32,
}

/// Numbers that stand for no file here, so that what was sent before the other side knew that is no fault of its own. Only
/// the last ones are remembered; once some were forgotten, any unknown number may have been one of them.
#[derive(Debug, Default)]
pub(super) struct FormerHandles {
    last: VecDeque<FileHandle>,
    has_forgotten: bool,
}

impl FormerHandles {
    /// Numbers that are remembered. One connection may open any number of files that are not here.
    pub(super) const MOST: usize = 256;

    pub(super) fn insert(&mut self, handle: FileHandle) {
        if self.last.contains(&handle) {
            return;
        }
        if self.last.len() >= FormerHandles::MOST {
            self.last.pop_front();
            self.has_forgotten = true;
        }
        self.last.push_back(handle);
    }

    /// The number stands for a file from now on.
    pub(super) fn remove(&mut self, handle: FileHandle) {
        self.last.retain(|former| *former != handle);
    }

    /// Whether the number may have been announced.
    pub(super) fn may_contain(&self, handle: FileHandle) -> bool {
        self.has_forgotten || self.last.contains(&handle)
    }

    #[cfg(any(test, feature = "check"))]
    pub(super) fn len(&self) -> usize {
        self.last.len()
    }
}

/// Why a new connection is not kept.
enum Rejection {
    /// It leads to ourselves.
    Ourselves,
    /// It was told this not long ago, and is left alone.
    Avoided(ByeReason),
    /// This connection to the same process stays.
    Double(PeerKey),
    TooMany,
}

impl Swarm {
    pub(super) fn on_peer_connected(
        &mut self,
        now: Time,
        peer: PeerKey,
        id: PeerId,
        address: Option<SocketAddr>,
        direction: Direction,
    ) {
        if let Err(rejection) = self.admit(now, id, address, direction) {
            return self.reject(now, peer, address, direction, rejection);
        }
        if let Some(address) = address {
            // An inbound peer only claims its port: it does not take the place of somebody who is there.
            let is_taken = matches!(self.addresses.contact(address), Some(Contact::Connected(_)));
            if direction == Direction::Outbound || !is_taken {
                self.addresses.set_connected(address, peer);
            }
        }
        let state = Peer {
            id,
            address,
            direction,
            handles: BTreeMap::new(),
            former: FormerHandles::default(),
            links: Links::default(),
            abandoned: Vec::new(),
            corrupt: 0,
            open: 0,
            window_bytes: 0,
            window_began: now,
            stalls: 0,
            is_stalled: false,
            received: 0,
            sent_chunks: 0,
            slots: 0,
            unused_slots: 0,
        };
        self.peers.insert(peer, state);
        self.timers.arm(Timer::Idle(peer), now + IDLE);
        self.open_named(now, peer, address);
    }

    /// Opens the files for whose swarm the address was named and of which we want something. Of a file that we
    /// have whole it is for the other side to begin.
    fn open_named(&mut self, now: Time, peer: PeerKey, address: Option<SocketAddr>) {
        let named = address.into_iter().flat_map(|address| self.addresses.files(address));
        let wanted: Vec<FileKey> = named.filter(|file| self.incomplete.contains(file)).collect();
        for file in wanted {
            self.open_file(now, peer, file);
        }
    }

    /// Whether to keep a new connection; ends an older one that it replaces.
    fn admit(
        &mut self,
        now: Time,
        id: PeerId,
        address: Option<SocketAddr>,
        direction: Direction,
    ) -> Result<(), Rejection> {
        if id == self.own_id {
            return Err(Rejection::Ourselves);
        }
        if let Some(reason) = address.and_then(|address| self.addresses.avoided(address, now)) {
            return Err(Rejection::Avoided(reason));
        }
        // Anybody can claim an id that it has seen; from elsewhere it ends nobody's connection.
        let mut known = self.peers.iter();
        let double = known.find(|(_, known)| known.id == id && is_same_host(known.address, address));
        if let Some((&older, known)) = double {
            // Of two that crossed, both sides keep the one that the smaller id made. Of two from one side the
            // older must be dead: nobody calls where it is connected.
            let made_by_smaller = (direction == Direction::Outbound) == (self.own_id < id);
            if direction != known.direction && !made_by_smaller {
                return Err(Rejection::Double(older));
            }
            self.disconnect(now, older, ByeReason::DUPLICATE);
        }
        let most = match direction {
            Direction::Outbound => self.config.max_peers,
            // Whoever calls us in masses must not keep us from calling others.
            Direction::Inbound => self.config.max_peers - self.config.max_peers / 4,
        };
        if self.peers.len() >= most { Err(Rejection::TooMany) } else { Ok(()) }
    }

    fn reject(
        &mut self,
        now: Time,
        peer: PeerKey,
        address: Option<SocketAddr>,
        direction: Direction,
        rejection: Rejection,
    ) {
        let reason = match rejection {
            Rejection::Ourselves | Rejection::Double(_) => ByeReason::DUPLICATE,
            Rejection::Avoided(reason) => reason,
            Rejection::TooMany => ByeReason::TOO_MANY,
        };
        self.output(Output::Disconnect { peer, reason });
        let Some(address) = address else { return };
        match rejection {
            Rejection::Ourselves if direction == Direction::Outbound => {
                self.addresses.avoid(address, now + self.config.ban, reason);
            }
            // They may have been called for a file that the connection we keep knows nothing of.
            Rejection::Double(older) => self.open_named(now, older, Some(address)),
            Rejection::Ourselves | Rejection::Avoided(_) | Rejection::TooMany => {}
        }
        let pause = self.reconnect_pause();
        self.addresses.set_failed(address, now, pause);
    }

    pub(super) fn on_peer_lost(&mut self, now: Time, peer: PeerKey) {
        let Some(state) = self.peers.get(&peer) else { return };
        let links: Vec<FileKey> = state.links.iter().collect();
        let address = state.address;
        for file in &links {
            self.drop_link(now, peer, *file);
        }
        self.forget_uploads_to(peer);
        self.peers.remove(&peer);
        self.timers.disarm_peer(peer);
        if let Some(address) = address {
            let pause = self.reconnect_pause();
            self.addresses.set_lost(address, peer, now, pause);
        }
        for file in links {
            self.ask_sooner_if_alone(now, file);
            self.connect_more(now, file);
        }
        self.grant_slots(now);
        self.fill_downloads(now);
    }

    pub(super) fn on_connect_failed(&mut self, now: Time, address: SocketAddr) {
        let pause = self.reconnect_pause();
        self.addresses.set_failed(address, now, pause);
        let files: Vec<FileKey> = self.addresses.files(address).collect();
        for file in files {
            self.connect_more(now, file);
        }
    }

    fn reconnect_pause(&mut self) -> Pause {
        Pause { first: self.jitter(self.config.reconnect_after), most: self.config.reconnect_at_most }
    }

    /// Ends the connection of a peer that broke the protocol.
    pub(super) fn cut(&mut self, now: Time, peer: PeerKey, violation: Violation) {
        let address = self.peers.get(&peer).and_then(|peer| peer.address);
        self.output(Output::Event(Event::Cut { address, violation }));
        self.avoid(peer, address, now + self.config.cut, ByeReason::VIOLATION);
        self.disconnect(now, peer, ByeReason::VIOLATION);
    }

    /// Ends the connection, if there still is one, of a peer that sent too many corrupt chunks.
    pub(super) fn ban(&mut self, now: Time, peer: PeerKey, address: Option<SocketAddr>) {
        self.output(Output::Event(Event::Banned { address }));
        self.avoid(peer, address, now + self.config.ban, ByeReason::BANNED);
        if self.peers.contains_key(&peer) {
            self.disconnect(now, peer, ByeReason::BANNED);
        }
    }

    /// Does not talk to the peer's address, unless somebody else is connected there: peers only claim their ports.
    fn avoid(&mut self, peer: PeerKey, address: Option<SocketAddr>, until: Time, reason: ByeReason) {
        let Some(address) = address else { return };
        match self.addresses.contact(address) {
            Some(Contact::Connected(other)) if other != peer => {}
            _ => self.addresses.avoid(address, until, reason),
        }
    }

    pub(super) fn disconnect(&mut self, now: Time, peer: PeerKey, reason: ByeReason) {
        self.output(Output::Disconnect { peer, reason });
        self.on_peer_lost(now, peer);
    }

    /// Lets go of a connection on which neither side can want anything, if that stays so for a moment: the other
    /// side's open of one more file may be on its way.
    pub(super) fn let_go_if_useless(&mut self, now: Time, peer: PeerKey) {
        if self.is_useless(peer) {
            self.timers.arm(Timer::Idle(peer), now + LINGER);
        }
    }

    pub(super) fn on_idle(&mut self, now: Time, peer: PeerKey) {
        if !self.is_useless(peer) {
            return;
        }
        if self.uploads.is_serving(peer) {
            self.timers.arm(Timer::Idle(peer), now + LINGER);
        } else {
            self.disconnect(now, peer, ByeReason::IDLE);
        }
    }

    /// Whether all files in common, if any, are complete on the other side, and here or not wanted here.
    fn is_useless(&self, peer: PeerKey) -> bool {
        self.peers.get(&peer).is_some_and(|connection| connection.links.unfinished().is_empty())
    }
}

/// Whether two connections can lead to one process.
fn is_same_host(a: Option<SocketAddr>, b: Option<SocketAddr>) -> bool {
    let host = |address: SocketAddr| address.ip().to_canonical();
    a.map(host) == b.map(host)
}

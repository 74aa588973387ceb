//! Connections that begin and end. Between two honest processes one is kept, and both sides keep
//! the same one. The id and port that the other side declares are no proof: they end no connection
//! that is alive.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tnet_fileinfo::ChunkIndex;
use tnet_proto::{ByeReason, FileHandle, PeerId, Vicinity, unmapped};

use super::Swarm;
use super::link_order::Links;
use crate::Time;
use crate::io::{Direction, Event, Output, Violation};
use crate::timers::Timer;
use crate::{FileKey, PeerKey};
use tnet_sources::{Contact, Pause};

/// A connection that shares no file is closed after this long.
pub(super) const IDLE: Duration = Duration::from_secs(30);

/// A connection on which both sides have all files in common is closed after this long.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// One connection.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) id: PeerId,
    /// Where the connection comes from or leads to, as the socket says.
    pub(super) source: IpAddr,
    /// What we have in common: which addresses mean the same to it.
    pub(super) vicinity: Vicinity,
    /// Where it accepts peers. If it called us, it says so.
    pub(super) address: Option<SocketAddr>,
    pub(super) direction: Direction,
    /// When something came from it last, or when we began to read again.
    pub(super) heard: Time,
    /// We do not read what it sends for now.
    pub(super) is_unread: bool,
    /// When it was asked for a sign of life that is still waited for.
    pub(super) probed: Option<Time>,
    /// Their numbers of files that we take part in: the link of the file has this number.
    pub(super) handles: BTreeMap<FileHandle, FileKey>,
    /// Their numbers of files that we do not take part in, or no longer.
    pub(super) former: FormerHandles,
    pub(super) links: Links,
    /// What they hold, and when one more is looked at again after there was no room for it.
    pub(super) link_bytes: u64,
    pub(super) no_link_before: Time,
    /// When it last sent a chunk that verified, or took one.
    pub(super) useful_at: Option<Time>,
    /// Corrupt chunks that came over this connection.
    pub(super) corrupt: u32,
    /// It sent a chunk that verified, and after that nothing that did not.
    pub(super) is_proven: bool,
    /// What it was asked for takes long. Another one would be asked first.
    pub(super) is_late: bool,
    /// It sent a whole chunk since the progress window began.
    pub(super) has_delivered: bool,
    /// Bytes received since the progress window began.
    pub(super) window_bytes: u64,
    /// Bytes received since its last whole chunk.
    pub(super) in_chunk: u64,
    pub(super) window_began: Time,
    pub(super) window_ends: Time,
    /// When its last chunk arrived that verified.
    pub(super) verified_at: Time,
    /// Windows in a row without enough bytes.
    pub(super) stalls: u32,
    pub(super) is_stalled: bool,
    pub(super) received: u64,
    pub(super) sent_chunks: u64,
    /// Chunks sent to it, the oldest first.
    pub(super) sent_last: VecDeque<(FileKey, ChunkIndex)>,
    /// It says which chunk was corrupt.
    pub(super) names_corrupt: bool,
    /// Chunks of a file that it took. A file in which it took none is not here.
    pub(super) taken: BTreeMap<FileKey, Taken>,
    /// Upload slots that it uses or that are kept for it: what `Uploads` knows, but each offer
    /// looks at those of many peers, and a search for each of them costs half as much again.
    pub(super) slots: u32,
    /// Slots kept for it that it left unused, in a row.
    pub(super) unused_slots: u32,
}

/// What became of the chunks of a file that a connection took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Taken {
    /// It has not announced so many.
    pub(super) unannounced: u32,
    /// It has announced so many since it took the first one.
    pub(super) announced: u32,
}

/// Numbers that stand for no file here, so that what was sent before the other side knew that is no
/// fault of its own. Only the last ones are remembered; once some were forgotten, any unknown
/// number may have been one of them.
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

/// A connection that has said hello.
#[derive(Debug, Clone, Copy)]
pub(super) struct Newcomer {
    pub(super) peer: PeerKey,
    pub(super) id: PeerId,
    pub(super) source: IpAddr,
    /// Our own end of it.
    pub(super) local: Option<SocketAddr>,
    pub(super) address: Option<SocketAddr>,
    pub(super) direction: Direction,
}

impl Newcomer {
    /// Whether the connections can lead to the same process.
    fn may_be(&self, known: &Peer) -> bool {
        known.id == self.id && known.source == self.source
    }

    /// Whether of two connections to what may be one process, we made one, and the other's caller
    /// accepts peers where we called. The one that we made then leads to the peer that is there.
    fn crossed(&self, known: &Peer) -> bool {
        self.direction != known.direction && self.address.is_some() && self.address == known.address
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

impl<B> Swarm<B> {
    pub(super) fn on_peer_connected(&mut self, now: Time, newcomer: Newcomer) {
        let address = newcomer.address.map(unmapped);
        let newcomer = Newcomer { source: newcomer.source.to_canonical(), address, ..newcomer };
        let Newcomer { peer, id, source, local, address, direction } = newcomer;
        if let Some(local) = local {
            self.note_own(local.ip());
        }
        if let Err(rejection) = self.admit(now, newcomer) {
            return self.reject(now, peer, address, direction, rejection);
        }
        if direction == Direction::Inbound {
            self.caller_admission.enter(now, peer, source);
        }
        match (direction, address) {
            (Direction::Outbound, Some(address)) => self.note_reached(address, peer),
            (Direction::Inbound, Some(address)) => self.addresses.declare(address, peer, now),
            (_, None) => {}
        }
        let state = Peer {
            id,
            source,
            vicinity: self.vicinity(source, local, address),
            address,
            direction,
            heard: now,
            is_unread: false,
            probed: None,
            handles: BTreeMap::new(),
            former: FormerHandles::default(),
            links: Links::default(),
            link_bytes: 0,
            no_link_before: Time::ZERO,
            useful_at: None,
            corrupt: 0,
            is_proven: false,
            is_late: false,
            has_delivered: false,
            window_bytes: 0,
            in_chunk: 0,
            window_began: now,
            window_ends: now,
            verified_at: Time::ZERO,
            stalls: 0,
            is_stalled: false,
            received: 0,
            sent_chunks: 0,
            sent_last: VecDeque::new(),
            names_corrupt: false,
            taken: BTreeMap::new(),
            slots: 0,
            unused_slots: 0,
        };
        self.peers.insert(peer, state);
        self.sources.connected(source);
        self.timers.arm(Timer::Idle(peer), now + IDLE);
        self.open_named(now, peer, address);
    }

    /// The peer is at this address: we called there.
    fn note_reached(&mut self, address: SocketAddr, peer: PeerKey) {
        if let Some(namer) = self.addresses.set_reached(address, peer) {
            self.sources.named_well(namer, address.ip());
        }
    }

    /// Opens the files for whose swarm the address was named and of which we want something. Of a
    /// file that we have whole it is for the other side to begin.
    fn open_named(&mut self, now: Time, peer: PeerKey, address: Option<SocketAddr>) {
        let named = address.into_iter().flat_map(|address| self.addresses.files(address));
        let wanted: Vec<FileKey> = named.filter(|file| self.files.is_incomplete(*file)).collect();
        for file in wanted {
            self.open_file(now, peer, file);
            // Others of its host may have waited for this one.
            self.connect_more(now, file);
        }
    }

    /// Whether to keep a new connection; ends one that it replaces.
    fn admit(&mut self, now: Time, newcomer: Newcomer) -> Result<(), Rejection> {
        if newcomer.id == self.own_id {
            return Err(Rejection::Ourselves);
        }
        if let Some(reason) =
            newcomer.address.and_then(|address| self.addresses.avoided(address, now))
        {
            return Err(Rejection::Avoided(reason));
        }
        self.settle_doubles(now, newcomer)?;
        self.make_place(now, newcomer)
    }

    /// Of two connections that crossed, the one that the smaller id made stays, and that side ends
    /// the other one: it has reached the address, and a peer that calls with that id and port is
    /// there too, or lies. The other side cannot know, and keeps both until then. Two that did not
    /// cross may be of two processes, and both stay. In any case the older one is asked for a sign
    /// of life: a process that calls again has no other connection.
    fn settle_doubles(&mut self, now: Time, newcomer: Newcomer) -> Result<(), Rejection> {
        let doubles = self.peers.iter().filter(|(_, known)| newcomer.may_be(known));
        let doubles: Vec<(PeerKey, bool)> =
            doubles.map(|(peer, known)| (*peer, newcomer.crossed(known))).collect();
        let is_ours_to_end = self.own_id < newcomer.id;
        for (older, crossed) in doubles {
            match newcomer.direction {
                Direction::Outbound if crossed && is_ours_to_end => {
                    self.disconnect(now, older, ByeReason::DUPLICATE);
                }
                Direction::Inbound if crossed && is_ours_to_end => {
                    self.probe_older(now, older);
                    return Err(Rejection::Double(older));
                }
                _ => self.probe_older(now, older),
            }
        }
        Ok(())
    }

    /// A place for one more connection, if need be that of a caller that is of less use.
    fn make_place(&mut self, now: Time, newcomer: Newcomer) -> Result<(), Rejection> {
        let is_caller = newcomer.direction == Direction::Inbound;
        let is_full = self.peers.len() >= self.config.max_peers
            || is_caller && self.caller_admission.len() >= self.config.max_callers();
        if !is_full {
            return Ok(());
        }
        let (peers, requests) = (&self.peers, &self.requests);
        let is_in_use = |peer: PeerKey| {
            let is_receiving = |known: &Peer| known.in_chunk > 0 && requests.has_open_at(peer);
            peers.get(&peer).is_some_and(|known| known.slots > 0 || is_receiving(known))
        };
        let leaving = is_caller
            .then(|| self.caller_admission.makes_room_for(now, newcomer.source, is_in_use))
            .flatten();
        let leaving = leaving.ok_or(Rejection::TooMany)?;
        self.disconnect(now, leaving, ByeReason::TOO_MANY);
        Ok(())
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
        // What a caller says of itself is no word about our own call there.
        if direction == Direction::Outbound {
            let pause = self.reconnect_pause();
            self.addresses.set_failed(address, now, pause);
        }
    }

    pub(super) fn on_peer_lost(&mut self, now: Time, peer: PeerKey) {
        self.note_leaving(now, peer);
        self.forget_peer(now, peer);
    }

    fn forget_peer(&mut self, now: Time, peer: PeerKey) {
        let Some(state) = self.peers.get(&peer) else { return };
        let links: Vec<FileKey> = state.links.iter().collect();
        let address = state.address;
        for file in &links {
            self.drop_link(now, peer, *file);
        }
        self.note_offered_in_vain(now, peer);
        self.forget_uploads_to(peer);
        self.note_free_rides(now, peer);
        self.forget_trust(now, peer);
        self.peers.remove(&peer);
        self.requests.forget_peer(peer);
        self.caller_admission.leave(peer);
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
        self.addresses.note_not_full(address);
        let files: Vec<FileKey> = self.addresses.files(address).collect();
        if let Some(namer) = self.addresses.set_failed(address, now, pause)
            && self.sources.named_falsely(now, namer)
        {
            let sources = &self.sources;
            self.addresses.forget_hearsay(|namer| !sources.may_name(now, namer));
        }
        for file in files {
            self.connect_more(now, file);
        }
    }

    /// It is called later, and nothing is held against it or the source that named it.
    pub(super) fn on_not_called(&mut self, now: Time, address: SocketAddr) {
        let pause = self.reconnect_pause();
        let files: Vec<FileKey> = self.addresses.files(address).collect();
        self.addresses.set_not_called(address, now + pause.first);
        for file in files {
            self.connect_more(now, file);
        }
    }

    /// The other side ends the connection.
    pub(super) fn on_bye(&mut self, now: Time, peer: PeerKey, reason: ByeReason) {
        if reason == ByeReason::BANNED {
            self.on_banned(peer);
        }
        if let Some(address) = self.reached_at(peer).filter(|_| reason == ByeReason::TOO_MANY) {
            self.addresses.note_full(address);
        }
        let other = (reason == ByeReason::DUPLICATE).then(|| self.crossing(peer)).flatten();
        if other.is_none() {
            self.note_leaving(now, peer);
        }
        self.disconnect(now, peer, ByeReason::IDLE);
        if let Some((address, other)) = other {
            // A peer that is there says so.
            self.note_reached(address, other);
        }
    }

    /// The address that we called over this connection, and the connection by which the peer there
    /// has called us.
    fn crossing(&self, peer: PeerKey) -> Option<(SocketAddr, PeerKey)> {
        let ours = self.peers.get(&peer).filter(|peer| peer.direction == Direction::Outbound)?;
        let address = ours.address?;
        let is_other = |known: &Peer| {
            known.direction == Direction::Inbound
                && known.id == ours.id
                && known.address == Some(address)
        };
        let (other, _) = self.peers.iter().find(|(_, known)| is_other(known))?;
        Some((address, *other))
    }

    /// Where the peer accepts peers, if we know that by more than its word.
    pub(super) fn reached_at(&self, peer: PeerKey) -> Option<SocketAddr> {
        let address = self.peers.get(&peer)?.address?;
        (self.addresses.contact(address) == Some(Contact::Connected(peer))).then_some(address)
    }

    fn reconnect_pause(&mut self) -> Pause {
        Pause {
            first: self.jitter(self.config.reconnect_after),
            most: self.config.reconnect_at_most,
        }
    }

    /// Ends the connection of a peer that broke the protocol.
    pub(super) fn cut(&mut self, now: Time, peer: PeerKey, violation: Violation) {
        let address = self.peers.get(&peer).and_then(|peer| peer.address);
        self.output(Output::Event(Event::Cut { address, violation }));
        self.avoid(peer, address, now + self.config.violation_ban, ByeReason::VIOLATION);
        self.note_leaving(now, peer);
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

    /// Does not talk to the peer's address, unless another peer is connected there: peers only
    /// claim their ports.
    fn avoid(
        &mut self,
        peer: PeerKey,
        address: Option<SocketAddr>,
        until: Time,
        reason: ByeReason,
    ) {
        if let Some(address) = address.filter(|address| !self.is_of_another(*address, peer)) {
            self.addresses.avoid(address, until, reason);
        }
    }

    /// Whether another peer is connected that accepts peers where this one says it does.
    pub(super) fn is_of_another(&self, address: SocketAddr, peer: PeerKey) -> bool {
        self.peers.iter().any(|(other, known)| *other != peer && known.address == Some(address))
    }

    pub(super) fn disconnect(&mut self, now: Time, peer: PeerKey, reason: ByeReason) {
        self.output(Output::Disconnect { peer, reason });
        self.forget_peer(now, peer);
    }

    /// Lets go of a connection on which neither side can want anything, if that stays so for a
    /// moment: the other side's open of one more file may be on its way.
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

    /// Whether all files in common, if any, are complete on the other side, and here or not wanted
    /// here.
    fn is_useless(&self, peer: PeerKey) -> bool {
        self.peers.get(&peer).is_some_and(|connection| connection.links.unfinished().is_empty())
    }
}

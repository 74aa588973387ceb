//! Which peer takes part in which file's swarm, and what it holds there.
//!
//! A link begins when either side opens the file to the other and ends when either closes it. A
//! number of theirs stands for a file of ours exactly while their open of it counts. Of a file that
//! both sides have whole neither wants anything: its link is closed after a while, by whichever
//! side comes to it first. A side that wants the file later opens it again.

use std::time::Duration;

use tnet_fileinfo::{ChunkIndex, ChunkSet};
use tnet_proto::{ByeReason, FileHandle, Holdings, Open, PeerMessage};

use super::connections::{IDLE, Peer};
use super::link_memory::MAX_CANDIDATES;
use super::{Swarm, connections};
use crate::Time;
use crate::file::{Content, File};
use crate::io::Violation;
use crate::link::{LINK_BYTES, Link, PeerHas};
use crate::suggest::SuggestOnce;
use crate::timers::Timer;
use crate::{FileKey, PeerKey};

/// A link that neither side wants anything of is closed after this long. Longer than a connection
/// lingers of which that is true of all links: it ends with one goodbye.
const LINGER: Duration = Duration::from_secs(2);
const _: () = assert!(LINGER.as_millis() > connections::LINGER.as_millis());

impl<B> Swarm<B> {
    /// Tells the peer that we take part in the file's swarm, once. False: there is no room for one
    /// more file on its connection.
    pub(super) fn open_file(&mut self, now: Time, peer: PeerKey, file: FileKey) -> bool {
        let is_linked = |state: &File| state.links.contains_key(&peer);
        if self.files.get(file).is_none_or(is_linked) || !self.peers.contains_key(&peer) {
            return true;
        }
        if !self.make_room(now, peer) {
            return false;
        }
        let state = self.files.get_mut(file).expect("looked up above");
        let connection = self.peers.get_mut(&peer).expect("looked up above");
        connection.links.insert(file);
        state.links.insert(peer, Box::new(Link::new(&state.geometry, connection.trust())));
        let open = state.open_message();
        self.count_link(peer, file);
        self.timers.disarm(Timer::Idle(peer));
        self.timers.arm(Timer::Unanswered(peer, file), now + self.config.open_timeout);
        self.send(peer, PeerMessage::Open(open));
        true
    }

    /// Closes the least useful link of a connection that has as many as it may. Links of files that
    /// we want are never closed for others, nor those over which a chunk is being sent.
    fn make_room(&mut self, now: Time, peer: PeerKey) -> bool {
        let links = &self.peers[&peer].links;
        if links.len() < self.config.max_links_per_peer {
            return true;
        }
        let is_idle = |file: &FileKey| {
            !self.files.is_incomplete(*file) && !self.uploads.is_sending(peer, *file)
        };
        let Some(least) = links.by_use().take(MAX_CANDIDATES).find(is_idle) else { return false };
        self.close(now, peer, least);
        true
    }

    /// Leaves the file's swarm on this connection.
    pub(super) fn close(&mut self, now: Time, peer: PeerKey, file: FileKey) {
        self.send(peer, PeerMessage::Close { file: file.handle() });
        self.drop_link(now, peer, file);
    }

    /// What one of the two sides has of the file has changed.
    pub(super) fn weigh(&mut self, now: Time, peer: PeerKey, file: FileKey) {
        let Some(link) = self.files.link(file, peer) else {
            return;
        };
        let is_unfinished = self.files.is_incomplete(file) || !link.held.is_full();
        let connection = self.peers.get_mut(&peer).expect("a linked peer is connected");
        if !connection.links.set_unfinished(file, is_unfinished) {
            return;
        }
        if is_unfinished {
            self.timers.disarm(Timer::Finished(peer, file));
        } else {
            self.timers.arm(Timer::Finished(peer, file), now + LINGER);
        }
    }

    /// We have more of the file, or less, or want it, or not.
    pub(super) fn weigh_links(&mut self, now: Time, file: FileKey) {
        let peers = self.files.peers(file);
        for peer in peers {
            self.weigh(now, peer, file);
        }
    }

    /// Neither side has wanted anything of the file for a while.
    pub(super) fn on_finished(&mut self, now: Time, peer: PeerKey, file: FileKey) {
        if self.uploads.is_sending(peer, file) {
            return self.timers.arm(Timer::Finished(peer, file), now + LINGER);
        }
        self.close(now, peer, file);
        self.let_go_if_useless(now, peer);
    }

    /// The peer did not say what it holds: its place is for one that does.
    pub(super) fn on_unanswered(&mut self, now: Time, peer: PeerKey, file: FileKey) {
        if self.is_our_fault(peer) {
            return self.timers.arm(Timer::Unanswered(peer, file), now + self.config.open_timeout);
        }
        if self.peers.get(&peer).is_some_and(|peer| now - peer.heard >= self.config.open_timeout) {
            // Nor did anything else come. A new connection may do better.
            self.tell_silent(peer);
            return self.disconnect(now, peer, ByeReason::IDLE);
        }
        self.send(peer, PeerMessage::Close { file: file.handle() });
        self.leave(now, peer, file);
    }

    /// Undoes their open, and remembers their number for a while: what they have sent under it is
    /// no fault.
    fn turn_down(&mut self, peer: PeerKey, handle: FileHandle) {
        self.send(peer, PeerMessage::NotFound { file: handle });
        if let Some(connection) = self.peers.get_mut(&peer) {
            connection.former.insert(handle);
        }
    }

    pub(super) fn on_open(&mut self, now: Time, peer: PeerKey, open: &Open) {
        let content = Content { hash: open.hash, size: open.size, chunk_size: open.chunk_size };
        let known = self.files.with_content(&content);
        let numbered =
            self.peers.get(&peer).and_then(|connection| connection.handles.get(&open.file));
        if numbered.is_some() && numbered != known.as_ref() {
            return self.cut(now, peer, Violation::HandleReused(open.file));
        }
        let Some(file) = known else { return self.turn_down(peer, open.file) };
        let state = &self.files[&file];
        let held = match &open.holdings {
            Holdings::Full => PeerHas::Full,
            Holdings::Bitmap(bytes) => match ChunkSet::from_bytes(&state.geometry, bytes) {
                Ok(chunks) if chunks.is_full() => PeerHas::Full,
                Ok(chunks) => PeerHas::Part(chunks),
                Err(_) => return self.cut(now, peer, Violation::BadBitmap),
            },
        };
        // Under another number they have begun anew: they left the swarm meanwhile, and we had not
        // opened the file to them by then, so that there was nothing to close.
        let link = self.files.link(file, peer);
        if link.is_some_and(|link| link.handle.is_some_and(|known| known != open.file)) {
            self.drop_link(now, peer, file);
        }
        let link = self.files.link(file, peer);
        let more = (LINK_BYTES + held.bytes()).saturating_sub(link.map_or(0, |link| link.counted));
        if !self.make_link_memory(now, peer, more) || !self.open_file(now, peer, file) {
            if self.files.link(file, peer).is_some() {
                self.close(now, peer, file);
            }
            return self.turn_down(peer, open.file);
        }
        self.timers.disarm(Timer::Unanswered(peer, file));
        let state = self.files.get_mut(file).expect("found above");
        let announced = state.replace_held(peer, held);
        let link = state.links.get_mut(&peer).expect("open_file made it");
        let is_first = link.handle.replace(open.file).is_none();
        self.count_link(peer, file);
        self.note_announced(peer, file, announced);
        let connection = self.peers.get_mut(&peer).expect("only connected peers are dispatched");
        connection.former.remove(open.file);
        connection.handles.insert(open.file, file);
        connection.links.note_use(file);
        self.note_spread(peer, file);
        if is_first {
            let reached = self.reached_at(peer);
            if let Some(address) = reached {
                self.addresses.note_not_full(address);
            }
            self.exchange_peers(now, peer, file);
            // An inbound peer's address is worth as much as one that another peer names.
            if let Some(Peer { source, address: Some(address), .. }) = self.peers.get(&peer)
                && self.files.is_incomplete(file)
                && (reached.is_some() || self.sources.may_name(now, *source))
            {
                self.addresses.learn_from(*source, *address, file, now);
            }
        }
        self.weigh(now, peer, file);
        self.let_go_if_useless(now, peer);
        self.fill_downloads(now);
    }

    pub(super) fn on_not_found(&mut self, now: Time, peer: PeerKey, file: FileKey) {
        self.leave(now, peer, file);
    }

    pub(super) fn on_close(&mut self, now: Time, peer: PeerKey, handle: FileHandle) {
        match self.file_of(peer, handle) {
            Err(violation) => self.cut(now, peer, violation),
            Ok(None) => {}
            Ok(Some(file)) => self.leave(now, peer, file),
        }
    }

    /// The peer does not take part in the file's swarm.
    fn leave(&mut self, now: Time, peer: PeerKey, file: FileKey) {
        self.drop_link(now, peer, file);
        if let Some(address) = self.peers.get(&peer).and_then(|peer| peer.address) {
            self.addresses.unlearn(address, file);
        }
        self.ask_sooner_if_alone(now, file);
        self.connect_more(now, file);
        self.grant_slots(now);
        self.fill_downloads(now);
    }

    /// Removes a peer from a file's swarm; what it owed us is missing again.
    pub(super) fn drop_link(&mut self, now: Time, peer: PeerKey, file: FileKey) {
        self.abandon_all(peer, file);
        let Some(link) = self.files.get_mut(file).and_then(|state| state.remove_link(peer)) else {
            return;
        };
        self.timers.disarm_link(peer, file);
        self.change_link_bytes(peer, link.counted, 0);
        let connection = self.peers.get_mut(&peer).expect("a linked peer is connected");
        if let Some(handle) = link.handle {
            connection.handles.remove(&handle);
            connection.former.insert(handle);
        }
        connection.links.remove(file);
        if connection.links.is_empty() {
            self.timers.arm(Timer::Idle(peer), now + IDLE);
        }
        self.leave_queue(peer, file);
        self.note_loss(file, &link);
    }

    pub(super) fn on_have(&mut self, now: Time, peer: PeerKey, handle: FileHandle, chunks: &[u32]) {
        let file = match self.file_of(peer, handle) {
            Err(violation) => return self.cut(now, peer, violation),
            Ok(None) => return,
            Ok(Some(file)) => file,
        };
        let state = self.files.get_mut(file).expect("a number stands for a file that is there");
        let mut announced = 0;
        for index in chunks {
            let Some(chunk) = state.geometry.chunk(*index) else {
                return self.cut(now, peer, Violation::ChunkOutOfRange(*index));
            };
            announced += usize::from(state.add_held(peer, chunk));
            if let Some(suggest) = &mut state.suggest {
                suggest.mark(chunk);
            }
        }
        self.note_announced(peer, file, announced);
        self.fill_downloads(now);
    }

    /// The peer says that it has chunks that it took from us.
    fn note_announced(&mut self, peer: PeerKey, file: FileKey, chunks: usize) {
        if let Some(taken) = self.peers.get_mut(&peer).and_then(|peer| peer.taken.get_mut(&file)) {
            let chunks = u32::try_from(chunks).unwrap_or(u32::MAX);
            taken.announced = taken.announced.saturating_add(chunks);
            taken.unannounced = taken.unannounced.saturating_sub(chunks);
        }
    }

    /// What a partial holder has is out in the swarm: a full seed need not bring it there.
    fn note_spread(&mut self, peer: PeerKey, file: FileKey) {
        let state = self.files.get_mut(file).expect("called with a known file");
        if state.download.is_some() {
            return;
        }
        let Some(PeerHas::Part(chunks)) = state.links.get(&peer).map(|link| &link.held) else {
            return;
        };
        let fresh = || SuggestOnce::fresh(&state.geometry, &mut self.rng);
        let suggest = state.suggest.get_or_insert_with(fresh);
        chunks.iter().for_each(|chunk| suggest.mark(chunk));
    }

    /// A partial holder is gone: what only it had is to be given away again. A full one is mostly
    /// let go because it needs nothing, and is still there for the others.
    fn note_loss(&mut self, file: FileKey, lost: &Link) {
        let PeerHas::Part(held) = &lost.held else { return };
        if held.is_empty() && lost.given.is_empty() {
            return;
        }
        let Some(state) = self.files.get_mut(file) else { return };
        let Some(suggest) = &mut state.suggest else { return };
        let mut elsewhere = ChunkSet::empty(&state.geometry);
        for link in state.links.values() {
            if let PeerHas::Part(chunks) = &link.held {
                elsewhere.union_with(chunks);
            }
            link.given.iter().for_each(|chunk| {
                elsewhere.insert(*chunk);
            });
        }
        self.uploads.promised(file).for_each(|chunk| {
            elsewhere.insert(chunk);
        });
        let gone: Vec<ChunkIndex> = held.iter().chain(lost.given.iter().copied()).collect();
        gone.into_iter()
            .filter(|chunk| !elsewhere.contains(*chunk))
            .for_each(|chunk| suggest.restore(chunk));
    }
}

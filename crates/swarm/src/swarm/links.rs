//! Which peer takes part in which file's swarm, and what it holds there.
//!
//! A link begins when either side opens the file to the other and ends when either closes it. A number of theirs
//! stands for a file of ours exactly while their open of it counts.

use tnet_fileinfo::{ChunkIndex, ChunkSet};
use tnet_proto::{FileHandle, Holdings, Open, PeerMessage};

use super::connections::{IDLE, Peer};
use super::{Content, Swarm};
use crate::io::{FileKey, PeerKey, Violation};
use crate::link::{Held, Link};
use crate::suggest::SuggestOnce;
use crate::time::Time;
use crate::timers::Timer;

impl Swarm {
    /// Tells the peer that we take part in the file's swarm, once.
    pub(super) fn open_file(&mut self, now: Time, peer: PeerKey, file: FileKey) {
        let Some(state) = self.files.get_mut(&file) else { return };
        if state.links.contains_key(&peer) {
            return;
        }
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        connection.links.insert(file);
        state.links.insert(peer, Link::new(&state.geometry, connection.trust()));
        let open = state.open_message(file);
        self.timers.disarm(Timer::Idle(peer));
        self.timers.arm(Timer::Unanswered(peer, file), now + self.config.open_patience);
        self.send(peer, PeerMessage::Open(open));
    }

    /// The peer did not say what it holds: its place is for somebody who does.
    pub(super) fn on_unanswered(&mut self, now: Time, peer: PeerKey, file: FileKey) {
        self.send(peer, PeerMessage::Close { file: file.handle() });
        self.leave(now, peer, file);
    }

    pub(super) fn on_open(&mut self, now: Time, peer: PeerKey, open: &Open) {
        let content = Content { hash: open.hash, size: open.size, chunk_size: open.chunk_size };
        let Some(&file) = self.by_content.get(&content) else {
            self.send(peer, PeerMessage::NotFound { file: open.file });
            if let Err(violation) = self.learn_handle(peer, open.file, None) {
                self.cut(now, peer, violation);
            }
            return;
        };
        let state = &self.files[&file];
        let held = match &open.holdings {
            Holdings::Full => Held::Full,
            Holdings::Bitmap(bytes) => match ChunkSet::from_bytes(&state.geometry, bytes) {
                Ok(chunks) if chunks.is_full() => Held::Full,
                Ok(chunks) => Held::Part(chunks),
                Err(_) => return self.cut(now, peer, Violation::BadBitmap),
            },
        };
        // Under another number they have begun anew: they left the swarm meanwhile, and we had not opened the file
        // to them by then, so that there was nothing to close.
        let link = self.files[&file].links.get(&peer);
        if link.is_some_and(|link| link.handle.is_some_and(|known| known != open.file)) {
            self.drop_link(now, peer, file);
        }
        if let Err(violation) = self.learn_handle(peer, open.file, Some(file)) {
            return self.cut(now, peer, violation);
        }
        self.open_file(now, peer, file);
        self.timers.disarm(Timer::Unanswered(peer, file));
        let state = self.files.get_mut(&file).expect("found above");
        let announced = state.replace_held(peer, held);
        let link = state.links.get_mut(&peer).expect("open_file made it");
        let is_first = link.handle.replace(open.file).is_none();
        self.note_announced(peer, file, announced);
        self.note_spread(peer, file);
        if is_first {
            if let Some(address) = self.reached_at(peer) {
                self.addresses.note_not_full(address);
            }
            self.exchange_peers(peer, file);
            // An inbound peer's address is worth as much as one that another peer names.
            if let Some(Peer { source, address: Some(address), .. }) = self.peers.get(&peer) {
                self.addresses.learn_from(*source, *address, file, now);
            }
        }
        self.let_go_if_useless(now, peer);
        self.fill_downloads(now);
    }

    /// From now on this number of theirs stands for this file of ours, or for one that we do not take part in.
    fn learn_handle(
        &mut self,
        peer: PeerKey,
        handle: FileHandle,
        file: Option<FileKey>,
    ) -> Result<(), Violation> {
        let most = self.config.max_links_per_peer;
        let connection = self.peers.get_mut(&peer).expect("only connected peers are dispatched");
        let known = connection.handles.get(&handle).copied();
        if known.is_some() && known != file {
            return Err(Violation::HandleReused(handle));
        }
        match file {
            None => connection.former.insert(handle),
            Some(_) if known.is_none() && connection.handles.len() >= most => {
                return Err(Violation::TooManyFiles);
            }
            Some(file) => {
                connection.former.remove(handle);
                connection.handles.insert(handle, file);
            }
        }
        Ok(())
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
        let Some(link) = self.files.get_mut(&file).and_then(|state| state.remove_link(peer)) else { return };
        self.timers.disarm_link(peer, file);
        let connection = self.peers.get_mut(&peer).expect("a linked peer is connected");
        if let Some(handle) = link.handle {
            connection.handles.remove(&handle);
            connection.former.insert(handle);
        }
        connection.links.remove(&file);
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
        let state = self.files.get_mut(&file).expect("a number stands for a file that is there");
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
        let unannounced = self.peers.get_mut(&peer).and_then(|peer| peer.unannounced.get_mut(&file));
        if let Some(unannounced) = unannounced {
            *unannounced = unannounced.saturating_sub(u32::try_from(chunks).unwrap_or(u32::MAX));
        }
    }

    /// What a partial holder has is out in the swarm: a full seed need not bring it there.
    fn note_spread(&mut self, peer: PeerKey, file: FileKey) {
        let state = self.files.get_mut(&file).expect("called with a known file");
        if state.download.is_some() {
            return;
        }
        let Some(Held::Part(chunks)) = state.links.get(&peer).map(|link| &link.held) else { return };
        let fresh = || SuggestOnce::fresh(&state.geometry, &mut self.rng);
        let suggest = state.suggest.get_or_insert_with(fresh);
        chunks.iter().for_each(|chunk| suggest.mark(chunk));
    }

    /// A partial holder is gone: what only it had is to be given away again. A full one is mostly let go because it
    /// needs nothing, and is still there for the others.
    fn note_loss(&mut self, file: FileKey, lost: &Link) {
        let Held::Part(held) = &lost.held else { return };
        let Some(state) = self.files.get_mut(&file) else { return };
        let Some(suggest) = &mut state.suggest else { return };
        let mut elsewhere = ChunkSet::empty(&state.geometry);
        for link in state.links.values() {
            if let Held::Part(chunks) = &link.held {
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
        gone.into_iter().filter(|chunk| !elsewhere.contains(*chunk)).for_each(|chunk| suggest.restore(chunk));
    }
}

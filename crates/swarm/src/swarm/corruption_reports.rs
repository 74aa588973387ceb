//! Chunks that rot on our disk: receivers report them corrupt, and the owner of the process
//! withdraws them.
//!
//! A report is a hint, which the owner checks. It counts once for each time that we sent that chunk
//! to that peer, so a check costs us no more than what was sent.

use tnet_fileinfo::{ChunkIndex, ChunkSet};
use tnet_proto::{FileHandle, PeerMessage};

use super::Swarm;
use crate::Time;
use crate::chunks::ChunkState;
use crate::file::Again;
use crate::io::{Event, Output};
use crate::suggest::SuggestOnce;
use crate::timers::Timer;
use crate::{FileKey, PeerKey};

/// Chunks sent last that are remembered of each connection, for peers that do not say which one was
/// wrong.
const SENT_LAST: usize = 128;

/// Of those, chunks that are doubted when such a peer says goodbye.
const DOUBTED_AT_MOST: usize = 16;

impl<B> Swarm<B> {
    /// Tells the sender of a corrupt chunk, while it knows the file by our number.
    pub(super) fn tell_corrupt(&mut self, peer: PeerKey, file: FileKey, chunk: ChunkIndex) {
        if self.files.get(file).is_some_and(|state| state.links.contains_key(&peer)) {
            self.send(peer, PeerMessage::Corrupt { file: file.handle(), chunk: chunk.get() });
        }
    }

    /// A peer says that a chunk of ours was wrong.
    pub(super) fn on_corrupt(&mut self, now: Time, peer: PeerKey, handle: FileHandle, chunk: u32) {
        let Some((file, chunk)) = self.resolve_or_cut(now, peer, handle, chunk) else { return };
        if let Some(connection) = self.peers.get_mut(&peer) {
            connection.names_corrupt = true;
        }
        // If it is under way, we have not heard yet that it was sent.
        if !self.uploads.doubt(peer, file, chunk) {
            self.doubt(peer, file, chunk);
        }
    }

    /// The peer has banned us. Of an older one, which does not say for which chunks, those are
    /// doubted that were sent last and that it has not announced since; the wrong ones are among
    /// the oldest of them.
    pub(super) fn on_banned(&mut self, peer: PeerKey) {
        let active: Vec<(FileKey, ChunkIndex)> = self.uploads.active_of(peer).collect();
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        let is_unnamed = !connection.names_corrupt;
        let sent = std::mem::take(&mut connection.sent_last);
        let mut doubted = 0;
        for (file, chunk) in active {
            // It may have arrived, and its end will not be reported.
            let known = self.uploads.active(peer, file, chunk);
            if doubted < DOUBTED_AT_MOST
                && (is_unnamed || known.is_some_and(|active| active.is_doubted))
            {
                self.output(Output::Event(Event::Doubted { peer, file, chunk }));
                doubted += 1;
            }
        }
        if !is_unnamed {
            return;
        }
        for (file, chunk) in sent {
            if doubted < DOUBTED_AT_MOST && self.doubt(peer, file, chunk) {
                doubted += 1;
            }
        }
    }

    /// Has the chunk looked at if it was sent to the peer, which has not announced it. Answers
    /// whether that is so.
    pub(super) fn doubt(&mut self, peer: PeerKey, file: FileKey, chunk: ChunkIndex) -> bool {
        let link = self.files.link_mut(file, peer);
        let is_ours = link.is_some_and(|link| link.given.remove(&chunk));
        if is_ours {
            // It did not get where it was to go.
            self.unspread(file, chunk);
            self.output(Output::Event(Event::Doubted { peer, file, chunk }));
        }
        is_ours
    }

    /// Remembers a chunk that was sent in full.
    pub(super) fn note_sent(&mut self, peer: PeerKey, file: FileKey, chunk: ChunkIndex) {
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        if connection.sent_last.len() == SENT_LAST {
            connection.sent_last.pop_front();
        }
        connection.sent_last.push_back((file, chunk));
    }

    /// Stored chunks are not to be served any more. What the file is for stays as it is: of one
    /// that is only served they are not wanted.
    pub(super) fn on_chunks_withdrawn(&mut self, now: Time, file: FileKey, chunks: &[ChunkIndex]) {
        let Some(state) = self.files.get_mut(file) else { return };
        let mut stored: Vec<ChunkIndex> =
            chunks.iter().copied().filter(|chunk| state.holds(*chunk)).collect();
        stored.sort();
        stored.dedup();
        if stored.is_empty() {
            return;
        }
        let was_complete = state.download.is_none();
        if was_complete {
            let all = ChunkSet::full(&state.geometry);
            state.reopen(all, &mut self.rng);
        }
        for chunk in &stored {
            if let Some(download) = &mut state.download {
                download.unannounced.retain(|waiting| waiting != chunk);
            }
            state.put_missing(*chunk, Again::Listed, &mut self.rng);
        }
        if was_complete {
            // A partial holder suggests nothing.
            self.uploads.forget_suggestions(file);
        }
        self.stop_uploads_of(file, &stored);
        self.open_again_soon(now, file);
        self.fill_downloads(now);
    }

    /// Withdrawn chunks can be served again.
    pub(super) fn on_chunks_restored(&mut self, now: Time, file: FileKey, chunks: &[ChunkIndex]) {
        let Some(state) = self.files.get_mut(file) else { return };
        for chunk in chunks {
            let Some(download) = &state.download else { return };
            if download.chunks.state(*chunk) == ChunkState::Missing {
                state.take_missing(*chunk, ChunkState::Stored);
                if let Some(download) = &mut state.download {
                    download.unannounced.push(*chunk);
                }
            }
        }
        let is_whole =
            state.download.as_ref().is_some_and(|download| download.chunks.stored().is_full());
        if !is_whole {
            self.announce_soon(now, file);
        } else if state.is_wanted {
            self.on_complete(now, file);
        } else {
            state.download = None;
            // They were given away before.
            state.suggest = Some(SuggestOnce::done(&state.geometry));
            self.timers.disarm_file(file);
            self.open_again(file);
        }
        self.offer_slots(now);
    }

    /// Tells all peers anew what we hold: at once, and then again after a while if that has
    /// changed. A dying disk loses chunk after chunk, and each announcement names all.
    fn open_again_soon(&mut self, now: Time, file: FileKey) {
        let Some(state) = self.files.get_mut(file) else { return };
        let at = now.max(state.no_reopen_before);
        self.timers.arm(Timer::Reopen(file), at);
    }

    pub(super) fn on_reopen(&mut self, now: Time, file: FileKey) {
        let Some(state) = self.files.get_mut(file) else { return };
        state.no_reopen_before = now + self.config.reopen_after;
        self.open_again(file);
    }
}

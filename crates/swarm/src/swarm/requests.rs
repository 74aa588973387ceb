//! What a request means besides its entry in the [`RequestBook`](crate::request_book::RequestBook):
//! while it is open its chunk is not missing, its bytes are counted by the rate limiter, and the
//! progress window of its connection runs.

use tnet_fileinfo::ChunkIndex;
use tnet_proto::PeerMessage;

use super::Swarm;
use super::picking::Choice;
use crate::Time;
use crate::chunks::ChunkState;
use crate::file::Again;
use crate::rate_limiter::TransferDirection::Down;
use crate::request_book::{Settled, Withdrawal};
use crate::{FileKey, PeerKey};

impl<B> Swarm<B> {
    pub(super) fn request(&mut self, now: Time, file: FileKey, choice: Choice) {
        let Choice { peer, chunk } = choice;
        let state = self.files.get_mut(file).expect("chosen from it");
        let download = state.download.as_mut().expect("chosen from it");
        state.stats.requested += 1;
        if download.chunks.state(chunk) == ChunkState::Missing {
            state.take_missing(chunk, ChunkState::Requested);
        } else {
            debug_assert_eq!(download.chunks.missing(), 0, "asked twice while some are missing");
            download.hedges += 1;
            state.stats.hedged += 1;
        }
        let len = state.geometry.chunk_len(chunk);
        self.spend(now, Down, file, len);
        let connection = self.peers.get_mut(&peer).expect("a linked peer is connected");
        connection.links.note_use(file);
        let (trust, source) = (connection.trust(), connection.source);
        let open = self.requests.open(now, (peer, trust), file, chunk, len);
        self.sources.asked(source, trust, 1);
        if open == 1 {
            self.begin_window(now, peer);
        }
        self.send(peer, PeerMessage::Request { file: file.handle(), chunk: chunk.get() });
    }

    /// A final answer has come. What becomes of the chunk is decided by the caller.
    pub(super) fn settle(&mut self, peer: PeerKey, file: FileKey, chunk: ChunkIndex) -> Settled {
        let Some(state) = self.files.get(file) else { return Settled::Unrequested };
        let settled = self.requests.settle(peer, file, state.content(), chunk);
        if let Settled::Expected { others } = settled {
            self.on_requests_ended(peer, 1, others);
        }
        settled
    }

    /// So many requests are not open any more, and `others` at that peer still are.
    fn on_requests_ended(&mut self, peer: PeerKey, ended: u32, others: u32) {
        let connection = self.peers.get(&peer).expect("a linked peer is connected");
        self.sources.unasked(connection.source, connection.trust(), ended);
        if others == 0 {
            self.end_window(peer);
        }
    }

    /// A request was answered without the chunk. If another source was asked too, it never became a
    /// second copy.
    pub(super) fn not_sent(&mut self, file: FileKey, chunk: ChunkIndex) {
        let is_asked_for = !self.requests.of_file(file).of_chunk(chunk).is_empty();
        let download = self.files.download_mut(file);
        if let Some(download) = download.filter(|_| is_asked_for) {
            download.hedges = download.hedges.saturating_sub(1);
        }
    }

    /// A request for the chunk brought nothing: it is missing again, unless another source was
    /// asked too.
    pub(super) fn put_back(&mut self, file: FileKey, chunk: ChunkIndex, again: Again) {
        let state = self.files.get_mut(file).expect("a settled request is for a file of ours");
        let len = state.geometry.chunk_len(chunk);
        let Some(download) = &state.download else { return };
        if download.chunks.state(chunk) == ChunkState::Requested
            && self.requests.of_file(file).of_chunk(chunk).is_empty()
        {
            state.put_missing(chunk, again, &mut self.rng);
            self.rate_limiter.refund(Down, file, len);
        }
    }

    /// Ends every request to a peer for one file, because one side has left the file's swarm.
    pub(super) fn abandon_all(&mut self, peer: PeerKey, file: FileKey) {
        let Some(state) = self.files.get(file) else { return };
        let open = self.requests.abandon(peer, file, state.content());
        if !open.is_empty() {
            let (ended, others) = (open.len(), self.requests.open_at(peer).chunks);
            self.on_requests_ended(peer, u32::try_from(ended).unwrap_or(u32::MAX), others);
        }
        for chunk in open {
            self.put_back(file, chunk, Again::First);
        }
    }

    /// Takes every request back from a source that does not deliver. What comes late is still
    /// welcome.
    pub(super) fn withdraw_all(&mut self, peer: PeerKey, file: FileKey) {
        for chunk in self.requests.of_link(peer, file).open().to_vec() {
            self.withdraw(peer, file, chunk, Withdrawal::Stalled);
            self.put_back(file, chunk, Again::First);
        }
    }

    /// Tells a source that we do not need the chunk from it any more. Its final answer is still to
    /// come.
    pub(super) fn withdraw(
        &mut self,
        peer: PeerKey,
        file: FileKey,
        chunk: ChunkIndex,
        why: Withdrawal,
    ) {
        if let Some(others) = self.requests.withdraw(peer, file, chunk, why) {
            self.on_requests_ended(peer, 1, others);
            self.send(peer, PeerMessage::Cancel { file: file.handle(), chunk: chunk.get() });
        }
    }
}

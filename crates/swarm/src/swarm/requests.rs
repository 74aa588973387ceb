//! The book of our requests. Each holds a download slot from the moment it is sent until its final
//! answer, the loss of its peer, or our withdrawal; while it does, its chunk is not missing.

use tnet_fileinfo::ChunkIndex;
use tnet_proto::PeerMessage;

use super::picking::Choice;
use super::{Content, Swarm};
use crate::Time;
use crate::chunks::ChunkState;
use crate::file::{Again, Asked};
use crate::io::{FileKey, PeerKey};
use crate::link::Withdrawal;
use crate::rate_limiter::TransferDirection::Down;

/// Requests of left swarms whose answers are still tolerated, for each connection. If there are
/// more, some file was closed and opened again and again, and the oldest are forgotten: they have
/// been answered or never will be.
pub(super) const MAX_ABANDONED: usize = 128;

/// What a final answer was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// A request that waited for it.
    Expected,
    /// A request that was taken back while the answer was under way.
    Withdrawn(Withdrawal),
    /// Nothing that we asked for.
    Unrequested,
}

impl Swarm {
    pub(super) fn request(&mut self, now: Time, file: FileKey, choice: Choice) {
        let Choice { peer, chunk } = choice;
        let state = self.files.get_mut(&file).expect("chosen from it");
        let download = state.download.as_mut().expect("chosen from it");
        let asked = download.requests.entry(chunk).or_default();
        asked.push(Asked { peer, since: now });
        if asked.len() > 1 {
            debug_assert_eq!(
                download.chunks.missing(),
                0,
                "asked for twice while something is missing"
            );
            download.hedges += 1;
            state.stats.hedged += 1;
        }
        if download.chunks.state(chunk) == ChunkState::Missing {
            state.take_missing(chunk, ChunkState::Requested);
        }
        state.stats.requested += 1;
        state.links.get_mut(&peer).expect("a source is linked").open.push(chunk);
        let len = state.geometry.chunk_len(chunk);
        self.downloads.take(len);
        self.spend(now, Down, file, len);
        let connection = self.peers.get_mut(&peer).expect("a linked peer is connected");
        connection.links.note_use(file);
        if self.hold(peer, len) == 1 {
            self.begin_window(now, peer);
        }
        self.send(peer, PeerMessage::Request { file: file.handle(), chunk: chunk.get() });
    }

    /// A final answer has come, and the request is off the books. What becomes of the chunk is the
    /// caller's to say.
    pub(super) fn settle(&mut self, peer: PeerKey, file: FileKey, chunk: ChunkIndex) -> Settled {
        if self.close_request(peer, file, chunk) {
            return Settled::Expected;
        }
        let Some(state) = self.files.get_mut(&file) else { return Settled::Unrequested };
        if let Some(why) = state.links.get_mut(&peer).and_then(|link| link.settle_withdrawn(chunk))
        {
            return Settled::Withdrawn(why);
        }
        let abandoned = (Content::of(&state.hash, &state.geometry), chunk);
        let answers = self.peers.get_mut(&peer).map(|connection| &mut connection.abandoned);
        let found = answers.and_then(|answers| {
            let at = answers.iter().position(|answer| *answer == abandoned)?;
            Some(answers.remove(at))
        });
        found.map_or(Settled::Unrequested, |_| Settled::Withdrawn(Withdrawal::Stalled))
    }

    fn close_request(&mut self, peer: PeerKey, file: FileKey, chunk: ChunkIndex) -> bool {
        let Some(state) = self.files.get_mut(&file) else { return false };
        let Some(link) = state.links.get_mut(&peer) else { return false };
        let Some(at) = link.open.iter().position(|open| *open == chunk) else { return false };
        link.open.swap_remove(at);
        let download = state.download.as_mut().expect("a complete file has no requests");
        let asked =
            download.requests.get_mut(&chunk).expect("what is open at a link is in the book");
        asked.retain(|asked| asked.peer != peer);
        if asked.is_empty() {
            download.requests.remove(&chunk);
        }
        let len = state.geometry.chunk_len(chunk);
        self.downloads.release(len);
        if self.let_go(peer, len) == 0 {
            self.end_window(peer);
        }
        true
    }

    /// A request was answered with a word. If another source was asked too, it never became a
    /// second copy.
    pub(super) fn not_sent(&mut self, file: FileKey, chunk: ChunkIndex) {
        let download = self.files.get_mut(&file).and_then(|state| state.download.as_mut());
        if let Some(download) = download.filter(|download| download.requests.contains_key(&chunk)) {
            download.hedges = download.hedges.saturating_sub(1);
        }
    }

    /// A request for the chunk brought nothing: it is missing again, unless another source was
    /// asked too.
    pub(super) fn put_back(&mut self, file: FileKey, chunk: ChunkIndex, again: Again) {
        let state = self.files.get_mut(&file).expect("a settled request is for a file of ours");
        let len = state.geometry.chunk_len(chunk);
        let Some(download) = &state.download else { return };
        if download.chunks.state(chunk) == ChunkState::Requested
            && !download.requests.contains_key(&chunk)
        {
            state.put_missing(chunk, again, &mut self.rng);
            self.rate_limiter.refund(Down, file, len);
        }
    }

    /// Forgets everything asked of a peer for one file, because one side has left the file's swarm.
    pub(super) fn abandon_all(&mut self, peer: PeerKey, file: FileKey) {
        let open = self.open_at(peer, file);
        for chunk in &open {
            self.close_request(peer, file, *chunk);
            self.put_back(file, *chunk, Again::First);
        }
        let Some(state) = self.files.get(&file) else { return };
        let Some(link) = state.links.get(&peer) else { return };
        let content = Content::of(&state.hash, &state.geometry);
        let withdrawn = link.withdrawn.iter().map(|(chunk, _)| *chunk);
        let abandoned: Vec<ChunkIndex> = open.into_iter().chain(withdrawn).collect();
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        connection.abandoned.extend(abandoned.into_iter().map(|chunk| (content, chunk)));
        let excess = connection.abandoned.len().saturating_sub(MAX_ABANDONED);
        connection.abandoned.drain(..excess);
    }

    /// Takes every request back from a source that does not deliver. What comes late is still
    /// welcome.
    pub(super) fn withdraw_all(&mut self, peer: PeerKey, file: FileKey) {
        for chunk in self.open_at(peer, file) {
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
        if self.close_request(peer, file, chunk) {
            let link = self.files.get_mut(&file).and_then(|state| state.links.get_mut(&peer));
            link.expect("close_request found it").withdrawn.push((chunk, why));
            self.send(peer, PeerMessage::Cancel { file: file.handle(), chunk: chunk.get() });
        }
    }

    pub(super) fn is_open_at(&self, peer: PeerKey, file: FileKey, chunk: ChunkIndex) -> bool {
        let link = self.files.get(&file).and_then(|state| state.links.get(&peer));
        link.is_some_and(|link| link.open.contains(&chunk))
    }

    fn open_at(&self, peer: PeerKey, file: FileKey) -> Vec<ChunkIndex> {
        let link = self.files.get(&file).and_then(|state| state.links.get(&peer));
        link.map(|link| link.open.clone()).unwrap_or_default()
    }
}

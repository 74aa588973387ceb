//! What sources say instead of sending: busy, ready, try this one, stopped, refused.

use std::ops::Bound;
use std::time::Duration;

use tnet_fileinfo::ChunkIndex;
use tnet_proto::{FileHandle, PeerMessage};

use super::Swarm;
use super::picking::Choice;
use crate::Time;
use crate::chunks::ChunkState;
use crate::file::Again;
use crate::io::Violation;
use crate::request_book::{Settled, Withdrawal};
use crate::timers::Timer;
use crate::{FileKey, PeerKey};
use tnet_sources::Offence;
use tnet_sources::Trust;

/// Failures of one chunk that are tried again at once; later ones after a pause.
const FREE_RETRIES: u32 = 3;

/// First pause before such a chunk is tried again; doubled each time.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// Times that the pause is doubled at most: when a source could not send the chunk or our disk
/// failed, and when it sent something else. Then it is the source that has to wait, and not the
/// chunk.
pub(super) const DOUBLED: u32 = 7;
pub(super) const DOUBLED_FOR_CORRUPT: u32 = 2;

impl<B> Swarm<B> {
    pub(super) fn on_busy(
        &mut self,
        now: Time,
        peer: PeerKey,
        handle: FileHandle,
        chunk: u32,
        load: u32,
    ) {
        let Some((file, chunk)) = self.resolve_or_cut(now, peer, handle, chunk) else { return };
        if self.settle(peer, file, chunk) == Settled::Unrequested {
            return self.cut(now, peer, Violation::Unrequested(chunk.get()));
        }
        self.not_sent(file, chunk);
        self.put_back(file, chunk, Again::Listed);
        let until = now + self.jitter(self.config.busy_retry_after);
        let state = self.files.get_mut(file).expect("resolve found it");
        state.stats.busy += 1;
        let link = state.links.get_mut(&peer).expect("a request was settled on it");
        link.busy_until = Some(until);
        link.load = load;
        self.timers.rearm(Timer::Patience(peer, file), until);
        self.fill_downloads(now);
    }

    pub(super) fn on_patience_over(&mut self, now: Time, peer: PeerKey, file: FileKey) {
        self.clear_busy(peer, file);
        self.fill_downloads(now);
    }

    fn clear_busy(&mut self, peer: PeerKey, file: FileKey) {
        if let Some(link) = self.files.link_mut(file, peer) {
            link.busy_until = None;
            self.timers.disarm(Timer::Patience(peer, file));
        }
    }

    /// A slot is free for us at this source. We wait there in one place for all our files, so it is
    /// for the file whose turn it is and that can use it; if none can, it is given back.
    pub(super) fn on_ready(&mut self, now: Time, peer: PeerKey, handle: FileHandle, chunk: u32) {
        let Some((file, chunk)) = self.resolve_or_cut(now, peer, handle, chunk) else { return };
        let files = self.in_turn(peer);
        for file in &files {
            self.clear_busy(peer, *file);
        }
        let choose = |turn: FileKey| self.choose_from(now, turn, peer).map(|choice| (turn, choice));
        let choice = files.into_iter().find_map(choose);
        self.use_slot(now, peer, (file, chunk), choice);
    }

    /// As `on_ready`, with the chunk the source would like to spread.
    pub(super) fn on_suggest(&mut self, now: Time, peer: PeerKey, handle: FileHandle, chunk: u32) {
        let Some((file, chunk)) = self.resolve_or_cut(now, peer, handle, chunk) else { return };
        self.clear_busy(peer, file);
        let state = &self.files[&file];
        let is_missing =
            state.download.as_ref().is_some_and(|d| d.chunks.state(chunk) == ChunkState::Missing);
        // If we cannot use it another peer should have it at once; what else we need we ask for as
        // ever.
        let is_wanted = is_missing && self.files.is_incomplete(file);
        let choice = Choice { peer, chunk };
        let is_of_use = is_wanted && self.can_use_suggestion(now, file, choice);
        self.use_slot(now, peer, (file, chunk), is_of_use.then_some((file, choice)));
    }

    /// Our incomplete files that this peer takes part in, the one whose turn it is first.
    fn in_turn(&self, peer: PeerKey) -> Vec<FileKey> {
        let links = self.peers[&peer].links.unfinished();
        let later = links.range((Bound::Excluded(self.turn), Bound::Unbounded));
        let in_turn = later.chain(links.range(..=self.turn)).copied();
        in_turn.filter(|file| self.files.is_incomplete(*file)).collect()
    }

    fn use_slot(
        &mut self,
        now: Time,
        peer: PeerKey,
        offered: (FileKey, ChunkIndex),
        choice: Option<(FileKey, Choice)>,
    ) {
        match choice {
            Some((file, choice)) => {
                self.turn = file;
                self.request(now, file, choice);
            }
            // A request for that very chunk is on its way already and takes the slot; a cancel
            // would end it.
            None if self.requests.of_link(peer, offered.0).open().contains(&offered.1) => {}
            None => {
                let (file, chunk) = (offered.0.handle(), offered.1.get());
                self.send(peer, PeerMessage::Cancel { file, chunk });
            }
        }
        self.fill_downloads(now);
    }

    pub(super) fn on_stopped(&mut self, now: Time, peer: PeerKey, handle: FileHandle, chunk: u32) {
        let Some((file, chunk)) = self.resolve_or_cut(now, peer, handle, chunk) else { return };
        if let Some(connection) = self.peers.get_mut(&peer) {
            // What came of it is no part of the next one.
            connection.in_chunk = 0;
        }
        match self.settle(peer, file, chunk) {
            Settled::Unrequested => self.cut(now, peer, Violation::Unrequested(chunk.get())),
            Settled::Withdrawn(why) => {
                let download = self.files.download_mut(file);
                if let Some(download) = download.filter(|_| why == Withdrawal::Surplus) {
                    // It never became a second copy.
                    download.hedges = download.hedges.saturating_sub(1);
                }
                self.fill_downloads(now);
            }
            // It could not be read there now; it may be, a little later.
            Settled::Expected { .. } => {
                let again = self.count_failure(now, file, chunk, Some(peer), DOUBLED);
                self.put_back(file, chunk, again);
                self.on_broken_promise(now, peer, file);
            }
        }
    }

    pub(super) fn on_refused(&mut self, now: Time, peer: PeerKey, handle: FileHandle, chunk: u32) {
        let Some((file, chunk)) = self.resolve_or_cut(now, peer, handle, chunk) else { return };
        if self.settle(peer, file, chunk) == Settled::Unrequested {
            return self.cut(now, peer, Violation::Unrequested(chunk.get()));
        }
        self.not_sent(file, chunk);
        self.put_back(file, chunk, Again::First);
        self.files.get_mut(file).expect("resolve found it").remove_held(peer, chunk);
        self.weigh(now, peer, file);
        self.on_broken_promise(now, peer, file);
    }

    /// The peer announced a chunk and did not deliver it.
    fn on_broken_promise(&mut self, now: Time, peer: PeerKey, file: FileKey) {
        let link = self.files.link_mut(file, peer);
        let link = link.expect("a request was settled on it");
        link.refusals += 1;
        if link.trust != Trust::Proven
            && let Some(connection) = self.peers.get(&peer)
        {
            self.sources.offend(now, connection.source, Offence::Stall);
        }
        if link.refusals >= self.config.refusals_to_cut {
            return self.cut(now, peer, Violation::EmptyPromises);
        }
        self.fill_downloads(now);
    }

    /// A chunk failed. The first times it comes next, then after longer and longer pauses; unless
    /// it was the fault of a source and another one that has proven itself holds the chunk.
    pub(super) fn count_failure(
        &mut self,
        now: Time,
        file: FileKey,
        chunk: ChunkIndex,
        at_fault: Option<PeerKey>,
        doubled: u32,
    ) -> Again {
        let state = self.files.get(file);
        if at_fault.is_some() && state.is_some_and(|state| state.has_proven_holder(chunk, at_fault))
        {
            return Again::First;
        }
        let download = self.files.download_mut(file);
        let Some(download) = download else { return Again::First };
        let failures = download.failures.entry(chunk).or_insert(0);
        *failures = failures.saturating_add(1);
        let Some(further) = failures.checked_sub(FREE_RETRIES + 1) else { return Again::First };
        let from = now + self.jitter(RETRY_PAUSE.saturating_mul(1 << further.min(doubled)));
        self.timers.arm(Timer::Retry(file), from);
        Again::From(from)
    }

    /// Pauses of chunks that failed often are over.
    pub(super) fn on_retry(&mut self, now: Time, file: FileKey) {
        let download = self.files.download_mut(file);
        if let Some(next) = download.and_then(|download| download.end_pauses(now, &mut self.rng)) {
            self.timers.arm(Timer::Retry(file), next);
        }
        self.fill_downloads(now);
    }
}

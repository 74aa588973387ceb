//! What a download waits for, and when it gives up: silence has a reason, and an end.

use std::time::Duration;

use tnet_swarm::FileKey;

use super::Engine;
use super::accounting::situation;
use super::downloads::Running;
use crate::api::{CoordinatorError, CoordinatorState, DownloadError, Phase, Waiting};

/// A download in which no chunk was stored for this long is told to be waiting.
const STANDS_STILL_AFTER: Duration = Duration::from_secs(3);

/// How long it is told that large packets seem to get lost. If small ones do not help by then, it
/// is something else.
const NARROW_IS_TOLD_FOR: Duration = Duration::from_secs(30);

impl Engine {
    /// What it waits for, if nothing was stored for a while.
    pub(super) fn waiting(&self, file: FileKey, running: &Running) -> Option<Waiting> {
        let is_under_way = !matches!(running.phase, Phase::Complete | Phase::Failed);
        let is_paused = self.files.get(&file)?.settings.is_paused;
        if !is_under_way || is_paused || self.now - running.last_stored < STANDS_STILL_AFTER {
            return None;
        }
        if self.swarm.is_only_unverified(file) {
            // What it waits for is being verified; that stands still only if the disk does not
            // answer.
            return (self.now - running.last_checked >= STANDS_STILL_AFTER)
                .then_some(Waiting::Disk);
        }
        let situation =
            situation(&self.swarm, &self.config, file, running.phase == Phase::Finishing);
        let picture = self.swarm.file_status(file, self.now)?;
        // Other downloaders are peers too.
        let nobody_has_any = running.without_holder == picture.chunks;
        let is_idle = situation.requested == 0 && situation.storing == 0 && !situation.finishing;
        if let Some(shortage) = self.descriptors.shortage().filter(|_| is_idle) {
            return Some(Waiting::Descriptors(shortage));
        }
        let is_narrow = self.narrow_since.is_some_and(|since| {
            running.last_stored < since && self.now - since < NARROW_IS_TOLD_FOR
        });
        if is_narrow && situation.storing == 0 && !situation.finishing {
            return Some(Waiting::LargePackets);
        }
        Some(if situation.finishing || situation.disk_is_behind || situation.storing > 0 {
            Waiting::Disk
        } else if situation.requested == 0
            && situation.has_source
            && self.swarm.is_held_back(file, self.now)
        {
            Waiting::Limit
        } else if situation.requested > 0
            || situation.has_source && !self.swarm.has_prompt_source(file)
        {
            Waiting::Answers
        } else if situation.has_source && situation.slots_taken {
            Waiting::OtherDownloads
        } else if situation.has_source {
            Waiting::BusyPeers
        } else if picture.peers > 0 && !nobody_has_any {
            Waiting::HolderOfChunks { chunks: running.without_holder }
        } else if picture.full_addresses > 0 {
            Waiting::FullPeers { peers: picture.full_addresses }
        } else if let Some(holders) =
            running.holders.unreached(running.met_somebody).filter(|_| picture.peers == 0)
        {
            Waiting::UnreachablePeers { peers: holders.peers() }
        } else if matches!(
            self.coordinator.state,
            CoordinatorState::Connected | CoordinatorState::None
        ) {
            Waiting::Holder
        } else {
            Waiting::Coordinator
        })
    }

    /// How long there was no coordinator to ask, if one could have named a peer with a part of the
    /// file: none had any yet.
    fn unheard(&self, file: FileKey, running: &Running) -> Duration {
        let picture = self.swarm.file_status(file, self.now);
        let has_somebody = picture.is_some_and(|picture| running.without_holder < picture.chunks);
        let is_asked =
            self.coordinator.address.is_some() && running.options.coordinator_within.is_some();
        if !is_asked || has_somebody || running.last_stored > running.started {
            return Duration::ZERO;
        }
        self.coordinator.absent(self.now) - running.absent_before
    }

    pub(super) fn reason_to_give_up(&self, file: FileKey) -> Option<DownloadError> {
        let entry = self.files.get(&file)?;
        let running = entry.running.as_ref()?;
        // A pause or a limit is the user's own decision.
        let is_meant = entry.settings.is_paused || self.swarm.is_held_back(file, self.now);
        // Verification alone needs no peer.
        let is_meant = is_meant || self.swarm.is_only_unverified(file);
        if is_meant || matches!(running.phase, Phase::Finishing | Phase::Complete | Phase::Failed) {
            return None;
        }
        let now = self.now;
        // A disk that is read for the verification of what was here is no silence.
        let quiet = now - running.last_stored.max(running.last_checked);
        if let Some(shortage) = self.descriptors.shortage() {
            // No other cause is to be named.
            return (quiet >= running.options.give_up_after?)
                .then_some(DownloadError::OutOfDescriptors(shortage));
        }
        if let (Some(address), Some(within)) =
            (self.coordinator.address.clone(), running.options.coordinator_within)
            && !running.met_somebody
            && let Some(waited) = self.coordinator.missing(now, running.started)
        {
            if let Some(fault) =
                self.coordinator.unfit_for_long(now, running.started, waited, within)
            {
                return Some(CoordinatorError::Unfit { address, fault }.into());
            }
            if waited >= within {
                let cause = self.coordinator.last_error.clone();
                return Some(CoordinatorError::Silent { address, waited, cause }.into());
            }
        }
        let patience = running.options.give_up_after?;
        let absent = self.unheard(file, running);
        if !self.coordinator.has_waited_long(now, running.started, quiet, absent, patience) {
            return None;
        }
        let picture = self.swarm.file_status(file, now)?;
        let is_alone = picture.peers == 0 && running.corrupt_peers.shown().is_empty();
        if let Some(holders) = running.holders.unreached(running.met_somebody).filter(|_| is_alone)
        {
            let missing = picture.chunks - picture.stored - picture.vouched;
            let chunks = picture.chunks;
            return Some(DownloadError::Unreachable { waited: quiet, holders, missing, chunks });
        }
        // A full peer was met, for a moment; no other has anything, or the error would be another
        // one.
        let only_full =
            picture.full_addresses > 0 && (picture.peers == 0 || !self.swarm.has_source(file));
        let here = picture.stored + picture.vouched;
        Some(if only_full && here == 0 {
            DownloadError::AllFull { waited: quiet, full: picture.full_addresses }
        } else if running.met_somebody || here > 0 {
            let without_holder =
                u32::try_from(self.swarm.chunks_without_holder(file).len()).unwrap_or(u32::MAX);
            let missing = picture.chunks - here;
            let (chunks, full, corrupt_peers) =
                (picture.chunks, picture.full_addresses, running.corrupt_peers.shown());
            DownloadError::Stalled {
                waited: quiet,
                missing,
                without_holder,
                full,
                chunks,
                corrupt_peers,
            }
        } else {
            DownloadError::NoHolder { waited: quiet }
        })
    }
}

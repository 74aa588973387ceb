//! What the owner of a download is told of it while it runs.

use std::time::Duration;

use tnet_swarm::{FileKey, Time};

use super::Engine;
use crate::api::{Phase, Progress, TimeShares, Traffic};

/// Chunks without a holder are counted this often: that takes a look at all of them.
const COUNT_EVERY: Duration = Duration::from_secs(1);

impl Engine {
    pub(super) fn publish(&mut self, file: FileKey) {
        let now = self.now;
        self.count_without_holder(now, file);
        let Some(progress) = self.progress(file) else { return };
        let Some(running) = self.files.running_mut(file) else { return };
        running.met_somebody |= progress.peers > 0;
        if running.phase == Phase::FindingPeers && progress.traffic.requested > 0 {
            running.phase = Phase::Downloading;
        }
        let changed = |known: &Progress| {
            let still = |progress: &Progress| Progress {
                quiet: Duration::ZERO,
                elapsed: Duration::ZERO,
                time: TimeShares::default(),
                ..progress.clone()
            };
            still(known) != still(&progress) || progress.elapsed - known.elapsed >= COUNT_EVERY
        };
        running.progress.send_if_modified(|known| {
            let changed = changed(known);
            *known = progress.clone();
            changed
        });
    }

    fn count_without_holder(&mut self, now: Time, file: FileKey) {
        let Some(running) = self.files.running_mut(file) else { return };
        if now - running.counted_at < COUNT_EVERY && running.phase != Phase::Finishing {
            return;
        }
        running.counted_at = now;
        running.without_holder =
            u32::try_from(self.swarm.chunks_without_holder(file).len()).unwrap_or(u32::MAX);
    }

    pub(super) fn progress(&self, file: FileKey) -> Option<Progress> {
        let (entry, now) = (self.files.get(&file)?, self.now);
        let running = entry.running.as_ref()?;
        let picture = self.swarm.file_status(file, now)?;
        let (geometry, vouched) = (entry.info.geometry(), running.store.vouched());
        let unchecked = geometry.bytes_in(&vouched);
        let mut kept = running.store.stored();
        kept.union_with(&vouched);
        let is_under_way = matches!(running.phase, Phase::FindingPeers | Phase::Downloading);
        let phase = match running.phase {
            _ if is_under_way && entry.settings.is_paused => Phase::Paused,
            _ if is_under_way && self.swarm.is_only_unverified(file) => Phase::Checking,
            phase => phase,
        };
        Some(Progress {
            phase,
            bytes_done: geometry.bytes_in(&kept),
            bytes_total: entry.info.size(),
            bytes_resumed: running.resumed,
            bytes_to_check: running.to_check,
            bytes_checked: running.to_check.saturating_sub(unchecked),
            bytes_damaged: running.damaged,
            chunks_done: picture.stored + picture.vouched,
            chunks_total: picture.chunks,
            peers: picture.peers,
            full_peers: picture.full_peers,
            chunks_without_holder: running.without_holder,
            coordinator: self.coordinator.state,
            quiet: now - running.last_stored,
            waiting: self.waiting(file, running),
            elapsed: now - running.started,
            time: self.time_shares(file),
            traffic: self.traffic(file),
            large_packets_lost: self.narrow_since.is_some_and(|since| since >= running.started),
            corrupt_peers: running.corrupt_peers.shown(),
        })
    }

    pub(super) fn traffic(&self, file: FileKey) -> Traffic {
        let (Some(entry), Some(picture)) =
            (self.files.get(&file), self.swarm.file_status(file, self.now))
        else {
            return Traffic::default();
        };
        let stats = picture.stats;
        let chunk_size = u64::from(entry.info.geometry().chunk_size().get());
        let received = entry.received;
        let duplicate_bytes = stats.duplicate * chunk_size;
        Traffic {
            requested: stats.requested,
            busy: stats.busy,
            arrived: stats.arrived,
            duplicate: stats.duplicate,
            corrupt: stats.corrupt,
            retried: stats.retried,
            hedged: stats.hedged,
            bytes_received: received.bytes + duplicate_bytes,
            bytes_wasted: received.wasted + duplicate_bytes,
            uploaded: stats.uploaded,
            sources: received.sources,
        }
    }
}

//! Tells the stopwatches of downloads what goes on, and counts what is sent and received.

use tnet_fileinfo::ChunkIndex;
use tnet_session::ChunkBody;
use tnet_swarm::{FileKey, PeerKey, Swarm, Time};
use tracing::field;

use super::Engine;
use super::activity::Activity;
use super::rate::Rate;
use super::stopwatch::Situation;
use crate::api::{Phase, TimeShares};
use crate::config::Config;

/// Downloads whose situation is looked at after each round of events. With more of them each is
/// looked at on the engine's beat only: their shares of time are then counted in tenths of a
/// second, and rounds stay short.
const WATCHED_CLOSELY: usize = 32;

/// Bytes of chunks since the start: over all files, or of one connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    pub(super) sent_bytes: u64,
    pub(super) received_bytes: u64,
    pub(super) up: Rate,
    pub(super) down: Rate,
}

impl Totals {
    fn count_sent(&mut self, now: Time, bytes: u64) {
        self.sent_bytes += bytes;
        self.up.add(now, bytes);
    }

    fn count_received(&mut self, now: Time, bytes: u64) {
        self.received_bytes += bytes;
        self.down.add(now, bytes);
    }
}

impl Engine {
    /// After a round of events, each of which may have changed what a download waits for.
    pub(super) fn watch_downloads(&mut self) {
        if self.followed.len() <= WATCHED_CLOSELY {
            self.watch_all_downloads();
        }
    }

    pub(super) fn watch_all_downloads(&mut self) {
        let now = self.now;
        for file in &self.followed {
            let Some(running) = self.files.running_mut(*file) else { continue };
            if running.phase != Phase::Failed {
                let finishing = running.phase == Phase::Finishing;
                let situation = situation(&self.swarm, &self.config, *file, finishing);
                running.stopwatch.observe(now, running.verifying, situation);
            }
        }
    }

    /// Where the time of a download went so far.
    pub(super) fn time_shares(&self, file: FileKey) -> TimeShares {
        let Some(running) = self.files.running(file) else {
            return TimeShares::default();
        };
        running.stopwatch.shares_at(self.now, running.verifying)
    }

    /// A chunk was sent to its end.
    pub(super) fn count_sent(&mut self, peer: PeerKey, file: FileKey, chunk: ChunkIndex) {
        let now = self.now;
        let Some(entry) = self.files.get_mut(&file) else { return };
        let to = self.sessions.get(&peer).map(|open| field::display(open.session.remote));
        tracing::debug!(%chunk, to, "chunk sent");
        let len = u64::from(entry.geometry().chunk_len(chunk));
        entry.sent_bytes += len;
        self.totals.count_sent(now, len);
        if let Some(open) = self.sessions.get_mut(&peer) {
            open.totals.count_sent(now, len);
        }
        self.note_activity(now, file, |activity| activity.up.add(now, len));
    }

    /// A part of a chunk came in.
    pub(super) fn count_received(&mut self, peer: PeerKey, bytes: u32) {
        let now = self.now;
        self.totals.count_received(now, bytes.into());
        if let Some(open) = self.sessions.get_mut(&peer) {
            open.totals.count_received(now, bytes.into());
        }
    }

    /// A chunk is verified and in its file.
    pub(super) fn count_stored(&mut self, file: FileKey, len: u32) {
        let now = self.now;
        self.note_activity(now, file, |activity| activity.down.add(now, len.into()));
    }

    fn note_activity(&mut self, now: Time, file: FileKey, count: impl FnOnce(&mut Activity)) {
        let Some(entry) = self.files.get_mut(&file) else { return };
        let activity = entry.activity.get_or_insert_default();
        activity.last = now;
        count(activity);
        self.recent.note(file);
    }
}

/// What a download is about.
pub(super) fn situation(
    swarm: &Swarm<ChunkBody>,
    config: &Config,
    file: FileKey,
    finishing: bool,
) -> Situation {
    let slots = swarm.slot_status();
    // What is asked for and what is on its way to the disk share the memory for chunks: when it is
    // used up, requests stay open because their answers are not read.
    let is_unread =
        slots.storing_bytes > 0 && slots.storing_bytes + slots.download_bytes > config.chunk_memory;
    Situation {
        requested: swarm.open_requests(file),
        storing: swarm.storing_chunks(file),
        has_source: swarm.has_source(file),
        slots_taken: swarm.is_out_of_slots(file),
        disk_is_behind: is_unread || slots.storing_bytes >= config.swarm.storing_bytes,
        checking: swarm.is_only_unverified(file),
        finishing,
    }
}

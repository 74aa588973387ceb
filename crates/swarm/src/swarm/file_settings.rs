//! Rate limits, priorities and pauses that the user sets, for the whole process and for single
//! files.

use super::Swarm;
use crate::FileKey;
use crate::Time;
use crate::io::{Priority, RateLimits};
use crate::rate_limiter::TransferDirection;
use crate::timers::Timer;

impl<B> Swarm<B> {
    /// New limits of a file, or of the whole process.
    pub(super) fn on_limit(&mut self, now: Time, file: Option<FileKey>, limits: RateLimits) {
        match file {
            None => self.rate_limiter.limit_process(now, limits),
            Some(file) if self.files.contains(file) => {
                self.rate_limiter.limit_file(now, file, limits);
            }
            Some(_) => {}
        }
        self.on_rate_limit(now);
    }

    /// A limit may allow the next chunk.
    pub(super) fn on_rate_limit(&mut self, now: Time) {
        if let Some(next) = self.rate_limiter.next(now) {
            self.timers.arm(Timer::RateLimit, next);
        }
        self.grant_slots(now);
        self.fill_downloads(now);
    }

    /// A chunk starts.
    pub(super) fn spend(
        &mut self,
        now: Time,
        direction: TransferDirection,
        file: FileKey,
        len: u32,
    ) {
        if let Some(next) = self.rate_limiter.spend(now, direction, file, len) {
            self.timers.arm(Timer::RateLimit, next);
        }
    }

    /// Whether a limit delays the download of this file now.
    pub fn is_held_back(&self, file: FileKey, now: Time) -> bool {
        !self.rate_limiter.allows(now, TransferDirection::Down, file)
    }

    pub(super) fn on_priority(&mut self, now: Time, file: FileKey, priority: Priority) {
        let Some(state) = self.files.get_mut(file) else { return };
        state.priority = priority;
        self.priorities_differ |= priority != Priority::default();
        self.grant_slots(now);
        self.fill_downloads(now);
    }

    /// Whether a file that comes first is being downloaded.
    pub(super) fn is_outranked(&self, file: FileKey) -> bool {
        let Some(state) = self.files.get(file).filter(|_| self.priorities_differ) else {
            return false;
        };
        let higher = |other: &&FileKey| self.files[other].priority > state.priority;
        self.files
            .incomplete()
            .iter()
            .filter(higher)
            .any(|file| self.requests.of_file(*file).has_open())
    }

    /// Leaves the file's swarm and keeps what is known of its chunks.
    pub(super) fn on_pause(&mut self, now: Time, file: FileKey) {
        for peer in self.files.peers(file) {
            self.close(now, peer, file);
        }
        self.files.pause(file);
        self.addresses.forget_file(file);
        self.timers.disarm_file(file);
        self.grant_slots(now);
        self.fill_downloads(now);
    }

    /// Takes part in the file's swarm again.
    pub(super) fn on_resume(&mut self, now: Time, file: FileKey) {
        if !self.files.resume(file) {
            return;
        }
        if let Some(state) = self.files.get_mut(file)
            && let Some(download) = &mut state.download
        {
            // No peer is linked that lacks an announcement.
            download.unannounced.clear();
            download.lookups = 0;
            if state.is_wanted {
                self.begin_download(now, file);
                self.on_retry(now, file);
            }
        }
    }
}

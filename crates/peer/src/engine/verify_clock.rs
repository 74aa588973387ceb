//! How long the chunks of one download were being verified, by threads of the pool side by side.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tnet_swarm::Time;
use tokio::time::Instant;

/// Shared by the threads that verify chunks of one download, and the engine, which reads it.
#[derive(Debug)]
pub(super) struct VerifyClock {
    /// Zero of all times.
    started: Instant,
    /// Held for some nanoseconds, twice for each chunk.
    busy: Mutex<Busy>,
}

/// How long something was going on, and how much of it.
#[derive(Debug, Clone, Copy, Default)]
struct Busy {
    running: u32,
    since: Time,
    spent: Verifying,
}

/// Time spent verifying so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Verifying {
    /// At least one chunk was being verified.
    pub(super) any: Duration,
    /// The times of all threads, added up.
    pub(super) busy: Duration,
}

impl VerifyClock {
    pub(super) fn new(started: Instant) -> VerifyClock {
        VerifyClock { started, busy: Mutex::default() }
    }

    /// Counts the time that the work takes. A panic in it ends the counting with the chunk half counted.
    pub(super) fn count<T>(&self, work: impl FnOnce() -> T) -> T {
        self.with(|busy, now| busy.change(now, 1));
        let result = work();
        self.with(|busy, now| busy.change(now, -1));
        result
    }

    /// Until now.
    pub(super) fn read(&self) -> Verifying {
        self.with(|busy, now| busy.at(now))
    }

    fn with<T>(&self, look: impl FnOnce(&mut Busy, Time) -> T) -> T {
        // A poisoned lock is taken all the same: nothing under it panics.
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that no moment comes before one that was seen already.
        let now = Time::after_start(self.started.elapsed());
        look(&mut busy, now)
    }
}

impl Busy {
    fn at(&self, now: Time) -> Verifying {
        let passed = if self.running > 0 { now - self.since } else { Duration::ZERO };
        Verifying { any: self.spent.any + passed, busy: self.spent.busy + passed * self.running }
    }

    fn change(&mut self, now: Time, by: i32) {
        self.spent = self.at(now);
        self.since = now;
        self.running = self.running.saturating_add_signed(by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::after_start(Duration::from_millis(millis))
    }

    fn spent(any: u64, busy: u64) -> Verifying {
        Verifying { any: Duration::from_millis(any), busy: Duration::from_millis(busy) }
    }

    #[test]
    fn chunks_side_by_side_take_their_time_once_and_cost_it_each() {
        let mut busy = Busy::default();
        // The first from 10 to 30, the second from 20 to 50, then nothing, the third from 70 on.
        for (moment, by) in [(10, 1), (20, 1), (30, -1), (50, -1), (70, 1)] {
            busy.change(at(moment), by);
        }
        assert_eq!(busy.at(at(70)), spent(40, 50));
        assert_eq!(busy.at(at(75)), spent(45, 55));
    }

    #[test]
    fn nothing_is_counted_between_chunks() {
        let clock = VerifyClock::new(Instant::now());
        assert_eq!(clock.count(|| 7), 7);
        let after = clock.read();
        assert_eq!(clock.read(), after);
        assert_eq!(after.any, after.busy);
    }
}

//! Time in which this process ran. While a process is stopped, its container paused or its machine
//! suspended, no time passes for a deadline. After such a stop the clock stands still for one
//! window, so that data that waits in sockets is read before a peer is judged by its silence.
//!
//! One task beats each second. When there was no beat for much longer, the process did not run; the
//! first caller that reads the clock notes it. The clock never goes back.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tnet_proto::Time;
use tokio::time::{Instant, sleep_until};

/// How often [`Clock::beat`] must be called once it has been called.
pub const CLOCK_INTERVAL: Duration = Duration::from_secs(1);

/// Without a beat for this long the process did not run. Longer than a busy machine keeps a thread
/// waiting.
const STOPPED_AFTER: Duration = Duration::from_secs(3);

/// After a stop the clock stands still for this long: one progress window.
const WINDOW: Duration = Duration::from_secs(3);

/// Further ahead than any deadline.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A reading of the clock that comes sooner than this after another one is not noted. Each read
/// from a socket reads the clock, thousands of times a second, on all processors.
const GRAIN: Duration = Duration::from_millis(1);

/// [`Clock::beat`] was not called yet, so a gap says nothing.
const NEVER_SEEN: u64 = u64::MAX;

/// A monotonic clock that does not count the time in which this process was stopped. Clones share
/// one state.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use std::time::Duration;
/// use tnet_net::{Clock, Elapsed};
///
/// let clock = Clock::new();
/// let silence = std::future::pending::<()>();
/// assert_eq!(clock.timeout(Duration::from_millis(1), silence).await, Err(Elapsed));
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Clock(Arc<Shared>);

/// All in nanoseconds since the start. `seen` is measured by the system's clock, the others by this
/// one.
#[derive(Debug)]
struct Shared {
    started: Instant,
    /// The last reading or beat, give or take a [`GRAIN`].
    seen: AtomicU64,
    /// How far this clock is behind the system's. It changes before `seen` tells of the same stop.
    lost: AtomicU64,
    /// This clock's time when it last began to stand still.
    floor: AtomicU64,
    /// Held while a stop is noted.
    noting: Mutex<()>,
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::new()
    }
}

impl Clock {
    /// A clock that begins at zero now.
    pub fn new() -> Clock {
        Clock(Arc::new(Shared {
            started: Instant::now(),
            seen: AtomicU64::new(NEVER_SEEN),
            lost: AtomicU64::new(0),
            floor: AtomicU64::new(0),
            noting: Mutex::new(()),
        }))
    }

    /// What time it is. The caller promises to call this again within [`CLOCK_INTERVAL`]; from the
    /// first call on, a longer gap counts as a stop.
    pub fn beat(&self) -> Time {
        if self.0.seen.load(Relaxed) == NEVER_SEEN {
            let _ = self.0.seen.compare_exchange(NEVER_SEEN, self.0.outside(), AcqRel, Relaxed);
        }
        self.now()
    }

    /// What time it is.
    pub fn now(&self) -> Time {
        Time::after_start(Duration::from_nanos(self.0.own()))
    }

    /// The system's instant at which this clock shows `time`, if the process is not stopped before.
    pub fn instant_of(&self, time: Time) -> Instant {
        let lost = Duration::from_nanos(self.0.lost.load(Acquire));
        self.0.started + time.elapsed().saturating_add(lost).min(NEVER)
    }

    /// Returns when the clock shows `time`.
    pub async fn sleep_until(&self, time: Time) {
        while self.now() < time {
            sleep_until(self.instant_of(time)).await;
        }
    }

    /// Returns when `duration` has passed by this clock.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.now() + duration).await;
    }

    /// Runs `work` for at most `within`.
    ///
    /// # Errors
    /// [`Elapsed`] if it took longer; `work` is dropped.
    pub async fn timeout<T>(
        &self,
        within: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, Elapsed> {
        self.timeout_at(self.now() + within, work).await
    }

    /// Runs `work` until `end` at most.
    ///
    /// # Errors
    /// [`Elapsed`] if it took longer; `work` is dropped.
    pub async fn timeout_at<T>(
        &self,
        end: Time,
        work: impl Future<Output = T>,
    ) -> Result<T, Elapsed> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = self.sleep_until(end) => Err(Elapsed),
        }
    }
}

/// The time for some work is over, and the work is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

impl Shared {
    /// The system's time.
    fn outside(&self) -> u64 {
        nanos(self.started.elapsed())
    }

    /// This clock's time, after any stop is accounted for.
    fn own(&self) -> u64 {
        loop {
            let lost = self.lost.load(Acquire);
            let outside = self.outside();
            let seen = self.seen.load(Acquire);
            if outside.saturating_sub(seen) >= nanos(STOPPED_AFTER) {
                self.note_stop();
                continue;
            }
            // The process was stopped after the first load, and another thread has noted it.
            if self.lost.load(Acquire) != lost {
                continue;
            }
            if outside >= seen.saturating_add(nanos(GRAIN)) {
                self.seen.fetch_max(outside, AcqRel);
            }
            return self.own_at(outside, lost);
        }
    }

    fn own_at(&self, outside: u64, lost: u64) -> u64 {
        outside.saturating_sub(lost).max(self.floor.load(Acquire))
    }

    /// Accounts for a stop. A window follows, unless the last one ended a short time ago: otherwise
    /// a process that runs in short bursts between stops would never see its clock go on.
    #[cold]
    fn note_stop(&self) {
        // Nothing under it panics.
        let _one = self.noting.lock().unwrap_or_else(PoisonError::into_inner);
        let (outside, seen) = (self.outside(), self.seen.load(Acquire));
        let gap = outside.saturating_sub(seen);
        if gap < nanos(STOPPED_AFTER) {
            return;
        }
        let lost = self.lost.load(Acquire);
        // No caller was told a later time than this.
        let stopped = self.own_at(seen.saturating_add(nanos(GRAIN)), lost);
        let since_last = stopped.saturating_sub(self.floor.load(Acquire));
        if lost == 0 || since_last >= nanos(WINDOW) {
            self.floor.store(stopped, Release);
            self.lost.store((outside + nanos(WINDOW)).saturating_sub(stopped), Release);
        } else {
            self.lost.store(lost + gap.saturating_sub(nanos(GRAIN)), Release);
        }
        self.seen.fetch_max(outside, AcqRel);
        let seconds = Duration::from_nanos(gap).as_secs();
        tracing::info!(seconds, "this process did not run; that counts for no deadline");
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Time since the Unix epoch by the system's clock; zero if that is set to an earlier time.
pub fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Runs for so many seconds.
    async fn run(clock: &Clock, seconds: u32) {
        for _ in 0..seconds {
            advance(SECOND).await;
            clock.beat();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_the_process_was_stopped_does_not_count_and_a_window_follows() {
        let clock = Clock::new();
        clock.beat();
        run(&clock, 5).await;
        let before = clock.now();
        advance(70 * SECOND).await;
        let stands = clock.now();
        assert!(before <= stands && stands <= before + GRAIN, "{before:?} {stands:?}");
        run(&clock, 3).await;
        assert_eq!(clock.now(), stands);
        run(&clock, 4).await;
        assert_eq!(clock.now(), stands + 4 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_never_goes_back_however_often_we_are_stopped() {
        let clock = Clock::new();
        clock.beat();
        let mut last = clock.now();
        for step in [1, 10, 1, 1, 5, 2, 30, 4, 1, 1, 1, 1, 1] {
            advance(step * SECOND).await;
            assert!(clock.now() >= last);
            last = clock.now();
        }
        // 1 s before the first stop, then all in which we ran, less one window.
        assert_eq!(last, Time::ZERO + 7 * SECOND + 4 * GRAIN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_runs_only_for_short_times_between_stops_gets_on_all_the_same() {
        let clock = Clock::new();
        clock.beat();
        let began = clock.now();
        for _ in 0..60 {
            run(&clock, 2).await;
            advance(5 * SECOND).await;
            clock.beat();
        }
        let took = clock.now() - began;
        assert!(40 * SECOND < took && took < 120 * SECOND, "{took:?} of 120 s in which we ran");
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_stop_after_a_window_and_some_time_has_a_window_of_its_own() {
        let clock = Clock::new();
        clock.beat();
        run(&clock, 1).await;
        advance(70 * SECOND).await;
        clock.beat();
        run(&clock, 7).await;
        advance(70 * SECOND).await;
        let stands = clock.now();
        run(&clock, 3).await;
        assert_eq!(clock.now(), stands);
    }

    #[test]
    fn many_threads_that_look_at_once_see_no_time_go_back_or_leap() {
        let clock = Clock::new();
        clock.beat();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut last = clock.now();
                    for _ in 0..20_000 {
                        // As if nobody had looked for a while.
                        if rand::random::<u16>() < 64 {
                            let long_ago = clock.0.outside().saturating_sub(nanos(STOPPED_AFTER));
                            clock.0.seen.store(long_ago, Release);
                        }
                        let now = clock.now();
                        assert!(now >= last && now - last < SECOND, "{last:?} {now:?}");
                        last = now;
                    }
                });
            }
        });
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_later_by_the_time_in_which_the_process_was_stopped() {
        let clock = Clock::new();
        clock.beat();
        let waiting = tokio::spawn({
            let clock = clock.clone();
            async move { clock.timeout(10 * SECOND, pending::<()>()).await }
        });
        tokio::task::yield_now().await;
        run(&clock, 9).await;
        advance(70 * SECOND).await;
        run(&clock, 3).await;
        assert!(!waiting.is_finished());
        run(&clock, 2).await;
        assert_eq!(waiting.await.ok(), Some(Err(Elapsed)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_does_not_beat_is_not_taken_for_stopped() {
        let clock = Clock::new();
        advance(70 * SECOND).await;
        assert_eq!(clock.now(), Time::ZERO + 70 * SECOND);
    }
}

//! Time in which this process ran. A stopped process, a paused container, a machine that was
//! suspended: what passes meanwhile counts for no deadline. After it the clock stands still for one
//! window, so that what waits in sockets is dealt with before anybody is judged by it.
//!
//! The engine beats each second. When no beat came for much longer, nobody ran, whoever looks at
//! the clock first.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tnet_swarm::Time;
use tokio::time::{Instant, sleep_until};

/// How often somebody must beat.
pub(crate) const BEAT: Duration = Duration::from_secs(1);

/// Without a beat for so long nobody ran. Longer than a busy machine keeps a thread waiting.
pub(crate) const STOPPED_AFTER: Duration = Duration::from_secs(3);

/// After a time without us the clock stands still for so long: one progress window.
const WINDOW: Duration = Duration::from_secs(3);

/// Further ahead than any deadline that comes.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A look that comes sooner than this after another one is not noted: whoever reads from a socket
/// looks, thousands of times a second, on all processors.
const GRAIN: Duration = Duration::from_millis(1);

/// Nobody says that he would beat.
const NEVER_SEEN: u64 = u64::MAX;

/// A clock, which all copies share.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Shared>);

/// All in nanoseconds since the start; `seen` as time passes outside, the others in our own.
#[derive(Debug)]
struct Shared {
    started: Instant,
    /// When somebody looked or beat last, give or take a [`GRAIN`].
    seen: AtomicU64,
    /// What the own time is behind. It changes before `seen` tells of the same stop.
    lost: AtomicU64,
    /// The own time when it began to stand still last: it does not go back.
    floor: AtomicU64,
    /// For whoever notes a stop.
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

    /// What time it is, for somebody who asks again within [`BEAT`].
    pub(crate) fn beat(&self) -> Time {
        if self.0.seen.load(Relaxed) == NEVER_SEEN {
            let _ = self.0.seen.compare_exchange(NEVER_SEEN, self.0.outside(), AcqRel, Relaxed);
        }
        self.now()
    }

    /// What time it is.
    pub fn now(&self) -> Time {
        Time::after_start(Duration::from_nanos(self.0.own()))
    }

    /// When that time comes, if we run until then.
    pub(crate) fn instant_of(&self, time: Time) -> Instant {
        let lost = Duration::from_nanos(self.0.lost.load(Acquire));
        self.0.started + time.elapsed().saturating_add(lost).min(NEVER)
    }

    /// Until then.
    pub async fn sleep_until(&self, time: Time) {
        while self.now() < time {
            sleep_until(self.instant_of(time)).await;
        }
    }

    /// Returns when that much time has passed.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.now() + duration).await;
    }

    /// What comes of the work, if that comes within this time.
    pub async fn timeout<T>(
        &self,
        within: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, Elapsed> {
        self.timeout_at(self.now() + within, work).await
    }

    /// The same, with a given end.
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

/// It took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

impl Shared {
    fn outside(&self) -> u64 {
        nanos(self.started.elapsed())
    }

    /// The own time. A stop that anybody has noticed is behind it, as is one that nobody has.
    fn own(&self) -> u64 {
        loop {
            let lost = self.lost.load(Acquire);
            let outside = self.outside();
            let seen = self.seen.load(Acquire);
            if outside.saturating_sub(seen) >= nanos(STOPPED_AFTER) {
                self.note_stop();
                continue;
            }
            // We were stopped after the first look, and somebody else has noted it.
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

    /// Nobody ran for a while. A window follows, unless the last one was not over for long: bursts
    /// between stops would else never make the clock go on.
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
        // Nobody was told a later time than this.
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

/// Time since the Unix epoch, as the system has it.
pub(crate) fn wall_clock() -> Duration {
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
    async fn time_in_which_nobody_ran_does_not_count_and_a_window_follows() {
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
    async fn who_runs_only_for_short_times_between_stops_gets_on_all_the_same() {
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
    async fn a_wait_ends_later_by_the_time_in_which_nobody_ran() {
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
    async fn who_does_not_beat_is_not_taken_for_stopped() {
        let clock = Clock::new();
        advance(70 * SECOND).await;
        assert_eq!(clock.now(), Time::ZERO + 70 * SECOND);
    }
}

//! Time in which this process ran. A stopped process, a paused container, a machine that was suspended: what passes meanwhile
//! counts for no deadline. After it the clock stands still for one window, so that what waits in sockets is dealt with
//! before anybody is judged by it.
//!
//! The engine beats each second. When no beat came for much longer, nobody ran, whoever looks at the clock first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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

/// A clock, which all copies share.
#[derive(Debug, Clone)]
pub(crate) struct Clock(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    started: Instant,
    state: Mutex<State>,
}

/// All as time since the start; `seen` as time passes outside, the others in our own.
#[derive(Debug, Default)]
struct State {
    /// When somebody looked or beat last. None before the first beat: nobody says that he would beat.
    seen: Option<Duration>,
    /// What the own time is behind.
    lost: Duration,
    /// The own time when it began to stand still last: it does not go back.
    floor: Duration,
}

impl Clock {
    pub(crate) fn new() -> Clock {
        Clock(Arc::new(Shared { started: Instant::now(), state: Mutex::default() }))
    }

    /// What time it is, for somebody who asks again within [`BEAT`].
    pub(crate) fn beat(&self) -> Time {
        let outside = self.0.started.elapsed();
        self.state().seen.get_or_insert(outside);
        self.now()
    }

    /// What time it is.
    pub(crate) fn now(&self) -> Time {
        let outside = self.0.started.elapsed();
        let mut state = self.state();
        state.look(outside);
        Time::after_start(state.own(outside))
    }

    /// When that time comes, if we run until then.
    pub(crate) fn instant_of(&self, time: Time) -> Instant {
        let lost = self.state().lost;
        self.0.started + time.elapsed().saturating_add(lost).min(NEVER)
    }

    /// Until then.
    pub(crate) async fn sleep_until(&self, time: Time) {
        while self.now() < time {
            sleep_until(self.instant_of(time)).await;
        }
    }

    pub(crate) async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.now() + duration).await;
    }

    /// What comes of the work, if that comes until then.
    pub(crate) async fn timeout_at<T>(&self, end: Time, work: impl Future<Output = T>) -> Result<T, Elapsed> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = self.sleep_until(end) => Err(Elapsed),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under it panics.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// It took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Elapsed;

impl State {
    fn own(&self, outside: Duration) -> Duration {
        outside.saturating_sub(self.lost).max(self.floor)
    }

    /// Notes that we run, and that we did not.
    fn look(&mut self, outside: Duration) {
        let Some(seen) = self.seen else { return };
        self.seen = Some(outside.max(seen));
        let gap = outside.saturating_sub(seen);
        if gap >= STOPPED_AFTER {
            let own = self.own(seen);
            if own > self.floor || self.lost.is_zero() {
                self.floor = own;
                self.lost = (outside + WINDOW).saturating_sub(own);
            } else {
                // It stands still already. A window that began anew each time would never end on a machine that lets us
                // run only now and then.
                self.lost += gap;
            }
            tracing::info!(seconds = gap.as_secs(), "this process did not run; that counts for no deadline");
        }
    }
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
        assert_eq!(clock.now(), before);
        run(&clock, 3).await;
        assert_eq!(clock.now(), before);
        run(&clock, 4).await;
        assert_eq!(clock.now(), before + 4 * SECOND);
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
        assert_eq!(last, Time::ZERO + 4 * SECOND, "1 s at the start, 1 s in between, 2 s at the end");
    }

    #[tokio::test(start_paused = true)]
    async fn who_runs_only_now_and_then_does_not_wait_for_ever() {
        let clock = Clock::new();
        clock.beat();
        run(&clock, 1).await;
        for _ in 0..40 {
            advance(4 * SECOND).await;
            clock.beat();
            run(&clock, 1).await;
        }
        // Of four seconds that it runs three are the window.
        assert_eq!(clock.now(), Time::ZERO + 11 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_later_by_the_time_in_which_nobody_ran() {
        let clock = Clock::new();
        clock.beat();
        let waiting = tokio::spawn({
            let clock = clock.clone();
            async move { clock.timeout_at(Time::ZERO + 10 * SECOND, pending::<()>()).await }
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

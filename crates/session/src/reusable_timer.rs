//! Timeouts for many waits, one after another, with one timer for all of them.
//!
//! On a fast connection most waits, tens of thousands a second, are over at once. A timer created
//! for each would read the clock and be thrown away; this one is set only when the work has to
//! wait.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tnet_net::Clock;
pub(super) use tnet_net::Elapsed;
use tnet_proto::Time;
use tokio::time::{Sleep, sleep};

#[derive(Debug)]
pub(super) struct ReusableTimer {
    clock: Clock,
    timer: Pin<Box<Sleep>>,
}

impl ReusableTimer {
    pub(super) fn new(clock: Clock) -> ReusableTimer {
        ReusableTimer { clock, timer: Box::pin(sleep(Duration::ZERO)) }
    }

    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    /// The result of `work`, unless it takes longer than `limit` from the first time that it is
    /// pending.
    pub(super) async fn timeout<T>(
        &mut self,
        limit: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, Elapsed> {
        self.timeout_until(limit, None, work).await
    }

    /// Like `timeout`, and not later than `end` either, unless the work is ready at once.
    pub(super) async fn timeout_until<T>(
        &mut self,
        limit: Duration,
        end: Option<Time>,
        work: impl Future<Output = T>,
    ) -> Result<T, Elapsed> {
        let mut work = pin!(work);
        let mut due = None;
        poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(Ok(done));
            }
            let due = *due.get_or_insert_with(|| {
                let late = self.clock.now() + limit;
                let due = end.map_or(late, |end| end.min(late));
                self.timer.as_mut().reset(self.clock.instant_of(due));
                due
            });
            while self.timer.as_mut().poll(context).is_ready() {
                if due <= self.clock.now() {
                    return Poll::Ready(Err(Elapsed));
                }
                // The process did not run for a part of the time.
                self.timer.as_mut().reset(self.clock.instant_of(due));
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::Instant;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn each_wait_has_its_own_limit() {
        let mut timer = ReusableTimer::new(Clock::new());
        let began = Instant::now();
        assert_eq!(timer.timeout(2 * SECOND, sleep(SECOND)).await, Ok(()));
        assert_eq!(timer.timeout(2 * SECOND, sleep(SECOND)).await, Ok(()));
        assert_eq!(timer.timeout(5 * SECOND, pending::<()>()).await, Err(Elapsed));
        assert_eq!(timer.timeout(SECOND, pending::<()>()).await, Err(Elapsed));
        assert_eq!(began.elapsed().as_secs(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn several_waits_do_not_put_off_their_common_end() {
        let mut timer = ReusableTimer::new(Clock::new());
        let end = Some(timer.now() + 3 * SECOND);
        assert_eq!(timer.timeout_until(2 * SECOND, end, sleep(SECOND)).await, Ok(()));
        assert_eq!(timer.timeout_until(2 * SECOND, end, sleep(SECOND)).await, Ok(()));
        assert_eq!(timer.timeout_until(2 * SECOND, end, sleep(3 * SECOND / 2)).await, Err(Elapsed));
        assert_eq!(timer.timeout_until(2 * SECOND, end, async { 1 }).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_is_ready_at_once_is_never_late() {
        let mut timer = ReusableTimer::new(Clock::new());
        assert_eq!(timer.timeout(Duration::ZERO, async { 1 }).await, Ok(1));
        assert_eq!(timer.timeout(SECOND, pending::<()>()).await, Err(Elapsed));
        // The timer has expired for the wait before.
        assert_eq!(timer.timeout(Duration::ZERO, async { 2 }).await, Ok(2));
        assert_eq!(timer.timeout(2 * SECOND, sleep(SECOND)).await, Ok(()));
    }
}

//! A limit for each of many waits, one after another, with one timer for all of them.
//!
//! On a fast connection most of them are over at once, tens of thousands a second. A timer made for
//! each would ask for the time and be thrown away; this one is looked at only when there is
//! something to wait for.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tnet_net::Clock;
use tnet_swarm::Time;
use tokio::time::{Sleep, sleep};

pub(super) use tnet_net::Elapsed;

#[derive(Debug)]
pub(super) struct TimeLimit {
    clock: Clock,
    timer: Pin<Box<Sleep>>,
}

impl TimeLimit {
    pub(super) fn new(clock: Clock) -> TimeLimit {
        TimeLimit { clock, timer: Box::pin(sleep(Duration::ZERO)) }
    }

    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    /// What comes of the work, if that comes in this time from the first moment on at which it has
    /// to wait.
    pub(super) async fn within<T>(
        &mut self,
        time: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, Elapsed> {
        self.within_until(time, None, work).await
    }

    /// The same, and not later than at `end`, unless it comes without a wait.
    pub(super) async fn within_until<T>(
        &mut self,
        time: Duration,
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
                let late = self.clock.now() + time;
                let due = end.map_or(late, |end| end.min(late));
                self.timer.as_mut().reset(self.clock.instant_of(due));
                due
            });
            while self.timer.as_mut().poll(context).is_ready() {
                if due <= self.clock.now() {
                    return Poll::Ready(Err(Elapsed));
                }
                // We did not run for a part of it.
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
    async fn each_wait_has_its_own_time() {
        let mut limit = TimeLimit::new(Clock::new());
        let began = Instant::now();
        assert_eq!(limit.within(2 * SECOND, sleep(SECOND)).await, Ok(()));
        assert_eq!(limit.within(2 * SECOND, sleep(SECOND)).await, Ok(()));
        assert_eq!(limit.within(5 * SECOND, pending::<()>()).await, Err(Elapsed));
        assert_eq!(limit.within(SECOND, pending::<()>()).await, Err(Elapsed));
        assert_eq!(began.elapsed().as_secs(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn a_common_end_of_several_waits_is_not_put_off_by_them() {
        let mut limit = TimeLimit::new(Clock::new());
        let end = Some(limit.now() + 3 * SECOND);
        assert_eq!(limit.within_until(2 * SECOND, end, sleep(SECOND)).await, Ok(()));
        assert_eq!(limit.within_until(2 * SECOND, end, sleep(SECOND)).await, Ok(()));
        assert_eq!(limit.within_until(2 * SECOND, end, sleep(3 * SECOND / 2)).await, Err(Elapsed));
        assert_eq!(limit.within_until(2 * SECOND, end, async { 1 }).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_there_at_once_is_never_late() {
        let mut limit = TimeLimit::new(Clock::new());
        assert_eq!(limit.within(Duration::ZERO, async { 1 }).await, Ok(1));
        assert_eq!(limit.within(SECOND, pending::<()>()).await, Err(Elapsed));
        // The timer has run out, and that was another wait's.
        assert_eq!(limit.within(Duration::ZERO, async { 2 }).await, Ok(2));
        assert_eq!(limit.within(2 * SECOND, sleep(SECOND)).await, Ok(()));
    }
}

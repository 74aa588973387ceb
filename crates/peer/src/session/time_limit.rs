//! A limit for each of many waits, one after another, with one timer for all of them.
//!
//! On a fast connection most of them are over at once, tens of thousands a second. A timer made for each would ask for the time
//! and be thrown away; this one is looked at only when there is something to wait for.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// It took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Elapsed;

#[derive(Debug)]
pub(super) struct TimeLimit {
    timer: Pin<Box<Sleep>>,
}

impl TimeLimit {
    pub(super) fn new() -> TimeLimit {
        TimeLimit { timer: Box::pin(sleep(Duration::ZERO)) }
    }

    /// What comes of the work, if that comes in this time from the first moment on at which it has to wait.
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
        end: Option<Instant>,
        work: impl Future<Output = T>,
    ) -> Result<T, Elapsed> {
        let mut work = pin!(work);
        let mut is_set = false;
        poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(Ok(done));
            }
            if !std::mem::replace(&mut is_set, true) {
                let late = Instant::now() + time;
                self.timer.as_mut().reset(end.map_or(late, |end| end.min(late)));
            }
            self.timer.as_mut().poll(context).map(|()| Err(Elapsed))
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
        let mut limit = TimeLimit::new();
        let began = Instant::now();
        assert_eq!(limit.within(2 * SECOND, sleep(SECOND)).await, Ok(()));
        assert_eq!(limit.within(2 * SECOND, sleep(SECOND)).await, Ok(()));
        assert_eq!(limit.within(5 * SECOND, pending::<()>()).await, Err(Elapsed));
        assert_eq!(limit.within(SECOND, pending::<()>()).await, Err(Elapsed));
        assert_eq!(began.elapsed().as_secs(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn a_common_end_of_several_waits_is_not_put_off_by_them() {
        let mut limit = TimeLimit::new();
        let end = Some(Instant::now() + 3 * SECOND);
        assert_eq!(limit.within_until(2 * SECOND, end, sleep(SECOND)).await, Ok(()));
        assert_eq!(limit.within_until(2 * SECOND, end, sleep(SECOND)).await, Ok(()));
        assert_eq!(limit.within_until(2 * SECOND, end, sleep(3 * SECOND / 2)).await, Err(Elapsed));
        assert_eq!(limit.within_until(2 * SECOND, end, async { 1 }).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_there_at_once_is_never_late() {
        let mut limit = TimeLimit::new();
        assert_eq!(limit.within(Duration::ZERO, async { 1 }).await, Ok(1));
        assert_eq!(limit.within(SECOND, pending::<()>()).await, Err(Elapsed));
        // The timer has run out, and that was another wait's.
        assert_eq!(limit.within(Duration::ZERO, async { 2 }).await, Ok(2));
        assert_eq!(limit.within(2 * SECOND, sleep(SECOND)).await, Ok(()));
    }
}

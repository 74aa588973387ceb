//! A session's place in the queue for turns. A turn is a permit to write parts of chunks; the
//! process has few.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::PollSemaphore;

pub(super) struct TurnQueue {
    turns: PollSemaphore,
    /// Between two turns; zero but for demonstrations.
    delay: Duration,
    /// No turn is requested before.
    delayed_until: Option<Instant>,
}

impl TurnQueue {
    pub(super) fn new(turns: Arc<Semaphore>, delay: Duration) -> TurnQueue {
        TurnQueue { turns: PollSemaphore::new(turns), delay, delayed_until: None }
    }

    /// Waits for a turn. A dropped call keeps its place in the queue for the next one. A delay
    /// passes before the turn is requested, so no other session waits for it.
    pub(super) async fn acquire(&mut self) -> OwnedSemaphorePermit {
        if let Some(until) = self.delayed_until {
            sleep_until(until).await;
        }
        let turn = poll_fn(|context| self.turns.poll_acquire(context)).await;
        turn.expect("the semaphore of turns is never closed")
    }

    /// Gives up the place in the queue: a turn that comes to it would go unused.
    pub(super) fn leave(&mut self) {
        self.turns = PollSemaphore::new(self.turns.clone_inner());
    }

    pub(super) fn has_delay(&self) -> bool {
        !self.delay.is_zero()
    }

    /// A turn is over; the next one is delayed.
    pub(super) fn start_delay(&mut self) {
        if self.has_delay() {
            self.delayed_until = Some(Instant::now() + self.delay);
        }
    }
}

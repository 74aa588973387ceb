//! Memory for long messages, from their first byte until the engine has taken them. All sessions of a process share one
//! budget; one that wants more waits, stops reading, and so slows its sender down.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

/// A message up to this length costs no more than the connection does.
pub(super) const SHORT: usize = 4 * 1024;

/// Bytes for all that are longer: thirty bitmaps of the longest kind.
const BUDGET: usize = 8 * 1024 * 1024;

/// Budget is counted in units of this many bytes.
const UNIT: usize = 1024;

/// A long message must be whole within this time: 128 KiB at 5 kB/s.
pub(super) const WHOLE_WITHIN: Duration = Duration::from_secs(30);

/// The same while others wait for the memory.
const HASTE: Duration = Duration::from_secs(1);

/// How often one that waits asks for memory.
const ASK: Duration = Duration::from_millis(50);

#[derive(Debug, Clone)]
pub(super) struct LongMessages {
    budget: Arc<Semaphore>,
    is_short: Arc<Notify>,
}

/// The memory of one message; returned when dropped.
#[derive(Debug)]
pub(crate) struct LongShare {
    _bytes: OwnedSemaphorePermit,
    is_short: Arc<Notify>,
}

impl LongMessages {
    pub(super) fn new() -> LongMessages {
        LongMessages { budget: Arc::new(Semaphore::new(BUDGET / UNIT)), is_short: Arc::default() }
    }

    /// Memory for a message of so many bytes as they come and as they are decoded, once there is enough. Meanwhile those
    /// whose message takes long are asked to leave.
    pub(super) async fn admit(&self, len: usize) -> LongShare {
        let units = u32::try_from((2 * len).div_ceil(UNIT)).expect("a message is far below the budget");
        let mut bytes = std::pin::pin!(Arc::clone(&self.budget).acquire_many_owned(units));
        loop {
            match timeout(ASK, &mut bytes).await {
                Ok(bytes) => {
                    let bytes = bytes.expect("the budget is never closed");
                    return LongShare { _bytes: bytes, is_short: Arc::clone(&self.is_short) };
                }
                Err(_) => self.is_short.notify_waiters(),
            }
        }
    }
}

impl LongShare {
    /// Until the message has taken too long, for its sender or for others that wait.
    pub(super) async fn has_to_leave(&self) {
        let in_haste = async {
            sleep(HASTE).await;
            self.is_short.notified().await;
        };
        let _ = timeout(WHOLE_WITHIN, in_haste).await;
    }
}

#[cfg(test)]
mod tests {
    use tnet_proto::MAX_FRAME_LEN;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_message_has_its_time_unless_others_wait_for_the_memory() {
        let messages = LongMessages::new();
        let began = Instant::now();
        let mut shares = Vec::new();
        for _ in 0..BUDGET / (2 * MAX_FRAME_LEN) {
            shares.push(messages.admit(MAX_FRAME_LEN).await);
        }
        assert_eq!(began.elapsed(), Duration::ZERO, "there is memory for so many");
        shares[0].has_to_leave().await;
        assert_eq!(began.elapsed(), WHOLE_WITHIN);
        let began = Instant::now();
        let next = messages.admit(MAX_FRAME_LEN);
        let first = shares.remove(0);
        let leaving = async {
            first.has_to_leave().await;
            drop(first);
        };
        let (_next, ()) = tokio::join!(next, leaving);
        assert!(began.elapsed() >= HASTE && began.elapsed() <= 2 * HASTE, "{:?}", began.elapsed());
    }
}

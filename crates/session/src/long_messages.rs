//! Memory for long messages, from their first byte until the engine has handled them. All sessions
//! of a process share one budget; a session that finds it exhausted waits, stops reading, and so
//! slows its sender down.

use std::sync::Arc;
use std::time::Duration;

use tnet_net::Clock;

use super::budget::{Allocation, Budget, Claimant, EvictionPolicy, FillProgress, MemoryRequest};

/// Messages up to this length need no allocation: they cost no more than the connection does.
pub(super) const SHORT: usize = 4 * 1024;

/// Bytes for all longer messages: thirty bitmaps of the longest kind.
const BUDGET: u64 = 8 * 1024 * 1024;

/// Any message must be complete within this time: 128 KiB at 5 kB/s.
pub(super) const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// The rate of a long message while others wait: complete within a second, or sooner for a source
/// that holds more of the budget.
const EVICTION: EvictionPolicy = EvictionPolicy {
    grace: Duration::from_millis(200),
    rate: 512 * 1024,
    patience: Duration::from_secs(1),
    floor_rate: 128 * 1024,
};

#[derive(Debug, Clone)]
pub(super) struct LongMessages {
    budget: Budget,
}

/// The memory of one long message; returned when dropped.
#[derive(Debug)]
pub struct MessageMemory(Allocation);

impl LongMessages {
    pub(super) fn new(clock: Clock) -> LongMessages {
        LongMessages { budget: Budget::new(BUDGET, EVICTION, clock) }
    }

    /// Waits for the memory of a message of `len` bytes, as received and as decoded.
    pub(super) async fn allocate(&self, len: usize, sender: &Claimant) -> MessageMemory {
        let len = len as u64;
        let request = MemoryRequest { bytes: 2 * len, len, cancelled: Arc::default() };
        MessageMemory(self.budget.allocate(sender, request).await)
    }
}

impl MessageMemory {
    pub(super) fn progress(&self) -> &Arc<FillProgress> {
        self.0.progress()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tnet_proto::MAX_FRAME_LEN;
    use tokio::time::Instant;

    use super::*;

    fn sender(host: u8) -> Claimant {
        Claimant::new(IpAddr::from([10, 0, 0, host]))
    }

    /// Fills the budget with messages of which half has been received.
    async fn filled(messages: &LongMessages, host: impl Fn(usize) -> u8) -> Vec<MessageMemory> {
        let places = usize::try_from(BUDGET).expect("small") / (2 * MAX_FRAME_LEN);
        let mut held = Vec::new();
        for place in 0..places {
            let memory = messages.allocate(MAX_FRAME_LEN, &sender(host(place))).await;
            memory.progress().set_received(MAX_FRAME_LEN / 2);
            held.push(memory);
        }
        held
    }

    /// How long a message of that host waits when evicted messages give up their memory.
    async fn waits(messages: &LongMessages, host: u8, held: Vec<MessageMemory>) -> Duration {
        let began = Instant::now();
        let evicted = held.into_iter().map(|memory| async move {
            memory.progress().evicted().await;
            drop(memory);
        });
        let evicted = tokio::spawn(futures_util::future::join_all(evicted.map(Box::pin)));
        drop(messages.allocate(MAX_FRAME_LEN, &sender(host)).await);
        evicted.abort();
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn an_incomplete_message_is_evicted_after_the_patience() {
        let messages = LongMessages::new(Clock::new());
        let held = filled(&messages, |place| u8::try_from(place).expect("small")).await;
        let waited = waits(&messages, 200, held).await;
        assert!(waited >= EVICTION.patience && waited <= 2 * EVICTION.patience, "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn messages_of_a_source_with_many_are_evicted_after_the_grace_for_one_with_none() {
        let messages = LongMessages::new(Clock::new());
        let held = filled(&messages, |place| u8::try_from(place % 4).expect("small")).await;
        for _ in 0..100 {
            let (messages, again) = (messages.clone(), sender(1));
            tokio::spawn(async move { messages.allocate(MAX_FRAME_LEN, &again).await });
        }
        tokio::task::yield_now().await;
        let waited = waits(&messages, 200, held).await;
        assert!(waited <= 2 * EVICTION.grace, "{waited:?}");
    }
}

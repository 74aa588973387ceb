//! Memory for long messages, from their first byte until the engine has taken them. All sessions of
//! a process share one budget; one that wants more waits, stops reading, and so slows its sender
//! down.

use std::sync::Arc;
use std::time::Duration;

use tnet_net::Clock;

use super::budget::{Budget, Claimant, Haste, Hold, Share, Wanted};

/// A message up to this length costs no more than the connection does.
pub(super) const SHORT: usize = 4 * 1024;

/// Bytes for all that are longer: thirty bitmaps of the longest kind.
const BUDGET: u64 = 8 * 1024 * 1024;

/// Any message must be whole within this time: 128 KiB at 5 kB/s.
pub(super) const WHOLE_WITHIN: Duration = Duration::from_secs(30);

/// The same while others wait for the memory: within a second, or sooner for those of a source that
/// has more of it.
const HASTE: Haste = Haste {
    grace: Duration::from_millis(200),
    pace: 512 * 1024,
    patience: Duration::from_secs(1),
    least: 128 * 1024,
};

#[derive(Debug, Clone)]
pub(super) struct LongMessages {
    budget: Budget,
}

/// The memory of one message; returned when dropped.
#[derive(Debug)]
pub(crate) struct LongShare(Share);

impl LongMessages {
    pub(super) fn new(clock: Clock) -> LongMessages {
        LongMessages { budget: Budget::new(BUDGET, HASTE, clock) }
    }

    /// Memory for a message of so many bytes as they come and as they are decoded, once there is
    /// enough. Meanwhile those whose message takes long are asked to leave.
    pub(super) async fn admit(&self, len: usize, sender: &Claimant) -> LongShare {
        let len = len as u64;
        LongShare(
            self.budget
                .take(sender, Wanted { bytes: 2 * len, len, cancelled: Arc::default() })
                .await,
        )
    }
}

impl LongShare {
    pub(super) fn hold(&self) -> &Arc<Hold> {
        self.0.hold()
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

    /// All places are taken by messages of which half is there.
    async fn filled(messages: &LongMessages, host: impl Fn(usize) -> u8) -> Vec<LongShare> {
        let places = usize::try_from(BUDGET).expect("small") / (2 * MAX_FRAME_LEN);
        let mut shares = Vec::new();
        for place in 0..places {
            let share = messages.admit(MAX_FRAME_LEN, &sender(host(place))).await;
            share.hold().received(MAX_FRAME_LEN / 2);
            shares.push(share);
        }
        shares
    }

    /// How long a message of that host waits when those that have to leave do.
    async fn waits(messages: &LongMessages, host: u8, shares: Vec<LongShare>) -> Duration {
        let began = Instant::now();
        let leaving = shares.into_iter().map(|share| async move {
            share.hold().has_to_leave().await;
            drop(share);
        });
        let leaving = tokio::spawn(futures_util::future::join_all(leaving.map(Box::pin)));
        drop(messages.admit(MAX_FRAME_LEN, &sender(host)).await);
        leaving.abort();
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_is_not_whole_gives_way_to_others_after_a_while() {
        let messages = LongMessages::new(Clock::new());
        let shares = filled(&messages, |place| u8::try_from(place).expect("small")).await;
        let waited = waits(&messages, 200, shares).await;
        assert!(waited >= HASTE.patience && waited <= 2 * HASTE.patience, "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn those_of_a_source_with_many_give_way_to_a_source_with_none_much_sooner() {
        let messages = LongMessages::new(Clock::new());
        let shares = filled(&messages, |place| u8::try_from(place % 4).expect("small")).await;
        for _ in 0..100 {
            let (messages, again) = (messages.clone(), sender(1));
            tokio::spawn(async move { messages.admit(MAX_FRAME_LEN, &again).await });
        }
        tokio::task::yield_now().await;
        let waited = waits(&messages, 200, shares).await;
        assert!(waited <= 2 * HASTE.grace, "{waited:?}");
    }
}

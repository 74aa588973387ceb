//! A rate that is not exceeded. What is under way keeps its speed; only how often the next chunk
//! may begin is held back, so nobody on the other side sees a connection that crawls or stands
//! still.
//!
//! The generic cell rate algorithm (ITU-T I.371, the virtual scheduling form): each chunk moves the
//! moment from which on the next may begin by its length over the rate. Within any time `t` less
//! than `rate * (t + BURST)` bytes begin, and one chunk.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::Time;

/// Time that was not used and is made up for: else a timer that is late would make the rate lower.
const BURST: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Bytes per second.
    rate: NonZeroU64,
    /// From then on the next chunk may begin.
    next: Time,
}

impl Pace {
    pub(crate) fn new(rate: NonZeroU64, now: Time) -> Pace {
        Pace { rate, next: now }
    }

    /// From when on a chunk may begin.
    pub(crate) fn next(&self) -> Time {
        self.next
    }

    /// A chunk of `len` bytes begins.
    pub(crate) fn take(&mut self, now: Time, len: u32) {
        let earliest = Time::after_start(now.elapsed().saturating_sub(BURST));
        self.next = self.next.max(earliest) + self.time_of(len);
    }

    /// It did not come to that.
    pub(crate) fn give_back(&mut self, len: u32) {
        self.next = Time::after_start(self.next.elapsed().saturating_sub(self.time_of(len)));
    }

    fn time_of(&self, len: u32) -> Duration {
        let nanoseconds = u128::from(len) * 1_000_000_000 / u128::from(self.rate.get());
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_rate_is_never_exceeded(
            rate in 1_000_u64..100_000_000,
            lens in prop::collection::vec(1_u32..=16 << 20, 1..100),
            pauses in prop::collection::vec(0_u64..2_000_000_000, 100),
        ) {
            let mut pace = Pace::new(NonZeroU64::new(rate).unwrap(), Time::ZERO);
            let mut now = Time::ZERO;
            let mut begun: Vec<(Time, u64)> = Vec::new();
            for (len, pause) in lens.iter().zip(pauses) {
                now = now.max(pace.next()) + Duration::from_nanos(pause);
                pace.take(now, *len);
                begun.push((now, (*len).into()));
            }
            for (first, (from, _)) in begun.iter().enumerate() {
                let mut bytes = 0;
                for (to, len) in &begun[first..] {
                    // But for the last of them.
                    let seconds = (*to - *from + BURST).as_secs_f64();
                    prop_assert!(bytes as f64 <= rate as f64 * seconds + 1.0, "{bytes} bytes in {seconds} s");
                    bytes += len;
                }
            }
        }
    }

    #[test]
    fn a_rate_that_is_used_all_the_time_is_reached() {
        let mut pace = Pace::new(NonZeroU64::new(1_000_000).unwrap(), Time::ZERO);
        let mut now = Time::ZERO;
        for _ in 0..100 {
            // A timer that is 20 ms late each time.
            now = now.max(pace.next()) + Duration::from_millis(20);
            pace.take(now, 100_000);
        }
        assert!(now.elapsed() < Duration::from_millis(10_100), "{now:?} for ten million bytes");
    }

    #[test]
    fn what_is_given_back_was_never_taken() {
        let mut pace = Pace::new(NonZeroU64::new(1000).unwrap(), Time::ZERO);
        let now = Time::ZERO + Duration::from_secs(10);
        pace.take(now, 500);
        let before = pace.next();
        pace.take(now, 2000);
        pace.give_back(2000);
        assert_eq!(pace.next(), before);
    }
}

//! How much data may be unsent in the kernel: what the connection sends in a few milliseconds, measured.
//!
//! What is unsent delays every message behind it. With a fixed 64 KiB on 16 connections that share 100 Mbit/s, a
//! request waits 80 ms; the peers that upload most then download least, and the last of 16 receivers takes 1.33 times
//! the bound instead of 1.13. A fixed 16 KiB would make a fast connection wait for us after each part.

use std::time::Duration;

/// How long the kernel may be busy with what it has.
const AHEAD: Duration = Duration::from_millis(5);

/// Bytes that may be unsent on the slowest and on the fastest connection, and before anything is known.
const LEAST: u32 = 16 * 1024;
const MOST: u32 = 4 * 1024 * 1024;
pub(crate) const AT_FIRST: u32 = 64 * 1024;

/// Time spent sending that makes a measurement.
const LONG_ENOUGH: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct Pace {
    limit: u32,
    bytes: u64,
    spent: Duration,
}

impl Pace {
    pub(super) fn new() -> Pace {
        Pace { limit: AT_FIRST, bytes: 0, spent: Duration::ZERO }
    }

    /// So many bytes took so long to send. Answers the new limit, if it is another.
    pub(super) fn sent(&mut self, bytes: u32, took: Duration) -> Option<u32> {
        self.bytes += u64::from(bytes);
        self.spent += took;
        if self.spent < LONG_ENOUGH {
            return None;
        }
        let ahead = u128::from(self.bytes) * AHEAD.as_nanos() / self.spent.as_nanos();
        (self.bytes, self.spent) = (0, Duration::ZERO);
        // Powers of two, so that it settles.
        let limit = u32::try_from(ahead).unwrap_or(MOST).clamp(LEAST, MOST).next_power_of_two();
        (std::mem::replace(&mut self.limit, limit) != limit).then_some(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: u32 = 64 * 1024;

    #[test]
    fn a_slow_connection_is_limited_to_the_least() {
        assert_eq!(Pace::new().sent(PART, Duration::from_millis(80)), Some(LEAST));
    }

    #[test]
    fn a_fast_connection_may_have_what_it_sends_in_five_milliseconds() {
        let mut pace = Pace::new();
        let told: Vec<u32> = (0..200).filter_map(|_| pace.sent(PART, Duration::from_micros(100))).collect();
        assert_eq!(told, [4 * 1024 * 1024], "655 MB/s, rounded up to a power of two");
    }

    #[test]
    fn a_steady_pace_changes_the_limit_once() {
        let mut pace = Pace::new();
        let told: Vec<u32> = (0..100).filter_map(|_| pace.sent(PART, Duration::from_millis(10))).collect();
        assert_eq!(told, [32 * 1024], "6.5 MB/s");
    }

    #[test]
    fn nothing_sent_in_no_time_is_no_measurement() {
        assert_eq!(Pace::new().sent(0, Duration::ZERO), None);
    }
}

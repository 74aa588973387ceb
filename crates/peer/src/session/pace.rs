//! How much data may be unsent in the kernel: what the connection sends in a few milliseconds,
//! measured.
//!
//! What is unsent delays every message behind it. With a fixed 64 KiB on 16 connections that share
//! 100 Mbit/s, a request waits 80 ms; the peers that upload most then download least, and the last
//! of 16 receivers takes 1.33 times the bound instead of 1.13. A fixed 16 KiB would make a fast
//! connection wait for us after each part.

use std::time::Duration;

use tnet_net::UNSENT_AT_FIRST;
use tokio::time::Instant;

/// For how long the kernel may have data.
const AHEAD: Duration = Duration::from_millis(5);

/// Bytes that may be unsent on the slowest and on the fastest connection.
const LEAST: u32 = UNSENT_AT_FIRST;
const MOST: u32 = 4 * 1024 * 1024;

/// A connection that may have so much unsent sends 6 MB/s or more.
const FAST: u32 = 64 * 1024;

/// What is sent in this time makes a measurement.
const LONG_ENOUGH: Duration = Duration::from_millis(20);

/// After such a pause a measurement begins anew: the connection had nothing to send.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Pace {
    limit: u32,
    window: Option<Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    last: Instant,
    bytes: u64,
}

impl Pace {
    pub(super) fn new() -> Pace {
        Pace { limit: UNSENT_AT_FIRST, window: None }
    }

    /// Bytes that may be unsent.
    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// Whether the processor is more likely to hold this connection up than the wire.
    pub(super) fn is_fast(&self) -> bool {
        self.limit >= FAST
    }

    /// So many bytes more are sent at `now`. Answers the new limit, if it is another.
    pub(super) fn sent(&mut self, bytes: u32, now: Instant) -> Option<u32> {
        let window = self.window.take().filter(|window| now - window.last < PAUSE);
        let Some(window) = window else {
            self.window = Some(Window { began: now, last: now, bytes: 0 });
            return None;
        };
        let (bytes, took) = (window.bytes + u64::from(bytes), now - window.began);
        if took < LONG_ENOUGH {
            self.window = Some(Window { last: now, bytes, ..window });
            return None;
        }
        self.window = Some(Window { began: now, last: now, bytes: 0 });
        let ahead = u128::from(bytes) * AHEAD.as_nanos() / took.as_nanos();
        // Powers of two, so that it settles.
        let limit = u32::try_from(ahead).unwrap_or(MOST).clamp(LEAST, MOST).next_power_of_two();
        (std::mem::replace(&mut self.limit, limit) != limit).then_some(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: u32 = 64 * 1024;

    /// The limits told when a part is sent each so often.
    fn told(pace: &mut Pace, began: Instant, parts: u32, every: Duration) -> Vec<u32> {
        (0..parts).filter_map(|part| pace.sent(PART, began + every * part)).collect()
    }

    #[test]
    fn a_slow_connection_keeps_the_least() {
        assert!(told(&mut Pace::new(), Instant::now(), 100, Duration::from_millis(80)).is_empty());
    }

    #[test]
    fn a_fast_connection_may_have_what_it_sends_in_five_milliseconds() {
        let limits = told(&mut Pace::new(), Instant::now(), 1000, Duration::from_micros(100));
        assert_eq!(limits, [4 * 1024 * 1024], "655 MB/s, rounded up to a power of two");
    }

    #[test]
    fn a_connection_that_slows_down_is_limited_again() {
        let mut pace = Pace::new();
        let began = Instant::now();
        told(&mut pace, began, 1000, Duration::from_micros(100));
        let later = began + Duration::from_millis(100);
        assert_eq!(told(&mut pace, later, 10, Duration::from_millis(10)), [32 * 1024], "6.5 MB/s");
    }

    #[test]
    fn a_pause_is_not_slowness() {
        let mut pace = Pace::new();
        let (began, fast) = (Instant::now(), Duration::from_micros(100));
        told(&mut pace, began, 1000, fast);
        let limits = told(&mut pace, began + Duration::from_secs(10), 1000, fast);
        assert!(limits.is_empty(), "{limits:?}");
    }
}

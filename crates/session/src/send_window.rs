//! How many bytes may be unsent in the kernel: what the connection sends in a few milliseconds,
//! measured.
//!
//! Unsent bytes delay every message behind them. With a fixed 64 KiB on 16 connections that share
//! 100 Mbit/s, a request waits 80 ms; the peers that upload most then download least, and the last
//! of 16 receivers takes 1.33 times the bound instead of 1.13. A fixed 16 KiB would make a fast
//! connection wait for us after each part.

use std::time::Duration;

use tnet_proto::{UNSENT_AHEAD, UNSENT_AT_FIRST};
use tokio::time::Instant;

/// Bytes that may be unsent on the slowest and on the fastest connection.
const MIN_LIMIT: u32 = UNSENT_AT_FIRST;
const MAX_LIMIT: u32 = 4 * 1024 * 1024;

/// A connection with at least this limit sends 6 MB/s or more.
const FAST: u32 = 64 * 1024;

/// A measurement covers at least this time.
const MEASURE_FOR: Duration = Duration::from_millis(20);

/// After such a pause the measurement starts anew: the connection had nothing to send.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct SendWindow {
    limit: u32,
    measurement: Option<Measurement>,
}

#[derive(Debug)]
struct Measurement {
    began: Instant,
    last: Instant,
    bytes: u64,
}

impl SendWindow {
    pub(super) fn new() -> SendWindow {
        SendWindow { limit: UNSENT_AT_FIRST, measurement: None }
    }

    /// Bytes that may be unsent.
    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// Whether the CPU is more likely than the network to be the bottleneck of this connection.
    pub(super) fn is_fast(&self) -> bool {
        self.limit >= FAST
    }

    /// Adds `bytes` that were sent by `now`. Returns the new limit if it changed.
    pub(super) fn sent(&mut self, bytes: u32, now: Instant) -> Option<u32> {
        let current = self.measurement.take().filter(|current| now - current.last < PAUSE);
        let Some(current) = current else {
            self.measurement = Some(Measurement { began: now, last: now, bytes: 0 });
            return None;
        };
        let (bytes, took) = (current.bytes + u64::from(bytes), now - current.began);
        if took < MEASURE_FOR {
            self.measurement = Some(Measurement { last: now, bytes, ..current });
            return None;
        }
        self.measurement = Some(Measurement { began: now, last: now, bytes: 0 });
        let ahead = u128::from(bytes) * UNSENT_AHEAD.as_nanos() / took.as_nanos();
        // Rounded to powers of two, so that the limit settles.
        let limit = u32::try_from(ahead)
            .unwrap_or(MAX_LIMIT)
            .clamp(MIN_LIMIT, MAX_LIMIT)
            .next_power_of_two();
        (std::mem::replace(&mut self.limit, limit) != limit).then_some(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: u32 = 64 * 1024;

    /// The limits returned when a part is sent at each interval.
    fn limits(window: &mut SendWindow, began: Instant, parts: u32, interval: Duration) -> Vec<u32> {
        (0..parts).filter_map(|part| window.sent(PART, began + interval * part)).collect()
    }

    #[test]
    fn a_slow_connection_keeps_the_minimum() {
        assert!(
            limits(&mut SendWindow::new(), Instant::now(), 100, Duration::from_millis(80))
                .is_empty()
        );
    }

    #[test]
    fn the_limit_of_a_fast_connection_is_what_it_sends_in_five_milliseconds() {
        let limits =
            limits(&mut SendWindow::new(), Instant::now(), 1000, Duration::from_micros(100));
        assert_eq!(limits, [4 * 1024 * 1024], "655 MB/s, rounded up to a power of two");
    }

    #[test]
    fn a_connection_that_slows_down_is_limited_again() {
        let mut window = SendWindow::new();
        let began = Instant::now();
        limits(&mut window, began, 1000, Duration::from_micros(100));
        let later = began + Duration::from_millis(100);
        assert_eq!(
            limits(&mut window, later, 10, Duration::from_millis(10)),
            [32 * 1024],
            "6.5 MB/s"
        );
    }

    #[test]
    fn a_pause_is_not_slowness() {
        let mut window = SendWindow::new();
        let (began, fast) = (Instant::now(), Duration::from_micros(100));
        limits(&mut window, began, 1000, fast);
        let limits = limits(&mut window, began + Duration::from_secs(10), 1000, fast);
        assert!(limits.is_empty(), "{limits:?}");
    }
}

//! How fast chunks pass in one direction, and so how many should be under way.
//!
//! Between a chunk's end and the next request's beginning pass a round trip and a decision at each
//! end. What is under way must last longer than that. Ten chunks of 128 KiB last 100 ms at 100
//! Mbit/s; at 10 Gbit/s one millisecond, and a sender that is woken for each of them is woken when
//! its line is empty.

use std::time::Duration;

use crate::Time;

/// A measurement takes at least so long.
const WINDOW: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Throughput {
    since: Time,
    bytes: u64,
}

impl Throughput {
    pub(crate) fn new() -> Throughput {
        Throughput { since: Time::ZERO, bytes: 0 }
    }

    /// So many bytes more have passed. When a measurement is over: the bytes that pass in that
    /// time.
    pub(crate) fn passed(&mut self, now: Time, len: u32, time: Duration) -> Option<u64> {
        self.bytes += u64::from(len);
        let took = now - self.since;
        if took < WINDOW {
            return None;
        }
        let ahead = u128::from(self.bytes) * time.as_nanos() / took.as_nanos();
        *self = Throughput { since: now, bytes: 0 };
        Some(u64::try_from(ahead).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: u32 = 128 * 1024;

    /// Answers to a chunk each so often.
    fn told(throughput: &mut Throughput, from: Time, every: Duration, chunks: u32) -> Vec<u64> {
        let moments = (1..=chunks).map(|chunk| from + every * chunk);
        moments.filter_map(|now| throughput.passed(now, CHUNK, WINDOW)).collect()
    }

    #[test]
    fn a_rate_is_what_passed_over_the_time_it_took() {
        let mut throughput = Throughput::new();
        let every = Duration::from_micros(500);
        assert_eq!(told(&mut throughput, Time::ZERO, every, 80), [u64::from(CHUNK) * 40; 2]);
        // Slower than a measurement takes: each chunk is one.
        let from = Time::ZERO + Duration::from_millis(40);
        assert_eq!(
            told(&mut throughput, from, Duration::from_millis(80), 2),
            [u64::from(CHUNK) / 4; 2]
        );
    }

    #[test]
    fn a_pause_counts_as_slowness_once() {
        let mut throughput = Throughput::new();
        let every = Duration::from_micros(500);
        let from = Time::ZERO + Duration::from_secs(60);
        assert_eq!(told(&mut throughput, from, every, 41), [43, u64::from(CHUNK) * 40]);
    }
}

//! The current rate of something.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::units;

/// The window: short enough to follow changes, long enough to be readable.
const RATE_WINDOW: Duration = Duration::from_secs(3);

/// Samples kept within the window.
const MAX_SAMPLES: usize = 64;

/// Bytes a second over a sliding window.
#[derive(Debug, Default)]
pub(crate) struct RateMeter {
    samples: VecDeque<(Instant, u64)>,
}

impl RateMeter {
    /// Adds a sample: the bytes so far.
    pub(crate) fn add(&mut self, now: Instant, bytes: u64) {
        let is_old = |at: &Instant| now.duration_since(*at) > RATE_WINDOW;
        while self.samples.len() >= MAX_SAMPLES
            || self.samples.front().is_some_and(|(at, _)| is_old(at))
        {
            self.samples.pop_front();
        }
        self.samples.push_back((now, bytes));
    }

    /// Zero until there are two samples.
    pub(crate) fn per_second(&self) -> u64 {
        match (self.samples.front(), self.samples.back()) {
            (Some((start, first)), Some((end, last))) => {
                units::per_second(last.saturating_sub(*first), end.duration_since(*start))
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let start = Instant::now();
        let mut meter = RateMeter::default();
        assert_eq!(meter.per_second(), 0);
        for second in 0..10_u64 {
            // Nothing for five seconds, then 100 bytes a second.
            meter.add(start + Duration::from_secs(second), second.saturating_sub(5) * 100);
        }
        assert_eq!(meter.per_second(), 100);
    }

    #[test]
    fn the_meter_remembers_a_bounded_number_of_samples() {
        let start = Instant::now();
        let mut meter = RateMeter::default();
        for millis in 0..1000 {
            meter.add(start + Duration::from_millis(millis), millis);
        }
        assert!(meter.samples.len() <= MAX_SAMPLES);
        assert_eq!(meter.per_second(), 1000);
    }
}

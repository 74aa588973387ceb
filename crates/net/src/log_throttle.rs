//! A rate limiter for one kind of log line, so that a flood of events is not a flood of lines.

use std::time::Duration;

/// At most one line in this time; the lines that are suppressed meanwhile are counted.
const PAUSE: Duration = Duration::from_secs(10);

/// The state of one kind of line. It reads no clock: the caller says what time it is.
///
/// ```
/// # use std::time::Duration;
/// let mut throttle = tnet_net::LogThrottle::default();
/// assert_eq!(throttle.due(Duration::ZERO), Some(0));
/// assert_eq!(throttle.due(Duration::from_secs(1)), None);
/// assert_eq!(throttle.due(Duration::from_secs(11)), Some(1));
/// ```
#[derive(Debug, Default)]
pub struct LogThrottle {
    /// None before the first line.
    silent_until: Option<Duration>,
    suppressed: u64,
}

impl LogThrottle {
    /// Whether to write the line at the moment `now`, which is a time since any fixed start. If so,
    /// answers how many lines were suppressed since the last one.
    pub fn due(&mut self, now: Duration) -> Option<u64> {
        if self.silent_until.is_some_and(|until| now < until) {
            self.suppressed += 1;
            return None;
        }
        self.silent_until = Some(now.saturating_add(PAUSE));
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_becomes_one_line_that_counts_the_rest() {
        let mut throttle = LogThrottle::default();
        let at = Duration::from_millis;
        assert_eq!(throttle.due(at(0)), Some(0));
        assert_eq!(throttle.due(at(1)), None);
        assert_eq!(throttle.due(at(9_999)), None); // just inside the pause
        assert_eq!(throttle.due(at(10_000)), Some(2)); // just past it
        assert_eq!(throttle.due(at(30_000)), Some(0));
    }
}

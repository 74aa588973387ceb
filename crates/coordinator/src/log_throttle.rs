//! A line in the log that whoever floods us cannot repeat at will.

use std::time::Duration;

/// One line per kind in this time; what happens in between is counted into the next.
const PAUSE: Duration = Duration::from_secs(10);

/// When one kind of line was last written.
#[derive(Debug, Default)]
pub(crate) struct LogThrottle {
    /// Nothing before the first line.
    silent_until: Option<Duration>,
    suppressed: u64,
}

impl LogThrottle {
    /// Whether to write the line now; if so, how many were left out before it.
    pub(crate) fn due(&mut self, now: Duration) -> Option<u64> {
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
        let mut notice = LogThrottle::default();
        let at = Duration::from_millis;
        assert_eq!(notice.due(at(0)), Some(0));
        assert_eq!(notice.due(at(1)), None);
        assert_eq!(notice.due(at(9_999)), None); // just inside the pause
        assert_eq!(notice.due(at(10_000)), Some(2)); // just past it
        assert_eq!(notice.due(at(30_000)), Some(0));
    }
}

//! The pauses between attempts to connect to a coordinator.

use std::ops::RangeInclusive;
use std::time::Duration;

/// The pause after a lost connection, and the least of all.
const FIRST: Duration = Duration::from_millis(250);

/// The longest pause, before jitter.
const LONGEST: Duration = Duration::from_secs(10);

/// Exponential backoff with jitter: 250 ms after a connection was lost, doubled with each attempt
/// up to 10 s, each times a random factor.
#[derive(Debug)]
pub struct ReconnectPause(Duration);

impl ReconnectPause {
    /// The random factor of each pause, per mille: without it, peers that lost the same coordinator
    /// would all come back at once.
    pub const FACTOR_PER_MILLE: RangeInclusive<u32> = 750..=1250;

    /// The pause before the second attempt.
    pub fn new() -> ReconnectPause {
        ReconnectPause(FIRST)
    }

    /// A connection was made: pauses start at the shortest again.
    pub fn reset(&mut self) {
        self.0 = FIRST;
    }

    /// The pause before the next attempt, for a factor of [`ReconnectPause::FACTOR_PER_MILLE`]: what
    /// has to pass in any case, and the rest, which an urgent request may cut short.
    pub fn split(&self, factor_per_mille: u32) -> (Duration, Duration) {
        let with_jitter = |pause: Duration| pause * factor_per_mille / 1000;
        (with_jitter(FIRST), with_jitter(self.0 - FIRST))
    }

    /// A whole pause has passed: the next one is longer.
    pub fn lengthen(&mut self) {
        self.0 = (self.0 * 2).min(LONGEST);
    }
}

impl Default for ReconnectPause {
    fn default() -> ReconnectPause {
        ReconnectPause::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_start_again_after_a_connection() {
        let mut pause = ReconnectPause::new();
        let millis = |pause: &ReconnectPause| {
            let (least, rest) = pause.split(1000);
            (least + rest).as_millis()
        };
        let mut seen = Vec::new();
        for _ in 0..8 {
            seen.push(millis(&pause));
            pause.lengthen();
        }
        assert_eq!(seen, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        pause.reset();
        assert_eq!(millis(&pause), 250);
        assert_eq!(pause.split(1200), (Duration::from_millis(300), Duration::ZERO));
    }
}

//! A moment, measured from any fixed start. Code without IO never reads a clock: each input says
//! when it happens.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A moment on the caller's monotonic clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time(Duration);

impl Time {
    /// The start of the clock.
    pub const ZERO: Time = Time(Duration::ZERO);

    /// The moment `elapsed` after the start.
    pub fn after_start(elapsed: Duration) -> Time {
        Time(elapsed)
    }

    /// Time since the start.
    pub fn elapsed(self) -> Duration {
        self.0
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, duration: Duration) -> Time {
        Time(self.0.saturating_add(duration))
    }
}

impl Sub for Time {
    type Output = Duration;
    /// Zero if `earlier` is later.
    fn sub(self, earlier: Time) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}s", self.0.as_secs_f64())
    }
}

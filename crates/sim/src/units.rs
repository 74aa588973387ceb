//! Time in whole nanoseconds, rates in whole bytes per second: no result depends on floating-point
//! rounding.

use std::time::Duration;

use tnet_swarm::Time;

/// Nanoseconds, of virtual time since the start of a run, or as a length of time.
pub type Nanos = u64;

/// Number of a host in its world.
pub type HostId = u32;

/// One microsecond.
pub const MICROSECOND: Nanos = 1_000;
/// One millisecond.
pub const MILLISECOND: Nanos = 1_000_000;
/// One second.
pub const SECOND: Nanos = 1_000_000_000;

/// Bytes per second, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u64);

impl Rate {
    /// A rate in bytes per second; zero is taken as one.
    pub const fn new(bytes_per_second: u64) -> Rate {
        Rate(if bytes_per_second == 0 { 1 } else { bytes_per_second })
    }

    /// A rate in Mbit/s, as networks are sold.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to a sane range first"
    )]
    pub fn mbit(mbit: f64) -> Rate {
        Rate::new((mbit.clamp(0.0, 1e9) * 125_000.0).round() as u64)
    }

    /// Bytes per second.
    pub fn bytes_per_second(self) -> u64 {
        self.0
    }

    /// A whole fraction of this rate.
    pub fn divided_by(self, divisor: u64) -> Rate {
        Rate::new(self.0 / divisor.max(1))
    }

    /// The time that `bytes` take.
    pub fn time_for(self, bytes: u64) -> Nanos {
        match bytes.checked_mul(SECOND) {
            Some(product) => product / self.0,
            // Rare: more than 18 GB at once.
            None => {
                let time = u128::from(bytes) * u128::from(SECOND) / u128::from(self.0);
                u64::try_from(time).unwrap_or(Nanos::MAX)
            }
        }
    }

    /// The bytes that pass in `time`.
    pub fn bytes_in(self, time: Nanos) -> u64 {
        let bytes = u128::from(self.0) * u128::from(time) / u128::from(SECOND);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// The core's view of a moment.
pub(crate) fn moment(at: Nanos) -> Time {
    Time::after_start(Duration::from_nanos(at))
}

/// A moment of the core in nanoseconds, rounded down: a tick at that moment finds its timer due, or
/// comes once more.
pub(crate) fn nanos(time: Time) -> Nanos {
    duration(time.elapsed())
}

/// A length of time in nanoseconds.
pub(crate) fn duration(time: Duration) -> Nanos {
    u64::try_from(time.as_nanos()).unwrap_or(Nanos::MAX)
}

/// For printing.
pub(crate) fn seconds(time: Nanos) -> f64 {
    Duration::from_nanos(time).as_secs_f64()
}

/// A count as a divisor or dividend of a printed ratio.
#[expect(clippy::cast_precision_loss, reason = "ratios are printed with a few digits")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// Numbers of hosts, pipes and chunks are 32 bits wide throughout.
pub(crate) fn number(index: usize) -> u32 {
    u32::try_from(index).expect("a world has fewer than 2^32 of anything")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_mbit_carry_a_mebibyte_in_84_milliseconds() {
        assert_eq!(Rate::mbit(100.0).time_for(1 << 20), 83_886_080);
    }

    #[test]
    fn time_and_bytes_are_each_others_inverse() {
        let rate = Rate::mbit(1000.0);
        assert_eq!(rate.bytes_in(rate.time_for(1 << 30)), 1 << 30);
    }

    #[test]
    fn a_terabyte_does_not_overflow() {
        assert_eq!(Rate::new(1 << 20).time_for(1 << 40), (1 << 20) * SECOND);
        assert_eq!(Rate::new(1).time_for(1 << 40), Nanos::MAX);
    }
}

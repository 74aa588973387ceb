//! Rate limits of the process and of single files.
//!
//! A limit never slows a chunk that is under way; it only delays the start of the next one. So the
//! other side never sees a connection that crawls or stands still.
//!
//! Each rate is held by the generic cell rate algorithm (ITU-T I.371, virtual scheduling): each
//! chunk moves the time at which the next may start by its length divided by the rate. Within any
//! time `t`, less than `rate * (t + BURST)` bytes start, plus one chunk.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::Duration;

use crate::FileKey;
use crate::Time;
use crate::io::RateLimits;

/// Unused time that may be made up for. Without it, each late timer would lower the rate.
const BURST: Duration = Duration::from_millis(100);

/// Which way chunks go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransferDirection {
    Up,
    Down,
}

/// All limits that are set. A chunk must fit the limit of the process and that of its file.
#[derive(Debug, Default)]
pub(crate) struct RateLimiter {
    process: CellRates,
    /// Only files with a limit are here.
    files: BTreeMap<FileKey, CellRates>,
}

impl RateLimiter {
    pub(crate) fn limit_process(&mut self, now: Time, limits: RateLimits) {
        self.process = CellRates::new(limits, now);
    }

    pub(crate) fn limit_file(&mut self, now: Time, file: FileKey, limits: RateLimits) {
        if limits == RateLimits::default() {
            self.files.remove(&file);
        } else {
            self.files.insert(file, CellRates::new(limits, now));
        }
    }

    pub(crate) fn forget_file(&mut self, file: FileKey) {
        self.files.remove(&file);
    }

    /// Whether one more chunk of the file may start.
    pub(crate) fn allows(&self, now: Time, direction: TransferDirection, file: FileKey) -> bool {
        let of_file = || self.files.get(&file).and_then(|rates| rates.of(direction));
        self.process.allows(now, direction) && of_file().is_none_or(|rate| rate.next <= now)
    }

    /// Whether the limit of the process allows one more chunk of any file.
    pub(crate) fn process_allows(&self, now: Time, direction: TransferDirection) -> bool {
        self.process.allows(now, direction)
    }

    /// A chunk of `len` bytes starts. Returns when the next one may, if that is later than `now`.
    pub(crate) fn spend(
        &mut self,
        now: Time,
        direction: TransferDirection,
        file: FileKey,
        len: u32,
    ) -> Option<Time> {
        let mut next = None;
        for rate in self.rates_of(direction, file) {
            rate.take(now, len);
            if rate.next > now {
                next = Some(next.map_or(rate.next, |next: Time| next.min(rate.next)));
            }
        }
        next
    }

    /// A chunk for which `spend` was called did not start.
    pub(crate) fn refund(&mut self, direction: TransferDirection, file: FileKey, len: u32) {
        self.rates_of(direction, file).for_each(|rate| rate.give_back(len));
    }

    /// The first moment after `now` at which some limit allows a chunk.
    pub(crate) fn next(&self, now: Time) -> Option<Time> {
        let all = std::iter::once(&self.process).chain(self.files.values());
        let moments =
            all.flat_map(|rates| [&rates.up, &rates.down]).flatten().map(|rate| rate.next);
        moments.filter(|next| *next > now).min()
    }

    fn rates_of(
        &mut self,
        direction: TransferDirection,
        file: FileKey,
    ) -> impl Iterator<Item = &mut CellRate> {
        let of_file = self.files.get_mut(&file);
        let all = of_file.into_iter().chain([&mut self.process]);
        all.filter_map(move |rates| match direction {
            TransferDirection::Up => rates.up.as_mut(),
            TransferDirection::Down => rates.down.as_mut(),
        })
    }
}

/// Both directions of one thing that is limited.
#[derive(Debug, Default)]
struct CellRates {
    up: Option<CellRate>,
    down: Option<CellRate>,
}

impl CellRates {
    fn new(limits: RateLimits, now: Time) -> CellRates {
        let rate = |rate: Option<NonZeroU64>| rate.map(|rate| CellRate { rate, next: now });
        CellRates { up: rate(limits.up), down: rate(limits.down) }
    }

    fn of(&self, direction: TransferDirection) -> Option<&CellRate> {
        match direction {
            TransferDirection::Up => self.up.as_ref(),
            TransferDirection::Down => self.down.as_ref(),
        }
    }

    fn allows(&self, now: Time, direction: TransferDirection) -> bool {
        self.of(direction).is_none_or(|rate| rate.next <= now)
    }
}

/// One rate.
#[derive(Debug, Clone, Copy)]
struct CellRate {
    /// Bytes per second.
    rate: NonZeroU64,
    /// When the next chunk may start.
    next: Time,
}

impl CellRate {
    fn take(&mut self, now: Time, len: u32) {
        let earliest = Time::after_start(now.elapsed().saturating_sub(BURST));
        self.next = self.next.max(earliest) + self.time_of(len);
    }

    fn give_back(&mut self, len: u32) {
        self.next = Time::after_start(self.next.elapsed().saturating_sub(self.time_of(len)));
    }

    fn time_of(&self, len: u32) -> Duration {
        let nanoseconds = u128::from(len) * 1_000_000_000 / u128::from(self.rate.get());
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_rate_is_never_exceeded(
            rate in 1_000_u64..100_000_000,
            lens in prop::collection::vec(1_u32..=16 << 20, 1..100),
            pauses in prop::collection::vec(0_u64..2_000_000_000, 100),
        ) {
            let mut limit = CellRate { rate: NonZeroU64::new(rate).unwrap(), next: Time::ZERO };
            let mut now = Time::ZERO;
            let mut begun: Vec<(Time, u64)> = Vec::new();
            for (len, pause) in lens.iter().zip(pauses) {
                now = now.max(limit.next) + Duration::from_nanos(pause);
                limit.take(now, *len);
                begun.push((now, (*len).into()));
            }
            for (first, (from, _)) in begun.iter().enumerate() {
                let mut bytes = 0;
                for (to, len) in &begun[first..] {
                    // But for the last of them.
                    let seconds = (*to - *from + BURST).as_secs_f64();
                    prop_assert!(bytes as f64 <= rate as f64 * seconds + 1.0, "{bytes} bytes in {seconds} s");
                    bytes += len;
                }
            }
        }
    }

    #[test]
    fn a_rate_that_is_used_all_the_time_is_reached() {
        let mut limit = CellRate { rate: NonZeroU64::new(1_000_000).unwrap(), next: Time::ZERO };
        let mut now = Time::ZERO;
        for _ in 0..100 {
            // A timer that is 20 ms late each time.
            now = now.max(limit.next) + Duration::from_millis(20);
            limit.take(now, 100_000);
        }
        assert!(now.elapsed() < Duration::from_millis(10_100), "{now:?} for ten million bytes");
    }

    #[test]
    fn what_is_given_back_was_never_taken() {
        let mut limit = CellRate { rate: NonZeroU64::new(1000).unwrap(), next: Time::ZERO };
        let now = Time::ZERO + Duration::from_secs(10);
        limit.take(now, 500);
        let before = limit.next;
        limit.take(now, 2000);
        limit.give_back(2000);
        assert_eq!(limit.next, before);
    }
}

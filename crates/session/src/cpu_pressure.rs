//! Whether the CPU is saturated. Work that is given to another thread runs in parallel only if a
//! core is idle; otherwise it runs later, with cold caches, on a thread that must be woken for it.
//!
//! The measure is the ratio of CPU time to elapsed time of pieces of work: about 1 while a core is
//! to spare, less when threads take turns.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Elapsed time of the work that one judgement covers. Shorter, and one unlucky turn of the
/// scheduler would decide.
const WINDOW: Duration = Duration::from_millis(20);

/// CPU time in thousandths of the elapsed time: below this the CPU is saturated. Measured on two
/// cores: 970 beside a seed, 710 beside four seeds, 460 beside a seed and three other receivers.
const SATURATED_BELOW: u32 = 600;

/// From this on it is not any more. A receiver that gives no work away needs one thread instead of
/// two: what was 460 is 600 then, and 710 becomes 995.
const IDLE_FROM: u32 = 900;

/// The judgement so far.
#[derive(Debug)]
pub(super) struct CpuPressure {
    /// Of the pieces of work since the last judgement.
    usage: CpuUsage,
    is_saturated: bool,
}

/// What some work took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CpuUsage {
    elapsed: Duration,
    cpu: Duration,
}

/// Measures a piece of work on the thread that started it.
pub(super) struct CpuTimer {
    started: Instant,
    cpu: Duration,
}

impl CpuPressure {
    pub(super) fn new() -> CpuPressure {
        CpuPressure { usage: CpuUsage::default(), is_saturated: false }
    }

    pub(super) fn is_saturated(&self) -> bool {
        self.is_saturated
    }

    /// Adds a finished piece of work.
    pub(super) fn add(&mut self, piece: CpuUsage) {
        self.usage.elapsed += piece.elapsed;
        self.usage.cpu += piece.cpu;
        if self.usage.elapsed < WINDOW {
            return;
        }
        let CpuUsage { elapsed, cpu } = std::mem::take(&mut self.usage);
        let bound = if self.is_saturated { IDLE_FROM } else { SATURATED_BELOW };
        self.is_saturated = cpu < elapsed * bound / 1000;
    }
}

impl CpuTimer {
    pub(super) fn start() -> CpuTimer {
        CpuTimer { started: Instant::now(), cpu: thread_cpu_time() }
    }

    /// To be called on the same thread.
    pub(super) fn usage(&self) -> CpuUsage {
        CpuUsage {
            elapsed: self.started.elapsed(),
            cpu: thread_cpu_time().saturating_sub(self.cpu),
        }
    }
}

fn thread_cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(elapsed_ms: u64, cpu_ms: u64) -> CpuUsage {
        CpuUsage { elapsed: Duration::from_millis(elapsed_ms), cpu: Duration::from_millis(cpu_ms) }
    }

    #[test]
    fn saturation_has_a_hysteresis() {
        let mut pressure = CpuPressure::new();
        for (cpu, expected) in [(97, false), (71, false), (46, true), (60, true), (99, false)] {
            pressure.add(usage(100, cpu));
            assert_eq!(pressure.is_saturated(), expected, "{cpu} of 100 ms");
        }
    }

    #[test]
    fn one_unlucky_piece_decides_nothing_but_counts() {
        let mut pressure = CpuPressure::new();
        pressure.add(usage(19, 0));
        assert!(!pressure.is_saturated());
        pressure.add(usage(1, 1));
        assert!(pressure.is_saturated());
    }

    #[test]
    fn a_thread_that_waits_uses_no_cpu_time() {
        let timer = CpuTimer::start();
        std::thread::sleep(Duration::from_millis(20));
        let waited = timer.usage();
        assert!(
            waited.elapsed >= Duration::from_millis(20) && waited.cpu < waited.elapsed / 2,
            "{waited:?}"
        );
        let timer = CpuTimer::start();
        while timer.usage().cpu < Duration::from_millis(5) {}
        assert!(timer.usage().elapsed >= Duration::from_millis(5));
    }
}

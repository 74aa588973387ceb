//! Measures what a piece of work costs the machine.

use std::time::{Duration, Instant};

/// The cost of work on the current thread: the CPU time it takes, but at least a tenth of the
/// elapsed time, for waiting on a disk or a server.
#[derive(Debug)]
pub struct Cost {
    began: Instant,
    #[cfg(any(target_os = "linux", target_os = "android"))]
    busy: Duration,
}

impl Cost {
    /// Elapsed time counts as a tenth: waiting costs other work less than computing.
    const WAITING_SHARE: u32 = 10;

    /// Begins to measure the current thread.
    pub fn begin() -> Cost {
        Cost {
            began: Instant::now(),
            #[cfg(any(target_os = "linux", target_os = "android"))]
            busy: busy(),
        }
    }

    /// Until now.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn so_far(&self) -> Duration {
        busy().saturating_sub(self.busy).max(self.began.elapsed() / Self::WAITING_SHARE)
    }

    /// Until now.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub fn so_far(&self) -> Duration {
        self.began.elapsed()
    }
}

/// CPU time of this thread.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn busy() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

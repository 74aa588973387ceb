//! What a piece of work took of the machine.

use std::time::{Duration, Instant};

/// What work costs: the time a processor is busy with it, and a part of that in which it waits for
/// a disk or a server.
#[derive(Debug)]
pub struct Cost {
    began: Instant,
    #[cfg(any(target_os = "linux", target_os = "android"))]
    busy: Duration,
}

impl Cost {
    /// Waiting costs others less than computing.
    const WAITING_SHARE: u32 = 10;

    /// From now on, of this thread.
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

/// Time that this thread was busy.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn busy() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

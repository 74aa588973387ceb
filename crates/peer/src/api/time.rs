//! Where the time of a download went.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a download waited for, and for how long. Each moment counts for the one cause that held the
/// download up, so the four shares sum to the time since the start. The rule, first match first:
///
/// 1. So much waits for the disk that asking or reading stopped: `disk`.
/// 2. A request is open: `wire`. Also when other downloads' requests take all the slots.
/// 3. All that was asked for is here and not in the file yet: `verification` while a chunk is being
///    hashed, else `disk`.
/// 4. The whole file is being synced and renamed: `disk`.
/// 5. No peer to ask: no holder is known or connected, or all are busy: `peers`.
///
/// A sync in the background is not waited for and counts for nothing.
///
/// Exhaustive: clients of a server read it from JSON and build it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeShares {
    /// Bytes were expected.
    pub wire: Duration,
    /// There was no peer to ask.
    pub peers: Duration,
    /// The disk was to write, sync or rename.
    pub disk: Duration,
    /// Chunks were compared with their sums, and nothing else was under way.
    pub verification: Duration,
}

impl TimeShares {
    /// All of it.
    pub fn total(&self) -> Duration {
        // Another process may have told us of shares of any size.
        self.wire
            .saturating_add(self.peers)
            .saturating_add(self.disk)
            .saturating_add(self.verification)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_any_size_have_a_total() {
        let time = Duration::MAX;
        let shares = TimeShares { wire: time, peers: time, disk: time, verification: time };
        assert_eq!(shares.total(), time);
    }
}

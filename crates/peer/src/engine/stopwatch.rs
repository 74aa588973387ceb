//! Attributes the time of one download to causes. Every moment since the start counts for exactly
//! one cause, decided by the situation at its beginning; [`TimeShares`] has the rule.

use std::time::Duration;

use tnet_swarm::Time;

use crate::api::TimeShares;

/// What a download is about at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Situation {
    /// Its chunks that are asked for.
    pub(super) requested: u32,
    /// Its chunks that arrived and are not in the file yet.
    pub(super) storing: u32,
    /// A connected peer holds what it lacks, busy or not.
    pub(super) has_source: bool,
    /// All slots for requests are taken, by whichever download.
    pub(super) slots_taken: bool,
    /// Too much waits for the disk, of whichever download, for more to be asked or read.
    pub(super) disk_is_behind: bool,
    /// Nothing is missing, and what was here is being verified.
    pub(super) checking: bool,
    /// Every chunk is stored.
    pub(super) finishing: bool,
}

/// What the time until the next observation counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Peers,
    Wire,
    Disk,
    /// Verification as long as it runs, else the disk.
    Storing,
}

impl Situation {
    fn cause(self) -> Cause {
        let wants = self.requested > 0 || self.storing > 0 || self.has_source;
        if self.finishing || self.disk_is_behind && wants {
            Cause::Disk
        } else if self.requested > 0 {
            Cause::Wire
        } else if self.storing > 0 || self.checking {
            Cause::Storing
        } else if self.slots_taken && self.has_source {
            Cause::Wire
        } else {
            Cause::Peers
        }
    }
}

/// The stopwatch of one download.
#[derive(Debug)]
pub(super) struct Stopwatch {
    shares: TimeShares,
    since: Time,
    cause: Cause,
    /// As of `since`.
    verifying: Duration,
}

impl Stopwatch {
    /// Begins without a peer to ask.
    pub(super) fn start(now: Time) -> Stopwatch {
        Stopwatch {
            shares: TimeShares::default(),
            since: now,
            cause: Cause::Peers,
            verifying: Duration::ZERO,
        }
    }

    /// The situation from now on. `verifying`: what was spent on verifying chunks so far.
    pub(super) fn observe(&mut self, now: Time, verifying: Duration, situation: Situation) {
        self.shares = self.shares_at(now, verifying);
        self.since = self.since.max(now);
        self.verifying = verifying;
        self.cause = situation.cause();
    }

    /// The shares of the time until `now`.
    pub(super) fn shares_at(&self, now: Time, verifying: Duration) -> TimeShares {
        let mut shares = self.shares;
        let passed = now - self.since;
        match self.cause {
            Cause::Peers => shares.peers += passed,
            Cause::Wire => shares.wire += passed,
            Cause::Disk => shares.disk += passed,
            Cause::Storing => {
                let verified = verifying.saturating_sub(self.verifying).min(passed);
                shares.verification += verified;
                shares.disk += passed - verified;
            }
        }
        shares
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IDLE: Situation = Situation {
        requested: 0,
        storing: 0,
        has_source: false,
        slots_taken: false,
        disk_is_behind: false,
        checking: false,
        finishing: false,
    };

    fn at(millis: u64) -> Time {
        Time::after_start(Duration::from_millis(millis))
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// What the first 100 ms count for in this situation, 30 ms of them with a verification
    /// running.
    fn hundred_ms_of(situation: Situation) -> [u64; 4] {
        let mut stopwatch = Stopwatch::start(at(0));
        stopwatch.observe(at(0), Duration::ZERO, situation);
        let shares = stopwatch.shares_at(at(100), ms(30));
        [shares.wire, shares.peers, shares.disk, shares.verification]
            .map(|share| u64::try_from(share.as_millis()).expect("small"))
    }

    #[test]
    fn each_situation_counts_for_one_cause() {
        let (wire, peers, disk, storing) =
            ([100, 0, 0, 0], [0, 100, 0, 0], [0, 0, 100, 0], [0, 0, 70, 30]);
        for (situation, shares) in [
            // No peer holds anything; all holders are busy.
            (IDLE, peers),
            (Situation { has_source: true, ..IDLE }, peers),
            // Asked; asked while earlier chunks are being stored.
            (Situation { requested: 1, has_source: true, ..IDLE }, wire),
            (Situation { requested: 1, storing: 5, ..IDLE }, wire),
            // The last chunks are here.
            (Situation { storing: 1, ..IDLE }, storing),
            (Situation { storing: 1, slots_taken: true, has_source: true, ..IDLE }, storing),
            // Others' requests take all slots, which matters only with a peer to ask.
            (Situation { slots_taken: true, has_source: true, ..IDLE }, wire),
            (Situation { slots_taken: true, ..IDLE }, peers),
            // The disk delays a download with something to get, also with requests open that
            // cannot be read.
            (Situation { disk_is_behind: true, requested: 1, storing: 9, ..IDLE }, disk),
            (Situation { disk_is_behind: true, has_source: true, ..IDLE }, disk),
            (Situation { disk_is_behind: true, ..IDLE }, peers),
            // Only what was here is waited for.
            (Situation { checking: true, ..IDLE }, storing),
            (Situation { finishing: true, ..IDLE }, disk),
        ] {
            assert_eq!(hundred_ms_of(situation), shares, "{situation:?}");
        }
    }

    #[test]
    fn only_verification_that_nothing_hides_has_a_share() {
        let mut stopwatch = Stopwatch::start(at(0));
        stopwatch.observe(at(0), ms(0), Situation { requested: 1, ..IDLE });
        // 40 ms of verification beside the wire, then 10 ms alone.
        stopwatch.observe(at(100), ms(40), Situation { storing: 1, ..IDLE });
        stopwatch.observe(at(130), ms(50), Situation { finishing: true, ..IDLE });
        let shares = stopwatch.shares_at(at(150), ms(50));
        let expected =
            TimeShares { wire: ms(100), peers: ms(0), disk: ms(40), verification: ms(10) };
        assert_eq!(shares, expected);
    }

    #[test]
    fn looking_does_not_change_the_shares() {
        let mut stopwatch = Stopwatch::start(at(5));
        stopwatch.observe(at(10), ms(0), Situation { requested: 1, ..IDLE });
        let before = stopwatch.shares_at(at(30), ms(0));
        assert_eq!(stopwatch.shares_at(at(30), ms(0)), before);
        assert_eq!((before.peers, before.wire), (ms(5), ms(20)));
    }

    proptest! {
        /// Whatever happens, and however the counter of verification runs.
        #[test]
        fn the_shares_sum_to_the_time_since_the_start(
            steps in prop::collection::vec((0..1000_u64, 0..2000_u64, 0..2_u32, 0..2_u32, any::<[bool; 4]>()), 0..50)
        ) {
            let (mut now, mut verifying) = (at(7), Duration::ZERO);
            let mut stopwatch = Stopwatch::start(now);
            for (passed, verified, requested, storing, flags) in steps {
                (now, verifying) = (now + ms(passed), verifying + ms(verified));
                let [has_source, slots_taken, disk_is_behind, finishing] = flags;
                let situation =
                    Situation { requested, storing, has_source, slots_taken, disk_is_behind, checking: false, finishing };
                stopwatch.observe(now, verifying, situation);
                prop_assert_eq!(stopwatch.shares_at(now + ms(3), verifying).total(), now + ms(3) - at(7));
            }
        }
    }
}

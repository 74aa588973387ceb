//! Settings that can be changed while a peer runs: rate limits, priority, pause.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

/// Rates in bytes of payload per second; none: as fast as it goes.
///
/// A rate holds back the beginning of chunks, not the bytes of one: a chunk that has begun goes at
/// the speed of the wire.
///
/// Exhaustive: clients of a server read it from JSON and build it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Of what is sent.
    #[serde(default)]
    pub up: Option<NonZeroU64>,
    /// Of what is asked for.
    #[serde(default)]
    pub down: Option<NonZeroU64>,
}

impl Limits {
    /// These, with what is to change changed.
    #[must_use]
    pub fn changed(self, change: LimitsChange) -> Limits {
        let changed =
            |before: Option<NonZeroU64>, to: Option<u64>| to.map_or(before, NonZeroU64::new);
        Limits { up: changed(self.up, change.up), down: changed(self.down, change.down) }
    }

    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == Limits::default()
    }
}

impl From<Limits> for tnet_swarm::RateLimits {
    fn from(Limits { up, down }: Limits) -> Self {
        tnet_swarm::RateLimits { up, down }
    }
}

/// A change of limits. Bytes per second; zero: no limit any more; none: stays as it is.
///
/// Exhaustive: clients of a server read it from JSON and build it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LimitsChange {
    /// Of what is sent.
    #[serde(default)]
    pub up: Option<u64>,
    /// Of what is asked for.
    #[serde(default)]
    pub down: Option<u64>,
}

impl From<Limits> for LimitsChange {
    /// To exactly these.
    fn from(Limits { up, down }: Limits) -> Self {
        let to = |rate: Option<NonZeroU64>| Some(rate.map_or(0, NonZeroU64::get));
        LimitsChange { up: to(up), down: to(down) }
    }
}

/// Which of several files gets slots first. Strict: a lower one gets what a higher one has no use
/// for.
///
/// Exhaustive: each case has words of its own in the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// What the others leave.
    Low,
    /// As files are unless something else is said.
    #[default]
    Normal,
    /// Before all others.
    High,
}

impl From<Priority> for tnet_swarm::Priority {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Low => tnet_swarm::Priority::Low,
            Priority::Normal => tnet_swarm::Priority::Normal,
            Priority::High => tnet_swarm::Priority::High,
        }
    }
}

/// A change of the settings of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
#[non_exhaustive]
pub enum FileChange {
    /// Its rates, which hold besides those of the process.
    Limits(LimitsChange),
    /// Before or after others.
    Priority {
        /// From now on.
        level: Priority,
    },
    /// Neither served nor downloaded until it is resumed. The coordinator hears that it is not
    /// here. A pause ends with the peer.
    Pause,
    /// The end of a pause.
    Resume,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_stays_and_zero_ends_a_limit() {
        let limits = Limits { up: NonZeroU64::new(7), down: NonZeroU64::new(8) };
        assert_eq!(limits.changed(LimitsChange::default()), limits);
        let changed = limits.changed(LimitsChange { up: Some(0), down: Some(9) });
        assert_eq!(changed, Limits { up: None, down: NonZeroU64::new(9) });
        assert_eq!(Limits::default().changed(limits.into()), limits);
        assert!(limits.changed(Limits::default().into()).is_none());
    }
}

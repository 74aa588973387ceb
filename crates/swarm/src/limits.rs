//! What the user sets: rates, and which file comes first.

use std::num::NonZeroU64;

use crate::Time;
use crate::pace::Pace;

/// Rates in bytes per second, of the whole process or of one file; none: as fast as it goes. Only
/// payload counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Of what is sent.
    pub up: Option<NonZeroU64>,
    /// Of what is asked for.
    pub down: Option<NonZeroU64>,
}

/// Which of several files gets slots first. Strict: a lower one gets what a higher one has no use
/// for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// What the others leave.
    Low,
    /// As files are unless something else is said.
    #[default]
    Normal,
    /// Before all others.
    High,
}

impl Priority {
    /// All of them, the first to be served first.
    pub(crate) const FIRST_TO_LAST: [Priority; 3] =
        [Priority::High, Priority::Normal, Priority::Low];
}

/// The rates that hold for something, and how far they are used.
#[derive(Debug, Default)]
pub(crate) struct Paces {
    pub(crate) up: Option<Pace>,
    pub(crate) down: Option<Pace>,
}

impl Paces {
    pub(crate) fn new(limits: Limits, now: Time) -> Paces {
        let pace = |rate: Option<NonZeroU64>| rate.map(|rate| Pace::new(rate, now));
        Paces { up: pace(limits.up), down: pace(limits.down) }
    }

    pub(crate) fn is_none(&self) -> bool {
        self.up.is_none() && self.down.is_none()
    }
}

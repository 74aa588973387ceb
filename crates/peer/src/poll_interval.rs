//! How often the disk is looked at: in proportion to what a look takes.

use std::time::Duration;

/// A look that takes so long is followed by a pause this many times as long: looking at a large
/// directory must not keep a processor busy.
const PAUSE_PER_LOOK: u32 = 300;

/// The same where nothing has changed and only looking tells.
const IDLE_PAUSE_PER_LOOK: u32 = 1000;

/// The longest pause made for that reason.
const PAUSE_AT_MOST: Duration = Duration::from_secs(25);

/// The pause after a look that took so long; `interval` at least.
pub(crate) fn pause_after(took: Duration, interval: Duration) -> Duration {
    pause(took, PAUSE_PER_LOOK, interval)
}

/// The same after a look that found nothing, where only looking tells of changes.
pub(crate) fn idle_pause_after(took: Duration, interval: Duration) -> Duration {
    pause(took, IDLE_PAUSE_PER_LOOK, interval)
}

fn pause(took: Duration, per_look: u32, interval: Duration) -> Duration {
    took.saturating_mul(per_look).min(PAUSE_AT_MOST).max(interval)
}

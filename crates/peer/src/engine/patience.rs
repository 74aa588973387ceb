//! When a wait for holders has lasted long enough: that of a download, and that of a search for a
//! description.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tnet_net::Shortage;
use tnet_swarm::Time;
use tokio::sync::oneshot;

use super::Engine;
use super::reporting::CoordinatorLink;
use crate::api::{CoordinatorState, Unfit};

/// What answers at the coordinator's address and is not a coordinator of ours will hardly become
/// one: the wait for it ends after this, if not before.
const UNFIT_WITHIN: Duration = Duration::from_secs(10);

/// Whether no holder was found for long enough to say that there is none. Time without a
/// coordinator does not count, since none could be found in it; but twice the time is enough,
/// however often the coordinator comes and goes.
fn is_long(patience: Duration, quiet: Duration, absent: Duration) -> bool {
    quiet.saturating_sub(absent) >= patience || quiet >= patience.saturating_mul(2)
}

/// A search for a description, as far as its end depends on time.
#[derive(Debug)]
pub(super) struct WaitingSearch {
    began: Time,
    /// How long there had been no coordinator when it began.
    absent_before: Duration,
    within: Duration,
    /// Peers that it has asked so far.
    asked: Arc<AtomicUsize>,
    done: oneshot::Sender<SearchEnd>,
}

/// How things are when a search has lasted long enough.
#[derive(Debug)]
pub(crate) struct SearchEnd {
    pub(crate) shortage: Option<Shortage>,
    pub(crate) is_connected: bool,
    pub(crate) unfit: Option<Unfit>,
    pub(crate) last_error: Option<String>,
}

impl CoordinatorLink {
    /// What is wrong with what answers at the coordinator's address, once that has been so for
    /// long, or `waited` is as long as one waits for a coordinator.
    pub(super) fn unfit_for_long(
        &self,
        now: Time,
        began: Time,
        waited: Duration,
        within: Duration,
    ) -> Option<Unfit> {
        let (fault, since) = self.unfit(now, began)?;
        (since >= UNFIT_WITHIN || waited >= within).then_some(fault)
    }

    /// Whether a wait that began then, with no progress for `quiet`, has lasted long enough. For
    /// `absent` of it there was no coordinator to ask.
    pub(super) fn has_waited_long(
        &self,
        now: Time,
        began: Time,
        quiet: Duration,
        absent: Duration,
        patience: Duration,
    ) -> bool {
        let away = self.missing(now, began).unwrap_or_default();
        quiet >= patience && (away >= patience || is_long(patience, quiet, absent))
    }
}

impl Engine {
    /// Answers `done` when a search that begins now has lasted long enough.
    pub(super) fn await_search_end(
        &mut self,
        within: Duration,
        asked: Arc<AtomicUsize>,
        done: oneshot::Sender<SearchEnd>,
    ) {
        let (began, absent_before) = (self.now, self.coordinator.absent(self.now));
        self.searches.push(WaitingSearch { began, absent_before, within, asked, done });
    }

    pub(super) fn end_long_searches(&mut self) {
        self.searches.retain(|search| !search.done.is_closed());
        let mut searches = std::mem::take(&mut self.searches);
        for search in searches.extract_if(.., |search| self.has_searched_long(search)) {
            let unfit = self.coordinator.unfit(self.now, search.began);
            let _ = search.done.send(SearchEnd {
                shortage: self.descriptors.shortage(),
                is_connected: self.coordinator.state == CoordinatorState::Connected,
                unfit: unfit.map(|(fault, _)| fault),
                last_error: self.coordinator.last_error.clone(),
            });
        }
        self.searches = searches;
    }

    fn has_searched_long(&self, search: &WaitingSearch) -> bool {
        let WaitingSearch { began, within, .. } = *search;
        let quiet = self.now - began;
        // One that has asked a peer needs no coordinator any more.
        if self.descriptors.shortage().is_some() || search.asked.load(Ordering::Relaxed) > 0 {
            return quiet >= within;
        }
        if self.coordinator.unfit(self.now, began).is_some() {
            return self.coordinator.unfit_for_long(self.now, began, quiet, within).is_some();
        }
        let absent = self.coordinator.absent(self.now) - search.absent_before;
        self.coordinator.has_waited_long(self.now, began, quiet, absent, within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_without_a_coordinator_is_none_in_which_nobody_has_the_file() {
        let is_long = |quiet, absent| {
            is_long(
                Duration::from_secs(14),
                Duration::from_secs(quiet),
                Duration::from_secs(absent),
            )
        };
        assert!(!is_long(13, 0) && is_long(14, 0));
        // Away for two seconds; gone since ten seconds; away again and again.
        assert!(!is_long(15, 2) && is_long(16, 2));
        assert!(!is_long(23, 13));
        assert!(is_long(28, 20));
    }
}

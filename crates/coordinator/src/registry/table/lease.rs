//! The queue of leases. Renewing a lease does not touch it: a peer is checked again at its old
//! deadline, once per lease, so a heartbeat costs nothing here.

use std::collections::BTreeSet;
use std::time::Duration;

use super::peer::PeerSlot;

/// Peers by a deadline at or before the end of their lease.
#[derive(Debug, Default)]
pub(super) struct LeaseQueue(BTreeSet<(Duration, PeerSlot)>);

impl LeaseQueue {
    pub(super) fn insert(&mut self, deadline: Duration, slot: PeerSlot) {
        self.0.insert((deadline, slot));
    }

    pub(super) fn remove(&mut self, deadline: Duration, slot: PeerSlot) {
        self.0.remove(&(deadline, slot));
    }

    /// Removes and returns the first peer whose deadline has passed.
    pub(super) fn pop_due(&mut self, now: Duration) -> Option<PeerSlot> {
        let (deadline, _) = self.0.first()?;
        if *deadline > now {
            return None;
        }
        self.0.pop_first().map(|(_, slot)| slot)
    }

    /// The first deadline.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.0.first().map(|(deadline, _)| *deadline)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn contains(&self, deadline: Duration, slot: PeerSlot) -> bool {
        self.0.contains(&(deadline, slot))
    }
}

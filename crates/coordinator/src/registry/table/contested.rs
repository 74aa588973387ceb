//! Which peers have entries that were accepted while room was short, and how many. Only these
//! entries can be evicted: entries that a peer had while there was room for all stay.

use std::net::IpAddr;

use tnet_sources::SourceCounts;

use super::peer::PeerSlot;
use crate::eviction::EvictionSampler;

/// Granularity at which addresses are compared by their entries. Addresses that do not differ by it
/// are compared by the entries of their networks.
const GRAIN: u64 = 256;

/// Peers that are compared for an eviction.
const COMPARED: usize = 16;

/// Entries that one eviction removes at most.
const EVICTED_AT_MOST: u64 = 128;

/// Peers with contested entries, and how many each source has.
#[derive(Debug)]
pub(super) struct Contested {
    slots: Vec<PeerSlot>,
    counts: SourceCounts,
    sampler: EvictionSampler,
}

impl Default for Contested {
    fn default() -> Contested {
        let sampler = EvictionSampler::new(COMPARED, GRAIN);
        Contested { slots: Vec::new(), counts: SourceCounts::new(), sampler }
    }
}

impl Contested {
    /// Adds a peer that has some now. Returns its position.
    pub(super) fn enter(&mut self, slot: PeerSlot) -> usize {
        self.slots.push(slot);
        self.slots.len() - 1
    }

    /// Removes the peer at `position`, which has none any more. Returns the peer that moved there.
    pub(super) fn leave(&mut self, position: usize) -> Option<PeerSlot> {
        self.slots.swap_remove(position);
        let moved = self.slots.get(position).copied();
        if self.slots.len() < self.slots.capacity() / 4 {
            self.slots.shrink_to(self.slots.len() * 2);
        }
        moved
    }

    pub(super) fn count(&mut self, ip: IpAddr, before: usize, now: usize) {
        if now > before {
            self.counts.add(ip, (now - before) as u64);
        } else {
            self.counts.remove(ip, (before - now) as u64);
        }
    }

    /// Contested entries of all peers.
    pub(super) fn total(&self) -> u64 {
        self.counts.total()
    }

    pub(super) fn slot(&self, position: usize) -> Option<PeerSlot> {
        self.slots.get(position).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The peer to evict from for one more entry from `newcomer`, and how many entries to evict: of
    /// some peers the one whose source has most. `None` if the newcomer's own source has as many.
    ///
    /// At most half of the difference is evicted, so that two sources never evict each other in
    /// turn.
    pub(super) fn pick_victim(
        &mut self,
        newcomer: IpAddr,
        ip_of: impl Fn(PeerSlot) -> IpAddr,
    ) -> Option<(PeerSlot, usize)> {
        let slots = &self.slots;
        let (at, surplus) =
            self.sampler.pick(&self.counts, newcomer, slots.len(), |at| ip_of(slots[at]))?;
        let taken = (surplus / 2).min(EVICTED_AT_MOST);
        (taken > 0).then_some((slots[at], usize::try_from(taken).unwrap_or(usize::MAX)))
    }
}

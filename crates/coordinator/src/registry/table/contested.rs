//! Who has entries that were taken while room was short, and how many. Only these give way to
//! others: what a peer had when there was room for everybody stays.

use std::net::IpAddr;

use tnet_proto::SourceCounts;

use super::peer::PeerSlot;

/// Entries of one address that say nothing about it. Below this, addresses are compared by what
/// their networks have.
const GRAIN: u64 = 256;

/// Peers that are compared when one has to give way.
const COMPARED: usize = 16;

/// Entries that one event takes from others at most.
const MOST_TAKEN: u64 = 128;

/// Peers with contested entries, and how many each source has.
#[derive(Debug, Default)]
pub(super) struct Contested {
    slots: Vec<PeerSlot>,
    counts: SourceCounts,
    /// Where the next comparison begins, so that all have their turn.
    cursor: usize,
}

impl Contested {
    /// A peer has some now. Answers its place.
    pub(super) fn enter(&mut self, slot: PeerSlot) -> usize {
        self.slots.push(slot);
        self.slots.len() - 1
    }

    /// The peer at `place` has none any more. Answers who stands there now.
    pub(super) fn leave(&mut self, place: usize) -> Option<PeerSlot> {
        self.slots.swap_remove(place);
        let moved = self.slots.get(place).copied();
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

    /// Entries of all of them.
    pub(super) fn total(&self) -> u64 {
        self.counts.total()
    }

    pub(super) fn slot(&self, place: usize) -> Option<PeerSlot> {
        self.slots.get(place).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The peer that gives way to one more entry from `newcomer`, and how many entries it gives: of
    /// some peers the one whose source has most. None if the newcomer's own source has as much.
    ///
    /// Half of the difference at most is taken, so that two sources never take turns in driving
    /// each other out.
    pub(super) fn who_gives_way(
        &mut self,
        newcomer: IpAddr,
        ip_of: impl Fn(PeerSlot) -> IpAddr,
    ) -> Option<(PeerSlot, usize)> {
        let compared = self.slots.len().min(COMPARED);
        let candidates =
            (0..compared).map(|step| self.slots[(self.cursor + step) % self.slots.len()]);
        let greatest =
            candidates.max_by_key(|slot| self.counts.coarse_rank(ip_of(*slot), GRAIN))?;
        self.cursor = (self.cursor + compared) % self.slots.len();
        let taken = (self.counts.surplus(ip_of(greatest), newcomer, GRAIN) / 2).min(MOST_TAKEN);
        (taken > 0).then_some((greatest, usize::try_from(taken).unwrap_or(usize::MAX)))
    }
}

//! The listed holders of one file, ordered by network, then by address. The holders of one source
//! are adjacent, so a search finds the end of a source.

use std::net::IpAddr;
use std::ops::Range;

use tnet_sources::SourceNetwork;

use super::compact_vec::CompactVec;
use super::peer::PeerSlot;

/// Holders by source.
#[derive(Debug, Default)]
pub(super) struct BySource(CompactVec<PeerSlot>);

/// Position of a holder in the order.
type SortKey = (SourceNetwork, IpAddr, PeerSlot);

fn sort_key(slot: PeerSlot, ip: IpAddr) -> SortKey {
    (SourceNetwork::of(ip), ip, slot)
}

impl BySource {
    /// An index of these holders.
    pub(super) fn new(mut slots: Vec<PeerSlot>, ip_of: impl Fn(PeerSlot) -> IpAddr) -> BySource {
        slots.sort_unstable_by_key(|slot| sort_key(*slot, ip_of(*slot)));
        BySource(slots.into())
    }

    pub(super) fn insert(&mut self, slot: PeerSlot, ip_of: impl Fn(PeerSlot) -> IpAddr) {
        if let Err(at) = self.find(slot, ip_of) {
            self.0.insert(at, slot);
        }
    }

    pub(super) fn remove(&mut self, slot: PeerSlot, ip_of: impl Fn(PeerSlot) -> IpAddr) {
        if let Ok(at) = self.find(slot, ip_of) {
            self.0.remove(at);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn slot(&self, at: usize) -> PeerSlot {
        self.0[at]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = PeerSlot> {
        self.0.iter().copied()
    }

    /// Whether there is more than one source of this kind.
    pub(super) fn has_several<S: PartialEq>(&self, source_of: impl Fn(PeerSlot) -> S) -> bool {
        match (self.0.first(), self.0.last()) {
            (Some(first), Some(last)) => source_of(*first) != source_of(*last),
            _ => false,
        }
    }

    /// The range of each source; `None` if there are more than `most`.
    pub(super) fn sources<S: PartialEq>(
        &self,
        most: usize,
        source_of: impl Fn(PeerSlot) -> S,
    ) -> Option<Vec<Range<usize>>> {
        let mut ranges = Vec::new();
        let mut start = 0;
        while let Some(first) = self.0.get(start) {
            if ranges.len() == most {
                return None;
            }
            let source = source_of(*first);
            // Galloping search: cheap for short runs, logarithmic for long ones.
            let mut step = 1;
            while self.0.get(start + step).is_some_and(|slot| source_of(*slot) == source) {
                step *= 2;
            }
            let rest = &self.0[start..self.0.len().min(start + step)];
            let end = start + rest.partition_point(|slot| source_of(*slot) == source);
            ranges.push(start..end);
            start = end;
        }
        Some(ranges)
    }

    /// The range of the source of the holder at `at`.
    pub(super) fn source_at<S: PartialEq>(
        &self,
        at: usize,
        source_of: impl Fn(PeerSlot) -> S,
    ) -> Range<usize> {
        let source = source_of(self.0[at]);
        let is_same =
            |other: usize| self.0.get(other).is_some_and(|slot| source_of(*slot) == source);
        let mut step = 1;
        while is_same(at + step) {
            step *= 2;
        }
        let after = &self.0[at..self.0.len().min(at + step)];
        let end = at + after.partition_point(|slot| source_of(*slot) == source);
        let mut step = 1;
        while step <= at && is_same(at - step) {
            step *= 2;
        }
        let from = at.saturating_sub(step);
        let start = from + self.0[from..at].partition_point(|slot| source_of(*slot) != source);
        start..end
    }

    pub(super) fn reserved_bytes(&self) -> usize {
        size_of::<Self>() + self.0.reserved_bytes()
    }

    fn find(&self, slot: PeerSlot, ip_of: impl Fn(PeerSlot) -> IpAddr) -> Result<usize, usize> {
        let wanted = sort_key(slot, ip_of(slot));
        self.0.binary_search_by(|other| sort_key(*other, ip_of(*other)).cmp(&wanted))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn ip_of(slot: PeerSlot) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(u32::from(slot) % 7))
    }

    proptest! {
        #[test]
        fn sources_are_those_of_a_plain_map(slots in prop::collection::vec((0u32..60, any::<bool>()), 0..120)) {
            let mut by_source = BySource::default();
            let mut plain: BTreeMap<IpAddr, Vec<PeerSlot>> = BTreeMap::new();
            for (slot, adds) in slots {
                let slot = PeerSlot::from(slot);
                let of_source = plain.entry(ip_of(slot)).or_default();
                of_source.retain(|other| *other != slot);
                if adds {
                    of_source.push(slot);
                    by_source.insert(slot, ip_of);
                } else {
                    by_source.remove(slot, ip_of);
                }
            }
            plain.retain(|_, slots| !slots.is_empty());
            let sources = by_source.sources(7, ip_of).expect("seven at most");
            let counted: Vec<(IpAddr, usize)> = sources.iter().map(|range| (ip_of(by_source.slot(range.start)), range.len())).collect();
            prop_assert_eq!(counted, plain.iter().map(|(ip, slots)| (*ip, slots.len())).collect::<Vec<_>>());
            for source in sources {
                for at in source.clone() {
                    prop_assert_eq!(by_source.source_at(at, ip_of), source.clone());
                }
            }
            prop_assert_eq!(by_source.has_several(ip_of), plain.len() > 1);
            if plain.len() > 1 {
                prop_assert_eq!(by_source.sources(plain.len() - 1, ip_of), None);
            }
        }
    }
}

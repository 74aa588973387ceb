//! The peers that hold one file: four groups, one behind the other, without gaps. Every change
//! moves at most one peer per group, so adding, removing and picking the n-th of a group are O(1).

use std::ops::Range;

use tnet_proto::Availability;

use super::compact_vec::CompactVec;
use super::peer::{PeerSlot, Visibility};

const GROUPS: usize = 4;

/// The groups of [`Holders`], in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    ListedFull,
    ListedPartial,
    UnlistedFull,
    UnlistedPartial,
}

impl Group {
    const ALL: [Group; GROUPS] =
        [Group::ListedFull, Group::ListedPartial, Group::UnlistedFull, Group::UnlistedPartial];

    pub(super) fn of(visibility: Visibility, holding: Holding) -> Group {
        match (visibility, holding) {
            (Visibility::Listed, Holding::Full) => Group::ListedFull,
            (Visibility::Listed, Holding::Partial) => Group::ListedPartial,
            (Visibility::Unlisted, Holding::Full) => Group::UnlistedFull,
            (Visibility::Unlisted, Holding::Partial) => Group::UnlistedPartial,
        }
    }

    pub(super) fn holding(self) -> Holding {
        match self {
            Group::ListedFull | Group::UnlistedFull => Holding::Full,
            Group::ListedPartial | Group::UnlistedPartial => Holding::Partial,
        }
    }
}

/// How much of a file a holder has: [`Availability`] without `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holding {
    Partial,
    Full,
}

impl Holding {
    /// `None` for a peer that holds nothing.
    pub(super) fn from_availability(availability: Availability) -> Option<Holding> {
        match availability {
            Availability::None => None,
            Availability::Partial => Some(Holding::Partial),
            Availability::Full => Some(Holding::Full),
        }
    }

    pub(super) fn availability(self) -> Availability {
        match self {
            Holding::Partial => Availability::Partial,
            Holding::Full => Availability::Full,
        }
    }
}

/// The holders of one file. A *position* is the index of a peer in it; it changes when others are
/// added or removed; each change reports moves through `moved`.
#[derive(Debug, Default)]
pub(super) struct Holders {
    slots: CompactVec<PeerSlot>,
    /// Where the first three groups end; the fourth ends with `slots`.
    ends: [u32; GROUPS - 1],
}

impl Holders {
    /// Adds `slot`, which must not be in it, and returns its position.
    pub(super) fn insert(
        &mut self,
        slot: PeerSlot,
        group: Group,
        mut moved: impl FnMut(PeerSlot, u32),
    ) -> u32 {
        let mut hole = self.len();
        self.slots.push(slot);
        // Each later group moves its first peer to the hole at its own end, so the hole moves to
        // its front.
        for later in (group as usize + 1..GROUPS).rev() {
            let first = self.ends[later - 1];
            self.relocate(first, hole, &mut moved);
            hole = first;
            self.ends[later - 1] += 1;
        }
        self.slots[hole as usize] = slot;
        hole
    }

    /// Removes the peer at `position`.
    pub(super) fn remove(&mut self, position: u32, mut moved: impl FnMut(PeerSlot, u32)) {
        let mut hole = position;
        for group in self.group(position) as usize..GROUPS {
            let last = self.end(group) - 1;
            self.relocate(last, hole, &mut moved);
            hole = last;
            if let Some(end) = self.ends.get_mut(group) {
                *end -= 1;
            }
        }
        self.slots.pop();
    }

    pub(super) fn group(&self, position: u32) -> Group {
        let passed = self.ends.iter().filter(|end| **end <= position).count();
        Group::ALL[passed]
    }

    pub(super) fn range(&self, group: Group) -> Range<u32> {
        let index = group as usize;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        start..self.end(index)
    }

    /// Peers in `group`.
    pub(super) fn count(&self, group: Group) -> u32 {
        self.range(group).end - self.range(group).start
    }

    pub(super) fn slot(&self, position: u32) -> PeerSlot {
        self.slots[position as usize]
    }

    /// The peer at the first position.
    pub(super) fn first(&self) -> Option<PeerSlot> {
        self.slots.first().copied()
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.slots.len())
            .expect("the table's limits are u32: fewer holders than 2^32")
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, PeerSlot)> {
        (0..).zip(self.slots.iter().copied())
    }

    pub(super) fn reserved_bytes(&self) -> usize {
        self.slots.reserved_bytes()
    }

    fn end(&self, group: usize) -> u32 {
        self.ends.get(group).copied().unwrap_or_else(|| self.len())
    }

    fn relocate(&mut self, from: u32, to: u32, moved: &mut impl FnMut(PeerSlot, u32)) {
        if from != to {
            let slot = self.slots[from as usize];
            self.slots[to as usize] = slot;
            moved(slot, to);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a map from peer to group: groups, counts and every position told through `moved`
        /// agree.
        #[test]
        fn places_and_groups_are_those_of_a_plain_map(ops in prop::collection::vec((0u32..12, 0usize..GROUPS), 0..200)) {
            let mut holders = Holders::default();
            let mut groups: BTreeMap<u32, Group> = BTreeMap::new();
            let mut positions: BTreeMap<u32, u32> = BTreeMap::new();
            for (peer, group) in ops {
                let slot = PeerSlot::from(peer);
                if groups.remove(&peer).is_some() {
                    let position = positions.remove(&peer).expect("the model keeps both");
                    holders.remove(position, |slot, to| { positions.insert(slot.into(), to); });
                } else {
                    let group = Group::ALL[group];
                    let position = holders.insert(slot, group, |slot, to| { positions.insert(slot.into(), to); });
                    positions.insert(peer, position);
                    groups.insert(peer, group);
                }
                prop_assert_eq!(holders.len() as usize, groups.len());
                for (peer, group) in &groups {
                    prop_assert_eq!(u32::from(holders.slot(positions[peer])), *peer);
                    prop_assert_eq!(holders.group(positions[peer]), *group);
                    prop_assert!(holders.range(*group).contains(&positions[peer]));
                }
                for group in Group::ALL {
                    let expected = groups.values().filter(|other| **other == group).count();
                    prop_assert_eq!(holders.count(group) as usize, expected);
                }
            }
        }
    }

    #[test]
    fn one_change_moves_at_most_one_peer_per_group() {
        let mut holders = Holders::default();
        for peer in 0..400 {
            holders.insert(PeerSlot::from(peer), Group::ALL[peer as usize % GROUPS], |_, _| {});
        }
        let mut moves = 0;
        holders.insert(PeerSlot::from(400), Group::ListedFull, |_, _| moves += 1);
        holders.remove(0, |_, _| moves += 1);
        assert!(moves <= 2 * GROUPS, "{moves} moves");
    }
}

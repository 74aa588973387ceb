//! Draws the positions of the holders that a handout names. Pure arithmetic; the cost depends on
//! the number wanted, not on the number of holders.

use rand::Rng;
use rand::seq::{SliceRandom, index};

/// When a file has both full and partial holders, a handout names at least this many of each (or
/// all, if there are fewer).
///
/// Full holders among partial ones: they have every chunk that those lack. Partial among full ones:
/// they download the same file, have a free uplink for it, and will exchange most chunks with the
/// asker. Five of fifty hardly changes the proportion, so a lone seed is not named to more peers
/// than necessary.
pub(crate) const MIN_OF_EACH: u32 = 5;

/// The candidates for a handout: positions `0..full` are full holders, `full..full + partial`
/// partial ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidates {
    pub(crate) full: u32,
    pub(crate) partial: u32,
    /// The position of the asker, which is left out.
    pub(crate) asker: Option<u32>,
}

impl Candidates {
    /// Up to `wanted` different positions in random order, the asker's left out: in proportion to
    /// the numbers of full and partial holders, but at least [`MIN_OF_EACH`] of each.
    pub(crate) fn choose(self, wanted: u32, rng: &mut impl Rng) -> Vec<u32> {
        let asker_full = self.asker.filter(|position| *position < self.full);
        let asker_partial =
            self.asker.filter(|position| (self.full..self.full + self.partial).contains(position));
        let full = self.full - u32::from(asker_full.is_some());
        let partial = self.partial - u32::from(asker_partial.is_some());
        let (from_full, from_partial) = shares(full, partial, wanted);

        let mut positions = Vec::with_capacity((from_full + from_partial) as usize);
        pick(full, from_full, 0, asker_full, rng, &mut positions);
        pick(partial, from_partial, self.full, asker_partial, rng, &mut positions);
        positions.shuffle(rng);
        positions
    }
}

/// Splits `wanted` between `full` and `partial` candidates.
fn shares(full: u32, partial: u32, wanted: u32) -> (u32, u32) {
    let all = u64::from(full) + u64::from(partial);
    if all <= u64::from(wanted) {
        return (full, partial);
    }
    let proportional = u64::from(wanted) * u64::from(full) / all;
    let proportional =
        u32::try_from(proportional).expect("a share of `wanted` is at most `wanted`");
    let floor = MIN_OF_EACH.min(wanted / 2);
    let from_full = proportional
        .max(floor.min(full))
        .min(wanted - floor.min(partial))
        .max(wanted.saturating_sub(partial))
        .min(full);
    (from_full, wanted - from_full)
}

/// Pushes `amount` different positions of `count` that begin at `start`, skipping the position
/// `without`.
fn pick(
    count: u32,
    amount: u32,
    start: u32,
    without: Option<u32>,
    rng: &mut impl Rng,
    positions: &mut Vec<u32>,
) {
    for index in index::sample(rng, count as usize, amount as usize) {
        let position = start + u32::try_from(index).expect("below `count`, a u32");
        let behind_gap = without.is_some_and(|gap| position >= gap);
        positions.push(position + u32::from(behind_gap));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    proptest! {
        #[test]
        fn places_are_different_and_never_the_askers(
            full in 0u32..200, partial in 0u32..200, asker in 0u32..500, wanted in 0u32..80, seed: u64,
        ) {
            let candidates = Candidates { full, partial, asker: (asker < full + partial).then_some(asker) };
            let positions = candidates.choose(wanted, &mut StdRng::seed_from_u64(seed));
            let different: BTreeSet<u32> = positions.iter().copied().collect();
            prop_assert_eq!(different.len(), positions.len());
            prop_assert!(positions.iter().all(|position| *position < full + partial && *position != asker));
            let available = full + partial - u32::from(asker < full + partial);
            prop_assert_eq!(positions.len(), available.min(wanted) as usize, "as many as there are, up to `wanted`");
        }

        #[test]
        fn both_kinds_are_named_when_both_exist(full in 1u32..100_000, partial in 1u32..100_000, seed: u64) {
            let candidates = Candidates { full, partial, asker: None };
            let positions = candidates.choose(50, &mut StdRng::seed_from_u64(seed));
            let of_full = u32::try_from(positions.iter().filter(|position| **position < full).count()).expect("at most 50");
            prop_assert!(of_full >= full.min(MIN_OF_EACH));
            prop_assert!(50.min(full + partial) - of_full >= partial.min(MIN_OF_EACH));
        }
    }

    #[test]
    fn shares_follow_the_proportion_between_the_floors() {
        let cases = [
            ((10, 10), (10, 10)),             // fewer than wanted: all of them
            ((25, 25), (25, 25)),             // exactly as many as wanted
            ((1000, 1000), (25, 25)),         // half and half
            ((1, 9999), (1, 49)),             // a lone seed is always named
            ((9999, 1), (49, 1)),             // and so is a lone downloader
            ((10, 9990), (5, 45)),            // the floor, not the proportion of 0.05
            ((9000, 1000), (45, 5)),          // proportion and floor agree
            ((0, 9999), (0, 50)),             // no peer has all of it
            ((9999, 0), (50, 0)),             // all peers have all of it
            ((u32::MAX, u32::MAX), (25, 25)), // no overflow
        ];
        for ((full, partial), expected) in cases {
            assert_eq!(shares(full, partial, 50), expected, "{full} whole, {partial} incomplete");
        }
    }

    #[test]
    fn every_candidate_is_equally_likely() {
        // 20 000 draws of 10 out of 100: each candidate is expected 2000 times, sigma 42. Six sigma
        // each way.
        let mut rng = StdRng::seed_from_u64(7);
        let mut drawn = [0u32; 101];
        for _ in 0..20_000 {
            let candidates = Candidates { full: 0, partial: 101, asker: Some(40) };
            for position in candidates.choose(10, &mut rng) {
                drawn[position as usize] += 1;
            }
        }
        assert_eq!(drawn[40], 0);
        for (position, times) in drawn.iter().enumerate().filter(|(position, _)| *position != 40) {
            assert!((1750..=2250).contains(times), "position {position} was drawn {times} times");
        }
    }
}

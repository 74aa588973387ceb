//! The number of a connection, and maps by it.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// Number of a connection, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// A map by connection. Peers cannot choose the numbers, so hashing needs no key.
pub(crate) type EpochMap<V> = HashMap<Epoch, V, BuildHasherDefault<EpochHasher>>;

/// A set of connections.
pub(crate) type EpochSet = HashSet<Epoch, BuildHasherDefault<EpochHasher>>;

/// Odd, without a pattern: 2^64 divided by the golden ratio.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Multiplies and folds the product: the upper half depends on all bits of the number, the lower
/// half is different for every number.
#[derive(Debug, Default)]
pub(crate) struct EpochHasher(u64);

impl Hasher for EpochHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        let (lower, upper) = (self.0 ^ number).carrying_mul(MULTIPLIER, 0);
        self.0 = lower ^ upper;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::hash::{BuildHasher, BuildHasherDefault};

    use super::*;

    /// A peer that opens many connections and keeps each thousandth must not cause collisions.
    #[test]
    fn connections_in_any_step_are_spread_over_a_map() {
        const PLACES: u64 = 4096;
        let hasher = BuildHasherDefault::<EpochHasher>::default();
        for step in (0..40).map(|shift| 1 << shift).chain(1..300) {
            let mut at_place: BTreeMap<u64, u32> = BTreeMap::new();
            for turn in 1..=PLACES {
                *at_place.entry(hasher.hash_one(Epoch(turn * step)) % PLACES).or_default() += 1;
            }
            let most = at_place.values().max();
            assert!(most < Some(&32), "steps of {step}: {most:?} in one place");
        }
    }
}

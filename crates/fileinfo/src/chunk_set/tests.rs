//! The set against a `BTreeSet` of indices, and its wire form bit by bit.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::chunk_size::{ChunkSize, MIN_CHUNK_SIZE};

fn geometry(chunks: u32) -> Geometry {
    let chunk_size = ChunkSize::new(MIN_CHUNK_SIZE).expect("the smallest size");
    Geometry::new(u64::from(chunks) * u64::from(MIN_CHUNK_SIZE), chunk_size).expect("few chunks")
}

fn set_of(geometry: &Geometry, indices: &BTreeSet<u32>) -> ChunkSet {
    let mut set = ChunkSet::empty(geometry);
    for &index in indices {
        assert!(set.insert(geometry.chunk(index).expect("the model stays below the chunk count")));
    }
    set
}

fn indices(chunks: impl Iterator<Item = ChunkIndex>) -> Vec<u32> {
    chunks.map(ChunkIndex::get).collect()
}

/// A chunk count and two sets of indices below it.
fn two_sets() -> impl Strategy<Value = (u32, BTreeSet<u32>, BTreeSet<u32>)> {
    (1_u32..200).prop_flat_map(|count| {
        let set = || proptest::collection::btree_set(0..count, 0..=count as usize);
        (Just(count), set(), set())
    })
}

proptest! {
    #[test]
    fn the_set_answers_as_a_plain_set_does(
        count in 1_u32..200,
        steps in proptest::collection::vec((any::<bool>(), any::<u32>()), 0..400),
    ) {
        let geometry = geometry(count);
        let mut set = ChunkSet::empty(&geometry);
        let mut model = BTreeSet::new();
        for (add, index) in steps {
            let index = index % count;
            let chunk = geometry.chunk(index).expect("below the count");
            if add {
                prop_assert_eq!(set.insert(chunk), model.insert(index));
            } else {
                prop_assert_eq!(set.remove(chunk), model.remove(&index));
            }
            prop_assert_eq!(set.contains(chunk), add);
            prop_assert_eq!(set.count() as usize, model.len());
            prop_assert_eq!(set.is_empty(), model.is_empty());
            prop_assert_eq!(set.is_full(), model.len() == count as usize);
        }
        for (start, end) in [(0, count), (count / 3, count / 2), (count / 2, u32::MAX), (count, 0)] {
            let within = model.iter().filter(|index| (start..end).contains(*index)).count();
            prop_assert_eq!(set.count_in(start..end) as usize, within);
        }
        prop_assert_eq!(indices(set.iter()), model.iter().copied().collect::<Vec<_>>());
        let missing: Vec<u32> = (0..count).filter(|index| !model.contains(index)).collect();
        prop_assert_eq!(indices(set.missing()), missing);
    }

    #[test]
    fn combining_sets_answers_what_changed((count, left, right) in two_sets()) {
        let geometry = geometry(count);
        let (a, b) = (set_of(&geometry, &left), set_of(&geometry, &right));
        let sorted = |model: BTreeSet<&u32>| model.into_iter().copied().collect::<Vec<u32>>();

        let mut union = a.clone();
        let added = union.union_with(&b);
        prop_assert_eq!(indices(union.iter()), sorted(left.union(&right).collect()));
        prop_assert_eq!(union.count(), a.count() + added);

        let mut both = a.clone();
        let gone = both.intersect_with(&b);
        prop_assert_eq!(indices(both.iter()), sorted(left.intersection(&right).collect()));
        prop_assert_eq!(both.count() + gone, a.count());
        prop_assert_eq!(a.intersection_count(&b), both.count());

        let mut rest = a.clone();
        let gone = rest.difference_with(&b);
        prop_assert_eq!(indices(rest.iter()), sorted(left.difference(&right).collect()));
        prop_assert_eq!(rest.count() + gone, a.count());
        prop_assert_eq!(indices(a.difference(&b)), indices(rest.iter()));
        prop_assert_eq!(a.difference_count(&b), rest.count());
    }

    #[test]
    fn the_wire_bitmap_has_the_bit_of_each_chunk_and_no_other((count, model, _) in two_sets()) {
        let geometry = geometry(count);
        let set = set_of(&geometry, &model);
        let bytes = set.to_bytes();
        prop_assert_eq!(bytes.len(), count.div_ceil(8) as usize);
        for bit in 0..u32::try_from(bytes.len() * 8).expect("short") {
            let is_set = bytes[(bit / 8) as usize] >> (bit % 8) & 1 == 1;
            prop_assert_eq!(is_set, model.contains(&bit), "bit {}", bit);
        }
        prop_assert_eq!(ChunkSet::from_bytes(&geometry, &bytes), Ok(set));
    }

    #[test]
    fn any_bytes_are_a_set_or_a_typed_error(count in 0_u32..80, bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
        let expected = count.div_ceil(8) as usize;
        match ChunkSet::from_bytes(&geometry(count), &bytes) {
            Ok(set) => prop_assert_eq!(set.to_bytes(), bytes),
            Err(ChunkSetError::WrongLength { .. }) => prop_assert_ne!(bytes.len(), expected),
            Err(ChunkSetError::SpareBits) => {
                let last = *bytes.last().expect("spare bits need a byte");
                prop_assert!(u32::from(last) >= 1 << (count % 8));
            }
        }
    }
}

#[test]
fn the_bitmap_is_least_significant_bit_first() {
    let geometry = geometry(10);
    let mut set = ChunkSet::empty(&geometry);
    for index in [0, 3, 8] {
        set.insert(geometry.chunk(index).expect("of ten"));
    }
    assert_eq!(set.to_bytes(), [0b0000_1001, 0b0000_0001]);
}

#[test]
fn spare_bits_are_refused_at_every_chunk_count() {
    // Either side of a byte, of a 32-bit block and of a 64-bit block.
    for count in [1_u32, 7, 9, 31, 33, 63, 65, 127] {
        let mut bytes = ChunkSet::full(&geometry(count)).to_bytes();
        *bytes.last_mut().expect("at least one chunk") |= 1 << (count % 8);
        assert_eq!(
            ChunkSet::from_bytes(&geometry(count), &bytes),
            Err(ChunkSetError::SpareBits),
            "{count}"
        );
    }
}

#[test]
fn a_full_set_misses_nothing_at_block_boundaries() {
    for count in [1_u32, 8, 31, 32, 33, 63, 64, 65, 128] {
        let set = ChunkSet::full(&geometry(count));
        assert!(set.is_full());
        assert_eq!((set.count(), set.len()), (count, count));
        assert_eq!(set.iter().count(), count as usize);
        assert_eq!(set.missing().count(), 0);
    }
}

#[test]
fn the_set_of_an_empty_file_is_both_empty_and_full() {
    let set = ChunkSet::empty(&geometry(0));
    assert!(set.is_empty() && set.is_full());
    assert_eq!(set.to_bytes(), Vec::<u8>::new());
    assert_eq!(ChunkSet::from_bytes(&geometry(0), &[]), Ok(set));
}

#[test]
#[should_panic(expected = "different geometries")]
fn sets_of_different_files_are_not_combined() {
    ChunkSet::empty(&geometry(5)).union_with(&ChunkSet::full(&geometry(6)));
}

//! Chunk sets from untrusted bitmaps and any operations: always equal to sets of plain numbers, and
//! each operation returns what changed.

#![no_main]

use std::collections::BTreeSet;

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use tnet_fileinfo::{ChunkIndex, ChunkSet, ChunkSetError, ChunkSize, Geometry, MIN_CHUNK_SIZE};

/// Operations in one history; longer ones find nothing more and take longer.
const MOST_OPERATIONS: usize = 50;

fuzz_target!(|data: &[u8]| {
    let _ = tell(&mut Unstructured::new(data));
});

/// A set beside its model.
struct Pair {
    set: ChunkSet,
    model: BTreeSet<u32>,
}

fn tell(u: &mut Unstructured<'_>) -> Result<()> {
    // Around the widths of a byte and of the blocks below.
    let chunks = u32::from(u.arbitrary::<u8>()?);
    let chunk_size = ChunkSize::new(MIN_CHUNK_SIZE).expect("the smallest size");
    let last = u64::from(u.arbitrary::<u8>()?);
    let size = (u64::from(chunks) * u64::from(MIN_CHUNK_SIZE)).saturating_sub(last);
    let geometry = Geometry::new(size, chunk_size).expect("few chunks");
    let mut pairs = [foreign(u, &geometry)?, foreign(u, &geometry)?];
    for _ in 0..MOST_OPERATIONS {
        if u.is_empty() {
            break;
        }
        let (op, index): (u8, u8) = (u.arbitrary()?, u.arbitrary()?);
        let [one, other] = &mut pairs;
        act(op, geometry.chunk(index.into()), one, other);
        one.check(&geometry);
        pairs.swap(0, usize::from(op & 1));
    }
    Ok(())
}

/// A set from an untrusted bitmap; an empty set if the bitmap is invalid.
fn foreign(u: &mut Unstructured<'_>, geometry: &Geometry) -> Result<Pair> {
    let chunks = geometry.chunk_count() as usize;
    let len = match u.arbitrary::<u8>()? {
        // Mostly of the right length.
        odd @ 0..8 => usize::from(odd) + chunks / 8,
        _ => chunks.div_ceil(8),
    };
    let bytes = u.bytes(len.min(u.len()))?;
    let bits = |byte: usize| {
        (0..8).filter(move |bit| bytes[byte] >> bit & 1 == 1).map(move |bit| byte * 8 + bit)
    };
    let named: BTreeSet<usize> = (0..bytes.len()).flat_map(bits).collect();
    let expected = match named.last() {
        _ if bytes.len() != chunks.div_ceil(8) => {
            Err(ChunkSetError::WrongLength { found: bytes.len(), expected: chunks.div_ceil(8) })
        }
        Some(last) if *last >= chunks => Err(ChunkSetError::SpareBits),
        _ => Ok(named.into_iter().map(|chunk| u32::try_from(chunk).expect("few chunks")).collect()),
    };
    match (ChunkSet::from_bytes(geometry, bytes), expected) {
        (Ok(set), Ok(model)) => {
            assert_eq!(set.to_bytes(), bytes);
            Ok(Pair { set, model })
        }
        (Err(error), Err(expected)) => {
            assert_eq!(error, expected);
            Ok(Pair { set: ChunkSet::empty(geometry), model: BTreeSet::new() })
        }
        (read, expected) => panic!("{read:?} where {expected:?} was due"),
    }
}

fn act(op: u8, chunk: Option<ChunkIndex>, one: &mut Pair, other: &Pair) {
    let before = one.model.len();
    let changed = match (op >> 1) % 6 {
        0 => chunk.map(|chunk| (one.set.insert(chunk), one.model.insert(chunk.get()))),
        1 => chunk.map(|chunk| (one.set.remove(chunk), one.model.remove(&chunk.get()))),
        2 => {
            let changed = one.set.union_with(&other.set);
            one.model.extend(&other.model);
            return assert_eq!(changed as usize, one.model.len() - before);
        }
        3 => {
            let changed = one.set.intersect_with(&other.set);
            one.model.retain(|chunk| other.model.contains(chunk));
            return assert_eq!(changed as usize, before - one.model.len());
        }
        4 => {
            let changed = one.set.difference_with(&other.set);
            one.model.retain(|chunk| !other.model.contains(chunk));
            return assert_eq!(changed as usize, before - one.model.len());
        }
        _ => {
            let both = one.model.intersection(&other.model).count();
            assert_eq!(one.set.intersection_count(&other.set) as usize, both);
            assert_eq!(one.set.difference_count(&other.set) as usize, before - both);
            let left: Vec<u32> = one.set.difference(&other.set).map(ChunkIndex::get).collect();
            assert!(left.iter().eq(one.model.difference(&other.model)));
            if chunk.is_none() {
                one.set.clear();
                one.model.clear();
            }
            return;
        }
    };
    if let Some((answer, expected)) = changed {
        assert_eq!(answer, expected);
    }
}

impl Pair {
    fn check(&self, geometry: &Geometry) {
        let (set, model) = (&self.set, &self.model);
        assert_eq!(set.count() as usize, model.len());
        assert_eq!(set.len(), geometry.chunk_count());
        assert_eq!(set.is_empty(), model.is_empty());
        assert_eq!(set.is_full(), model.len() == set.len() as usize);
        assert!(set.iter().map(ChunkIndex::get).eq(model.iter().copied()));
        let missing = (0..set.len()).filter(|chunk| !model.contains(chunk));
        assert!(set.missing().map(ChunkIndex::get).eq(missing));
        assert!(geometry.chunks().all(|chunk| set.contains(chunk) == model.contains(&chunk.get())));
        let lens = set.iter().map(|chunk| u64::from(geometry.chunk_len(chunk)));
        assert_eq!(geometry.bytes_in(set), lens.sum::<u64>());
        assert_eq!(ChunkSet::from_bytes(geometry, &set.to_bytes()).as_ref(), Ok(set));
    }
}

//! The BLAKE3 tree of a file, seen from its chunks: the root over the chunk sums is the plain
//! BLAKE3 hash of the file.
//!
//! BLAKE3 hashes leaves of 1 KiB and merges them in a binary tree whose left subtrees are always
//! complete. A chunk is a power of two of leaves, so each chunk is one subtree and its chaining
//! value is its sum. The sums are the only thing needed to compute the root. A file of one chunk
//! has no merging above that chunk: its sum *is* the root.

use blake3::Hasher;
use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root,
};

use crate::geometry::{ChunkIndex, Geometry};
use crate::hash::{ChunkSum, FileHash};

/// Complete subtrees that may wait for their right neighbour: one for each bit of a count of chunks
/// or of leaves.
const MAX_WAITING: usize = 32;

/// Whether a subtree is all there is, or has something above it. BLAKE3 hashes the two differently.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NodePosition {
    Root,
    Inner,
}

impl NodePosition {
    /// The place of a chunk: the root if the file has no other.
    pub(crate) fn of_chunk(geometry: &Geometry) -> Self {
        if geometry.chunk_count() == 1 { Self::Root } else { Self::Inner }
    }
}

/// The sum of a chunk that has these bytes.
///
/// # Panics
/// If there are not exactly as many bytes as the chunk has: callers check that before
/// hashing.
pub fn chunk_sum(geometry: &Geometry, chunk: ChunkIndex, bytes: &[u8]) -> ChunkSum {
    let mut hasher = ChunkHasher::new(geometry, chunk);
    hasher.update(bytes);
    hasher.finish().expect("the caller hands over the whole chunk")
}

/// Hashes one chunk whose bytes arrive piece by piece, in order.
#[derive(Clone, Debug)]
pub struct ChunkHasher {
    subtree: SubtreeHasher,
    missing: u64,
    overrun: bool,
}

impl ChunkHasher {
    /// Begins a chunk.
    pub fn new(geometry: &Geometry, chunk: ChunkIndex) -> Self {
        Self {
            subtree: SubtreeHasher::new(geometry.offset(chunk), NodePosition::of_chunk(geometry)),
            missing: u64::from(geometry.chunk_len(chunk)),
            overrun: false,
        }
    }

    /// Takes the next bytes. Bytes past the end of the chunk are not hashed, they spoil it.
    pub fn update(&mut self, bytes: &[u8]) {
        match self.missing.checked_sub(bytes.len() as u64) {
            Some(missing) if !self.overrun => {
                self.subtree.update(bytes);
                self.missing = missing;
            }
            _ => self.overrun = true,
        }
    }

    /// The sum, if exactly the chunk's length of bytes was taken.
    pub fn finish(self) -> Option<ChunkSum> {
        (self.missing == 0 && !self.overrun).then(|| ChunkSum::from_bytes(self.subtree.finish()))
    }
}

/// Hashes the bytes of one subtree, which begins at a leaf boundary of the file.
#[derive(Clone, Debug)]
pub(crate) struct SubtreeHasher {
    hasher: Hasher,
    place: NodePosition,
}

impl SubtreeHasher {
    /// A root begins at offset 0.
    pub(crate) fn new(offset: u64, place: NodePosition) -> Self {
        debug_assert!(offset == 0 || place == NodePosition::Inner);
        let mut hasher = Hasher::new();
        hasher.set_input_offset(offset);
        Self { hasher, place }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// At least one byte was taken, unless it is the root of an empty file.
    pub(crate) fn finish(&self) -> ChainingValue {
        match self.place {
            NodePosition::Root => *self.hasher.finalize().as_bytes(),
            NodePosition::Inner => self.hasher.finalize_non_root(),
        }
    }
}

/// The hash of the file that has these chunk sums.
///
/// # Panics
/// If there is not exactly one sum for each chunk of the geometry: callers check that
/// before hashing.
pub fn root(geometry: &Geometry, sums: &[ChunkSum]) -> FileHash {
    assert_eq!(sums.len(), geometry.chunk_count() as usize, "one sum for each chunk");
    if sums.is_empty() {
        return FileHash::from_bytes(*blake3::hash(b"").as_bytes());
    }
    FileHash::from_bytes(merge_row(sums.iter().map(|sum| *sum.as_bytes()), NodePosition::Root))
}

/// The chaining value over a row of subtrees, all complete and of one size except the last, which
/// may be smaller. A row of one subtree has the value of that subtree, wherever it is.
///
/// # Panics
/// If the row is empty.
pub(crate) fn merge_row(
    row: impl ExactSizeIterator<Item = ChainingValue>,
    place: NodePosition,
) -> ChainingValue {
    // Like a binary counter: after `n` subtrees, one waits for each bit set in `n`. The last is
    // never merged on arrival, because only the final fold knows which merge is the root.
    let mut waiting: Vec<ChainingValue> = Vec::with_capacity(MAX_WAITING);
    let mut last = None;
    for (index, value) in row.enumerate() {
        if let Some(mut complete) = last.replace(value) {
            for _ in 0..(index - 1).trailing_ones() {
                let left = waiting.pop().expect("each bit set in the count waits");
                complete = merge(&left, &complete, NodePosition::Inner);
            }
            waiting.push(complete);
        }
    }
    let last = last.expect("the row is not empty");
    fold_left_siblings(waiting.iter().rev(), last, place)
}

/// Climbs from a right edge: merges each sibling, innermost first, to the left of what was merged
/// so far. `place` is that of the result.
pub(crate) fn fold_left_siblings<'a>(
    siblings: impl ExactSizeIterator<Item = &'a ChainingValue>,
    edge: ChainingValue,
    place: NodePosition,
) -> ChainingValue {
    let above = siblings.len();
    siblings.enumerate().fold(edge, |right, (level, left)| {
        let merged = if level + 1 == above { place } else { NodePosition::Inner };
        merge(left, &right, merged)
    })
}

fn merge(left: &ChainingValue, right: &ChainingValue, place: NodePosition) -> ChainingValue {
    match place {
        NodePosition::Root => *merge_subtrees_root(left, right, Mode::Hash).as_bytes(),
        NodePosition::Inner => merge_subtrees_non_root(left, right, Mode::Hash),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk_size::{ChunkSize, MIN_CHUNK_SIZE};
    use crate::testing::{BOUNDARY_SIZES, bytes, geometry};
    use proptest::prelude::*;

    fn sums(geometry: &Geometry, content: &[u8]) -> Vec<ChunkSum> {
        let chunks = content.chunks(geometry.chunk_size().get() as usize);
        geometry
            .chunks()
            .zip(chunks)
            .map(|(chunk, bytes)| chunk_sum(geometry, chunk, bytes))
            .collect()
    }

    fn root_of(geometry: &Geometry, content: &[u8]) -> FileHash {
        root(geometry, &sums(geometry, content))
    }

    #[test]
    fn the_root_is_the_plain_hash_at_every_boundary() {
        for size in BOUNDARY_SIZES {
            let content = bytes(size);
            let expected = FileHash::from_bytes(*blake3::hash(&content).as_bytes());
            for chunk_size in [MIN_CHUNK_SIZE, 2 * MIN_CHUNK_SIZE, 8 * MIN_CHUNK_SIZE] {
                let chunk_size = ChunkSize::new(chunk_size).expect("a power of two");
                let geometry = Geometry::new(size as u64, chunk_size).expect("small");
                assert_eq!(
                    root_of(&geometry, &content),
                    expected,
                    "{size} in chunks of {chunk_size}"
                );
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_root_is_the_plain_hash(content in proptest::collection::vec(any::<u8>(), 0..300_000)) {
            let geometry = geometry(content.len());
            let expected = FileHash::from_bytes(*blake3::hash(&content).as_bytes());
            prop_assert_eq!(root_of(&geometry, &content), expected);
        }

        #[test]
        fn a_chunk_may_be_hashed_in_pieces_of_any_length(
            size in 1_usize..60_000,
            picked in any::<proptest::sample::Index>(),
            piece_len in 1_usize..5_000,
        ) {
            let content = bytes(size);
            let geometry = geometry(size);
            let index = picked.index(geometry.chunk_count() as usize);
            let chunk = geometry.chunks().nth(index).expect("below the count");
            let start = usize::try_from(geometry.offset(chunk)).expect("small");
            let whole = &content[start..][..geometry.chunk_len(chunk) as usize];
            let mut hasher = ChunkHasher::new(&geometry, chunk);
            whole.chunks(piece_len).for_each(|piece| hasher.update(piece));
            prop_assert_eq!(hasher.finish(), Some(chunk_sum(&geometry, chunk, whole)));
        }
    }

    #[test]
    fn the_sum_of_the_only_chunk_is_the_file_hash() {
        // One leaf, several leaves, a full chunk.
        for size in [1, 1025, MIN_CHUNK_SIZE as usize] {
            let content = bytes(size);
            let sums = sums(&geometry(size), &content);
            assert_eq!(sums.len(), 1);
            assert_eq!(sums[0].as_bytes(), blake3::hash(&content).as_bytes(), "{size}");
        }
    }

    #[test]
    fn equal_chunks_at_different_places_have_different_sums() {
        let size = 2 * MIN_CHUNK_SIZE as usize;
        let sums = sums(&geometry(size), &vec![0; size]);
        assert_ne!(sums[0], sums[1]);
    }

    #[test]
    fn only_exactly_the_length_of_the_chunk_gives_a_sum() {
        let content = bytes(20_000);
        let geometry = geometry(content.len());
        let last = geometry.last_chunk().expect("two chunks");
        let len = geometry.chunk_len(last) as usize;
        for taken in [0, len - 1, len, len + 1] {
            let mut hasher = ChunkHasher::new(&geometry, last);
            hasher.update(&content[..taken]);
            assert_eq!(hasher.finish().is_some(), taken == len, "{taken} of {len}");
        }
    }

    #[test]
    fn bytes_past_the_end_spoil_a_chunk_for_good() {
        let geometry = geometry(1000);
        let mut hasher = ChunkHasher::new(&geometry, geometry.last_chunk().expect("one chunk"));
        hasher.update(&[0; 1001]);
        hasher.update(&[0; 1000]);
        assert_eq!(hasher.finish(), None);
    }

    #[test]
    fn a_million_sums_are_merged_without_recursion() {
        let chunk_size = ChunkSize::new(MIN_CHUNK_SIZE).expect("the smallest");
        let size = u64::from(crate::MAX_CHUNKS) * u64::from(MIN_CHUNK_SIZE);
        let geometry = Geometry::new(size, chunk_size).expect("the limit itself");
        let sums = vec![ChunkSum::from_bytes([7; 32]); crate::MAX_CHUNKS as usize];
        // A complete tree of equal values is twenty merges, each of a value with itself.
        let child = (1..crate::MAX_CHUNKS.ilog2())
            .fold([7; 32], |cv, _| merge(&cv, &cv, NodePosition::Inner));
        assert_eq!(
            root(&geometry, &sums),
            FileHash::from_bytes(merge(&child, &child, NodePosition::Root))
        );
    }
}

//! The proof of a file's size. With it, a description whose size is wrong by a single byte is
//! refused before a chunk is fetched.
//!
//! The root of the tree fixes the chunk sums, but nothing in the sums fixes the *length* of the
//! last chunk: take a true description, change only its size so that the number of chunks stays the
//! same, and sums and root still agree. The error would show only when the last chunk fails, after
//! everything else was fetched. So a description carries the last leaf of the file (BLAKE3 hashes
//! leaves of 1 KiB) and the chaining values on the way from it to the sum of the last chunk.
//!
//! The last leaf lies on the right edge of the chunk's tree, where every sibling is a complete
//! subtree on the left. If the leaf has index `i` within its chunk, each bit set in `i` is one such
//! sibling, of as many leaves as the bit is worth. So the claimed size dictates the leaf's index,
//! its length, and the number of siblings. BLAKE3 hashes a leaf together with its position in the
//! file and its length: a leaf that verifies at the claimed position with the claimed length *is*
//! the leaf there, and being on the right edge it is the last one. Any other size would need a
//! collision.
//!
//! For a file of one chunk the climb ends in the root of the file, which BLAKE3 hashes in its own
//! mode, like any root.

use blake3::hazmat::ChainingValue;

use crate::chunk_size::MAX_CHUNK_SIZE;
use crate::geometry::Geometry;
use crate::hash::ChunkSum;
use crate::hash_tree::{NodePosition, SubtreeHasher, fold_left_siblings};

/// Bytes in every BLAKE3 leaf but the last.
const LEAF_LEN: u32 = 1024;

const _: () = assert!(LEAF_LEN as usize == blake3::CHUNK_LEN);

/// The last leaf of a file, and what stands left of it within the last chunk.
///
/// Exhaustive: it has the fields that the wire has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tail {
    /// The last 1 to 1024 bytes of the file: what follows the last whole leaf. Nothing for an empty
    /// file.
    pub leaf: Vec<u8>,
    /// Chaining values of the left siblings from that leaf up to the last chunk's own subtree,
    /// innermost first.
    pub path: Vec<[u8; 32]>,
}

impl Tail {
    /// Most bytes a tail's leaf can have.
    pub const MAX_LEAF_LEN: usize = LEAF_LEN as usize;

    /// Most siblings a tail's path can have: one for each bit of the index of a leaf in the largest
    /// chunk.
    pub const MAX_PATH_LEN: usize = (MAX_CHUNK_SIZE / LEAF_LEN).ilog2() as usize;

    /// The tail of a file whose last chunk is `last_chunk`; no bytes for an empty file.
    ///
    /// # Panics
    /// If there are not exactly as many bytes as the last chunk has.
    pub fn of(geometry: &Geometry, last_chunk: &[u8]) -> Self {
        let Some(shape) = Shape::of(geometry) else {
            assert!(last_chunk.is_empty(), "an empty file has no last chunk");
            return Self::default();
        };
        assert_eq!(
            last_chunk.len() as u64,
            geometry.size() - shape.chunk_offset,
            "the whole last chunk"
        );
        let mut path = Vec::with_capacity(shape.path_len());
        // From the largest subtree, which comes first in the file, to the smallest, which stands
        // beside the leaf.
        let mut rest = last_chunk;
        for bit in (0..u32::BITS).rev().filter(|bit| shape.leaf_index >> bit & 1 == 1) {
            let (subtree, after) = rest.split_at((LEAF_LEN << bit) as usize);
            let offset = geometry.size() - rest.len() as u64;
            let mut hasher = SubtreeHasher::new(offset, NodePosition::Inner);
            hasher.update(subtree);
            path.push(hasher.finish());
            rest = after;
        }
        path.reverse();
        Self { leaf: rest.to_vec(), path }
    }

    /// Whether the end of a file of that geometry has this form. A wrong one is refused before any
    /// sum is known.
    ///
    /// # Errors
    /// The leaf or the path has another length than the size makes it.
    pub fn fits(&self, geometry: &Geometry) -> Result<(), TailError> {
        let shape = Shape::of(geometry);
        let leaf_len = shape.as_ref().map_or(0, |shape| shape.leaf_len);
        if self.leaf.len() != leaf_len {
            return Err(TailError::LeafLength { found: self.leaf.len(), expected: leaf_len });
        }
        let path_len = shape.as_ref().map_or(0, Shape::path_len);
        if self.path.len() != path_len {
            return Err(TailError::PathLength { found: self.path.len(), expected: path_len });
        }
        Ok(())
    }

    /// Whether this is the end of a file of that geometry whose last chunk has that sum (`None`: a
    /// file without chunks). Takes any bytes; at most fifteen small hashes.
    pub(crate) fn proves(
        &self,
        geometry: &Geometry,
        last_sum: Option<&ChunkSum>,
    ) -> Result<(), TailError> {
        self.fits(geometry)?;
        let computed = Shape::of(geometry).map(|shape| self.climb(geometry, &shape));
        if computed.as_ref() == last_sum.map(ChunkSum::as_bytes) {
            Ok(())
        } else {
            Err(TailError::Mismatch)
        }
    }

    /// The sum of the last chunk as leaf and path, of that shape, make it.
    fn climb(&self, geometry: &Geometry, shape: &Shape) -> ChainingValue {
        let place = NodePosition::of_chunk(geometry);
        let leaf_place = if self.path.is_empty() { place } else { NodePosition::Inner };
        let mut leaf = SubtreeHasher::new(shape.leaf_offset(), leaf_place);
        leaf.update(&self.leaf);
        fold_left_siblings(self.path.iter(), leaf.finish(), place)
    }
}

/// Where the last leaf of a file lies, as its geometry dictates.
struct Shape {
    chunk_offset: u64,
    /// Counted within the last chunk.
    leaf_index: u32,
    leaf_len: usize,
}

impl Shape {
    /// `None` for an empty file.
    fn of(geometry: &Geometry) -> Option<Self> {
        let last = geometry.last_chunk()?;
        let leaf_index = (geometry.chunk_len(last) - 1) / LEAF_LEN;
        let leaf_len = geometry.chunk_len(last) - leaf_index * LEAF_LEN;
        Some(Self { chunk_offset: geometry.offset(last), leaf_index, leaf_len: leaf_len as usize })
    }

    fn leaf_offset(&self) -> u64 {
        self.chunk_offset + u64::from(self.leaf_index) * u64::from(LEAF_LEN)
    }

    fn path_len(&self) -> usize {
        self.leaf_index.count_ones() as usize
    }
}

/// Why a tail does not prove the size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TailError {
    /// The claimed size wants another length of the last leaf.
    #[error("the last leaf has {found} bytes where the size makes it {expected}")]
    LeafLength {
        /// Bytes in the leaf.
        found: usize,
        /// Bytes that the size dictates.
        expected: usize,
    },
    /// The claimed size wants another number of siblings.
    #[error("the path from the last leaf has {found} steps where the size makes it {expected}")]
    PathLength {
        /// Siblings in the path.
        found: usize,
        /// Siblings that the size dictates.
        expected: usize,
    },
    /// Leaf and path do not make the sum of the last chunk.
    #[error("the last leaf does not belong to the last chunk sum")]
    Mismatch,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk_size::{ChunkSize, MIN_CHUNK_SIZE};
    use crate::hash_tree::chunk_sum;
    use crate::testing::{BOUNDARY_SIZES, bytes, geometry};
    use proptest::prelude::*;

    const CHUNK: usize = MIN_CHUNK_SIZE as usize;

    fn last_chunk<'a>(geometry: &Geometry, content: &'a [u8]) -> &'a [u8] {
        let start = geometry.last_chunk().map_or(0, |last| geometry.offset(last));
        &content[usize::try_from(start).expect("small")..]
    }

    fn tail_and_sum(geometry: &Geometry, content: &[u8]) -> (Tail, Option<ChunkSum>) {
        let last_bytes = last_chunk(geometry, content);
        let sum = geometry.last_chunk().map(|last| chunk_sum(geometry, last, last_bytes));
        (Tail::of(geometry, last_bytes), sum)
    }

    #[test]
    fn a_true_tail_proves_its_size_at_every_boundary() {
        for size in BOUNDARY_SIZES {
            let geometry = geometry(size);
            let (tail, sum) = tail_and_sum(&geometry, &bytes(size));
            assert_eq!(tail.proves(&geometry, sum.as_ref()), Ok(()), "{size}");
            assert_eq!(tail.leaf.is_empty(), size == 0);
            assert!(tail.leaf.len() <= Tail::MAX_LEAF_LEN && tail.path.len() <= Tail::MAX_PATH_LEN);
        }
    }

    #[test]
    fn the_longest_path_is_that_of_the_largest_chunk() {
        let largest = ChunkSize::new(MAX_CHUNK_SIZE).expect("the largest size");
        let geometry = Geometry::new(u64::from(MAX_CHUNK_SIZE), largest).expect("one chunk");
        let (tail, sum) = tail_and_sum(&geometry, &bytes(MAX_CHUNK_SIZE as usize));
        assert_eq!(tail.path.len(), Tail::MAX_PATH_LEN);
        assert_eq!(tail.proves(&geometry, sum.as_ref()), Ok(()));
    }

    #[test]
    fn no_other_size_with_as_many_chunks_is_proven() {
        // One chunk (root mode) and three; one leaf, a few, and a full chunk at the end.
        for size in
            [1, 700, 5000, CHUNK, 2 * CHUNK + 1, 2 * CHUNK + 1024, 2 * CHUNK + 9000, 3 * CHUNK]
        {
            let truth = geometry(size);
            let (tail, sum) = tail_and_sum(&truth, &bytes(size));
            let chunks = size.div_ceil(CHUNK);
            for other in (chunks - 1) * CHUNK + 1..=chunks * CHUNK {
                let claimed = geometry(other);
                assert_eq!(claimed.chunk_count(), truth.chunk_count());
                assert_eq!(
                    tail.proves(&claimed, sum.as_ref()).is_ok(),
                    other == size,
                    "{other} for {size}"
                );
            }
        }
    }

    #[test]
    fn a_rewritten_tail_cannot_prove_another_size() {
        let size = 2 * CHUNK + 5000;
        let content = bytes(size);
        let (tail, sum) = tail_and_sum(&geometry(size), &content);
        // Everything built from the true content: cut or padded at the claimed size, with the path
        // that goes with it, or with the true path cut or repeated to the claimed number of steps.
        for claimed_size in
            [size - 5000 + 1, size - 1024, size - 1, size + 1, size + 1024, 3 * CHUNK]
        {
            let claimed = geometry(claimed_size);
            let mut forged_content = content.clone();
            forged_content.resize(claimed_size, 0);
            let forged = Tail::of(&claimed, last_chunk(&claimed, &forged_content));
            assert_eq!(
                forged.proves(&claimed, sum.as_ref()),
                Err(TailError::Mismatch),
                "{claimed_size}"
            );
            let path: Vec<_> = tail.path.iter().copied().cycle().take(forged.path.len()).collect();
            let patched = Tail { path, ..forged };
            assert_eq!(
                patched.proves(&claimed, sum.as_ref()),
                Err(TailError::Mismatch),
                "{claimed_size}"
            );
        }
    }

    #[test]
    fn the_tail_of_an_empty_file_is_empty_and_nothing_else_passes_for_it() {
        let empty = geometry(0);
        assert_eq!(Tail::of(&empty, &[]), Tail::default());
        assert_eq!(Tail::default().proves(&empty, None), Ok(()));
        let leaf = Tail { leaf: vec![0], path: Vec::new() };
        assert_eq!(leaf.proves(&empty, None), Err(TailError::LeafLength { found: 1, expected: 0 }));
        let path = Tail { leaf: Vec::new(), path: vec![[0; 32]] };
        assert_eq!(path.proves(&empty, None), Err(TailError::PathLength { found: 1, expected: 0 }));
    }

    proptest! {
        #[test]
        fn a_single_changed_bit_breaks_the_proof(
            size in 1_usize..60_000,
            picked in any::<proptest::sample::Index>(),
            bit in 0_u32..8,
        ) {
            let geometry = geometry(size);
            let (mut tail, sum) = tail_and_sum(&geometry, &bytes(size));
            let at = picked.index(tail.leaf.len() + 32 * tail.path.len());
            let byte = match at.checked_sub(tail.leaf.len()) {
                None => &mut tail.leaf[at],
                Some(in_path) => &mut tail.path[in_path / 32][in_path % 32],
            };
            *byte ^= 1 << bit;
            prop_assert_eq!(tail.proves(&geometry, sum.as_ref()), Err(TailError::Mismatch));
        }
    }
}

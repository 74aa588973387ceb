//! Content and geometries that the tests of several modules share.

use crate::chunk_size::{ChunkSize, MIN_CHUNK_SIZE};
use crate::geometry::Geometry;
use crate::hash_tree::{chunk_sum, root};
use crate::info::FileInfo;
use crate::tail::Tail;

const CHUNK: usize = MIN_CHUNK_SIZE as usize;

/// Sizes around every boundary of the tree: nothing, leaf, chunk, several chunks, powers of two of
/// chunks.
pub(crate) const BOUNDARY_SIZES: [usize; 33] = [
    0,
    1,
    1023,
    1024,
    1025,
    2047,
    2048,
    2049,
    3 * 1024,
    CHUNK - 1024,
    CHUNK - 1023,
    CHUNK - 1,
    CHUNK,
    CHUNK + 1,
    CHUNK + 1023,
    CHUNK + 1024,
    CHUNK + 1025,
    2 * CHUNK - 1,
    2 * CHUNK,
    2 * CHUNK + 1,
    3 * CHUNK - 1,
    3 * CHUNK,
    3 * CHUNK + 1,
    4 * CHUNK - 1,
    4 * CHUNK,
    4 * CHUNK + 1,
    7 * CHUNK + 5000,
    8 * CHUNK - 1,
    8 * CHUNK,
    8 * CHUNK + 1,
    16 * CHUNK - 1,
    16 * CHUNK,
    16 * CHUNK + 1,
];

/// Bytes that do not repeat with any power of two, so that no two chunks are alike.
pub(crate) fn bytes(len: usize) -> Vec<u8> {
    (0_u8..251).cycle().take(len).collect()
}

/// A file of that size in the smallest chunks.
pub(crate) fn geometry(size: usize) -> Geometry {
    let chunk_size = ChunkSize::new(MIN_CHUNK_SIZE).expect("the smallest size");
    Geometry::new(size as u64, chunk_size).expect("a small file")
}

/// The description of a file with [`bytes`] of that size in the smallest chunks.
pub(crate) fn info(size: usize) -> FileInfo {
    let (content, geometry) = (bytes(size), geometry(size));
    let chunks: Vec<&[u8]> = content.chunks(CHUNK).collect();
    let sums: Vec<_> =
        geometry.chunks().map(|chunk| chunk_sum(&geometry, chunk, chunks[chunk.index()])).collect();
    let tail = Tail::of(&geometry, chunks.last().copied().unwrap_or_default());
    let hash = root(&geometry, &sums);
    FileInfo::from_parts(None, geometry, sums, tail, hash).expect("made from the content itself")
}

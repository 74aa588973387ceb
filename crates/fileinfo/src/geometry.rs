//! How a file is cut into chunks. The chunks cover every byte of the file once, in order, and none
//! is empty.
//!
//! [`Geometry`] turns plain integers into [`ChunkIndex`]: an index needs no further bounds check,
//! as long as it is used with the geometry that made it.

use std::fmt;
use std::ops::Range;

use crate::chunk_set::ChunkSet;
use crate::chunk_size::{ChunkSize, MAX_CHUNK_SIZE, MIN_CHUNK_SIZE};

/// Most chunks a file may have: with the largest chunks, 16 TiB. It bounds the sums of a file to 32
/// MiB.
pub const MAX_CHUNKS: u32 = 1 << 20;

/// Which chunk of a file, counted from zero; below the chunk count of the [`Geometry`] that minted
/// it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkIndex(u32);

impl ChunkIndex {
    /// For this crate's own sets, whose bound is a geometry's chunk count.
    pub(crate) fn within(index: usize, count: u32) -> Self {
        let index = u32::try_from(index).expect("sets hold at most MAX_CHUNKS chunks");
        debug_assert!(index < count);
        Self(index)
    }

    /// The index as it goes on the wire.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The index for slices.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for ChunkIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for ChunkIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// The size of a file and of its chunks; everything else about the cutting follows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Geometry {
    size: u64,
    chunk_size: ChunkSize,
    chunk_count: u32,
}

impl Geometry {
    /// Cuts `size` bytes into chunks of `chunk_size`.
    ///
    /// # Errors
    /// [`GeometryError::TooManyChunks`] above [`MAX_CHUNKS`].
    pub fn new(size: u64, chunk_size: ChunkSize) -> Result<Self, GeometryError> {
        let chunks = size.div_ceil(u64::from(chunk_size.get()));
        match u32::try_from(chunks) {
            Ok(chunk_count) if chunk_count <= MAX_CHUNKS => {
                Ok(Self { size, chunk_size, chunk_count })
            }
            _ => Err(GeometryError::TooManyChunks { size, chunk_size, chunks }),
        }
    }

    /// Bytes in the file.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Bytes in every chunk but the last.
    pub const fn chunk_size(&self) -> ChunkSize {
        self.chunk_size
    }

    /// Number of chunks; zero for an empty file, at most [`MAX_CHUNKS`].
    pub const fn chunk_count(&self) -> u32 {
        self.chunk_count
    }

    /// The chunk of that index, if the file has it.
    pub fn chunk(&self, index: u32) -> Option<ChunkIndex> {
        (index < self.chunk_count).then_some(ChunkIndex(index))
    }

    /// The last chunk, the only one that may be short; none in an empty file.
    pub fn last_chunk(&self) -> Option<ChunkIndex> {
        self.chunk_count.checked_sub(1).map(ChunkIndex)
    }

    /// Every chunk, in order.
    pub fn chunks(
        &self,
    ) -> impl ExactSizeIterator<Item = ChunkIndex> + DoubleEndedIterator + Clone + use<> {
        (0..self.chunk_count).map(ChunkIndex)
    }

    /// Where the chunk begins, in bytes from the start of the file.
    pub fn offset(&self, chunk: ChunkIndex) -> u64 {
        debug_assert!(chunk.0 < self.chunk_count, "chunk {chunk} is of another geometry");
        u64::from(chunk.0) * u64::from(self.chunk_size.get())
    }

    /// Bytes in the chunk: the chunk size, or what remains for the last one. Never zero.
    pub fn chunk_len(&self, chunk: ChunkIndex) -> u32 {
        let rest = self.size - self.offset(chunk);
        u32::try_from(rest).map_or(self.chunk_size.get(), |rest| rest.min(self.chunk_size.get()))
    }

    /// The bytes of the file that the chunk covers.
    pub fn range(&self, chunk: ChunkIndex) -> Range<u64> {
        let start = self.offset(chunk);
        start..start + u64::from(self.chunk_len(chunk))
    }

    /// Sum of the lengths of the chunks in the set.
    pub fn bytes_in(&self, chunks: &ChunkSet) -> u64 {
        debug_assert_eq!(chunks.len(), self.chunk_count, "the set is of another geometry");
        let whole = u64::from(chunks.count()) * u64::from(self.chunk_size.get());
        match self.last_chunk() {
            Some(last) if chunks.contains(last) => {
                whole - u64::from(self.chunk_size.get() - self.chunk_len(last))
            }
            _ => whole,
        }
    }
}

/// A file cannot be cut that way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GeometryError {
    /// Not a power of two, or out of bounds.
    #[error(
        "chunk size {bytes} is not a power of two from {} KiB to {} MiB",
        MIN_CHUNK_SIZE >> 10,
        MAX_CHUNK_SIZE >> 20
    )]
    ChunkSize {
        /// The size asked for.
        bytes: u64,
    },
    /// The text is not a number of bytes, KiB or MiB.
    #[error("not a chunk size: write it like 65536, 64K or 1M")]
    NotASize,
    /// The file is too large for its chunk size, or too large altogether.
    #[error(
        "{size} bytes in chunks of {chunk_size} make {chunks} chunks; at most {MAX_CHUNKS} are possible"
    )]
    TooManyChunks {
        /// Bytes in the file.
        size: u64,
        /// The chunk size asked for.
        chunk_size: ChunkSize,
        /// How many chunks that would be.
        chunks: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CHUNK: u64 = MIN_CHUNK_SIZE as u64;

    fn geometry(size: u64) -> Geometry {
        let chunk_size = ChunkSize::new(MIN_CHUNK_SIZE).expect("the smallest size");
        Geometry::new(size, chunk_size).expect("a small file")
    }

    #[test]
    fn the_last_chunk_takes_what_remains() {
        // size, chunks, length of the last: one byte; short; exact; spill; two exact.
        let table = [
            (1, 1, 1),
            (CHUNK - 1, 1, CHUNK - 1),
            (CHUNK, 1, CHUNK),
            (CHUNK + 1, 2, 1),
            (2 * CHUNK, 2, CHUNK),
        ];
        for (size, chunks, last_len) in table {
            let geometry = geometry(size);
            let last = geometry.last_chunk().expect("not empty");
            assert_eq!(geometry.chunk_count(), chunks, "{size}");
            assert_eq!(u64::from(geometry.chunk_len(last)), last_len, "{size}");
            assert_eq!(geometry.range(last).end, size);
        }
    }

    #[test]
    fn an_empty_file_has_no_chunks() {
        let empty = geometry(0);
        assert_eq!(empty.chunk_count(), 0);
        assert_eq!(empty.chunk(0), None);
        assert_eq!(empty.last_chunk(), None);
        assert_eq!(empty.chunks().count(), 0);
    }

    #[test]
    fn an_index_is_minted_only_below_the_chunk_count() {
        let geometry = geometry(3 * CHUNK);
        assert_eq!(geometry.chunk(2).map(ChunkIndex::get), Some(2));
        assert_eq!(geometry.chunk(3), None);
        assert_eq!(geometry.chunk(u32::MAX), None);
    }

    #[test]
    fn more_chunks_than_the_limit_are_refused_whatever_the_size() {
        let largest = ChunkSize::new(MAX_CHUNK_SIZE).expect("the largest size");
        let limit = u64::from(MAX_CHUNKS) * u64::from(MAX_CHUNK_SIZE);
        assert_eq!(
            Geometry::new(limit, largest).map(|geometry| geometry.chunk_count()),
            Ok(MAX_CHUNKS)
        );
        // One byte more; the sign bit of a signed size; one more than a u32 of chunks, which must
        // not wrap to few; all ones.
        for size in [limit + 1, 1 << 63, (1 << 56) + 1, u64::MAX] {
            assert!(
                matches!(Geometry::new(size, largest), Err(GeometryError::TooManyChunks { .. })),
                "{size}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_chunks_cover_every_byte_once_and_in_order(size in 0..40 * CHUNK) {
            let geometry = geometry(size);
            let mut covered = 0;
            for chunk in geometry.chunks() {
                let range = geometry.range(chunk);
                prop_assert_eq!(range.start, covered);
                prop_assert!(range.end > range.start, "chunk {} is empty", chunk);
                prop_assert_eq!(range.end - range.start, u64::from(geometry.chunk_len(chunk)));
                covered = range.end;
            }
            prop_assert_eq!(covered, size);
        }

        #[test]
        fn the_bytes_in_a_set_are_the_sum_of_its_chunks(size in 0..40 * CHUNK, picked in any::<u64>()) {
            let geometry = geometry(size);
            let mut set = ChunkSet::empty(&geometry);
            let mut bytes = 0;
            for chunk in geometry.chunks().filter(|chunk| picked >> chunk.get() & 1 == 1) {
                set.insert(chunk);
                bytes += u64::from(geometry.chunk_len(chunk));
            }
            prop_assert_eq!(geometry.bytes_in(&set), bytes);
            prop_assert_eq!(geometry.bytes_in(&ChunkSet::full(&geometry)), size);
        }
    }
}

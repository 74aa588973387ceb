//! A set of chunks of one file. Its length is the file's chunk count for ever, and its count is
//! always the number of chunks in it.
//!
//! Operations that change the set return what changed, so that a caller that keeps counters beside
//! it counts from the answer.

use std::fmt;
use std::ops::Range;

use fixedbitset::FixedBitSet;

use crate::geometry::{ChunkIndex, Geometry};

/// Bytes in one block of the bit set below.
const BLOCK_LEN: usize = size_of::<usize>();

/// Some of the chunks of one file.
///
/// A chunk or a set of another geometry is a mistake of ours, never of a peer: methods that change
/// the set or combine two sets panic when they meet one.
#[derive(Clone, PartialEq, Eq)]
pub struct ChunkSet {
    bits: FixedBitSet,
    count: u32,
}

impl ChunkSet {
    /// No chunk of the file.
    pub fn empty(geometry: &Geometry) -> Self {
        Self { bits: FixedBitSet::with_capacity(bit_len(geometry)), count: 0 }
    }

    /// Every chunk of the file.
    pub fn full(geometry: &Geometry) -> Self {
        let mut set = Self::empty(geometry);
        set.bits.insert_range(..);
        set.count = geometry.chunk_count();
        set
    }

    /// Adds the chunk; `true` if it was not there.
    pub fn insert(&mut self, chunk: ChunkIndex) -> bool {
        let added = !self.bits.put(chunk.index());
        self.count += u32::from(added);
        added
    }

    /// Takes the chunk out; `true` if it was there.
    pub fn remove(&mut self, chunk: ChunkIndex) -> bool {
        let removed = self.bits.contains(chunk.index());
        self.bits.remove(chunk.index());
        self.count -= u32::from(removed);
        removed
    }

    /// Takes every chunk out.
    pub fn clear(&mut self) {
        self.bits.clear();
        self.count = 0;
    }

    /// Whether the chunk is in the set.
    pub fn contains(&self, chunk: ChunkIndex) -> bool {
        self.bits.contains(chunk.index())
    }

    /// How many chunks are in the set.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How many of the chunks from `start` up to `end`, itself not included, are in the set.
    /// Numbers past the last chunk count for nothing.
    pub fn count_in(&self, Range { start, end }: Range<u32>) -> u32 {
        let end = end.min(self.len());
        let start = start.min(end);
        to_count(self.bits.count_ones(start as usize..end as usize))
    }

    /// How many chunks the file has, in the set or not.
    pub fn len(&self) -> u32 {
        u32::try_from(self.bits.len()).expect("a geometry has at most MAX_CHUNKS chunks")
    }

    /// Whether every chunk of the file is in the set; true for the set of an empty file.
    pub fn is_full(&self) -> bool {
        self.count == self.len()
    }

    /// Whether no chunk is in the set; true for the set of an empty file.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The chunks in the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = ChunkIndex> + '_ {
        self.bits.ones().map(|index| ChunkIndex::within(index, self.len()))
    }

    /// The chunks not in the set, in order.
    pub fn missing(&self) -> impl Iterator<Item = ChunkIndex> + '_ {
        self.bits.zeroes().map(|index| ChunkIndex::within(index, self.len()))
    }

    /// The chunks in this set that are not in `other`, in order.
    pub fn difference<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = ChunkIndex> + 'a {
        self.assert_same_file(other);
        self.bits.difference(&other.bits).map(|index| ChunkIndex::within(index, self.len()))
    }

    /// How many chunks of this set are not in `other`.
    pub fn difference_count(&self, other: &Self) -> u32 {
        self.assert_same_file(other);
        self.count - self.intersection_count(other)
    }

    /// How many chunks are in both sets.
    pub fn intersection_count(&self, other: &Self) -> u32 {
        self.assert_same_file(other);
        to_count(self.bits.intersection_count(&other.bits))
    }

    /// Adds every chunk of `other`; answers how many were not there.
    pub fn union_with(&mut self, other: &Self) -> u32 {
        self.assert_same_file(other);
        self.bits.union_with(&other.bits);
        let before = self.recount();
        self.count - before
    }

    /// Keeps only the chunks that are in `other` too; answers how many went.
    pub fn intersect_with(&mut self, other: &Self) -> u32 {
        self.assert_same_file(other);
        self.bits.intersect_with(&other.bits);
        let before = self.recount();
        before - self.count
    }

    /// Takes out every chunk of `other`; answers how many went.
    pub fn difference_with(&mut self, other: &Self) -> u32 {
        self.assert_same_file(other);
        self.bits.difference_with(&other.bits);
        let before = self.recount();
        before - self.count
    }

    /// The wire bitmap: chunk `i` is bit `i % 8`, least significant first, of byte `i / 8`. Exactly
    /// as many bytes as the chunks need; spare bits are zero.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> =
            self.bits.as_slice().iter().flat_map(|block| block.to_le_bytes()).collect();
        bytes.truncate(self.bits.len().div_ceil(8));
        bytes
    }

    /// Reads a wire bitmap for a file of that geometry.
    ///
    /// # Errors
    /// The bitmap is not exactly as long as the file's chunks need, or names chunks that the file
    /// does not have.
    pub fn from_bytes(geometry: &Geometry, bytes: &[u8]) -> Result<Self, ChunkSetError> {
        let len = bit_len(geometry);
        if bytes.len() != len.div_ceil(8) {
            return Err(ChunkSetError::WrongLength {
                found: bytes.len(),
                expected: len.div_ceil(8),
            });
        }
        if let Some(last) = bytes.last()
            && !len.is_multiple_of(8)
            && last >> (len % 8) != 0
        {
            return Err(ChunkSetError::SpareBits);
        }
        let blocks = bytes.chunks(BLOCK_LEN).map(|part| {
            let mut block = [0; BLOCK_LEN];
            block.iter_mut().zip(part).for_each(|(place, byte)| *place = *byte);
            usize::from_le_bytes(block)
        });
        let mut set = Self { bits: FixedBitSet::with_capacity_and_blocks(len, blocks), count: 0 };
        set.recount();
        Ok(set)
    }

    /// Counts anew after a bulk change; answers the count before it.
    fn recount(&mut self) -> u32 {
        std::mem::replace(&mut self.count, to_count(self.bits.count_ones(..)))
    }

    fn assert_same_file(&self, other: &Self) {
        assert_eq!(self.bits.len(), other.bits.len(), "sets of different geometries were combined");
    }
}

impl fmt::Debug for ChunkSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkSet({} of {})", self.count, self.bits.len())
    }
}

/// A wire bitmap that does not fit its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkSetError {
    /// Not exactly as many bytes as the chunks need.
    #[error("chunk bitmap of {found} bytes where the file needs exactly {expected}")]
    WrongLength {
        /// Bytes received.
        found: usize,
        /// Bytes the file's chunks need.
        expected: usize,
    },
    /// A bit past the last chunk is set.
    #[error("chunk bitmap names chunks past the end of the file")]
    SpareBits,
}

fn bit_len(geometry: &Geometry) -> usize {
    geometry.chunk_count() as usize
}

fn to_count(bits: usize) -> u32 {
    u32::try_from(bits).expect("a geometry has at most MAX_CHUNKS chunks")
}

#[cfg(test)]
mod tests;

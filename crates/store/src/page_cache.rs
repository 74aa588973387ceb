//! Drops downloaded chunks from the page cache if the file is larger than the memory: they would
//! only evict what other programs need. The latest chunks stay for a while, because other peers
//! request them next.

use std::sync::{Mutex, PoisonError};

use tnet_fileinfo::{ChunkIndex, ChunkSet, Geometry};

use super::content_bytes::ContentBytes;

/// Between one and two eighths of the memory stay cached.
const KEPT_PART: u64 = 8;

#[derive(Debug)]
pub(super) struct PageCache {
    geometry: Geometry,
    /// `None`: the file fits into memory, and nothing is done.
    large: Option<Mutex<Generations>>,
}

#[derive(Debug)]
struct Generations {
    bytes_each: u64,
    recent: ChunkSet,
    older: ChunkSet,
}

impl PageCache {
    pub(super) fn new(geometry: &Geometry, memory_bytes: Option<u64>) -> PageCache {
        let is_large = memory_bytes.filter(|memory| geometry.size() > *memory);
        let large = is_large.map(|memory| {
            let empty = || ChunkSet::empty(geometry);
            Mutex::new(Generations {
                bytes_each: memory / KEPT_PART,
                recent: empty(),
                older: empty(),
            })
        });
        PageCache { geometry: *geometry, large }
    }

    /// Call it for a chunk that was on the disk before and was read to verify it.
    pub(super) fn on_verified(&self, bytes: &impl ContentBytes, chunk: ChunkIndex) {
        if self.large.is_some() {
            let range = self.geometry.range(chunk);
            bytes.drop_cached(range);
        }
    }

    /// Call it for chunks that are on the disk now: their pages can be dropped without being
    /// written.
    pub(super) fn on_synced(&self, bytes: &impl ContentBytes, synced: &ChunkSet) {
        let Some(large) = &self.large else { return };
        let Some(done_with) =
            large.lock().unwrap_or_else(PoisonError::into_inner).turn(&self.geometry, synced)
        else {
            return;
        };
        for chunk in done_with.iter() {
            let range = self.geometry.range(chunk);
            bytes.drop_cached(range);
        }
    }
}

impl Generations {
    /// Ends a generation when the recent chunks fill one, and returns the chunks to drop.
    fn turn(&mut self, geometry: &Geometry, synced: &ChunkSet) -> Option<ChunkSet> {
        self.recent.union_with(synced);
        if geometry.bytes_in(&self.recent) < self.bytes_each {
            return None;
        }
        let recent = std::mem::replace(&mut self.recent, ChunkSet::empty(geometry));
        Some(std::mem::replace(&mut self.older, recent))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use tnet_fileinfo::{ChunkSize, MIN_CHUNK_SIZE};

    use super::*;

    const CHUNK: u64 = MIN_CHUNK_SIZE as u64;

    fn geometry(chunks: u64) -> Geometry {
        Geometry::new(chunks * CHUNK, ChunkSize::new(MIN_CHUNK_SIZE).unwrap()).unwrap()
    }

    #[test]
    fn chunks_go_after_two_generations_and_each_once() {
        let geometry = geometry(100);
        let cache = PageCache::new(&geometry, Some(80 * CHUNK));
        let mut large = cache.large.unwrap().into_inner().unwrap();
        let mut gone = Vec::new();
        for chunk in geometry.chunks() {
            let mut synced = ChunkSet::empty(&geometry);
            synced.insert(chunk);
            let done_with = large.turn(&geometry, &synced);
            let kept = chunk.get() + 1 - u32::try_from(gone.len()).unwrap();
            gone.extend(done_with.iter().flat_map(ChunkSet::iter));
            assert!(kept <= 21, "{kept} chunks are kept, of a memory of 80");
        }
        let expected: Vec<_> = geometry.chunks().take(gone.len()).collect();
        assert_eq!(gone, expected);
        assert!(gone.len() >= 80);
    }

    #[test]
    fn a_file_that_fits_is_left_alone() {
        for memory in [None, Some(100 * CHUNK)] {
            assert!(PageCache::new(&geometry(100), memory).large.is_none());
        }
    }
}

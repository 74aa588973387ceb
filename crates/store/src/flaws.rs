//! The chunks of a complete file that are not served, because their bytes are wrong or cannot be
//! read. A chunk has at most one flaw; most files have none, and pay one atomic load for that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tnet_fileinfo::{ChunkIndex, ChunkSet, Geometry};

/// What is wrong with a chunk on the disk.
///
/// Exhaustive: a caller must decide about each case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It does not match its sum.
    Wrong,
    /// The disk cannot read it.
    Unreadable,
}

/// The flaws found so far.
#[derive(Debug, Default)]
pub struct Flaws {
    are_any: AtomicBool,
    chunks: Mutex<Option<Chunks>>,
}

#[derive(Debug)]
struct Chunks {
    wrong: ChunkSet,
    unreadable: ChunkSet,
}

impl Chunks {
    fn none(geometry: &Geometry) -> Chunks {
        Chunks { wrong: ChunkSet::empty(geometry), unreadable: ChunkSet::empty(geometry) }
    }
}

impl Flaws {
    /// The flaw of a chunk.
    pub fn of(&self, chunk: ChunkIndex) -> Option<Flaw> {
        if !self.are_any.load(Ordering::Acquire) {
            return None;
        }
        let chunks = self.chunks();
        let chunks = chunks.as_ref()?;
        if chunks.wrong.contains(chunk) {
            Some(Flaw::Wrong)
        } else {
            chunks.unreadable.contains(chunk).then_some(Flaw::Unreadable)
        }
    }

    /// Sets or clears the flaw of a chunk. Returns whether that is a change.
    pub fn set(&self, geometry: &Geometry, chunk: ChunkIndex, flaw: Option<Flaw>) -> bool {
        if self.of(chunk) == flaw {
            return false;
        }
        let mut chunks = self.chunks();
        let known = chunks.get_or_insert_with(|| Chunks::none(geometry));
        known.wrong.remove(chunk);
        known.unreadable.remove(chunk);
        match flaw {
            Some(Flaw::Wrong) => known.wrong.insert(chunk),
            Some(Flaw::Unreadable) => known.unreadable.insert(chunk),
            None => false,
        };
        let are_any = !(known.wrong.is_empty() && known.unreadable.is_empty());
        if !are_any {
            *chunks = None;
        }
        self.are_any.store(are_any, Ordering::Release);
        true
    }

    /// Gives this flaw to all chunks that have none. Returns whether that is a change.
    pub fn set_rest(&self, geometry: &Geometry, flaw: Flaw) -> bool {
        let mut chunks = self.chunks();
        let known = chunks.get_or_insert_with(|| Chunks::none(geometry));
        let mut rest = ChunkSet::full(geometry);
        rest.difference_with(&known.wrong);
        rest.difference_with(&known.unreadable);
        let of_flaw = match flaw {
            Flaw::Wrong => &mut known.wrong,
            Flaw::Unreadable => &mut known.unreadable,
        };
        of_flaw.union_with(&rest);
        self.are_any.store(geometry.chunk_count() > 0, Ordering::Release);
        !rest.is_empty()
    }

    /// The chunks without a flaw; `None` if no chunk has one.
    pub fn sound(&self, geometry: &Geometry) -> Option<ChunkSet> {
        if !self.are_any() {
            return None;
        }
        let mut sound = ChunkSet::full(geometry);
        if let Some(known) = self.chunks().as_ref() {
            sound.difference_with(&known.wrong);
            sound.difference_with(&known.unreadable);
        }
        Some(sound)
    }

    /// How many chunks have this flaw.
    pub fn count(&self, flaw: Flaw) -> u32 {
        let count = |chunks: &Chunks| match flaw {
            Flaw::Wrong => chunks.wrong.count(),
            Flaw::Unreadable => chunks.unreadable.count(),
        };
        if self.are_any() { self.chunks().as_ref().map_or(0, count) } else { 0 }
    }

    /// The first chunk with this flaw at or after index `from`, or else the first of all.
    pub fn next(&self, flaw: Flaw, from: u32) -> Option<ChunkIndex> {
        let chunks = self.chunks();
        let chunks = chunks.as_ref()?;
        let set = match flaw {
            Flaw::Wrong => &chunks.wrong,
            Flaw::Unreadable => &chunks.unreadable,
        };
        set.iter().find(|chunk| chunk.get() >= from).or_else(|| set.iter().next())
    }

    /// Whether any chunk has a flaw.
    pub fn are_any(&self) -> bool {
        self.are_any.load(Ordering::Acquire)
    }

    // A poisoned lock is used: a chunk that is in no set for a moment is checked when it is read.
    fn chunks(&self) -> MutexGuard<'_, Option<Chunks>> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use tnet_fileinfo::{ChunkSize, MIN_CHUNK_SIZE};

    use super::*;

    #[test]
    fn a_chunk_has_one_flaw_at_most_and_none_when_it_was_mended() {
        let size = ChunkSize::new(MIN_CHUNK_SIZE).unwrap();
        let geometry = Geometry::new(u64::from(MIN_CHUNK_SIZE) * 8, size).unwrap();
        let chunk = |index| geometry.chunk(index).unwrap();
        let flaws = Flaws::default();
        assert!(flaws.set(&geometry, chunk(3), Some(Flaw::Unreadable)));
        assert!(!flaws.set(&geometry, chunk(3), Some(Flaw::Unreadable)), "no news");
        assert!(flaws.set(&geometry, chunk(3), Some(Flaw::Wrong)));
        assert_eq!((flaws.count(Flaw::Wrong), flaws.count(Flaw::Unreadable)), (1, 0));
        flaws.set(&geometry, chunk(6), Some(Flaw::Wrong));
        assert_eq!(flaws.next(Flaw::Wrong, 4), Some(chunk(6)));
        assert_eq!(flaws.next(Flaw::Wrong, 7), Some(chunk(3)), "round again");
        flaws.set(&geometry, chunk(3), None);
        flaws.set(&geometry, chunk(6), None);
        assert_eq!(
            (flaws.are_any(), flaws.of(chunk(3)), flaws.next(Flaw::Wrong, 0)),
            (false, None, None)
        );
    }

    #[test]
    fn the_rest_of_a_file_has_a_flaw_at_once_and_what_has_one_keeps_it() {
        let size = ChunkSize::new(MIN_CHUNK_SIZE).unwrap();
        let geometry = Geometry::new(u64::from(MIN_CHUNK_SIZE) * 8, size).unwrap();
        let chunk = |index| geometry.chunk(index).unwrap();
        let flaws = Flaws::default();
        assert_eq!(flaws.sound(&geometry), None);
        flaws.set(&geometry, chunk(3), Some(Flaw::Wrong));
        assert_eq!(flaws.sound(&geometry).map(|sound| sound.count()), Some(7));
        assert!(flaws.set_rest(&geometry, Flaw::Unreadable));
        assert_eq!((flaws.count(Flaw::Wrong), flaws.count(Flaw::Unreadable)), (1, 7));
        assert_eq!(flaws.of(chunk(3)), Some(Flaw::Wrong));
        assert!(!flaws.set_rest(&geometry, Flaw::Unreadable), "no news");
        flaws.set(&geometry, chunk(5), None);
        assert_eq!(
            flaws.sound(&geometry).map(|sound| sound.iter().collect()),
            Some(vec![chunk(5)])
        );
        assert!(flaws.set_rest(&geometry, Flaw::Unreadable));
    }
}

//! Which chunks we lack, wait for, are writing, or own. Every chunk is in exactly one state, and the counters are
//! what a recount would give.

use tnet_fileinfo::{ChunkIndex, ChunkSet, Geometry};

/// Where a chunk of ours is on its way from a peer to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChunkState {
    /// Not here and not asked for.
    Missing,
    /// Asked for at one peer, in the endgame at two.
    Requested,
    /// Arrived; being verified and written.
    Storing,
    /// Verified and in the file. Only these are announced.
    Stored,
}

#[derive(Debug)]
pub(crate) struct ChunkStates {
    states: Vec<ChunkState>,
    stored: ChunkSet,
    /// All but the missing ones.
    taken: ChunkSet,
    missing: u32,
    requested: u32,
    storing: u32,
}

impl ChunkStates {
    pub(crate) fn new(geometry: &Geometry, stored: ChunkSet) -> ChunkStates {
        let mut states = vec![ChunkState::Missing; geometry.chunk_count() as usize];
        for chunk in stored.iter() {
            states[chunk.index()] = ChunkState::Stored;
        }
        let missing = stored.len() - stored.count();
        ChunkStates { states, taken: stored.clone(), stored, missing, requested: 0, storing: 0 }
    }

    pub(crate) fn state(&self, chunk: ChunkIndex) -> ChunkState {
        self.states[chunk.index()]
    }

    pub(crate) fn stored(&self) -> &ChunkSet {
        &self.stored
    }

    /// Chunks in any state but missing.
    pub(crate) fn taken(&self) -> &ChunkSet {
        &self.taken
    }

    /// Chunks in any state but stored.
    pub(crate) fn unstored(&self) -> u32 {
        self.missing + self.requested + self.storing
    }

    pub(crate) fn missing(&self) -> u32 {
        self.missing
    }

    pub(crate) fn requested(&self) -> u32 {
        self.requested
    }

    pub(crate) fn storing(&self) -> u32 {
        self.storing
    }

    /// Moves a chunk and returns where it was.
    pub(crate) fn set(&mut self, chunk: ChunkIndex, to: ChunkState) -> ChunkState {
        let from = std::mem::replace(&mut self.states[chunk.index()], to);
        if from == to {
            return from;
        }
        match from {
            ChunkState::Missing => {
                self.taken.insert(chunk);
                self.missing -= 1;
            }
            ChunkState::Requested => self.requested -= 1,
            ChunkState::Storing => self.storing -= 1,
            ChunkState::Stored => {
                self.stored.remove(chunk);
            }
        }
        match to {
            ChunkState::Missing => {
                self.taken.remove(chunk);
                self.missing += 1;
            }
            ChunkState::Requested => self.requested += 1,
            ChunkState::Storing => self.storing += 1,
            ChunkState::Stored => {
                self.stored.insert(chunk);
            }
        }
        from
    }

    /// Panics if a counter is not what the states say.
    #[cfg(any(test, feature = "check"))]
    pub(crate) fn check(&self) {
        let count = |wanted| self.states.iter().filter(|state| **state == wanted).count() as u64;
        assert_eq!(count(ChunkState::Missing), u64::from(self.missing), "missing chunks");
        assert_eq!(count(ChunkState::Requested), u64::from(self.requested), "requested chunks");
        assert_eq!(count(ChunkState::Storing), u64::from(self.storing), "storing chunks");
        assert_eq!(count(ChunkState::Stored), u64::from(self.stored.count()), "stored chunks");
        assert!(self.stored.iter().all(|chunk| self.state(chunk) == ChunkState::Stored));
        assert!(self.taken.missing().all(|chunk| self.state(chunk) == ChunkState::Missing));
        assert_eq!(self.taken.len() - self.taken.count(), self.missing, "chunks not taken");
    }
}

//! Which chunks we lack, have still to check, wait for, are writing, or own. Every chunk is in
//! exactly one state, and the counters are what a recount would give.

use tnet_fileinfo::{ChunkIndex, ChunkSet, Geometry};

/// Where a chunk of ours is on its way from a peer to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChunkState {
    /// Not here and not asked for.
    Missing,
    /// In the file, left by an earlier process; its sum is not compared yet. Not asked for, and not
    /// announced either.
    Vouched,
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
    vouched: u32,
    requested: u32,
    storing: u32,
}

impl ChunkStates {
    /// A chunk that is in both sets is stored.
    pub(crate) fn new(geometry: &Geometry, stored: ChunkSet, vouched: &ChunkSet) -> ChunkStates {
        let mut states = vec![ChunkState::Missing; geometry.chunk_count() as usize];
        for chunk in vouched.iter() {
            states[chunk.index()] = ChunkState::Vouched;
        }
        for chunk in stored.iter() {
            states[chunk.index()] = ChunkState::Stored;
        }
        let mut taken = stored.clone();
        taken.union_with(vouched);
        let missing = taken.len() - taken.count();
        let vouched = taken.count() - stored.count();
        ChunkStates { states, taken, stored, missing, vouched, requested: 0, storing: 0 }
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
        self.missing + self.vouched + self.requested + self.storing
    }

    pub(crate) fn missing(&self) -> u32 {
        self.missing
    }

    pub(crate) fn vouched(&self) -> u32 {
        self.vouched
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
            ChunkState::Vouched => self.vouched -= 1,
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
            ChunkState::Vouched => self.vouched += 1,
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
        assert_eq!(count(ChunkState::Vouched), u64::from(self.vouched), "vouched chunks");
        assert_eq!(count(ChunkState::Requested), u64::from(self.requested), "requested chunks");
        assert_eq!(count(ChunkState::Storing), u64::from(self.storing), "storing chunks");
        assert_eq!(count(ChunkState::Stored), u64::from(self.stored.count()), "stored chunks");
        assert!(self.stored.iter().all(|chunk| self.state(chunk) == ChunkState::Stored));
        assert!(self.taken.missing().all(|chunk| self.state(chunk) == ChunkState::Missing));
        assert_eq!(self.taken.len() - self.taken.count(), self.missing, "chunks not taken");
    }
}

//! The durability of each stored chunk. A chunk becomes durable only through a sync that began
//! after its write ended and that succeeded; a chunk that a failed sync may have dropped is missing
//! again.
//!
//! A stored chunk is in exactly one state:
//!
//! | state      | meaning                                             | leaves it by                            |
//! |------------|-----------------------------------------------------|-----------------------------------------|
//! | written    | in the file, perhaps only in memory                 | [`begin_sync`](Ledger::begin_sync)      |
//! | syncing    | written before the running sync began               | success: synced; failure: missing       |
//! | synced     | on the disk, but the journal does not say so yet    | [`journaled`](Ledger::journaled)        |
//! | journaled  | on the disk, and a restart will know                | [`lose`](Ledger::lose): missing         |
//!
//! When a sync fails, the kernel may have dropped any page written since the last success and will
//! not say which, nor fail again. So everything *written* or *syncing* is lost at that moment, and
//! so is a write that was under way.
//!
//! A chunk that the journal of an earlier process names is *vouched*, which is not stored: its
//! bytes may be others by now. It becomes stored, and journaled at once, when its sum was compared,
//! or is missing again. If it is written meanwhile it is stored, and stays vouched until the
//! comparison: so each vouched chunk is reported by the comparison exactly once.
//!
//! A stored chunk that turns out wrong or unreadable is missing again, in whichever state it was.

use tnet_fileinfo::{ChunkIndex, ChunkSet, Geometry};

#[derive(Debug)]
pub(super) struct Ledger {
    geometry: Geometry,
    stored: ChunkSet,
    vouched: ChunkSet,
    /// Chunks that the journal names, right or wrong: a second record would add nothing.
    recorded: ChunkSet,
    written: ChunkSet,
    synced: ChunkSet,
    failed_syncs: u64,
    /// Chunks lost since the running sync began: it does not make them durable, even if they were
    /// written again.
    lost_in_sync: Vec<ChunkIndex>,
}

/// A write under way.
#[derive(Debug)]
#[must_use = "a write that is never settled does not count"]
pub(super) struct WriteTicket {
    failed_syncs: u64,
}

/// The chunks that a running sync makes durable or loses.
#[derive(Debug)]
#[must_use = "chunks of a sync that is never settled are never journaled"]
pub(super) struct SyncTicket {
    chunks: ChunkSet,
}

/// The result of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SettledWrite {
    Stored,
    /// A sync failed during the write and may have dropped its bytes.
    WriteAgain,
}

impl Ledger {
    /// `recorded` is in the journal and not verified; `found` was verified in the file but may be
    /// only in memory.
    pub(super) fn new(geometry: Geometry, recorded: ChunkSet, found: ChunkSet) -> Self {
        let mut vouched = recorded.clone();
        vouched.difference_with(&found);
        let synced = ChunkSet::empty(&geometry);
        Self {
            geometry,
            stored: found.clone(),
            vouched,
            recorded,
            written: found,
            synced,
            failed_syncs: 0,
            lost_in_sync: Vec::new(),
        }
    }

    /// Chunks that an earlier process stored and this one has not verified yet.
    pub(super) fn vouched(&self) -> &ChunkSet {
        &self.vouched
    }

    /// Records that the sum of a vouched chunk was compared; returns whether the chunk is stored
    /// now. A chunk that was written meanwhile is stored in any case.
    pub(super) fn settle_check(&mut self, chunk: ChunkIndex, is_right: bool) -> bool {
        if self.vouched.remove(chunk) && is_right {
            self.stored.insert(chunk);
        }
        self.stored.contains(chunk)
    }

    /// Every chunk that is in the file, durable or not.
    pub(super) fn stored(&self) -> &ChunkSet {
        &self.stored
    }

    pub(super) fn begin_write(&self) -> WriteTicket {
        WriteTicket { failed_syncs: self.failed_syncs }
    }

    /// All bytes of the chunk were written.
    pub(super) fn settle_write(&mut self, ticket: WriteTicket, chunk: ChunkIndex) -> SettledWrite {
        if ticket.failed_syncs != self.failed_syncs {
            return SettledWrite::WriteAgain;
        }
        if self.stored.insert(chunk) {
            self.written.insert(chunk);
        }
        SettledWrite::Stored
    }

    /// Marks a stored chunk as missing. Returns whether it was stored.
    pub(super) fn lose(&mut self, chunk: ChunkIndex) -> bool {
        let was_stored = self.stored.remove(chunk);
        if was_stored {
            self.written.remove(chunk);
            self.synced.remove(chunk);
            self.lost_in_sync.push(chunk);
        }
        was_stored
    }

    /// Begins a sync of the data; the caller lets only one run at a time.
    pub(super) fn begin_sync(&mut self) -> SyncTicket {
        self.lost_in_sync.clear();
        SyncTicket { chunks: std::mem::replace(&mut self.written, ChunkSet::empty(&self.geometry)) }
    }

    pub(super) fn sync_succeeded(&mut self, ticket: SyncTicket) {
        let mut chunks = ticket.chunks;
        for lost in self.lost_in_sync.drain(..) {
            chunks.remove(lost);
        }
        self.synced.union_with(&chunks);
    }

    /// Returns the chunks that are missing again.
    pub(super) fn sync_failed(&mut self, ticket: SyncTicket) -> Vec<ChunkIndex> {
        self.failed_syncs += 1;
        let mut lost = ticket.chunks;
        lost.union_with(&self.written);
        self.written.clear();
        self.stored.difference_with(&lost);
        // The page cache proves nothing about these any more.
        self.vouched.difference_with(&lost);
        lost.iter().collect()
    }

    /// The chunks that are on the disk and not known to be in the journal.
    pub(super) fn synced(&self) -> &ChunkSet {
        &self.synced
    }

    /// Those of them that the journal does not name yet.
    pub(super) fn unrecorded(&self) -> ChunkSet {
        let mut chunks = self.synced.clone();
        chunks.difference_with(&self.recorded);
        chunks
    }

    /// Records that the journal names these, durably.
    pub(super) fn journaled(&mut self, chunks: &ChunkSet) {
        self.synced.difference_with(chunks);
        self.recorded.union_with(chunks);
    }
}

#[cfg(test)]
#[path = "tests/ledger.rs"]
mod tests;

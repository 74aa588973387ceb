//! How safe each stored chunk is. A chunk becomes durable only through a sync that began after its write ended and that
//! succeeded; a chunk that a failed sync may have dropped is missing again.
//!
//! A stored chunk is in exactly one state:
//!
//! | state      | meaning                                             | leaves it by                            |
//! |------------|-----------------------------------------------------|-----------------------------------------|
//! | written    | in the file, perhaps only in memory                 | [`begin_sync`](Ledger::begin_sync)      |
//! | syncing    | written before the running sync began               | success: synced; failure: missing       |
//! | synced     | on the disk, but the journal does not say so yet    | [`journaled`](Ledger::journaled)        |
//! | journaled  | on the disk, and a restart will know                | never                                   |
//!
//! When a sync fails, the kernel may have dropped any page written since the last success and will not say which, nor
//! fail again. So everything *written* or *syncing* is lost at that moment, and so is a write that was under way.

use tnet_fileinfo::{ChunkIndex, ChunkSet, Geometry};

#[derive(Debug)]
pub(super) struct Ledger {
    geometry: Geometry,
    stored: ChunkSet,
    written: ChunkSet,
    synced: ChunkSet,
    failed_syncs: u64,
}

/// A write under way.
#[derive(Debug)]
#[must_use = "a write that is never settled does not count"]
pub(super) struct WriteTicket {
    failed_syncs: u64,
}

/// The chunks whose fate a running sync decides.
#[derive(Debug)]
#[must_use = "chunks of a sync that is never settled are never journaled"]
pub(super) struct SyncTicket {
    chunks: ChunkSet,
}

/// What came of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    Stored,
    /// A sync failed while the bytes were on their way and may have dropped them.
    WriteAgain,
}

impl Ledger {
    /// `journaled` is on the disk and in the journal; `found` was verified in the file but may be only in memory.
    pub(super) fn new(geometry: Geometry, journaled: &ChunkSet, found: &ChunkSet) -> Self {
        let mut stored = journaled.clone();
        stored.union_with(found);
        let mut written = found.clone();
        written.difference_with(journaled);
        Self { geometry, stored, written, synced: ChunkSet::empty(&geometry), failed_syncs: 0 }
    }

    /// Every chunk that is in the file, safe from a power cut or not.
    pub(super) fn stored(&self) -> &ChunkSet {
        &self.stored
    }

    pub(super) fn begin_write(&self) -> WriteTicket {
        WriteTicket { failed_syncs: self.failed_syncs }
    }

    /// The chunk's bytes were all written.
    pub(super) fn settle_write(&mut self, ticket: WriteTicket, chunk: ChunkIndex) -> Settled {
        if ticket.failed_syncs != self.failed_syncs {
            return Settled::WriteAgain;
        }
        if self.stored.insert(chunk) {
            self.written.insert(chunk);
        }
        Settled::Stored
    }

    /// A sync of the data begins; the caller lets only one run at a time.
    pub(super) fn begin_sync(&mut self) -> SyncTicket {
        SyncTicket { chunks: std::mem::replace(&mut self.written, ChunkSet::empty(&self.geometry)) }
    }

    pub(super) fn sync_succeeded(&mut self, ticket: SyncTicket) {
        self.synced.union_with(&ticket.chunks);
    }

    /// Answers the chunks that are missing again.
    pub(super) fn sync_failed(&mut self, ticket: SyncTicket) -> Vec<ChunkIndex> {
        self.failed_syncs += 1;
        let mut lost = ticket.chunks;
        lost.union_with(&self.written);
        self.written.clear();
        self.stored.difference_with(&lost);
        lost.iter().collect()
    }

    /// The chunks that the journal should be told.
    pub(super) fn synced(&self) -> &ChunkSet {
        &self.synced
    }

    /// The journal was told of these, safely.
    pub(super) fn journaled(&mut self, chunks: &ChunkSet) {
        self.synced.difference_with(chunks);
    }
}

#[cfg(test)]
#[path = "tests/ledger.rs"]
mod tests;

//! Writes chunks and makes them durable in the only safe order: data, sync, journal, sync.
//!
//! Generic over the files so that the order can be tested against a disk that loses power; names,
//! locks and space are the business of [`Download`](super::Download).

use std::sync::{Mutex, MutexGuard, PoisonError};

use tnet_fileinfo::{ChunkIndex, ChunkSet, Geometry};

use super::block_file::{BlockFile, write_all_at};
use super::error::{SyncError, WriteError};
use super::journal::Journal;
use super::ledger::{Ledger, SettledWrite};
use super::no_room::NoRoom;

/// How often a chunk is written again because a sync failed meanwhile. Each round needs another
/// failed sync, which the engine takes as the end of a download; more rounds only delay that.
const MAX_REWRITES: u32 = 3;

#[derive(Debug)]
pub(super) struct ChunkWriter<D, J> {
    geometry: Geometry,
    data: D,
    /// Held for a whole sync: one runs at a time, as the [`Ledger`] demands. `None` after it was
    /// closed.
    journal: Mutex<Option<Journal<J>>>,
    /// Held only briefly; taken after `journal` where both are.
    ledger: Mutex<Ledger>,
}

impl<D: BlockFile, J: BlockFile> ChunkWriter<D, J> {
    pub(super) fn new(data: D, journal: Journal<J>, geometry: Geometry, ledger: Ledger) -> Self {
        Self { geometry, data, journal: Mutex::new(Some(journal)), ledger: Mutex::new(ledger) }
    }

    pub(super) fn stored(&self) -> ChunkSet {
        self.ledger().stored().clone()
    }

    pub(super) fn vouched(&self) -> ChunkSet {
        self.ledger().vouched().clone()
    }

    /// Whether an earlier process stored the chunk and it is not verified yet.
    pub(super) fn is_vouched(&self, chunk: ChunkIndex) -> bool {
        self.ledger().vouched().contains(chunk)
    }

    /// See [`Ledger::settle_check`].
    pub(super) fn settle_check(&self, chunk: ChunkIndex, is_right: bool) -> bool {
        self.ledger().settle_check(chunk, is_right)
    }

    pub(super) fn is_stored(&self, chunk: ChunkIndex) -> bool {
        self.ledger().stored().contains(chunk)
    }

    pub(super) fn missing_count(&self) -> u32 {
        let ledger = self.ledger();
        ledger.stored().len() - ledger.stored().count()
    }

    /// Writes a verified chunk; one that is stored already is left alone.
    pub(super) fn write_chunk(&self, chunk: ChunkIndex, bytes: &[u8]) -> Result<(), WriteError> {
        let wanted = self.geometry.chunk_len(chunk);
        assert_eq!(bytes.len(), wanted as usize, "only whole, verified chunks are stored");
        for _ in 0..=MAX_REWRITES {
            let ticket = {
                let ledger = self.ledger();
                if ledger.stored().contains(chunk) {
                    return Ok(());
                }
                ledger.begin_write()
            };
            write_all_at(&self.data, bytes, self.geometry.offset(chunk)).map_err(|error| {
                let (written, wanted) = (error.written as u64, u64::from(wanted));
                match NoRoom::of(&error.source) {
                    Some(why) => WriteError::DiskFull { why, chunk, written, wanted },
                    None => WriteError::Io { chunk, source: error.source },
                }
            })?;
            match self.ledger().settle_write(ticket, chunk) {
                SettledWrite::Stored => return Ok(()),
                SettledWrite::WriteAgain => {}
            }
        }
        Err(WriteError::SyncsFail { chunk })
    }

    /// Marks a verified chunk that is in the file already as stored; false if a sync failed
    /// meanwhile.
    pub(super) fn adopt_chunk(&self, chunk: ChunkIndex) -> bool {
        let mut ledger = self.ledger();
        let ticket = ledger.begin_write();
        ledger.settle_write(ticket, chunk) == SettledWrite::Stored
    }

    /// Marks a stored chunk that is wrong or unreadable as missing. Returns whether it was stored.
    pub(super) fn lose_chunk(&self, chunk: ChunkIndex) -> bool {
        self.ledger().lose(chunk)
    }

    /// Makes the data of all stored chunks durable, without recording it in the journal.
    pub(super) fn sync_data(&self) -> Result<(), SyncError> {
        let _one_at_a_time = self.journal();
        self.sync_data_alone()
    }

    /// Makes all chunks that were stored before the call durable; returns those that newly are.
    pub(super) fn sync(&self) -> Result<ChunkSet, SyncError> {
        let mut journal = self.journal();
        let journal = journal.as_mut().ok_or(SyncError::Closed)?;
        self.sync_data_alone()?;
        let (synced, unrecorded) = {
            let ledger = self.ledger();
            (ledger.synced().clone(), ledger.unrecorded())
        };
        journal.append(&unrecorded).map_err(|source| SyncError::Journal { source })?;
        self.ledger().journaled(&synced);
        Ok(synced)
    }

    /// Closes the journal, which is about to be removed.
    pub(super) fn close_journal(&self) {
        *self.journal() = None;
    }

    fn sync_data_alone(&self) -> Result<(), SyncError> {
        let ticket = self.ledger().begin_sync();
        match self.data.sync_data() {
            Ok(()) => {
                self.ledger().sync_succeeded(ticket);
                Ok(())
            }
            Err(source) => Err(SyncError::Data { lost: self.ledger().sync_failed(ticket), source }),
        }
    }

    // A poisoned lock is used: the ledger changes in single steps, and an interrupted append to the
    // journal is overwritten by the next one.
    fn journal(&self) -> MutexGuard<'_, Option<Journal<J>>> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "tests/power_loss.rs"]
mod power_loss;

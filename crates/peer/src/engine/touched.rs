//! Shared files that were touched: they are not served until all of them was read. What becomes of
//! each is told, and one that cannot be read for a reason that passes is tried again.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tnet_fileinfo::{FileHash, ScanError, explain, shown_path};
use tnet_swarm::{FileKey, Time};

use super::Engine;
use super::entry::FileEntry;
use crate::store::{FileStore, ReadAgainError};

/// How long after a failure a file is tried again: twice as long each time, from the first to the
/// last of these.
const TRIED_AFTER: Duration = Duration::from_secs(5);
const TRIED_AFTER_AT_MOST: Duration = Duration::from_secs(300);

/// Files that are not served at this moment. Each was shared, so there are not more than were.
#[derive(Debug, Default)]
pub(super) struct Touched(HashMap<Arc<Path>, Reading>);

#[derive(Debug)]
struct Reading {
    store: Arc<FileStore>,
    /// None while it is read.
    again_at: Option<Time>,
    pause: Duration,
    /// Why it could not be read, as it was told.
    said: Option<String>,
}

impl Touched {
    /// This content is not to be read again. Answers whether a file of it was there.
    pub(super) fn forget(&mut self, hash: &FileHash) -> bool {
        self.0.extract_if(|_, reading| reading.store.info().hash() == *hash).count() > 0
    }

    /// Something else is known of what is at this path.
    pub(super) fn forget_path(&mut self, path: &Path) {
        self.0.remove(path);
    }

    fn due(&mut self, now: Time) -> Vec<Arc<FileStore>> {
        let due = |reading: &&mut Reading| reading.again_at.is_some_and(|at| at <= now);
        let due = self.0.values_mut().filter(due);
        due.map(|reading| {
            reading.again_at = None;
            Arc::clone(&reading.store)
        })
        .collect()
    }
}

impl Engine {
    /// A file was touched: it is shared again if it has the same content still. What is in a shared
    /// directory is left to who looks at that.
    pub(super) fn read_again(&mut self, file: FileKey, path: &Path) {
        let mut wholes = self.files.get(&file).into_iter().flat_map(FileEntry::wholes);
        let Some(store) =
            wholes.find(|store| **store.path() == *path && !store.is_in_shared_dir()).cloned()
        else {
            return;
        };
        let (again_at, pause, said) = (None, TRIED_AFTER, None);
        let reading = Reading { store: Arc::clone(&store), again_at, pause, said };
        self.integrity.touched.0.insert(Arc::clone(store.path()), reading);
        self.start_rescan(store);
    }

    /// Tries those again that could not be read.
    pub(super) fn read_touched(&mut self) {
        for store in self.integrity.touched.due(self.now) {
            self.start_rescan(store);
        }
    }

    /// One of them was read, or could not be. If it was removed meanwhile, or another has its
    /// place, that is nothing to us.
    pub(super) fn on_rescanned(
        &mut self,
        store: &Arc<FileStore>,
        result: Result<Box<FileStore>, ReadAgainError>,
    ) {
        let is_ours =
            |reading: &Reading| Arc::ptr_eq(&reading.store, store) && reading.again_at.is_none();
        let Some(reading) =
            self.integrity.touched.0.get_mut(store.path()).filter(|reading| is_ours(reading))
        else {
            return;
        };
        let path = shown_path(store.path());
        let error = match result {
            Ok(same) => return self.share(*same),
            // The process ends.
            Err(ReadAgainError::Read(ScanError::Cancelled)) => return,
            Err(error) => error,
        };
        let why = explain(&error).to_string();
        if !error.is_transient() {
            self.integrity.touched.forget_path(store.path());
            tracing::info!(%path, "not shared any more: {why}");
            return;
        }
        reading.again_at = Some(self.now + reading.pause);
        reading.pause = (reading.pause * 2).min(TRIED_AFTER_AT_MOST);
        // What is lacking of descriptors is told by who looks after them.
        if !self.descriptors.note_cause(&error) && reading.said.as_ref() != Some(&why) {
            tracing::warn!(%path, "not shared until it can be read again: {why}");
            reading.said = Some(why);
        }
    }
}

//! Verifies in the background what earlier processes left of downloads, while the rest arrives: one
//! piece at a time in the whole process, of one file after the other, and none while writing is
//! behind. Between two pieces it can end.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::Duration;

use tnet_store::ChunkSource;
use tnet_swarm::{FileKey, Input};

use super::Engine;
use crate::store::CheckedChunks;

/// Bytes verified in one piece of work at most: some milliseconds from the page cache.
const PIECE: u64 = 16 * 1024 * 1024;

/// And this time, so that progress is seen on a slow disk.
const PIECE_WITHIN: Duration = Duration::from_millis(200);

/// Which files have chunks to be verified.
#[derive(Debug, Default)]
pub(super) struct Checks {
    waiting: BTreeSet<FileKey>,
    /// Some of its chunks are being verified.
    at_work: Option<FileKey>,
    /// Had the last turn.
    last: Option<FileKey>,
}

impl Checks {
    pub(super) fn forget(&mut self, file: FileKey) {
        self.waiting.remove(&file);
    }

    /// The next file after the one that had the last turn.
    fn next_turn(&self, is_ready: impl Fn(&FileKey) -> bool) -> Option<FileKey> {
        let after = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let later = self.waiting.range((after, Bound::Unbounded));
        later.chain(&self.waiting).copied().find(is_ready)
    }
}

impl Engine {
    /// The file has chunks to be verified.
    pub(super) fn check_in_background(&mut self, file: FileKey) {
        self.checks.waiting.insert(file);
        self.check_next();
    }

    /// Has the next piece verified, if there is one and nothing speaks against it.
    pub(super) fn check_next(&mut self) {
        if self.checks.at_work.is_some()
            || self.checks.waiting.is_empty()
            || self.is_writing_behind()
        {
            return;
        }
        let is_ready =
            |file: &FileKey| self.files.get(file).is_some_and(|entry| !entry.settings.is_paused);
        let Some(file) = self.checks.next_turn(is_ready) else { return };
        let Some(ChunkSource::Partial(store)) = self.files.get(&file).map(|entry| &entry.source)
        else {
            return self.checks.forget(file);
        };
        self.start_vouched_verification(file, store.clone(), PIECE, PIECE_WITHIN);
        (self.checks.at_work, self.checks.last) = (Some(file), Some(file));
    }

    /// Chunks that arrive come first: they take memory until they are written.
    fn is_writing_behind(&self) -> bool {
        self.swarm.slot_status().storing_bytes >= self.config.swarm.storing_bytes / 2
    }

    pub(super) fn on_vouched_verified(&mut self, file: FileKey, checked: CheckedChunks) {
        self.checks.at_work = None;
        self.settle_checked(file, checked);
        self.check_next();
    }

    fn settle_checked(&mut self, file: FileKey, checked: CheckedChunks) {
        let now = self.now;
        let CheckedChunks { right, wrong, unreadable, hashing, .. } = checked;
        let Some(entry) = self.files.get_mut(&file) else { return };
        let ChunkSource::Partial(store) = &entry.source else { return };
        if store.vouched().is_empty() {
            self.checks.forget(file);
        }
        let damaged: u64 =
            wrong.iter().map(|chunk| u64::from(entry.info.geometry().chunk_len(*chunk))).sum();
        if damaged > 0 {
            let error = unreadable.as_ref().map(tracing::field::display);
            let (path, chunks) = (store.partial_path(), wrong.len());
            tracing::warn!(path = %tnet_fileinfo::shown_path(&path), chunks, error, "damaged since they were stored; fetched again");
        }
        if let Some(running) = &mut entry.running {
            running.last_checked = now;
            running.verifying += hashing;
            running.resumed -= damaged;
            running.damaged += damaged;
        }
        if !right.is_empty() {
            self.feed(Input::ChunksVerified { file, chunks: right });
        }
        if !wrong.is_empty() {
            self.feed(Input::ChunksLost { file, chunks: wrong });
        }
    }
}

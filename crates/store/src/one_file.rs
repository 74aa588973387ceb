//! A complete file on the disk, opened when it is read, with the fingerprint it was shared with.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use tnet_fileinfo::ChunkIndex;

use super::beneath;
use super::cached_part::CachedPart;
use super::error::ReadError;
use super::fd_cache::{CachedFile, FdCache};
use super::file_state::FileState;
use super::fingerprint::FileFingerprint;
use super::origin::Origin;
use super::sys;
use super::watch_link::WatchLink;

#[derive(Debug)]
pub(super) struct OneFile {
    file: CachedFile,
    path: Arc<Path>,
    pub(super) origin: Origin,
    pub(super) fingerprint: FileFingerprint,
    pub(super) is_in_memory: bool,
    pub(super) watch_link: Option<WatchLink>,
}

impl OneFile {
    pub(super) fn new(
        file: Arc<File>,
        path: Arc<Path>,
        origin: Origin,
        fingerprint: FileFingerprint,
    ) -> Self {
        let is_in_memory = sys::is_in_memory(&file);
        let file = CachedFile::new(file);
        Self { file, path, origin, fingerprint, is_in_memory, watch_link: None }
    }

    pub(super) fn limit_by(&mut self, others: &FdCache) {
        self.file.limit_by(others, &self.path);
    }

    pub(super) fn close_if_idle(&self) {
        self.file.close_if_idle();
    }

    /// The file, if it is open; counts as a use.
    pub(super) fn opened(&self) -> Option<Arc<File>> {
        self.file.opened()
    }

    /// The file, opened again if it is not open.
    ///
    /// # Errors
    /// It cannot be opened, or the path leads to another file or none. `chunk` is only named.
    pub(super) fn open(&self, chunk: ChunkIndex) -> Result<Arc<File>, ReadError> {
        if let Some(file) = self.file.opened() {
            return Ok(file);
        }
        let file = self.open_again(chunk).inspect_err(|error| {
            if let (ReadError::Gone, Some(watched)) = (error, &self.watch_link) {
                watched.miss(&self.path);
            }
        })?;
        self.file.keep(Arc::clone(&file));
        Ok(file)
    }

    fn open_again(&self, chunk: ChunkIndex) -> Result<Arc<File>, ReadError> {
        let file = match self.origin.open(&self.path) {
            Ok(file) => Arc::new(file),
            Err(error) if beneath::leads_elsewhere(&error) => return Err(ReadError::Gone),
            Err(source) => return Err(ReadError::Io { chunk, source }),
        };
        self.check(&file, chunk)?;
        Ok(file)
    }

    /// Whether an open file is still what was shared: one system call.
    pub(super) fn check(&self, file: &File, chunk: ChunkIndex) -> Result<(), ReadError> {
        check(file, self.fingerprint, chunk)
    }

    /// Where some bytes are, for `sendfile`.
    pub(super) fn part(&self, file: Arc<File>, position: u64) -> CachedPart {
        CachedPart { file, position, seen: Some(self.fingerprint), member: None }
    }

    /// See [`FileStore::is_open_in_vain`](super::FileStore::is_open_in_vain).
    pub(super) fn is_open_in_vain(&self) -> Option<bool> {
        let file = self.file.peek()?;
        let has_no_name = file.metadata().is_ok_and(|metadata| metadata.nlink() == 0);
        // On some network file systems an open file that is deleted keeps a hidden name, and no
        // notice comes.
        Some(has_no_name || !sys::notifies_all_changes(&*file) && self.state() == FileState::Gone)
    }

    pub(super) fn state(&self) -> FileState {
        let state = match self.origin.fingerprint_at(&self.path) {
            Ok(fingerprint) if !fingerprint.is_same_file(&self.fingerprint) => FileState::Gone,
            Ok(fingerprint) if fingerprint.is_touched(&self.fingerprint) => FileState::Touched,
            Ok(fingerprint) if fingerprint != self.fingerprint => FileState::Changed,
            Ok(_) => FileState::Unchanged,
            Err(_) => FileState::Gone,
        };
        if let (FileState::Gone, Some(watched)) = (state, &self.watch_link) {
            watched.miss(&self.path);
        }
        state
    }
}

/// Whether an open file still has this fingerprint, and a name.
pub(super) fn check(
    file: &File,
    expected: FileFingerprint,
    chunk: ChunkIndex,
) -> Result<(), ReadError> {
    let metadata = file.metadata().map_err(|source| ReadError::Io { chunk, source })?;
    let fingerprint = FileFingerprint::of(&metadata);
    if metadata.nlink() == 0 || !fingerprint.is_same_file(&expected) {
        Err(ReadError::Gone)
    } else if fingerprint.is_touched(&expected) {
        Err(ReadError::Touched)
    } else if fingerprint != expected {
        Err(ReadError::Changed)
    } else {
        Ok(())
    }
}

//! A complete file that is served. A read returns the bytes that were shared, or an error: each
//! read compares the fingerprint, so a file that was truncated, written to or deleted since is
//! noticed. It is never mapped into memory.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tnet_fileinfo::{ChunkIndex, FileInfo, ProgressFn};

use super::beneath;
use super::candidate::Candidate;
use super::chunk_reader::{ChunkReader, ChunkVerdict};
use super::error::{ReadAgainError, ReadError, ShareError};
use super::fd_cache::{CachedFile, FdCache};
use super::fingerprint::FileFingerprint;
use super::flaws::Flaws;
use super::origin::Origin;
use super::scan_cache::ScanCache;
use super::sys;
use super::watch_link::WatchLink;

/// A complete file for serving. It is opened when it is read, and stays open for a while.
#[derive(Debug)]
pub struct FileStore {
    file: CachedFile,
    info: FileInfo,
    path: Arc<Path>,
    origin: Origin,
    fingerprint: FileFingerprint,
    is_in_memory: bool,
    watch_link: Option<WatchLink>,
    flaws: Flaws,
}

/// The state of a shared file compared with when it was shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileState {
    /// It is as it was shared, under its path.
    Unchanged,
    /// Only the time of its last change differs: only reading it tells whether its content changed.
    Touched,
    /// It was written to or truncated.
    Changed,
    /// Its path is gone or names another file.
    Gone,
}

impl FileStore {
    /// Opens a file that was scanned as `info`; a symbolic link is followed.
    ///
    /// The content is not read again, so the file must have been one that others could not replace
    /// since the scan.
    ///
    /// # Errors
    /// It cannot be opened, is no regular file, or has not the scanned size.
    pub fn open_shared(path: &Path, info: &FileInfo) -> Result<Self, ShareError> {
        Candidate::named(path)?.into_store(info)
    }

    pub(super) fn new(
        file: Arc<File>,
        info: FileInfo,
        path: PathBuf,
        fingerprint: FileFingerprint,
    ) -> Self {
        let is_in_memory = sys::is_in_memory(&file);
        Self {
            file: CachedFile::new(file),
            info,
            path: path.into(),
            origin: Origin::Named,
            fingerprint,
            is_in_memory,
            watch_link: None,
            flaws: Flaws::default(),
        }
    }

    /// Reopens it by this origin.
    #[must_use]
    pub(super) fn found_by(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }

    /// Counts the file against this cache: from now on it is closed when there is no slot, or by
    /// [`close_if_idle`](Self::close_if_idle).
    #[must_use]
    pub fn with_fd_cache(mut self, others: &FdCache) -> Self {
        self.file.limit_by(others, &self.path);
        self
    }

    /// Registers the watcher of the directory that the file is in: while it notices changes, the
    /// file need not be polled.
    #[must_use]
    pub fn watched_by(mut self, watched: &WatchLink) -> Self {
        self.watch_link = Some(watched.clone());
        self
    }

    /// Whether it is in a shared directory, which is polled as a whole.
    pub fn is_in_shared_dir(&self) -> bool {
        self.watch_link.is_some()
    }

    /// Whether a watcher notices changes of the file.
    pub fn is_watched(&self) -> bool {
        self.watch_link.as_ref().is_some_and(WatchLink::is_watched)
    }

    /// Closes the file if it was not read since the last call.
    pub fn close_if_idle(&self) {
        self.file.close_if_idle();
    }

    /// Fills `buf` with the bytes of `chunk` from `offset` (bytes from the start of the chunk).
    ///
    /// # Errors
    /// The part is not in the chunk, the chunk has a flaw, the file is not what was shared any
    /// more, or the disk failed.
    pub fn read_chunk_part(
        &self,
        chunk: ChunkIndex,
        offset: u32,
        buf: &mut [u8],
    ) -> Result<(), ReadError> {
        self.check_flaw(chunk)?;
        let file = self.open(chunk)?;
        self.reader(&file).read(chunk, offset, buf)?;
        // Afterwards, so that a change during the read is seen too.
        self.check(&file, chunk)
    }

    /// As [`read_chunk_part`](Self::read_chunk_part), but only if it needs no disk. `None` if it
    /// would, or if that is not known, as while the file is not open.
    pub fn read_chunk_part_at_once(
        &self,
        chunk: ChunkIndex,
        offset: u32,
        buf: &mut [u8],
    ) -> Option<Result<(), ReadError>> {
        if let Err(error) = self.check_flaw(chunk) {
            return Some(Err(error));
        }
        let file = self.file.opened()?;
        let read = self.reader(&file).read_at_once(chunk, offset, buf)?;
        Some(read.and_then(|()| self.check(&file, chunk)))
    }

    /// Whether the file system is in memory, so that no read waits for a disk.
    pub fn is_in_memory(&self) -> bool {
        self.is_in_memory
    }

    /// The file, for `sendfile`, and the position in it of a part of a chunk, in bytes, if the part
    /// is in memory. `None` if it is not, if that is not known, or if the file is not what was
    /// shared any more. The file's cursor has no meaning.
    pub fn cached_part(
        &self,
        chunk: ChunkIndex,
        offset: u32,
        len: u32,
    ) -> Option<(Arc<File>, u64)> {
        self.check_flaw(chunk).ok()?;
        let file = self.file.opened()?;
        self.check(&file, chunk).ok()?;
        let position = self.reader(&file).cached_part(chunk, offset, len)?;
        Some((file, position))
    }

    /// As [`cached_part`](Self::cached_part), for bytes anywhere in the file.
    pub fn cached_range(&self, position: u64, len: u32) -> Option<(Arc<File>, u64)> {
        let file = self.file.opened()?;
        self.check(&file, self.info.geometry().chunk(0)?).ok()?;
        let is_inside = position.checked_add(u64::from(len))? <= self.info.size();
        if !is_inside
            || self.flaws.are_any()
                && self.chunks_in(position, len).any(|chunk| self.flaws.of(chunk).is_some())
        {
            return None;
        }
        self.reader(&file).is_cached(position, len).then_some((file, position))
    }

    fn reader<'a>(&'a self, file: &'a File) -> ChunkReader<'a> {
        ChunkReader { file, info: &self.info, is_in_memory: self.is_in_memory }
    }

    /// The chunks that contain these bytes.
    fn chunks_in(&self, position: u64, len: u32) -> impl Iterator<Item = ChunkIndex> + '_ {
        let geometry = self.info.geometry();
        let chunk_size = u64::from(geometry.chunk_size().get());
        let last = position.saturating_add(u64::from(len)).saturating_sub(1) / chunk_size;
        (position / chunk_size..=last)
            .filter_map(|index| u32::try_from(index).ok().and_then(|index| geometry.chunk(index)))
    }

    /// Reads a chunk and compares it with its sum, also if it is known to have a flaw. Wrong bytes
    /// are read a second time, from the disk if the system drops them from the page cache. `buf` is
    /// scratch memory.
    pub fn inspect(&self, chunk: ChunkIndex, buf: &mut Vec<u8>) -> ChunkVerdict {
        let range = self.info.geometry().range(chunk);
        let inspected = self.open(chunk).and_then(|file| {
            if self.flaws.of(chunk).is_some() {
                sys::drop_cached(&file, range.clone());
            }
            let verdict = self.reader(&file).inspect(chunk, buf)?;
            self.check(&file, chunk).map(|()| verdict)
        });
        inspected.unwrap_or_else(ChunkVerdict::Failed)
    }

    /// Chunks that are not served.
    pub fn flaws(&self) -> &Flaws {
        &self.flaws
    }

    fn check_flaw(&self, chunk: ChunkIndex) -> Result<(), ReadError> {
        match self.flaws.of(chunk) {
            None => Ok(()),
            Some(_) => Err(ReadError::Withdrawn { chunk }),
        }
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

    /// The file, opened again if needed; `None` if that fails, and for an empty file.
    pub(super) fn open_now(&self) -> Option<Arc<File>> {
        let first = self.info.geometry().chunk(0)?;
        self.open(first).ok()
    }

    /// Whether an open file is still what was shared: one system call.
    pub fn check(&self, file: &File, chunk: ChunkIndex) -> Result<(), ReadError> {
        let metadata = file.metadata().map_err(|source| ReadError::Io { chunk, source })?;
        let fingerprint = FileFingerprint::of(&metadata);
        if metadata.nlink() == 0 || !fingerprint.is_same_file(&self.fingerprint) {
            Err(ReadError::Gone)
        } else if fingerprint.is_touched(&self.fingerprint) {
            Err(ReadError::Touched)
        } else if fingerprint != self.fingerprint {
            Err(ReadError::Changed)
        } else {
            Ok(())
        }
    }

    /// The same file, if it still has the same content. Reads all of it.
    ///
    /// # Errors
    /// It has another, or cannot be opened or read, or `progress` said stop.
    pub fn read_again(
        &self,
        scans: Option<&ScanCache>,
        now: Duration,
        progress: ProgressFn<'_>,
    ) -> Result<Self, ReadAgainError> {
        let candidate = Candidate::open(self.path.to_path_buf(), self.origin.clone())?;
        if candidate.metadata().len() != self.info.size()
            || !candidate.is_right(&self.info, progress)?
        {
            return Err(ReadAgainError::OtherContent);
        }
        let metadata = candidate.metadata().clone();
        let again = candidate.into_store(&self.info)?;
        if let Some(scans) = scans {
            scans.remember(&self.path, &metadata, &self.info, now);
        }
        Ok(again)
    }

    /// Whether the file was deleted, so that closing it would free its space. `None` if it is not
    /// open.
    pub fn is_open_in_vain(&self) -> Option<bool> {
        let file = self.file.peek()?;
        let has_no_name = file.metadata().is_ok_and(|metadata| metadata.nlink() == 0);
        // On some network file systems an open file that is deleted keeps a hidden name, and no
        // notice comes.
        Some(has_no_name || !sys::notifies_all_changes(&*file) && self.state() == FileState::Gone)
    }

    /// The state of the file at its path, where it was shared from. A file whose metadata cannot be
    /// read is gone.
    pub fn state(&self) -> FileState {
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

    /// The description of the file.
    pub fn info(&self) -> &FileInfo {
        &self.info
    }

    /// The absolute path that it was shared from.
    pub fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// Whether both have one name in one directory.
    pub fn is_in_place_of(&self, other: &Self) -> bool {
        self.path == other.path && self.origin.is_same_place(&other.origin)
    }

    /// Its fingerprint when it was shared.
    pub fn fingerprint(&self) -> FileFingerprint {
        self.fingerprint
    }
}

//! A whole file that is served. What is read from it is what was shared, or the read is an error: a
//! file that was truncated, written to or deleted since is noticed, and never mapped into memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tnet_fileinfo::{ChunkIndex, FileInfo, Geometry, Progress};

use super::beneath;
use super::candidate::Candidate;
use super::error::{ReadAgainError, ReadError, ShareError};
use super::flaws::Flaws;
use super::held::{Held, OpenFiles};
use super::origin::Origin;
use super::scan_log::ScanLog;
use super::stamp::Stamp;
use super::sys;
use super::watched::Watched;

/// A whole file for serving. It is opened when it is read, and stays open for a while.
#[derive(Debug)]
pub struct FileStore {
    held: Held,
    info: FileInfo,
    path: Arc<Path>,
    origin: Origin,
    stamp: Stamp,
    is_in_memory: bool,
    watched: Option<Watched>,
    flaws: Flaws,
}

/// What a chunk turned out to be when it was read and compared with its sum.
#[derive(Debug)]
pub enum Look {
    /// It is right.
    Right,
    /// What the memory held of it was wrong, and what the disk holds is right.
    Mended,
    /// It is wrong on the disk.
    Wrong,
    /// It cannot be read, or not as the file that was shared.
    Failed(ReadError),
}

/// What became of a shared file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileState {
    /// It is as it was shared, under its path.
    Unchanged,
    /// All but the time of its last change is as it was: only reading it tells whether its content
    /// is.
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

    pub(super) fn new(file: Arc<File>, info: FileInfo, path: PathBuf, stamp: Stamp) -> Self {
        let is_in_memory = sys::is_in_memory(&file);
        Self {
            held: Held::new(file),
            info,
            path: path.into(),
            origin: Origin::Named,
            stamp,
            is_in_memory,
            watched: None,
            flaws: Flaws::default(),
        }
    }

    /// Opens it again from there.
    #[must_use]
    pub(super) fn found_by(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }

    /// Leaves it to the number of open files and to [`rest`](Self::rest) how long the file stays
    /// open.
    #[must_use]
    pub fn kept_among(mut self, others: &OpenFiles) -> Self {
        self.held.keep_among(others, &self.path);
        self
    }

    /// Leaves it to somebody else to notice what becomes of the file, while he does.
    #[must_use]
    pub fn watched_by(mut self, watched: &Watched) -> Self {
        self.watched = Some(watched.clone());
        self
    }

    /// Whether it is in a shared directory, which is looked at as a whole.
    pub fn is_in_shared_dir(&self) -> bool {
        self.watched.is_some()
    }

    /// Whether somebody else notices what becomes of the file.
    pub fn is_watched(&self) -> bool {
        self.watched.as_ref().is_some_and(Watched::is_watched)
    }

    /// Closes the file if nobody read from it since this was last called.
    pub fn rest(&self) {
        self.held.rest();
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
        read_part(&file, self.info.geometry(), chunk, offset, buf)?;
        // Afterwards, so that a change during the read is seen too.
        self.check(&file, chunk)
    }

    /// The same if no disk has to be waited for; `None` if one has, or if that is not known, as
    /// while the file is not open.
    pub fn read_chunk_part_at_once(
        &self,
        chunk: ChunkIndex,
        offset: u32,
        buf: &mut [u8],
    ) -> Option<Result<(), ReadError>> {
        if let Err(error) = self.check_flaw(chunk) {
            return Some(Err(error));
        }
        let file = self.held.file()?;
        let read =
            read_part_at_once(&file, self.is_in_memory, self.info.geometry(), chunk, offset, buf)?;
        Some(read.and_then(|()| self.check(&file, chunk)))
    }

    /// Whether the file system is all memory, so that no read waits for a disk.
    pub fn is_in_memory(&self) -> bool {
        self.is_in_memory
    }

    /// The file, for `sendfile`, and where in it a part of a chunk is, if no disk has to be waited
    /// for to send it; `None` if one has, if that is not known, or if the file is not what was
    /// shared any more. The file's cursor is nobody's.
    pub fn cached_part(
        &self,
        chunk: ChunkIndex,
        offset: u32,
        len: u32,
    ) -> Option<(Arc<File>, u64)> {
        self.check_flaw(chunk).ok()?;
        let file = self.held.file()?;
        self.check(&file, chunk).ok()?;
        let position =
            cached_part(&file, self.is_in_memory, self.info.geometry(), chunk, offset, len)?;
        Some((file, position))
    }

    /// The same for bytes anywhere in the file.
    pub fn cached_range(&self, position: u64, len: u32) -> Option<(Arc<File>, u64)> {
        let file = self.held.file()?;
        self.check(&file, self.info.geometry().chunk(0)?).ok()?;
        let is_inside = len > 0 && position.checked_add(u64::from(len))? <= self.info.size();
        if !is_inside
            || self.flaws.are_any()
                && self.chunks_in(position, len).any(|chunk| self.flaws.of(chunk).is_some())
        {
            return None;
        }
        (is_ready(&file, self.is_in_memory, position, len)).then_some((file, position))
    }

    /// The chunks that some bytes are in.
    fn chunks_in(&self, position: u64, len: u32) -> impl Iterator<Item = ChunkIndex> + '_ {
        let geometry = self.info.geometry();
        let chunk_size = u64::from(geometry.chunk_size().get());
        let last = position.saturating_add(u64::from(len)).saturating_sub(1) / chunk_size;
        (position / chunk_size..=last)
            .filter_map(|index| u32::try_from(index).ok().and_then(|index| geometry.chunk(index)))
    }

    /// Reads a chunk and compares it with its sum, whatever flaw it had. Wrong bytes are read a
    /// second time, from the disk if the system lets go of what it holds of them. `buf` is memory
    /// to read into.
    pub fn look(&self, chunk: ChunkIndex, buf: &mut Vec<u8>) -> Look {
        let range = self.info.geometry().range(chunk);
        let looked = self.open(chunk).and_then(|file| {
            if self.flaws.of(chunk).is_some() {
                sys::drop_cached(&file, range.clone());
            }
            let look = look_at(&file, &self.info, chunk, buf)?;
            self.check(&file, chunk).map(|()| look)
        });
        looked.unwrap_or_else(Look::Failed)
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
        if let Some(file) = self.held.file() {
            return Ok(file);
        }
        let file = self.open_again(chunk).inspect_err(|error| {
            if let (ReadError::Gone, Some(watched)) = (error, &self.watched) {
                watched.miss(&self.path);
            }
        })?;
        self.held.keep(Arc::clone(&file));
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

    /// The same if it can be had; an empty file cannot.
    pub(super) fn open_now(&self) -> Option<Arc<File>> {
        let first = self.info.geometry().chunk(0)?;
        self.open(first).ok()
    }

    /// Whether an open file is still what was shared: one system call.
    pub fn check(&self, file: &File, chunk: ChunkIndex) -> Result<(), ReadError> {
        let metadata = file.metadata().map_err(|source| ReadError::Io { chunk, source })?;
        let stamp = Stamp::of(&metadata);
        if metadata.nlink() == 0 || !stamp.is_same_file(&self.stamp) {
            Err(ReadError::Gone)
        } else if stamp.is_touched(&self.stamp) {
            Err(ReadError::Touched)
        } else if stamp != self.stamp {
            Err(ReadError::Changed)
        } else {
            Ok(())
        }
    }

    /// The same file, if it has the same content, found by reading all of it. Takes as long as that
    /// takes.
    ///
    /// # Errors
    /// It has another, or cannot be opened or read, or `progress` said stop.
    pub fn read_again(
        &self,
        scans: Option<&ScanLog>,
        now: Duration,
        progress: Progress<'_>,
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

    /// Whether its space would be free if it were closed: nothing leads to it any more. `None` if
    /// it is not open.
    pub fn is_open_in_vain(&self) -> Option<bool> {
        let file = self.held.peek()?;
        let has_no_name = file.metadata().is_ok_and(|metadata| metadata.nlink() == 0);
        // What is deleted while it is open keeps a name on some file systems of servers, and nobody
        // says so.
        Some(has_no_name || !sys::hears_of_all_changes(&*file) && self.state() == FileState::Gone)
    }

    /// What became of the file and of its path, which is where it was shared from. A file that
    /// cannot be looked at is gone.
    pub fn state(&self) -> FileState {
        let state = match self.origin.stamp_at(&self.path) {
            Ok(stamp) if !stamp.is_same_file(&self.stamp) => FileState::Gone,
            Ok(stamp) if stamp.is_touched(&self.stamp) => FileState::Touched,
            Ok(stamp) if stamp != self.stamp => FileState::Changed,
            Ok(_) => FileState::Unchanged,
            Err(_) => FileState::Gone,
        };
        if let (FileState::Gone, Some(watched)) = (state, &self.watched) {
            watched.miss(&self.path);
        }
        state
    }

    /// What the file is.
    pub fn info(&self) -> &FileInfo {
        &self.info
    }

    /// Where it was shared from; absolute.
    pub fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// Whether both are found under one name in one directory.
    pub fn is_in_place_of(&self, other: &Self) -> bool {
        self.path == other.path && self.origin.is_same_place(&other.origin)
    }

    /// What it looked like when it was shared.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }
}

/// Reads a chunk, and once more from the disk if it is wrong.
pub(super) fn look_at(
    file: &File,
    info: &FileInfo,
    chunk: ChunkIndex,
    buf: &mut Vec<u8>,
) -> Result<Look, ReadError> {
    buf.resize(info.geometry().chunk_len(chunk) as usize, 0);
    read_part(file, info.geometry(), chunk, 0, buf)?;
    if info.verify(chunk, buf) {
        return Ok(Look::Right);
    }
    sys::drop_cached(file, info.geometry().range(chunk));
    read_part(file, info.geometry(), chunk, 0, buf)?;
    Ok(if info.verify(chunk, buf) { Look::Mended } else { Look::Wrong })
}

/// Reads inside one chunk; a file too short for that was truncated.
pub(super) fn read_part(
    file: &File,
    geometry: &Geometry,
    chunk: ChunkIndex,
    offset: u32,
    buf: &mut [u8],
) -> Result<(), ReadError> {
    let length = buf.len() as u64;
    if u64::from(offset) + length > u64::from(geometry.chunk_len(chunk)) {
        return Err(ReadError::OutOfRange { chunk, offset, length });
    }
    match file.read_exact_at(buf, geometry.offset(chunk) + u64::from(offset)) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(ReadError::Changed),
        Err(source) => Err(ReadError::Io { chunk, source }),
    }
}

/// Where in the file a part is that needs no disk, as far as its ends tell.
pub(super) fn cached_part(
    file: &File,
    is_in_memory: bool,
    geometry: &Geometry,
    chunk: ChunkIndex,
    offset: u32,
    len: u32,
) -> Option<u64> {
    let is_inside =
        len > 0 && u64::from(offset) + u64::from(len) <= u64::from(geometry.chunk_len(chunk));
    let first = geometry.offset(chunk) + u64::from(offset);
    (is_inside && is_ready(file, is_in_memory, first, len)).then_some(first)
}

/// Whether so many bytes need no disk, as far as the first and the last tell.
fn is_ready(file: &File, is_in_memory: bool, first: u64, len: u32) -> bool {
    let is_cached = |position| sys::read_cached(file, &mut [0], position);
    is_in_memory || is_cached(first) && is_cached(first + u64::from(len) - 1)
}

/// As `read_part`, if no disk has to be waited for.
pub(super) fn read_part_at_once(
    file: &File,
    is_in_memory: bool,
    geometry: &Geometry,
    chunk: ChunkIndex,
    offset: u32,
    buf: &mut [u8],
) -> Option<Result<(), ReadError>> {
    let is_inside = u64::from(offset) + buf.len() as u64 <= u64::from(geometry.chunk_len(chunk));
    if is_inside && sys::read_cached(file, buf, geometry.offset(chunk) + u64::from(offset)) {
        return Some(Ok(()));
    }
    is_in_memory.then(|| read_part(file, geometry, chunk, offset, buf))
}

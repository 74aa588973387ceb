//! Hashing files on disk: describing a new one, and finding out which chunks of an old one are
//! right.
//!
//! Every byte is read once, in roughly ascending order, by as many threads as there are cores, each
//! with one small buffer: memory does not grow with the file or its chunks. Nothing here reads a
//! clock; a caller stops it through `progress`. These functions block until they are done: keep
//! them off the threads of an async runtime.

mod positioned;
mod units;

use std::fs::{self, File, Metadata};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::SystemTime;

use crate::chunk_set::ChunkSet;
use crate::chunk_size::ChunkSize;
use crate::explain::Explain;
use crate::file_name::FileName;
use crate::geometry::{ChunkIndex, Geometry, GeometryError};
use crate::hash::ChunkSum;
use crate::hash_tree::root;
use crate::info::FileInfo;
use crate::tail::Tail;
use positioned::PositionedFile;

/// Called with the number of bytes newly done, from several threads at once; [`ControlFlow::Break`]
/// stops the work. The numbers add up to all the bytes there are to do, also where the file turns
/// out to be short.
pub type ProgressFn<'a> = &'a (dyn Fn(u64) -> ControlFlow<()> + Sync);

/// A [`ProgressFn`] that does nothing: for callers that neither display progress nor stop.
pub fn unwatched(_bytes: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Describes a file. The chunk size is [`ChunkSize::default_for`] its size unless given; the name
/// is that of the path, if it is a valid [`FileName`].
///
/// # Errors
/// The file cannot be read, is none, changed meanwhile, is too large for the chunk size, or
/// `progress` said stop.
pub fn scan_file(
    path: &Path,
    chunk_size: Option<ChunkSize>,
    progress: ProgressFn<'_>,
) -> Result<FileInfo, ScanError> {
    let name = path.file_name().and_then(|name| FileName::from_os_str(name).ok());
    scan_open_file(&open(path)?, name, chunk_size, progress)
}

/// Describes a file that is open already, so that it is certain which one is described: a path may
/// lead to another file at any moment. Otherwise as [`scan_file`].
///
/// On systems other than Unix the file's cursor moves.
///
/// # Errors
/// As [`scan_file`].
pub fn scan_open_file(
    file: &File,
    name: Option<FileName>,
    chunk_size: Option<ChunkSize>,
    progress: ProgressFn<'_>,
) -> Result<FileInfo, ScanError> {
    let before = State::of(file)?;
    let geometry = Geometry::new(
        before.len,
        chunk_size.unwrap_or_else(|| ChunkSize::default_for(before.len)),
    )?;
    let reader = PositionedFile::new(file);

    let chunks: Vec<ChunkIndex> = geometry.chunks().collect();
    let sums = units::sums(&reader, &geometry, &chunks, progress)?;
    let sums: Option<Vec<ChunkSum>> = sums.into_iter().collect();
    let goes_on = reader.fill(&mut [0], before.len)? > 0;
    let tail = if sums.is_some() { read_tail(&reader, &geometry)? } else { Tail::default() };
    if State::of(file)? != before {
        return Err(ScanError::Changed);
    }
    let sums = sums.filter(|_| !goes_on).ok_or(ScanError::UnknownLength)?;

    let hash = root(&geometry, &sums);
    // The last chunk was read twice, for its sum and for the tail. If they disagree, it changed in
    // between.
    FileInfo::from_parts(name, geometry, sums, tail, hash).map_err(|_| ScanError::Changed)
}

/// Which of the candidate chunks (`None`: of all chunks) this file holds right. Chunks past its end
/// are not in the set; bytes past the last chunk are not looked at, so a file that is too long can
/// have them all: compare the length too.
///
/// On systems other than Unix the file's cursor moves.
///
/// # Errors
/// The file cannot be read, or `progress` said stop. A wrong or missing chunk is no error.
///
/// # Panics
/// If the candidates are of another geometry.
pub fn verify_file(
    file: &File,
    info: &FileInfo,
    candidates: Option<&ChunkSet>,
    progress: ProgressFn<'_>,
) -> Result<ChunkSet, ScanError> {
    let geometry = info.geometry();
    let mut right = ChunkSet::empty(geometry);
    let chunks: Vec<ChunkIndex> = match candidates {
        None => geometry.chunks().collect(),
        Some(candidates) => {
            assert_eq!(candidates.len(), geometry.chunk_count(), "candidates of another geometry");
            candidates.iter().collect()
        }
    };
    let sums = units::sums(&PositionedFile::new(file), geometry, &chunks, progress)?;
    for (&chunk, sum) in chunks.iter().zip(sums) {
        if sum == Some(info.sum(chunk)) {
            right.insert(chunk);
        }
    }
    Ok(right)
}

/// A file cannot be described or checked.
///
/// Not `non_exhaustive`: each case must get an exit code of the command line.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// It cannot be opened.
    #[error("cannot open the file")]
    Open(#[source] io::Error),
    /// A directory, a device, a pipe.
    #[error("not a regular file")]
    NotAFile,
    /// It cannot be read there.
    #[error("cannot read the file at byte {offset}")]
    Read {
        /// Where the reading failed, in bytes from the start.
        offset: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its length, its time of change or its bytes differed from one moment to the next.
    #[error("the file changed while it was read")]
    Changed,
    /// It ends before or after its length, without a change: the system generates it while it is
    /// read, as it does for files in `/proc` and `/sys`.
    #[error("its length is not known before it is read, like that of files in /proc")]
    UnknownLength,
    /// It cannot be cut into chunks of that size.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// `progress` answered [`ControlFlow::Break`].
    #[error("stopped before the end")]
    Cancelled,
}

impl Explain for ScanError {
    fn hint(&self) -> Option<&str> {
        match self {
            Self::UnknownLength => Some("copy it and name the copy"),
            _ => None,
        }
    }
}

fn open(path: &Path) -> Result<File, ScanError> {
    // Checked before opening, because opening a pipe blocks until its other end is opened.
    if !fs::metadata(path).map_err(ScanError::Open)?.is_file() {
        return Err(ScanError::NotAFile);
    }
    File::open(path).map_err(ScanError::Open)
}

/// Metadata that differs after a write to the file.
#[derive(PartialEq, Eq)]
struct State {
    len: u64,
    /// `None` where the system does not keep it.
    modified: Option<SystemTime>,
    /// The time of change, which no program can set.
    #[cfg(unix)]
    changed: (i64, i64),
}

impl State {
    fn of(file: &File) -> Result<Self, ScanError> {
        let metadata: Metadata = file.metadata().map_err(ScanError::Open)?;
        if !metadata.is_file() {
            return Err(ScanError::NotAFile);
        }
        Ok(Self {
            len: metadata.len(),
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            changed: {
                use std::os::unix::fs::MetadataExt;
                (metadata.ctime(), metadata.ctime_nsec())
            },
        })
    }
}

fn read_tail(reader: &PositionedFile<'_>, geometry: &Geometry) -> Result<Tail, ScanError> {
    let Some(last) = geometry.last_chunk() else {
        return Ok(Tail::default());
    };
    let mut bytes = vec![0; geometry.chunk_len(last) as usize];
    let read = reader.fill(&mut bytes, geometry.offset(last))?;
    if read < bytes.len() {
        return Err(ScanError::Changed);
    }
    Ok(Tail::of(geometry, &bytes))
}

#[cfg(test)]
mod tests;

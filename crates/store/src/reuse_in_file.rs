//! Fills the `.partial` of a file from files that are on this machine, chunk by chunk at the same
//! place.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use tnet_fileinfo::scan::ProgressFn;
use tnet_fileinfo::{ChunkIndex, ChunkSet, FileInfo, ScanError, verify_file};

use super::block_file::write_all_at;
use super::parallel;
use super::reuse_in_tree::Stop;
use super::sys;
use super::tree::OldFiles;

/// Makes a new, empty `.partial` share all blocks of the first old file, if the file system can;
/// answers with the chunks that are right. The blocks of the others are given back.
pub(super) fn share(
    partial: &File,
    info: &FileInfo,
    old: &OldFiles,
    progress: ProgressFn<'_>,
) -> Result<Option<ChunkSet>, Stop> {
    if old.is_empty() || info.size() == 0 {
        return Ok(None);
    }
    let Ok(from) = old.open(0) else { return Ok(None) };
    if !sys::reflink(&from, partial) {
        return Ok(None);
    }
    partial.set_len(info.size())?;
    let right = verify_file(partial, info, None, progress).map_err(|error| match error {
        ScanError::Cancelled => Stop::Cancelled,
        other => Stop::Io(io::Error::other(other)),
    })?;
    for chunk in right.missing() {
        sys::punch_hole(partial, info.geometry().range(chunk));
    }
    Ok(Some(right))
}

/// Copies the chunks that are not `kept` and right in an old file; answers with these.
pub(super) fn copy(
    partial: &File,
    info: &FileInfo,
    old: &OldFiles,
    kept: &ChunkSet,
    progress: ProgressFn<'_>,
) -> Result<ChunkSet, Stop> {
    let geometry = info.geometry();
    let right = Mutex::new(ChunkSet::empty(geometry));
    for (number, known) in old.known().iter().enumerate() {
        let Ok(from) = old.open(number) else { continue };
        let chunks: Vec<ChunkIndex> = {
            let right = right.lock().unwrap_or_else(PoisonError::into_inner);
            let is_meant = |chunk: &ChunkIndex| {
                !kept.contains(*chunk)
                    && !right.contains(*chunk)
                    && geometry.range(*chunk).end <= known.size
            };
            geometry.chunks().filter(is_meant).collect()
        };
        parallel::for_each(
            &chunks,
            geometry.chunk_size().get() as usize,
            |buf: &mut Vec<u8>, chunk| {
                let (offset, len) = (geometry.offset(*chunk), geometry.chunk_len(*chunk));
                if progress(len.into()).is_break() {
                    return Err(Stop::Cancelled);
                }
                buf.resize(len as usize, 0);
                if from.read_exact_at(buf, offset).is_ok() && info.verify(*chunk, buf) {
                    write_all_at(partial, buf, offset).map_err(|error| error.source)?;
                    right.lock().unwrap_or_else(PoisonError::into_inner).insert(*chunk);
                }
                Ok(())
            },
        )?;
    }
    Ok(right.into_inner().unwrap_or_else(PoisonError::into_inner))
}

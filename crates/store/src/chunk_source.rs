//! Where the bytes of a served chunk come from: a complete file, or a download.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use tnet_fileinfo::{ChunkIndex, FileInfo, Geometry};

use crate::sys::read_cached;
use crate::{CachedPart, Download, FileStore, ReadError};

/// A file that chunks are read from. Clones share the file.
///
/// Exhaustive: a caller must decide about each case.
#[derive(Debug, Clone)]
pub enum ChunkSource {
    /// A complete file.
    Whole(Arc<FileStore>),
    /// A download; only its stored chunks can be read.
    Partial(Arc<Download>),
    /// A complete file in chunks of another size.
    Rechunked {
        /// The file.
        whole: Arc<FileStore>,
        /// The chunks that it is read in.
        geometry: Geometry,
    },
}

impl ChunkSource {
    /// Fills `buf` with the bytes of a chunk from `offset`. Blocks.
    ///
    /// # Errors
    /// The file cannot be read, or is not what was shared.
    pub fn read(&self, chunk: ChunkIndex, offset: u32, buf: &mut [u8]) -> Result<(), ReadError> {
        match self {
            ChunkSource::Whole(file) => file.read_chunk_part(chunk, offset, buf),
            ChunkSource::Partial(download) => download.read_chunk_part(chunk, offset, buf),
            ChunkSource::Rechunked { whole, geometry } => {
                read_range(whole, geometry.offset(chunk) + u64::from(offset), buf)
            }
        }
    }

    /// Like `read`, from the page cache: `None` if the bytes are not in it, or if that is unknown.
    pub fn read_at_once(
        &self,
        chunk: ChunkIndex,
        offset: u32,
        buf: &mut [u8],
    ) -> Option<Result<(), ReadError>> {
        match self {
            ChunkSource::Whole(file) => file.read_chunk_part_at_once(chunk, offset, buf),
            ChunkSource::Partial(download) => download.read_chunk_part_at_once(chunk, offset, buf),
            ChunkSource::Rechunked { .. } => None,
        }
    }

    /// Where a part is, if it is in the page cache. `None` if it is not, if that is unknown, or if
    /// the file is not what it should be: `read` says why.
    pub fn cached_part(&self, chunk: ChunkIndex, offset: u32, len: u32) -> Option<CachedPart> {
        match self {
            ChunkSource::Whole(file) => file.cached_part(chunk, offset, len),
            ChunkSource::Partial(download) => download.cached_part(chunk, offset, len),
            ChunkSource::Rechunked { whole, geometry } => {
                let is_inside =
                    u64::from(offset) + u64::from(len) <= u64::from(geometry.chunk_len(chunk));
                is_inside
                    .then(|| whole.cached_range(geometry.offset(chunk) + u64::from(offset), len))
                    .flatten()
            }
        }
    }

    /// Whether the file is on a file system in memory: no read of it waits for a disk.
    pub fn is_in_memory(&self) -> bool {
        match self {
            ChunkSource::Whole(whole) | ChunkSource::Rechunked { whole, .. } => {
                whole.is_in_memory()
            }
            ChunkSource::Partial(download) => download.is_in_memory(),
        }
    }

    /// Fills `buf` from `position` of the file of a part, from the page cache: false if the bytes
    /// are not in it any more. A file system in memory cannot be asked, and is read.
    pub fn reread(&self, part: &CachedPart, position: u64, buf: &mut [u8]) -> bool {
        match self.is_in_memory() {
            true => part.file().read_exact_at(buf, position).is_ok(),
            false => read_cached(part.file(), buf, position),
        }
    }

    /// Checks that the file of a part, which was read, is still what was shared. The chunk is for
    /// the error only: it may have been withdrawn meanwhile.
    ///
    /// # Errors
    /// The file has changed.
    pub fn check_unchanged(&self, part: &CachedPart, chunk: ChunkIndex) -> Result<(), ReadError> {
        match self {
            ChunkSource::Whole(whole) | ChunkSource::Rechunked { whole, .. } => {
                whole.check(part, chunk)
            }
            // Only this process writes to it.
            ChunkSource::Partial(_) => Ok(()),
        }
    }

    /// The description of a complete file.
    pub fn info(&self) -> Option<&FileInfo> {
        match self {
            ChunkSource::Whole(file) => Some(file.info()),
            ChunkSource::Partial(_) | ChunkSource::Rechunked { .. } => None,
        }
    }

    /// Where the file is, or will be.
    pub fn path(&self) -> PathBuf {
        match self {
            ChunkSource::Whole(file) => file.path().to_path_buf(),
            ChunkSource::Partial(download) => download.path(),
            ChunkSource::Rechunked { whole, .. } => whole.path().to_path_buf(),
        }
    }
}

/// Fills `buf` from `position` on, across as many of the file's own chunks as that takes.
fn read_range(file: &FileStore, mut position: u64, mut buf: &mut [u8]) -> Result<(), ReadError> {
    let geometry = file.info().geometry();
    let chunk_size = u64::from(geometry.chunk_size().get());
    while !buf.is_empty() {
        let index = u32::try_from(position / chunk_size).ok();
        let chunk = index.and_then(|index| geometry.chunk(index)).ok_or(ReadError::Changed)?;
        let offset = position % chunk_size;
        let len = usize::try_from((chunk_size - offset).min(buf.len() as u64))
            .expect("no longer than buf");
        let (now, later) = buf.split_at_mut(len);
        file.read_chunk_part(chunk, u32::try_from(offset).expect("below the chunk size"), now)?;
        position += len as u64;
        buf = later;
    }
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::ops::ControlFlow;

    use tnet_fileinfo::{ChunkSize, scan_file};

    use super::*;

    const LEN: u32 = 256 * 1024;

    /// A file in chunks of 64 KiB, cut into two of 128 KiB.
    fn recut(path: &std::path::Path) -> ChunkSource {
        let size = ChunkSize::new(64 * 1024).unwrap();
        let info = scan_file(path, Some(size), &|_| ControlFlow::Continue(())).unwrap();
        let whole = Arc::new(FileStore::open_shared(path, &info).unwrap());
        ChunkSource::Rechunked {
            whole,
            geometry: Geometry::new(LEN.into(), ChunkSize::new(LEN / 2).unwrap()).unwrap(),
        }
    }

    #[test]
    fn a_part_in_other_chunks_is_found_across_the_file_s_own() {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = directory.path().join("file");
        let content: Vec<u8> = (0..LEN).map(|at| (at % 251) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let source = recut(&path);
        let ChunkSource::Rechunked { geometry, .. } = &source else { unreachable!("just made") };
        let last = geometry.chunk(1).unwrap();

        let part = source.cached_part(last, 10, LEN / 2 - 10).expect("it is in memory");
        let mut bytes = vec![0; LEN as usize / 2 - 10];
        part.file().read_exact_at(&mut bytes, part.position()).unwrap();
        assert!(bytes == content[LEN as usize / 2 + 10..], "other bytes");

        assert!(source.cached_part(last, 11, LEN / 2 - 10).is_none(), "it ends past its chunk");
        assert!(source.cached_part(last, 0, 0).is_none(), "an empty part");
        std::fs::write(&path, &content[1..]).unwrap();
        assert!(source.cached_part(last, 0, LEN / 2).is_none(), "the file is another one");
    }
}

//! Where the bytes of a served chunk come from: a whole file, or one that is still coming.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use tnet_fileinfo::{ChunkIndex, FileInfo, Geometry};

use crate::store::{self, FileStore, ReadError};

/// A file that chunks are read from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Whole(Arc<FileStore>),
    Coming(Arc<store::Download>),
    /// The same bytes cut into other chunks.
    Recut {
        whole: Arc<FileStore>,
        geometry: Geometry,
    },
}

impl Source {
    /// Fills `buf` with the bytes of a chunk from `offset`. Blocks.
    pub(crate) fn read(
        &self,
        chunk: ChunkIndex,
        offset: u32,
        buf: &mut [u8],
    ) -> Result<(), ReadError> {
        match self {
            Source::Whole(file) => file.read_chunk_part(chunk, offset, buf),
            Source::Coming(download) => download.read_chunk_part(chunk, offset, buf),
            Source::Recut { whole, geometry } => {
                read_range(whole, geometry.offset(chunk) + u64::from(offset), buf)
            }
        }
    }

    /// The same if no disk has to be waited for; `None` if one has, or if that is not known.
    pub(crate) fn read_at_once(
        &self,
        chunk: ChunkIndex,
        offset: u32,
        buf: &mut [u8],
    ) -> Option<Result<(), ReadError>> {
        match self {
            Source::Whole(file) => file.read_chunk_part_at_once(chunk, offset, buf),
            Source::Coming(download) => download.read_chunk_part_at_once(chunk, offset, buf),
            Source::Recut { .. } => None,
        }
    }

    /// The open file and where in it a part is, if no disk has to be waited for; `None` if one has,
    /// if that is not known, or if the file is not what it should be: reading says why.
    pub(crate) fn cached_part(
        &self,
        chunk: ChunkIndex,
        offset: u32,
        len: u32,
    ) -> Option<(Arc<File>, u64)> {
        match self {
            Source::Whole(file) => file.cached_part(chunk, offset, len),
            Source::Coming(download) => download.cached_part(chunk, offset, len),
            Source::Recut { whole, geometry } => {
                let is_inside =
                    u64::from(offset) + u64::from(len) <= u64::from(geometry.chunk_len(chunk));
                is_inside
                    .then(|| whole.cached_range(geometry.offset(chunk) + u64::from(offset), len))
                    .flatten()
            }
        }
    }

    /// Whether the file is on a file system that is all memory: no read of it waits for a disk.
    pub(crate) fn is_in_memory(&self) -> bool {
        match self {
            Source::Whole(whole) | Source::Recut { whole, .. } => whole.is_in_memory(),
            Source::Coming(download) => download.is_in_memory(),
        }
    }

    /// Whether the open file, from which a part came, is still what was shared; the chunk is only
    /// named. What became of the chunk does not matter.
    pub(crate) fn check_unchanged(&self, file: &File, chunk: ChunkIndex) -> Result<(), ReadError> {
        match self {
            Source::Whole(whole) | Source::Recut { whole, .. } => whole.check(file, chunk),
            // Nobody else writes to it.
            Source::Coming(_) => Ok(()),
        }
    }

    /// The description of a whole file.
    pub(crate) fn info(&self) -> Option<&FileInfo> {
        match self {
            Source::Whole(file) => Some(file.info()),
            Source::Coming(_) | Source::Recut { .. } => None,
        }
    }

    /// Where the file is, or will be.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Source::Whole(file) => file.path().to_path_buf(),
            Source::Coming(download) => download.path(),
            Source::Recut { whole, .. } => whole.path().to_path_buf(),
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
    use std::os::unix::fs::FileExt;

    use tnet_fileinfo::{ChunkSize, scan_file};

    use super::*;

    const LEN: u32 = 256 * 1024;

    /// A file in chunks of 64 KiB, cut into two of 128 KiB.
    fn recut(path: &std::path::Path) -> Source {
        let size = ChunkSize::new(64 * 1024).unwrap();
        let info = scan_file(path, Some(size), &|_| ControlFlow::Continue(())).unwrap();
        let whole = Arc::new(FileStore::open_shared(path, &info).unwrap());
        Source::Recut {
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
        let Source::Recut { geometry, .. } = &source else { unreachable!("just made") };
        let last = geometry.chunk(1).unwrap();

        let (file, position) = source.cached_part(last, 10, LEN / 2 - 10).expect("it is in memory");
        let mut bytes = vec![0; LEN as usize / 2 - 10];
        file.read_exact_at(&mut bytes, position).unwrap();
        assert!(bytes == content[LEN as usize / 2 + 10..], "other bytes");

        assert!(source.cached_part(last, 11, LEN / 2 - 10).is_none(), "it ends past its chunk");
        assert!(source.cached_part(last, 0, 0).is_none(), "nothing is not worth sending");
        std::fs::write(&path, &content[1..]).unwrap();
        assert!(source.cached_part(last, 0, LEN / 2).is_none(), "the file is another one");
    }
}

//! Reads parts of chunks from the bytes of a content, for complete ones and downloads alike. A part
//! that is not inside its chunk is refused before anything is read.

use std::io;

use tnet_fileinfo::{ChunkIndex, FileInfo};

use super::content_bytes::ContentBytes;
use super::error::ReadError;

/// The result of reading a chunk and comparing it with its sum.
///
/// Not `non_exhaustive`: a caller must decide about each verdict.
#[derive(Debug)]
pub enum ChunkVerdict {
    /// It is right.
    Right,
    /// The page cache held wrong bytes, the disk holds the right ones.
    CacheWasWrong,
    /// It is wrong on the disk.
    Wrong,
    /// It cannot be read, or not as the file that was shared.
    Failed(ReadError),
}

/// Bytes in chunks.
#[derive(Debug)]
pub(super) struct ChunkReader<'a, B: ?Sized> {
    pub(super) bytes: &'a B,
    pub(super) info: &'a FileInfo,
    /// The file system is in memory, so that no read waits for a disk.
    pub(super) is_in_memory: bool,
}

impl<B: ?Sized> Clone for ChunkReader<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: ?Sized> Copy for ChunkReader<'_, B> {}

impl<B: ContentBytes + ?Sized> ChunkReader<'_, B> {
    /// Fills `buf` from `offset` in the chunk; a file too short for that was truncated.
    pub(super) fn read(
        self,
        chunk: ChunkIndex,
        offset: u32,
        buf: &mut [u8],
    ) -> Result<(), ReadError> {
        let length = buf.len() as u64;
        let out_of_range = ReadError::OutOfRange { chunk, offset, length };
        let position = self.position(chunk, offset, length).ok_or(out_of_range)?;
        match self.bytes.read_exact_at(buf, position) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(ReadError::Changed),
            Err(source) => Err(ReadError::Io { chunk, source }),
        }
    }

    /// As [`read`](Self::read), but only if it needs no disk; `None` if it would, or if that is not
    /// known.
    pub(super) fn read_at_once(
        self,
        chunk: ChunkIndex,
        offset: u32,
        buf: &mut [u8],
    ) -> Option<Result<(), ReadError>> {
        let position = self.position(chunk, offset, buf.len() as u64);
        if position.is_some_and(|position| self.bytes.read_cached(buf, position)) {
            return Some(Ok(()));
        }
        self.is_in_memory.then(|| self.read(chunk, offset, buf))
    }

    /// The position of a part in the file, in bytes, if the part [is cached](Self::is_cached).
    pub(super) fn cached_part(self, chunk: ChunkIndex, offset: u32, len: u32) -> Option<u64> {
        let position = self.position(chunk, offset, len.into())?;
        self.is_cached(position, len).then_some(position)
    }

    /// Whether `len` bytes from `position` are in memory, as far as the first and the last one
    /// tell. False for no bytes: there is nothing to send.
    pub(super) fn is_cached(self, position: u64, len: u32) -> bool {
        let is_byte_cached = |position| self.bytes.read_cached(&mut [0], position);
        len > 0
            && (self.is_in_memory
                || is_byte_cached(position) && is_byte_cached(position + u64::from(len) - 1))
    }

    /// Reads a chunk, and once more from the disk if it is wrong. `buf` is scratch memory.
    pub(super) fn inspect(
        self,
        chunk: ChunkIndex,
        buf: &mut Vec<u8>,
    ) -> Result<ChunkVerdict, ReadError> {
        let geometry = self.info.geometry();
        buf.resize(geometry.chunk_len(chunk) as usize, 0);
        self.read(chunk, 0, buf)?;
        if self.info.verify(chunk, buf) {
            return Ok(ChunkVerdict::Right);
        }
        self.bytes.drop_cached(geometry.range(chunk));
        self.read(chunk, 0, buf)?;
        Ok(if self.info.verify(chunk, buf) {
            ChunkVerdict::CacheWasWrong
        } else {
            ChunkVerdict::Wrong
        })
    }

    /// The position of a part in the file, in bytes; `None` if the part is not inside the chunk.
    pub(super) fn position(self, chunk: ChunkIndex, offset: u32, len: u64) -> Option<u64> {
        let geometry = self.info.geometry();
        let end = u64::from(offset).checked_add(len)?;
        (end <= u64::from(geometry.chunk_len(chunk)))
            .then(|| geometry.offset(chunk) + u64::from(offset))
    }
}

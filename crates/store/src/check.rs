//! Verifies chunks that an earlier process left and that only its journal vouches for. One call is
//! short, so that the caller can stop between two; it needs one small buffer, for chunks of any
//! size.

use std::io;
use std::time::{Duration, Instant};

use tnet_fileinfo::{ChunkHasher, ChunkIndex};

use super::download::{Download, Phase};
use super::error::ReadError;

/// Bytes read at once. Hashing them takes tens of microseconds, the longest time that a download
/// that ends waits for it.
const READ_LEN: u32 = 128 * 1024;

/// Buffers begin at a page boundary, as the data in the page cache does: unaligned copies are slow
/// on some processors.
const PAGE: usize = 4096;

/// The result of verifying some vouched chunks.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct CheckedChunks {
    /// Chunks that have the right sum, or were written meanwhile; they are stored now.
    pub right: Vec<ChunkIndex>,
    /// Chunks that have another sum, or could not be read; they are missing now.
    pub wrong: Vec<ChunkIndex>,
    /// Why one of them could not be read.
    pub unreadable: Option<io::Error>,
    /// Time spent hashing, without reading.
    pub hashing: Duration,
}

impl Download {
    /// Verifies the first [vouched](Self::vouched) chunks: `most_bytes` of them at most and for no
    /// longer than `within`, but at least one chunk. Stops early if the download ends meanwhile.
    /// Only one caller at a time, or chunks are read twice.
    pub fn check_vouched(&self, most_bytes: u64, within: Duration) -> CheckedChunks {
        let began = Instant::now();
        let (geometry, phase) = (self.info.geometry(), *self.phase());
        let mut memory = vec![0; READ_LEN as usize + PAGE];
        let start = memory.as_ptr().addr().wrapping_neg() % PAGE;
        let buffer = &mut memory[start..start + READ_LEN as usize];
        let (mut checked, mut bytes) = (CheckedChunks::default(), 0);
        for chunk in self.vouched().iter() {
            let len = u64::from(geometry.chunk_len(chunk));
            if bytes > 0 && (bytes + len > most_bytes || began.elapsed() >= within) {
                break;
            }
            bytes += len;
            let is_right = match self.has_right_sum(chunk, buffer, phase, &mut checked.hashing) {
                Ok(Some(is_right)) => is_right,
                Ok(None) => break,
                Err(error) => {
                    checked.unreadable = Some(io::Error::other(error));
                    false
                }
            };
            self.page_cache.on_verified(&self.bytes, chunk);
            let is_stored = self.writer.settle_check(chunk, is_right);
            if is_stored { &mut checked.right } else { &mut checked.wrong }.push(chunk);
        }
        checked
    }

    /// Verifies one chunk if it is vouched; whether it is stored now.
    pub fn check_chunk(&self, chunk: ChunkIndex) -> bool {
        if self.writer.is_vouched(chunk) {
            let (phase, mut hashing) = (*self.phase(), Duration::ZERO);
            let mut buffer = vec![0; READ_LEN as usize];
            let is_right = self.has_right_sum(chunk, &mut buffer, phase, &mut hashing);
            self.writer.settle_check(chunk, matches!(is_right, Ok(Some(true))));
        }
        self.writer.is_stored(chunk)
    }

    /// Returns `None` if the download has left that phase.
    fn has_right_sum(
        &self,
        chunk: ChunkIndex,
        buffer: &mut [u8],
        phase: Phase,
        hashing: &mut Duration,
    ) -> Result<Option<bool>, ReadError> {
        let geometry = self.info.geometry();
        let mut hasher = ChunkHasher::new(geometry, chunk);
        let (mut offset, len) = (0, geometry.chunk_len(chunk));
        while offset < len {
            if *self.phase() != phase {
                return Ok(None);
            }
            let wanted = (len - offset).min(READ_LEN);
            let piece = &mut buffer[..wanted as usize];
            self.reader().read(chunk, offset, piece)?;
            let began = Instant::now();
            hasher.update(piece);
            *hashing += began.elapsed();
            offset += wanted;
        }
        Ok(Some(hasher.finish() == Some(self.info.sum(chunk))))
    }
}

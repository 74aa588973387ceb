//! Verifies what an earlier process left and only its journal vouches for. A piece of this is
//! short, so that whoever has it done can stop between two; the memory is one small buffer,
//! whatever the size of the chunks.

use std::io;
use std::time::{Duration, Instant};

use tnet_fileinfo::{ChunkHasher, ChunkIndex};

use super::download::{Download, Phase};
use super::error::ReadError;
use super::file_store::read_part;

/// Bytes read at once. Hashing them takes tens of microseconds, which a download that ends may wait
/// for.
const READ_LEN: u32 = 128 * 1024;

/// Buffers begin at a page, as what is read does: other copies are slow on some processors.
const PAGE: usize = 4096;

/// What became of some vouched chunks.
#[derive(Debug, Default)]
pub struct Checked {
    /// They have the right sum, or were written meanwhile, and are stored now.
    pub right: Vec<ChunkIndex>,
    /// They have another sum, or could not be read, and are missing now.
    pub wrong: Vec<ChunkIndex>,
    /// Why one of them could not be read.
    pub unreadable: Option<io::Error>,
    /// What the hashing took, reading not counted.
    pub hashing: Duration,
}

impl Download {
    /// Verifies the first [vouched](Self::vouched) chunks: so many bytes of them at most and as
    /// many as that time allows, but at least one. Stops early when the download ends meanwhile.
    /// One caller at a time, else chunks are read twice.
    pub fn check_vouched(&self, most_bytes: u64, within: Duration) -> Checked {
        let began = Instant::now();
        let (geometry, phase) = (self.info.geometry(), *self.phase());
        let mut memory = vec![0; READ_LEN as usize + PAGE];
        let start = memory.as_ptr().addr().wrapping_neg() % PAGE;
        let buffer = &mut memory[start..start + READ_LEN as usize];
        let (mut checked, mut bytes) = (Checked::default(), 0);
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
            self.page_cache.on_verified(self.file(), chunk);
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

    /// None: the download is not in that phase any more.
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
            read_part(self.file(), geometry, chunk, offset, piece)?;
            let began = Instant::now();
            hasher.update(piece);
            *hashing += began.elapsed();
            offset += wanted;
        }
        Ok(Some(hasher.finish() == Some(self.info.sum(chunk))))
    }
}

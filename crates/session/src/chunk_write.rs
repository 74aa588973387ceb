//! Verifies a chunk and writes it.

use std::time::{Duration, Instant};

use tnet_fileinfo::ChunkIndex;
use tnet_store::{Download, WriteError};

use super::ChunkBuffer;

/// What came of verifying and writing a chunk. Exhaustive: the engine takes it apart.
#[derive(Debug)]
pub struct WriteOutcome {
    /// Bytes of the chunk.
    pub len: u32,
    /// How long the verification took.
    pub verifying: Duration,
    /// What came of it.
    pub result: StoreResult,
}

/// Whether a chunk is in the file. Exhaustive: the engine must handle each result.
#[derive(Debug)]
pub enum StoreResult {
    /// Verified and written.
    Stored,
    /// The bytes do not match the chunk's sum; nothing is written.
    Corrupt,
    /// Verified; the write failed.
    Failed(WriteError),
}

/// Verifies and writes a chunk; frees its buffer. Blocks.
pub fn verify_and_write(store: &Download, chunk: ChunkIndex, buffer: ChunkBuffer) -> WriteOutcome {
    let (bytes, began) = (buffer.bytes(), Instant::now());
    let len = u32::try_from(bytes.len()).expect("a chunk is at most MAX_CHUNK_SIZE");
    // Verify before writing: a corrupt chunk must never reach the file, even after a crash.
    let is_right = store.info().verify(chunk, bytes);
    buffer.note_verified(is_right);
    let verifying = began.elapsed();
    let result = if !is_right {
        StoreResult::Corrupt
    } else {
        match store.write_chunk(chunk, bytes) {
            Ok(()) => StoreResult::Stored,
            Err(error) => StoreResult::Failed(error),
        }
    };
    WriteOutcome { len, verifying, result }
}

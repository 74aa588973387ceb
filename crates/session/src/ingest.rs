//! Where arriving chunks go: the memory that they are read into, and the files that they belong to.
//!
//! The session that read a small chunk of a file in memory verifies and writes it, or has the
//! [`WriteWorker`] do so: the bytes are in the CPU cache, and the chunk does not wait for the
//! engine's decision. All other chunks are passed to the engine.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tnet_fileinfo::{ChunkIndex, ChunkSize, FileHash};
use tnet_net::Clock;
use tnet_proto::FileHandle;
use tnet_proto::FileKey;
use tnet_store::Download;
use tokio_util::task::TaskTracker;

use super::announced::Content;
use super::chunk_write::verify_and_write;
use super::long_messages::LongMessages;
use super::write_worker::WriteWorker;
use super::{BufferPool, ChunkBuffer, EventSender, SessionEvent};

/// A longer chunk is not written inline. Hashing and copying this much takes about a millisecond.
const MAX_INLINE_BYTES: usize = 1024 * 1024;

/// Receives chunks for all sessions of a process.
#[derive(Debug, Clone)]
pub struct Ingest {
    pub(super) buffers: BufferPool,
    running: Arc<RwLock<ActiveDownloads>>,
    pub(super) long_messages: LongMessages,
    worker: WriteWorker,
}

/// The running downloads, by what identifies a chunk on the wire.
#[derive(Debug, Default)]
struct ActiveDownloads {
    by_content: HashMap<(FileHash, ChunkSize), Destination>,
    by_handle: HashMap<FileHandle, Content>,
}

#[derive(Debug, Clone)]
struct Destination {
    file: FileKey,
    store: Arc<Download>,
}

/// A chunk that the session writes without the engine.
pub(super) struct InlineChunk {
    destination: Destination,
    chunk: ChunkIndex,
    buffer: ChunkBuffer,
}

impl Ingest {
    /// With `budget_bytes` for chunks. `tasks` tracks the threads that write.
    pub(crate) fn new(budget_bytes: u64, clock: Clock, tasks: TaskTracker) -> Ingest {
        let buffers = BufferPool::new(budget_bytes, clock.clone());
        let long_messages = LongMessages::new(clock);
        let worker = WriteWorker::new(tasks);
        Ingest { buffers, running: Arc::default(), long_messages, worker }
    }

    /// From now on small chunks of that download may be written inline.
    pub fn add_download(&self, file: FileKey, store: Arc<Download>) {
        let (hash, geometry) = (store.info().hash(), *store.info().geometry());
        let mut running = self.running.write().unwrap_or_else(PoisonError::into_inner);
        running.by_handle.insert(file.handle(), Content { hash, geometry });
        running.by_content.insert((hash, geometry.chunk_size()), Destination { file, store });
    }

    /// From now on no inline write to that download begins. Those that have begun go on.
    pub fn remove_download(&self, file: FileKey, hash: FileHash, chunk_size: ChunkSize) {
        let mut running = self.running.write().unwrap_or_else(PoisonError::into_inner);
        running.by_handle.remove(&file.handle());
        if running.by_content.get(&(hash, chunk_size)).is_some_and(|known| known.file == file) {
            running.by_content.remove(&(hash, chunk_size));
        }
    }

    /// Bytes of the memory for chunks that are allocated.
    pub fn used_bytes(&self) -> u64 {
        self.buffers.used_bytes()
    }

    /// Whether that content is being downloaded.
    pub(super) fn is_downloading(&self, content: &Content) -> bool {
        self.destination(content).is_some()
    }

    /// The content that is being downloaded under our handle.
    pub(super) fn content_of(&self, file: FileHandle) -> Option<Content> {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        running.by_handle.get(&file).copied()
    }

    fn destination(&self, content: &Content) -> Option<Destination> {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        let found = running.by_content.get(&(content.hash, content.geometry.chunk_size()));
        found
            .filter(|destination| *destination.store.info().geometry() == content.geometry)
            .cloned()
    }

    /// The chunk, if it is to be written inline; else its buffer back.
    pub(super) fn inline_chunk(
        &self,
        content: &Content,
        chunk: u32,
        buffer: ChunkBuffer,
    ) -> Result<InlineChunk, ChunkBuffer> {
        if buffer.bytes().len() > MAX_INLINE_BYTES {
            return Err(buffer);
        }
        let destination = self.destination(content).filter(|to| to.store.writes_at_once());
        match (destination, content.geometry.chunk(chunk)) {
            (Some(destination), Some(chunk)) => Ok(InlineChunk { destination, chunk, buffer }),
            _ => Err(buffer),
        }
    }

    /// Verifies and writes a chunk, now or soon. The outcome is reported in any case.
    pub(super) fn write(&self, chunk: InlineChunk, events: &EventSender) {
        let InlineChunk { destination: Destination { file, store }, chunk, buffer } = chunk;
        let work = move || {
            let outcome = verify_and_write(&store, chunk, buffer);
            SessionEvent::ChunkWritten { file, chunk, outcome }
        };
        self.worker.run(Box::new(work), events);
    }
}

#[cfg(all(test, target_os = "linux"))]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

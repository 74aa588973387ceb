//! Where chunks go that arrive: memory to read them into, and the files that they are for.
//!
//! A small chunk of a file in memory is verified and written by the session that read it, or on its
//! behalf: the bytes are in the processor's cache, and no decision has to be waited for. All others
//! are handed to the engine.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tnet_fileinfo::{ChunkIndex, ChunkSize, FileHash, Geometry};
use tnet_net::Clock;
use tnet_proto::FileHandle;
use tnet_swarm::FileKey;
use tokio_util::task::TaskTracker;

use super::announced::Announced;
use super::long_messages::LongMessages;
use super::store_line::StoreLine;
use super::{BufferPool, ChunkBuffer, Reports, SessionEvent};
use crate::store::{Download, WriteError};

/// Bytes that a session may be held up by for hashing and copying them: about a millisecond.
const QUICK: usize = 1024 * 1024;

/// What all sessions of a process take chunks in with.
#[derive(Debug, Clone)]
pub(crate) struct Intake {
    pub(crate) buffers: BufferPool,
    pub(crate) destinations: Destinations,
    pub(super) long_messages: LongMessages,
    line: StoreLine,
}

/// The running downloads, by what a chunk is known by on the wire. The engine says which there are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Destinations {
    running: Arc<RwLock<Running>>,
}

#[derive(Debug, Default)]
struct Running {
    by_content: HashMap<(FileHash, ChunkSize), Destination>,
    by_handle: HashMap<FileHandle, Announced>,
}

#[derive(Debug, Clone)]
struct Destination {
    file: FileKey,
    store: Arc<Download>,
}

/// What became of a chunk that arrived.
#[derive(Debug)]
pub(crate) struct Taken {
    /// Bytes.
    pub(crate) len: u32,
    /// What it took to verify it.
    pub(crate) verifying: Duration,
    pub(crate) result: StoreResult,
}

#[derive(Debug)]
pub(crate) enum StoreResult {
    Stored,
    Corrupt,
    Failed(WriteError),
}

/// A chunk that this session takes in.
pub(super) struct Quick {
    destination: Destination,
    chunk: ChunkIndex,
    buffer: ChunkBuffer,
}

impl Intake {
    /// With so many bytes for chunks; work that waits is done by `tasks`.
    pub(crate) fn new(budget_bytes: u64, clock: Clock, tasks: TaskTracker) -> Intake {
        let buffers = BufferPool::new(budget_bytes, clock.clone());
        let long_messages = LongMessages::new(clock);
        let line = StoreLine::new(tasks);
        Intake { buffers, destinations: Destinations::default(), long_messages, line }
    }

    /// The chunk, if it can be taken in at once; else its bytes back.
    pub(super) fn quick(
        &self,
        hash: FileHash,
        geometry: &Geometry,
        chunk: u32,
        buffer: ChunkBuffer,
    ) -> Result<Quick, ChunkBuffer> {
        if buffer.bytes().len() > QUICK {
            return Err(buffer);
        }
        let destination =
            self.destinations.of(hash, geometry).filter(|to| to.store.writes_at_once());
        match (destination, geometry.chunk(chunk)) {
            (Some(destination), Some(chunk)) => Ok(Quick { destination, chunk, buffer }),
            _ => Err(buffer),
        }
    }

    /// Verifies and writes a chunk, soon or now; what became of it is reported in any case.
    pub(super) fn take_in(&self, quick: Quick, report: &Reports) {
        let Quick { destination: Destination { file, store }, chunk, buffer } = quick;
        let work =
            move || SessionEvent::ChunkTaken { file, chunk, taken: take_in(&store, chunk, buffer) };
        self.line.run(Box::new(work), report);
    }
}

impl Destinations {
    pub(crate) fn add(&self, file: FileKey, store: Arc<Download>) {
        let (hash, geometry) = (store.info().hash(), *store.info().geometry());
        let mut running = self.running.write().unwrap_or_else(PoisonError::into_inner);
        running.by_handle.insert(file.handle(), Announced { hash, geometry });
        running.by_content.insert((hash, geometry.chunk_size()), Destination { file, store });
    }

    /// Nothing more is stored in that file. What is being stored is.
    pub(crate) fn remove(&self, file: FileKey, hash: FileHash, chunk_size: ChunkSize) {
        let mut running = self.running.write().unwrap_or_else(PoisonError::into_inner);
        running.by_handle.remove(&file.handle());
        if running.by_content.get(&(hash, chunk_size)).is_some_and(|known| known.file == file) {
            running.by_content.remove(&(hash, chunk_size));
        }
    }

    /// Whether that file is being downloaded.
    pub(super) fn has(&self, hash: FileHash, geometry: &Geometry) -> bool {
        self.of(hash, geometry).is_some()
    }

    /// The file that is being downloaded under our number.
    pub(super) fn content_of(&self, file: FileHandle) -> Option<Announced> {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        running.by_handle.get(&file).copied()
    }

    fn of(&self, hash: FileHash, geometry: &Geometry) -> Option<Destination> {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        let found = running.by_content.get(&(hash, geometry.chunk_size()));
        found.filter(|destination| destination.store.info().geometry() == geometry).cloned()
    }
}

/// Verifies and writes a chunk. Its buffer goes back when that is done.
pub(crate) fn take_in(store: &Download, chunk: ChunkIndex, buffer: ChunkBuffer) -> Taken {
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
    Taken { len, verifying, result }
}

#[cfg(all(test, target_os = "linux"))]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

//! The chunks that were requested on one connection, until their final answer. A chunk that is not
//! among them must not arrive.
//!
//! The engine's side adds a request before its message leaves; the reader looks it up before it
//! allocates memory for the chunk.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tnet_proto::FileHandle;

use super::announced::Content;

/// Requests kept; beyond that the oldest is forgotten. Many times what is in flight on a
/// connection: there are more only if the other side closes files again and again and owes the
/// answers.
const MAX_REQUESTS: usize = 1024;

/// Whether a request was cancelled.
pub(super) type Cancelled = Arc<AtomicBool>;

#[derive(Debug, Default)]
pub(super) struct OpenRequests {
    requests: Mutex<VecDeque<Request>>,
    /// Every chunk counts as requested.
    #[cfg(feature = "fuzzing")]
    accepts_any: bool,
}

#[derive(Debug)]
struct Request {
    /// Our handle.
    file: FileHandle,
    content: Content,
    chunk: u32,
    cancelled: Cancelled,
}

impl OpenRequests {
    /// Any chunk may arrive.
    #[cfg(feature = "fuzzing")]
    pub(super) fn any() -> OpenRequests {
        OpenRequests { accepts_any: true, ..OpenRequests::default() }
    }

    pub(super) fn add(&self, file: FileHandle, content: Content, chunk: u32) {
        let mut requests = self.requests();
        if requests.len() >= MAX_REQUESTS {
            requests.pop_front();
        }
        requests.push_back(Request { file, content, chunk, cancelled: Cancelled::default() });
    }

    /// The chunk may still arrive: its parts and our `Cancel` may have crossed.
    pub(super) fn cancel(&self, file: FileHandle, chunk: u32) {
        let requests = self.requests();
        let of_chunk = |request: &&Request| (request.file, request.chunk) == (file, chunk);
        if let Some(request) = requests.iter().rfind(of_chunk) {
            request.cancelled.store(true, Ordering::Relaxed);
        }
    }

    /// `None`: the chunk was not requested, or its final answer came before.
    pub(super) fn find(&self, content: &Content, chunk: u32) -> Option<Cancelled> {
        #[cfg(feature = "fuzzing")]
        if self.accepts_any {
            return Some(Cancelled::default());
        }
        let requests = self.requests();
        let found =
            requests.iter().find(|request| request.chunk == chunk && request.content == *content);
        found.map(|request| Arc::clone(&request.cancelled))
    }

    /// Removes a request whose final answer has come.
    pub(super) fn settle(&self, content: &Content, chunk: u32) {
        let mut requests = self.requests();
        let is_it = |request: &Request| request.chunk == chunk && request.content == *content;
        if let Some(at) = requests.iter().position(is_it) {
            requests.remove(at);
        }
    }

    fn requests(&self) -> MutexGuard<'_, VecDeque<Request>> {
        // No code panics under the lock, so a poisoned one is consistent.
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use tnet_fileinfo::{ChunkSize, FileHash, Geometry, MIN_CHUNK_SIZE};

    use super::*;

    const FILE: FileHandle = FileHandle(3);

    fn content(number: u8) -> Content {
        let geometry = Geometry::new(1 << 30, ChunkSize::new(MIN_CHUNK_SIZE).unwrap()).unwrap();
        Content { hash: FileHash::from_bytes([number; 32]), geometry }
    }

    #[test]
    fn a_chunk_may_arrive_once_for_each_request_even_a_cancelled_one() {
        let requests = OpenRequests::default();
        requests.add(FILE, content(1), 5);
        assert!(requests.find(&content(1), 6).is_none() && requests.find(&content(2), 5).is_none());
        let cancelled = requests.find(&content(1), 5).unwrap();
        assert!(!cancelled.load(Ordering::Relaxed));
        requests.cancel(FILE, 5);
        assert!(cancelled.load(Ordering::Relaxed));
        assert!(requests.find(&content(1), 5).is_some());
        requests.settle(&content(1), 5);
        assert!(requests.find(&content(1), 5).is_none());
    }

    #[test]
    fn the_oldest_unanswered_request_is_forgotten() {
        let requests = OpenRequests::default();
        let all = u32::try_from(MAX_REQUESTS).unwrap() + 1;
        (0..all).for_each(|chunk| requests.add(FILE, content(1), chunk));
        assert!(requests.find(&content(1), 0).is_none());
        assert!(requests.find(&content(1), 1).is_some());
        assert_eq!(requests.requests().len(), MAX_REQUESTS);
    }
}

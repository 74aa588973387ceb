//! The chunks that were asked for on one connection, until their final answer: nothing else may
//! come.
//!
//! The engine's side notes them before the request leaves, the reader looks them up before it takes
//! memory for a chunk.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tnet_proto::FileHandle;

use super::announced::Announced;

/// Requests that are remembered; then the oldest is forgotten. Many times what is under way on a
/// connection: there are more only when the other side closes files again and again and owes the
/// answers.
const MOST: usize = 1024;

/// Whether a request was taken back.
pub(super) type Cancelled = Arc<AtomicBool>;

#[derive(Debug, Default)]
pub(super) struct Asked {
    requests: Mutex<VecDeque<Request>>,
    /// Everything counts as asked for.
    #[cfg(feature = "fuzzing")]
    takes_anything: bool,
}

#[derive(Debug)]
struct Request {
    /// Our number for the file.
    file: FileHandle,
    content: Announced,
    chunk: u32,
    cancelled: Cancelled,
}

impl Asked {
    /// Takes what comes.
    #[cfg(feature = "fuzzing")]
    pub(super) fn anything() -> Asked {
        Asked { takes_anything: true, ..Asked::default() }
    }

    pub(super) fn note(&self, file: FileHandle, content: Announced, chunk: u32) {
        let mut requests = self.requests();
        if requests.len() >= MOST {
            requests.pop_front();
        }
        requests.push_back(Request { file, content, chunk, cancelled: Cancelled::default() });
    }

    /// It may still come: the answer may have crossed the word.
    pub(super) fn cancel(&self, file: FileHandle, chunk: u32) {
        let requests = self.requests();
        let of_chunk = |request: &&Request| (request.file, request.chunk) == (file, chunk);
        if let Some(request) = requests.iter().rfind(of_chunk) {
            request.cancelled.store(true, Ordering::Relaxed);
        }
    }

    /// `None`: it was not asked for, or the final answer was there before.
    pub(super) fn find(&self, content: &Announced, chunk: u32) -> Option<Cancelled> {
        #[cfg(feature = "fuzzing")]
        if self.takes_anything {
            return Some(Cancelled::default());
        }
        let requests = self.requests();
        let found =
            requests.iter().find(|request| request.chunk == chunk && request.content == *content);
        found.map(|request| Arc::clone(&request.cancelled))
    }

    /// The final answer is there.
    pub(super) fn settle(&self, content: &Announced, chunk: u32) {
        let mut requests = self.requests();
        let is_it = |request: &Request| request.chunk == chunk && request.content == *content;
        if let Some(at) = requests.iter().position(is_it) {
            requests.remove(at);
        }
    }

    fn requests(&self) -> MutexGuard<'_, VecDeque<Request>> {
        // A poisoned lock is taken all the same: nothing under it panics.
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use tnet_fileinfo::{ChunkSize, FileHash, Geometry, MIN_CHUNK_SIZE};

    use super::*;

    const FILE: FileHandle = FileHandle(3);

    fn content(number: u8) -> Announced {
        let geometry = Geometry::new(1 << 30, ChunkSize::new(MIN_CHUNK_SIZE).unwrap()).unwrap();
        Announced { hash: FileHash::from_bytes([number; 32]), geometry }
    }

    #[test]
    fn a_chunk_may_come_once_for_each_request_also_when_that_was_taken_back() {
        let asked = Asked::default();
        asked.note(FILE, content(1), 5);
        assert!(asked.find(&content(1), 6).is_none() && asked.find(&content(2), 5).is_none());
        let cancelled = asked.find(&content(1), 5).unwrap();
        assert!(!cancelled.load(Ordering::Relaxed));
        asked.cancel(FILE, 5);
        assert!(cancelled.load(Ordering::Relaxed));
        assert!(asked.find(&content(1), 5).is_some());
        asked.settle(&content(1), 5);
        assert!(asked.find(&content(1), 5).is_none());
    }

    #[test]
    fn what_is_never_answered_is_forgotten_at_last() {
        let asked = Asked::default();
        let all = u32::try_from(MOST).unwrap() + 1;
        (0..all).for_each(|chunk| asked.note(FILE, content(1), chunk));
        assert!(asked.find(&content(1), 0).is_none());
        assert!(asked.find(&content(1), 1).is_some());
        assert_eq!(asked.requests().len(), MOST);
    }
}

//! Memory for chunks on their way from the network to the disk. All sessions of a process share one budget; who wants
//! more waits, stops reading, and so slows its sender down.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Budget is counted in units of this many bytes.
const UNIT: u64 = 1024;

/// Freed memory kept for reuse, at most this many bytes.
const KEPT_BYTES: usize = 16 * 1024 * 1024;

/// Where chunk buffers come from and return to.
#[derive(Debug, Clone)]
pub(crate) struct BufferPool {
    budget: Arc<Semaphore>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

/// The bytes of one chunk. Returns its memory and its share of the budget when dropped.
#[derive(Debug)]
pub(crate) struct ChunkBuffer {
    bytes: Vec<u8>,
    pool: BufferPool,
    _share: OwnedSemaphorePermit,
}

impl BufferPool {
    pub(crate) fn new(budget_bytes: u64) -> BufferPool {
        let units = usize::try_from(budget_bytes / UNIT).unwrap_or(Semaphore::MAX_PERMITS);
        let budget = Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS)));
        BufferPool { budget, kept: Arc::default() }
    }

    /// An empty buffer with room for `len` bytes, once the budget has them.
    pub(crate) async fn take(&self, len: u32) -> ChunkBuffer {
        let units = u32::try_from(u64::from(len).div_ceil(UNIT)).expect("a u32 divided fits a u32");
        let share = Arc::clone(&self.budget).acquire_many_owned(units).await;
        let share = share.expect("the budget is never closed");
        let mut bytes = self.reuse(len as usize);
        bytes.reserve_exact(len as usize);
        ChunkBuffer { bytes, pool: self.clone(), _share: share }
    }

    /// Bytes of a budget of so many that are taken.
    pub(crate) fn used_bytes(&self, budget_bytes: u64) -> u64 {
        budget_bytes.saturating_sub(self.budget.available_permits() as u64 * UNIT)
    }

    fn reuse(&self, len: usize) -> Vec<u8> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = kept.buffers.iter().rposition(|buffer| buffer.capacity() >= len) else {
            return Vec::new();
        };
        let buffer = kept.buffers.swap_remove(at);
        kept.bytes -= buffer.capacity();
        buffer
    }

    fn keep(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.bytes + buffer.capacity() <= KEPT_BYTES {
            kept.bytes += buffer.capacity();
            kept.buffers.push(buffer);
        }
    }
}

impl ChunkBuffer {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// For filling; the caller appends no more than it asked for.
    pub(crate) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Drop for ChunkBuffer {
    fn drop(&mut self) {
        self.pool.keep(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll_once<T>(future: impl Future<Output = T>) -> Poll<T> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn beyond_the_budget_a_buffer_has_to_wait_for_another_to_be_dropped() {
        let pool = BufferPool::new(4096);
        let Poll::Ready(first) = poll_once(pool.take(4096)) else { panic!("the budget is free") };
        assert!(poll_once(pool.take(1)).is_pending());
        drop(first);
        assert!(poll_once(pool.take(1)).is_ready());
    }

    #[test]
    fn a_dropped_buffer_is_used_again_and_comes_back_empty() {
        let pool = BufferPool::new(1 << 20);
        let Poll::Ready(mut first) = poll_once(pool.take(5000)) else { panic!("the budget is free") };
        first.bytes_mut().extend_from_slice(b"old");
        let memory = first.bytes().as_ptr();
        drop(first);
        let Poll::Ready(second) = poll_once(pool.take(4000)) else { panic!("the budget is free") };
        assert_eq!(second.bytes(), b"");
        assert_eq!(second.bytes.as_ptr(), memory);
    }
}

//! Buffers for chunks on their way from the network to the disk. All sessions of a process share
//! one budget; a session that finds it exhausted waits, stops reading, and so slows its sender
//! down.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tnet_net::Clock;

use super::budget::{Allocation, Budget, Claimant, EvictionPolicy, FillProgress, MemoryRequest};
use super::open_requests::Cancelled;

/// Freed buffers are kept for reuse up to this many bytes.
const REUSABLE_BYTES: usize = 16 * 1024 * 1024;

/// The rate of a chunk while others wait. An honest source on a link that is worth the memory
/// exceeds it.
const EVICTION: EvictionPolicy = EvictionPolicy {
    grace: Duration::from_millis(500),
    rate: 256 * 1024,
    patience: Duration::from_secs(2),
    floor_rate: 16 * 1024,
};

/// Allocates chunk buffers within a budget and takes freed ones back for reuse.
#[derive(Debug, Clone)]
pub(crate) struct BufferPool {
    budget: Budget,
    reusable: Arc<Mutex<ReusableBuffers>>,
}

#[derive(Debug, Default)]
struct ReusableBuffers {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

/// The bytes of one chunk. Dropping it returns its memory to the pool and its allocation to the
/// budget.
#[derive(Debug)]
pub struct ChunkBuffer {
    bytes: Vec<u8>,
    pool: BufferPool,
    /// Of the connection that sends the chunk.
    is_proven: Arc<AtomicBool>,
    allocation: Allocation,
}

impl BufferPool {
    pub(crate) fn new(budget_bytes: u64, clock: Clock) -> BufferPool {
        let budget = Budget::new(budget_bytes, EVICTION, clock);
        BufferPool { budget, reusable: Arc::default() }
    }

    /// An empty buffer with room for `len` bytes from `sender`; waits for the budget.
    pub(super) async fn allocate(
        &self,
        len: u32,
        sender: &Claimant,
        cancelled: Cancelled,
    ) -> ChunkBuffer {
        let request = MemoryRequest { bytes: len.into(), len: len.into(), cancelled };
        let allocation = self.budget.allocate(sender, request).await;
        let mut bytes = self.reuse(len as usize);
        bytes.reserve_exact(len as usize);
        let is_proven = Arc::clone(&sender.is_proven);
        ChunkBuffer { bytes, pool: self.clone(), is_proven, allocation }
    }

    /// Bytes of the budget that are allocated.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.budget.used()
    }

    /// An empty buffer of at least that capacity, or one without any.
    fn reuse(&self, len: usize) -> Vec<u8> {
        let mut reusable = self.reusable.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = reusable.buffers.iter().rposition(|buffer| buffer.capacity() >= len) else {
            return Vec::new();
        };
        let buffer = reusable.buffers.swap_remove(at);
        reusable.bytes -= buffer.capacity();
        buffer
    }

    fn keep(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut reusable = self.reusable.lock().unwrap_or_else(PoisonError::into_inner);
        if reusable.bytes + buffer.capacity() <= REUSABLE_BYTES {
            reusable.bytes += buffer.capacity();
            reusable.buffers.push(buffer);
        }
    }
}

impl ChunkBuffer {
    /// The bytes received so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn progress(&self) -> &Arc<FillProgress> {
        self.allocation.progress()
    }

    /// Records whether the bytes match the chunk's sum: the sender is proven by its last chunk.
    pub(super) fn note_verified(&self, is_right: bool) {
        self.is_proven.store(is_right, Ordering::Relaxed);
    }

    /// For filling; the caller appends no more than it allocated.
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
    use std::pin::pin;

    use tokio::time::timeout;

    use super::*;

    fn sender() -> Claimant {
        Claimant::new([127, 0, 0, 1].into())
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_budget_an_allocation_waits_until_a_buffer_is_dropped() {
        let (pool, sender) = (BufferPool::new(4096, Clock::new()), sender());
        let first = pool.allocate(4096, &sender, Cancelled::default()).await;
        let mut second = pin!(pool.allocate(1, &sender, Cancelled::default()));
        assert!(timeout(Duration::from_secs(1), &mut second).await.is_err());
        assert_eq!(pool.used_bytes(), 4096);
        drop(first);
        drop(second.await);
        assert_eq!(pool.used_bytes(), 0);
    }

    #[tokio::test]
    async fn a_dropped_buffer_is_reused_empty() {
        let pool = BufferPool::new(1 << 20, Clock::new());
        let mut first = pool.allocate(5000, &sender(), Cancelled::default()).await;
        first.bytes_mut().extend_from_slice(b"old");
        let memory = first.bytes().as_ptr();
        drop(first);
        let second = pool.allocate(4000, &sender(), Cancelled::default()).await;
        assert_eq!(second.bytes(), b"");
        assert_eq!(second.bytes.as_ptr(), memory);
    }
}

//! Memory for chunks on their way from the network to the disk. All sessions of a process share one
//! budget; who wants more waits, stops reading, and so slows its sender down.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tnet_net::Clock;

use super::asked::Cancelled;
use super::budget::{Budget, Claimant, Haste, Hold, Share, Wanted};

/// Freed memory kept for reuse, at most this many bytes.
const KEPT_BYTES: usize = 16 * 1024 * 1024;

/// Of a chunk, while others wait. What an honest source has not sent by then on a link that is
/// worth the memory.
const HASTE: Haste = Haste {
    grace: Duration::from_millis(500),
    pace: 256 * 1024,
    patience: Duration::from_secs(2),
    least: 16 * 1024,
};

/// Where chunk buffers come from and return to.
#[derive(Debug, Clone)]
pub(crate) struct BufferPool {
    budget: Budget,
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
    /// Whether its sender is.
    is_proven: Arc<AtomicBool>,
    share: Share,
}

impl BufferPool {
    pub(crate) fn new(budget_bytes: u64, clock: Clock) -> BufferPool {
        BufferPool { budget: Budget::new(budget_bytes, HASTE, clock), kept: Arc::default() }
    }

    /// An empty buffer with room for `len` bytes of that sender, once the budget has them.
    pub(super) async fn take(
        &self,
        len: u32,
        sender: &Claimant,
        cancelled: Cancelled,
    ) -> ChunkBuffer {
        let wanted = Wanted { bytes: len.into(), len: len.into(), cancelled };
        let share = self.budget.take(sender, wanted).await;
        let mut bytes = self.reuse(len as usize);
        bytes.reserve_exact(len as usize);
        ChunkBuffer { bytes, pool: self.clone(), is_proven: Arc::clone(&sender.is_proven), share }
    }

    /// Bytes of the budget that are taken.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.budget.used()
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

    pub(super) fn hold(&self) -> &Arc<Hold> {
        self.share.hold()
    }

    /// They were compared with their sum.
    pub(super) fn note_verified(&self, is_right: bool) {
        self.is_proven.store(is_right, Ordering::Relaxed);
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
    use std::pin::pin;

    use tokio::time::timeout;

    use super::*;

    fn sender() -> Claimant {
        Claimant::new([127, 0, 0, 1].into())
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_budget_a_buffer_has_to_wait_for_another_to_be_dropped() {
        let (pool, sender) = (BufferPool::new(4096, Clock::new()), sender());
        let first = pool.take(4096, &sender, Cancelled::default()).await;
        let mut second = pin!(pool.take(1, &sender, Cancelled::default()));
        assert!(timeout(Duration::from_secs(1), &mut second).await.is_err());
        assert_eq!(pool.used_bytes(), 4096);
        drop(first);
        drop(second.await);
        assert_eq!(pool.used_bytes(), 0);
    }

    #[tokio::test]
    async fn a_dropped_buffer_is_used_again_and_comes_back_empty() {
        let pool = BufferPool::new(1 << 20, Clock::new());
        let mut first = pool.take(5000, &sender(), Cancelled::default()).await;
        first.bytes_mut().extend_from_slice(b"old");
        let memory = first.bytes().as_ptr();
        drop(first);
        let second = pool.take(4000, &sender(), Cancelled::default()).await;
        assert_eq!(second.bytes(), b"");
        assert_eq!(second.bytes.as_ptr(), memory);
    }
}

//! A memory budget in bytes, shared by all sessions of a process. A session that finds the budget
//! exhausted stops reading and waits.
//!
//! Waiting requests are granted in this order: those not cancelled, then those of proven
//! connections, then those of the source that holds least, then the oldest.
//!
//! A slow sender cannot keep an allocation while others wait. Allocations are evicted in this
//! order: cancelled requests, then unproven connections, and among equals the source that holds
//! most.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tnet_net::Clock;
use tnet_proto::Time;
use tnet_sources::{SourceCounts, SourceRank};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

/// How often a waiting session checks for allocations to evict.
const EVICTION_INTERVAL: Duration = Duration::from_millis(50);

/// The rates at which the owner of an allocation must receive while others wait for memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct EvictionPolicy {
    /// After this time an allocation below `rate` is evicted for a request that ranks higher.
    pub(super) grace: Duration,
    /// Bytes per second.
    pub(super) rate: u64,
    /// After this time an allocation below `floor_rate` is evicted for any request.
    pub(super) patience: Duration,
    /// Bytes per second.
    pub(super) floor_rate: u64,
}

/// The connection that an allocation is for.
#[derive(Debug, Clone)]
pub(crate) struct Claimant {
    pub(super) source: IpAddr,
    /// The last chunk that it sent was verified.
    pub(super) is_proven: Arc<AtomicBool>,
}

impl Claimant {
    pub(super) fn new(source: IpAddr) -> Claimant {
        Claimant { source, is_proven: Arc::default() }
    }

    fn is_proven(&self) -> bool {
        self.is_proven.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    total: u64,
    policy: EvictionPolicy,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    free: u64,
    last_number: u64,
    allocated: BTreeMap<u64, Entry>,
    by_source: SourceCounts,
    /// In the order of arrival.
    waiting: Vec<Waiter>,
}

/// The budget's record of an allocation.
#[derive(Debug)]
struct Entry {
    claimant: Claimant,
    bytes: u64,
    since: Time,
    progress: Arc<FillProgress>,
}

#[derive(Debug)]
struct Waiter {
    claimant: Claimant,
    request: MemoryRequest,
    granted: oneshot::Sender<Allocation>,
}

/// What memory is requested for.
#[derive(Debug, Clone)]
pub(super) struct MemoryRequest {
    /// Bytes of memory.
    pub(super) bytes: u64,
    /// Bytes to be received from the network.
    pub(super) len: u64,
    /// Set when those bytes are no longer wanted.
    pub(super) cancelled: Arc<AtomicBool>,
}

/// A part of the budget; returned when dropped.
#[derive(Debug)]
pub(super) struct Allocation {
    number: u64,
    budget: Budget,
    progress: Arc<FillProgress>,
}

/// How much of an allocation is filled, and whether it is to be given up; shared between a session
/// and the budget.
#[derive(Debug)]
pub(super) struct FillProgress {
    len: u64,
    received: AtomicU64,
    cancelled: Arc<AtomicBool>,
    is_evicted: AtomicBool,
    evicted: Notify,
}

impl Budget {
    pub(super) fn new(total: u64, policy: EvictionPolicy, clock: Clock) -> Budget {
        let state = Mutex::new(State { free: total, ..State::default() });
        Budget(Arc::new(Shared { total, policy, clock, state }))
    }

    /// Allocated bytes.
    pub(super) fn used(&self) -> u64 {
        self.0.total - self.state().free
    }

    /// Waits for the requested memory. A request for more than the whole budget is granted the
    /// whole budget.
    pub(super) async fn allocate(&self, claimant: &Claimant, request: MemoryRequest) -> Allocation {
        let request = MemoryRequest { bytes: request.bytes.min(self.0.total), ..request };
        let mut allocation = {
            let mut state = self.state();
            if state.waiting.is_empty() && request.bytes <= state.free {
                return self.grant(&mut state, claimant, &request);
            }
            let (granted, allocation) = oneshot::channel();
            state.waiting.push(Waiter { claimant: claimant.clone(), request, granted });
            allocation
        };
        loop {
            self.grant_waiting();
            if let Ok(allocation) = timeout(EVICTION_INTERVAL, &mut allocation).await {
                return allocation.expect("a waiter leaves the list only with a grant");
            }
            self.state().evict(self.0.clock.now(), &self.0.policy);
        }
    }

    fn grant(&self, state: &mut State, claimant: &Claimant, request: &MemoryRequest) -> Allocation {
        let progress = Arc::new(FillProgress {
            len: request.len,
            received: AtomicU64::new(0),
            cancelled: Arc::clone(&request.cancelled),
            is_evicted: AtomicBool::new(false),
            evicted: Notify::new(),
        });
        state.free -= request.bytes;
        state.by_source.add(claimant.source, request.bytes);
        state.last_number += 1;
        let (claimant, since) = (claimant.clone(), self.0.clock.now());
        let entry =
            Entry { claimant, bytes: request.bytes, since, progress: Arc::clone(&progress) };
        state.allocated.insert(state.last_number, entry);
        Allocation { number: state.last_number, budget: self.clone(), progress }
    }

    /// Grants what is free to the waiters whose turn it is.
    fn grant_waiting(&self) {
        // Dropped after the guard: dropping an allocation takes the lock.
        let mut unclaimed = Vec::new();
        let mut state = self.state();
        while let Some(at) = state.next_waiter()
            && state.waiting.get(at).is_some_and(|next| next.request.bytes <= state.free)
        {
            let Waiter { claimant, request, granted } = state.waiting.remove(at);
            let allocation = self.grant(&mut state, &claimant, &request);
            unclaimed.extend(granted.send(allocation).err());
        }
        drop(state);
    }

    fn release(&self, number: u64) {
        {
            let mut state = self.state();
            let Some(Entry { claimant, bytes, .. }) = state.allocated.remove(&number) else {
                return;
            };
            state.free += bytes;
            state.by_source.remove(claimant.source, bytes);
            if state.waiting.is_empty() {
                return;
            }
        }
        self.grant_waiting();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics under the lock, so a poisoned one is consistent.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Index of the waiter that is served next. Removes waiters that gave up.
    fn next_waiter(&mut self) -> Option<usize> {
        self.waiting.retain(|waiter| !waiter.granted.is_closed());
        let rank = |waiter: &Waiter| {
            let is_cancelled = waiter.request.cancelled.load(Ordering::Relaxed);
            (
                is_cancelled,
                !waiter.claimant.is_proven(),
                self.by_source.rank(waiter.claimant.source),
            )
        };
        // `min_by_key` returns the first of equals.
        let next = self.waiting.iter().enumerate().min_by_key(|(_, waiter)| rank(waiter));
        next.map(|(at, _)| at)
    }

    /// Evicts as many allocations as the next waiter needs. Filled ones are on their way to the
    /// disk and return by themselves.
    fn evict(&mut self, now: Time, policy: &EvictionPolicy) {
        let next = self.next_waiter();
        let State { free, allocated, by_source, waiting, .. } = &*self;
        let Some(next) = next.and_then(|next| waiting.get(next)) else { return };
        let is_returning =
            |entry: &&Entry| entry.progress.is_filled() || entry.progress.is_evicted();
        let mut available =
            *free + allocated.values().filter(is_returning).map(|entry| entry.bytes).sum::<u64>();
        let mut slow: Vec<(bool, bool, SourceRank, &Entry)> = Vec::new();
        for entry in allocated.values().filter(|entry| !is_returning(entry)) {
            let rank = by_source.rank(entry.claimant.source);
            let ranks_lower = match (entry.claimant.is_proven(), next.claimant.is_proven()) {
                (false, true) => true,
                (true, false) => false,
                _ => rank.gives_way_to(by_source.rank(next.claimant.source), next.request.bytes),
            };
            let is_cancelled = entry.progress.cancelled.load(Ordering::Relaxed);
            if entry.is_slower_than(policy.floor_rate, now, policy.patience)
                || (ranks_lower || is_cancelled)
                    && entry.is_slower_than(policy.rate, now, policy.grace)
            {
                slow.push((is_cancelled, !entry.claimant.is_proven(), rank, entry));
            }
        }
        slow.sort_by_key(|(is_cancelled, is_unproven, rank, _)| {
            (*is_cancelled, *is_unproven, *rank)
        });
        while available < next.request.bytes
            && let Some((.., entry)) = slow.pop()
        {
            entry.progress.is_evicted.store(true, Ordering::Relaxed);
            entry.progress.evicted.notify_one();
            available += entry.bytes;
        }
    }
}

impl Allocation {
    pub(super) fn progress(&self) -> &Arc<FillProgress> {
        &self.progress
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        self.budget.release(self.number);
    }
}

impl FillProgress {
    /// Records that the first `bytes` bytes are received.
    pub(super) fn set_received(&self, bytes: usize) {
        self.received.store(bytes as u64, Ordering::Relaxed);
    }

    /// Returns when the allocation must be given up for a waiter.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    fn is_evicted(&self) -> bool {
        self.is_evicted.load(Ordering::Relaxed)
    }

    fn is_filled(&self) -> bool {
        self.received.load(Ordering::Relaxed) >= self.len
    }
}

impl Entry {
    /// Whether less than `rate` bytes per second were received, once it is `grace` old.
    fn is_slower_than(&self, rate: u64, now: Time, grace: Duration) -> bool {
        let age = now - self.since;
        let milliseconds = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        age >= grace
            && self.progress.received.load(Ordering::Relaxed)
                < rate.saturating_mul(milliseconds) / 1000
    }
}

#[cfg(test)]
mod tests;

//! Memory that all sessions of a process share, in bytes. Who finds none stops reading and waits,
//! and is served by what he is worth: proven connections first, then the source that has least of
//! it, then whoever waits longest.
//!
//! Nobody holds it by sending slowly while others wait: first gives way what was taken back, then
//! what is unproven, and of that the source with most.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tnet_net::Clock;
use tnet_proto::{SourceCounts, SourceRank};
use tnet_swarm::Time;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

/// How often one that waits looks who is to give way.
const LOOK: Duration = Duration::from_millis(50);

/// What one who holds memory has to send while others wait for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Haste {
    /// After this time so many bytes per second, or he gives way to whoever is worth more.
    pub(super) grace: Duration,
    pub(super) pace: u64,
    /// After this time so many bytes per second, or he gives way to anybody.
    pub(super) patience: Duration,
    pub(super) least: u64,
}

/// A connection that wants memory.
#[derive(Debug, Clone)]
pub(crate) struct Claimant {
    pub(super) source: IpAddr,
    /// The last chunk it sent was right.
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
    all: u64,
    haste: Haste,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    free: u64,
    shares: u64,
    held: BTreeMap<u64, Held>,
    by_source: SourceCounts,
    /// In the order in which they came.
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Held {
    claimant: Claimant,
    bytes: u64,
    since: Time,
    hold: Arc<Hold>,
}

#[derive(Debug)]
struct Waiting {
    claimant: Claimant,
    wanted: Wanted,
    place: oneshot::Sender<Share>,
}

/// What memory is wanted for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// Of memory.
    pub(super) bytes: u64,
    /// Bytes that are to come.
    pub(super) len: u64,
    /// Set when nobody wants them any more.
    pub(super) cancelled: Arc<AtomicBool>,
}

/// A part of the budget; returned when dropped.
#[derive(Debug)]
pub(super) struct Share {
    number: u64,
    budget: Budget,
    hold: Arc<Hold>,
}

/// What a session and the budget know of a share.
#[derive(Debug)]
pub(super) struct Hold {
    len: u64,
    received: AtomicU64,
    cancelled: Arc<AtomicBool>,
    is_leaving: AtomicBool,
    leave: Notify,
}

impl Budget {
    pub(super) fn new(all: u64, haste: Haste, clock: Clock) -> Budget {
        let state = Mutex::new(State { free: all, ..State::default() });
        Budget(Arc::new(Shared { all, haste, clock, state }))
    }

    /// Bytes that are taken.
    pub(super) fn used(&self) -> u64 {
        self.0.all - self.state().free
    }

    /// A share, once there is enough. What is more than all there is takes all.
    pub(super) async fn take(&self, claimant: &Claimant, wanted: Wanted) -> Share {
        let wanted = Wanted { bytes: wanted.bytes.min(self.0.all), ..wanted };
        let mut place = {
            let mut state = self.state();
            if state.waiting.is_empty() && wanted.bytes <= state.free {
                return self.give(&mut state, claimant, &wanted);
            }
            let (place, given) = oneshot::channel();
            state.waiting.push(Waiting { claimant: claimant.clone(), wanted, place });
            given
        };
        loop {
            self.serve();
            if let Ok(share) = timeout(LOOK, &mut place).await {
                return share.expect("nobody else takes those that wait off the list");
            }
            self.state().make_room(self.0.clock.now(), &self.0.haste);
        }
    }

    fn give(&self, state: &mut State, claimant: &Claimant, wanted: &Wanted) -> Share {
        let hold = Arc::new(Hold {
            len: wanted.len,
            received: AtomicU64::new(0),
            cancelled: Arc::clone(&wanted.cancelled),
            is_leaving: AtomicBool::new(false),
            leave: Notify::new(),
        });
        state.free -= wanted.bytes;
        state.by_source.add(claimant.source, wanted.bytes);
        state.shares += 1;
        let (claimant, since) = (claimant.clone(), self.0.clock.now());
        let held = Held { claimant, bytes: wanted.bytes, since, hold: Arc::clone(&hold) };
        state.held.insert(state.shares, held);
        Share { number: state.shares, budget: self.clone(), hold }
    }

    /// Gives what is free to those whose turn it is.
    fn serve(&self) {
        // Dropped after the lock, which their end takes.
        let mut unwanted = Vec::new();
        let mut state = self.state();
        while let Some(at) = state.first()
            && state.waiting.get(at).is_some_and(|first| first.wanted.bytes <= state.free)
        {
            let Waiting { claimant, wanted, place } = state.waiting.remove(at);
            let share = self.give(&mut state, &claimant, &wanted);
            unwanted.extend(place.send(share).err());
        }
        drop(state);
    }

    fn give_back(&self, number: u64) {
        {
            let mut state = self.state();
            let Some(Held { claimant, bytes, .. }) = state.held.remove(&number) else { return };
            state.free += bytes;
            state.by_source.remove(claimant.source, bytes);
            if state.waiting.is_empty() {
                return;
            }
        }
        self.serve();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A poisoned lock is taken all the same: nothing under it panics.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whose turn it is.
    fn first(&mut self) -> Option<usize> {
        self.waiting.retain(|waiting| !waiting.place.is_closed());
        let worth = |waiting: &Waiting| {
            let is_cancelled = waiting.wanted.cancelled.load(Ordering::Relaxed);
            (
                is_cancelled,
                !waiting.claimant.is_proven(),
                self.by_source.rank(waiting.claimant.source),
            )
        };
        // The first of equals.
        let first = self.waiting.iter().enumerate().min_by_key(|(_, waiting)| worth(waiting));
        first.map(|(at, _)| at)
    }

    /// Asks so many to leave as is needed for the next one. What is whole is on its way to the disk
    /// and comes back by itself.
    fn make_room(&mut self, now: Time, haste: &Haste) {
        let first = self.first();
        let State { free, held, by_source, waiting, .. } = &*self;
        let Some(first) = first.and_then(|first| waiting.get(first)) else { return };
        let is_coming = |held: &&Held| held.hold.is_whole() || held.hold.is_leaving();
        let mut coming =
            *free + held.values().filter(is_coming).map(|held| held.bytes).sum::<u64>();
        let mut slow: Vec<(bool, bool, SourceRank, &Held)> = Vec::new();
        for held in held.values().filter(|held| !is_coming(held)) {
            let rank = by_source.rank(held.claimant.source);
            let is_worth_less = match (held.claimant.is_proven(), first.claimant.is_proven()) {
                (false, true) => true,
                (true, false) => false,
                _ => rank.gives_way_to(by_source.rank(first.claimant.source), first.wanted.bytes),
            };
            let is_cancelled = held.hold.cancelled.load(Ordering::Relaxed);
            if held.is_behind(now, haste.patience, haste.least)
                || (is_worth_less || is_cancelled) && held.is_behind(now, haste.grace, haste.pace)
            {
                slow.push((is_cancelled, !held.claimant.is_proven(), rank, held));
            }
        }
        slow.sort_by_key(|(is_cancelled, is_unproven, rank, _)| {
            (*is_cancelled, *is_unproven, *rank)
        });
        while coming < first.wanted.bytes
            && let Some((.., held)) = slow.pop()
        {
            held.hold.is_leaving.store(true, Ordering::Relaxed);
            held.hold.leave.notify_one();
            coming += held.bytes;
        }
    }
}

impl Share {
    pub(super) fn hold(&self) -> &Arc<Hold> {
        &self.hold
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.give_back(self.number);
    }
}

impl Hold {
    /// So many bytes of it are here.
    pub(super) fn received(&self, bytes: usize) {
        self.received.store(bytes as u64, Ordering::Relaxed);
    }

    /// Until others need the memory more.
    pub(super) async fn has_to_leave(&self) {
        self.leave.notified().await;
    }

    fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }

    fn is_whole(&self) -> bool {
        self.received.load(Ordering::Relaxed) >= self.len
    }
}

impl Held {
    /// Whether less has come than so much per second, once it had the time.
    fn is_behind(&self, now: Time, time: Duration, pace: u64) -> bool {
        let age = now - self.since;
        let milliseconds = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        age >= time
            && self.hold.received.load(Ordering::Relaxed) < pace.saturating_mul(milliseconds) / 1000
    }
}

#[cfg(test)]
mod tests;

//! Which cases run at the same time.
//!
//! All cases of a run wait here, each in a thread of its own, and begin in the order of their
//! ranks. A few of those that work run beside several of those that wait for timers; a case that
//! runs alone begins when no other case runs or waits.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What a case does to the machine, and so to the cases beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Load {
    /// It waits nearly all of its time.
    Waits,
    /// It keeps a processor or two busy.
    Works,
    /// Its bound is a ratio of times, or the memory of this process: no other case may run.
    Alone,
}

impl Load {
    /// Cases of this load that run at once.
    const fn at_once(self) -> usize {
        match self {
            Load::Waits => 6,
            Load::Works => 2,
            Load::Alone => 1,
        }
    }
}

/// The cases that run and those that wait for their turn.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeSet<(Load, usize)>,
    running: Vec<Load>,
}

/// A case that runs. Its place is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    schedule: &'a Schedule,
    load: Load,
}

impl State {
    fn may_begin(&self, load: Load, rank: usize) -> bool {
        let running = |of: Load| self.running.iter().filter(|running| **running == of).count();
        let is_first = self.waiting.iter().find(|(of, _)| *of == load) == Some(&(load, rank));
        is_first
            && match load {
                Load::Alone => {
                    self.running.is_empty() && self.waiting.iter().all(|(of, _)| *of == load)
                }
                Load::Waits | Load::Works => {
                    running(Load::Alone) == 0 && running(load) < load.at_once()
                }
            }
    }
}

impl Schedule {
    /// Waits until a case of this load may run. Of several, the one with the lowest rank is first.
    pub(crate) fn turn(&self, load: Load, rank: usize) -> Turn<'_> {
        let mut state = self.state();
        state.waiting.insert((load, rank));
        while !state.may_begin(load, rank) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting.remove(&(load, rank));
        state.running.push(load);
        // There may be room for the next one, too.
        self.changed.notify_all();
        Turn { schedule: self, load }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is made in one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.schedule.state();
        if let Some(at) = state.running.iter().position(|running| *running == self.load) {
            state.running.swap_remove(at);
        }
        self.schedule.changed.notify_all();
    }
}

//! Quick pieces of work, done one after another by a thread of the pool, beside the sessions.
//!
//! Chunks that come fast come many at a time. A thread that finds the next piece when it is done
//! with one need not be woken for each; and it is one thread, because two that write to one file
//! wait for each other. Who finds the line full is faster than the thread, and does the work
//! himself; so does everybody while no core is free for that thread.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::task::TaskTracker;

use super::spare_core::{Begun, SpareCore};
use super::{Reports, SessionEvent};

/// Pieces that wait at most. One receiver beside its seed, 1 GiB, two cores: 1.45 s with 1 and 4,
/// 1.26 with 8, 1.19 to 1.3 with 16 and 32 (medians of five, taking turns); four receivers, who
/// keep both cores busy, take the same with any.
const PLACES: usize = 16;

/// One piece; its event is reported.
pub(super) type Work = Box<dyn FnOnce() -> SessionEvent + Send>;

/// What waits for the thread, and whether there is one.
#[derive(Debug, Clone)]
pub(super) struct StoreLine {
    state: Arc<Mutex<State>>,
    tasks: TaskTracker,
}

struct State {
    waiting: VecDeque<(Work, Reports)>,
    is_running: bool,
    core: SpareCore,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl StoreLine {
    pub(super) fn new(tasks: TaskTracker) -> StoreLine {
        let state = State { waiting: VecDeque::new(), is_running: false, core: SpareCore::new() };
        StoreLine { state: Arc::new(Mutex::new(state)), tasks }
    }

    /// Has the work done and reported, by the thread or, if that has enough or no core, here and
    /// now. Never waits for the engine, and cannot be cancelled in between: who announced the work
    /// may count on its end being told.
    pub(super) fn run(&self, work: Work, report: &Reports) {
        let Some(work) = self.push(work, report) else { return };
        if let Err(event) = report.try_send(self.carry_out(work)) {
            let report = report.clone();
            self.tasks.spawn_blocking(move || report.send_blocking(event));
        }
    }

    /// Gives the work back if too much waits, or if the thread would have to wait for a core.
    fn push(&self, work: Work, report: &Reports) -> Option<Work> {
        let mut state = self.state();
        if state.waiting.len() >= PLACES || !state.core.is_there() {
            return Some(work);
        }
        state.waiting.push_back((work, report.clone()));
        if !std::mem::replace(&mut state.is_running, true) {
            let running = Running(self.clone());
            self.tasks.spawn_blocking(move || {
                while let Some((work, report)) = running.0.next() {
                    report.send_blocking(running.0.carry_out(work));
                }
            });
        }
        None
    }

    /// Without one the thread is over, under the same lock: who pushes next starts another.
    fn next(&self) -> Option<(Work, Reports)> {
        let mut state = self.state();
        let work = state.waiting.pop_front();
        state.is_running = work.is_some();
        work
    }

    /// Does the work, and notes whether it had to wait for a core.
    fn carry_out(&self, work: Work) -> SessionEvent {
        let begun = Begun::now();
        let event = work();
        self.state().core.note(begun.spent());
        event
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A poisoned lock is taken all the same: nothing under it panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread that works off the line.
struct Running(StoreLine);

impl Drop for Running {
    /// Work that panics must not leave the line to nobody.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.state().is_running = false;
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::time::Duration;

    use tnet_swarm::PeerKey;
    use tokio::sync::mpsc;

    use super::*;

    struct Rig {
        line: StoreLine,
        report: Reports,
        results: mpsc::Receiver<(PeerKey, SessionEvent)>,
    }

    impl Rig {
        /// With room for so many reports.
        fn new(room: usize) -> Rig {
            let (events, results) = mpsc::channel(room);
            let report = Reports { peer: PeerKey(1), events };
            Rig { line: StoreLine::new(TaskTracker::new()), report, results }
        }

        fn run(&self, work: impl FnOnce() + Send + 'static, number: u32) {
            let work = Box::new(move || {
                work();
                SessionEvent::DataReceived { bytes: number }
            });
            self.line.run(work, &self.report);
        }

        async fn next(&mut self) -> u32 {
            let next = tokio::time::timeout(Duration::from_secs(10), self.results.recv()).await;
            match next.expect("a report within ten seconds").unwrap().1 {
                SessionEvent::DataReceived { bytes } => bytes,
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn work_is_done_in_turn_and_again_after_a_pause() {
        let mut rig = Rig::new(PLACES);
        for number in 0..3 {
            rig.run(|| {}, number);
        }
        for number in 0..3 {
            assert_eq!(rig.next().await, number);
        }
        rig.run(|| {}, 3);
        assert_eq!(rig.next().await, 3);
    }

    #[tokio::test]
    async fn who_finds_the_line_full_does_the_work_himself() {
        let mut rig = Rig::new(2 * PLACES);
        let (release, held) = std::sync::mpsc::channel::<()>();
        let here = std::thread::current().id();
        let (places, mut pushed) = (u32::try_from(PLACES).unwrap(), 1);
        let done_here = Arc::new(Mutex::new(Vec::new()));
        rig.run(move || held.recv().unwrap(), 0);
        while done_here.lock().unwrap().is_empty() {
            let (number, done) = (pushed, Arc::clone(&done_here));
            rig.run(
                move || {
                    if std::thread::current().id() == here {
                        done.lock().unwrap().push(number);
                    }
                },
                number,
            );
            pushed += 1;
            assert!(pushed < 1000, "no end");
        }
        let last = pushed - 1;
        // The one that is being done may or may not have left its place.
        assert!((places..=places + 1).contains(&last), "{last}");
        assert_eq!(rig.next().await, last, "the others wait");
        release.send(()).unwrap();
        for number in 0..last {
            assert_eq!(rig.next().await, number);
        }
    }

    #[tokio::test]
    async fn who_finds_no_core_for_the_thread_does_the_work_himself() {
        let mut rig = Rig::new(PLACES);
        // As if the core had been somebody else's most of the time.
        rig.run(|| std::thread::sleep(Duration::from_millis(60)), 0);
        assert_eq!(rig.next().await, 0);
        let (here, done) = (std::thread::current().id(), Arc::new(Mutex::new(None)));
        let by = Arc::clone(&done);
        rig.run(move || *by.lock().unwrap() = Some(std::thread::current().id()), 1);
        assert_eq!(*done.lock().unwrap(), Some(here));
        assert_eq!(rig.next().await, 1);
    }

    #[tokio::test]
    async fn no_end_of_work_is_lost_while_nobody_takes_reports() {
        let mut rig = Rig::new(1);
        let all = 3 * u32::try_from(PLACES).unwrap();
        for number in 0..all {
            rig.run(|| {}, number);
        }
        let mut told = Vec::new();
        for _ in 0..all {
            told.push(rig.next().await);
        }
        told.sort_unstable();
        assert_eq!(told, (0..all).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn work_that_panics_takes_nothing_else_with_it() {
        let mut rig = Rig::new(PLACES);
        rig.run(|| panic!("as it should"), 0);
        while rig.line.state().is_running {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        rig.run(|| {}, 1);
        assert_eq!(rig.next().await, 1);
    }
}

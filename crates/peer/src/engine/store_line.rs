//! Quick pieces of work, done one after another by a thread of the pool, beside the engine.
//!
//! Chunks that come fast come many at a time. A thread that finds the next piece when it is done with one need not be
//! woken for each; and it is one thread, because two that write to one file wait for each other.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::work::WorkDone;

/// Pieces that wait at most. With 4 one receiver on two cores takes 0.62 s for 1 GiB, with 12 and 32 0.51 and 0.53 s
/// (medians of four, taking turns); four receivers, who keep both cores busy, take the same with any.
const PLACES: usize = 12;

/// One piece.
pub(super) type Work = Box<dyn FnOnce() -> WorkDone + Send>;

/// What waits for the thread, and whether there is one.
#[derive(Clone, Default)]
pub(super) struct StoreLine {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Work>,
    is_running: bool,
}

impl StoreLine {
    /// Has the work done, and `done` told of it. Who finds the line full gets the work back: he is faster than the
    /// thread, and has time to do it himself.
    pub(super) fn push(
        &self,
        work: Work,
        tasks: &TaskTracker,
        done: &mpsc::Sender<WorkDone>,
    ) -> Result<(), Work> {
        let mut state = self.state();
        if state.waiting.len() >= PLACES {
            return Err(work);
        }
        state.waiting.push_back(work);
        if !std::mem::replace(&mut state.is_running, true) {
            let (running, done) = (Running(self.clone()), done.clone());
            tasks.spawn_blocking(move || {
                while let Some(work) = running.0.next() {
                    // Nobody to tell: the process ends.
                    let _ = done.blocking_send(work());
                }
            });
        }
        Ok(())
    }

    /// Without one the thread is over, under the same lock: who pushes next starts another.
    fn next(&self) -> Option<Work> {
        let mut state = self.state();
        let work = state.waiting.pop_front();
        state.is_running = work.is_some();
        work
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

    use super::*;

    struct Rig {
        line: StoreLine,
        tasks: TaskTracker,
        done: mpsc::Sender<WorkDone>,
        results: mpsc::Receiver<WorkDone>,
    }

    impl Rig {
        fn new() -> Rig {
            let (done, results) = mpsc::channel(2 * PLACES);
            Rig { line: StoreLine::default(), tasks: TaskTracker::new(), done, results }
        }

        fn push(&self, work: impl FnOnce() + Send + 'static, number: u64) -> Result<(), Work> {
            let work = Box::new(move || {
                work();
                numbered(number)
            });
            self.line.push(work, &self.tasks, &self.done)
        }

        async fn next(&mut self) -> u64 {
            match self.results.recv().await.unwrap() {
                WorkDone::Looked { took, .. } => took.as_secs(),
                other => panic!("{other:?}"),
            }
        }
    }

    fn numbered(number: u64) -> WorkDone {
        WorkDone::Looked { changed: Vec::new(), gone: Vec::new(), took: Duration::from_secs(number) }
    }

    #[tokio::test]
    async fn work_is_done_in_turn_and_again_after_a_pause() {
        let mut rig = Rig::new();
        for number in 0..3 {
            assert!(rig.push(|| {}, number).is_ok());
        }
        for number in 0..3 {
            assert_eq!(rig.next().await, number);
        }
        assert!(rig.push(|| {}, 3).is_ok());
        assert_eq!(rig.next().await, 3);
    }

    #[tokio::test]
    async fn who_finds_the_line_full_gets_the_work_back() {
        let mut rig = Rig::new();
        let (release, held) = std::sync::mpsc::channel::<()>();
        assert!(rig.push(move || held.recv().unwrap(), 0).is_ok());
        let mut taken = 1;
        while rig.push(|| {}, taken).is_ok() {
            taken += 1;
            assert!(taken < 1000, "no end");
        }
        // The one that is being done may or may not have left its place.
        assert!((PLACES as u64..=PLACES as u64 + 1).contains(&taken), "{taken}");
        release.send(()).unwrap();
        for number in 0..taken {
            assert_eq!(rig.next().await, number);
        }
    }

    #[tokio::test]
    async fn work_that_panics_takes_nothing_else_with_it() {
        let mut rig = Rig::new();
        assert!(rig.push(|| panic!("as it should"), 0).is_ok());
        while rig.line.state().is_running {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(rig.push(|| {}, 1).is_ok());
        assert_eq!(rig.next().await, 1);
    }
}

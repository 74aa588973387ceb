//! Verifies and writes small chunks for all sessions, one after another on one thread of the
//! blocking pool.
//!
//! On a fast connection many chunks arrive at a time. A thread that finds the next chunk in its
//! queue when it is done with one need not be woken for each. There is one thread only, because two
//! that write to one file would wait for each other. A session that finds the queue full is faster
//! than the thread and does the work itself; so does every session while the CPU is saturated.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::task::TaskTracker;

use super::cpu_pressure::{CpuPressure, CpuTimer};
use super::{EventSender, SessionEvent};

/// Pieces of work that wait at most. One receiver beside its seed, 1 GiB, two cores: 1.45 s with 1
/// and 4, 1.26 with 8, 1.19 to 1.3 with 16 and 32 (medians of five, taking turns); four receivers,
/// which keep both cores busy, take the same with any.
const QUEUE_DEPTH: usize = 16;

/// A piece of work; its event is reported.
pub(super) type Work = Box<dyn FnOnce() -> SessionEvent + Send>;

/// The queue of the thread, and whether the thread runs.
#[derive(Debug, Clone)]
pub(super) struct WriteWorker {
    state: Arc<Mutex<State>>,
    tasks: TaskTracker,
}

struct State {
    queue: VecDeque<(Work, EventSender)>,
    is_running: bool,
    pressure: CpuPressure,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("queue", &self.queue.len()).finish_non_exhaustive()
    }
}

impl WriteWorker {
    pub(super) fn new(tasks: TaskTracker) -> WriteWorker {
        let state =
            State { queue: VecDeque::new(), is_running: false, pressure: CpuPressure::new() };
        WriteWorker { state: Arc::new(Mutex::new(state)), tasks }
    }

    /// Has the work done and its event reported, by the thread or on the calling one. Never waits
    /// for the engine and is not async, so it cannot be cancelled half-way: the event of work that
    /// was announced is always reported.
    pub(super) fn run(&self, work: Work, events: &EventSender) {
        let Some(work) = self.enqueue(work, events) else { return };
        if let Err(event) = events.try_send(self.perform(work)) {
            let events = events.clone();
            self.tasks.spawn_blocking(move || events.send_blocking(event));
        }
    }

    /// Gives the work back if the queue is full or the CPU is saturated.
    fn enqueue(&self, work: Work, events: &EventSender) -> Option<Work> {
        let mut state = self.state();
        if state.queue.len() >= QUEUE_DEPTH || state.pressure.is_saturated() {
            return Some(work);
        }
        state.queue.push_back((work, events.clone()));
        if !std::mem::replace(&mut state.is_running, true) {
            let thread = WorkerThread(self.clone());
            self.tasks.spawn_blocking(move || {
                while let Some((work, events)) = thread.0.next() {
                    events.send_blocking(thread.0.perform(work));
                }
            });
        }
        None
    }

    /// The thread ends without work; this is noted under the same lock, so that the next call of
    /// `enqueue` starts another.
    fn next(&self) -> Option<(Work, EventSender)> {
        let mut state = self.state();
        let work = state.queue.pop_front();
        state.is_running = work.is_some();
        work
    }

    /// Does the work and measures the CPU pressure by it.
    fn perform(&self, work: Work) -> SessionEvent {
        let timer = CpuTimer::start();
        let event = work();
        self.state().pressure.add(timer.usage());
        event
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics under the lock, so a poisoned one is consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running thread.
struct WorkerThread(WriteWorker);

impl Drop for WorkerThread {
    /// After a panic the next work must start another thread.
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

    use tnet_proto::PeerKey;
    use tokio::sync::mpsc;

    use super::*;

    struct Rig {
        worker: WriteWorker,
        events: EventSender,
        results: mpsc::Receiver<(PeerKey, SessionEvent)>,
    }

    impl Rig {
        /// With room for `room` events.
        fn new(room: usize) -> Rig {
            let (events, results) = mpsc::channel(room);
            let events = EventSender { peer: PeerKey(1), events };
            Rig { worker: WriteWorker::new(TaskTracker::new()), events, results }
        }

        fn run(&self, work: impl FnOnce() + Send + 'static, number: u32) {
            let work = Box::new(move || {
                work();
                SessionEvent::DataReceived { bytes: number }
            });
            self.worker.run(work, &self.events);
        }

        async fn next(&mut self) -> u32 {
            let next = tokio::time::timeout(Duration::from_secs(10), self.results.recv()).await;
            match next.expect("an event within ten seconds").unwrap().1 {
                SessionEvent::DataReceived { bytes } => bytes,
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn work_is_done_in_order_and_again_after_a_pause() {
        let mut rig = Rig::new(QUEUE_DEPTH);
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
    async fn a_caller_that_finds_the_queue_full_does_the_work_itself() {
        let mut rig = Rig::new(2 * QUEUE_DEPTH);
        let (release, held) = std::sync::mpsc::channel::<()>();
        let here = std::thread::current().id();
        let (depth, mut pushed) = (u32::try_from(QUEUE_DEPTH).unwrap(), 1);
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
        // The one that is being done may or may not have left the queue.
        assert!((depth..=depth + 1).contains(&last), "{last}");
        assert_eq!(rig.next().await, last, "the others wait");
        release.send(()).unwrap();
        for number in 0..last {
            assert_eq!(rig.next().await, number);
        }
    }

    #[tokio::test]
    async fn a_caller_does_the_work_itself_while_the_cpu_is_saturated() {
        let mut rig = Rig::new(QUEUE_DEPTH);
        // As if another process had used the core most of the time.
        rig.run(|| std::thread::sleep(Duration::from_millis(60)), 0);
        assert_eq!(rig.next().await, 0);
        let (here, done) = (std::thread::current().id(), Arc::new(Mutex::new(None)));
        let by = Arc::clone(&done);
        rig.run(move || *by.lock().unwrap() = Some(std::thread::current().id()), 1);
        assert_eq!(*done.lock().unwrap(), Some(here));
        assert_eq!(rig.next().await, 1);
    }

    #[tokio::test]
    async fn no_event_is_lost_while_the_engine_receives_none() {
        let mut rig = Rig::new(1);
        let all = 3 * u32::try_from(QUEUE_DEPTH).unwrap();
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
    async fn work_that_panics_does_not_stop_later_work() {
        let mut rig = Rig::new(QUEUE_DEPTH);
        rig.run(|| panic!("as it should"), 0);
        while rig.worker.state().is_running {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        rig.run(|| {}, 1);
        assert_eq!(rig.next().await, 1);
    }
}

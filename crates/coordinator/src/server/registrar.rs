//! The task that owns the registry. It never waits for a connection: a connection whose queue is
//! full is closed. Long work is done in bounded steps between events.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::select;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use tnet_proto::CoordinatorReply;

use super::message::{Outgoing, RegistrarEvent, StateQuery};
use crate::config::Config;
use crate::registry::table::{Epoch, EpochMap, SweepStatus};
use crate::registry::{ENTRIES_PER_STEP, Ending, Input, Output, Registry};

/// Events between two steps of [`Registry::handle_timeout`]: a step may take a few milliseconds,
/// about as long as these events.
const EVENTS_PER_STEP: usize = 256;

/// Pushes that may wait for one connection when the limit for all connections is reached.
const FEW_UNSENT: usize = 2;

/// While there are peers, this task wakes at least this often.
const RUNS_EACH: Duration = Duration::from_secs(1);

/// If it did not run for this long, the process was suspended: a busy machine does not delay a
/// thread this long.
const STOPPED_AFTER: Duration = Duration::from_secs(3);

/// Owner of the registry.
#[derive(Debug)]
pub(crate) struct Registrar {
    registry: Registry,
    /// The queue of each connection.
    links: EpochMap<mpsc::Sender<Outgoing>>,
    events: mpsc::Receiver<RegistrarEvent>,
    /// Pushed messages that may wait for all connections together.
    unsent: Arc<Semaphore>,
    started: Instant,
    /// When this task last ran.
    ran: Instant,
}

impl Registrar {
    pub(crate) fn new(config: &Config, events: mpsc::Receiver<RegistrarEvent>) -> Registrar {
        // The keys of the standard hasher are random; choosing holders needs no stronger
        // randomness.
        let rng = StdRng::seed_from_u64(RandomState::new().hash_one(0));
        Registrar {
            registry: Registry::new(config, rng),
            links: EpochMap::default(),
            events,
            unsent: Arc::new(Semaphore::new(config.max_unsent_in_all as usize)),
            started: Instant::now(),
            ran: Instant::now(),
        }
    }

    /// Runs until `stop`, and then sends `Bye` to every connection.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut events = Vec::with_capacity(EVENTS_PER_STEP);
        loop {
            let due = self.registry.next_timeout().and_then(|next| self.started.checked_add(next));
            let has_peers = self.registry.table().size().peers > 0;
            select! {
                biased;
                () = stop.cancelled() => break,
                received = self.events.recv_many(&mut events, EVENTS_PER_STEP) => if received == 0 { break },
                () = sleep_until(due.unwrap_or(self.started)), if due.is_some() => {}
                () = sleep_until(self.ran + RUNS_EACH), if has_peers => {}
            }
            self.note_run();
            let mut entries = 0;
            for event in events.drain(..) {
                entries += event.entries();
                self.on_event(event);
                if entries >= ENTRIES_PER_STEP {
                    entries = 0;
                    tokio::task::yield_now().await; // Let other tasks use this thread.
                }
            }
            let left = self.registry.handle_timeout(self.started.elapsed());
            self.perform_all();
            if left == SweepStatus::More {
                tokio::task::yield_now().await;
            }
        }
        for link in self.links.into_values() {
            // A full queue has no room for a `Bye`: that connection is only closed.
            let _ = link.try_send(Outgoing::Push(CoordinatorReply::Bye, None));
        }
    }

    /// Detects that the process was suspended: stopped, or its container or machine paused.
    fn note_run(&mut self) {
        let now = Instant::now();
        let pause = now.saturating_duration_since(std::mem::replace(&mut self.ran, now));
        if pause >= STOPPED_AFTER && self.registry.table().size().peers > 0 {
            warn!(seconds = pause.as_secs(), "process was suspended; all leases renewed");
            self.registry.handle_pause(self.started.elapsed());
        }
    }

    fn on_event(&mut self, event: RegistrarEvent) {
        let now = self.started.elapsed();
        match event {
            RegistrarEvent::Hello { epoch, hello, outgoing } => {
                self.links.insert(epoch, outgoing);
                self.registry.handle_input(now, Input::Hello { epoch, hello });
            }
            RegistrarEvent::Request { epoch, request } => {
                self.registry.handle_input(now, Input::Request { epoch, request });
            }
            RegistrarEvent::Ended { epoch, ending } => {
                self.registry.handle_input(now, Input::Ended { epoch, ending });
            }
            RegistrarEvent::Refused(limit) => {
                self.registry.handle_input(now, Input::Refused(limit))
            }
            RegistrarEvent::StateQuery(query) => self.on_query(query),
        }
        self.perform_all();
    }

    fn on_query(&mut self, query: StateQuery) {
        // The asker may have stopped waiting.
        match query {
            StateQuery::Stats(answer) => drop(answer.send(self.registry.stats())),
            StateQuery::Swarm(hash, answer) => drop(answer.send(self.registry.swarm(&hash))),
            StateQuery::Holders(hash, answer) => drop(answer.send(self.registry.holders(&hash))),
            StateQuery::Files(limit, answer) => drop(answer.send(self.registry.files(limit))),
        }
    }

    fn perform_all(&mut self) {
        while let Some(output) = self.registry.poll_output() {
            self.perform(output);
        }
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Answer { epoch, reply } => self.answer(epoch, reply),
            Output::Push { epoch, reply } => self.push(epoch, reply),
            Output::Notify { epoch, reply } => {
                // Keep a free slot for the answer to its next request.
                if let Some(link) = self.links.get(&epoch).filter(|link| link.capacity() > 1) {
                    let _ = link.try_send(Outgoing::Push(reply, None));
                }
            }
            // What is queued for it is written before the connection closes.
            Output::Close { epoch } => drop(self.links.remove(&epoch)),
        }
    }

    fn answer(&mut self, epoch: Epoch, reply: Option<CoordinatorReply>) {
        let Some(link) = self.links.get(&epoch) else { return };
        // `push` keeps a slot free for it, so this fails only if the connection has ended.
        if link.try_send(Outgoing::Answer(reply)).is_err() {
            self.give_up(epoch, Ending::Lost);
        }
    }

    fn push(&mut self, epoch: Epoch, reply: CoordinatorReply) {
        let Some(link) = self.links.get(&epoch) else { return };
        let waiting = link.max_capacity() - link.capacity();
        let room = Arc::clone(&self.unsent).try_acquire_owned().ok();
        if link.capacity() <= 1 || room.is_none() && waiting > FEW_UNSENT {
            return self.give_up(epoch, Ending::Stuck);
        }
        // Without a permit other connections do not read. Skip this push: the watcher hears of the
        // next holder, or asks.
        if room.is_some() {
            let _ = link.try_send(Outgoing::Push(reply, room));
        }
    }

    fn give_up(&mut self, epoch: Epoch, ending: Ending) {
        self.registry.handle_input(self.started.elapsed(), Input::Ended { epoch, ending });
    }
}

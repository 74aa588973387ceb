//! The task that owns the registry. It never waits for a connection: what a connection cannot take
//! at once ends that connection. Large chores are done in small steps between events.

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

use super::message::{Event, Outgoing, Question};
use crate::config::Config;
use crate::registry::table::{Epoch, EpochMap, Sweep};
use crate::registry::{ENTRIES_PER_STEP, Ending, Input, Output, Registry};

/// Events between two steps of chores: a step may take a few milliseconds, as long as these take
/// together.
const EVENTS_PER_STEP: usize = 256;

/// Messages that may wait for one connection when all of them together are too many.
const FEW_UNSENT: usize = 2;

/// While there are peers, this task runs so often at least.
const RUNS_EACH: Duration = Duration::from_secs(1);

/// If it did not run for so long, nobody did: longer than a busy machine keeps a thread waiting.
const STOPPED_AFTER: Duration = Duration::from_secs(3);

/// Owner of the registry.
#[derive(Debug)]
pub(crate) struct Registrar {
    registry: Registry,
    /// Where to send to each connection.
    links: EpochMap<mpsc::Sender<Outgoing>>,
    events: mpsc::Receiver<Event>,
    /// Pushed messages that may wait for all connections together.
    unsent: Arc<Semaphore>,
    started: Instant,
    /// When this task ran last.
    ran: Instant,
}

impl Registrar {
    pub(crate) fn new(config: &Config, events: mpsc::Receiver<Event>) -> Registrar {
        // The keys of the standard hasher come from the system; which holders are named needs no
        // more.
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

    /// Runs until it is told to stop, and says goodbye to everybody.
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
                    tokio::task::yield_now().await; // Others need this thread too.
                }
            }
            let left = self.registry.handle_timeout(self.started.elapsed());
            self.perform_all();
            if left == Sweep::More {
                tokio::task::yield_now().await;
            }
        }
        for link in self.links.into_values() {
            // A full queue has no room for a goodbye: the closed connection has to say it.
            let _ = link.try_send(Outgoing::Push(CoordinatorReply::Bye, None));
        }
    }

    /// Notices time in which this process did not run: stopped, or its container or machine paused.
    fn note_run(&mut self) {
        let now = Instant::now();
        let pause = now.saturating_duration_since(std::mem::replace(&mut self.ran, now));
        if pause >= STOPPED_AFTER && self.registry.table().size().peers > 0 {
            warn!(
                seconds = pause.as_secs(),
                "this process did not run; every peer has a whole lease again"
            );
            self.registry.handle_pause(self.started.elapsed());
        }
    }

    fn on_event(&mut self, event: Event) {
        let now = self.started.elapsed();
        match event {
            Event::Hello { epoch, hello, outgoing } => {
                self.links.insert(epoch, outgoing);
                self.registry.handle_input(now, Input::Hello { epoch, hello });
            }
            Event::Request { epoch, request } => {
                self.registry.handle_input(now, Input::Request { epoch, request });
            }
            Event::Ended { epoch, ending } => {
                self.registry.handle_input(now, Input::Ended { epoch, ending });
            }
            Event::Refused(limit) => self.registry.handle_input(now, Input::Refused(limit)),
            Event::Question(question) => self.on_question(question),
        }
        self.perform_all();
    }

    fn on_question(&mut self, question: Question) {
        // Whoever asked may have stopped waiting.
        match question {
            Question::Stats(answer) => drop(answer.send(self.registry.stats())),
            Question::Swarm(hash, answer) => drop(answer.send(self.registry.swarm(&hash))),
            Question::Holders(hash, answer) => drop(answer.send(self.registry.holders(&hash))),
            Question::Files(limit, answer) => drop(answer.send(self.registry.files(limit))),
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
                // The answer to its next request needs a place.
                if let Some(link) = self.links.get(&epoch).filter(|link| link.capacity() > 1) {
                    let _ = link.try_send(Outgoing::Push(reply, None));
                }
            }
            // What is queued for it is still written.
            Output::Close { epoch } => drop(self.links.remove(&epoch)),
        }
    }

    fn answer(&mut self, epoch: Epoch, reply: Option<CoordinatorReply>) {
        let Some(link) = self.links.get(&epoch) else { return };
        // `push` leaves a place free for it, so only a connection that has ended cannot take it.
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
        // Without room others do not read. It hears of the next holder, or when it asks.
        if room.is_some() {
            let _ = link.try_send(Outgoing::Push(reply, room));
        }
    }

    fn give_up(&mut self, epoch: Epoch, ending: Ending) {
        self.registry.handle_input(self.started.elapsed(), Input::Ended { epoch, ending });
    }
}

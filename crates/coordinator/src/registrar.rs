//! The one task that owns the table and the watches. It never waits for a connection: what a connection cannot
//! take at once ends that connection. Large chores are done in small steps between events.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::select;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::field::{self, DisplayValue};
use tracing::{Level, debug, enabled, trace, warn};

use tnet_fileinfo::FileHash;
use tnet_proto::{CoordinatorReply, Limit, Listed, ReportDigest, ReportEntry};

use crate::config::Config;
use crate::message::{Ending, Event, Hello, Outgoing, Question, Request};
use crate::notice::Notice;
use crate::stats::Stats;
use crate::table::{
    Admitted, Beat, Epoch, EpochMap, Handout, LimitHit, Report, ReportOutcome, SwarmSize, Table,
};
use crate::watch::{Push, Watches};

/// Events between two steps of chores: a step may take a few milliseconds, as long as these take together.
const EVENTS_PER_STEP: usize = 256;

/// Peers that one step lets expire, and watchers that one step pushes to.
const CHORES_PER_STEP: usize = 256;

/// Entries that are written or removed in one go: about 5 ms, each costing a digest and a few lookups. Peers that
/// expire together leave in such steps, and after such a step of reports other tasks have their turn.
const ENTRIES_PER_STEP: u32 = 10_000;

/// Messages that may wait for one connection when all of them together are too many.
const FEW_UNSENT: usize = 2;

/// While there are peers, the owner of the table runs so often at least.
const RUNS_EACH: Duration = Duration::from_secs(1);

/// If it did not run for so long, nobody did: longer than a busy machine keeps a thread waiting.
const STOPPED_AFTER: Duration = Duration::from_secs(3);

/// Files of one report that the log names.
const ENTRIES_TOLD: usize = 8;

/// Owner of the table.
#[derive(Debug)]
pub(crate) struct Registrar {
    table: Table,
    watches: Watches,
    /// The push that is being sent out, if it takes several steps.
    pushing: Option<Push>,
    /// Connections that were let in.
    links: EpochMap<mpsc::Sender<Outgoing>>,
    events: mpsc::Receiver<Event>,
    rng: StdRng,
    /// Pushed messages that may wait for all connections together.
    unsent: Arc<Semaphore>,
    started: Instant,
    /// When this task ran last.
    ran: Instant,
    stats: Stats,
    limit_notice: Notice,
}

impl Registrar {
    pub(crate) fn new(config: &Config, events: mpsc::Receiver<Event>) -> Registrar {
        Registrar {
            table: Table::new(config.table),
            watches: Watches::new(
                config.max_watches,
                config.max_watches_per_connection,
                config.push_interval,
            ),
            pushing: None,
            links: EpochMap::default(),
            events,
            // The keys of the standard hasher come from the system; which holders are named needs no more.
            rng: StdRng::seed_from_u64(RandomState::new().hash_one(0)),
            unsent: Arc::new(Semaphore::new(config.max_unsent_in_all as usize)),
            started: Instant::now(),
            ran: Instant::now(),
            stats: Stats::default(),
            limit_notice: Notice::default(),
        }
    }

    /// Runs until it is told to stop, and says goodbye to everybody.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut events = Vec::with_capacity(EVENTS_PER_STEP);
        loop {
            let chores = self.next_chore();
            select! {
                biased;
                () = stop.cancelled() => break,
                received = self.events.recv_many(&mut events, EVENTS_PER_STEP) => if received == 0 { break },
                () = sleep_until(chores.unwrap_or(self.started)), if chores.is_some() => {}
                () = sleep_until(self.ran + RUNS_EACH), if self.table.size().peers > 0 => {}
            }
            self.note_run();
            let mut entries = 0;
            for event in events.drain(..) {
                entries += event.entries();
                self.on_event(self.started.elapsed(), event);
                if entries >= ENTRIES_PER_STEP {
                    entries = 0;
                    tokio::task::yield_now().await; // Others need this thread too.
                }
            }
            if self.do_chores(self.started.elapsed()) == Chores::More {
                tokio::task::yield_now().await;
            }
        }
        for link in self.links.into_values() {
            // A full queue has no room for a goodbye: the closed connection has to say it.
            let _ = link.try_send(Outgoing::Push(CoordinatorReply::Bye, None));
        }
    }

    /// In time in which this process did not run nobody could be heard: stopped, or its container or machine paused.
    fn note_run(&mut self) {
        let now = Instant::now();
        let pause = now.saturating_duration_since(std::mem::replace(&mut self.ran, now));
        if pause >= STOPPED_AFTER && self.table.size().peers > 0 {
            warn!(seconds = pause.as_secs(), "this process did not run; every peer has a whole lease again");
            self.table.renew_all(self.started.elapsed());
        }
    }

    fn on_event(&mut self, now: Duration, event: Event) {
        match event {
            Event::Hello { epoch, hello, outgoing } => self.on_hello(now, epoch, &hello, outgoing),
            Event::Request { epoch, request } => self.on_request(now, epoch, request),
            Event::Ended { epoch, ending } => self.on_ended(epoch, ending),
            Event::Refused(limit) => self.stats.limits.count(limit),
            Event::Question(question) => self.on_question(question),
        }
    }

    fn on_hello(&mut self, now: Duration, epoch: Epoch, hello: &Hello, outgoing: mpsc::Sender<Outgoing>) {
        let Hello { arrival, observed, listed } = *hello;
        let answer = match self.table.hello(now, epoch, &arrival) {
            Ok(Admitted { address, lease, digest }) => {
                match address.port() {
                    // Whoever only asks, such as a health check each few seconds.
                    0 => match listed {
                        Listed::Refused { refusal } => {
                            debug!(ip = %observed.ip(), ?refusal, "peer connected, not listed")
                        }
                        _ => trace!(ip = %observed.ip(), "connected to ask"),
                    },
                    _ => debug!(peer = %address, ?lease, "peer connected"),
                }
                self.stats.hellos += 1;
                self.links.insert(epoch, outgoing.clone());
                let lease_ms = u32::try_from(lease.as_millis()).unwrap_or(u32::MAX);
                CoordinatorReply::Welcome { lease_ms, observed, listed, digest, capabilities: 0 }
            }
            Err(hit) => self.limit_reached(now, hit),
        };
        // A new queue is empty; it is closed only if the connection has ended already, which it will tell.
        let _ = outgoing.try_send(Outgoing::Answer(Some(answer)));
    }

    fn on_request(&mut self, now: Duration, epoch: Epoch, request: Request) {
        if !self.links.contains_key(&epoch) {
            return; // It was dismissed after it had asked.
        }
        let answer = match request {
            Request::Report { seq, scope, entries } => {
                self.on_report(now, epoch, Report { seq, scope, entries: &entries })
            }
            Request::Heartbeat(digest) => self.on_heartbeat(now, epoch, digest),
            Request::Lookup(hash) => Response::Reply(self.lookup(epoch, hash)),
            Request::Watch(hash) => Response::Reply(self.watch(now, epoch, hash)),
            Request::Unwatch(hash) => {
                self.watches.unwatch(epoch, hash);
                Response::Nothing
            }
            Request::Calls(results) => {
                for result in results {
                    self.table.heard_of(now, epoch, result);
                }
                Response::Nothing
            }
            Request::Bye => {
                self.stats.byes += 1;
                self.tell_of(epoch, "peer left");
                self.table.bye(epoch);
                Response::Close
            }
        };
        match answer {
            Response::Reply(reply) => self.answer(epoch, Some(reply)),
            Response::Nothing => self.answer(epoch, None),
            Response::Close => self.dismiss(epoch),
        }
    }

    fn on_report(&mut self, now: Duration, epoch: Epoch, report: Report<'_>) -> Response {
        let seq = report.seq;
        let Some(ip) = self.table.ip(epoch) else { return Response::Close };
        let watches = &mut self.watches;
        let outcome = self.table.report(now, epoch, report, |hash| watches.note(now, hash, epoch, ip));
        match outcome {
            ReportOutcome::Accepted => {
                self.stats.reports += 1;
                self.tell_report(epoch, report.entries);
                Response::Reply(CoordinatorReply::Accepted { seq })
            }
            ReportOutcome::Cut(hit) => {
                self.stats.reports += 1;
                Response::Reply(self.limit_reached(now, hit))
            }
            ReportOutcome::Repeated => {
                self.stats.reports_out_of_order += 1;
                Response::Nothing
            }
            ReportOutcome::Gap => {
                self.stats.reports_out_of_order += 1;
                Response::Reply(self.resync())
            }
            ReportOutcome::NotHeard => Response::Close,
        }
    }

    fn on_heartbeat(&mut self, now: Duration, epoch: Epoch, digest: ReportDigest) -> Response {
        match self.table.heartbeat(now, epoch, digest) {
            Beat::Renewed => {
                self.stats.renewals += 1;
                Response::Reply(CoordinatorReply::Renewed)
            }
            Beat::Resync => Response::Reply(self.resync()),
            Beat::Cut(hit) => Response::Reply(self.limit_reached(now, hit)),
            Beat::NotHeard => Response::Close,
        }
    }

    fn lookup(&mut self, epoch: Epoch, hash: FileHash) -> CoordinatorReply {
        self.stats.lookups += 1;
        self.table.asked_for(&hash, epoch);
        let handout = self.table.handout(&hash, Some(epoch), &mut self.rng);
        let SwarmSize { full, partial } = handout.swarm;
        debug!(by = self.shown(epoch), file = %hash.short(), full, partial, "asked who has it");
        holders(hash, handout)
    }

    /// A log line for each file of a report; for the first ones of a long one.
    fn tell_report(&self, epoch: Epoch, entries: &[ReportEntry]) {
        if !enabled!(Level::DEBUG) {
            return;
        }
        let peer = self.shown(epoch);
        for entry in entries.iter().take(ENTRIES_TOLD) {
            let file = FileHash::from_bytes(entry.hash).short();
            debug!(peer = peer.as_ref(), %file, has = ?entry.availability, "peer reports");
        }
        if let Some(more) = entries.len().checked_sub(ENTRIES_TOLD).filter(|more| *more > 0) {
            debug!(peer = peer.as_ref(), more, "peer reports more files");
        }
    }

    /// A log line about a peer that accepts others; of those who only ask, none.
    fn tell_of(&self, epoch: Epoch, what: &str) {
        if let Some(peer) = self.table.address(epoch).filter(|peer| peer.port() != 0) {
            debug!(%peer, "{what}");
        }
    }

    /// The peer on a connection, as the log names it.
    fn shown(&self, epoch: Epoch) -> Option<DisplayValue<String>> {
        let address = self.table.address(epoch)?;
        Some(field::display(if address.port() == 0 { address.ip().to_string() } else { address.to_string() }))
    }

    fn watch(&mut self, now: Duration, epoch: Epoch, hash: FileHash) -> CoordinatorReply {
        let Some(ip) = self.table.ip(epoch) else { return self.lookup(epoch, hash) };
        match self.watches.watch(epoch, ip, hash) {
            Ok(gave_way) => {
                // The answer to its next request needs a place. Who is not told asks now and then all the same.
                let loser = gave_way.and_then(|loser| self.links.get(&loser));
                if let Some(link) = loser.filter(|link| link.capacity() > 1) {
                    let hit = CoordinatorReply::LimitReached { limit: Limit::WatchesPerPeer, value: 0 };
                    let _ = link.try_send(Outgoing::Push(hit, None));
                }
                self.lookup(epoch, hash)
            }
            Err(hit) => self.limit_reached(now, hit),
        }
    }

    fn on_ended(&mut self, epoch: Epoch, ending: Ending) {
        self.tell_of(epoch, "peer disconnected; what it has is kept until its lease ends");
        match ending {
            Ending::Lost | Ending::Dismissed => {}
            Ending::GaveWay => self.stats.gave_way += 1,
            // Dismissed for the same reason, it was counted already.
            Ending::Stuck => self.stats.slow_peers += u64::from(self.links.contains_key(&epoch)),
            Ending::Violation => self.stats.violations += 1,
            Ending::NoHello => self.stats.without_hello += 1,
        }
        self.dismiss(epoch);
    }

    fn on_question(&mut self, question: Question) {
        // Whoever asked may have stopped waiting.
        match question {
            Question::Stats(answer) => drop(answer.send(self.stats())),
            Question::Swarm(hash, answer) => drop(answer.send(self.table.swarm(&hash))),
            Question::Holders(hash, answer) => {
                drop(answer.send(self.table.handout(&hash, None, &mut self.rng)));
            }
            Question::Files(limit, answer) => drop(answer.send(self.table.files(limit))),
        }
    }

    fn stats(&self) -> Stats {
        Stats {
            table: self.table.size(),
            connections: u32::try_from(self.links.len()).unwrap_or(u32::MAX),
            watches: self.watches.len(),
            table_budget: self.table.max_bytes(),
            ..self.stats
        }
    }

    fn resync(&mut self) -> CoordinatorReply {
        self.stats.resyncs += 1;
        CoordinatorReply::Resync
    }

    fn limit_reached(&mut self, now: Duration, hit: LimitHit) -> CoordinatorReply {
        let LimitHit { limit, value } = hit;
        self.stats.limits.count(limit);
        if let Some(suppressed) = self.limit_notice.due(now) {
            warn!(?limit, value, suppressed, "limit reached");
        }
        CoordinatorReply::LimitReached { limit, value }
    }

    fn answer(&mut self, epoch: Epoch, reply: Option<CoordinatorReply>) {
        let Some(link) = self.links.get(&epoch) else { return };
        // `push` leaves a place free for it, so only a connection that has ended cannot take it.
        if link.try_send(Outgoing::Answer(reply)).is_err() {
            self.dismiss(epoch);
        }
    }

    /// Ends a connection; what was queued for it is still written. Its peer's entries stay until the lease ends,
    /// unless it said bye.
    fn dismiss(&mut self, epoch: Epoch) {
        self.links.remove(&epoch);
        self.watches.forget(epoch);
        self.table.disconnected(epoch);
    }

    /// When there is something to do even if nothing happens.
    fn next_chore(&self) -> Option<Instant> {
        if self.table.has_leftovers() || self.pushing.is_some() {
            return Some(self.started);
        }
        let next = self.table.next_expiry().into_iter().chain(self.watches.next_due()).min()?;
        self.started.checked_add(next)
    }

    /// A bounded part of what is due.
    fn do_chores(&mut self, now: Duration) -> Chores {
        self.table.sweep();
        self.expire(now);
        self.push(now);
        match self.next_chore() {
            Some(next) if next <= self.started + now => Chores::More,
            _ => Chores::Done,
        }
    }

    fn expire(&mut self, now: Duration) {
        let entries = self.table.size().entries;
        for _ in 0..CHORES_PER_STEP {
            if entries - self.table.size().entries >= ENTRIES_PER_STEP {
                break; // A whole rack has gone silent: the others in the next steps.
            }
            let Some(expired) = self.table.expire(now) else { break };
            debug!(peer = %expired.address, "peer was silent for its lease: forgotten");
            self.stats.expired += 1;
            if let Some(connection) = expired.connection {
                self.dismiss(connection);
            }
        }
    }

    fn push(&mut self, now: Duration) {
        let Some(mut push) = self.pushing.take().or_else(|| self.watches.take_due(now)) else { return };
        let rest = push.watchers.split_off(push.watchers.len().min(CHORES_PER_STEP));
        for watcher in &push.watchers {
            self.push_to(*watcher, &push);
        }
        if !rest.is_empty() {
            self.pushing = Some(Push { watchers: rest, ..push });
        }
    }

    fn push_to(&mut self, watcher: Epoch, push: &Push) {
        let Some(link) = self.links.get(&watcher) else { return };
        if !self.table.any_holds(&push.hash, &push.fresh, watcher) {
            return; // The only news for this watcher is itself.
        }
        let waiting = link.max_capacity() - link.capacity();
        let room = Arc::clone(&self.unsent).try_acquire_owned().ok();
        if link.capacity() <= 1 || room.is_none() && waiting > FEW_UNSENT {
            self.stats.slow_peers += 1;
            self.dismiss(watcher);
            return;
        }
        // Others do not read. It hears of the next holder, or when it asks.
        if room.is_none() {
            return;
        }
        let handout = self.table.handout_with(&push.hash, Some(watcher), &push.fresh, &mut self.rng);
        if link.try_send(Outgoing::Push(holders(push.hash, handout), room)).is_ok() {
            self.stats.pushes += 1;
        }
    }
}

/// What a request leads to.
enum Response {
    Reply(CoordinatorReply),
    Nothing,
    Close,
}

/// Whether chores are left.
#[derive(PartialEq, Eq)]
enum Chores {
    Done,
    More,
}

fn holders(hash: FileHash, handout: Handout) -> CoordinatorReply {
    let Handout { swarm, holders } = handout;
    CoordinatorReply::Holders { hash: *hash.as_bytes(), full: swarm.full, partial: swarm.partial, holders }
}

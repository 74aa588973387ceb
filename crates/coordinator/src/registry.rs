//! What a coordinator decides, without IO: which peers are listed, the answer to each request,
//! which watchers are told of new holders, and when a peer is forgotten. The server runs it on
//! sockets, the simulator in virtual time.
//!
//! # Contract
//!
//! A caller runs this loop, which is all that it decides:
//!
//! 1. Wait for the next event, or until [`Registry::next_timeout`].
//! 2. Hand an event to [`Registry::handle_input`]; at the timeout call
//!    [`Registry::handle_timeout`], which does a bounded part of what is due.
//! 3. Perform every [`Output`] until [`Registry::poll_output`] returns `None`.
//!
//! Time never goes back. Outputs are values that refer to nothing in the registry, so the caller
//! may hand in an input while it performs outputs, for example the end of a connection whose queue
//! is full: what follows from it is queued behind the outputs that wait. When the process was
//! suspended, [`Registry::handle_pause`] comes before the next timeout.
//!
//! ```
//! use std::collections::VecDeque;
//! use std::time::Duration;
//! use rand::{SeedableRng, rngs::StdRng};
//! use tnet_coordinator::registry::{Ending, Hello, Input, Output, Registry};
//! use tnet_coordinator::{AllowAdvertise, Config, Epoch};
//! use tnet_proto::{Families, PeerId, Reach};
//!
//! /// Delivers events at their times and performs timeouts in between; returns what to do, when.
//! fn drive(
//!     registry: &mut Registry,
//!     mut events: VecDeque<(Duration, Input)>,
//! ) -> Vec<(Duration, Output)> {
//!     let (mut now, mut performed) = (Duration::ZERO, Vec::new());
//!     loop {
//!         let event_at = events.front().map(|(at, _)| *at);
//!         match registry.next_timeout().filter(|due| event_at.is_none_or(|at| *due < at)) {
//!             Some(due) => {
//!                 now = now.max(due);
//!                 registry.handle_timeout(now);
//!             }
//!             None => {
//!                 let Some((at, input)) = events.pop_front() else { return performed };
//!                 now = now.max(at);
//!                 registry.handle_input(now, input);
//!             }
//!         }
//!         while let Some(output) = registry.poll_output() {
//!             performed.push((now, output)); // a server writes it to a socket
//!         }
//!     }
//! }
//!
//! let (remote, local) = (([192, 0, 2, 1], 50_000).into(), ([192, 0, 2, 9], 7400).into());
//! let reach = Reach::Everywhere { port: 7401, families: Families::Both };
//! let report_interval = Duration::from_secs(10);
//! let allowed = AllowAdvertise::default();
//! let hello = Hello::new(PeerId([1; 16]), reach, report_interval, remote, local, &allowed);
//!
//! let mut registry = Registry::new(&Config::default(), StdRng::seed_from_u64(1));
//! let epoch = Epoch(1);
//! let performed = drive(&mut registry, [(Duration::ZERO, Input::Hello { epoch, hello })].into());
//! assert!(matches!(performed[0].1, Output::Answer { reply: Some(_), .. })); // the welcome
//! let lease = 3 * report_interval;
//! assert_eq!(performed[1], (lease, Output::Close { epoch })); // no sign of life for a lease
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use rand::rngs::StdRng;
use tracing::field::{self, DisplayValue};
use tracing::{Level, debug, enabled, trace, warn};

use tnet_fileinfo::FileHash;
use tnet_net::LogThrottle;
use tnet_proto::{CoordinatorReply, Limit, Listed, ReportDigest, ReportEntry};

use crate::config::Config;

mod handout;
mod io;
pub(crate) mod location;
pub(crate) mod networks;
pub(crate) mod stats;
#[allow(
    clippy::indexing_slicing,
    reason = "its numbers are its own; callers only have hashes and addresses"
)]
pub(crate) mod table;
#[cfg(test)]
mod tests;
mod watches;

pub use io::{Ending, Hello, Input, Output, Request};

use stats::Stats;
use table::{
    Admitted, Epoch, EpochSet, FileSummary, Handout, HeartbeatOutcome, LimitExceeded, Report,
    ReportOutcome, SwarmSize, SweepStatus, Table,
};
use watches::{Push, Watches};

/// Peers that expire, and watchers that receive a push, in one step of
/// [`Registry::handle_timeout`].
const PEERS_PER_STEP: usize = 256;

/// Entries that are written or removed in one step: about 5 ms, each costing a digest and a few
/// lookups.
pub(crate) const ENTRIES_PER_STEP: u32 = 10_000;

/// Files of one report that the log names.
const ENTRIES_LOGGED: usize = 8;

/// The table, the watches, and the rules that connect them. See the module for the contract.
#[derive(Debug)]
pub struct Registry {
    table: Table,
    watches: Watches,
    /// The push in progress, when it has more watchers than fit into one step.
    pushing: Option<Push>,
    /// Connections whose hello was accepted.
    connections: EpochSet,
    outputs: VecDeque<Output>,
    rng: StdRng,
    stats: Stats,
    limit_log: LogThrottle,
}

impl Registry {
    /// An empty registry. `rng` draws the holders that a handout names.
    pub fn new(config: &Config, rng: StdRng) -> Registry {
        Registry {
            table: Table::new(config.table),
            watches: Watches::new(
                config.max_watches,
                config.max_watches_per_connection,
                config.push_interval,
            ),
            pushing: None,
            connections: EpochSet::default(),
            outputs: VecDeque::new(),
            rng,
            stats: Stats::default(),
            limit_log: LogThrottle::default(),
        }
    }

    /// Processes an event. `now` is the time since a fixed start, and never less than in an earlier
    /// call.
    pub fn handle_input(&mut self, now: Duration, input: Input) {
        match input {
            Input::Hello { epoch, hello } => self.on_hello(now, epoch, &hello),
            Input::Request { epoch, request } => self.on_request(now, epoch, request),
            Input::Ended { epoch, ending } => self.on_ended(epoch, ending),
            Input::Refused(limit) => self.stats.limits.count(limit),
        }
    }

    /// The next action for the caller; `None` when there is no more.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Registry::handle_timeout`], on the clock of `now`: zero for at once, `None`
    /// if nothing is due before the next input.
    pub fn next_timeout(&self) -> Option<Duration> {
        if self.table.has_leftovers() || self.pushing.is_some() {
            return Some(Duration::ZERO);
        }
        self.table.next_expiry().into_iter().chain(self.watches.next_due()).min()
    }

    /// Does a bounded part of the due work, a few milliseconds of it. The rest is due at once,
    /// which the result tells.
    pub fn handle_timeout(&mut self, now: Duration) -> SweepStatus {
        self.table.sweep();
        self.expire(now);
        self.push(now);
        match self.next_timeout() {
            Some(next) if next <= now => SweepStatus::More,
            _ => SweepStatus::Done,
        }
    }

    /// The process was suspended until `now` and could not receive anything: renews every lease.
    pub fn handle_pause(&mut self, now: Duration) {
        self.table.renew_all(now);
    }

    /// The table: which peers hold which files.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Figures of this moment.
    pub fn stats(&self) -> Stats {
        Stats {
            table: self.table.size(),
            connections: u32::try_from(self.connections.len()).unwrap_or(u32::MAX),
            watches: self.watches.len(),
            table_budget: self.table.max_bytes(),
            ..self.stats
        }
    }

    /// How many live peers hold the file.
    pub fn swarm(&self, hash: &FileHash) -> Option<SwarmSize> {
        self.table.swarm(hash)
    }

    /// Random holders of the file, as for a peer that holds nothing.
    pub fn holders(&mut self, hash: &FileHash) -> Handout {
        self.table.handout(hash, None, &mut self.rng)
    }

    /// The files in the table, at most `limit`.
    pub fn files(&self, limit: usize) -> Vec<FileSummary> {
        self.table.files(limit)
    }

    fn on_hello(&mut self, now: Duration, epoch: Epoch, hello: &Hello) {
        let Hello { introduction, observed, listed } = *hello;
        match self.table.hello(now, epoch, &introduction) {
            Ok(Admitted { address, lease, digest }) => {
                match (address.port(), listed) {
                    (0, Listed::Refused { refusal }) => {
                        debug!(ip = %observed.ip(), ?refusal, "peer connected, not listed");
                    }
                    // Clients that only look up, such as a health check every few seconds.
                    (0, _) => trace!(ip = %observed.ip(), "lookup client connected"),
                    _ => debug!(peer = %address, ?lease, "peer connected"),
                }
                self.stats.hellos += 1;
                self.connections.insert(epoch);
                let lease_ms = u32::try_from(lease.as_millis()).unwrap_or(u32::MAX);
                let welcome = CoordinatorReply::Welcome {
                    lease_ms,
                    observed,
                    listed,
                    digest,
                    capabilities: 0,
                };
                self.outputs.push_back(Output::Answer { epoch, reply: Some(welcome) });
            }
            Err(hit) => {
                let reply = Some(self.limit_reached(now, hit));
                self.outputs.push_back(Output::Answer { epoch, reply });
                self.outputs.push_back(Output::Close { epoch });
            }
        }
    }

    fn on_request(&mut self, now: Duration, epoch: Epoch, request: Request) {
        if !self.connections.contains(&epoch) {
            return; // It was closed after it had sent the request.
        }
        let response = match request {
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
                    self.table.record_call(now, epoch, result);
                }
                Response::Nothing
            }
            Request::Bye => {
                self.stats.byes += 1;
                self.log_of(epoch, "peer left");
                self.table.bye(epoch);
                Response::Close
            }
        };
        match response {
            Response::Reply(reply) => {
                self.outputs.push_back(Output::Answer { epoch, reply: Some(reply) })
            }
            Response::Nothing => self.outputs.push_back(Output::Answer { epoch, reply: None }),
            Response::Close => self.close(epoch),
        }
    }

    fn on_report(&mut self, now: Duration, epoch: Epoch, report: Report<'_>) -> Response {
        let seq = report.seq;
        let Some(ip) = self.table.ip(epoch) else { return Response::Close };
        let watches = &mut self.watches;
        let outcome =
            self.table.report(now, epoch, report, |hash| watches.note_holder(now, hash, epoch, ip));
        match outcome {
            ReportOutcome::Accepted => {
                self.stats.reports += 1;
                self.log_report(epoch, report.entries);
                Response::Reply(CoordinatorReply::Accepted { seq })
            }
            ReportOutcome::Truncated(hit) => {
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
            ReportOutcome::UnknownConnection => Response::Close,
        }
    }

    fn on_heartbeat(&mut self, now: Duration, epoch: Epoch, digest: ReportDigest) -> Response {
        match self.table.heartbeat(now, epoch, digest) {
            HeartbeatOutcome::Renewed => {
                self.stats.renewals += 1;
                Response::Reply(CoordinatorReply::Renewed)
            }
            HeartbeatOutcome::Resync => Response::Reply(self.resync()),
            HeartbeatOutcome::Truncated(hit) => Response::Reply(self.limit_reached(now, hit)),
            HeartbeatOutcome::UnknownConnection => Response::Close,
        }
    }

    fn lookup(&mut self, epoch: Epoch, hash: FileHash) -> CoordinatorReply {
        self.stats.lookups += 1;
        self.table.asked_for(&hash, epoch);
        let handout = self.table.handout(&hash, Some(epoch), &mut self.rng);
        let SwarmSize { full, partial } = handout.swarm;
        debug!(by = self.log_name(epoch), file = %hash.short(), full, partial, "lookup");
        holders(hash, handout)
    }

    fn watch(&mut self, now: Duration, epoch: Epoch, hash: FileHash) -> CoordinatorReply {
        let Some(ip) = self.table.ip(epoch) else { return self.lookup(epoch, hash) };
        match self.watches.watch(epoch, ip, hash) {
            Ok(evicted) => {
                if let Some(loser) = evicted {
                    let reply =
                        CoordinatorReply::LimitReached { limit: Limit::WatchesPerPeer, value: 0 };
                    self.outputs.push_back(Output::Notify { epoch: loser, reply });
                }
                self.lookup(epoch, hash)
            }
            Err(hit) => self.limit_reached(now, hit),
        }
    }

    fn on_ended(&mut self, epoch: Epoch, ending: Ending) {
        self.log_of(epoch, "peer disconnected; what it has is kept until its lease ends");
        match ending {
            Ending::Lost | Ending::Dismissed => {}
            Ending::Evicted => self.stats.evicted += 1,
            // A connection that was closed for not reading ends as stuck, too: count it once.
            Ending::Stuck => self.stats.slow_peers += u64::from(self.connections.contains(&epoch)),
            Ending::Violation => self.stats.violations += 1,
            Ending::NoHello => self.stats.without_hello += 1,
        }
        self.close(epoch);
    }

    fn resync(&mut self) -> CoordinatorReply {
        self.stats.resyncs += 1;
        CoordinatorReply::Resync
    }

    fn limit_reached(&mut self, now: Duration, hit: LimitExceeded) -> CoordinatorReply {
        let LimitExceeded { limit, value } = hit;
        self.stats.limits.count(limit);
        if let Some(suppressed) = self.limit_log.due(now) {
            warn!(?limit, value, suppressed, "limit reached");
        }
        CoordinatorReply::LimitReached { limit, value }
    }

    /// The entries of its peer stay until the lease ends, unless it said bye.
    fn close(&mut self, epoch: Epoch) {
        self.watches.forget(epoch);
        self.table.disconnected(epoch);
        if self.connections.remove(&epoch) {
            self.outputs.push_back(Output::Close { epoch });
        }
    }

    fn expire(&mut self, now: Duration) {
        let entries = self.table.size().entries;
        for _ in 0..PEERS_PER_STEP {
            if entries - self.table.size().entries >= ENTRIES_PER_STEP {
                break; // Many peers expired at once: the next steps remove the others.
            }
            let Some(expired) = self.table.expire(now) else { break };
            debug!(peer = %expired.address, "lease expired, peer removed");
            self.stats.expired += 1;
            if let Some(connection) = expired.connection {
                self.close(connection);
            }
        }
    }

    fn push(&mut self, now: Duration) {
        let Some(mut push) = self.pushing.take().or_else(|| self.watches.take_due(now)) else {
            return;
        };
        let rest = push.watchers.split_off(push.watchers.len().min(PEERS_PER_STEP));
        for watcher in &push.watchers {
            self.push_to(*watcher, &push);
        }
        if !rest.is_empty() {
            self.pushing = Some(Push { watchers: rest, ..push });
        }
    }

    fn push_to(&mut self, watcher: Epoch, push: &Push) {
        // Skip a watcher that is gone, and one that is itself the only new holder.
        if !self.connections.contains(&watcher)
            || !self.table.any_holds(&push.hash, &push.fresh, watcher)
        {
            return;
        }
        let handout =
            self.table.handout_with(&push.hash, Some(watcher), &push.fresh, &mut self.rng);
        self.stats.pushes += 1;
        self.outputs.push_back(Output::Push { epoch: watcher, reply: holders(push.hash, handout) });
    }

    /// A log line for each of the first files of a report.
    fn log_report(&self, epoch: Epoch, entries: &[ReportEntry]) {
        if !enabled!(Level::DEBUG) {
            return;
        }
        let peer = self.log_name(epoch);
        for entry in entries.iter().take(ENTRIES_LOGGED) {
            let file = FileHash::from_bytes(entry.hash).short();
            debug!(peer = peer.as_ref(), %file, has = ?entry.availability, "peer reports");
        }
        if let Some(more) = entries.len().checked_sub(ENTRIES_LOGGED).filter(|more| *more > 0) {
            debug!(peer = peer.as_ref(), more, "peer reports more files");
        }
    }

    /// A log line about a peer that accepts connections; none for peers that only look up.
    fn log_of(&self, epoch: Epoch, what: &str) {
        if let Some(peer) = self.table.address(epoch).filter(|peer| peer.port() != 0) {
            debug!(%peer, "{what}");
        }
    }

    /// Name of the peer on a connection in log lines.
    fn log_name(&self, epoch: Epoch) -> Option<DisplayValue<String>> {
        let address = self.table.address(epoch)?;
        Some(field::display(if address.port() == 0 {
            address.ip().to_string()
        } else {
            address.to_string()
        }))
    }
}

/// How a request is answered.
enum Response {
    Reply(CoordinatorReply),
    Nothing,
    Close,
}

fn holders(hash: FileHash, handout: Handout) -> CoordinatorReply {
    let Handout { swarm, holders } = handout;
    CoordinatorReply::Holders {
        hash: *hash.as_bytes(),
        full: swarm.full,
        partial: swarm.partial,
        holders,
    }
}

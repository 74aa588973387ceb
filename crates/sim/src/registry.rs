//! The coordinator as the hosts meet it: the real table, and around it what the real server does with each request.
//!
//! A watch is pushed at most once in `PUSH_INTERVAL`, and only news of somebody else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use tnet_coordinator::{
    Admitted, Arrival, Beat, Epoch, Handout, Report, ReportOutcome, Scope, Sweep, Table, TableLimits,
};
use tnet_fileinfo::FileHash;
use tnet_proto::{CoordinatorReply, CoordinatorRequest, Listed, MAX_HOLDERS};

use crate::units::{HostId, Nanos, SECOND};

/// Pause between two pushes about the file.
const PUSH_INTERVAL: Nanos = SECOND;

/// What the coordinator sends to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) host: HostId,
    pub(crate) epoch: Epoch,
    pub(crate) reply: CoordinatorReply,
}

#[derive(Debug)]
pub(crate) struct Registry {
    table: Table,
    limits: TableLimits,
    hash: FileHash,
    hosts: BTreeMap<Epoch, HostId>,
    watchers: BTreeSet<Epoch>,
    fresh: Vec<Epoch>,
    quiet_until: Nanos,
    rng: StdRng,
    letters: Vec<Letter>,
    hung_up: Vec<(HostId, Epoch)>,
}

impl Registry {
    pub(crate) fn new(hash: FileHash, hosts: usize, rng: StdRng) -> Registry {
        // A world may be larger than what one server is configured for.
        let most = u32::try_from(hosts).unwrap_or(u32::MAX).saturating_mul(2);
        let limits =
            TableLimits { max_peers: most.max(TableLimits::default().max_peers), ..TableLimits::default() };
        Registry {
            table: Table::new(limits),
            limits,
            hash,
            hosts: BTreeMap::new(),
            watchers: BTreeSet::new(),
            fresh: Vec::new(),
            quiet_until: 0,
            rng,
            letters: Vec::new(),
            hung_up: Vec::new(),
        }
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// How long after its last sign of life a host is still in the table.
    pub(crate) fn lease(&self, report_interval: Nanos) -> Nanos {
        report_interval * u64::from(self.limits.lease_multiplier)
    }

    /// A new process takes over, with nothing.
    pub(crate) fn restart(&mut self) {
        self.table = Table::new(self.limits);
        self.hosts.clear();
        self.watchers.clear();
        self.fresh.clear();
        self.letters.clear();
    }

    /// What is to be sent.
    pub(crate) fn take_letters(&mut self) -> Vec<Letter> {
        std::mem::take(&mut self.letters)
    }

    /// Connections that the coordinator has closed.
    pub(crate) fn take_hung_up(&mut self) -> Vec<(HostId, Epoch)> {
        std::mem::take(&mut self.hung_up)
    }

    pub(crate) fn on_hello(&mut self, now: Nanos, host: HostId, epoch: Epoch, arrival: &Arrival) {
        let admitted = self.table.hello(Duration::from_nanos(now), epoch, arrival);
        if let Ok(Admitted { address, lease, digest }) = admitted {
            self.hosts.insert(epoch, host);
            let lease_ms = u32::try_from(lease.as_millis()).unwrap_or(u32::MAX);
            let (observed, listed) = (address, Listed::At { address });
            let welcome = CoordinatorReply::Welcome { lease_ms, observed, listed, digest, capabilities: 0 };
            self.answer(epoch, welcome);
        }
    }

    pub(crate) fn on_request(&mut self, now: Nanos, epoch: Epoch, request: &CoordinatorRequest) {
        if !self.hosts.contains_key(&epoch) {
            return;
        }
        match request {
            CoordinatorRequest::Report { seq, replace, entries } => {
                let scope = if *replace { Scope::Everything } else { Scope::Changes };
                self.on_report(now, epoch, Report { seq: *seq, scope, entries });
            }
            CoordinatorRequest::Heartbeat { digest } => {
                match self.table.heartbeat(Duration::from_nanos(now), epoch, *digest) {
                    Beat::Renewed => self.answer(epoch, CoordinatorReply::Renewed),
                    Beat::Resync => self.answer(epoch, CoordinatorReply::Resync),
                    Beat::Cut(_) | Beat::NotHeard => {}
                }
            }
            CoordinatorRequest::Lookup { .. } => self.look_up(epoch),
            CoordinatorRequest::Watch { .. } => {
                self.watchers.insert(epoch);
                self.look_up(epoch);
            }
            CoordinatorRequest::Unwatch { .. } => {
                self.watchers.remove(&epoch);
            }
            CoordinatorRequest::Calls { results } => {
                for result in results {
                    self.table.heard_of(Duration::from_nanos(now), epoch, *result);
                }
            }
            CoordinatorRequest::Bye => {
                self.table.bye(epoch);
                self.on_ended(epoch);
            }
            CoordinatorRequest::Hello { .. }
            | CoordinatorRequest::Unsupported { .. }
            | CoordinatorRequest::Extension { .. } => {}
        }
    }

    /// A connection is gone.
    pub(crate) fn on_ended(&mut self, epoch: Epoch) {
        self.hosts.remove(&epoch);
        self.watchers.remove(&epoch);
        self.table.disconnected(epoch);
    }

    fn hang_up(&mut self, epoch: Epoch) {
        if let Some(host) = self.hosts.get(&epoch) {
            self.hung_up.push((*host, epoch));
        }
        self.on_ended(epoch);
    }

    /// When to call `do_chores` next.
    pub(crate) fn next_chore(&self) -> Option<Nanos> {
        let expiry = self.table.next_expiry().map(|at| u64::try_from(at.as_nanos()).unwrap_or(Nanos::MAX));
        let push = (!self.fresh.is_empty() && !self.watchers.is_empty()).then_some(self.quiet_until);
        expiry.into_iter().chain(push).min()
    }

    pub(crate) fn do_chores(&mut self, now: Nanos) {
        while let Some(expired) = self.table.expire(Duration::from_nanos(now)) {
            if let Some(connection) = expired.connection {
                self.hang_up(connection);
            }
        }
        while self.table.sweep() == Sweep::More {}
        if now < self.quiet_until || self.fresh.is_empty() {
            return;
        }
        let fresh = std::mem::take(&mut self.fresh);
        self.quiet_until = now + PUSH_INTERVAL;
        let watchers: Vec<Epoch> = self.watchers.iter().copied().collect();
        for watcher in watchers {
            if self.table.any_holds(&self.hash, &fresh, watcher) {
                self.hand_out(watcher, &fresh);
            }
        }
    }

    fn on_report(&mut self, now: Nanos, epoch: Epoch, report: Report<'_>) {
        let seq = report.seq;
        let fresh = &mut self.fresh;
        let is_watched = !self.watchers.is_empty();
        let outcome = self.table.report(Duration::from_nanos(now), epoch, report, |_| {
            if is_watched && fresh.len() < MAX_HOLDERS && !fresh.contains(&epoch) {
                fresh.push(epoch);
            }
        });
        match outcome {
            ReportOutcome::Accepted => self.answer(epoch, CoordinatorReply::Accepted { seq }),
            ReportOutcome::Gap => self.answer(epoch, CoordinatorReply::Resync),
            ReportOutcome::Cut(_) | ReportOutcome::Repeated | ReportOutcome::NotHeard => {}
        }
    }

    fn look_up(&mut self, epoch: Epoch) {
        self.table.asked_for(&self.hash, epoch);
        self.hand_out(epoch, &[]);
    }

    fn hand_out(&mut self, epoch: Epoch, first: &[Epoch]) {
        let Handout { swarm, holders } =
            self.table.handout_with(&self.hash, Some(epoch), first, &mut self.rng);
        let hash = *self.hash.as_bytes();
        let reply = CoordinatorReply::Holders { hash, full: swarm.full, partial: swarm.partial, holders };
        self.answer(epoch, reply);
    }

    fn answer(&mut self, epoch: Epoch, reply: CoordinatorReply) {
        if let Some(host) = self.hosts.get(&epoch) {
            self.letters.push(Letter { host: *host, epoch, reply });
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use tnet_proto::{Availability, PeerId, ReportEntry};

    use super::*;

    const HASH: FileHash = FileHash::from_bytes([7; 32]);

    fn arrival(host: u8) -> Arrival {
        let report_interval = Duration::from_secs(10);
        Arrival::seen_at(([10, 0, 0, host], 7401).into(), PeerId([host; 16]), report_interval)
    }

    fn report(availability: Availability) -> CoordinatorRequest {
        let entries = vec![ReportEntry { hash: *HASH.as_bytes(), size: 1, availability }];
        CoordinatorRequest::Report { seq: 1, replace: false, entries }
    }

    fn holders(letters: &[Letter]) -> Vec<(HostId, usize)> {
        let named = letters.iter().filter_map(|letter| match &letter.reply {
            CoordinatorReply::Holders { holders, .. } => Some((letter.host, holders.len())),
            _ => None,
        });
        named.collect()
    }

    #[test]
    fn a_watcher_hears_of_new_holders_at_once_and_then_once_a_second() {
        let mut registry = Registry::new(HASH, 4, StdRng::seed_from_u64(1));
        for host in 1..=3 {
            registry.on_hello(0, u32::from(host), Epoch(u64::from(host)), &arrival(host));
        }
        registry.on_request(0, Epoch(1), &CoordinatorRequest::Watch { hash: *HASH.as_bytes() });
        assert_eq!(holders(&registry.take_letters()), [(1, 0)]);

        registry.on_request(5, Epoch(2), &report(Availability::Full));
        registry.do_chores(5);
        assert_eq!(holders(&registry.take_letters()), [(1, 1)]);

        registry.on_request(6, Epoch(3), &report(Availability::Full));
        registry.do_chores(6);
        assert_eq!(holders(&registry.take_letters()), []);
        registry.do_chores(5 + PUSH_INTERVAL);
        assert_eq!(holders(&registry.take_letters()), [(1, 2)]);
    }

    #[test]
    fn nobody_is_pushed_the_news_that_it_is_there_itself() {
        let mut registry = Registry::new(HASH, 1, StdRng::seed_from_u64(1));
        registry.on_hello(0, 1, Epoch(1), &arrival(1));
        registry.on_request(0, Epoch(1), &CoordinatorRequest::Watch { hash: *HASH.as_bytes() });
        registry.on_request(0, Epoch(1), &report(Availability::Partial));
        registry.take_letters();
        registry.do_chores(0);
        assert_eq!(holders(&registry.take_letters()), []);
    }
}

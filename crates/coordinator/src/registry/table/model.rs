//! A model of the table made of plain maps. After every step all answers agree and the table
//! recounts itself. Driven by random histories in the tests, and by a fuzzer with the feature
//! `fuzzing`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tnet_fileinfo::FileHash;
use tnet_proto::{Availability, Limit, MAX_HOLDERS, PeerId, ReportDigest, ReportEntry};

use super::*;

/// Number of different files in histories: few, so that peers share them.
pub const FILES: u8 = 6;

/// Pause before a peer whose report was truncated is asked again, once there is room.
const QUIET: Duration = Duration::from_secs(60);

/// An operation on the table.
#[derive(Debug, Clone)]
pub enum Op {
    /// A peer introduces itself.
    Hello {
        /// Last byte of its IP address.
        ip: u8,
        /// The port that it accepts connections at; 0 if none.
        port: u16,
        /// Every byte of its id.
        id: u8,
        /// Its report interval in milliseconds.
        interval_ms: u64,
        /// Its connection is older than some whose hello came earlier.
        late: bool,
    },
    /// A connection reports.
    Report {
        /// Index of one of the connections so far, modulo their number.
        connection: usize,
        /// Difference of the report's number and the last one.
        step: u64,
        /// Whether the entries replace earlier ones.
        scope: Scope,
        /// About the files `[0; 32]` to `[FILES - 1; 32]`.
        entries: Vec<ReportEntry>,
    },
    /// A connection sends a heartbeat.
    Heartbeat {
        /// Index of the connection, modulo their number.
        connection: usize,
        /// Whether it carries the digest of what it reported.
        honest: bool,
    },
    /// A peer leaves.
    Bye {
        /// Index of its connection, modulo their number.
        connection: usize,
    },
    /// A connection ends.
    Disconnect {
        /// Index of the connection, modulo their number.
        connection: usize,
    },
    /// Time passes.
    Pass {
        /// In milliseconds.
        ms: u64,
    },
    /// The entries of peers that left are removed.
    Sweep,
}

/// Identity of a returning peer: its address and its id.
type Key = (IpAddr, u16, PeerId);

/// Number of a peer in the model. Several may have the same key.
type Number = u64;

#[derive(Debug, Clone)]
struct ModelPeer {
    key: Key,
    epoch: Epoch,
    connected: bool,
    last_seq: u64,
    lease: Duration,
    lease_ends: Duration,
    entries: BTreeMap<[u8; 32], (u64, Availability)>,
    truncated_by: Option<LimitExceeded>,
    /// Until then it is not asked for the entries that were left out.
    quiet_until: Duration,
}

impl ModelPeer {
    fn note_truncation(&mut self, now: Duration, hit: LimitExceeded) {
        self.truncated_by = Some(hit);
        self.quiet_until = now + QUIET;
    }

    fn digest(&self) -> ReportDigest {
        let mut digest = ReportDigest::default();
        for (hash, (size, availability)) in &self.entries {
            digest.toggle(&ReportEntry { hash: *hash, size: *size, availability: *availability });
        }
        digest
    }
}

/// The table and its model.
#[derive(Debug)]
pub struct Rig {
    limits: TableLimits,
    table: Table,
    peers: BTreeMap<Number, ModelPeer>,
    now: Duration,
    minted: u64,
    /// Connections that were accepted and have sent no hello yet.
    unused: Vec<Epoch>,
    /// Every connection that said hello, open or not.
    connections: Vec<Epoch>,
    rng: StdRng,
}

impl Rig {
    /// Both empty.
    pub fn new(limits: TableLimits) -> Rig {
        Rig {
            limits,
            table: Table::new(limits),
            peers: BTreeMap::new(),
            now: Duration::ZERO,
            minted: 0,
            unused: Vec::new(),
            connections: Vec::new(),
            rng: StdRng::seed_from_u64(1),
        }
    }

    /// Applies the operation to both.
    ///
    /// # Panics
    /// If they differ in anything that can be asked, or the table differs from its own recount.
    pub fn step(&mut self, op: &Op) {
        match op {
            Op::Hello { ip, port, id, interval_ms, late } => {
                self.hello(*ip, *port, *id, *interval_ms, *late)
            }
            Op::Report { connection, step, scope, entries } => {
                self.report(*connection, *step, *scope, entries)
            }
            Op::Heartbeat { connection, honest } => self.heartbeat(*connection, *honest),
            Op::Bye { connection } => self.end(*connection, Table::bye, |_| false),
            Op::Disconnect { connection } => {
                self.end(*connection, Table::disconnected, |peer| !peer.entries.is_empty())
            }
            Op::Pass { ms } => self.pass(Duration::from_millis(*ms)),
            Op::Sweep => while self.table.sweep() == SweepStatus::More {},
        }
        self.compare();
    }

    fn hello(&mut self, ip: u8, port: u16, id: u8, interval_ms: u64, late: bool) {
        self.unused.push(Epoch(self.minted + 1));
        self.minted += 2;
        let epoch = if late { self.unused.remove(0) } else { Epoch(self.minted) };
        let (ip, id) = (IpAddr::V4(Ipv4Addr::new(10, 0, 0, ip)), PeerId([id; 16]));
        let interval = Duration::from_millis(interval_ms);
        let introduction = Introduction::seen_at(SocketAddr::new(ip, port), id, interval);
        let answer = self.table.hello(self.now, epoch, &introduction);

        let key: Key = (ip, port, id);
        let lease = (interval.max(Duration::from_millis(100)) * self.limits.lease_multiplier)
            .min(Duration::from_secs(120));
        let lease_ends = self.now + lease;
        let back = self.peers.iter().find(|(_, peer)| !peer.connected && peer.key == key);
        let number = back.map(|(number, _)| *number);
        if number.is_none()
            && let Some(hit) = self.no_room_for_peer(ip)
        {
            assert_eq!(answer, Err(hit));
            return;
        }
        let peer = ModelPeer {
            key,
            epoch,
            connected: true,
            last_seq: 0,
            lease,
            lease_ends,
            entries: BTreeMap::new(),
            truncated_by: None,
            quiet_until: Duration::ZERO,
        };
        let peer = match number.and_then(|number| self.peers.remove(&number)) {
            Some(known) => {
                let ModelPeer { entries, truncated_by, quiet_until, .. } = known;
                ModelPeer { entries, truncated_by, quiet_until, ..peer }
            }
            None => peer,
        };
        let observed = SocketAddr::new(ip, port);
        assert_eq!(answer, Ok(Admitted { address: observed, lease, digest: peer.digest() }));
        self.peers.insert(number.unwrap_or(epoch.0), peer);
        self.connections.push(epoch);
    }

    /// The limit that refuses a peer; `None` if there is room, or a peer without a connection was
    /// evicted for it.
    fn no_room_for_peer(&mut self, ip: IpAddr) -> Option<LimitExceeded> {
        let same_ip = self.peers.values().filter(|peer| peer.key.0 == ip).count();
        if same_ip >= self.limits.max_peers_per_ip as usize && !self.made_room(|key| key.0 == ip) {
            return Some(LimitExceeded::new(Limit::ConnectionsPerIp, self.limits.max_peers_per_ip));
        }
        if self.peers.len() >= self.limits.max_peers as usize && !self.made_room(|_| true) {
            return Some(LimitExceeded::new(Limit::ConnectionsTotal, self.limits.max_peers));
        }
        None
    }

    /// Evicts the peer that the table has evicted.
    fn made_room(&mut self, may: impl Fn(&Key) -> bool) -> bool {
        let is_gone = |peer: &ModelPeer| {
            let (ip, port, id) = peer.key;
            may(&peer.key)
                && !peer.connected
                && !self.table.away.contains_key(&PeerIdentity::new(
                    ip,
                    Some(SocketAddr::new(ip, port)),
                    id,
                ))
        };
        let gone = self.peers.iter().find(|(_, peer)| is_gone(peer)).map(|(number, _)| *number);
        gone.is_some_and(|number| self.peers.remove(&number).is_some())
    }

    fn report(&mut self, connection: usize, step: u64, scope: Scope, entries: &[ReportEntry]) {
        let Some(epoch) = self.pick(connection) else { return };
        let key = self.speaker(epoch);
        let seq = key.map_or(1, |key| self.peers[&key].last_seq) + step;
        let mut appeared = Vec::new();
        let report = Report { seq, scope, entries };
        let outcome = self.table.report(self.now, epoch, report, |hash| appeared.push(hash));

        let mut expected = Vec::new();
        let expected_outcome = match key {
            None => ReportOutcome::UnknownConnection,
            Some(_) if step == 0 => ReportOutcome::Repeated,
            Some(_) if step > 1 && scope == Scope::Changes => ReportOutcome::Gap,
            Some(key) => self.model_report(key, seq, scope, entries, &mut expected),
        };
        assert_eq!(outcome, expected_outcome);
        assert_eq!(appeared, expected);
    }

    fn model_report(
        &mut self,
        key: Number,
        seq: u64,
        scope: Scope,
        entries: &[ReportEntry],
        appeared: &mut Vec<FileHash>,
    ) -> ReportOutcome {
        let now = self.now;
        let peer = self.peers.get_mut(&key).expect("the speaker exists");
        peer.last_seq = seq;
        peer.lease_ends = now + peer.lease;
        if scope == Scope::Everything {
            peer.entries.clear();
            peer.truncated_by = None;
        }
        let mut outcome = ReportOutcome::Accepted;
        for entry in entries {
            let held = self.peers[&key].entries.contains_key(&entry.hash);
            if entry.availability != Availability::None && !held {
                if let Some(hit) = self.full(key) {
                    outcome = ReportOutcome::Truncated(hit);
                    continue;
                }
                if self.peers[&key].key.1 != 0 {
                    appeared.push(FileHash::from_bytes(entry.hash));
                }
            }
            let peer = self.peers.get_mut(&key).expect("the speaker exists");
            match entry.availability {
                Availability::None => peer.entries.remove(&entry.hash),
                held => peer.entries.insert(entry.hash, (entry.size, held)),
            };
        }
        if let ReportOutcome::Truncated(hit) = outcome {
            self.peers.get_mut(&key).expect("the speaker exists").note_truncation(now, hit);
        }
        outcome
    }

    /// The limit that keeps this peer from one more entry.
    fn full(&self, key: Number) -> Option<LimitExceeded> {
        let count = |keep: &dyn Fn(&Key) -> bool| -> usize {
            self.peers.values().filter(|peer| keep(&peer.key)).map(|peer| peer.entries.len()).sum()
        };
        if self.peers[&key].entries.len() >= self.limits.max_entries_per_peer as usize {
            Some(LimitExceeded::new(Limit::EntriesPerPeer, self.limits.max_entries_per_peer))
        } else if count(&|other| other.0 == self.peers[&key].key.0)
            >= self.limits.max_entries_per_ip as usize
        {
            Some(LimitExceeded::new(Limit::EntriesPerPeer, self.limits.max_entries_per_ip))
        } else if count(&|_| true) >= self.limits.max_entries as usize {
            Some(LimitExceeded::new(Limit::EntriesTotal, self.limits.max_entries))
        } else {
            None
        }
    }

    fn heartbeat(&mut self, connection: usize, honest: bool) {
        let Some(epoch) = self.pick(connection) else { return };
        let now = self.now;
        let Some(key) = self.speaker(epoch) else {
            assert_eq!(
                self.table.heartbeat(now, epoch, ReportDigest::default()),
                HeartbeatOutcome::UnknownConnection
            );
            return;
        };
        let is_full = self.full(key).is_some();
        let peer = self.peers.get_mut(&key).expect("the speaker exists");
        let mut digest = peer.digest();
        if !honest {
            digest.toggle(&ReportEntry {
                hash: [200; 32],
                size: 1,
                availability: Availability::Full,
            });
        }
        let expected = match (honest, peer.truncated_by) {
            (true, _) => HeartbeatOutcome::Renewed,
            (false, Some(hit)) if is_full || peer.quiet_until > now => {
                HeartbeatOutcome::Truncated(hit)
            }
            (false, _) => HeartbeatOutcome::Resync,
        };
        let truncated_by = peer.truncated_by;
        if honest || truncated_by.is_some() {
            peer.lease_ends = now + peer.lease;
        }
        match truncated_by {
            _ if honest => peer.truncated_by = None,
            Some(hit) if expected == HeartbeatOutcome::Resync => peer.note_truncation(now, hit),
            _ => {}
        }
        assert_eq!(self.table.heartbeat(now, epoch, digest), expected);
    }

    fn end(
        &mut self,
        connection: usize,
        act: impl Fn(&mut Table, Epoch),
        stays: impl Fn(&ModelPeer) -> bool,
    ) {
        let Some(epoch) = self.pick(connection) else { return };
        act(&mut self.table, epoch);
        let Some(key) = self.speaker(epoch) else { return };
        let peer = self.peers.get_mut(&key).expect("the speaker exists");
        peer.connected = false;
        if !stays(peer) {
            self.peers.remove(&key);
            return;
        }
        // Of two peers without a connection that have the same key, the later one stays.
        let same = peer.key;
        self.peers.retain(|number, other| *number == key || other.connected || other.key != same);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        let mut expired = Vec::new();
        while let Some(Expired { address, connection }) = self.table.expire(self.now) {
            expired.push((address, connection));
        }
        let now = self.now;
        let over: Vec<Number> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.lease_ends <= now)
            .map(|(key, _)| *key)
            .collect();
        let mut expected = Vec::new();
        for key in over {
            let peer = self.peers.remove(&key).expect("just found");
            let address = SocketAddr::new(peer.key.0, peer.key.1);
            expected.push((address, peer.connected.then_some(peer.epoch)));
        }
        expired.sort_unstable();
        expected.sort_unstable();
        assert_eq!(expired, expected);
        assert!(self.table.next_expiry().is_none_or(|next| next > now), "what is due was taken");
    }

    fn pick(&self, connection: usize) -> Option<Epoch> {
        let count = self.connections.len();
        (count > 0).then(|| self.connections[connection % count])
    }

    fn speaker(&self, epoch: Epoch) -> Option<Number> {
        self.peers
            .iter()
            .find(|(_, peer)| peer.epoch == epoch && peer.connected)
            .map(|(key, _)| *key)
    }

    fn compare(&mut self) {
        self.table.check();
        assert_eq!(self.table.size().peers as usize, self.peers.len());
        let asker = self.connections.last().copied();
        for file in 0..FILES {
            let hash = FileHash::from_bytes([file; 32]);
            let holds = |peer: &ModelPeer| {
                peer.entries.get(&[file; 32]).map(|(_, availability)| *availability)
            };
            let all: Vec<(Key, Availability)> =
                self.peers.values().filter_map(|peer| Some((peer.key, holds(peer)?))).collect();
            let listed: BTreeSet<(SocketAddr, Availability)> = all
                .iter()
                .filter(|(key, _)| key.1 != 0)
                .map(|(key, availability)| (SocketAddr::new(key.0, key.1), *availability))
                .collect();
            let addresses: BTreeSet<SocketAddr> =
                listed.iter().map(|(address, _)| *address).collect();
            assert_eq!(self.table.listed_holders(&hash), addresses);

            if !self.table.has_leftovers() {
                let count = |wanted| {
                    u32::try_from(all.iter().filter(|(_, held)| *held == wanted).count())
                        .expect("few peers")
                };
                let swarm = SwarmSize {
                    full: count(Availability::Full),
                    partial: count(Availability::Partial),
                };
                assert_eq!(self.table.swarm(&hash), (!all.is_empty()).then_some(swarm));
            }
            let latest = self.connections.len().saturating_sub(MAX_HOLDERS * usize::from(file % 2));
            let first = &self.connections[latest..];
            let handout = self.table.handout_with(&hash, asker, first, &mut self.rng);
            let named: BTreeMap<SocketAddr, Availability> = handout
                .holders
                .iter()
                .map(|holder| (holder.address, holder.availability))
                .collect();
            assert_eq!(named.len(), handout.holders.len(), "no peer is named twice");
            let speaker = asker.and_then(|epoch| self.speaker(epoch));
            let own = speaker
                .map(|number| self.peers[&number].key)
                .map(|(ip, port, _)| SocketAddr::new(ip, port));
            if !self.table.has_leftovers() {
                let is_beside = |number: &u64, peer: &ModelPeer| {
                    Some(*number) != speaker
                        && peer.key.1 != 0
                        && own == Some(SocketAddr::new(peer.key.0, peer.key.1))
                };
                let others = self.peers.iter().filter(|(number, peer)| !is_beside(number, peer));
                let holdings = others.filter_map(|(_, peer)| holds(peer)).collect::<Vec<_>>();
                let count = |wanted| holdings.iter().filter(|held| **held == wanted).count();
                let full_and_partial = (count(Availability::Full), count(Availability::Partial));
                let swarm = handout.swarm;
                assert_eq!((swarm.full as usize, swarm.partial as usize), full_and_partial);
            }
            let mut expected = addresses;
            own.map(|own| expected.remove(&own));
            assert!(expected.len() <= MAX_HOLDERS, "few enough peers for all to be named");
            assert_eq!(named.keys().copied().collect::<BTreeSet<_>>(), expected);
            assert!(
                named.into_iter().all(|holder| listed.contains(&holder)),
                "as one of them has said"
            );
        }
    }
}

#[cfg(test)]
mod tests;

//! What is remembered of each source: chunks under way at its connections that have not proven
//! themselves, and what they did wrong. A connection costs nothing, and neither does an identity or
//! a port; an address does.
//!
//! A host is an address. For IPv6 its /64 has a record too: one machine may own all of it, and yet
//! all honest hosts of a LAN may share it. So a network that offended is probed less, and never as
//! little as a host that did.
//!
//! Invariant: a record is kept while a connection of its source is open or something is held
//! against it. Of those without a connection at most [`MAX_GONE`] are kept, and the one that is
//! forgiven first is the first to go.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use tnet_proto::{FileKey, Time};

use crate::rank::SourceNetwork;

/// Sources without a connection that are remembered for what they did: a few hundred KiB.
const MAX_GONE: usize = 1024;

/// A pause after the first offence; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// Addresses named by one host where no peer is, and by one network, before the source is not
/// listened to for `DEAF`.
const FALSE_NAMES: u32 = 8;
const FALSE_NAMES_OF_NETWORK: u32 = 32;
const DEAF: Duration = Duration::from_secs(120);

/// Files remembered of one source for what it took of them.
const MAX_FREE_RIDES: usize = 16;

/// Hosts remembered at which one source has named a peer that was there.
const MAX_GOOD_NAMES: usize = 32;

/// A chunk may be wrong by chance: from so many on there is no chance.
const CORRUPT_TO_REST: u32 = 2;

/// After a corrupt chunk, no unproven connection of its source is asked for this long, even if
/// there is no other source; after that, one at a time. Each corrupt chunk wastes the bandwidth of
/// one chunk. Doubled with each further one.
const FIRST_REST: Duration = Duration::from_secs(8);
const LONGEST_REST: Duration = Duration::from_secs(32);
const REST_OF_NETWORK: Duration = Duration::from_secs(1);

/// An offence counts no more after so long, one after the other.
const FORGIVEN_AFTER: Duration = Duration::from_secs(300);

/// Verified chunks of a source that make up for one offence: what is wasted on it stays below two
/// per cent.
const MAKE_UP: u32 = 64;

/// Stalls of one source within this time count once: what was under way together fails together.
const ONCE: Duration = Duration::from_secs(1);

/// Offences that are counted.
const MAX_LEVEL: u32 = 12;

/// How far a connection is trusted with a request. Exhaustive: each has its own limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// It sent a chunk that verified, and has not failed since.
    Proven,
    /// It has sent nothing yet that verified, or failed after that.
    Unproven,
    /// It keeps us waiting.
    Late,
    /// It sent too little for a whole window, and is not asked for a while.
    Stalled,
}

/// What a source did with a chunk that it was asked for. Exhaustive: each has its own weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offence {
    /// It did not send it in time.
    Stall,
    /// It sent other bytes, or only a part of it before it went.
    Corrupt,
}

impl Offence {
    /// How much it counts.
    fn weight(self) -> u32 {
        match self {
            Offence::Stall => 1,
            // A corrupt chunk costs a whole chunk of bandwidth, a stall a slot.
            Offence::Corrupt => 2,
        }
    }

    /// The longest pause of a host.
    fn pause_at_most(self) -> Duration {
        match self {
            Offence::Stall => Duration::from_secs(30),
            Offence::Corrupt => Duration::from_secs(600),
        }
    }
}

/// What connections that have not proven themselves may be asked for while others compete.
/// Exhaustive: the caller acts on each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceState {
    /// Nothing is known against their source.
    Clean,
    /// One chunk at a time, all of the source together.
    Suspect,
    /// Nothing for now.
    Paused,
}

/// Which record of an address: its own or that of its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Host(IpAddr),
    Network(SourceNetwork),
}

impl Key {
    fn false_names_at_most(self) -> u32 {
        match self {
            Key::Host(_) => FALSE_NAMES,
            Key::Network(_) => FALSE_NAMES_OF_NETWORK,
        }
    }

    fn rest(self, corrupt: u32) -> Duration {
        match self {
            Key::Host(_) => {
                let doubled = corrupt.saturating_sub(CORRUPT_TO_REST).min(16);
                FIRST_REST.saturating_mul(1 << doubled).min(LONGEST_REST)
            }
            Key::Network(_) => REST_OF_NETWORK,
        }
    }

    /// The longest pause. Of a network only between probes: others may share it.
    fn pause_at_most(self, offence: Offence) -> Duration {
        match self {
            Key::Host(_) => offence.pause_at_most(),
            Key::Network(_) => Duration::from_secs(2),
        }
    }
}

/// The records of an address.
fn keys(ip: IpAddr) -> impl Iterator<Item = Key> {
    let ip = ip.to_canonical();
    let network = ip.is_ipv6().then(|| Key::Network(SourceNetwork::of(ip)));
    std::iter::once(Key::Host(ip)).chain(network)
}

#[derive(Debug, Default)]
struct Record {
    connections: u32,
    /// Chunks under way at connections that have not proven themselves.
    probes: u32,
    /// It was asked for a chunk.
    was_asked: bool,
    /// Connections that have not proven themselves and keep us waiting, and the chunks under way
    /// there.
    late: u32,
    late_chunks: u32,
    /// Weights of offences that are not forgiven.
    level: u32,
    last_offence: Option<Time>,
    paused_until: Time,
    /// Corrupt chunks since it was last forgiven, and when the rest after the last one is over.
    corrupt: u32,
    rests_until: Time,
    /// Verified chunks since the last offence was made up for.
    verified: u32,
    /// Addresses that it named where no peer was, less hosts at which one was.
    false_names: u32,
    /// Hosts at which it named a peer that was there. Of a network nothing is kept here.
    good_names: BTreeSet<IpAddr>,
    last_false_name: Time,
    /// What it says of others is not listened to before this moment.
    deaf_until: Time,
    /// Chunks of files that former connections of the host took and did not announce, and when the
    /// last of them ended.
    free_rides: BTreeMap<FileKey, (u32, Time)>,
}

impl Record {
    /// The level at this moment, and the offences that have run out are forgotten.
    fn level_at(&self, now: Time) -> u32 {
        let Some(last) = self.last_offence else { return 0 };
        let forgiven = (now - last).as_secs() / FORGIVEN_AFTER.as_secs();
        self.level.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX))
    }

    fn state(&self, now: Time) -> SourceState {
        match () {
            () if now < self.paused_until => SourceState::Paused,
            () if self.late > 0 || self.level_at(now) > 0 => SourceState::Suspect,
            () => SourceState::Clean,
        }
    }

    /// When nothing is held against it any more.
    fn forgiven_at(&self) -> Time {
        let last = self.last_offence.map_or(Time::ZERO, |last| last + FORGIVEN_AFTER * self.level);
        let named =
            if self.false_names > 0 { self.last_false_name + FORGIVEN_AFTER } else { Time::ZERO };
        let free_ridden = self
            .free_rides
            .values()
            .map(|(_, last)| *last + FORGIVEN_AFTER)
            .max()
            .unwrap_or(Time::ZERO);
        last.max(self.paused_until).max(self.deaf_until).max(named).max(free_ridden)
    }
}

/// The records of all sources.
#[derive(Debug, Default)]
pub struct Sources {
    records: BTreeMap<Key, Record>,
    /// Records without a connection.
    gone: usize,
}

impl Sources {
    /// A connection with this address has begun.
    pub fn connected(&mut self, ip: IpAddr) {
        for key in keys(ip) {
            let known = self.records.contains_key(&key);
            let record = self.records.entry(key).or_default();
            self.gone -= usize::from(known && record.connections == 0);
            record.connections += 1;
        }
    }

    /// A connection with this address has ended.
    pub fn disconnected(&mut self, now: Time, ip: IpAddr) {
        for key in keys(ip) {
            let Some(record) = self.records.get_mut(&key) else { continue };
            record.connections -= 1;
            if record.connections > 0 {
                continue;
            }
            debug_assert_eq!((record.probes, record.late), (0, 0), "{key:?} is gone");
            if record.forgiven_at() <= now {
                self.records.remove(&key);
            } else {
                self.gone += 1;
                self.keep_within_bounds();
            }
        }
    }

    /// Forgets the source without a connection that is forgiven first, if there are too many.
    fn keep_within_bounds(&mut self) {
        if self.gone <= MAX_GONE {
            return;
        }
        let gone = self.records.iter().filter(|(_, record)| record.connections == 0);
        // Half of them at once: each is looked at for every half of them that came.
        let mut by_time: Vec<(Time, Key)> =
            gone.map(|(key, record)| (record.forgiven_at(), *key)).collect();
        by_time.sort_unstable();
        for (_, key) in by_time.iter().take(self.gone.div_ceil(2)) {
            self.records.remove(key);
        }
        self.gone -= self.gone.div_ceil(2);
    }

    /// A connection with this trust has so many requests more.
    pub fn asked(&mut self, ip: IpAddr, trust: Trust, chunks: u32) {
        if trust != Trust::Proven && chunks > 0 {
            self.of_connected(ip, |record| {
                record.probes += chunks;
                record.late_chunks += if trust == Trust::Late { chunks } else { 0 };
                record.was_asked = true;
            });
        }
    }

    /// A connection with this trust has so many requests less.
    pub fn unasked(&mut self, ip: IpAddr, trust: Trust, chunks: u32) {
        if trust != Trust::Proven && chunks > 0 {
            self.of_connected(ip, |record| {
                record.probes -= chunks;
                record.late_chunks -= if trust == Trust::Late { chunks } else { 0 };
            });
        }
    }

    /// One of these connections keeps us waiting, or does not any more.
    pub fn set_late(&mut self, ip: IpAddr, is_late: bool) {
        self.of_connected(ip, |record| match is_late {
            true => record.late += 1,
            false => record.late -= 1,
        });
    }

    fn of_connected(&mut self, ip: IpAddr, mut change: impl FnMut(&mut Record)) {
        for key in keys(ip) {
            if let Some(record) = self.records.get_mut(&key) {
                change(record);
            }
        }
    }

    /// The source did what it should not have done, maybe over a connection that is gone by now.
    pub fn offend(&mut self, now: Time, ip: IpAddr, offence: Offence) {
        for key in keys(ip) {
            if !self.records.contains_key(&key) {
                self.gone += 1;
            }
            let record = self.records.entry(key).or_default();
            if record.level_at(now) == 0 {
                record.corrupt = 0;
            }
            if offence == Offence::Corrupt {
                record.corrupt = record.corrupt.saturating_add(1);
                if record.corrupt >= CORRUPT_TO_REST {
                    record.rests_until = now + key.rest(record.corrupt);
                }
            }
            let is_recent = record.last_offence.is_some_and(|last| now < last + ONCE);
            if offence == Offence::Stall && is_recent && record.level > 0 {
                continue;
            }
            record.level = (record.level_at(now) + offence.weight()).min(MAX_LEVEL);
            record.last_offence = Some(now);
            record.verified = 0;
            let pause = FIRST_PAUSE.saturating_mul(1 << record.level.min(16)) / 2;
            record.paused_until =
                record.paused_until.max(now + pause.min(key.pause_at_most(offence)));
        }
        self.keep_within_bounds();
    }

    /// The source sent a chunk that verified.
    pub fn verified(&mut self, ip: IpAddr) {
        self.of_connected(ip, |record| {
            if record.level > 0 {
                record.verified += 1;
                if record.verified >= MAKE_UP {
                    record.verified = 0;
                    record.level -= 1;
                }
            }
        });
    }

    /// Whether the source sent corrupt chunks and is not asked for now, even if there is no other.
    pub fn is_resting(&self, now: Time, ip: IpAddr) -> bool {
        keys(ip).filter_map(|key| self.records.get(&key)).any(|record| {
            let rests = now < record.rests_until || record.probes > 0;
            record.corrupt >= CORRUPT_TO_REST && rests && record.level_at(now) > 0
        })
    }

    /// Whether a corrupt chunk of the host is not forgiven yet.
    pub fn has_sent_corrupt(&self, now: Time, ip: IpAddr) -> bool {
        let record = self.records.get(&Key::Host(ip.to_canonical()));
        record.is_some_and(|record| record.corrupt > 0 && record.level_at(now) > 0)
    }

    /// Chunks under way at the host's connections that have not proven themselves: all, and those
    /// that keep us waiting.
    pub fn probes_of_host(&self, ip: IpAddr) -> (u32, u32) {
        let record = self.records.get(&Key::Host(ip.to_canonical()));
        record.map_or((0, 0), |record| (record.probes, record.late_chunks))
    }

    /// When the next rest of a source is over, be it one that is gone and may come back.
    pub fn next_rest(&self, now: Time) -> Option<Time> {
        self.records.values().map(|record| record.rests_until).filter(|until| now < *until).min()
    }

    /// An address that the source named came to nothing. Answers whether it, or its network, has
    /// lost the right to name any.
    pub fn named_falsely(&mut self, now: Time, ip: IpAddr) -> bool {
        let mut is_deaf = false;
        for key in keys(ip) {
            self.gone += usize::from(!self.records.contains_key(&key));
            let record = self.records.entry(key).or_default();
            if now >= record.last_false_name + FORGIVEN_AFTER {
                record.false_names = 0;
                record.good_names.clear();
            }
            record.false_names += 1;
            record.last_false_name = now;
            if record.false_names >= key.false_names_at_most() {
                // Half of it stays on its account: the next time it takes less.
                record.false_names /= 2;
                record.deaf_until = now + DEAF;
                is_deaf = true;
            }
        }
        self.keep_within_bounds();
        is_deaf
    }

    /// There was a peer at this host, as the source said. That makes up for one false name, and no
    /// other peer of that host does: else its own ports would buy it as many of others.
    pub fn named_well(&mut self, ip: IpAddr, host: IpAddr) {
        let mut keys = keys(ip);
        let Some(record) = keys.next().and_then(|key| self.records.get_mut(&key)) else { return };
        let host = host.to_canonical();
        if record.good_names.len() >= MAX_GOOD_NAMES || !record.good_names.insert(host) {
            return;
        }
        record.false_names = record.false_names.saturating_sub(1);
        if let Some(record) = keys.next().and_then(|key| self.records.get_mut(&key)) {
            record.false_names = record.false_names.saturating_sub(1);
        }
    }

    /// Whether what the source says of others is listened to. A host that has named a peer that
    /// was there does not answer for its network.
    pub fn may_name(&self, now: Time, ip: IpAddr) -> bool {
        let is_heard = |record: &Record| now >= record.deaf_until;
        let mut records = keys(ip).map(|key| self.records.get(&key));
        let host = records.next().flatten();
        let network = records.next().flatten();
        host.is_none_or(is_heard)
            && (network.is_none_or(is_heard)
                || host.is_some_and(|host| !host.good_names.is_empty()))
    }

    /// A connection of this host has ended that took so many chunks without announcing them.
    pub fn note_free_rides(&mut self, now: Time, ip: IpAddr, file: FileKey, chunks: u32) {
        let Some(record) =
            self.records.get_mut(&Key::Host(ip.to_canonical())).filter(|_| chunks > 0)
        else {
            return;
        };
        record.free_rides.retain(|_, (_, last)| now < *last + FORGIVEN_AFTER);
        if record.free_rides.len() >= MAX_FREE_RIDES && !record.free_rides.contains_key(&file) {
            let oldest =
                record.free_rides.iter().min_by_key(|(_, (_, last))| *last).map(|(file, _)| *file);
            oldest.and_then(|oldest| record.free_rides.remove(&oldest));
        }
        let (taken, last) = record.free_rides.entry(file).or_insert((0, now));
        (*taken, *last) = (taken.saturating_add(chunks), now);
    }

    /// Chunks of the file that former connections of this host took without announcing them.
    pub fn free_rides(&self, now: Time, ip: IpAddr, file: FileKey) -> u32 {
        let record = self.records.get(&Key::Host(ip.to_canonical()));
        let free_rides = record.and_then(|record| record.free_rides.get(&file));
        free_rides.filter(|(_, last)| now < *last + FORGIVEN_AFTER).map_or(0, |(taken, _)| *taken)
    }

    /// Whether a connection of this host that had not proven itself was asked for a chunk.
    pub fn was_asked(&self, ip: IpAddr) -> bool {
        self.records.get(&Key::Host(ip.to_canonical())).is_some_and(|record| record.was_asked)
    }

    /// Connections of this host that keep us waiting.
    pub fn late(&self, ip: IpAddr) -> u32 {
        self.records.get(&Key::Host(ip.to_canonical())).map_or(0, |record| record.late)
    }

    /// What a source's host may be asked for, and what its network.
    pub fn state(&self, now: Time, ip: IpAddr) -> (SourceState, SourceState) {
        let of = |key: Key| {
            self.records.get(&key).map_or(SourceState::Clean, |record| record.state(now))
        };
        let mut keys = keys(ip).map(of);
        let host = keys.next().unwrap_or(SourceState::Clean);
        (host, keys.next().unwrap_or(SourceState::Clean))
    }

    /// Chunks under way at what has not proven itself: of the host, and of its network.
    pub fn probes(&self, ip: IpAddr) -> (u32, u32) {
        let of = |key: Key| self.records.get(&key).map_or(0, |record| record.probes);
        let mut keys = keys(ip).map(of);
        (keys.next().unwrap_or(0), keys.next().unwrap_or(0))
    }

    /// Panics unless the counts are those of the connections given: their addresses, what is under
    /// way at them while they have not proven themselves, and whether they are late.
    #[cfg(any(test, feature = "check"))]
    pub fn check(&self, connections: impl Iterator<Item = (IpAddr, u32, bool)>) {
        let mut counted: BTreeMap<Key, (u32, u32, u32, u32)> = BTreeMap::new();
        for (ip, probes, is_late) in connections {
            for key in keys(ip) {
                let count = counted.entry(key).or_default();
                let late = if is_late { probes } else { 0 };
                *count =
                    (count.0 + 1, count.1 + probes, count.2 + u32::from(is_late), count.3 + late);
            }
        }
        for (key, record) in &self.records {
            let expected = counted.remove(key).unwrap_or_default();
            let counts = (record.connections, record.probes, record.late, record.late_chunks);
            assert_eq!(counts, expected, "{key:?}");
        }
        assert!(counted.is_empty(), "no record of {counted:?}");
        assert_eq!(
            self.gone,
            self.records.values().filter(|record| record.connections == 0).count()
        );
        assert!(self.gone <= MAX_GONE, "{} sources without a connection", self.gone);
    }
}

#[cfg(test)]
mod tests;

//! Which addresses may be called for which file, and which to dismiss first. What it says is what a scan of all
//! entries would say.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use tnet_proto::{SourceCounts, SourceRank};

use super::{Contact, Entry, NamedBy};
use crate::io::FileKey;
use crate::time::Time;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    by_file: BTreeMap<FileKey, OfFile>,
    /// Those that may be dismissed, the least valuable first.
    disposable: BTreeSet<(Worth, SocketAddr)>,
    /// Those that are avoided for a time, the first to be forgiven first.
    avoided: BTreeSet<(Time, SocketAddr)>,
    calling: usize,
    /// By host.
    at: BTreeMap<IpAddr, AtHost>,
    /// Claims, by who made them.
    claims: SourceCounts,
}

/// What there is at one host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct AtHost {
    pub(super) calling: u32,
    pub(super) connected: u32,
    /// Claims that came to nothing.
    pub(super) failed_claims: u32,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct OfFile {
    known: BTreeSet<SocketAddr>,
    callable: BTreeSet<(Time, SocketAddr)>,
    calling: usize,
}

/// What would be lost with an address. Ordered from the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Worth {
    is_named: bool,
    named_by: NamedBy,
    failures: Reverse<u32>,
}

impl Index {
    pub(super) fn insert(&mut self, address: SocketAddr, entry: &Entry) {
        self.calling += usize::from(entry.contact == Contact::Calling);
        self.count_at(address, entry, |count, more| *count += more);
        if let Some(namer) = entry.claimed_by() {
            self.claims.add(namer, 1);
        }
        if let Contact::Idle { .. } = entry.contact {
            self.disposable.insert((Worth::of(entry), address));
        }
        if let Contact::Avoided { until, .. } = entry.contact {
            self.avoided.insert((until, address));
        }
        for file in &entry.files {
            self.link(address, *file, entry);
        }
    }

    /// The entry, which is in the index, belongs to one more file.
    pub(super) fn link(&mut self, address: SocketAddr, file: FileKey, entry: &Entry) {
        let of_file = self.by_file.entry(file).or_default();
        of_file.known.insert(address);
        of_file.calling += usize::from(entry.contact == Contact::Calling);
        of_file.callable.extend(callable_from(entry).map(|from| (from, address)));
    }

    /// Undoes a link.
    pub(super) fn unlink(&mut self, address: SocketAddr, file: FileKey, entry: &Entry) {
        let of_file = self.by_file.get_mut(&file).expect("linked before");
        of_file.known.remove(&address);
        of_file.calling -= usize::from(entry.contact == Contact::Calling);
        if let Some(from) = callable_from(entry) {
            of_file.callable.remove(&(from, address));
        }
        if of_file.known.is_empty() {
            self.by_file.remove(&file);
        }
    }

    /// The entry, which is in the index, was worth this before it was changed.
    pub(super) fn reweigh(&mut self, address: SocketAddr, before: Worth, entry: &Entry) {
        let worth = Worth::of(entry);
        if worth != before && self.disposable.remove(&(before, address)) {
            self.disposable.insert((worth, address));
        }
    }

    /// Undoes an insert of the same entry.
    pub(super) fn remove(&mut self, address: SocketAddr, entry: &Entry) {
        self.calling -= usize::from(entry.contact == Contact::Calling);
        self.count_at(address, entry, |count, less| *count -= less);
        if let Some(namer) = entry.claimed_by() {
            self.claims.remove(namer, 1);
        }
        self.disposable.remove(&(Worth::of(entry), address));
        if let Contact::Avoided { until, .. } = entry.contact {
            self.avoided.remove(&(until, address));
        }
        for file in &entry.files {
            self.unlink(address, *file, entry);
        }
    }

    fn count_at(&mut self, address: SocketAddr, entry: &Entry, change: impl Fn(&mut u32, u32)) {
        let ip = address.ip().to_canonical();
        let at = self.at.entry(ip).or_default();
        change(&mut at.calling, (entry.contact == Contact::Calling).into());
        let is_connected = matches!(entry.contact, Contact::Connected(_) | Contact::Claimed { .. });
        change(&mut at.connected, is_connected.into());
        change(&mut at.failed_claims, (entry.claimed_by().is_some() && entry.failures > 0).into());
        if *at == AtHost::default() {
            self.at.remove(&ip);
        }
    }

    pub(super) fn at(&self, ip: IpAddr) -> AtHost {
        self.at.get(&ip.to_canonical()).copied().unwrap_or_default()
    }

    /// How many claims the source has made that are not yet known to be true.
    pub(super) fn claims_by(&self, namer: IpAddr) -> SourceRank {
        self.claims.rank(namer)
    }

    pub(super) fn known_addresses(&self, file: FileKey) -> Vec<SocketAddr> {
        self.by_file.get(&file).map(|of_file| of_file.known.iter().copied().collect()).unwrap_or_default()
    }

    pub(super) fn known(&self, file: FileKey) -> usize {
        self.by_file.get(&file).map_or(0, |of_file| of_file.known.len())
    }

    pub(super) fn calling_for(&self, file: FileKey) -> usize {
        self.by_file.get(&file).map_or(0, |of_file| of_file.calling)
    }

    pub(super) fn calling(&self) -> usize {
        self.calling
    }

    pub(super) fn callable(&self, file: FileKey, now: Time) -> impl Iterator<Item = SocketAddr> + '_ {
        let callable = self.by_file.get(&file).into_iter().flat_map(|of_file| of_file.callable.iter());
        callable.take_while(move |(from, _)| *from <= now).map(|(_, address)| *address)
    }

    pub(super) fn next_callable(&self, file: FileKey) -> Option<Time> {
        self.by_file.get(&file)?.callable.first().map(|(from, _)| *from)
    }

    pub(super) fn least_worth(&self) -> Option<(Worth, SocketAddr)> {
        self.disposable.first().copied()
    }

    pub(super) fn avoided(&self) -> usize {
        self.avoided.len()
    }

    pub(super) fn soonest_forgiven(&self) -> Option<SocketAddr> {
        self.avoided.first().map(|(_, address)| *address)
    }
}

impl Worth {
    pub(super) fn of(entry: &Entry) -> Worth {
        let is_named = !entry.files.is_empty();
        Worth { is_named, named_by: entry.named_by, failures: Reverse(entry.failures) }
    }

    /// Whether to dismiss it for an address that was just named.
    pub(super) fn is_less_than_a_new_one(self, newcomer: NamedBy) -> bool {
        !self.is_named || self.failures.0 > 0 || self.named_by < newcomer
    }
}

fn callable_from(entry: &Entry) -> Option<Time> {
    match entry.contact {
        Contact::Idle { not_before } => Some(not_before),
        Contact::Avoided { until, .. } => Some(until),
        Contact::Claimed { not_before, .. } => Some(not_before),
        Contact::Calling | Contact::Connected(_) => None,
    }
}

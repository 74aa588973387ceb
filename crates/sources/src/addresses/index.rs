//! An index of the address book: which addresses may be called for which file, and which to dismiss
//! first. It says what a scan of all entries would say.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use tnet_proto::{FileKey, Time};

use super::entry::{Contact, Entry, NamedBy};
use crate::rank::{SourceCounts, SourceRank};

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
    /// Hearsay, by the source that named it.
    hearsay: SourceCounts,
    /// Hearsay that came to nothing, by host and by the source that named it.
    failed: BTreeMap<IpAddr, SourceCounts>,
}

/// What there is at one host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct AtHost {
    pub(super) calling: u32,
    pub(super) connected: u32,
    /// Addresses that are proven.
    pub(super) proven: u32,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct OfFile {
    known: BTreeSet<SocketAddr>,
    callable: BTreeSet<(Time, SocketAddr)>,
    calling: usize,
    unproven: usize,
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
        if let Some(namer) = entry.hearsay_of() {
            self.hearsay.add(namer, 1);
            if entry.failures > 0 {
                self.failed.entry(host(address)).or_default().add(namer, 1);
            }
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
        of_file.unproven += usize::from(entry.is_unproven());
        of_file.callable.extend(callable_from(entry).map(|from| (from, address)));
    }

    /// Undoes a link.
    pub(super) fn unlink(&mut self, address: SocketAddr, file: FileKey, entry: &Entry) {
        let of_file = self.by_file.get_mut(&file).expect("linked before");
        of_file.known.remove(&address);
        of_file.calling -= usize::from(entry.contact == Contact::Calling);
        of_file.unproven -= usize::from(entry.is_unproven());
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
        if let Some(namer) = entry.hearsay_of() {
            self.hearsay.remove(namer, 1);
            if entry.failures > 0 {
                let failed =
                    self.failed.get_mut(&host(address)).expect("added when it was inserted");
                failed.remove(namer, 1);
                if failed.total() == 0 {
                    self.failed.remove(&host(address));
                }
            }
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
        let at = self.at.entry(host(address)).or_default();
        change(&mut at.calling, (entry.contact == Contact::Calling).into());
        let is_connected =
            matches!(entry.contact, Contact::Connected(_) | Contact::Declared { .. });
        change(&mut at.connected, is_connected.into());
        change(&mut at.proven, entry.is_proven.into());
        if *at == AtHost::default() {
            self.at.remove(&host(address));
        }
    }

    pub(super) fn at(&self, ip: IpAddr) -> AtHost {
        self.at.get(&ip.to_canonical()).copied().unwrap_or_default()
    }

    /// Addresses at which a peer is connected or called, by host.
    pub(super) fn in_contact(&self) -> SourceCounts {
        let mut counts = SourceCounts::new();
        for (host, at) in &self.at {
            counts.add(*host, u64::from(at.calling) + u64::from(at.connected));
        }
        counts
    }

    /// How much hearsay there is of the source.
    pub(super) fn hearsay_by(&self, namer: IpAddr) -> SourceRank {
        self.hearsay.rank(namer)
    }

    /// How much hearsay of the source about this host came to nothing.
    pub(super) fn failed_at(&self, ip: IpAddr, namer: IpAddr) -> SourceRank {
        self.failed
            .get(&ip.to_canonical())
            .map_or(SourceRank::default(), |failed| failed.rank(namer))
    }

    pub(super) fn known_addresses(&self, file: FileKey) -> Vec<SocketAddr> {
        self.by_file
            .get(&file)
            .map(|of_file| of_file.known.iter().copied().collect())
            .unwrap_or_default()
    }

    pub(super) fn known(&self, file: FileKey) -> usize {
        self.by_file.get(&file).map_or(0, |of_file| of_file.known.len())
    }

    pub(super) fn unproven(&self, file: FileKey) -> usize {
        self.by_file.get(&file).map_or(0, |of_file| of_file.unproven)
    }

    pub(super) fn calling_for(&self, file: FileKey) -> usize {
        self.by_file.get(&file).map_or(0, |of_file| of_file.calling)
    }

    pub(super) fn calling(&self) -> usize {
        self.calling
    }

    /// Addresses that may be called, and from when on, the first ones first.
    pub(super) fn all_callable(
        &self,
        file: FileKey,
    ) -> impl Iterator<Item = (Time, SocketAddr)> + '_ {
        self.by_file.get(&file).into_iter().flat_map(|of_file| of_file.callable.iter().copied())
    }

    pub(super) fn callable(
        &self,
        file: FileKey,
        now: Time,
    ) -> impl Iterator<Item = SocketAddr> + '_ {
        self.all_callable(file)
            .take_while(move |(from, _)| *from <= now)
            .map(|(_, address)| address)
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
        Contact::Declared { not_before, .. } => Some(not_before),
        Contact::Calling | Contact::Connected(_) => None,
    }
}

fn host(address: SocketAddr) -> IpAddr {
    address.ip().to_canonical()
}

//! Where peers can be called, what came of it, and whom we will not talk to for a while.
//!
//! Each address is in one entry; the lists of each file and the order of dismissal say what a scan of the entries
//! would. An address that is not connected and belongs to no file is forgotten unless something is held against it.

mod index;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use tnet_proto::ByeReason;

use crate::io::{FileKey, PeerKey};
use crate::time::Time;
use index::{Index, Worth};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contact {
    Idle {
        not_before: Time,
    },
    Calling,
    Connected(PeerKey),
    /// Ourselves, or it broke the protocol.
    Avoided {
        until: Time,
        /// What it is told when it calls.
        reason: ByeReason,
    },
}

/// Who told us of an address. A peer may lie, so what it says never displaces what the coordinator says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NamedBy {
    Peer,
    Coordinator,
}

#[derive(Debug)]
struct Entry {
    contact: Contact,
    named_by: NamedBy,
    /// Calls and connections that came to nothing since it last sent us a chunk.
    failures: u32,
    /// Corrupt chunks since it was last banned; outlives its connections.
    strikes: u32,
    /// Files whose swarm this address was named for.
    files: BTreeSet<FileKey>,
}

impl Entry {
    fn new() -> Entry {
        let contact = Contact::Idle { not_before: Time::ZERO };
        Entry { contact, named_by: NamedBy::Peer, failures: 0, strikes: 0, files: BTreeSet::new() }
    }

    fn is_worth_keeping(&self) -> bool {
        !matches!(self.contact, Contact::Idle { .. })
            || !self.files.is_empty()
            || self.strikes > 0
            || self.failures > 0
    }
}

#[derive(Debug)]
pub(crate) struct AddressBook {
    entries: BTreeMap<SocketAddr, Entry>,
    index: Index,
    /// Entries at which nothing new is learned; those that are connected come on top.
    max: usize,
}

impl AddressBook {
    pub(crate) fn new(max: usize) -> AddressBook {
        AddressBook { entries: BTreeMap::new(), index: Index::default(), max }
    }

    /// Addresses remembered.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Somebody named this address for the file's swarm. Answers with the connection to it, if there is one.
    pub(crate) fn learn(&mut self, address: SocketAddr, file: FileKey, by: NamedBy) -> Option<PeerKey> {
        if !self.entries.contains_key(&address) {
            if !self.has_room_for(by) {
                return None;
            }
            self.change(address, |entry| {
                entry.files.insert(file);
                entry.named_by = by;
            });
        } else if let Some(entry) = self.entries.get_mut(&address) {
            // In place: an address may belong to thousands of files.
            let before = Worth::of(entry);
            if entry.files.insert(file) {
                self.index.link(address, file, entry);
            }
            entry.named_by = entry.named_by.max(by);
            self.index.reweigh(address, before, entry);
        }
        match self.contact(address) {
            Some(Contact::Connected(peer)) => Some(peer),
            _ => None,
        }
    }

    /// The peer at this address does not take part in the file's swarm.
    pub(crate) fn unlearn(&mut self, address: SocketAddr, file: FileKey) {
        let Some(entry) = self.entries.get_mut(&address) else { return };
        let before = Worth::of(entry);
        if !entry.files.remove(&file) {
            return;
        }
        self.index.unlink(address, file, entry);
        self.index.reweigh(address, before, entry);
        if !entry.is_worth_keeping() {
            self.detach(address);
        }
    }

    pub(crate) fn forget_file(&mut self, file: FileKey) {
        for address in self.index.known_addresses(file) {
            self.unlearn(address, file);
        }
    }

    pub(crate) fn files(&self, address: SocketAddr) -> impl Iterator<Item = FileKey> + '_ {
        self.entries.get(&address).into_iter().flat_map(|entry| entry.files.iter().copied())
    }

    pub(crate) fn contact(&self, address: SocketAddr) -> Option<Contact> {
        self.entries.get(&address).map(|entry| entry.contact)
    }

    /// Why the address is not talked to, if it is not.
    pub(crate) fn avoided(&self, address: SocketAddr, now: Time) -> Option<ByeReason> {
        match self.contact(address) {
            Some(Contact::Avoided { until, reason }) if now < until => Some(reason),
            _ => None,
        }
    }

    pub(crate) fn set_calling(&mut self, address: SocketAddr) {
        self.change_known(address, |entry| entry.contact = Contact::Calling);
    }

    pub(crate) fn set_connected(&mut self, address: SocketAddr, peer: PeerKey) {
        self.change(address, |entry| entry.contact = Contact::Connected(peer));
    }

    /// Not to be talked to until then; when it calls it is told this reason.
    pub(crate) fn avoid(&mut self, address: SocketAddr, until: Time, reason: ByeReason) {
        self.change(address, |entry| {
            entry.contact = Contact::Avoided { until, reason };
            entry.strikes = 0;
        });
        // At most a quarter, so that nobody can fill the book by misbehaving from many ports.
        while self.index.avoided() > self.max / 4 {
            let Some(soonest) = self.index.soonest_forgiven() else { return };
            self.detach(soonest);
        }
    }

    /// The connection ended. It is called again after a pause that grows until it sends us a chunk.
    pub(crate) fn set_lost(&mut self, address: SocketAddr, peer: PeerKey, now: Time, pause: Pause) {
        if self.contact(address) == Some(Contact::Connected(peer)) {
            self.change_known(address, |entry| entry.fail(now, pause));
        }
        if self.entries.len() > self.max && matches!(self.contact(address), Some(Contact::Idle { .. })) {
            self.detach(address);
        }
    }

    /// A call came to nothing.
    pub(crate) fn set_failed(&mut self, address: SocketAddr, now: Time, pause: Pause) {
        if self.contact(address) == Some(Contact::Calling) {
            self.change_known(address, |entry| entry.fail(now, pause));
        }
    }

    /// It sent us a chunk: failures before that do not count.
    pub(crate) fn delivered(&mut self, address: SocketAddr) {
        if self.entries.get(&address).is_some_and(|entry| entry.failures > 0) {
            self.change_known(address, |entry| entry.failures = 0);
        }
    }

    /// It sent a corrupt chunk; answers how many since it was last banned.
    pub(crate) fn strike(&mut self, address: SocketAddr) -> u32 {
        if !self.entries.contains_key(&address) && !self.has_room_for(NamedBy::Peer) {
            return 1;
        }
        self.change(address, |entry| entry.strikes += 1);
        self.entries.get(&address).map_or(1, |entry| entry.strikes)
    }

    /// Connections being made for this file.
    pub(crate) fn calling_for(&self, file: FileKey) -> usize {
        self.index.calling_for(file)
    }

    /// Connections being made in all.
    pub(crate) fn calling(&self) -> usize {
        self.index.calling()
    }

    /// Up to `wanted` addresses of the file's swarm that may be called now: random ones of those that the
    /// coordinator named, then random others.
    pub(crate) fn choose(
        &self,
        file: FileKey,
        now: Time,
        wanted: usize,
        rng: &mut StdRng,
    ) -> Vec<SocketAddr> {
        let is_named_by = |address: &SocketAddr, by| self.entries[address].named_by == by;
        let due = self.index.callable(file, now);
        let mut chosen = due.filter(|address| is_named_by(address, NamedBy::Coordinator)).sample(rng, wanted);
        if chosen.len() < wanted {
            let others = self.index.callable(file, now).filter(|address| is_named_by(address, NamedBy::Peer));
            chosen.extend(others.sample(rng, wanted - chosen.len()));
        }
        chosen
    }

    /// When the next address of a file may be called.
    pub(crate) fn next_callable(&self, file: FileKey) -> Option<Time> {
        self.index.next_callable(file)
    }

    /// Addresses known for the file's swarm.
    pub(crate) fn known(&self, file: FileKey) -> usize {
        self.index.known(file)
    }

    /// Dismisses the least valuable entry if the book is full; false if all are worth more than a new one.
    fn has_room_for(&mut self, newcomer: NamedBy) -> bool {
        if self.entries.len() < self.max {
            return true;
        }
        let Some((worth, address)) = self.index.least_worth() else { return false };
        let dismissed = worth.is_less_than_a_new_one(newcomer);
        if dismissed {
            self.detach(address);
        }
        dismissed
    }

    fn change(&mut self, address: SocketAddr, how: impl FnOnce(&mut Entry)) {
        let mut entry = self.detach(address).unwrap_or_else(Entry::new);
        how(&mut entry);
        self.attach(address, entry);
    }

    fn change_known(&mut self, address: SocketAddr, how: impl FnOnce(&mut Entry)) {
        if self.entries.contains_key(&address) {
            self.change(address, how);
        }
    }

    fn detach(&mut self, address: SocketAddr) -> Option<Entry> {
        let entry = self.entries.remove(&address)?;
        self.index.remove(address, &entry);
        Some(entry)
    }

    fn attach(&mut self, address: SocketAddr, entry: Entry) {
        if entry.is_worth_keeping() {
            self.index.insert(address, &entry);
            self.entries.insert(address, entry);
        }
    }

    /// Panics unless the index is what a rebuilt one would be and the book is within its bounds.
    #[cfg(any(test, feature = "check"))]
    pub(crate) fn check(&self) {
        let mut rebuilt = Index::default();
        self.entries.iter().for_each(|(address, entry)| rebuilt.insert(*address, entry));
        assert_eq!(self.index, rebuilt, "index of the address book");
        assert!(self.entries.values().all(Entry::is_worth_keeping), "an address is kept for nothing");
        let idle =
            self.entries.values().filter(|entry| matches!(entry.contact, Contact::Idle { .. })).count();
        assert!(idle <= self.max, "{idle} addresses are kept, {} are allowed", self.max);
        assert!(self.index.avoided() <= self.max / 4, "{} addresses are avoided", self.index.avoided());
    }
}

impl Entry {
    fn fail(&mut self, now: Time, pause: Pause) {
        let pause = pause.first.saturating_mul(1 << self.failures.min(16)).min(pause.most);
        self.failures = self.failures.saturating_add(1);
        self.contact = Contact::Idle { not_before: now + pause };
    }
}

/// How long to wait before an address is called again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pause {
    /// After the first failure; doubled with each further one.
    pub(crate) first: Duration,
    /// At most.
    pub(crate) most: Duration,
}

#[cfg(test)]
mod tests;

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

use crate::io::{FileKey, PeerKey};
use crate::time::Time;
use index::Index;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contact {
    Idle {
        not_before: Time,
    },
    Calling,
    Connected(PeerKey),
    /// A peer that called us says that it accepts peers here. As long as that is all, the address may be called from
    /// some moment on.
    Claimed {
        by: PeerKey,
        not_before: Time,
    },
    /// Ourselves, or it broke the protocol.
    Avoided {
        until: Time,
    },
}

/// An address that a peer who called us says is its own need not be called for so long. A peer that is in use has sent us a
/// chunk by then; another one may have taken the port of its host's honest peer, which would else never be called.
const CLAIM: Duration = Duration::from_secs(1);

/// Longest pause before an address that had no place for us is called again. With a crowd at its door a place is a matter of
/// luck, and soon of the next luck.
const FULL_PAUSE: Duration = Duration::from_secs(2);

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
    /// Since when it is claimed, by whomever, without having been called.
    claimed_since: Option<Time>,
    /// It said that it has no place for us, and nothing else since.
    is_full: bool,
    /// Corrupt chunks since it was last banned; outlives its connections.
    strikes: u32,
    /// Files whose swarm this address was named for.
    files: BTreeSet<FileKey>,
}

impl Entry {
    fn new() -> Entry {
        let contact = Contact::Idle { not_before: Time::ZERO };
        Entry {
            contact,
            named_by: NamedBy::Peer,
            failures: 0,
            claimed_since: None,
            is_full: false,
            strikes: 0,
            files: BTreeSet::new(),
        }
    }

    fn is_worth_keeping(&self) -> bool {
        !matches!(self.contact, Contact::Idle { .. }) || !self.files.is_empty() || self.strikes > 0
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
        if !self.entries.contains_key(&address) && !self.has_room_for(by) {
            return None;
        }
        self.change(address, |entry| {
            entry.files.insert(file);
            entry.named_by = entry.named_by.max(by);
        });
        match self.contact(address) {
            Some(Contact::Connected(peer) | Contact::Claimed { by: peer, .. }) => Some(peer),
            _ => None,
        }
    }

    /// The peer at this address does not take part in the file's swarm.
    pub(crate) fn unlearn(&mut self, address: SocketAddr, file: FileKey) {
        self.change_known(address, |entry| {
            entry.files.remove(&file);
        });
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

    pub(crate) fn is_avoided(&self, address: SocketAddr, now: Time) -> bool {
        match self.contact(address) {
            Some(Contact::Avoided { until }) => now < until,
            _ => false,
        }
    }

    pub(crate) fn set_calling(&mut self, address: SocketAddr) {
        self.change_known(address, |entry| entry.contact = Contact::Calling);
    }

    pub(crate) fn set_connected(&mut self, address: SocketAddr, peer: PeerKey) {
        self.change(address, |entry| {
            entry.contact = Contact::Connected(peer);
            entry.claimed_since = None;
        });
    }

    /// A peer that called us says that it accepts peers there. Whoever is there already, or was first to say so, stays. If
    /// another one says the same, one of them lies, and the address may be called at once.
    pub(crate) fn claim(&mut self, address: SocketAddr, peer: PeerKey, now: Time) {
        match self.contact(address) {
            None | Some(Contact::Idle { .. }) => self.change(address, |entry| {
                // Claiming anew begins no new time.
                let until = *entry.claimed_since.get_or_insert(now) + CLAIM;
                let not_before = match entry.contact {
                    Contact::Idle { not_before } => until.max(not_before),
                    _ => until,
                };
                entry.contact = Contact::Claimed { by: peer, not_before };
            }),
            Some(Contact::Claimed { by, not_before }) => {
                let not_before = not_before.min(now);
                self.change(address, |entry| entry.contact = Contact::Claimed { by, not_before });
            }
            Some(Contact::Calling | Contact::Connected(_) | Contact::Avoided { .. }) => {}
        }
    }

    /// The peer that claims the address has been of use.
    pub(crate) fn confirm(&mut self, address: SocketAddr, peer: PeerKey) {
        if matches!(self.contact(address), Some(Contact::Claimed { by, .. }) if by == peer) {
            self.set_connected(address, peer);
        }
    }

    /// Not to be talked to until then.
    pub(crate) fn avoid(&mut self, address: SocketAddr, until: Time) {
        self.change(address, |entry| {
            entry.contact = Contact::Avoided { until };
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
        // Claiming an address and leaving does not make it worse.
        if let Some(Contact::Claimed { by, .. }) = self.contact(address)
            && by == peer
        {
            let not_before = now + pause.first;
            self.change_known(address, |entry| entry.contact = Contact::Idle { not_before });
        }
        if self.entries.len() > self.max && matches!(self.contact(address), Some(Contact::Idle { .. })) {
            self.detach(address);
        }
    }

    /// It said that it has no place for us.
    pub(crate) fn note_full(&mut self, address: SocketAddr) {
        self.change_known(address, |entry| entry.is_full = true);
    }

    /// It can be talked to, or not even called.
    pub(crate) fn note_not_full(&mut self, address: SocketAddr) {
        if self.entries.get(&address).is_some_and(|entry| entry.is_full) {
            self.change_known(address, |entry| entry.is_full = false);
        }
    }

    /// Addresses of the file's swarm that had no place for us when we called last.
    pub(crate) fn full(&self, file: FileKey) -> usize {
        let known = self.index.known_addresses(file).into_iter();
        known.filter(|address| self.entries[address].is_full).count()
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
        let most = if self.is_full { pause.most.min(FULL_PAUSE) } else { pause.most };
        let pause = pause.first.saturating_mul(1 << self.failures.min(16)).min(most);
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

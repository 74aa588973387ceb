//! Where peers can be called, what came of it, and which addresses are avoided for a while.
//!
//! Each address is in one entry; the lists of each file and the order of dismissal say what a scan
//! of the entries would. An address that is not connected and belongs to no file is forgotten
//! unless something is held against it.
//!
//! Two things that peers say are no proof. *Declared*: a caller says that it accepts peers there.
//! As long as it is connected the address is not called at once. *Hearsay*: a peer named the
//! address, itself or another one, and no connected peer declares it. Both are unproven until we
//! have reached a peer there, or the peer that declared it has sent us a chunk that verified.

mod entry;
mod hearsay;
mod index;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use tnet_proto::{ByeReason, FileKey, PeerKey, Time};

use crate::rank::SourceRank;
use entry::{Entry, NamedBy};
use index::{Index, Worth};

pub use entry::{Contact, Pause};

/// A declared address need not be called for so long. A peer that is in use has sent us a chunk by
/// then; another one may have taken the port of its host's honest peer, which would else never be
/// called.
const DECLARED: Duration = Duration::from_secs(1);

/// The same after each chunk of it that verified. Such a peer is mostly the one it says it is, and
/// a call would only make a second connection; but a chunk must not buy much more than its time.
const CONFIRMED: Duration = Duration::from_secs(6);

/// The index is changed for a confirmation at most so often.
const CONFIRM_EVERY: Duration = Duration::from_secs(1);

/// All known addresses, by file.
#[derive(Debug)]
pub struct AddressBook {
    entries: BTreeMap<SocketAddr, Entry>,
    index: Index,
    /// Entries at which nothing new is learned; those that are connected come on top.
    max: usize,
}

impl AddressBook {
    /// An empty book, which learns nothing new while it has `max` addresses.
    pub fn new(max: usize) -> AddressBook {
        AddressBook { entries: BTreeMap::new(), index: Index::default(), max }
    }

    /// Addresses remembered.
    pub fn known_in_all(&self) -> usize {
        self.entries.len()
    }

    /// The coordinator named this address for the file's swarm. Answers with the connection to it,
    /// if there is one.
    pub fn learn(&mut self, address: SocketAddr, file: FileKey) -> Option<PeerKey> {
        self.add(address, file, NamedBy::Coordinator, None)
    }

    fn add(
        &mut self,
        address: SocketAddr,
        file: FileKey,
        by: NamedBy,
        namer: Option<IpAddr>,
    ) -> Option<PeerKey> {
        if !self.entries.contains_key(&address) && !self.has_room_for(by) {
            return None;
        }
        match self.entries.get_mut(&address) {
            // In place: an address may belong to thousands of files.
            Some(entry) if entry.is_in_place_for(by, namer) => {
                let before = Worth::of(entry);
                if entry.files.insert(file) {
                    self.index.link(address, file, entry);
                }
                entry.named_by = entry.named_by.max(by);
                self.index.reweigh(address, before, entry);
            }
            _ => self.change(address, |entry| {
                let is_idle = matches!(entry.contact, Contact::Idle { .. });
                if by == NamedBy::Coordinator && entry.hearsay_of().is_some() && is_idle {
                    // What came of hearsay is not held against what the coordinator says.
                    entry.contact = Contact::Idle { not_before: Time::ZERO };
                    entry.failures = 0;
                }
                // The namer for files that are forgotten has nothing to do with this one.
                entry.namer = entry.namer.filter(|_| !entry.files.is_empty()).or(namer);
                entry.files.insert(file);
                entry.named_by = entry.named_by.max(by);
            }),
        }
        match self.contact(address) {
            Some(Contact::Connected(peer) | Contact::Declared { by: peer, .. }) => Some(peer),
            _ => None,
        }
    }

    /// The peer at this address does not take part in the file's swarm.
    pub fn unlearn(&mut self, address: SocketAddr, file: FileKey) {
        let Some(entry) = self.entries.get_mut(&address) else { return };
        if entry.hearsay_of().is_some() {
            return self.change(address, |entry| {
                entry.files.remove(&file);
            });
        }
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

    /// The file is gone: no address belongs to its swarm any more.
    pub fn forget_file(&mut self, file: FileKey) {
        for address in self.index.known_addresses(file) {
            self.unlearn(address, file);
        }
    }

    /// Files to whose swarm the address belongs.
    pub fn files(&self, address: SocketAddr) -> impl Iterator<Item = FileKey> + '_ {
        self.entries.get(&address).into_iter().flat_map(|entry| entry.files.iter().copied())
    }

    /// What goes on at the address; None if it is not known.
    pub fn contact(&self, address: SocketAddr) -> Option<Contact> {
        self.entries.get(&address).map(|entry| entry.contact)
    }

    /// Why the address is not talked to, if it is not.
    pub fn avoided(&self, address: SocketAddr, now: Time) -> Option<ByeReason> {
        match self.contact(address) {
            Some(Contact::Avoided { until, reason }) if now < until => Some(reason),
            _ => None,
        }
    }

    /// A call to the address has begun.
    pub fn set_calling(&mut self, address: SocketAddr) {
        self.change_known(address, |entry| entry.contact = Contact::Calling);
    }

    /// We called there, and this connection leads there. Answers with the source
    /// that named it, if it was hearsay.
    pub fn set_reached(&mut self, address: SocketAddr, peer: PeerKey) -> Option<IpAddr> {
        let namer = self.entries.get(&address).and_then(Entry::hearsay_of);
        self.change(address, |entry| {
            entry.prove();
            entry.contact = Contact::Connected(peer);
        });
        namer
    }

    /// A peer that called us says that it accepts peers there. A peer that is there already, or was
    /// first to say so, stays. If another one says the same, one of them lies, and the address may
    /// be called at once.
    pub fn declare(&mut self, address: SocketAddr, peer: PeerKey, now: Time) {
        match self.contact(address) {
            None | Some(Contact::Idle { .. }) => self.change(address, |entry| {
                // Declaring it anew, by any peer, begins no new time.
                let until = *entry.declared_since.get_or_insert(now) + DECLARED;
                let not_before = match entry.contact {
                    Contact::Idle { not_before } => until.max(not_before),
                    _ => until,
                };
                entry.contact = Contact::Declared { by: peer, not_before };
            }),
            Some(Contact::Declared { by, not_before }) => {
                let not_before = not_before.min(now);
                self.change(address, |entry| entry.contact = Contact::Declared { by, not_before });
            }
            Some(Contact::Calling | Contact::Connected(_) | Contact::Avoided { .. }) => {}
        }
    }

    /// The peer, which is or says that it is at this address, has sent a chunk that verified:
    /// failures before that do not count.
    pub fn confirm(&mut self, address: SocketAddr, peer: PeerKey, now: Time) {
        let Some(entry) = self.entries.get(&address) else { return };
        match entry.contact {
            Contact::Connected(at) if at == peer && entry.failures > 0 => {
                self.change_known(address, |entry| entry.failures = 0);
            }
            Contact::Declared { by, not_before }
                if by == peer
                    && (not_before + CONFIRM_EVERY < now + CONFIRMED
                        || entry.declared_since.is_some()) =>
            {
                self.change_known(address, |entry| {
                    entry.prove();
                    entry.failures = 0;
                    entry.contact = Contact::Declared { by, not_before: now + CONFIRMED };
                });
            }
            _ => {}
        }
    }

    /// Not to be talked to until then; when it calls it is told this reason.
    pub fn avoid(&mut self, address: SocketAddr, until: Time, reason: ByeReason) {
        self.change(address, |entry| {
            entry.contact = Contact::Avoided { until, reason };
            entry.strikes = 0;
        });
        // At most a quarter, so that misbehaving from many ports cannot fill the book.
        while self.index.avoided() > self.max / 4 {
            let Some(soonest) = self.index.soonest_forgiven() else { return };
            self.detach(soonest);
        }
    }

    /// The connection ended. It is called again after a pause that grows until it sends us a chunk.
    pub fn set_lost(&mut self, address: SocketAddr, peer: PeerKey, now: Time, pause: Pause) {
        let Some(entry) = self.entries.get(&address) else { return };
        match entry.contact {
            Contact::Connected(at) if at == peer => {
                self.change_known(address, |entry| entry.fail(now, pause))
            }
            Contact::Declared { by, .. } if by == peer && entry.declared_since.is_none() => {
                self.change_known(address, |entry| entry.fail(now, pause));
            }
            // Declaring an address and leaving neither makes it worse nor puts off its call.
            Contact::Declared { by, not_before } if by == peer => {
                self.change_known(address, |entry| entry.contact = Contact::Idle { not_before });
            }
            _ => return,
        }
        if self.entries.len() > self.max {
            self.detach(address);
        }
        self.drop_excess(address);
    }

    /// It said that it has no place for us.
    pub fn note_full(&mut self, address: SocketAddr) {
        self.change_known(address, |entry| entry.is_full = true);
    }

    /// It can be talked to, or not even called.
    pub fn note_not_full(&mut self, address: SocketAddr) {
        if self.entries.get(&address).is_some_and(|entry| entry.is_full) {
            self.change_known(address, |entry| entry.is_full = false);
        }
    }

    /// Addresses of the file's swarm that had no place for us when we called last.
    pub fn full(&self, file: FileKey) -> usize {
        let known = self.index.known_addresses(file).into_iter();
        known.filter(|address| self.entries[address].is_full).count()
    }

    /// It sent a corrupt chunk; answers how many since it was last banned.
    pub fn strike(&mut self, address: SocketAddr) -> u32 {
        if !self.entries.contains_key(&address) && !self.has_room_for(NamedBy::Peer) {
            return 1;
        }
        self.change(address, |entry| entry.strikes += 1);
        self.entries.get(&address).map_or(1, |entry| entry.strikes)
    }

    /// Corrupt chunks from this address since it was last banned.
    pub fn strikes(&self, address: SocketAddr) -> u32 {
        self.entries.get(&address).map_or(0, |entry| entry.strikes)
    }

    /// Connections being made for this file.
    pub fn calling_for(&self, file: FileKey) -> usize {
        self.index.calling_for(file)
    }

    /// Connections being made in all.
    pub fn calling(&self) -> usize {
        self.index.calling()
    }

    /// Up to `wanted` addresses of the file's swarm that may be called now: those that the
    /// coordinator named, then others; of them first what would be the first of its host, and of
    /// its network, and has not failed; random among equals.
    pub fn choose(
        &self,
        file: FileKey,
        now: Time,
        wanted: usize,
        rng: &mut StdRng,
    ) -> Vec<SocketAddr> {
        let is_named_by = |address: &SocketAddr, by| self.entries[address].named_by == by;
        let due = || self.index.callable(file, now);
        let mut chosen: Vec<SocketAddr> = Vec::new();
        let mut calls: BTreeMap<IpAddr, u32> = BTreeMap::new();
        for by in [NamedBy::Coordinator, NamedBy::Peer] {
            if chosen.len() >= wanted {
                break;
            }
            let named: Vec<SocketAddr> = due().filter(|address| is_named_by(address, by)).collect();
            // All of them: of each host only so many may be called at once.
            for address in self.by_turns(named, rng) {
                if chosen.len() >= wanted {
                    break;
                }
                let calls = calls.entry(address.ip().to_canonical()).or_insert(0);
                if self.may_be_called(address, *calls) {
                    *calls += 1;
                    chosen.push(address);
                }
            }
        }
        chosen
    }

    /// These addresses in random order, but so that each host has its turn before one has a second
    /// one.
    fn by_turns(&self, mut addresses: Vec<SocketAddr>, rng: &mut StdRng) -> Vec<SocketAddr> {
        addresses.shuffle(rng);
        if addresses.len() < 2 {
            return addresses;
        }
        let mut counted = self.index.in_contact();
        let mut turn_of = |address: &SocketAddr| {
            let SourceRank { host, network } = counted.rank(address.ip());
            counted.add(address.ip(), 1);
            (host + u64::from(self.entries[address].failures), network)
        };
        let mut turns: Vec<((u64, u64), SocketAddr)> =
            addresses.into_iter().map(|address| (turn_of(&address), address)).collect();
        turns.sort_by_key(|(turn, _)| *turn);
        turns.into_iter().map(|(_, address)| address).collect()
    }

    /// When the next address of a file may be called.
    pub fn next_callable(&self, file: FileKey) -> Option<Time> {
        let mut callable = self.index.all_callable(file);
        let next = callable.find(|(_, address)| !self.is_blocked(*address, &self.entries[address]));
        next.map(|(from, _)| from)
    }

    /// Addresses known for the file's swarm.
    pub fn known(&self, file: FileKey) -> usize {
        self.index.known(file)
    }

    /// Those of them that only peers named, and that are not proven.
    pub fn unproven(&self, file: FileKey) -> usize {
        self.index.unproven(file)
    }

    /// Dismisses the least valuable entry if the book is full; false if all are worth more than a
    /// new one.
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
    pub fn check(&self) {
        let mut rebuilt = Index::default();
        self.entries.iter().for_each(|(address, entry)| rebuilt.insert(*address, entry));
        assert_eq!(self.index, rebuilt, "index of the address book");
        assert!(
            self.entries.values().all(Entry::is_worth_keeping),
            "an address is kept for nothing"
        );
        let idle = self
            .entries
            .values()
            .filter(|entry| matches!(entry.contact, Contact::Idle { .. }))
            .count();
        assert!(idle <= self.max, "{idle} addresses are kept, {} are allowed", self.max);
        assert!(
            self.index.avoided() <= self.max / 4,
            "{} addresses are avoided",
            self.index.avoided()
        );
        self.check_hearsay();
    }
}

#[cfg(test)]
mod tests;

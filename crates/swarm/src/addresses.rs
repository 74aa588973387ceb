//! Where peers can be called, what came of it, and whom we will not talk to for a while.
//!
//! Each address is in one entry; the lists of each file and the order of dismissal say what a scan of the entries
//! would. An address that is not connected and belongs to no file is forgotten unless something is held against it.
//!
//! What a peer says of another's address is a claim, until we have reached somebody there: each may cost a third party
//! a call. Of one host there is one call at a time that only a claim asks for, and after two that came to nothing no
//! more for a while. How many claims a source may make is limited, and whose claims come to nothing is to be told.

mod index;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use tnet_proto::{ByeReason, SourceNetwork, SourceRank};

use crate::io::{FileKey, PeerKey};
use crate::time::Time;
use index::{AtHost, Index, Worth};

/// Claims of one host, and of one network, that are not known to be true.
const CLAIMS_OF_HOST: u64 = 32;
const CLAIMS_OF_NETWORK: u64 = 128;

/// Claims about one host that came to nothing, at which no other ports of it are called for claims.
const FAILED_CLAIMS: u32 = 2;

/// The longest pause before a claim that came to nothing is looked at again, in longest pauses of other addresses.
const CLAIM_PAUSES: u32 = 20;

/// Calls to one host at once: for claims, for what the coordinator named, and as many more as are connected there.
const CALLS_FOR_CLAIMS: u32 = 1;
const CALLS_AT_ONCE: u32 = 4;
const MORE_CALLS: u32 = 12;

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
        /// What it is told when it calls.
        reason: ByeReason,
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
    /// The source that named it, if it was a peer.
    namer: Option<IpAddr>,
    /// We reached somebody there, or got a chunk from there.
    is_reached: bool,
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
            namer: None,
            is_reached: false,
            failures: 0,
            claimed_since: None,
            is_full: false,
            strikes: 0,
            files: BTreeSet::new(),
        }
    }

    /// Who named the address, if that is all there is to say for it.
    fn claimed_by(&self) -> Option<IpAddr> {
        let is_open = matches!(self.contact, Contact::Idle { .. } | Contact::Calling);
        let is_claim =
            is_open && self.named_by == NamedBy::Peer && !self.is_reached && !self.files.is_empty();
        self.namer.filter(|_| is_claim)
    }

    /// Whether one more file, named by this one, changes nothing that is counted of it but its files.
    fn is_in_place_for(&self, namer: Option<IpAddr>) -> bool {
        let gets_namer = self.namer.is_none() && namer.is_some();
        !self.files.is_empty() && self.claimed_by().is_none() && !gets_namer
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

    /// The coordinator named this address for the file's swarm. Answers with the connection to it, if there is one.
    pub(crate) fn learn(&mut self, address: SocketAddr, file: FileKey) -> Option<PeerKey> {
        self.add(address, file, NamedBy::Coordinator, None)
    }

    /// A peer named it, itself or another one. Of one source so much is believed, and of one host.
    pub(crate) fn learn_from(
        &mut self,
        namer: IpAddr,
        address: SocketAddr,
        file: FileKey,
        now: Time,
    ) -> Option<PeerKey> {
        let namer = namer.to_canonical();
        let known = self.entries.get(&address);
        let is_another = known.is_none_or(|entry| {
            let stands_for_itself = entry.is_reached
                || entry.named_by == NamedBy::Coordinator
                || matches!(
                    entry.contact,
                    Contact::Connected(_) | Contact::Claimed { .. } | Contact::Avoided { .. }
                );
            !stands_for_itself && entry.claimed_by().is_none()
        });
        if is_another && !self.has_room_for_claim(namer, address, now) {
            return None;
        }
        self.add(address, file, NamedBy::Peer, Some(namer))
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
            Some(entry) if entry.is_in_place_for(namer) => {
                let before = Worth::of(entry);
                if entry.files.insert(file) {
                    self.index.link(address, file, entry);
                }
                entry.named_by = entry.named_by.max(by);
                self.index.reweigh(address, before, entry);
            }
            _ => self.change(address, |entry| {
                if by > entry.named_by && entry.claimed_by().is_some() {
                    // A claim that came to nothing does not hold up what the coordinator names.
                    if let Contact::Idle { not_before } = &mut entry.contact {
                        *not_before = Time::ZERO;
                    }
                }
                entry.files.insert(file);
                entry.named_by = entry.named_by.max(by);
                entry.namer = entry.namer.or(namer);
            }),
        }
        match self.contact(address) {
            Some(Contact::Connected(peer) | Contact::Claimed { by: peer, .. }) => Some(peer),
            _ => None,
        }
    }

    /// Whether one more claim of this source about this address is listened to.
    fn has_room_for_claim(&mut self, namer: IpAddr, address: SocketAddr, now: Time) -> bool {
        let SourceRank { host, network } = self.index.claims_by(namer);
        if host >= CLAIMS_OF_HOST || network >= CLAIMS_OF_NETWORK {
            return false;
        }
        if self.index.at(address.ip()).failed_claims < FAILED_CLAIMS {
            return true;
        }
        // Else anybody could keep an address from being named by claiming other ports of it.
        let gives_way = |entry: &Entry| {
            let is_over = matches!(entry.contact, Contact::Idle { not_before } if not_before <= now);
            let by_another = |by: IpAddr| SourceNetwork::of(by) != SourceNetwork::of(namer);
            entry.failures > 0 && entry.claimed_by().is_some_and(|by| is_over || by_another(by))
        };
        let at_host = self.entries.range(first_of(address)..=last_of(address));
        let failed = at_host.filter(|(_, entry)| gives_way(entry)).map(|(address, _)| *address).next();
        failed.and_then(|failed| self.detach(failed)).is_some()
    }

    /// The source has claimed too much that is not so: what else it claimed is not looked at.
    pub(crate) fn forget_claims(&mut self, namer: IpAddr) {
        let network = SourceNetwork::of(namer);
        let of_namer = |entry: &Entry| {
            matches!(entry.contact, Contact::Idle { .. })
                && entry.failures == 0
                && entry.claimed_by().is_some_and(|by| SourceNetwork::of(by) == network)
        };
        let claims = self.entries.iter().filter(|(_, entry)| of_namer(entry));
        let claims: Vec<SocketAddr> = claims.map(|(address, _)| *address).collect();
        for address in claims {
            self.detach(address);
        }
    }

    /// The peer at this address does not take part in the file's swarm.
    pub(crate) fn unlearn(&mut self, address: SocketAddr, file: FileKey) {
        let Some(entry) = self.entries.get_mut(&address) else { return };
        if entry.claimed_by().is_some() {
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

    /// We called there, and this connection leads there. Answers who had claimed that address.
    pub(crate) fn set_reached(&mut self, address: SocketAddr, peer: PeerKey) -> Option<IpAddr> {
        let claimed_by = self.entries.get(&address).and_then(Entry::claimed_by);
        self.change(address, |entry| {
            entry.contact = Contact::Connected(peer);
            entry.is_reached = true;
            entry.claimed_since = None;
        });
        claimed_by
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
            self.change(address, |entry| {
                entry.contact = Contact::Connected(peer);
                entry.claimed_since = None;
            });
        }
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
        // Claiming an address and leaving does not make it worse.
        if let Some(Contact::Claimed { by, .. }) = self.contact(address)
            && by == peer
        {
            let not_before = now + pause.first;
            self.change_known(address, |entry| entry.contact = Contact::Idle { not_before });
        }
        let is_idle = matches!(self.contact(address), Some(Contact::Idle { .. }));
        let is_claim = self.entries.get(&address).is_some_and(|entry| entry.claimed_by().is_some());
        let is_too_much = is_claim && self.index.at(address.ip()).failed_claims > FAILED_CLAIMS;
        if is_idle && (self.entries.len() > self.max || is_too_much) {
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

    /// A call came to nothing. Answers whose claim that was.
    pub(crate) fn set_failed(&mut self, address: SocketAddr, now: Time, pause: Pause) -> Option<IpAddr> {
        if self.contact(address) != Some(Contact::Calling) {
            return None;
        }
        let claimed_by = self.entries.get(&address).and_then(Entry::claimed_by);
        let pause = match claimed_by {
            // Nothing speaks for it but a claim, and now a failure against it.
            Some(_) => Pause { first: pause.most, most: pause.most.saturating_mul(CLAIM_PAUSES) },
            None => pause,
        };
        self.change_known(address, |entry| entry.fail(now, pause));
        claimed_by
    }

    /// It sent us a chunk: failures before that do not count.
    pub(crate) fn delivered(&mut self, address: SocketAddr) {
        if self.entries.get(&address).is_some_and(|entry| entry.failures > 0 || !entry.is_reached) {
            self.change_known(address, |entry| {
                entry.failures = 0;
                entry.is_reached = true;
            });
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

    /// Corrupt chunks from this address since it was last banned.
    pub(crate) fn strikes(&self, address: SocketAddr) -> u32 {
        self.entries.get(&address).map_or(0, |entry| entry.strikes)
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
        let due = || self.index.callable(file, now);
        let mut chosen: Vec<SocketAddr> = Vec::new();
        let mut calls: BTreeMap<IpAddr, u32> = BTreeMap::new();
        for by in [NamedBy::Coordinator, NamedBy::Peer] {
            let mut named: Vec<SocketAddr> = due().filter(|address| is_named_by(address, by)).collect();
            // All in random order: of each host only so many may be called at once.
            while !named.is_empty() && chosen.len() < wanted {
                let address = named.swap_remove(rng.random_range(0..named.len()));
                let calls = calls.entry(address.ip().to_canonical()).or_insert(0);
                if self.may_be_called(address, *calls) {
                    *calls += 1;
                    chosen.push(address);
                }
            }
        }
        chosen
    }

    /// Whether the address may be called, beside so many others of its host. Where somebody has been reached more calls
    /// are made at once: many peers may be behind one address.
    fn may_be_called(&self, address: SocketAddr, besides: u32) -> bool {
        let entry = &self.entries[&address];
        let AtHost { calling, connected, failed_claims } = self.index.at(address.ip());
        let is_claim = entry.claimed_by().is_some();
        let at_once = if is_claim { CALLS_FOR_CLAIMS } else { CALLS_AT_ONCE + connected.min(MORE_CALLS) };
        let is_tried = is_claim && entry.failures == 0 && failed_claims >= FAILED_CLAIMS;
        calling + besides < at_once && !is_tried
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

/// The first and the last address of a host.
fn first_of(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), 0)
}

fn last_of(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => SocketAddr::new(address.ip(), u16::MAX),
        SocketAddr::V6(v6) => SocketAddrV6::new(*v6.ip(), u16::MAX, u32::MAX, u32::MAX).into(),
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

//! Limits on addresses that peers named (hearsay). A false one costs a third party a call, and an
//! honest peer the call that it waits for. So each source may name a limited number, there is one
//! call at a time to a host for hearsay, and after two false ones about a host no more of its ports
//! are called on the word of that source for a while. Other sources lose nothing by that: what each
//! names is counted as its own.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use tnet_proto::{FileKey, PeerKey, Time};

use super::entry::{Contact, Entry, NamedBy};
use super::index::{AtHost, Index};
use super::{AddressBook, Pause};
use crate::rank::SourceRank;

/// Hearsay of one host, and of one network.
const OF_HOST: u64 = 32;
const OF_NETWORK: u64 = 128;

/// Hearsay of a source that is listened to however much is known of a file.
const FEW_OF_HOST: u64 = 4;
const FEW_OF_NETWORK: u64 = 16;

/// Failures of hearsay about one host, by one host and by one network, at which no other ports of
/// it are called on that word.
const FAILED: u64 = 2;
const FAILED_OF_NETWORK: u64 = 8;

/// Calls to one host at once: for what is unproven, for all else, and as many more as are connected
/// there.
const CALLS_FOR_HEARSAY: u32 = 1;
const CALLS_AT_ONCE: u32 = 4;
const MORE_CALLS: u32 = 12;

impl Index {
    /// Whether ports of this host are not called any more on the word of that source. A host at
    /// which a peer has been reached may go on to name its own.
    fn is_tried(&self, namer: IpAddr, host: IpAddr) -> bool {
        let SourceRank { host: of_host, network } = self.failed_at(host, namer);
        let names_itself = namer == host.to_canonical() && self.at(host).proven > 0;
        (of_host >= FAILED || network >= FAILED_OF_NETWORK) && !names_itself
    }

    /// Whether the source has as much hearsay as it may.
    fn has_named_enough(&self, namer: IpAddr) -> bool {
        let SourceRank { host, network } = self.hearsay_by(namer);
        host >= OF_HOST || network >= OF_NETWORK
    }

    fn has_named_too_much(&self, namer: IpAddr) -> bool {
        let SourceRank { host, network } = self.hearsay_by(namer);
        host > OF_HOST || network > OF_NETWORK
    }
}

impl AddressBook {
    /// A peer named the address, itself or another one.
    pub fn learn_from(
        &mut self,
        namer: IpAddr,
        address: SocketAddr,
        file: FileKey,
        now: Time,
    ) -> Option<PeerKey> {
        let namer = namer.to_canonical();
        let known = self.entries.get(&address);
        let is_new = known.is_none_or(|entry| {
            let is_open = matches!(entry.contact, Contact::Idle { .. } | Contact::Calling);
            is_open && entry.is_unproven() && entry.hearsay_of().is_none()
        });
        if is_new && !self.has_room_for_hearsay(namer, address, now) {
            return None;
        }
        self.take_over(namer, address);
        self.add(address, file, NamedBy::Peer, Some(namer))
    }

    /// An address that is not called because of the source that named it first is this source's
    /// from now on. Else any source could keep it from being called by naming it, and false ports
    /// beside it.
    fn take_over(&mut self, namer: IpAddr, address: SocketAddr) {
        let Some(entry) = self.entries.get(&address) else { return };
        let is_free =
            !self.index.is_tried(namer, address.ip()) && !self.index.has_named_enough(namer);
        if is_free && entry.hearsay_of() != Some(namer) && self.is_blocked(address, entry) {
            self.change_known(address, |entry| entry.namer = Some(namer));
        }
    }

    /// Whether the source has named so little that it is listened to in any case.
    pub fn has_named_few(&self, namer: IpAddr) -> bool {
        let SourceRank { host, network } = self.index.hearsay_by(namer);
        host < FEW_OF_HOST && network < FEW_OF_NETWORK
    }

    /// Whether one more address that is named by this source is listened to.
    fn has_room_for_hearsay(&mut self, namer: IpAddr, address: SocketAddr, now: Time) -> bool {
        if self.index.has_named_enough(namer) {
            return false;
        }
        if !self.index.is_tried(namer, address.ip()) {
            return true;
        }
        // It takes the place of one that failed and whose pause is over.
        let is_over = |entry: &Entry| matches!(entry.contact, Contact::Idle { not_before } if not_before <= now);
        let gives_way = |entry: &Entry| {
            entry.failures > 0 && is_over(entry) && entry.hearsay_of() == Some(namer)
        };
        let at_host = self.entries.range(first_of(address)..=last_of(address));
        let failed =
            at_host.filter(|(_, entry)| gives_way(entry)).map(|(address, _)| *address).next();
        failed.and_then(|failed| self.detach(failed)).is_some()
    }

    /// These sources have named too much that is not so: what else they named, themselves included,
    /// is not looked at.
    pub fn forget_hearsay(&mut self, is_deaf: impl Fn(IpAddr) -> bool) {
        let of_deaf = |entry: &Entry| {
            let is_untried =
                entry.is_unproven() && entry.failures == 0 && entry.contact != Contact::Calling;
            is_untried && entry.namer.is_some_and(&is_deaf)
        };
        let theirs = self.entries.iter().filter(|(_, entry)| of_deaf(entry));
        let theirs: Vec<SocketAddr> = theirs.map(|(address, _)| *address).collect();
        for address in theirs {
            // Nothing is left of it unless there is a connection, or something is held against it.
            self.change_known(address, |entry| entry.files = BTreeSet::new());
        }
    }

    /// A call came to nothing. Answers with the source that named the address, if it was hearsay
    /// that is now known to be false.
    pub fn set_failed(&mut self, address: SocketAddr, now: Time, pause: Pause) -> Option<IpAddr> {
        let entry = self.entries.get(&address).filter(|entry| entry.contact == Contact::Calling)?;
        // It is false once, however often we look.
        let namer = entry.hearsay_of().filter(|_| entry.failures == 0);
        self.change_known(address, |entry| entry.fail(now, pause));
        self.drop_excess(address);
        namer
    }

    /// The call could not be tried.
    pub fn set_not_called(&mut self, address: SocketAddr, not_before: Time) {
        if self.contact(address) == Some(Contact::Calling) {
            self.change_known(address, |entry| entry.contact = Contact::Idle { not_before });
            self.drop_excess(address);
        }
    }

    /// An address has become hearsay. Forgets it if it is one too many, or will not be called.
    pub(super) fn drop_excess(&mut self, address: SocketAddr) {
        let Some(entry) = self.entries.get(&address) else { return };
        let Some(namer) = entry.hearsay_of().filter(|_| entry.contact != Contact::Calling) else {
            return;
        };
        if self.index.has_named_too_much(namer) || self.is_blocked(address, entry) {
            self.detach(address);
        }
    }

    /// Whether the address is not called because others that the same source named came to nothing.
    pub(super) fn is_blocked(&self, address: SocketAddr, entry: &Entry) -> bool {
        let namer = entry.namer.filter(|_| entry.is_unproven() && entry.failures == 0);
        namer.is_some_and(|namer| self.index.is_tried(namer, address.ip()))
    }

    /// Whether the address may be called, beside so many others of its host. Where a peer is
    /// connected more calls are made at once: many peers may be behind one address.
    pub(super) fn may_be_called(&self, address: SocketAddr, besides: u32) -> bool {
        let entry = &self.entries[&address];
        let AtHost { calling, connected, .. } = self.index.at(address.ip());
        let at_once = match entry.is_unproven() {
            true => CALLS_FOR_HEARSAY,
            false => CALLS_AT_ONCE + connected.min(MORE_CALLS),
        };
        calling + besides < at_once && !self.is_blocked(address, entry)
    }

    /// Panics if a source has more hearsay than it may. What is being called is not counted: it may
    /// have been declared before.
    #[cfg(any(test, feature = "check"))]
    pub(super) fn check_hearsay(&self) {
        let mut counts = crate::rank::SourceCounts::new();
        let idle = self.entries.values().filter(|entry| entry.contact != Contact::Calling);
        for namer in idle.filter_map(Entry::hearsay_of) {
            counts.add(namer, 1);
            let SourceRank { host, network } = counts.rank(namer);
            assert!(
                host <= OF_HOST && network <= OF_NETWORK,
                "{namer} named {host}, its network {network}"
            );
        }
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

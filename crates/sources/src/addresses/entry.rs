//! What is known of one address.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use tnet_proto::{ByeReason, FileKey, PeerKey, Time};

/// The longest pause before an address that had no place for us is called again. Where many wait
/// for a place a call succeeds by chance, so it is tried soon again.
const FULL_PAUSE: Duration = Duration::from_secs(2);

/// The longest pause before hearsay that came to nothing is looked at again, in longest pauses of
/// other addresses.
const HEARSAY_PAUSES: u32 = 20;

/// What goes on at an address. Exhaustive: the caller acts on each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact {
    /// Neither connected nor being called.
    Idle {
        /// The end of the pause before the next call.
        not_before: Time,
    },
    /// A call is under way.
    Calling,
    /// We called there, and this connection leads there.
    Connected(PeerKey),
    /// A peer that called us says that it accepts peers here. As long as that is all, the address
    /// may be called from some moment on.
    Declared {
        /// The connection of the peer that says so.
        by: PeerKey,
        /// From when on the address may be called.
        not_before: Time,
    },
    /// Our own address, or the peer there broke the protocol.
    Avoided {
        /// The end of it.
        until: Time,
        /// What it is told when it calls.
        reason: ByeReason,
    },
}

/// What told us of an address. A peer may lie, so what it says never displaces what the coordinator
/// says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NamedBy {
    Peer,
    Coordinator,
}

/// How long to wait before an address is called again. Exhaustive: these two are all there is.
#[derive(Debug, Clone, Copy)]
pub struct Pause {
    /// After the first failure; doubled with each further one.
    pub first: Duration,
    /// At most.
    pub most: Duration,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) contact: Contact,
    pub(super) named_by: NamedBy,
    /// The source that named it, if it was a peer.
    pub(super) namer: Option<IpAddr>,
    /// We reached a peer there, or one that says it is there sent us a chunk that verified.
    pub(super) is_proven: bool,
    /// Calls and connections that came to nothing since it last sent us a chunk.
    pub(super) failures: u32,
    /// Since when callers declare it without a call or a chunk that proves it.
    pub(super) declared_since: Option<Time>,
    /// It said that it has no place for us, and nothing else since.
    pub(super) is_full: bool,
    /// Corrupt chunks since it was last banned; outlives its connections.
    pub(super) strikes: u32,
    /// Files whose swarm this address was named for.
    pub(super) files: BTreeSet<FileKey>,
}

impl Entry {
    pub(super) fn new() -> Entry {
        Entry {
            contact: Contact::Idle { not_before: Time::ZERO },
            named_by: NamedBy::Peer,
            namer: None,
            is_proven: false,
            failures: 0,
            declared_since: None,
            is_full: false,
            strikes: 0,
            files: BTreeSet::new(),
        }
    }

    /// Whether nothing speaks for the address but what peers say of it, be it of themselves.
    pub(super) fn is_unproven(&self) -> bool {
        self.named_by == NamedBy::Peer && !self.is_proven
    }

    /// The source that named the address, if it is hearsay: unproven, and declared by no connected
    /// peer.
    pub(super) fn hearsay_of(&self) -> Option<IpAddr> {
        let is_open = matches!(self.contact, Contact::Idle { .. } | Contact::Calling);
        self.namer.filter(|_| is_open && self.is_unproven() && !self.files.is_empty())
    }

    /// Whether one more file, named by this one, changes nothing that is counted of it but its
    /// files.
    pub(super) fn is_in_place_for(&self, by: NamedBy, namer: Option<IpAddr>) -> bool {
        let gets_namer = self.namer.is_none() && namer.is_some();
        let gains = self.is_unproven() && by == NamedBy::Coordinator;
        !self.files.is_empty() && self.hearsay_of().is_none() && !gets_namer && !gains
    }

    pub(super) fn is_worth_keeping(&self) -> bool {
        !matches!(self.contact, Contact::Idle { .. })
            || !self.files.is_empty()
            || self.strikes > 0
            || self.failures > 0
    }

    /// There is a peer, by more than what peers say.
    pub(super) fn prove(&mut self) {
        self.is_proven = true;
        self.declared_since = None;
    }

    /// A call or a connection has come to nothing.
    pub(super) fn fail(&mut self, now: Time, pause: Pause) {
        let (first, most) = match self.hearsay_of() {
            // Nothing spoke for it, and now something against it.
            Some(_) => (pause.most, pause.most.saturating_mul(HEARSAY_PAUSES)),
            None if self.is_full => (pause.first, pause.most.min(FULL_PAUSE)),
            None => (pause.first, pause.most),
        };
        let pause = first.saturating_mul(1 << self.failures.min(16)).min(most);
        self.failures = self.failures.saturating_add(1);
        self.declared_since = None;
        self.contact = Contact::Idle { not_before: now + pause };
    }
}

//! One peer as the table knows it. Its place among the holders of each file is in `files`, and
//! nowhere else.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tnet_proto::{PeerId, ReportDigest};

use super::{Beat, Epoch, FileId, LimitExceeded};
use crate::registry::place::Place;

/// A map with room for this many files is made smaller when less than three eighths of it are used.
const SHRINK_FROM: usize = 64;

/// Pause before a peer whose entries ran into a limit is asked for all of them again, once there is
/// room.
const RETRY: Duration = Duration::from_secs(60);

/// Number of a peer inside the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PeerSlot(u32);

impl From<u32> for PeerSlot {
    fn from(number: u32) -> PeerSlot {
        PeerSlot(number)
    }
}

impl From<PeerSlot> for u32 {
    fn from(slot: PeerSlot) -> u32 {
        slot.0
    }
}

/// Whether a peer may be handed out to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listing {
    /// It accepts connections.
    Listed,
    /// It declared port 0.
    Unlisted,
}

/// What makes a new connection the same peer as one whose connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PeerKey {
    /// As observed: it answers for what the peer takes.
    ip: IpAddr,
    /// Where others find it; the port is 0 if they do not.
    address: SocketAddr,
    id: PeerId,
}

impl PeerKey {
    pub(super) fn new(ip: IpAddr, listed: Option<SocketAddr>, id: PeerId) -> PeerKey {
        PeerKey { ip, address: listed.unwrap_or(SocketAddr::new(ip, 0)), id }
    }

    /// None of this IP address comes before it.
    pub(super) fn first_of(ip: IpAddr) -> PeerKey {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        PeerKey { ip, address, id: PeerId([0; 16]) }
    }

    pub(super) fn ip(&self) -> IpAddr {
        self.ip
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn listing(&self) -> Listing {
        match self.address.port() {
            0 => Listing::Unlisted,
            _ => Listing::Listed,
        }
    }
}

/// Where a peer is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its connection is up.
    Connected,
    /// Its connection is gone; its entries stay until the lease ends.
    Away,
    /// It left. It is in no index any more; only its entries are still being removed.
    Retired,
}

/// A peer and what it holds.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) key: PeerKey,
    /// Of its newest connection, up or not.
    pub(super) epoch: Epoch,
    pub(super) standing: Standing,
    /// What its address means to whom.
    pub(super) place: Place,
    /// Others of its IP address were there when it came, or it is listed at another one. So of the
    /// live ones of an address at most one has it not.
    pub(super) shares_ip: bool,
    /// Of the last report taken on this connection.
    pub(super) last_seq: u64,
    /// How long silence may last.
    pub(super) lease: Duration,
    pub(super) lease_ends: Duration,
    /// The deadline under which the lease queue has this peer: at or before `lease_ends`.
    pub(super) queued: Duration,
    pub(super) digest: ReportDigest,
    /// The limit by which some entries of this peer were left out, since its last full report.
    pub(super) cut: Option<LimitExceeded>,
    /// Until then a cut peer is not asked for what was left out.
    pub(super) quiet_until: Duration,
    /// Entries that it had when there was room for everybody. Only those beyond are contested.
    pub(super) settled: usize,
    /// Entries that are counted as contested, and its place among the peers that have some.
    pub(super) contested: usize,
    pub(super) contested_place: usize,
    /// Its files, with its place among the holders of each. Keyed hashing (the standard hasher):
    /// which numbers meet in one peer is up to whoever reports.
    pub(super) files: HashMap<FileId, u32>,
    /// Sizes this peer reported that differ from the size the table has for the file. The digest
    /// needs them.
    pub(super) odd_sizes: HashMap<FileId, u64>,
}

impl Peer {
    pub(super) fn renew(&mut self, now: Duration) {
        self.lease_ends = now.saturating_add(self.lease);
    }

    /// It says that its entries have this digest.
    pub(super) fn beat(&mut self, now: Duration, digest: ReportDigest) -> Beat {
        if self.digest == digest {
            self.cut = None;
        } else if self.cut.is_none() {
            return Beat::Resync;
        }
        self.renew(now);
        self.cut.map_or(Beat::Renewed, Beat::Cut)
    }

    /// Notes that a limit left some of its entries out.
    pub(super) fn leave_out(&mut self, now: Duration, hit: LimitExceeded) {
        self.cut = Some(hit);
        self.quiet_until = now.saturating_add(RETRY);
    }

    /// Drops a file, and memory with it: a peer that once had a million files must not weigh that
    /// for ever.
    pub(super) fn forget_file(&mut self, file: FileId) {
        self.files.remove(&file);
        self.odd_sizes.remove(&file);
        self.shrink();
    }

    pub(super) fn shrink(&mut self) {
        if self.files.capacity() >= SHRINK_FROM && self.files.len() < self.files.capacity() / 8 * 3
        {
            self.files.shrink_to(self.files.len() + self.files.len() / 8);
            self.odd_sizes.shrink_to_fit();
        }
    }

    pub(super) fn reserved_bytes(&self) -> usize {
        map_bytes::<FileId, u32>(self.files.capacity())
            + map_bytes::<FileId, u64>(self.odd_sizes.capacity())
    }
}

/// Bytes of a standard map with room for `capacity` entries: a power of two of buckets, filled to
/// 7/8, with one control byte each and 16 more.
pub(super) fn map_bytes<K, V>(capacity: usize) -> usize {
    match capacity {
        0 => 0,
        _ => (capacity * 8 / 7).next_power_of_two() * (size_of::<(K, V)>() + 1) + 16,
    }
}

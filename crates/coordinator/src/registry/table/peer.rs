//! The table's record of a peer. Its position among the holders of each file is stored only in
//! `files`.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tnet_proto::{PeerId, ReportDigest};

use super::{Epoch, FileSlot, HeartbeatOutcome, LimitExceeded};
use crate::registry::location::PeerLocation;

/// A map with at least this capacity shrinks when less than three eighths of it are used.
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

/// Whether handouts may name a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visibility {
    /// It accepts connections.
    Listed,
    /// It declared port 0.
    Unlisted,
}

/// What makes a new connection the same peer as one whose connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PeerIdentity {
    /// The observed address; the limits per IP count for it.
    ip: IpAddr,
    /// Where others reach it; port 0 if it is not listed.
    address: SocketAddr,
    id: PeerId,
}

impl PeerIdentity {
    pub(super) fn new(ip: IpAddr, listed: Option<SocketAddr>, id: PeerId) -> PeerIdentity {
        PeerIdentity { ip, address: listed.unwrap_or(SocketAddr::new(ip, 0)), id }
    }

    /// A lower bound of all identities with this IP address.
    pub(super) fn first_of(ip: IpAddr) -> PeerIdentity {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        PeerIdentity { ip, address, id: PeerId([0; 16]) }
    }

    pub(super) fn ip(&self) -> IpAddr {
        self.ip
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn visibility(&self) -> Visibility {
        match self.address.port() {
            0 => Visibility::Unlisted,
            _ => Visibility::Listed,
        }
    }
}

/// The state of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PeerState {
    /// Its connection is up.
    Connected,
    /// Its connection is gone; its entries stay until the lease ends.
    Away,
    /// It left and is in no index; its entries are still being removed.
    Retired,
}

/// A peer and its entries.
#[derive(Debug)]
pub(super) struct PeerRecord {
    pub(super) key: PeerIdentity,
    /// Its latest connection, open or not.
    pub(super) epoch: Epoch,
    pub(super) state: PeerState,
    /// Where others reach it.
    pub(super) location: PeerLocation,
    /// When it connected, other peers had its IP address, or it is listed at a different one. So at
    /// most one live peer of an address has it unset.
    pub(super) shares_ip: bool,
    /// Number of the last report accepted on this connection.
    pub(super) last_seq: u64,
    /// Longest silence before it expires.
    pub(super) lease: Duration,
    pub(super) lease_ends: Duration,
    /// The deadline under which the lease queue has this peer: at or before `lease_ends`.
    pub(super) queued: Duration,
    pub(super) digest: ReportDigest,
    /// The limit that truncated a report of this peer since its last full one.
    pub(super) truncated_by: Option<LimitExceeded>,
    /// Until then it is not asked for the entries that a limit left out.
    pub(super) quiet_until: Duration,
    /// Entries that it had when room was not short. Entries beyond this number are contested.
    pub(super) settled: usize,
    /// Number of its contested entries, and its position among the peers that have some.
    pub(super) contested: usize,
    pub(super) contested_position: usize,
    /// Its files, with its position among the holders of each. Keyed hashing (the standard hasher):
    /// peers choose which numbers one map holds.
    pub(super) files: HashMap<FileSlot, u32>,
    /// Sizes this peer reported that differ from the size the table has for the file. The digest
    /// includes them.
    pub(super) odd_sizes: HashMap<FileSlot, u64>,
}

impl PeerRecord {
    pub(super) fn renew(&mut self, now: Duration) {
        self.lease_ends = now.saturating_add(self.lease);
    }

    /// The peer sends the digest of its entries.
    pub(super) fn heartbeat(&mut self, now: Duration, digest: ReportDigest) -> HeartbeatOutcome {
        if self.digest == digest {
            self.truncated_by = None;
        } else if self.truncated_by.is_none() {
            return HeartbeatOutcome::Resync;
        }
        self.renew(now);
        self.truncated_by.map_or(HeartbeatOutcome::Renewed, HeartbeatOutcome::Truncated)
    }

    /// Records that a limit left some of its entries out.
    pub(super) fn note_truncation(&mut self, now: Duration, hit: LimitExceeded) {
        self.truncated_by = Some(hit);
        self.quiet_until = now.saturating_add(RETRY);
    }

    /// Removes a file, and gives memory back: a peer must not keep the memory of a million files
    /// that it once had.
    pub(super) fn forget_file(&mut self, file: FileSlot) {
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
        map_bytes::<FileSlot, u32>(self.files.capacity())
            + map_bytes::<FileSlot, u64>(self.odd_sizes.capacity())
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

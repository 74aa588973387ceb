//! Plain values that the table takes and returns.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tnet_fileinfo::FileHash;
use tnet_proto::{Limit, PeerId, ReportDigest};

use super::Epoch;
use crate::registry::location::PeerLocation;

/// The shortest report interval a peer may declare: a shorter one would end leases on a scheduling
/// hiccup.
pub(crate) const MIN_REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// The longest lease, regardless of the declared interval: a dead peer is handed out, and its
/// entries take memory, for that long.
pub(crate) const MAX_LEASE: Duration = Duration::from_secs(120);

/// Limits of the table's size, and the length of leases. Not `#[non_exhaustive]`: callers write
/// `TableLimits { max_peers, ..TableLimits::default() }`, which a new field does not break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableLimits {
    /// A lease is this many report intervals.
    pub lease_multiplier: u32,
    /// Peers in total, connected or not.
    pub max_peers: u32,
    /// Peers with the same IP address.
    pub max_peers_per_ip: u32,
    /// Entries, one for each pair of peer and file.
    pub max_entries: u32,
    /// Entries of all peers with the same IP address, so that one machine cannot fill the table.
    pub max_entries_per_ip: u32,
    /// Entries of one peer.
    pub max_entries_per_peer: u32,
    /// Bytes of all files and entries. At the limit, entries of the source with most are evicted.
    pub max_bytes: u64,
    /// Bytes of the files and entries of peers with the same IP address.
    pub max_bytes_per_ip: u64,
    /// Entries that one call removes at most. [`Table::sweep`] removes the rest of a large peer's
    /// entries, so that no request waits for a million removals.
    ///
    /// [`Table::sweep`]: crate::Table::sweep
    pub sweep_entries: u32,
}

impl TableLimits {
    /// The lease of a peer with this report interval: how long it may be silent.
    pub fn lease(&self, interval: Duration) -> Duration {
        interval
            .max(MIN_REPORT_INTERVAL)
            .saturating_mul(self.lease_multiplier.max(1))
            .min(MAX_LEASE)
    }
}

impl Default for TableLimits {
    fn default() -> TableLimits {
        TableLimits {
            lease_multiplier: 3,
            max_peers: 40_000,
            max_peers_per_ip: 4_000,
            max_entries: 20_000_000,
            max_entries_per_ip: 10_000_000,
            max_entries_per_peer: 1_000_000,
            max_bytes: 4 << 30,
            max_bytes_per_ip: 1 << 30,
            sweep_entries: 10_000,
        }
    }
}

/// What the table is told of a peer at its hello. Exhaustive: the caller gives all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Introduction {
    /// The remote address of the connection.
    pub ip: IpAddr,
    /// Where other peers reach it.
    pub location: PeerLocation,
    /// New at each start of the peer and told only to coordinators: a returning peer is recognised
    /// by it.
    pub peer_id: PeerId,
    /// Interval of the signs of life that it promises.
    pub report_interval: Duration,
}

impl Introduction {
    /// A peer that accepts connections at this address, which is also the observed one; port 0: it
    /// accepts none.
    pub fn seen_at(
        address: SocketAddr,
        peer_id: PeerId,
        report_interval: Duration,
    ) -> Introduction {
        Introduction {
            ip: address.ip(),
            location: PeerLocation::seen_at(address),
            peer_id,
            report_interval,
        }
    }
}

/// A hello was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Admitted {
    /// Its address in the table; port 0 if it accepts no connections.
    pub address: SocketAddr,
    /// Silence after which it expires.
    pub lease: Duration,
    /// Digest of the entries kept from an earlier connection.
    pub digest: ReportDigest,
}

/// A limit and its value, as told to the peer that reached it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("limit reached: {limit:?}, {value}")]
#[non_exhaustive]
pub struct LimitExceeded {
    /// Which limit.
    pub limit: Limit,
    /// Its value.
    pub value: u64,
}

impl LimitExceeded {
    pub(crate) fn new(limit: Limit, value: u32) -> LimitExceeded {
        LimitExceeded { limit, value: u64::from(value) }
    }

    pub(crate) fn of_bytes(limit: Limit, value: u64) -> LimitExceeded {
        LimitExceeded { limit, value }
    }
}

/// A peer whose lease ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expired {
    /// Its address in the table.
    pub address: SocketAddr,
    /// Its connection, if it was still open.
    pub connection: Option<Epoch>,
}

/// Whether work is left after a bounded step. Exhaustive: it is, or it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SweepStatus {
    /// Nothing is left.
    Done,
    /// Something is left: call again.
    More,
}

/// How many live peers hold a file, including those that accept no connections. Exhaustive: whole
/// and in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SwarmSize {
    /// Holders of the whole file.
    pub full: u32,
    /// Holders of a part.
    pub partial: u32,
}

/// A file and its number of holders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileSummary {
    /// Its hash.
    pub hash: FileHash,
    /// In bytes, as its first holder reported it; not proven.
    pub size: u64,
    /// Its holders.
    pub swarm: SwarmSize,
}

/// Size of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TableSize {
    /// Peers within their lease.
    pub peers: u32,
    /// Files with at least one holder.
    pub files: u32,
    /// Pairs of peer and file.
    pub entries: u32,
    /// Bytes of the files and entries, as they count for the limits.
    pub bytes: u64,
    /// Entries evicted so far from a source that had most, for entries of other sources.
    pub evicted: u64,
    /// Entries reported so far with a size that differs from the table's size of the file.
    pub size_conflicts: u64,
}

//! What goes into the table and comes out of it, as plain values.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tnet_fileinfo::FileHash;
use tnet_proto::{Limit, PeerId, ReportDigest};

use super::Epoch;
use crate::registry::place::Place;

/// The shortest report interval a peer may declare: a shorter one would end leases on a scheduling
/// hiccup.
pub(crate) const MIN_REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// The longest lease, whatever a peer declares: a dead peer is handed out, and its entries take
/// memory, for as long.
pub(crate) const MAX_LEASE: Duration = Duration::from_secs(120);

/// What the table may grow to, and how long it remembers.
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
    /// Entries of peers with the same IP address, so that one machine cannot fill the table.
    pub max_entries_per_ip: u32,
    /// Entries of one peer.
    pub max_entries_per_peer: u32,
    /// Bytes of all files and entries. When they are used up, the source with most gives way.
    pub max_bytes: u64,
    /// Bytes of the files and entries of peers with the same IP address.
    pub max_bytes_per_ip: u64,
    /// Entries that one call removes at most. The rest of what a large peer leaves is for
    /// [`Table::sweep`], so that nobody waits behind a million removals.
    ///
    /// [`Table::sweep`]: crate::Table::sweep
    pub sweep_entries: u32,
}

impl TableLimits {
    /// How long a peer that reports each `interval` may be silent.
    pub(crate) fn lease(&self, interval: Duration) -> Duration {
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

/// A peer that introduces itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Where the connection comes from.
    pub ip: IpAddr,
    /// Where others find the peer.
    pub place: Place,
    /// New at each start of the peer. Told to nobody but coordinators, it is what a peer is known
    /// by when it comes back.
    pub peer_id: PeerId,
    /// How often it promises a sign of life.
    pub report_interval: Duration,
}

impl Arrival {
    /// A peer that accepts others at the port of the address that it is seen at; port 0: it accepts
    /// nobody.
    pub fn seen_at(address: SocketAddr, peer_id: PeerId, report_interval: Duration) -> Arrival {
        Arrival { ip: address.ip(), place: Place::seen_at(address), peer_id, report_interval }
    }
}

/// A peer was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    /// Its address in the table; the port is 0 if it accepts nobody.
    pub address: SocketAddr,
    /// Silence after which its entries are removed.
    pub lease: Duration,
    /// Of the entries kept from an earlier connection.
    pub digest: ReportDigest,
}

/// A limit, and its value, as they are told to the peer that ran into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("limit reached: {limit:?}, {value}")]
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
pub struct Expired {
    /// Its address in the table.
    pub address: SocketAddr,
    /// Its connection, if that was still up.
    pub connection: Option<Epoch>,
}

/// Whether a sweep has come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    /// Nothing is left to remove.
    Done,
    /// Call again.
    More,
}

/// How many live peers hold a file, whoever asks, whether or not they accept connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SwarmSize {
    /// The whole file.
    pub full: u32,
    /// A part.
    pub partial: u32,
}

/// One line of the list of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSummary {
    /// Its hash.
    pub hash: FileHash,
    /// In bytes, as the first of its holders reported it; not proven.
    pub size: u64,
    /// Who holds it.
    pub swarm: SwarmSize,
}

/// How much is in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableSize {
    /// Peers within their lease.
    pub peers: u32,
    /// Files with at least one holder.
    pub files: u32,
    /// Pairs of peer and file.
    pub entries: u32,
    /// Bytes of the files and entries, as they count for the limits.
    pub bytes: u64,
    /// Entries taken from a source that had most, because there was no room for those of others.
    pub gave_way: u64,
    /// Entries reported so far with another size than the table had for the file.
    pub size_conflicts: u64,
}

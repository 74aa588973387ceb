//! What a peer and the coordinator say to each other. Variants are append-only.
//!
//! The types here are exhaustive: a variant is a number on the wire and a field its bytes, so a new
//! one is a new version of the protocol.

use std::net::{IpAddr, SocketAddr};

use bincode::{Decode, Encode};

use crate::peer::PeerId;

/// How much of a file a peer holds. On the wire: 0 none, 1 partial, 2 full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Availability {
    /// No longer held: the entry is deleted.
    None,
    /// Some chunks, or none yet but downloading.
    Partial,
    /// Every chunk.
    Full,
}

/// One file in a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct ReportEntry {
    /// BLAKE3 root of the file.
    pub hash: [u8; 32],
    /// Length in bytes.
    pub size: u64,
    /// How much the reporting peer holds.
    pub availability: Availability,
}

/// Combines what a peer shares into 16 bytes, independent of order: the XOR over all entries of the
/// first 16 bytes of BLAKE3(hash, size as little-endian u64, availability as one byte 1 or 2).
/// Nothing shared is all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct ReportDigest(pub [u8; 16]);

/// Where a peer claims to be reachable. On the wire: 0 nowhere, 1 everywhere, 2 at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Reach {
    /// Nowhere: it accepts no connections, and is never named to other peers.
    Nowhere,
    /// It accepts peers at all addresses of its machine: others reach it at the observed IP
    /// address.
    Everywhere {
        /// TCP port.
        port: u16,
        /// If the observed address is of another family, the peer cannot be reached.
        families: Families,
    },
    /// At this address alone: it accepts nowhere else, or its user says that this is how others see
    /// it.
    At {
        /// The coordinator checks it, and may refuse it.
        address: SocketAddr,
    },
}

/// The kinds of IP addresses that a socket accepts from. On the wire: 0 IPv4, 1 IPv6, 2 both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Families {
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
    /// Both.
    Both,
}

impl Families {
    /// Whether this address is of one of them. An IPv4 address that is mapped into IPv6 is IPv4.
    pub fn include(self, ip: IpAddr) -> bool {
        match self {
            Families::V4 => ip.to_canonical().is_ipv4(),
            Families::V6 => ip.to_canonical().is_ipv6(),
            Families::Both => true,
        }
    }
}

/// The address by which the coordinator names a peer to others. On the wire: 0 nowhere, 1 at an
/// address, 2 refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Listed {
    /// It is not named, as it asked.
    Nowhere,
    /// At this address.
    At {
        /// The peer's.
        address: SocketAddr,
    },
    /// It is not named, although it accepts peers.
    Refused {
        /// Why not.
        refusal: Refusal,
    },
}

/// Why a coordinator refuses the address that a peer claims. On the wire: 0, 1, 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Refusal {
    /// The address is not the observed one, and outside of the networks that the coordinator was
    /// told.
    OutsideNetworks,
    /// The address means another machine to others, or no machine at all.
    Meaningless,
    /// The observed address is of a family on which the peer does not accept.
    OtherFamily,
}

/// A message from a peer to the coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum CoordinatorRequest {
    /// First message.
    Hello {
        /// The peer.
        peer_id: PeerId,
        /// Where others reach it.
        reach: Reach,
        /// It promises a sign of life at least this often, in milliseconds.
        report_interval_ms: u32,
        /// Capability bits; unknown bits are ignored.
        capabilities: u64,
    },
    /// What the peer holds. A full report replaces everything; it may come in several parts with
    /// rising `seq`, of which only the first has `replace` set. A delta names only what changed.
    Report {
        /// Rises by one with every report on this connection, from 1; a repeated or older one is
        /// ignored.
        seq: u64,
        /// Forget what was reported before.
        replace: bool,
        /// At most [`MAX_REPORT_ENTRIES`](crate::MAX_REPORT_ENTRIES).
        entries: Vec<ReportEntry>,
    },
    /// Nothing has changed. Renews every entry of the peer if the digest is what the coordinator
    /// has too.
    Heartbeat {
        /// Of everything reported so far.
        digest: ReportDigest,
    },
    /// Who holds this file? Answered by `Holders`.
    Lookup {
        /// BLAKE3 root of the file.
        hash: [u8; 32],
    },
    /// Like `Lookup`, and from now on new holders are pushed as further `Holders`.
    Watch {
        /// BLAKE3 root of the file.
        hash: [u8; 32],
    },
    /// Ends a `Watch`.
    Unwatch {
        /// BLAKE3 root of the file.
        hash: [u8; 32],
    },
    /// The peer leaves: its entries are deleted at once.
    Bye,
    /// Answer to a message whose number is unknown here.
    Unsupported {
        /// The number of the unknown message.
        message: u32,
    },
    /// Room for experiments: a kind that is not known is ignored.
    Extension {
        /// Which extension.
        kind: u32,
        /// At most [`MAX_EXTENSION_LEN`](crate::MAX_EXTENSION_LEN) bytes.
        body: Vec<u8>,
    },
    /// Results of connection attempts to addresses that `Holders` named, so that unreachable ones
    /// are named last. Not answered.
    Calls {
        /// At most [`MAX_HOLDERS`](crate::MAX_HOLDERS).
        results: Vec<CallResult>,
    },
}

/// The result of a connection attempt to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct CallResult {
    /// The address that was tried.
    pub address: SocketAddr,
    /// Whether it answered.
    pub reached: bool,
}

/// A peer that holds a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Holder {
    /// Where it accepts peers.
    pub address: SocketAddr,
    /// `Partial` or `Full`.
    pub availability: Availability,
}

/// Which limit of the coordinator a report or lookup ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Limit {
    /// Entries per peer.
    EntriesPerPeer,
    /// Entries in the whole table.
    EntriesTotal,
    /// Connections from one IP address.
    ConnectionsPerIp,
    /// Connections in total.
    ConnectionsTotal,
    /// Watches per connection.
    WatchesPerPeer,
}

/// A message from the coordinator to a peer.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum CoordinatorReply {
    /// Answer to the hello.
    Welcome {
        /// Silence after which the peer's entries are deleted, in milliseconds.
        lease_ms: u32,
        /// The address that the connection comes from.
        observed: SocketAddr,
        /// Where others are sent.
        listed: Listed,
        /// What the coordinator still has of this peer from an earlier connection.
        digest: ReportDigest,
        /// Capability bits; unknown bits are ignored.
        capabilities: u64,
    },
    /// The report with this `seq` is in the table.
    Accepted {
        /// Of the report.
        seq: u64,
    },
    /// The heartbeat's digest is the table's too; the lease runs anew.
    Renewed,
    /// The heartbeat's digest differs: send a full report.
    Resync,
    /// Answer to `Lookup` and `Watch`, and pushed to watchers.
    Holders {
        /// BLAKE3 root of the file.
        hash: [u8; 32],
        /// Live peers with the whole file.
        full: u32,
        /// Live peers with a part.
        partial: u32,
        /// At most [`MAX_HOLDERS`](crate::MAX_HOLDERS) of them, chosen at random, the asking peer
        /// left out.
        holders: Vec<Holder>,
    },
    /// The report was not taken, or not all of it.
    LimitReached {
        /// Which limit.
        limit: Limit,
        /// The limit's value.
        value: u64,
    },
    /// The coordinator ends; keep the connection's state and come back.
    Bye,
    /// Answer to a message whose number is unknown here.
    Unsupported {
        /// The number of the unknown message.
        message: u32,
    },
    /// Room for experiments: a kind that is not known is ignored.
    Extension {
        /// Which extension.
        kind: u32,
        /// At most [`MAX_EXTENSION_LEN`](crate::MAX_EXTENSION_LEN) bytes.
        body: Vec<u8>,
    },
}

//! Counters of a coordinator. They only rise, except those that say "now".

use tnet_proto::Limit;

use crate::registry::table::TableSize;

/// Counters and sizes of a coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// What the table holds now.
    pub table: TableSize,
    /// Connections whose hello was accepted, now.
    pub connections: u32,
    /// Watches now.
    pub watches: u32,
    /// Limit of the bytes of files and entries in the table.
    pub table_budget: u64,
    /// Hellos accepted.
    pub hellos: u64,
    /// Reports accepted, including those that a limit truncated.
    pub reports: u64,
    /// Reports ignored because of their sequence number.
    pub reports_out_of_order: u64,
    /// Heartbeats that renewed a lease.
    pub renewals: u64,
    /// Requests for a full report.
    pub resyncs: u64,
    /// Lookups, and first answers to watches.
    pub lookups: u64,
    /// `Holders` pushed to watchers.
    pub pushes: u64,
    /// Peers whose lease ended without a sign of life.
    pub expired: u64,
    /// Peers that said bye.
    pub byes: u64,
    /// Connections evicted: all permits were taken, and their source had most of them.
    pub evicted: u64,
    /// Connections closed because the peer did not read, or did not complete a message.
    pub slow_peers: u64,
    /// Connections closed because of a protocol violation.
    pub violations: u64,
    /// Connections without a hello within the deadline, or that ended before it.
    pub without_hello: u64,
    /// How often each limit was met.
    pub limits: LimitCounts,
}

/// How often each limit was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LimitCounts {
    /// Entries of one peer, or of all peers of one IP address.
    pub entries_per_peer: u64,
    /// Entries in the table.
    pub entries_total: u64,
    /// Connections, or peers, of one IP address.
    pub connections_per_ip: u64,
    /// Connections, or peers, in total.
    pub connections_total: u64,
    /// Watches of one connection, or in total.
    pub watches_per_peer: u64,
}

impl LimitCounts {
    pub(crate) fn count(&mut self, limit: Limit) {
        let counter = match limit {
            Limit::EntriesPerPeer => &mut self.entries_per_peer,
            Limit::EntriesTotal => &mut self.entries_total,
            Limit::ConnectionsPerIp => &mut self.connections_per_ip,
            Limit::ConnectionsTotal => &mut self.connections_total,
            Limit::WatchesPerPeer => &mut self.watches_per_peer,
        };
        *counter += 1;
    }
}

//! What a coordinator counts. Numbers only ever rise unless they say "now".

use tnet_proto::Limit;

use crate::registry::table::TableSize;

/// A coordinator in figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// What the table holds now.
    pub table: TableSize,
    /// Connections that have said hello, now.
    pub connections: u32,
    /// Watches now.
    pub watches: u32,
    /// Bytes that the files and entries in the table may have.
    pub table_budget: u64,
    /// Peers let in.
    pub hellos: u64,
    /// Reports taken, also those that a limit cut.
    pub reports: u64,
    /// Reports ignored because their number was not the next.
    pub reports_out_of_order: u64,
    /// Heartbeats that renewed a lease.
    pub renewals: u64,
    /// Peers asked for a full report.
    pub resyncs: u64,
    /// Lookups, and first answers to watches.
    pub lookups: u64,
    /// `Holders` pushed to watchers.
    pub pushes: u64,
    /// Peers that were silent past their lease.
    pub expired: u64,
    /// Peers that said bye.
    pub byes: u64,
    /// Connections closed because their source had most, and there was no seat for others.
    pub gave_way: u64,
    /// Connections closed because they did not read, or did not finish a message.
    pub slow_peers: u64,
    /// Connections closed because they broke the protocol.
    pub violations: u64,
    /// Connections that came to no hello within the deadline, or ended before it.
    pub without_hello: u64,
    /// How often each limit was met.
    pub limits: LimitCounts,
}

/// How often each limit was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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

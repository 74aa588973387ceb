//! Settings of a coordinator. Everything that grows has a bound that is named here.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use tnet_proto::COORDINATOR_PORT;

use crate::registry::networks::AllowAdvertise;
use crate::registry::table::TableLimits;

/// How a coordinator behaves. Not `#[non_exhaustive]`: callers write
/// `Config { listen, ..Config::default() }`, which a new field does not break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where peers connect. Default: `[::]:7400`. An unspecified IPv6 address takes IPv4 as well,
    /// and IPv4 alone where the system has no IPv6.
    pub listen: SocketAddr,
    /// Which addresses peers may declare as theirs besides the one that they connect from. Default:
    /// those of private networks, if the peer reached the coordinator in one; the networks named
    /// here are allowed in addition.
    pub allow_advertise: AllowAdvertise,
    /// How much the table holds and how long it remembers. A report that does not fit is answered
    /// with `LimitReached`.
    ///
    /// An entry counts 44 bytes in its budget and a file about 150 more, independent of the
    /// capacity of the maps; a peer without entries takes at most 1 KiB.
    pub table: TableLimits,
    /// Connections in total. One more is told `LimitReached` and closed. Default: 20 000.
    pub max_connections: u32,
    /// Connections from one IP address; one more is told `LimitReached` and closed, too. Default: 2
    /// 000, which leaves room for a whole test swarm on one machine and limits one machine to a
    /// tenth of all connections.
    pub max_connections_per_ip: u32,
    /// Files that one connection may watch. Default: 1 024.
    pub max_watches_per_connection: u32,
    /// Watches in total. Default: 1 000 000, at about 150 bytes each.
    pub max_watches: u32,
    /// Pushed messages waiting for one connection. A peer with more of them does not read, and its
    /// connection is closed. Default: 64.
    pub max_unsent: u32,
    /// Pushed messages waiting for all connections together, at about 2 kB each. Above it,
    /// connections with several of them are closed. Default: 16 384.
    pub max_unsent_in_all: u32,
    /// Memory for messages above 4 KiB that are being read or processed. A connection that finds
    /// none free waits. Default: 64 MiB.
    pub large_message_bytes: u64,
    /// From accepting a connection to the end of its hello. Default: 5 s. After the hello, the
    /// lease is the deadline: a connection whose peer expired is closed.
    pub hello_deadline: Duration,
    /// Interval between two checks for a message that has begun to arrive and is not complete. If
    /// two checks in a row find the same message incomplete, its connection is closed: a peer
    /// cannot make us keep half a message for the length of its lease. Default: 15 s.
    pub message_deadline: Duration,
    /// For writing one message. Default: 10 s.
    pub write_deadline: Duration,
    /// Pause between two pushes about the same file. The first new holder after a pause is pushed
    /// at once. Default: 1 s.
    pub push_interval: Duration,
    /// How long a stopping coordinator waits for peers to read its `Bye`. Default: 1 s.
    pub shutdown_grace: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, COORDINATOR_PORT)),
            allow_advertise: AllowAdvertise::default(),
            table: TableLimits::default(),
            max_connections: 20_000,
            max_connections_per_ip: 2_000,
            max_watches_per_connection: 1024,
            max_watches: 1_000_000,
            max_unsent: 64,
            max_unsent_in_all: 16_384,
            large_message_bytes: 64 << 20,
            hello_deadline: Duration::from_secs(5),
            message_deadline: Duration::from_secs(15),
            write_deadline: Duration::from_secs(10),
            push_interval: Duration::from_secs(1),
            shutdown_grace: Duration::from_secs(1),
        }
    }
}

/// Upper bound of one connection's memory, including its peer and its part of every index, without
/// kernel buffers and without what has a bound for all connections together.
const CONNECTION_BYTES: u64 = 12 * 1024;

/// Memory of a peer without a connection, without its entries.
const PEER_BYTES: u64 = 1024;

const WATCH_BYTES: u64 = 256;

const UNSENT_BYTES: u64 = 2 * 1024;

impl Config {
    /// Limits the memory of the coordinator to `bytes`: each limit is lowered to a share of them,
    /// and none is raised. One IP address may use at most an eighth of `bytes` in the table.
    #[must_use]
    pub fn within(self, bytes: u64) -> Config {
        let share = |sixteenths: u64| bytes / 16 * sixteenths;
        let count = |bytes: u64, each: u64| u32::try_from(bytes / each).unwrap_or(u32::MAX).max(16);
        let connections = count(share(6), CONNECTION_BYTES);
        Config {
            table: TableLimits {
                max_peers: self.table.max_peers.min(connections + count(share(1), PEER_BYTES)),
                max_bytes: share(6),
                max_bytes_per_ip: share(2),
                ..self.table
            },
            max_connections: self.max_connections.min(connections),
            max_connections_per_ip: self.max_connections_per_ip.min(connections.div_ceil(4)),
            max_watches: self.max_watches.min(count(share(1), WATCH_BYTES)),
            max_unsent_in_all: self.max_unsent_in_all.min(count(share(1), UNSENT_BYTES)),
            large_message_bytes: self.large_message_bytes.min(share(1)),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_gibibyte_is_enough_for_the_defaults_of_a_lan() {
        let config = Config::default().within(512 << 20);
        assert!(config.max_connections >= 16_000, "{}", config.max_connections);
        assert_eq!(config.max_connections_per_ip, Config::default().max_connections_per_ip);
        assert_eq!(config.table.max_bytes_per_ip, 64 << 20);
    }

    #[test]
    fn the_shares_are_no_more_than_the_whole() {
        for bytes in [16 << 20, 64 << 20, 512 << 20, 4 << 30] {
            let config = Config::default().within(bytes);
            let peers = u64::from(config.table.max_peers.saturating_sub(config.max_connections))
                * PEER_BYTES;
            let taken = config.table.max_bytes
                + u64::from(config.max_connections) * CONNECTION_BYTES
                + peers
                + u64::from(config.max_watches) * WATCH_BYTES
                + u64::from(config.max_unsent_in_all) * UNSENT_BYTES
                + config.large_message_bytes;
            assert!(taken <= bytes, "{taken} of {bytes}");
        }
    }
}

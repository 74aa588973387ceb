//! Everything about a coordinator that can be chosen. Nothing in it may grow without a bound named
//! here.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::registry::networks::AllowAdvertise;
use crate::registry::table::TableLimits;

/// TCP port of the coordinator unless another is chosen.
pub const DEFAULT_PORT: u16 = 7400;

/// How a coordinator behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where peers connect. Default: `[::]:7400`. An unspecified IPv6 address takes IPv4 as well,
    /// and IPv4 alone where the system has no IPv6.
    pub listen: SocketAddr,
    /// Which addresses peers may declare as theirs besides the one that they come from. Default:
    /// those of private networks, if the coordinator was reached in one; what is named here comes
    /// on top of that.
    pub allow_advertise: AllowAdvertise,
    /// How much the table holds and how long it remembers. What does not fit is answered with
    /// `LimitReached`.
    ///
    /// In its budget an entry counts 44 bytes and a file about 150 more, whatever their maps have
    /// grown to; a peer without entries takes 1 KiB at most.
    pub table: TableLimits,
    /// Connections in total. One more is told `LimitReached` and closed. Default: 20 000.
    pub max_connections: u32,
    /// Connections from one IP address; one more is treated likewise. Default: 2 000, which leaves
    /// room for a whole test swarm on one machine and keeps one machine to a tenth of what there
    /// is.
    pub max_connections_per_ip: u32,
    /// Files that one connection may watch. Default: 1 024.
    pub max_watches_per_connection: u32,
    /// Watches in total. Default: 1 000 000, at about 150 bytes each.
    pub max_watches: u32,
    /// Pushed messages waiting for one connection. When they are more, the peer does not read, and
    /// the connection is closed. Default: 64.
    pub max_unsent: u32,
    /// The same for all connections together, at about 2 kB each. When they are more, those that
    /// have several are closed. Default: 16 384.
    pub max_unsent_in_all: u32,
    /// Memory for messages above 4 KiB that are being read or dealt with. Who finds none waits.
    /// Default: 64 MiB.
    pub large_message_bytes: u64,
    /// From accepting a connection to the end of its hello. Default: 5 s. After the hello, the
    /// lease is the deadline: a connection whose peer expired is closed.
    pub hello_deadline: Duration,
    /// For a message that has begun to arrive: after this it is looked for, and after twice this,
    /// if the same one is still incomplete, its connection is closed. A peer cannot make us keep
    /// half a message for the length of its lease. Default: 15 s.
    pub message_deadline: Duration,
    /// For writing one message. Default: 10 s.
    pub write_deadline: Duration,
    /// Pause between two pushes about the same file. The first new holder after a pause is pushed
    /// at once. Default: 1 s.
    pub push_interval: Duration,
    /// How long a stopping coordinator waits for its goodbyes to be read. Default: 1 s.
    pub shutdown_grace: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, DEFAULT_PORT)),
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

/// What one connection takes at most, its peer and its part of every index included; the kernel's
/// buffers and what is bounded for all together are not in it.
const CONNECTION_BYTES: u64 = 12 * 1024;

/// What a peer without a connection takes besides its entries.
const PEER_BYTES: u64 = 1024;

const WATCH_BYTES: u64 = 256;

const UNSENT_BYTES: u64 = 2 * 1024;

impl Config {
    /// Takes so many bytes of memory at most: no limit is above the default, and each is a share of
    /// the bytes. Of the table's bytes one IP address may have as much as an eighth of all.
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

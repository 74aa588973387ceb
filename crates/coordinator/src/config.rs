//! Everything about a coordinator that can be chosen. Nothing in it may grow without a bound named here.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::table::TableLimits;

/// TCP port of the coordinator unless another is chosen.
pub const DEFAULT_PORT: u16 = 7400;

/// How a coordinator behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where peers connect. Default: `0.0.0.0:7400`. An unspecified IPv6 address takes IPv4 as well.
    pub listen: SocketAddr,
    /// How much the table holds and how long it remembers. What does not fit is answered with `LimitReached`.
    ///
    /// An entry costs about 20 bytes, a file that nobody else shares about 200 more, a peer about 500.
    pub table: TableLimits,
    /// Connections in total. One more is told `LimitReached` and closed. Default: 20 000.
    pub max_connections: u32,
    /// Connections from one IP address; one more is treated likewise. Default: 2 000, which leaves room for a
    /// whole test swarm on one machine and keeps one machine to a tenth of what there is.
    pub max_connections_per_ip: u32,
    /// Files that one connection may watch. Default: 1 024.
    pub max_watches_per_connection: u32,
    /// Watches in total. Default: 1 000 000, at about 150 bytes each.
    pub max_watches: u32,
    /// Pushed messages waiting for one connection. When they are more, the peer does not read, and the connection
    /// is closed. Default: 64.
    pub max_unsent: u32,
    /// From accepting a connection to the end of its hello. Default: 5 s. After the hello, the lease is the
    /// deadline: a connection whose peer expired is closed.
    pub hello_deadline: Duration,
    /// For a message that has begun to arrive: after this it is looked for, and after twice this, if the same one
    /// is still incomplete, its connection is closed. A peer cannot make us keep half a message for the length of
    /// its lease. Default: 15 s.
    pub message_deadline: Duration,
    /// For writing one message. Default: 10 s.
    pub write_deadline: Duration,
    /// Pause between two pushes about the same file. The first new holder after a pause is pushed at once.
    /// Default: 1 s.
    pub push_interval: Duration,
    /// How long a stopping coordinator waits for its goodbyes to be read. Default: 1 s.
    pub shutdown_grace: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT)),
            table: TableLimits::default(),
            max_connections: 20_000,
            max_connections_per_ip: 2_000,
            max_watches_per_connection: 1024,
            max_watches: 1_000_000,
            max_unsent: 64,
            hello_deadline: Duration::from_secs(5),
            message_deadline: Duration::from_secs(15),
            write_deadline: Duration::from_secs(10),
            push_interval: Duration::from_secs(1),
            shutdown_grace: Duration::from_secs(1),
        }
    }
}

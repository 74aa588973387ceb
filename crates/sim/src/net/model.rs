//! Parameters of the network.

use tnet_proto::{PART_LEN, TURN_TIMEOUT, TURNS, UNSENT_AHEAD, UNSENT_AT_FIRST};

use crate::units::{MICROSECOND, MILLISECOND, Nanos, duration};
use crate::wire::Headers;

/// How the links behave. Rates belong to hosts.
#[derive(Debug, Clone)]
pub struct NetworkModel {
    /// From any host to any other, without queues.
    pub delay: Nanos,
    /// Added to each batch: uniform from zero to this. The order within a connection is kept.
    pub jitter: Nanos,
    /// Packets lost in a million; each costs its connection a retransmission time.
    pub loss_ppm: u32,
    /// Bytes that a connection has at most in the queue of its interface (TCP small queues), and so
    /// what it sends before the next connection has its turn.
    pub turn_bytes: u64,
    /// Bytes written by the application and not sent, at which it has to wait
    /// (`TCP_NOTSENT_LOWAT`), at least.
    pub unsent_bytes: u64,
    /// The same, as the time in which the connection sends them.
    pub unsent_ahead: Nanos,
    /// Parts of chunks that a host writes at the same time.
    pub turns: usize,
    /// A part that takes longer than this to send lets another one begin.
    pub turn_at_most: Nanos,
    /// Bytes of a chunk that the application writes at once; its messages go between such parts.
    pub part_bytes: u32,
    /// Bytes sent and not arrived on one connection, beyond what fits on the wire.
    pub window_bytes: u64,
    /// Longest queue of a host's own interface; turns become shorter when many connections send.
    pub uplink_queue: Nanos,
    /// Longest queue in front of a host's downlink, as in the switch; senders wait when it is full.
    pub downlink_queue: Nanos,
    /// Whether packets have headers.
    pub headers: Headers,
}

impl Default for NetworkModel {
    /// A quiet switched network, without headers.
    fn default() -> NetworkModel {
        NetworkModel {
            delay: 100 * MICROSECOND,
            jitter: 0,
            loss_ppm: 0,
            turn_bytes: 16 * 1024,
            unsent_bytes: UNSENT_AT_FIRST.into(),
            unsent_ahead: duration(UNSENT_AHEAD),
            turns: TURNS,
            turn_at_most: duration(TURN_TIMEOUT),
            part_bytes: PART_LEN,
            window_bytes: 64 * 1024,
            uplink_queue: 40 * MILLISECOND,
            downlink_queue: 40 * MILLISECOND,
            headers: Headers::Ignored,
        }
    }
}

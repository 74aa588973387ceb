//! Where a host meets the network: an uplink that serves the host's connections in turn, and a
//! downlink with a queue in front of it.

use std::collections::VecDeque;

use super::pipe::PipeId;
use crate::units::{Nanos, Rate};

#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) up: Rate,
    pub(crate) down: Rate,
    /// Pipes that have something to send, in turn.
    pub(crate) ring: VecDeque<PipeId>,
    /// Pipes whose bytes are being sent now.
    pub(crate) sending: Vec<PipeId>,
    /// When the uplink has sent those.
    pub(crate) up_free: Nanos,
    /// When the downlink will have carried everything in flight to it.
    pub(crate) down_free: Nanos,
    /// Pipes of others that wait for room in front of the downlink.
    pub(crate) crowd: VecDeque<PipeId>,
    pub(crate) room_is_due: bool,
    /// Pipes that write a part of a chunk or have not sent it, and since when.
    pub(crate) turns: Vec<(PipeId, Nanos)>,
    /// Pipes that wait for one of those turns.
    pub(crate) line: VecDeque<PipeId>,
    /// An event for turns that take long is planned.
    pub(crate) is_watched: bool,
    /// Bytes of acknowledgements to be sent with the next turn.
    pub(crate) acknowledgements: u64,
    /// A frozen host reads and sends nothing.
    pub(crate) is_frozen: bool,
    /// Pipes of this host that are not closed.
    pub(crate) open: Vec<PipeId>,
    pub(crate) used: PortUse,
}

/// What went through a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PortUse {
    /// Time during which the uplink sent.
    pub(crate) up_busy: Nanos,
    /// Bytes of chunks handed to the network.
    pub(crate) content_bytes: u64,
    /// Bytes sent, headers included if they count.
    pub(crate) up_bytes: u64,
    /// Bytes received, likewise.
    pub(crate) down_bytes: u64,
}

impl Port {
    pub(crate) fn new(up: Rate, down: Rate) -> Port {
        Port {
            up,
            down,
            ring: VecDeque::new(),
            sending: Vec::new(),
            up_free: 0,
            down_free: 0,
            crowd: VecDeque::new(),
            room_is_due: false,
            turns: Vec::new(),
            line: VecDeque::new(),
            is_watched: false,
            acknowledgements: 0,
            is_frozen: false,
            open: Vec::new(),
            used: PortUse::default(),
        }
    }

    pub(crate) fn is_sending(&self) -> bool {
        !self.sending.is_empty()
    }

    /// What is queued in front of the downlink at that moment.
    pub(crate) fn down_backlog(&self, now: Nanos) -> Nanos {
        self.down_free.saturating_sub(now)
    }
}

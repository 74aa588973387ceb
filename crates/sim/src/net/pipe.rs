//! One direction of a connection: a stream of bytes in order, and where each message and part ends
//! in it.
//!
//! `delivered + queued <= sent <= written`. A write is a whole message or a whole part of a chunk;
//! the writer chooses the next one when little of the last one is unsent, messages first.

use tnet_proto::PeerMessage;

use super::chain::Chain;
use crate::units::{HostId, Nanos};

/// Number of a pipe. The two directions of a connection differ in the lowest bit. The sender's core
/// knows the connection by this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PipeId(pub(crate) u32);

impl PipeId {
    /// The other direction.
    pub(crate) fn back(self) -> PipeId {
        PipeId(self.0 ^ 1)
    }

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Whether the bytes of a chunk are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taint {
    /// They are right.
    Genuine,
    /// They are wrong; the receiver's verification will find out.
    Forged,
}

/// What travels through a pipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Parcel {
    /// A message.
    Message(PeerMessage),
    /// A part of a chunk.
    Part {
        /// Which chunk.
        chunk: u32,
        /// Bytes of the part.
        len: u32,
        /// Whether the chunk ends with it.
        is_last: bool,
        /// Whether its bytes are right.
        taint: Taint,
    },
    /// The end of the stream.
    Close,
}

/// A parcel and where in the stream its last byte is.
#[derive(Debug)]
pub(crate) struct Wrapped {
    pub(crate) ends_at: u64,
    pub(crate) parcel: Parcel,
}

/// A chunk that waits in the application.
#[derive(Debug)]
pub(crate) struct QueuedUpload {
    pub(crate) chunk: u32,
    pub(crate) len: u32,
    pub(crate) written: u32,
    pub(crate) taint: Taint,
}

/// Where a pipe waits, if it has something to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waits {
    /// There is nothing to send.
    Nowhere,
    /// Some of it is being sent.
    Sending,
    /// For its turn at the uplink.
    Turn,
    /// For its own window.
    Window,
    /// For room in front of the receiver's downlink.
    DownlinkState,
    /// For the end of a partition.
    Partition,
}

/// Whether the sender's end is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndState {
    /// The handshake is not complete.
    Greeting,
    Open,
    /// The sender has sent `Bye`: what was written is still sent.
    Closing,
    /// Nothing more is sent, and what arrives for the sender is not read.
    Closed,
}

#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) from: HostId,
    pub(crate) to: HostId,
    pub(crate) written: u64,
    pub(crate) sent: u64,
    pub(crate) delivered: u64,
    /// Bytes of `sent` in the queue of the sender's interface: nothing overtakes them.
    pub(crate) queued: u64,
    /// Written and not delivered.
    pub(crate) stream: Chain,
    /// Messages that wait for the write before them.
    pub(crate) messages: Chain,
    pub(crate) uploads: Chain,
    /// The chunk whose last part has been written and not sent.
    pub(crate) finishing: Option<u32>,
    /// A part has been written and not sent.
    pub(crate) is_leaving: bool,
    pub(crate) waits: Waits,
    pub(crate) end: EndState,
    /// Nothing arrives before this.
    pub(crate) last_arrival: Nanos,
}

impl Pipe {
    pub(crate) fn new(from: HostId, to: HostId) -> Pipe {
        Pipe {
            from,
            to,
            written: 0,
            sent: 0,
            queued: 0,
            delivered: 0,
            stream: Chain::EMPTY,
            messages: Chain::EMPTY,
            uploads: Chain::EMPTY,
            finishing: None,
            is_leaving: false,
            waits: Waits::Nowhere,
            end: EndState::Greeting,
            last_arrival: 0,
        }
    }

    pub(crate) fn unsent(&self) -> u64 {
        self.written - self.sent
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.sent - self.delivered
    }
}

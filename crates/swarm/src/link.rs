//! One file on one connection: what the other side holds of it, and how far it is served and
//! trusted. What we have requested there is in the request book.

use std::collections::BTreeSet;

use tnet_fileinfo::{ChunkIndex, ChunkSet, Geometry};
use tnet_proto::FileHandle;
pub(crate) use tnet_proto::MAX_UNANSWERED;
use tnet_sources::Trust;

use crate::Time;

/// Bytes of a link without its sets of chunks: itself, its requests, and its entries in the maps
/// and orders of its file and its connection. Measured: 300 B where many have a file open, 500 B
/// where one has.
pub(crate) const LINK_BYTES: u64 = size_of::<Link>() as u64 + 304;

/// Chunks that were given and not announced are counted by so many.
pub(crate) const GIVEN_AT_ONCE: usize = 64;

/// What the other side holds.
#[derive(Debug)]
pub(crate) enum PeerHas {
    Full,
    Part(ChunkSet),
}

impl PeerHas {
    pub(crate) fn contains(&self, chunk: ChunkIndex) -> bool {
        match self {
            PeerHas::Full => true,
            PeerHas::Part(chunks) => chunks.contains(chunk),
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        matches!(self, PeerHas::Full)
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            PeerHas::Full => false,
            PeerHas::Part(chunks) => chunks.is_empty(),
        }
    }

    /// Bytes of the set.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            PeerHas::Full => 0,
            PeerHas::Part(chunks) => u64::from(chunks.len().div_ceil(8)),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Link {
    /// Their number for the file, once they have opened it.
    pub(crate) handle: Option<FileHandle>,
    /// Of the connection.
    pub(crate) trust: Trust,
    pub(crate) held: PeerHas,
    /// Bytes that are counted for it.
    pub(crate) counted: u64,
    /// Chunks we miss and they hold.
    pub(crate) wanted: u32,
    /// They are busy and will wake us; at this moment we ask again regardless.
    pub(crate) busy_until: Option<Time>,
    /// What they said of their load with the last busy.
    pub(crate) load: u32,
    /// Requests they did not fulfil although they had announced the chunk.
    pub(crate) refusals: u32,
    /// They have asked for a chunk, and not let the slot lapse that was kept for them.
    pub(crate) has_asked: bool,
    /// Chunks sent to them in full that they have not announced yet.
    pub(crate) given: BTreeSet<ChunkIndex>,
    /// Slots with a suggestion that they gave back since we last sent them a chunk.
    pub(crate) declined: u32,
    /// They gave back a slot: no other one is offered before this moment.
    pub(crate) no_offer_before: Time,
    /// What they say of other peers before this moment is not read.
    pub(crate) exchange_after: Time,
}

impl Link {
    pub(crate) fn new(geometry: &Geometry, trust: Trust) -> Link {
        Link {
            handle: None,
            trust,
            held: PeerHas::Part(ChunkSet::empty(geometry)),
            counted: 0,
            wanted: 0,
            busy_until: None,
            load: 0,
            refusals: 0,
            has_asked: false,
            given: BTreeSet::new(),
            declined: 0,
            no_offer_before: Time::ZERO,
            exchange_after: Time::ZERO,
        }
    }

    /// Bytes that it holds.
    pub(crate) fn bytes(&self) -> u64 {
        let given = self.given.len() / GIVEN_AT_ONCE * GIVEN_AT_ONCE * 2 * size_of::<ChunkIndex>();
        LINK_BYTES + self.held.bytes() + given as u64
    }

    pub(crate) fn is_busy(&self, now: Time) -> bool {
        self.busy_until.is_some_and(|until| now < until)
    }
}

//! The wire protocol of `tnet`: the messages between peers and with the coordinator, as bytes.
//!
//! A connection opens with a fixed [`preamble`] in both directions. After it come frames: a length,
//! then one message. `docs/protocol.md` describes every byte; the tests of this crate hold the
//! document to it.
//!
//! The other side is not trusted. A length is checked against its limit and against the bytes that
//! are there before anything is allocated, and each fault of a frame is a typed error.
//!
//! ```
//! use bytes::BytesMut;
//! use tnet_proto::{FileHandle, PeerMessage, decode, encode};
//!
//! let request = PeerMessage::Request { file: FileHandle(3), chunk: 41 };
//! let mut frame = BytesMut::new();
//! encode(&request, &mut frame);
//!
//! let (prefix, body) = frame.split_at(4);
//! assert_eq!(prefix, [12, 0, 0, 0]);
//! assert_eq!(decode::<PeerMessage>(body), Ok(request));
//! ```
//!
//! Beside the messages is what all who speak them have in common, without IO: the clock of the
//! rules ([`Time`]), the numbers of connections and files ([`PeerKey`], [`FileKey`]), and for which
//! peers an address means the same ([`Vicinity`]).
//!
//! A peer session reads chunk bytes straight into their final buffer: it parses frames with
//! [`FrameHead`] and writes them with [`data_header`]. Everything that only exchanges small
//! messages uses `MessageCodec` (feature `codec`), which puts the same frames behind tokio-util's
//! `Framed`.

// Network input must never be used as an index: use `get`.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod coordinator;
mod defaults;
mod digest;
mod frame;
mod keys;
mod limits;
mod message;
mod pacing;
mod peer;
mod preamble;
mod shape;
mod time;
mod vicinity;

#[cfg(feature = "codec")]
mod codec;

pub use coordinator::{
    Availability, CallResult, CoordinatorReply, CoordinatorRequest, Families, Holder, Limit,
    Listed, Reach, Refusal, ReportDigest, ReportEntry,
};
pub use defaults::{COORDINATOR_PORT, PEER_PORT, REPORT_INTERVAL};
pub use frame::{FrameError, FrameHead, HEAD_LEN, PREFIX_LEN, data_header, info_head};
pub use keys::{FileKey, PeerKey, UploadEnd};
pub use limits::{
    CONNECT_TIMEOUT, DATA_HEADER_LEN, MAX_BITMAP_LEN, MAX_DATA_LEN, MAX_EXTENSION_LEN,
    MAX_FRAME_BEFORE_HELLO, MAX_FRAME_LEN, MAX_HAVE_CHUNKS, MAX_HOLDERS, MAX_INFO_SUMS,
    MAX_REPORT_ENTRIES, MAX_TAIL_LEAF, MAX_TAIL_PATH, SILENCE_TIMEOUT,
};
pub use message::{DecodeError, WireMessage, decode, encode};
pub use pacing::{MAX_UNANSWERED, PART_LEN, TURN_TIMEOUT, TURNS, UNSENT_AHEAD, UNSENT_AT_FIRST};
pub use peer::{ByeReason, FileHandle, Hello, Holdings, Info, Open, Payload, PeerId, PeerMessage};
pub use preamble::{PREAMBLE_LEN, PreambleError, Protocol, Versions, negotiate, preamble};
pub use shape::{CoordinatorReplyKind, CoordinatorRequestKind, PeerMessageKind};
pub use time::Time;
pub use vicinity::{Vicinity, canonical, unmapped};

#[cfg(feature = "codec")]
pub use codec::{CodecError, MessageCodec, PreambleExchangeError, Received, exchange_preamble};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

//! What two peers say to each other. Variants are append-only: their position is their number on
//! the wire.
//!
//! Each side numbers the files it talks about itself, and announces a number with
//! [`PeerMessage::Open`]. Every later message about that file carries *the sender's* number, so
//! neither side has to agree on anything.
//!
//! The types here are exhaustive: a variant is a number on the wire and a field its bytes, so a new
//! one is a new version of the protocol.

use std::fmt;
use std::net::SocketAddr;

use bincode::{Decode, Encode};

/// Number that the sender of a message has given to a file on this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct FileHandle(pub u32);

/// 16 random bytes, new at each start of a peer. It serves to detect connections to oneself and
/// double connections, and nothing else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct PeerId(pub [u8; 16]);

/// Eight hex digits: enough to tell the peers of a log apart.
impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerId(")?;
        for byte in &self.0[..4] {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// First message in both directions.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// The sender.
    pub peer_id: PeerId,
    /// TCP port the sender accepts peers on; 0 if it accepts none.
    pub listen_port: u16,
    /// Capability bits; unknown bits are ignored.
    pub capabilities: u64,
}

/// Which chunks the sender of an [`Open`] holds, ready to be served.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub enum Holdings {
    /// Every chunk.
    Full,
    /// One bit per chunk: chunk `i` is bit `i % 8` (least significant first) of byte `i / 8`.
    /// Exactly `ceil(chunk_count / 8)` bytes; spare bits are zero.
    Bitmap(Vec<u8>),
}

/// A bitmap is shown by its length: it can be 128 KiB.
impl fmt::Debug for Holdings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holdings::Full => f.write_str("Full"),
            Holdings::Bitmap(bits) => write!(f, "Bitmap({} bytes)", bits.len()),
        }
    }
}

/// "I take part in this file's swarm, and this is what I hold of it."
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Open {
    /// The sender's number for the file from now on.
    pub file: FileHandle,
    /// BLAKE3 root of the file.
    pub hash: [u8; 32],
    /// Length of the file in bytes.
    pub size: u64,
    /// Bytes per chunk; a power of two.
    pub chunk_size: u32,
    /// What the sender holds.
    pub holdings: Holdings,
}

/// One part of a `.fileinfo`: its geometry and a run of chunk sums.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Info {
    /// BLAKE3 root of the file.
    pub hash: [u8; 32],
    /// Length of the file in bytes.
    pub size: u64,
    /// Bytes per chunk; a power of two.
    pub chunk_size: u32,
    /// The file's last bytes, which prove its size; see `tnet_fileinfo::Tail`. At most
    /// [`MAX_TAIL_LEAF`](crate::MAX_TAIL_LEAF) bytes.
    pub tail_leaf: Vec<u8>,
    /// Chaining values beside the path from the last leaf up to the last chunk's root, innermost
    /// first. At most [`MAX_TAIL_PATH`](crate::MAX_TAIL_PATH).
    pub tail_path: Vec<[u8; 32]>,
    /// Index of the first chunk in `sums`.
    pub first: u32,
    /// Sums of the chunks from `first` on. At most [`MAX_INFO_SUMS`](crate::MAX_INFO_SUMS).
    pub sums: Vec<[u8; 32]>,
}

/// Sums and the tail are shown by their number: written out they fill a screen and name nothing.
impl fmt::Debug for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Info")
            .field("hash", &self.hash)
            .field("size", &self.size)
            .field("chunk_size", &self.chunk_size)
            .field("tail_leaf", &format_args!("{} bytes", self.tail_leaf.len()))
            .field("tail_path", &format_args!("{} siblings", self.tail_path.len()))
            .field("first", &self.first)
            .field("sums", &format_args!("{} sums", self.sums.len()))
            .finish()
    }
}

/// The bytes of a [`Data`](PeerMessage::Data) message. Encoded as any list of bytes; a type of its
/// own only so that showing a message does not write out 256 KiB.
#[derive(Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Payload(pub Vec<u8>);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Payload {
        Payload(bytes)
    }
}

/// Why a side ends the connection. Unknown numbers are shown as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct ByeReason(pub u16);

impl ByeReason {
    /// The process ends.
    pub const SHUTDOWN: ByeReason = ByeReason(0);
    /// Nothing left to exchange.
    pub const IDLE: ByeReason = ByeReason(1);
    /// Connection limit reached; try again later.
    pub const TOO_MANY: ByeReason = ByeReason(2);
    /// Both sides connected at once, or this is a connection to oneself.
    pub const DUPLICATE: ByeReason = ByeReason(3);
    /// The other side broke the protocol.
    pub const VIOLATION: ByeReason = ByeReason(4);
    /// The other side sent corrupt chunks.
    pub const BANNED: ByeReason = ByeReason(5);
}

/// In words, for logs.
impl fmt::Display for ByeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            ByeReason::SHUTDOWN => "the process ends",
            ByeReason::IDLE => "nothing left to exchange",
            ByeReason::TOO_MANY => "too many connections",
            ByeReason::DUPLICATE => "connected already",
            ByeReason::VIOLATION => "it broke the protocol",
            ByeReason::BANNED => "it sent corrupt chunks",
            ByeReason(number) => return write!(f, "reason {number}"),
        })
    }
}

/// A message between peers.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum PeerMessage {
    /// First message, both directions.
    Hello(Hello),
    /// Joins a file's swarm on this connection. Answered by the other side's own `Open`, unless it
    /// was sent already, or by `NotFound`. Repeated with the same number it replaces the holdings:
    /// so a sender says that it has become full.
    Open(Open),
    /// Answer to an `Open`: the hash is not shared here in this geometry. `file` is the number the
    /// *receiver* of this message announced.
    NotFound {
        /// The number in the `Open`.
        file: FileHandle,
    },
    /// The sender leaves the swarm of its file `file`; the number is free again.
    Close {
        /// The sender's number.
        file: FileHandle,
    },
    /// The sender now also holds these chunks.
    Have {
        /// The sender's number.
        file: FileHandle,
        /// Chunk indices, at most [`MAX_HAVE_CHUNKS`](crate::MAX_HAVE_CHUNKS).
        chunks: Vec<u32>,
    },
    /// Asks for one chunk. It gets exactly one final answer: the chunk's last `Data`, `Busy`,
    /// `Stopped`, or, if the chunk is not held (any more), `Refused`.
    Request {
        /// The sender's number.
        file: FileHandle,
        /// Chunk index.
        chunk: u32,
    },
    /// A part of a requested chunk. Parts of one chunk are sent in order and without a part of
    /// another chunk between them.
    Data {
        /// The sender's number.
        file: FileHandle,
        /// Chunk index.
        chunk: u32,
        /// Where in the chunk the part begins, in bytes.
        offset: u32,
        /// 1 to [`MAX_DATA_LEN`](crate::MAX_DATA_LEN) bytes. The last field: header then raw bytes
        /// is the encoding.
        bytes: Payload,
    },
    /// Answer to a `Request`: all upload slots are taken. The receiver waits for `Ready` or
    /// `Suggest`.
    Busy {
        /// The sender's number.
        file: FileHandle,
        /// The chunk asked for.
        chunk: u32,
        /// Requests in service and waiting at the sender.
        load: u32,
    },
    /// A slot is kept for the receiver for a moment. Answered by a `Request` (for any chunk) or, to
    /// give the slot back, by a `Cancel` of `chunk`.
    Ready {
        /// The sender's number.
        file: FileHandle,
        /// The chunk that was answered with `Busy`.
        chunk: u32,
    },
    /// Like `Ready`, and names the chunk whose spreading helps the swarm most. May follow a `Busy`
    /// at once: "not that one, this one". Answered by a `Request` (for any chunk) or a `Cancel` of
    /// `chunk`.
    Suggest {
        /// The sender's number.
        file: FileHandle,
        /// A chunk that the receiver does not have.
        chunk: u32,
    },
    /// Takes back a `Request` or an interest in a slot. If the chunk is in service and its last
    /// `Data` is not sent yet, the other side stops and answers `Stopped`; otherwise there is no
    /// answer.
    Cancel {
        /// The sender's number.
        file: FileHandle,
        /// Chunk index.
        chunk: u32,
    },
    /// The chunk under way ends here, incomplete: cancelled, or no longer readable at the sender.
    Stopped {
        /// The sender's number.
        file: FileHandle,
        /// Chunk index.
        chunk: u32,
    },
    /// Answer to a `Request`: the sender does not hold this chunk.
    Refused {
        /// The sender's number.
        file: FileHandle,
        /// Chunk index.
        chunk: u32,
    },
    /// Asks for the `.fileinfo` of `hash`, from chunk sum `first` on.
    InfoRequest {
        /// BLAKE3 root of the file.
        hash: [u8; 32],
        /// First chunk sum wanted.
        first: u32,
    },
    /// Answer to `InfoRequest`.
    Info(Info),
    /// Answer to `InfoRequest`: not known here.
    InfoNotFound {
        /// BLAKE3 root of the file.
        hash: [u8; 32],
    },
    /// Peer exchange: others that the sender is connected to in this file's swarm, by the address
    /// they accept peers on. At most [`MAX_HOLDERS`](crate::MAX_HOLDERS).
    Peers {
        /// The sender's number.
        file: FileHandle,
        /// Addresses.
        peers: Vec<SocketAddr>,
    },
    /// Are you there? Answered by `Pong` with the same number.
    Ping {
        /// Any number.
        nonce: u64,
    },
    /// Answer to `Ping`. One with the number 0 may come unasked, from a peer that has stopped
    /// reading for now.
    Pong {
        /// The number in the `Ping`.
        nonce: u64,
    },
    /// The sender closes the connection after this message.
    Bye {
        /// Why.
        reason: ByeReason,
    },
    /// Answer to a message whose number is unknown here.
    Unsupported {
        /// The number of the unknown message.
        message: u32,
    },
    /// Room for experiments: a kind that is not known is ignored.
    Extension {
        /// Which extension.
        kind: u32,
        /// At most [`MAX_EXTENSION_LEN`](crate::MAX_EXTENSION_LEN) bytes.
        body: Vec<u8>,
    },
    /// That chunk, as the receiver of this message sent it, does not match its sum. A hint to look
    /// at it, no proof: it has no answer.
    Corrupt {
        /// The sender's number.
        file: FileHandle,
        /// Chunk index.
        chunk: u32,
    },
}

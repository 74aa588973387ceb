//! What goes into the core and what comes out. The core receives events as [`Input`] and emits
//! actions as [`Output`]. The caller must perform each action; the core assumes that it is done.
//! All enums here are exhaustive: the caller must handle each variant.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;

use tnet_fileinfo::{ChunkIndex, ChunkSet, FileHash, Geometry};
use tnet_proto::{ByeReason, FileHandle, FileKey, PeerId, PeerKey, PeerMessage, UploadEnd};

/// The side that made a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// They called us.
    Inbound,
    /// We called them.
    Outbound,
}

/// What we want with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Serve what is there; it is complete.
    Seed,
    /// Get what is missing, and serve what is there.
    Download,
    /// Serve what is there; what is missing is not wanted.
    ServePart,
}

/// Limits in bytes per second, of the whole process or of one file. `None` is no limit. Only
/// payload counts. Exhaustive: there are two directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateLimits {
    /// For what is sent.
    pub up: Option<NonZeroU64>,
    /// For what is requested.
    pub down: Option<NonZeroU64>,
}

/// Which of several files gets slots first. Strict: a lower one gets what a higher one has no use
/// for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// After all others.
    Low,
    /// Unless the user says otherwise.
    #[default]
    Normal,
    /// Before all others.
    High,
}

impl Priority {
    /// All of them, the first to be served first.
    pub(crate) const FIRST_TO_LAST: [Priority; 3] =
        [Priority::High, Priority::Normal, Priority::Low];
}

/// Something happened.
#[derive(Debug, Clone)]
pub enum Input<B = ()> {
    /// The process has or wants this file.
    AddFile {
        /// Its number.
        file: FileKey,
        /// Its root.
        hash: FileHash,
        /// Its chunks.
        geometry: Geometry,
        /// Chunks verified and on disk.
        stored: ChunkSet,
        /// Chunks on disk whose sums this process has not compared yet. They are not asked for,
        /// announced or served. Of each the caller tells when it has compared it:
        /// [`ChunksVerified`](Self::ChunksVerified) or [`ChunksLost`](Self::ChunksLost).
        vouched: ChunkSet,
        /// What we want with it.
        goal: Goal,
    },
    /// The file is not shared or wanted any more.
    RemoveFile {
        /// Its number.
        file: FileKey,
    },
    /// A connection has said hello.
    PeerConnected {
        /// Its number.
        peer: PeerKey,
        /// The other side's id, as it says.
        id: PeerId,
        /// Where the connection comes from or leads to, as the socket says.
        source: IpAddr,
        /// Our own end of it, if there is one. A link-local address has its interface.
        local: Option<SocketAddr>,
        /// Where the other side accepts peers, if it does.
        address: Option<SocketAddr>,
        /// The side that called.
        direction: Direction,
    },
    /// A connection ended.
    PeerLost {
        /// Its number.
        peer: PeerKey,
    },
    /// An [`Output::Connect`] came to nothing.
    ConnectFailed {
        /// The address called.
        address: SocketAddr,
    },
    /// An [`Output::Connect`] could not be tried, for want of something of ours. That says nothing
    /// of the address.
    NotCalled {
        /// The address that was to be called.
        address: SocketAddr,
    },
    /// A message came in; any but hello, data, info and ping, which the caller deals with.
    Message {
        /// From this connection.
        peer: PeerKey,
        /// The message.
        message: PeerMessage,
    },
    /// What came in on a connection is no message, or no part of a chunk that could be meant.
    Violated {
        /// On this connection.
        peer: PeerKey,
    },
    /// Some bytes of a chunk came in.
    DataReceived {
        /// From this connection.
        peer: PeerKey,
        /// How many.
        bytes: u32,
    },
    /// We read nothing of a connection for now, for want of memory of our own. What the other side
    /// has sent waits.
    ReadingPaused {
        /// This connection.
        peer: PeerKey,
    },
    /// The end of that.
    ReadingResumed {
        /// This connection.
        peer: PeerKey,
    },
    /// The last byte of a chunk came in.
    ChunkArrived {
        /// From this connection.
        peer: PeerKey,
        /// The other side's number for the file.
        handle: FileHandle,
        /// As on the wire.
        chunk: u32,
        /// Its bytes, or what stands for them. Comes back with [`Output::Store`] if the chunk is
        /// wanted.
        body: B,
    },
    /// An [`Output::Upload`] is over.
    UploadEnded {
        /// To this connection.
        peer: PeerKey,
        /// The file.
        file: FileKey,
        /// The chunk.
        chunk: ChunkIndex,
        /// How it ended.
        end: UploadEnd,
    },
    /// An [`Output::Store`] succeeded: verified and in the file.
    ChunkStored {
        /// The file.
        file: FileKey,
        /// The chunk.
        chunk: ChunkIndex,
    },
    /// Vouched chunks have the right sums.
    ChunksVerified {
        /// The file.
        file: FileKey,
        /// The chunks.
        chunks: Vec<ChunkIndex>,
    },
    /// An [`Output::Store`] found other bytes than the sum says; nothing was written.
    ChunkCorrupt {
        /// The file.
        file: FileKey,
        /// The chunk.
        chunk: ChunkIndex,
        /// The sender.
        peer: PeerKey,
    },
    /// Chunks could not be written, were lost by a failed sync though written, or are vouched and
    /// have other sums.
    ChunksLost {
        /// The file.
        file: FileKey,
        /// The chunks.
        chunks: Vec<ChunkIndex>,
    },
    /// Stored chunks turned out wrong or cannot be read: they are not to be served. Whether they
    /// are wanted is for the file's goal to say.
    ChunksWithdrawn {
        /// The file.
        file: FileKey,
        /// The chunks.
        chunks: Vec<ChunkIndex>,
    },
    /// Withdrawn chunks were read and verified: they can be served again.
    ChunksRestored {
        /// The file.
        file: FileKey,
        /// The chunks.
        chunks: Vec<ChunkIndex>,
    },
    /// The coordinator or another source named holders of a file.
    Holders {
        /// The file.
        file: FileKey,
        /// Where they accept peers.
        addresses: Vec<SocketAddr>,
    },
    /// The user limits the rates of a file, or of the whole process.
    Limit {
        /// None: of the process.
        file: Option<FileKey>,
        /// In place of those before.
        limits: RateLimits,
    },
    /// The user wants this file before, or after, others.
    Prioritise {
        /// The file.
        file: FileKey,
        /// In place of the one before.
        priority: Priority,
    },
    /// The file is neither served nor downloaded for now. What is being written goes on.
    Pause {
        /// The file.
        file: FileKey,
    },
    /// The end of a pause.
    Resume {
        /// The file.
        file: FileKey,
    },
    /// The moment of [`Swarm::next_timeout`](crate::Swarm::next_timeout) has come.
    Tick,
}

/// Something is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output<B = ()> {
    /// Call this address; answer with `PeerConnected`, `ConnectFailed` or `NotCalled`.
    Connect {
        /// The address to call.
        address: SocketAddr,
    },
    /// Send a message.
    Send {
        /// On this connection.
        peer: PeerKey,
        /// The message.
        message: PeerMessage,
    },
    /// Send a chunk; answer with `UploadEnded`.
    Upload {
        /// On this connection.
        peer: PeerKey,
        /// The file.
        file: FileKey,
        /// The chunk.
        chunk: ChunkIndex,
    },
    /// Stop sending a chunk at the next frame and tell the other side; `UploadEnded` follows.
    StopUpload {
        /// On this connection.
        peer: PeerKey,
        /// The file.
        file: FileKey,
        /// The chunk.
        chunk: ChunkIndex,
    },
    /// Verify and write the chunk that just arrived; answer with `ChunkStored`, `ChunkCorrupt` or
    /// `ChunksLost`.
    Store {
        /// The sender.
        peer: PeerKey,
        /// The file.
        file: FileKey,
        /// The chunk.
        chunk: ChunkIndex,
        /// What came with [`Input::ChunkArrived`].
        body: B,
    },
    /// Close a connection; the core has forgotten it already.
    Disconnect {
        /// The connection.
        peer: PeerKey,
        /// What to tell the other side.
        reason: ByeReason,
    },
    /// Ask the coordinator for holders of the file.
    Lookup {
        /// The file.
        file: FileKey,
    },
    /// Tell the owner of the process.
    Event(Event),
}

/// News for the owner of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Every chunk is stored.
    Complete {
        /// The file.
        file: FileKey,
    },
    /// A peer sent a chunk that does not match its sum.
    CorruptChunk {
        /// The file.
        file: FileKey,
        /// The chunk.
        chunk: ChunkIndex,
        /// Where the sender accepts peers.
        address: Option<SocketAddr>,
    },
    /// A peer says that this chunk, which we sent it, does not match its sum. Perhaps it is right.
    Doubted {
        /// The peer that says so.
        peer: PeerKey,
        /// The file.
        file: FileKey,
        /// The chunk.
        chunk: ChunkIndex,
    },
    /// A peer will not be talked to for a while.
    Banned {
        /// Where it accepts peers.
        address: Option<SocketAddr>,
    },
    /// A peer broke the protocol and was cut.
    Cut {
        /// Where it accepts peers.
        address: Option<SocketAddr>,
        /// How.
        violation: Violation,
    },
    /// A connection was given up, on which something was asked for and nothing came, not even an
    /// answer to a ping.
    FellSilent {
        /// Where it came from or led to, as the socket says.
        source: IpAddr,
        /// Bytes of chunks that had come before.
        received: u64,
    },
}

/// How a peer broke the protocol. It costs the peer its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A chunk index past the end of the file.
    #[error("chunk {0} is past the end of the file")]
    ChunkOutOfRange(u32),
    /// A bitmap of the wrong length, or with bits past the last chunk.
    #[error("malformed bitmap")]
    BadBitmap,
    /// A number never announced with an open.
    #[error("unknown file number {}", .0.0)]
    UnknownHandle(FileHandle),
    /// One number for two files.
    #[error("file number {} announced twice", .0.0)]
    HandleReused(FileHandle),
    /// A chunk that was not asked for.
    #[error("chunk {0} was not asked for")]
    Unrequested(u32),
    /// Announces chunks and refuses to send them.
    #[error("does not hold what it announced")]
    EmptyPromises,
    /// Bytes that are no message.
    #[error("sent what is no message")]
    Malformed,
    /// A message at a time when it makes no sense.
    #[error("message out of place")]
    OutOfPlace,
}

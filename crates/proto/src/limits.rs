//! The size of everything that crosses the wire, and how long the other side may take. What is
//! larger is refused before it is allocated.

use std::time::Duration;

use tnet_fileinfo::{MAX_CHUNK_SIZE, MAX_CHUNKS, Tail};

/// Bytes of file data in one [`Data`](crate::PeerMessage::Data) frame at most, so that a small
/// message never waits behind more than this.
pub const MAX_DATA_LEN: usize = 256 * 1024;

/// Bytes of a frame before the hello was accepted.
pub const MAX_FRAME_BEFORE_HELLO: usize = 4 * 1024;

/// Bytes of any frame, its length prefix not counted.
pub const MAX_FRAME_LEN: usize = MAX_DATA_LEN + 1024;

/// Chunk indices in one [`Have`](crate::PeerMessage::Have) message.
pub const MAX_HAVE_CHUNKS: usize = 4096;

/// Chunk sums in one [`Info`](crate::PeerMessage::Info) message.
pub const MAX_INFO_SUMS: usize = 4096;

/// Bytes of the bitmap in one [`Open`](crate::PeerMessage::Open): one bit for each chunk a file can
/// have.
pub const MAX_BITMAP_LEN: usize = (MAX_CHUNKS as usize).div_ceil(8);

/// Bytes of the last leaf in an [`Info`](crate::PeerMessage::Info) message: BLAKE3 hashes leaves of
/// 1 KiB.
pub const MAX_TAIL_LEAF: usize = Tail::MAX_LEAF_LEN;

/// Siblings between that leaf and the root of its chunk in an [`Info`](crate::PeerMessage::Info)
/// message.
pub const MAX_TAIL_PATH: usize = Tail::MAX_PATH_LEN;

/// Addresses in one [`Peers`](crate::PeerMessage::Peers) or holders message.
pub const MAX_HOLDERS: usize = 50;

/// Files in one [`Report`](crate::CoordinatorRequest::Report).
pub const MAX_REPORT_ENTRIES: usize = 4096;

/// Bytes of an extension's body.
pub const MAX_EXTENSION_LEN: usize = 64 * 1024;

/// Encoded length of everything in a `Data` message that comes before the bytes themselves.
pub const DATA_HEADER_LEN: usize = 4 + 4 + 4 + 4 + 8;

/// A connection attempt without an answer fails after this time.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that stays silent is ended after this time.
pub const SILENCE_TIMEOUT: Duration = Duration::from_secs(90);

const _: () = assert!(MAX_DATA_LEN + DATA_HEADER_LEN <= MAX_FRAME_LEN);
const _: () = assert!(MAX_BITMAP_LEN + 64 <= MAX_FRAME_LEN, "a whole bitmap fits in one frame");
const _: () = assert!(MAX_REPORT_ENTRIES * 48 + 64 <= MAX_FRAME_LEN);
const _: () =
    assert!(MAX_INFO_SUMS * 32 + MAX_TAIL_LEAF + MAX_TAIL_PATH * 32 + 128 <= MAX_FRAME_LEN);
const _: () = assert!(MAX_CHUNK_SIZE as u64 <= u32::MAX as u64, "offsets inside a chunk are u32");

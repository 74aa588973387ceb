//! Frames for a session that reads chunk bytes straight into their final buffer. A [`FrameHead`]
//! describes the next frame before its body has arrived, and a wrong length is refused as soon as
//! its bytes are there.

use bytes::BytesMut;

use crate::limits::{DATA_HEADER_LEN, MAX_DATA_LEN, MAX_INFO_SUMS};
use crate::message::encode;
use crate::peer::{FileHandle, Info, PeerMessage};
use crate::shape::PeerMessageKind;

/// Bytes of the length prefix before every frame: a little-endian u32 that does not count itself.
pub const PREFIX_LEN: usize = 4;

/// Bytes of a [`Data`](crate::PeerMessage::Data) frame before the chunk's bytes, length prefix
/// included.
pub const HEAD_LEN: usize = PREFIX_LEN + DATA_HEADER_LEN;

/// Bytes of a chunk sum.
const SUM_LEN: usize = 32;

/// A message has at least its number.
const MIN_FRAME_LEN: usize = 4;

/// [`DATA_HEADER_LEN`] as the prefix counts it.
const DATA_HEADER: u32 = 24;
const _: () = assert!(DATA_HEADER as usize == DATA_HEADER_LEN);

/// Number of [`Data`](crate::PeerMessage::Data) on the wire.
const DATA_NUMBER: u32 = PeerMessageKind::Data.number();

/// What the next frame is. Exhaustive: the caller reads each in its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameHead {
    /// A part of a chunk. The head takes [`HEAD_LEN`] bytes, then `len` bytes of the chunk follow.
    Data {
        /// The sender's number for the file.
        file: FileHandle,
        /// Chunk index, not yet checked against any file.
        chunk: u32,
        /// Where in the chunk the part begins, in bytes. `offset + len` does not overflow.
        offset: u32,
        /// Bytes that follow: 1 to [`MAX_DATA_LEN`].
        len: u32,
    },
    /// Any other message. The head takes [`PREFIX_LEN`] bytes, then `len` bytes follow for
    /// [`decode`](crate::decode).
    Message {
        /// Bytes that follow.
        len: usize,
    },
}

/// Why a frame cannot be read. All of these are the sender's fault, and end the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The frame is above the limit that holds now.
    #[error("a frame of {len} bytes, where {max} are allowed")]
    TooLong {
        /// Length by the prefix.
        len: u32,
        /// The limit.
        max: usize,
    },
    /// The frame has no room for its message number, or for the fields of a `Data` message.
    #[error("a frame of only {len} bytes")]
    TooShort {
        /// Length by the prefix.
        len: u32,
    },
    /// The number of chunk bytes is 0 or above [`MAX_DATA_LEN`].
    #[error("{len} bytes of data in one frame, where 1 to {MAX_DATA_LEN} are allowed")]
    DataLength {
        /// The claimed number of bytes.
        len: u64,
    },
    /// The frame is longer or shorter than its header and its data.
    #[error("a frame of {frame} bytes with {data} bytes of data")]
    LengthsDisagree {
        /// Length by the prefix.
        frame: u32,
        /// Number of chunk bytes by the header.
        data: u32,
    },
    /// The part ends beyond 4 GiB; no chunk is that long.
    #[error("{len} bytes of data at offset {offset}")]
    OffsetOverflow {
        /// Where the part begins.
        offset: u32,
        /// How long it is.
        len: u32,
    },
}

impl FrameHead {
    /// Reads the head at the start of `buffered`, or `None` if more bytes are needed to tell.
    /// [`HEAD_LEN`] bytes always suffice.
    ///
    /// # Errors
    /// See [`FrameError`]. A frame above `max_frame_len` is refused from its prefix alone.
    pub fn parse(buffered: &[u8], max_frame_len: usize) -> Result<Option<FrameHead>, FrameError> {
        let Some(frame_len) = u32_at(buffered, 0) else { return Ok(None) };
        let len = frame_len as usize;
        if len > max_frame_len {
            return Err(FrameError::TooLong { len: frame_len, max: max_frame_len });
        }
        if len < MIN_FRAME_LEN {
            return Err(FrameError::TooShort { len: frame_len });
        }
        match u32_at(buffered, PREFIX_LEN) {
            None => Ok(None),
            Some(DATA_NUMBER) if len < DATA_HEADER_LEN => {
                Err(FrameError::TooShort { len: frame_len })
            }
            Some(DATA_NUMBER) => match buffered.first_chunk::<HEAD_LEN>() {
                Some(head) => parse_data(frame_len, head).map(Some),
                None => Ok(None),
            },
            Some(_) => Ok(Some(FrameHead::Message { len })),
        }
    }

    /// Bytes of the head itself: what to drop from the buffer before the body is read.
    pub fn head_len(&self) -> usize {
        match self {
            FrameHead::Data { .. } => HEAD_LEN,
            FrameHead::Message { .. } => PREFIX_LEN,
        }
    }

    /// Bytes that follow the head.
    pub fn body_len(&self) -> usize {
        match *self {
            FrameHead::Data { len, .. } => len as usize,
            FrameHead::Message { len } => len,
        }
    }
}

/// Everything of a [`Data`](crate::PeerMessage::Data) frame but the bytes. Sent before `len` raw
/// bytes, it makes exactly the frame that [`encode`](crate::encode) would make of the whole
/// message.
///
/// `len` is 1 to [`MAX_DATA_LEN`]; the receiver refuses anything else.
pub fn data_header(file: FileHandle, chunk: u32, offset: u32, len: u32) -> [u8; HEAD_LEN] {
    debug_assert!(len > 0 && len as usize <= MAX_DATA_LEN, "{len} bytes of data in one frame");
    let mut header = [0; HEAD_LEN];
    header[0..4].copy_from_slice(&(DATA_HEADER + len).to_le_bytes());
    header[4..8].copy_from_slice(&DATA_NUMBER.to_le_bytes());
    header[8..12].copy_from_slice(&file.0.to_le_bytes());
    header[12..16].copy_from_slice(&chunk.to_le_bytes());
    header[16..20].copy_from_slice(&offset.to_le_bytes());
    header[20..28].copy_from_slice(&u64::from(len).to_le_bytes());
    header
}

/// Everything of an [`Info`] frame but its sums, of which `info` has none. Sent before `sums` sums
/// of 32 bytes each, it makes exactly the frame that [`encode`] would make of the whole message: so
/// a description of 128 KiB needs no memory of its own.
///
/// # Panics
/// If `info` has sums, or if there are to be more than [`MAX_INFO_SUMS`].
#[expect(
    clippy::indexing_slicing,
    reason = "a frame begins with its prefix and this one ends with a count"
)]
pub fn info_head(info: Info, sums: usize) -> BytesMut {
    assert!(info.sums.is_empty() && sums <= MAX_INFO_SUMS, "{sums} sums follow the head");
    let mut head = BytesMut::new();
    encode(&PeerMessage::Info(info), &mut head);
    let body =
        u32::try_from(head.len() - PREFIX_LEN + sums * SUM_LEN).expect("within MAX_FRAME_LEN");
    head[..PREFIX_LEN].copy_from_slice(&body.to_le_bytes());
    let count = head.len() - 8;
    head[count..].copy_from_slice(&(sums as u64).to_le_bytes());
    head
}

#[expect(clippy::indexing_slicing, reason = "five words in a head of a fixed length")]
fn parse_data(frame: u32, head: &[u8; HEAD_LEN]) -> Result<FrameHead, FrameError> {
    let [_, _, _, _, _, _, _, _, rest @ ..] = head;
    let (words, _) = rest.as_chunks::<4>();
    let word = |index: usize| u32::from_le_bytes(words[index]);
    let (file, chunk, offset) = (FileHandle(word(0)), word(1), word(2));
    let claimed = u64::from(word(3)) | u64::from(word(4)) << 32;
    let len = match u32::try_from(claimed) {
        Ok(len) if len > 0 && len as usize <= MAX_DATA_LEN => len,
        _ => return Err(FrameError::DataLength { len: claimed }),
    };
    if frame as usize != DATA_HEADER_LEN + len as usize {
        return Err(FrameError::LengthsDisagree { frame, data: len });
    }
    if offset.checked_add(len).is_none() {
        return Err(FrameError::OffsetOverflow { offset, len });
    }
    Ok(FrameHead::Data { file, chunk, offset, len })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_le_bytes(*word))
}

//! One message is one frame: a u32 length, then the encoded message. What [`encode`] writes,
//! [`decode`] reads back; any other bytes are a [`DecodeError`], and no length in them is used
//! before it is checked.
//!
//! The encoding is bincode's legacy layout: little-endian, integers of fixed width, u32 variant
//! numbers, u64 list lengths. That bincode does it stays inside this crate.

use std::fmt;

use bincode::config::{Configuration, Fixint, LittleEndian};
use bytes::{BufMut, BytesMut};

use crate::frame::PREFIX_LEN;
use crate::limits::MAX_FRAME_LEN;
use crate::shape::{self, Wire};

/// A second bound below the checks of [`shape`]: bincode itself refuses to decode more than the
/// bytes of one frame.
const LAYOUT: Configuration<LittleEndian, Fixint, bincode::config::Limit<MAX_FRAME_LEN>> =
    bincode::config::legacy().with_limit::<MAX_FRAME_LEN>();

/// A message that can be a frame: [`PeerMessage`](crate::PeerMessage),
/// [`CoordinatorRequest`](crate::CoordinatorRequest),
/// [`CoordinatorReply`](crate::CoordinatorReply).
pub trait WireMessage: Wire + fmt::Debug + Send + 'static {
    /// The names of all messages; a name's position is the message's number on the wire.
    const NAMES: &'static [&'static str];

    /// The name of this message, for logs and counters.
    fn name(&self) -> &'static str;

    /// The number of this message on the wire.
    fn number(&self) -> u32;
}

/// Why the body of a frame is not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A message newer than this program. Not fatal: the answer is `Unsupported`.
    #[error("message number {number} is not known here")]
    UnknownMessage {
        /// The message's number.
        number: u32,
    },
    /// The message goes on after the last byte.
    #[error("the message is cut off")]
    Truncated,
    /// The message ends before the last byte.
    #[error("{extra} bytes after the end of the message")]
    TrailingBytes {
        /// How many bytes are left over.
        extra: usize,
    },
    /// The frame or a list in it is above its own limit, or a `Data` message carries no byte at
    /// all.
    #[error("a length of {len} is not allowed here (at most {max})")]
    TooLong {
        /// The length as it was claimed.
        len: u64,
        /// The limit.
        max: usize,
    },
    /// A value that does not exist: an unknown inner variant, a bool that is neither 0 nor 1, an
    /// offset beyond 4 GiB.
    #[error("the message is malformed")]
    Malformed,
}

/// Appends `message` to `out` as a whole frame, length prefix included.
///
/// Lists above their own limits are written as they are; the receiver refuses them.
///
/// # Panics
/// If the frame is longer than [`MAX_FRAME_LEN`]. No message whose lists keep their limits is.
pub fn encode<M: WireMessage>(message: &M, out: &mut BytesMut) {
    let len = write_frame(message, out);
    assert!(
        len <= MAX_FRAME_LEN,
        "{} frame of {len} bytes: a list is above its limit",
        message.name()
    );
}

/// Reads the message that fills `body`, a frame without its length prefix.
///
/// # Errors
/// See [`DecodeError`]. All but [`DecodeError::UnknownMessage`] mean that the other side breaks the
/// protocol.
pub fn decode<M: WireMessage>(body: &[u8]) -> Result<M, DecodeError> {
    if body.len() > MAX_FRAME_LEN {
        return Err(DecodeError::TooLong { len: body.len() as u64, max: MAX_FRAME_LEN });
    }
    shape::check::<M>(body)?;
    let (message, consumed) =
        bincode::decode_from_slice(body, LAYOUT).map_err(|error| match error {
            bincode::error::DecodeError::UnexpectedEnd { .. } => DecodeError::Truncated,
            _ => DecodeError::Malformed,
        })?;
    match body.len() - consumed {
        0 => Ok(message),
        extra => Err(DecodeError::TrailingBytes { extra }),
    }
}

/// Appends the frame, of any length, and returns the length of its body in bytes.
#[expect(clippy::indexing_slicing, reason = "the prefix was written a moment ago")]
pub(crate) fn write_frame<M: WireMessage>(message: &M, out: &mut BytesMut) -> usize {
    let start = out.len();
    out.put_u32_le(0);
    bincode::encode_into_writer(message, FrameWriter(out), LAYOUT).expect(
        "a growing buffer takes any bytes, and messages hold nothing that can refuse to be encoded",
    );
    let len = out.len() - start - PREFIX_LEN;
    let prefix = u32::try_from(len).expect("messages are built from lists far below 4 GiB");
    out[start..start + PREFIX_LEN].copy_from_slice(&prefix.to_le_bytes());
    len
}

struct FrameWriter<'a>(&'a mut BytesMut);

impl bincode::enc::write::Writer for FrameWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

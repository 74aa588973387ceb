//! Messages over a tokio stream. Frames stay small until the hello is done; an unknown message is
//! an item, not an error, so that it can be answered and the stream goes on.

use std::io;
use std::marker::PhantomData;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::codec::{
    Decoder, Encoder, LengthDelimitedCodec, LengthDelimitedCodecError as FrameLengthError,
};

use crate::limits::{MAX_FRAME_BEFORE_HELLO, MAX_FRAME_LEN};
use crate::message::{DecodeError, WireMessage, decode, write_frame};
use crate::preamble::{PREAMBLE_LEN, PreambleError, Protocol, negotiate, preamble};

/// Writes messages of type `Out` and reads messages of type `In`, for tokio-util's `Framed`.
///
/// Until [`hello_done`](MessageCodec::hello_done) it accepts frames of at most
/// [`MAX_FRAME_BEFORE_HELLO`] bytes: a stranger cannot make us reserve more than that.
#[derive(Debug)]
pub struct MessageCodec<Out, In> {
    frames: LengthDelimitedCodec,
    // A function type, so that the codec is `Send` and `Sync` for all message types.
    messages: PhantomData<fn(Out) -> In>,
}

/// What a frame held. Exhaustive: the caller must handle each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received<M> {
    /// A message.
    Message(M),
    /// A message newer than this program. The answer is `Unsupported` with this number.
    Unknown {
        /// The message's number.
        number: u32,
    },
}

/// Why a stream of messages ends.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The stream broke, or ended within a frame.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// A frame is above the limit that holds now.
    #[error("a frame above {max} bytes")]
    FrameTooLong {
        /// The limit.
        max: usize,
    },
    /// A frame is not a message.
    #[error("a frame that is not a message")]
    Decode(#[source] DecodeError),
}

/// Why a connection ends at its preamble.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PreambleExchangeError {
    /// The stream broke, or ended before 12 bytes.
    #[error("the connection broke before the other side sent its preamble")]
    Io(#[from] io::Error),
    /// The other side does not fit.
    #[error(transparent)]
    Preamble(#[from] PreambleError),
}

/// Sends our preamble, reads the other side's, and returns the version to speak.
///
/// Sets no deadline; the caller does. When it is dropped midway the stream is of no further use.
///
/// # Errors
/// See [`PreambleExchangeError`]. Ours is sent in any case, so the other side learns why too.
pub async fn exchange_preamble<S>(
    stream: &mut S,
    protocol: Protocol,
) -> Result<u16, PreambleExchangeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(&preamble(protocol)).await?;
    stream.flush().await?;
    let mut theirs = [0; PREAMBLE_LEN];
    stream.read_exact(&mut theirs).await?;
    Ok(negotiate(protocol, &theirs)?)
}

impl<Out, In> MessageCodec<Out, In> {
    /// A codec for a connection whose preambles were exchanged.
    pub fn new() -> Self {
        let frames = LengthDelimitedCodec::builder()
            .little_endian()
            .length_field_type::<u32>()
            .max_frame_length(MAX_FRAME_BEFORE_HELLO)
            .new_codec();
        MessageCodec { frames, messages: PhantomData }
    }

    /// The other side's hello was accepted: from now on frames may have [`MAX_FRAME_LEN`] bytes.
    pub fn hello_done(&mut self) {
        self.frames.set_max_frame_length(MAX_FRAME_LEN);
    }
}

impl<Out, In> Default for MessageCodec<Out, In> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Out, In: WireMessage> Decoder for MessageCodec<Out, In> {
    type Item = Received<In>;
    type Error = CodecError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Received<In>>, CodecError> {
        let max = self.frames.max_frame_length();
        let frame = self.frames.decode(src).map_err(|error| {
            let too_long = error.get_ref().is_some_and(|cause| cause.is::<FrameLengthError>());
            if too_long { CodecError::FrameTooLong { max } } else { CodecError::Io(error) }
        })?;
        let Some(frame) = frame else { return Ok(None) };
        match decode(frame.chunk()) {
            Ok(message) => Ok(Some(Received::Message(message))),
            Err(DecodeError::UnknownMessage { number }) => Ok(Some(Received::Unknown { number })),
            Err(error) => Err(CodecError::Decode(error)),
        }
    }
}

impl<Out: WireMessage, In> Encoder<&Out> for MessageCodec<Out, In> {
    type Error = CodecError;

    fn encode(&mut self, message: &Out, dst: &mut BytesMut) -> Result<(), CodecError> {
        let start = dst.len();
        if write_frame(message, dst) > MAX_FRAME_LEN {
            dst.truncate(start);
            return Err(CodecError::FrameTooLong { max: MAX_FRAME_LEN });
        }
        Ok(())
    }
}

impl<Out: WireMessage, In> Encoder<Out> for MessageCodec<Out, In> {
    type Error = CodecError;

    fn encode(&mut self, message: Out, dst: &mut BytesMut) -> Result<(), CodecError> {
        self.encode(&message, dst)
    }
}

//! The handshake of a connection: preambles, then hellos. Until it is complete, no frame longer
//! than [`MAX_FRAME_BEFORE_HELLO`] is read.

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tnet_net::Clock;
use tnet_proto::{
    DecodeError, FrameError, FrameHead, Hello, MAX_FRAME_BEFORE_HELLO, PREAMBLE_LEN, PeerMessage,
    PreambleError, Protocol, decode, encode, negotiate, preamble,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::CallFailure;

/// From the open connection to the other side's hello.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection whose handshake is complete. Exhaustive: the caller takes it apart.
#[derive(Debug)]
pub struct Handshaken<R, W> {
    /// The other side's hello.
    pub hello: Hello,
    /// The receiving half of the stream.
    pub input: R,
    /// The sending half of the stream.
    pub output: W,
    /// Bytes that were received after the hello.
    pub buffered: BytesMut,
}

/// Why a handshake failed. Exhaustive, because each reason is judged.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The other side was silent, or slow.
    #[error("no hello within {HANDSHAKE_TIMEOUT:?}")]
    TooSlow,
    /// The connection failed or was closed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// No preamble of the protocol, or no common version.
    #[error(transparent)]
    Preamble(#[from] PreambleError),
    /// The first message is too long.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The first message is malformed.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The first message is another one.
    #[error("the first message is not a hello")]
    NoHello,
}

impl From<&HandshakeError> for CallFailure {
    fn from(error: &HandshakeError) -> CallFailure {
        match error {
            HandshakeError::TooSlow => CallFailure::Silent,
            HandshakeError::Preamble(PreambleError::VersionMismatch { .. }) => {
                CallFailure::OtherVersion
            }
            // Mostly the other side closed the connection: it had no room, or is no peer.
            HandshakeError::Io(_)
            | HandshakeError::Preamble(_)
            | HandshakeError::Frame(_)
            | HandshakeError::Decode(_)
            | HandshakeError::NoHello => CallFailure::NoPeer,
        }
    }
}

/// Exchanges preambles and hellos within [`HANDSHAKE_TIMEOUT`].
///
/// # Errors
/// The other side is no peer, speaks another version, or answers too late.
pub async fn handshake<R, W>(
    input: R,
    output: W,
    hello: &Hello,
    clock: &Clock,
) -> Result<Handshaken<R, W>, HandshakeError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let exchange = exchange(input, output, hello);
    clock.timeout(HANDSHAKE_TIMEOUT, exchange).await.unwrap_or(Err(HandshakeError::TooSlow))
}

async fn exchange<R, W>(
    mut input: R,
    mut output: W,
    hello: &Hello,
) -> Result<Handshaken<R, W>, HandshakeError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut ours = BytesMut::from(&preamble(Protocol::Peer)[..]);
    encode(&PeerMessage::Hello(hello.clone()), &mut ours);
    output.write_all(&ours).await?;
    output.flush().await?;
    let mut theirs = [0; PREAMBLE_LEN];
    input.read_exact(&mut theirs).await?;
    negotiate(Protocol::Peer, &theirs)?;
    let mut buffered = BytesMut::with_capacity(MAX_FRAME_BEFORE_HELLO);
    let head = loop {
        if let Some(head) = FrameHead::parse(&buffered, MAX_FRAME_BEFORE_HELLO)?
            && buffered.len() >= head.head_len() + head.body_len()
        {
            break head;
        }
        if input.read_buf(&mut buffered).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    };
    let FrameHead::Message { len } = head else { return Err(HandshakeError::NoHello) };
    buffered.advance(head.head_len());
    let message = decode(&buffered.split_to(len))?;
    let PeerMessage::Hello(hello) = message else { return Err(HandshakeError::NoHello) };
    Ok(Handshaken { hello, input, output, buffered })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_maps_to_a_call_failure() {
        let mut versions = preamble(Protocol::Peer);
        versions[8..].fill(0xff);
        for (error, failure) in [
            (HandshakeError::TooSlow, CallFailure::Silent),
            (
                negotiate(Protocol::Peer, &versions).expect_err("no version in common").into(),
                CallFailure::OtherVersion,
            ),
            (
                negotiate(Protocol::Peer, &[b'G'; PREAMBLE_LEN]).expect_err("no preamble").into(),
                CallFailure::NoPeer,
            ),
            (HandshakeError::NoHello, CallFailure::NoPeer),
        ] {
            assert_eq!(CallFailure::from(&error), failure, "{error}");
        }
    }
}

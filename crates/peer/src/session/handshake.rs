//! The first messages on a connection: preambles, then hellos. Nothing larger than a small frame is
//! read before.

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tnet_net::Clock;
use tnet_proto::{
    DecodeError, FrameError, FrameHead, Hello, MAX_FRAME_BEFORE_HELLO, PREAMBLE_LEN, PeerMessage,
    PreambleError, Protocol, decode, encode, negotiate, preamble,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::api::CallFailure;

/// From the connection to the other side's hello.
pub(crate) const GREETING_AT_MOST: Duration = Duration::from_secs(5);

/// What we say of ourselves.
#[derive(Debug, Clone)]
pub(crate) struct Greeting {
    pub(crate) hello: Hello,
}

/// A connection on which both sides have said hello.
#[derive(Debug)]
pub(crate) struct Greeted<R, W> {
    pub(crate) hello: Hello,
    pub(crate) input: R,
    pub(crate) output: W,
    /// Bytes that came after the hello.
    pub(crate) buffered: BytesMut,
}

/// Why a connection came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GreetError {
    #[error("no hello within {GREETING_AT_MOST:?}")]
    TooSlow,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Preamble(#[from] PreambleError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("the first message is not a hello")]
    NoHello,
}

impl From<&GreetError> for CallFailure {
    fn from(error: &GreetError) -> CallFailure {
        match error {
            GreetError::TooSlow => CallFailure::Silent,
            GreetError::Preamble(PreambleError::VersionMismatch { .. }) => {
                CallFailure::OtherVersion
            }
            // Mostly one that closed the connection: there was no place, or it is something else.
            GreetError::Io(_)
            | GreetError::Preamble(_)
            | GreetError::Frame(_)
            | GreetError::Decode(_)
            | GreetError::NoHello => CallFailure::NoPeer,
        }
    }
}

/// Exchanges preambles and hellos within the deadline.
pub(crate) async fn greet<R, W>(
    input: R,
    output: W,
    greeting: &Greeting,
    clock: &Clock,
) -> Result<Greeted<R, W>, GreetError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let exchange = exchange(input, output, greeting);
    clock.timeout(GREETING_AT_MOST, exchange).await.unwrap_or(Err(GreetError::TooSlow))
}

async fn exchange<R, W>(
    mut input: R,
    mut output: W,
    greeting: &Greeting,
) -> Result<Greeted<R, W>, GreetError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut ours = BytesMut::from(&preamble(Protocol::Peer)[..]);
    encode(&PeerMessage::Hello(greeting.hello.clone()), &mut ours);
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
    let FrameHead::Message { len } = head else { return Err(GreetError::NoHello) };
    buffered.advance(head.head_len());
    let message = decode(&buffered.split_to(len))?;
    let PeerMessage::Hello(hello) = message else { return Err(GreetError::NoHello) };
    Ok(Greeted { hello, input, output, buffered })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_there_was_no_introduction_is_told_by_its_name() {
        let mut versions = preamble(Protocol::Peer);
        versions[8..].fill(0xff);
        for (error, failure) in [
            (GreetError::TooSlow, CallFailure::Silent),
            (
                negotiate(Protocol::Peer, &versions).expect_err("no version in common").into(),
                CallFailure::OtherVersion,
            ),
            (
                negotiate(Protocol::Peer, &[b'G'; PREAMBLE_LEN]).expect_err("no preamble").into(),
                CallFailure::NoPeer,
            ),
            (GreetError::NoHello, CallFailure::NoPeer),
        ] {
            assert_eq!(CallFailure::from(&error), failure, "{error}");
        }
    }
}

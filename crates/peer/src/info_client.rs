//! Gets a `.fileinfo` from a holder, knowing only the hash. What comes is believed only if it proves itself.

// What comes from outside is never trusted to have a place.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Buf;
use bytes::BytesMut;
use tnet_fileinfo::{ChunkSize, ChunkSum, FileHash, FileInfo, Geometry, Tail};
use tnet_proto::{DecodeError, FrameHead, Info, MAX_FRAME_LEN, PeerMessage, decode, encode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::network;
use crate::session::{GreetError, Greeting, greet};

/// One holder gets this long for each answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Why one holder was of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InfoError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Greet(#[from] GreetError),
    #[error("no answer in time")]
    Silent,
    #[error("not a message")]
    Malformed,
    #[error("it does not know the file")]
    NotFound,
    #[error("an answer that does not fit the question")]
    Inconsistent,
    #[error("the description does not prove itself")]
    Invalid(#[source] tnet_fileinfo::FileInfoError),
}

/// Asks one peer.
pub(crate) async fn fetch(
    address: SocketAddr,
    ours: std::net::IpAddr,
    greeting: &Greeting,
    hash: FileHash,
    within: Duration,
) -> Result<FileInfo, InfoError> {
    let stream = network::connect(address, ours, within).await?;
    let (input, output) = stream.into_split();
    let greeted = greet(input, output, greeting).await?;
    let mut asking =
        Asking { input: greeted.input, output: greeted.output, buffered: greeted.buffered, hash };
    asking.all().await
}

struct Asking<R, W> {
    input: R,
    output: W,
    buffered: BytesMut,
    hash: FileHash,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Asking<R, W> {
    async fn all(&mut self) -> Result<FileInfo, InfoError> {
        let first = self.part(0).await?;
        let chunk_size = ChunkSize::new(first.chunk_size).map_err(|_| InfoError::Inconsistent)?;
        let geometry = Geometry::new(first.size, chunk_size).map_err(|_| InfoError::Inconsistent)?;
        let tail = Tail { leaf: first.tail_leaf.clone(), path: first.tail_path.clone() };
        let mut sums = first.sums.clone();
        while sums.len() < geometry.chunk_count() as usize {
            let next = u32::try_from(sums.len()).map_err(|_| InfoError::Inconsistent)?;
            let part = self.part(next).await?;
            if (part.size, part.chunk_size) != (first.size, first.chunk_size) || part.sums.is_empty() {
                return Err(InfoError::Inconsistent);
            }
            sums.extend(part.sums);
        }
        let sums = sums.into_iter().map(ChunkSum::from_bytes).collect();
        FileInfo::from_parts(None, geometry, sums, tail, self.hash).map_err(InfoError::Invalid)
    }

    async fn part(&mut self, first: u32) -> Result<Info, InfoError> {
        let mut request = BytesMut::new();
        encode(&PeerMessage::InfoRequest { hash: *self.hash.as_bytes(), first }, &mut request);
        let exchange = async {
            self.output.write_all(&request).await?;
            self.answer(first).await
        };
        timeout(ANSWER_WITHIN, exchange).await.unwrap_or(Err(InfoError::Silent))
    }

    /// The answer to a question, past whatever else the peer has to say.
    async fn answer(&mut self, asked: u32) -> Result<Info, InfoError> {
        loop {
            match self.message().await? {
                Some(PeerMessage::Info(info)) if info.hash == *self.hash.as_bytes() => {
                    return if info.first == asked { Ok(info) } else { Err(InfoError::Inconsistent) };
                }
                Some(PeerMessage::InfoNotFound { hash }) if hash == *self.hash.as_bytes() => {
                    return Err(InfoError::NotFound);
                }
                Some(PeerMessage::Bye { .. }) => return Err(InfoError::NotFound),
                _ => {}
            }
        }
    }

    async fn message(&mut self) -> Result<Option<PeerMessage>, InfoError> {
        loop {
            let head = FrameHead::parse(&self.buffered, MAX_FRAME_LEN).map_err(|_| InfoError::Malformed)?;
            if let Some(head) = head {
                let FrameHead::Message { len } = head else { return Err(InfoError::Malformed) };
                if self.buffered.len() >= head.head_len() + len {
                    self.buffered.advance(head.head_len());
                    return match decode(&self.buffered.split_to(len)) {
                        Ok(message) => Ok(Some(message)),
                        Err(DecodeError::UnknownMessage { .. }) => Ok(None),
                        Err(_) => Err(InfoError::Malformed),
                    };
                }
            }
            if self.input.read_buf(&mut self.buffered).await? == 0 {
                return Err(InfoError::Silent);
            }
        }
    }
}

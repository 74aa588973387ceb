//! Gets a `.fileinfo` from a holder, knowing only the hash. What comes is believed only if it proves itself.

// What comes from outside is never trusted to have a place.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Buf;
use bytes::BytesMut;
use tnet_fileinfo::{ChunkSize, ChunkSum, FileHash, FileInfo, Geometry, Tail};
use tnet_proto::{DecodeError, FrameHead, Info, MAX_FRAME_LEN, MAX_INFO_SUMS, PeerMessage, decode, encode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::network;
use crate::session::{GreetError, Greeting, greet};

/// One holder gets this long for each answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// [`MAX_INFO_SUMS`] as chunks are counted.
const SUMS_IN_ONE: u32 = 4096;
const _: () = assert!(SUMS_IN_ONE as usize == MAX_INFO_SUMS);

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
        // Time for as many answers as it takes: who sends a sum at a time would keep us from asking the others.
        let answers = geometry.chunk_count().div_ceil(SUMS_IN_ONE);
        let rest = timeout(ANSWER_WITHIN * answers, self.rest(first, &geometry));
        let sums = rest.await.unwrap_or(Err(InfoError::Silent))?;
        let sums = sums.into_iter().map(ChunkSum::from_bytes).collect();
        FileInfo::from_parts(None, geometry, sums, tail, self.hash).map_err(InfoError::Invalid)
    }

    /// All sums, beginning with those in the first part.
    async fn rest(&mut self, first: Info, geometry: &Geometry) -> Result<Vec<[u8; 32]>, InfoError> {
        let mut sums = first.sums;
        while sums.len() < geometry.chunk_count() as usize {
            let next = u32::try_from(sums.len()).map_err(|_| InfoError::Inconsistent)?;
            let part = self.part(next).await?;
            if (part.size, part.chunk_size) != (first.size, first.chunk_size) || part.sums.is_empty() {
                return Err(InfoError::Inconsistent);
            }
            sums.extend(part.sums);
        }
        Ok(sums)
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

/// For the fuzz targets.
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing {
    use super::{Asking, AsyncRead, BytesMut, FileHash, FileInfo};

    /// The description of the file with that hash that a holder's answers make, if they make one. `answers` is what comes
    /// after the holder's hello.
    pub async fn description_from(answers: impl AsyncRead + Unpin, hash: FileHash) -> Option<FileInfo> {
        let buffered = BytesMut::new();
        let mut asking = Asking { input: answers, output: tokio::io::sink(), buffered, hash };
        asking.all().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use tnet_fileinfo::MIN_CHUNK_SIZE;
    use tokio::io::{DuplexStream, duplex, split};
    use tokio::time::{Instant, sleep};

    use super::*;

    /// Answers each question in time, with one sum.
    async fn trickle(mut stream: DuplexStream, hash: FileHash) {
        for first in 0.. {
            let mut question = [0; 4 + 4 + 32 + 4];
            if stream.read_exact(&mut question).await.is_err() {
                return;
            }
            sleep(ANSWER_WITHIN / 2).await;
            let part = PeerMessage::Info(Info {
                hash: *hash.as_bytes(),
                size: 4000 * u64::from(MIN_CHUNK_SIZE),
                chunk_size: MIN_CHUNK_SIZE,
                tail_leaf: vec![1],
                tail_path: Vec::new(),
                first,
                sums: vec![[2; 32]],
            });
            let mut answer = BytesMut::new();
            encode(&part, &mut answer);
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_a_description_sum_by_sum_is_given_up_soon() {
        let hash = FileHash::from_bytes([7; 32]);
        let (ours, theirs) = duplex(1 << 16);
        tokio::spawn(trickle(theirs, hash));
        let (input, output) = split(ours);
        let began = Instant::now();
        let outcome = Asking { input, output, buffered: BytesMut::new(), hash }.all().await;
        assert!(matches!(outcome, Err(InfoError::Silent)), "{outcome:?}");
        assert!(began.elapsed() <= 2 * ANSWER_WITHIN, "after {:?}", began.elapsed());
    }
}

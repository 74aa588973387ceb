//! Many connections to one peer, each with an identity and a port of its own, that claim to hold
//! everything. When the peer closes one, another one comes in its place.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rand::RngExt;
use tnet_fileinfo::MAX_CHUNK_SIZE;
use tnet_proto::{
    FileHandle, Hello, Holdings, MAX_DATA_LEN, MessageCodec, Open, Payload, PeerId, PeerMessage,
    Protocol, Received, exchange_preamble,
};
use tnet_testkit::{Content, payload};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::codec::Framed;
use tokio_util::sync::CancellationToken;

/// Pause before a connection that was closed is made again.
const AGAIN: Duration = Duration::from_millis(20);

/// For the connection and the other side's hello.
const LIMIT: Duration = Duration::from_secs(10);

/// The number that it gives the file.
pub(crate) const HANDLE: FileHandle = FileHandle(1);

/// What one that drips sends, and how often: above the least that a source must send.
const DRIP: usize = 300;
const DRIP_EVERY: Duration = Duration::from_millis(100);

/// A connection after preambles and hellos.
pub(crate) type Joined = Framed<TcpStream, MessageCodec<PeerMessage, PeerMessage>>;

/// What is done with a request for a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Nothing.
    Silent,
    /// Some bytes at a time.
    Drips,
    /// Other bytes are sent.
    Lies,
    /// Nearly all of it is sent, and then the connection is closed.
    BreaksOff,
    /// Nothing, but chunks of the longest kind of another file are sent unasked, some bytes at a
    /// time.
    Intrudes,
}

/// A crowd.
#[derive(Debug, Clone)]
pub(crate) struct Crowd {
    /// Connections.
    pub(crate) size: usize,
    /// They come from these addresses, in turn.
    pub(crate) sources: Vec<IpAddr>,
    /// One of these for each, in turn.
    pub(crate) manners: Vec<Manner>,
}

/// What became of it.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Connections that are in.
    inside: AtomicUsize,
    /// All that ever were.
    joined: AtomicUsize,
}

impl Seen {
    pub(crate) fn inside(&self) -> usize {
        self.inside.load(Ordering::Relaxed)
    }

    pub(crate) fn joined(&self) -> usize {
        self.joined.load(Ordering::Relaxed)
    }
}

impl Crowd {
    /// Keeps them connected to the peer until the token says so.
    pub(crate) async fn surrounds(
        self,
        to: SocketAddr,
        content: &Content,
        seen: Arc<Seen>,
        stop: CancellationToken,
    ) {
        let mut members = JoinSet::new();
        let open = open_of(content, Holdings::Full);
        for number in 0..self.size {
            let from = self.sources[number % self.sources.len()];
            let manner = self.manners[number / self.sources.len() % self.manners.len()];
            let (seen, open) = (Arc::clone(&seen), open.clone());
            members.spawn(async move {
                loop {
                    let _ = member((from, to), &open, manner, &seen).await;
                    sleep(AGAIN).await;
                }
            });
        }
        stop.cancelled().await;
    }
}

/// What is said to join the content's swarm.
pub(crate) fn open_of(content: &Content, holdings: Holdings) -> Open {
    let geometry = content.info().geometry();
    Open {
        file: HANDLE,
        hash: *content.hash().as_bytes(),
        size: geometry.size(),
        chunk_size: geometry.chunk_size().get(),
        holdings,
    }
}

/// A connection from that address to that one on which the file was opened.
pub(crate) async fn joins((from, to): (IpAddr, SocketAddr), open: &Open) -> Option<Joined> {
    let socket = if from.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.ok()?;
    socket.bind(SocketAddr::new(from, 0)).ok()?;
    let mut stream = timeout(LIMIT, socket.connect(to)).await.ok()?.ok()?;
    let _ = stream.set_nodelay(true);
    let greeting = async {
        exchange_preamble(&mut stream, Protocol::Peer).await.ok()?;
        let mut framed = Framed::new(stream, MessageCodec::new());
        let (id, port) = (rand::rng().random(), rand::rng().random_range(1024..u16::MAX));
        let hello = Hello { peer_id: PeerId(id), listen_port: port, capabilities: 0 };
        framed.send(PeerMessage::Hello(hello)).await.ok()?;
        framed.next().await?.ok()?;
        framed.codec_mut().hello_done();
        framed.send(PeerMessage::Open(open.clone())).await.ok()?;
        Some(framed)
    };
    timeout(LIMIT, greeting).await.ok()?
}

/// Bytes that are nobody's.
fn noise(len: usize) -> Vec<u8> {
    payload(len as u64, rand::rng().random()).bytes()
}

/// One connection, until the other side closes it.
async fn member(
    ends: (IpAddr, SocketAddr),
    open: &Open,
    manner: Manner,
    seen: &Seen,
) -> Option<()> {
    let mut framed = joins(ends, open).await?;
    let _inside = Inside::new(seen);
    let mut dripping: Option<(FileHandle, u32, u32)> = None;
    let mut chunk_size = open.chunk_size;
    if manner == Manner::Intrudes {
        chunk_size = MAX_CHUNK_SIZE;
        let (file, hash, holdings) = (FileHandle(2), rand::rng().random(), Holdings::Full);
        framed
            .send(PeerMessage::Open(Open { file, hash, size: 1 << 30, chunk_size, holdings }))
            .await
            .ok()?;
        dripping = Some((file, 0, 0));
    }
    let (mut writer, mut reader) = framed.split();
    let bytes = noise(DRIP);
    loop {
        let received = tokio::select! {
            received = reader.next() => received?.ok()?,
            () = sleep(DRIP_EVERY), if dripping.is_some() => {
                if let Some((file, chunk, offset)) = &mut dripping {
                    let left = (chunk_size - *offset) as usize;
                    let part = &bytes[..left.min(DRIP)];
                    let (file, chunk, from) = (*file, *chunk, *offset);
                    *offset += u32::try_from(part.len()).ok()?;
                    let bytes = Payload(part.to_vec());
                    writer.send(PeerMessage::Data { file, chunk, offset: from, bytes }).await.ok()?;
                    if *offset >= chunk_size {
                        dripping = None;
                    }
                }
                continue;
            }
        };
        let Received::Message(PeerMessage::Request { chunk, .. }) = received else { continue };
        let len = (u64::from(open.chunk_size))
            .min(open.size - u64::from(chunk) * u64::from(open.chunk_size));
        let len = usize::try_from(len).ok()?;
        match manner {
            Manner::Silent | Manner::Intrudes => {}
            Manner::Drips => {
                dripping.get_or_insert((HANDLE, chunk, 0));
            }
            Manner::Lies | Manner::BreaksOff => {
                let kept = usize::from(manner == Manner::BreaksOff);
                let body = noise(len - kept);
                let mut offset = 0;
                for part in body.chunks(MAX_DATA_LEN) {
                    let bytes = Payload(part.to_vec());
                    writer
                        .send(PeerMessage::Data { file: HANDLE, chunk, offset, bytes })
                        .await
                        .ok()?;
                    offset += u32::try_from(part.len()).ok()?;
                }
                if manner == Manner::BreaksOff {
                    return None;
                }
            }
        }
    }
}

/// One of those that are in, as long as it is.
struct Inside<'a>(&'a Seen);

impl Inside<'_> {
    fn new(seen: &Seen) -> Inside<'_> {
        seen.inside.fetch_add(1, Ordering::Relaxed);
        seen.joined.fetch_add(1, Ordering::Relaxed);
        Inside(seen)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::Relaxed);
    }
}

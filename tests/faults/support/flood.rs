//! Many connections at once to one port, each made anew when the other side closes it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use tnet_fileinfo::ChunkSet;
use tnet_proto::{
    FileHandle, Hello, Holdings, Open, PREAMBLE_LEN, PeerId, PeerMessage, Protocol, encode,
    preamble,
};
use tnet_testkit::Content;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Pause before a connection that was closed is made again.
const AGAIN: Duration = Duration::from_millis(100);

/// Calls of a flood from many addresses in a second. What is more is a test of the machine.
const MOST_CALLS: f64 = 5000.0;

/// A caller does not wait longer than this for anything but the end of the flood.
const LIMIT: Duration = Duration::from_secs(60);

/// What is said on each connection.
#[derive(Debug, Clone)]
pub(crate) struct Words(Arc<Vec<Vec<u8>>>);

/// What a flood has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    open: AtomicUsize,
    most: AtomicUsize,
    closed: AtomicUsize,
}

impl Words {
    /// One of these on each connection, in turn.
    pub(crate) fn of(words: Vec<Vec<u8>>) -> Words {
        Words(Arc::new(words))
    }

    /// So many identities that say hello and that they would like to have the content.
    pub(crate) fn identities(count: usize, content: &Content) -> Words {
        Words::of(introductions(count, content))
    }

    /// So many connections of all kinds: some say hello, some also that they would like to have the
    /// content, some nothing.
    pub(crate) fn mixed(count: usize, content: &Content) -> Words {
        let hello_len = PREAMBLE_LEN + 4 + 30;
        let mixed =
            introductions(count, content).into_iter().enumerate().map(|(number, mut words)| {
                match number % 5 {
                    0 | 1 => words.truncate(hello_len),
                    2 => words.clear(),
                    _ => {}
                }
                words
            });
        Words::of(mixed.collect())
    }
}

/// What so many identities say that want the content.
fn introductions(count: usize, content: &Content) -> Vec<Vec<u8>> {
    let geometry = content.info().geometry();
    let open = PeerMessage::Open(Open {
        file: FileHandle(1),
        hash: *content.hash().as_bytes(),
        size: geometry.size(),
        chunk_size: geometry.chunk_size().get(),
        holdings: Holdings::Bitmap(ChunkSet::empty(geometry).to_bytes()),
    });
    let introduce = |number: usize| {
        let mut bytes = BytesMut::from(&preamble(Protocol::Peer)[..]);
        let mut id = [7; 16];
        id[..8].copy_from_slice(&number.to_le_bytes());
        let hello = Hello { peer_id: PeerId(id), listen_port: 0, capabilities: 0 };
        encode(&PeerMessage::Hello(hello), &mut bytes);
        encode(&open, &mut bytes);
        bytes.to_vec()
    };
    (0..count).map(introduce).collect()
}

impl Seen {
    /// Connections on which the other side has said something and that it has not closed: the most
    /// at one moment.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// The same now.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections that the other side closed, those included that it never answered.
    pub(crate) fn closed(&self) -> usize {
        self.closed.load(Ordering::Relaxed)
    }
}

/// Keeps so many connections open from the address `from`, until the token says so.
pub(crate) async fn flood(
    (from, to): (IpAddr, SocketAddr),
    connections: usize,
    words: Words,
    seen: Arc<Seen>,
    stop: CancellationToken,
) {
    keep_open(move |_| from, to, (connections, AGAIN), words, seen, stop).await;
}

/// The same, each connection from an address of its own, with no more than five thousand calls a
/// second in all.
pub(crate) async fn flood_from(
    from: impl Fn(usize) -> IpAddr,
    to: SocketAddr,
    connections: usize,
    words: Words,
    seen: Arc<Seen>,
    stop: CancellationToken,
) {
    let again = Duration::from_secs_f64(connections as f64 / MOST_CALLS);
    keep_open(from, to, (connections, again.max(AGAIN)), words, seen, stop).await;
}

async fn keep_open(
    from: impl Fn(usize) -> IpAddr,
    to: SocketAddr,
    (connections, again): (usize, Duration),
    words: Words,
    seen: Arc<Seen>,
    stop: CancellationToken,
) {
    let mut callers = JoinSet::new();
    for number in 0..connections {
        let (words, seen, from) = (words.clone(), Arc::clone(&seen), from(number));
        callers.spawn(async move {
            loop {
                call((from, to), &words.0[number % words.0.len()], &seen).await;
                sleep(again).await;
            }
        });
    }
    stop.cancelled().await;
}

/// One connection, until the other side closes it.
async fn call((from, to): (IpAddr, SocketAddr), words: &[u8], seen: &Seen) {
    let Ok(socket) = socket_for(from) else { return };
    if socket.bind(SocketAddr::new(from, 0)).is_err() {
        return;
    }
    let Ok(Ok(mut stream)) = timeout(LIMIT, socket.connect(to)).await else { return };
    let _ = stream.write_all(words).await;
    if stream.read_exact(&mut [0; PREAMBLE_LEN]).await.is_ok() {
        let _open = Counted::new(seen);
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    }
    seen.closed.fetch_add(1, Ordering::Relaxed);
}

fn socket_for(from: IpAddr) -> std::io::Result<TcpSocket> {
    if from.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
}

/// One of the open connections, as long as it lives.
struct Counted<'a>(&'a Seen);

impl Counted<'_> {
    fn new(seen: &Seen) -> Counted<'_> {
        let open = seen.open.fetch_add(1, Ordering::Relaxed) + 1;
        seen.most.fetch_max(open, Ordering::Relaxed);
        Counted(seen)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One silent connection: how long it took until the other side noticed it, and from then until it
/// closed it.
pub(crate) async fn until_closed(
    (from, to): (IpAddr, SocketAddr),
    words: &[u8],
) -> Option<(Duration, Duration)> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind(SocketAddr::new(from, 0)).ok()?;
    let began = Instant::now();
    let mut stream = timeout(LIMIT, socket.connect(to)).await.ok()?.ok()?;
    let _ = stream.write_all(words).await;
    let greeting = timeout(LIMIT, stream.read_exact(&mut [0; PREAMBLE_LEN])).await.ok()?;
    let noticed = began.elapsed();
    if greeting.is_ok() {
        timeout(LIMIT, tokio::io::copy(&mut stream, &mut tokio::io::sink())).await.ok()?.ok();
    }
    Some((noticed, began.elapsed().saturating_sub(noticed)))
}

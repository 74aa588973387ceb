//! Connections that say very much to a peer and never read what it answers, or read it so that they
//! can say more.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use tnet_fileinfo::{ChunkSet, ChunkSize, Geometry};
use tnet_proto::{
    FileHandle, Hello, Holdings, Info, MAX_BITMAP_LEN, MAX_EXTENSION_LEN, MAX_HAVE_CHUNKS,
    MAX_HOLDERS, MAX_INFO_SUMS, Open, PeerId, PeerMessage, Protocol, encode, preamble,
};
use tnet_testkit::describe;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, copy, sink};
use tokio::net::TcpSocket;
use tokio::net::tcp::OwnedReadHalf;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

/// Bytes that the system keeps for a connection that does not read: as few as it allows, so that
/// what is not read stays where it comes from.
const UNREAD_BYTES: u32 = 2048;

/// A connection is not waited for longer.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);

/// What such a connection says, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Asks for a description.
    Descriptions,
    /// Asks for a description that is not there.
    UnknownDescriptions,
    /// Opens a file that is shared and asks for chunks of it.
    Requests,
    Pings,
    /// Messages with a number that does not exist.
    UnknownMessages,
    /// Opens files that are not shared.
    UnknownFiles,
    /// Joins the swarm of a shared file and leaves it.
    Rejoins,
    /// Joins it, and then announces chunks.
    Announces,
    /// Joins it, and then names other peers.
    Exchanges,
    /// Unsolicited messages, as long as they may be.
    Unasked,
    /// A file that is not shared, with the longest bitmap.
    Bitmaps,
    /// One long message, but for its last byte.
    Halves,
    /// Joins the swarms of all shared files, and reads the answers: else the connection would end
    /// for those.
    KnownFiles,
    /// A message of each kind in turn.
    Mix,
}

impl Kind {
    /// Each of them.
    pub(crate) const ALL: [Kind; 14] = [
        Kind::Descriptions,
        Kind::UnknownDescriptions,
        Kind::Requests,
        Kind::Pings,
        Kind::UnknownMessages,
        Kind::UnknownFiles,
        Kind::Rejoins,
        Kind::Announces,
        Kind::Exchanges,
        Kind::Unasked,
        Kind::Bitmaps,
        Kind::Halves,
        Kind::KnownFiles,
        Kind::Mix,
    ];

    /// Kinds that are said in turn.
    const MIXED: [Kind; 11] = *Kind::ALL.first_chunk().expect("there are more");

    fn reads_answers(self) -> bool {
        self == Kind::KnownFiles
    }

    /// The `number`th thing that a connection says.
    fn words(self, number: u32, target: &Target) -> BytesMut {
        let mut out = BytesMut::new();
        match self {
            Kind::Descriptions => {
                say(PeerMessage::InfoRequest { hash: target.hash, first: 0 }, &mut out)
            }
            Kind::UnknownDescriptions => {
                say(PeerMessage::InfoRequest { hash: unknown(number), first: 0 }, &mut out);
            }
            Kind::Requests => {
                if number == 0 {
                    say(target.open(1), &mut out);
                }
                let chunk = number % target.geometry.chunk_count();
                say(PeerMessage::Request { file: FileHandle(1), chunk }, &mut out);
            }
            Kind::Pings => say(PeerMessage::Ping { nonce: number.into() }, &mut out),
            Kind::UnknownMessages => {
                out.extend_from_slice(&4_u32.to_le_bytes());
                out.extend_from_slice(&(900 + number % 90).to_le_bytes());
            }
            Kind::UnknownFiles => say(unknown_file(number, 100), &mut out),
            Kind::Rejoins => {
                say(target.open(3), &mut out);
                say(PeerMessage::Close { file: FileHandle(3) }, &mut out);
            }
            Kind::Announces => {
                if number == 0 {
                    say(target.open(4), &mut out);
                }
                let count = MAX_HAVE_CHUNKS.try_into().expect("a limit of thousands");
                let chunks =
                    (0..count).map(|chunk: u32| chunk % target.geometry.chunk_count()).collect();
                say(PeerMessage::Have { file: FileHandle(4), chunks }, &mut out);
            }
            Kind::Exchanges => {
                if number == 0 {
                    say(target.open(5), &mut out);
                }
                let peers = (0..MAX_HOLDERS).map(|_| SocketAddr::from(([0xfd; 16], 1))).collect();
                say(PeerMessage::Peers { file: FileHandle(5), peers }, &mut out);
            }
            Kind::Unasked => {
                say(
                    PeerMessage::Extension { kind: number, body: vec![1; MAX_EXTENSION_LEN] },
                    &mut out,
                );
                say(long_info(), &mut out);
            }
            Kind::Bitmaps => say(unknown_file(number, MAX_BITMAP_LEN), &mut out),
            Kind::Halves => {
                if number == 0 {
                    say(unknown_file(0, MAX_BITMAP_LEN), &mut out);
                    out.truncate(out.len() - 1);
                }
            }
            Kind::KnownFiles => {
                if let Some(hash) = target.small_files.get(number as usize) {
                    say(open(number, *hash, &SmallFile::geometry()), &mut out);
                }
            }
            Kind::Mix => {
                let kinds = Kind::MIXED.len();
                let (turn, kind) = (number as usize / kinds, number as usize % kinds);
                return Kind::MIXED[kind]
                    .words(u32::try_from(turn).expect("less than a u32"), target);
            }
        }
        out
    }
}

/// What is attacked: a peer, and files that it shares.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) hash: [u8; 32],
    pub(crate) geometry: Geometry,
    /// Of each [`SmallFile`].
    pub(crate) small_files: Arc<[[u8; 32]]>,
}

impl Target {
    fn open(&self, file: u32) -> PeerMessage {
        open(file, self.hash, &self.geometry)
    }
}

/// One of many files that are shared beside the long one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SmallFile(pub(crate) u32);

impl SmallFile {
    pub(crate) fn bytes(self) -> [u8; 4] {
        self.0.to_le_bytes()
    }

    pub(crate) fn hash(self) -> [u8; 32] {
        *describe(&self.bytes(), SmallFile::geometry().chunk_size()).hash().as_bytes()
    }

    fn geometry() -> Geometry {
        let len = SmallFile(0).bytes().len() as u64;
        Geometry::new(len, ChunkSize::default_for(len)).expect("a size that files have")
    }
}

/// Connections that say their words until no more are taken, and stay open until this is dropped.
#[derive(Debug)]
pub(crate) struct Crowd {
    _connections: JoinSet<()>,
    size: usize,
    answered: Arc<AtomicUsize>,
}

impl Crowd {
    /// So many connections, from these addresses in turn, that say `words` things each.
    pub(crate) fn of(
        kind: Kind,
        target: Target,
        connections: usize,
        words: u32,
        from: &[IpAddr],
    ) -> Crowd {
        let (mut all, answered) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
        for number in 0..connections {
            let (from, target, answered) =
                (from[number % from.len()], target.clone(), Arc::clone(&answered));
            all.spawn(async move {
                let _ = talk(kind, target, number, words, from, &answered).await;
                // What is not said any more keeps the connection open nonetheless.
                std::future::pending::<()>().await;
            });
        }
        Crowd { _connections: all, size: connections, answered }
    }

    /// Whether all of them have had an answer to everything. Those that do not read never have.
    pub(crate) fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed) == self.size
    }
}

async fn talk(
    kind: Kind,
    target: Target,
    id: usize,
    words: u32,
    from: IpAddr,
    answered: &Arc<AtomicUsize>,
) -> std::io::Result<()> {
    let socket = if from.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_recv_buffer_size(UNREAD_BYTES)?;
    socket.bind((from, 0).into())?;
    let mut stream = timeout(CONNECT_WITHIN, socket.connect(target.address)).await??;
    let mut bytes = BytesMut::from(&preamble(Protocol::Peer)[..]);
    let mut peer_id = [7; 16];
    peer_id[..8].copy_from_slice(&id.to_le_bytes());
    say(
        PeerMessage::Hello(Hello { peer_id: PeerId(peer_id), listen_port: 0, capabilities: 0 }),
        &mut bytes,
    );
    stream.write_all(&bytes).await?;
    let (answers, mut stream) = stream.into_split();
    let (files, answered) = (target.small_files.len(), Arc::clone(answered));
    let _reads = kind.reads_answers().then(|| {
        AbortOnDropHandle::new(tokio::spawn(read_answers(BufReader::new(answers), files, answered)))
    });
    for number in 0..words {
        stream.write_all(&kind.words(number, &target)).await?;
    }
    std::future::pending().await
}

/// Reads all there is. A connection counts when it has read a hello and so many messages.
async fn read_answers(
    mut input: BufReader<OwnedReadHalf>,
    messages: usize,
    answered: Arc<AtomicUsize>,
) -> std::io::Result<u64> {
    let mut skipped = vec![0; preamble(Protocol::Peer).len()];
    input.read_exact(&mut skipped).await?;
    for _ in 0..=messages {
        let len = input.read_u32_le().await?;
        copy(&mut (&mut input).take(len.into()), &mut sink()).await?;
    }
    answered.fetch_add(1, Ordering::Relaxed);
    copy(&mut input, &mut sink()).await
}

/// Joins the swarm of a file without a chunk of it.
fn open(file: u32, hash: [u8; 32], geometry: &Geometry) -> PeerMessage {
    PeerMessage::Open(Open {
        file: FileHandle(file),
        hash,
        size: geometry.size(),
        chunk_size: geometry.chunk_size().get(),
        holdings: Holdings::Bitmap(ChunkSet::empty(geometry).to_bytes()),
    })
}

fn say(message: PeerMessage, out: &mut BytesMut) {
    encode(&message, out);
}

fn unknown(number: u32) -> [u8; 32] {
    let mut hash = [9; 32];
    hash[..4].copy_from_slice(&number.to_le_bytes());
    hash
}

fn unknown_file(number: u32, bitmap: usize) -> PeerMessage {
    PeerMessage::Open(Open {
        file: FileHandle(1000 + number),
        hash: unknown(number),
        size: bitmap as u64 * 8 * 16 * 1024,
        chunk_size: 16 * 1024,
        holdings: Holdings::Bitmap(vec![0; bitmap]),
    })
}

fn long_info() -> PeerMessage {
    PeerMessage::Info(Info {
        hash: [3; 32],
        size: 1 << 30,
        chunk_size: 64 * 1024,
        tail_leaf: Vec::new(),
        tail_path: Vec::new(),
        first: 0,
        sums: vec![[5; 32]; MAX_INFO_SUMS],
    })
}

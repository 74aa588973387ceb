//! A session and a script, over a stream in memory; or two sessions over TCP.

mod ending;
mod limits;
mod reading;
mod sending;

use std::sync::Arc;

use bytes::{Buf, BytesMut};
use tnet_fileinfo::{ChunkSize, FileHash, Geometry, scan_file};
use tnet_net::Clock;
use tnet_proto::{
    ByeReason, FileHandle, FrameHead, Hello, Holdings, MAX_FRAME_LEN, Open, PeerId, PeerMessage,
    data_header, decode, encode,
};
use tnet_proto::{FileKey, PeerKey, UploadEnd};
use tnet_store::ChunkSource;
use tnet_store::FileStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::announced::Content;
use super::budget::Claimant;
use super::*;

pub(super) const HANDLE: FileHandle = FileHandle(7);
pub(super) const CHUNK: u32 = 64 * 1024;

/// Our handle for the file that is `HANDLE` to the other side.
const OURS: FileHandle = FileHandle(70);

/// A session under test and the other end of its stream.
pub(super) struct Rig {
    pub(super) ingest: Ingest,
    session: Session,
    events: mpsc::Receiver<(PeerKey, SessionEvent)>,
    other: DuplexStream,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Rig {
    pub(super) fn new() -> Rig {
        Rig::with_delay(Duration::ZERO)
    }

    fn with_delay(demo_delay: Duration) -> Rig {
        let (ours, other) = duplex(1 << 20);
        let (input, output): (ReadHalf<DuplexStream>, WriteHalf<DuplexStream>) = split(ours);
        let (events_in, events) = mpsc::channel(1024);
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let context = context(events_in, &tasks, &stop).with_demo_delay(demo_delay);
        let remote = "127.0.0.1:1".parse().unwrap();
        let session = Session::start(&context, PeerKey(1), remote, handshaken(input, output));
        Rig { ingest: context.ingest, session, events, other, stop, tasks }
    }

    pub(super) async fn send(&mut self, message: PeerMessage) {
        let mut bytes = BytesMut::new();
        encode(&message, &mut bytes);
        self.other.write_all(&bytes).await.unwrap();
    }

    /// Announces a file of `chunks` full chunks and requests all of them.
    async fn open(&mut self, chunks: u32) {
        let size = u64::from(chunks) * u64::from(CHUNK);
        let open =
            Open { file: HANDLE, hash: [3; 32], size, chunk_size: CHUNK, holdings: Holdings::Full };
        self.send(PeerMessage::Open(open)).await;
        let event = self.event().await;
        assert!(matches!(event, SessionEvent::Message(PeerMessage::Open(_))), "{event:?}");
        let geometry = Geometry::new(size, ChunkSize::new(CHUNK).unwrap()).unwrap();
        let content = Content { hash: FileHash::from_bytes([3; 32]), geometry };
        (0..chunks).for_each(|chunk| self.expect(content, chunk));
    }

    pub(super) fn request(&self, file: FileKey, chunk: u32) {
        assert!(
            self.session.order(Order::Send(PeerMessage::Request { file: file.handle(), chunk }))
        );
    }

    /// As if the chunk had been requested.
    pub(super) fn expect(&self, content: Content, chunk: u32) {
        self.session.open_requests.add(OURS, content, chunk);
    }

    pub(super) async fn send_part(&mut self, chunk: u32, offset: u32, bytes: &[u8]) {
        let header = data_header(HANDLE, chunk, offset, u32::try_from(bytes.len()).unwrap());
        self.other.write_all(&header).await.unwrap();
        self.other.write_all(bytes).await.unwrap();
    }

    pub(super) async fn event(&mut self) -> SessionEvent {
        let event = tokio::time::timeout(Duration::from_secs(10), self.events.recv()).await;
        event.expect("an event within ten seconds").expect("the session reports until its end").1
    }

    /// Checks that the session ends as a violation: the engine and the other side are told.
    async fn assert_violation(mut self) {
        assert!(matches!(self.event().await, SessionEvent::Violated));
        self.session.close(ByeReason::VIOLATION);
        let mut rest = Vec::new();
        self.other.read_to_end(&mut rest).await.unwrap();
        let bye = PeerMessage::Bye { reason: ByeReason::VIOLATION };
        assert_eq!(decode::<PeerMessage>(&rest[4..]).unwrap(), bye);
        let ended = tokio::time::timeout(Duration::from_secs(10), self.events.recv())
            .await
            .expect("it ends");
        assert!(matches!(ended, Some((_, SessionEvent::Ended))));
    }

    /// Receives the next frame at the other end: a message, or the offset and the bytes of a part.
    async fn receive(&mut self) -> Result<PeerMessage, (u32, Vec<u8>)> {
        let mut buffered = BytesMut::new();
        loop {
            let head = FrameHead::parse(&buffered, MAX_FRAME_LEN).unwrap();
            if let Some(head) = head
                && buffered.len() >= head.head_len() + head.body_len()
            {
                buffered.advance(head.head_len());
                return match head {
                    FrameHead::Message { .. } => Ok(decode(&buffered).unwrap()),
                    FrameHead::Data { offset, .. } => Err((offset, buffered.to_vec())),
                };
            }
            // Byte by byte, so that nothing of the next frame is read.
            buffered.extend_from_slice(&[self.other.read_u8().await.unwrap()]);
        }
    }
}

/// A shared file of one chunk, a bit longer than one part.
fn shared_file() -> (tempfile::TempDir, Vec<u8>, ChunkSource) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let bytes: Vec<u8> = (0..300_000u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    std::fs::write(&path, &bytes).unwrap();
    let chunk_size = ChunkSize::new(512 * 1024).unwrap();
    let info =
        scan_file(&path, Some(chunk_size), &|_| std::ops::ControlFlow::Continue(())).unwrap();
    let store = FileStore::open_shared(&path, &info).unwrap();
    (directory, bytes, ChunkSource::Whole(Arc::new(store)))
}

fn upload(source: &ChunkSource) -> Order {
    let geometry = Geometry::new(300_000, ChunkSize::new(512 * 1024).unwrap()).unwrap();
    let chunk = geometry.chunk(0).unwrap();
    Order::Upload(Upload {
        file: FileKey(4),
        chunk,
        len: 300_000,
        source: source.clone(),
        spares: Vec::new(),
    })
}

fn context(
    events: mpsc::Sender<(PeerKey, SessionEvent)>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> SessionContext {
    SessionContext::new(events, 1 << 20, Clock::new(), tasks.clone(), stop.clone())
}

fn handshaken<R, W>(input: R, output: W) -> Handshaken<R, W> {
    let hello = Hello { peer_id: PeerId([1; 16]), listen_port: 0, capabilities: 0 };
    Handshaken { hello, input, output, buffered: BytesMut::new() }
}

/// Both ends of a TCP connection.
async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
    (one.unwrap(), other.unwrap().0)
}

/// A session over TCP and its events.
fn over_tcp(stream: TcpStream) -> (Session, mpsc::Receiver<(PeerKey, SessionEvent)>) {
    let remote = stream.peer_addr().unwrap();
    let (input, output) = stream.into_split();
    let (events_in, events) = mpsc::channel(64);
    let context = context(events_in, &TaskTracker::new(), &CancellationToken::new());
    (Session::start(&context, PeerKey(1), remote, handshaken(input, output)), events)
}

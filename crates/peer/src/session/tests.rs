//! Two sessions, or a session and a script, over an in-memory stream.

use bytes::{Buf, BytesMut};
use tnet_fileinfo::{ChunkSize, FileHash, Geometry, scan_file};
use tnet_proto::{
    FrameHead, Hello, Holdings, MAX_FRAME_LEN, Open, PeerId, data_header, decode, encode,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};

use super::announced::Announced;
use super::*;
use crate::store::FileStore;

pub(super) const HANDLE: FileHandle = FileHandle(7);
pub(super) const CHUNK: u32 = 64 * 1024;

/// Our number for the file that the other side calls `HANDLE`.
const OURS: FileHandle = FileHandle(70);

/// A session under test and the other end of its stream.
pub(super) struct Rig {
    pub(super) intake: Intake,
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
        let intake = Intake::new(1 << 20, Clock::new(), tasks.clone());
        let turns = Arc::new(Semaphore::new(TURNS));
        let context = SessionContext {
            events: events_in,
            intake: intake.clone(),
            backlogs: Backlogs::default(),
            turns,
            farewells: Arc::new(Semaphore::new(64)),
            demo_delay,
            clock: Clock::new(),
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
        let hello = Hello { peer_id: PeerId([1; 16]), listen_port: 0, capabilities: 0 };
        let greeted = Greeted { hello, input, output, buffered: BytesMut::new() };
        let remote = "127.0.0.1:1".parse().unwrap();
        let session = Session::start(&context, PeerKey(1), remote, greeted);
        Rig { intake, session, events, other, stop, tasks }
    }

    pub(super) async fn say(&mut self, message: PeerMessage) {
        let mut bytes = BytesMut::new();
        encode(&message, &mut bytes);
        self.other.write_all(&bytes).await.unwrap();
    }

    /// Announces a file of `chunks` whole chunks.
    async fn open(&mut self, chunks: u32) {
        let size = u64::from(chunks) * u64::from(CHUNK);
        let open =
            Open { file: HANDLE, hash: [3; 32], size, chunk_size: CHUNK, holdings: Holdings::Full };
        self.say(PeerMessage::Open(open)).await;
        let event = self.event().await;
        assert!(matches!(event, SessionEvent::Message(PeerMessage::Open(_))), "{event:?}");
        let geometry = Geometry::new(size, ChunkSize::new(CHUNK).unwrap()).unwrap();
        let content = Announced { hash: FileHash::from_bytes([3; 32]), geometry };
        (0..chunks).for_each(|chunk| self.expects(content, chunk));
    }

    pub(super) fn asks_for(&self, file: FileKey, chunk: u32) {
        assert!(
            self.session.order(Order::Send(PeerMessage::Request { file: file.handle(), chunk }))
        );
    }

    pub(super) fn expects(&self, content: Announced, chunk: u32) {
        self.session.asked.note(OURS, content, chunk);
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

    /// The engine hears of it, and the other side is told before the end.
    async fn ends_as_a_violation(mut self) {
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

    /// The next frame at the other end: a message, or where a data part begins and its bytes.
    async fn heard(&mut self) -> Result<PeerMessage, (u32, Vec<u8>)> {
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
            // Byte by byte, so as not to take from the next frame.
            buffered.extend_from_slice(&[self.other.read_u8().await.unwrap()]);
        }
    }
}

#[tokio::test]
async fn a_chunk_in_parts_is_reported_once_it_is_whole() {
    let mut rig = Rig::new();
    rig.open(2).await;
    let (first, second) = (vec![1; 40_000], vec![2; CHUNK as usize - 40_000]);
    rig.send_part(1, 0, &first).await;
    assert!(matches!(rig.event().await, SessionEvent::DataReceived { bytes: 40_000 }));
    rig.say(PeerMessage::Ready { file: HANDLE, chunk: 0 }).await;
    assert!(matches!(rig.event().await, SessionEvent::Message(PeerMessage::Ready { .. })));
    rig.send_part(1, 40_000, &second).await;
    let SessionEvent::ChunkArrived { handle, chunk, last_part, body: ChunkBody::InMemory(buffer) } =
        rig.event().await
    else {
        panic!("no chunk")
    };
    assert_eq!((handle, chunk, last_part), (HANDLE, 1, CHUNK - 40_000));
    assert_eq!(buffer.bytes(), [first, second].concat());
}

#[tokio::test]
async fn parts_out_of_order_end_the_session() {
    let mut rig = Rig::new();
    rig.open(1).await;
    rig.send_part(0, 0, &[0; 100]).await;
    rig.send_part(0, 200, &[0; 100]).await;
    assert!(matches!(rig.event().await, SessionEvent::DataReceived { bytes: 100 }));
    rig.ends_as_a_violation().await;
}

#[tokio::test]
async fn a_part_past_the_end_of_its_chunk_ends_the_session() {
    let mut rig = Rig::new();
    rig.open(1).await;
    rig.send_part(0, 0, &[0; CHUNK as usize + 1]).await;
    rig.ends_as_a_violation().await;
}

#[tokio::test]
async fn data_for_a_file_that_was_not_announced_ends_the_session() {
    let mut rig = Rig::new();
    rig.send_part(0, 0, &[0; 10]).await;
    rig.ends_as_a_violation().await;
}

#[tokio::test(start_paused = true)]
async fn while_the_reader_waits_for_memory_both_sides_are_told() {
    let mut rig = Rig::new();
    rig.open(1).await;
    let other = Claimant::new([10, 0, 0, 1].into());
    let memory = rig.intake.buffers.take(1 << 20, &other, Arc::default()).await;
    rig.send_part(0, 0, &[1; 10_000]).await;
    assert!(matches!(rig.event().await, SessionEvent::ReadingPaused));
    // Nobody can ask for them.
    for _ in 0..4 {
        assert_eq!(rig.heard().await, Ok(PeerMessage::Pong { nonce: 0 }));
    }
    drop(memory);
    assert!(matches!(rig.event().await, SessionEvent::ReadingResumed));
    assert!(matches!(rig.event().await, SessionEvent::DataReceived { bytes: 10_000 }));
}

#[tokio::test]
async fn a_chunk_that_was_not_asked_for_ends_the_session_before_it_takes_memory() {
    for chunk in [0, 1] {
        let mut rig = Rig::new();
        rig.open(1).await;
        let size = 2 * u64::from(CHUNK);
        let open =
            Open { file: HANDLE, hash: [4; 32], size, chunk_size: CHUNK, holdings: Holdings::Full };
        rig.say(PeerMessage::Open(open)).await;
        assert!(matches!(rig.event().await, SessionEvent::Message(_)));
        rig.other.write_all(&data_header(HANDLE, chunk, 0, 1000)).await.unwrap();
        let intake = rig.intake.clone();
        rig.ends_as_a_violation().await;
        assert_eq!(intake.buffers.used_bytes(), 0);
    }
}

#[tokio::test]
async fn a_chunk_comes_once_for_each_request() {
    let mut rig = Rig::new();
    rig.open(1).await;
    rig.send_part(0, 0, &[8; CHUNK as usize]).await;
    assert!(matches!(rig.event().await, SessionEvent::ChunkArrived { chunk: 0, .. }));
    rig.send_part(0, 0, &[8]).await;
    rig.ends_as_a_violation().await;
}

/// Sends what it is told again and again until the session has ended; answers how long that took.
async fn lasts(
    mut rig: Rig,
    every: Duration,
    at_most: Duration,
    what: impl Fn(u32) -> Vec<u8>,
) -> Duration {
    let began = tokio::time::Instant::now();
    for turn in 0.. {
        let _ = rig.other.write_all(&what(turn)).await;
        tokio::time::sleep(every).await;
        while let Ok((_, event)) = rig.events.try_recv() {
            if matches!(event, SessionEvent::Ended) {
                return began.elapsed();
            }
        }
        assert!(began.elapsed() < at_most, "it goes on");
    }
    unreachable!("it has no end")
}

#[tokio::test(start_paused = true)]
async fn a_chunk_that_drips_has_an_end_that_neither_drips_nor_pings_put_off() {
    let second = Duration::from_secs(1);
    for is_within_part in [true, false] {
        let mut rig = Rig::new();
        rig.open(1).await;
        rig.other.write_all(&data_header(HANDLE, 0, 0, CHUNK / 2)).await.unwrap();
        if !is_within_part {
            rig.other.write_all(&[0; CHUNK as usize / 2]).await.unwrap();
        }
        let mut ping = BytesMut::new();
        encode(&PeerMessage::Ping { nonce: 1 }, &mut ping);
        let what = |_| if is_within_part { vec![0; 300] } else { ping.to_vec() };
        let lasted = lasts(rig, second, 100 * second, what).await;
        assert!(
            lasted >= 80 * second && lasted <= 90 * second,
            "{lasted:?}: 20 s and 64 KiB at 1 KiB/s"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_message_that_drips_has_an_end() {
    let second = Duration::from_secs(1);
    for in_head in [true, false] {
        let mut rig = Rig::new();
        if !in_head {
            rig.other.write_all(&4000_u32.to_le_bytes()).await.unwrap();
        }
        let lasted = lasts(rig, 25 * second, 200 * second, |_| vec![0]).await;
        assert!(lasted <= 80 * second, "{lasted:?}");
    }
}

#[tokio::test]
async fn after_a_chunk_was_stopped_another_may_begin() {
    let mut rig = Rig::new();
    rig.open(2).await;
    rig.send_part(0, 0, &[9; 10]).await;
    assert!(matches!(rig.event().await, SessionEvent::DataReceived { bytes: 10 }));
    rig.say(PeerMessage::Stopped { file: HANDLE, chunk: 0 }).await;
    assert!(matches!(rig.event().await, SessionEvent::Message(PeerMessage::Stopped { .. })));
    rig.send_part(1, 0, &[8; CHUNK as usize]).await;
    assert!(matches!(rig.event().await, SessionEvent::ChunkArrived { chunk: 1, .. }));
}

#[tokio::test]
async fn an_unknown_message_is_answered_and_the_session_goes_on() {
    let mut rig = Rig::new();
    rig.other.write_all(&[4, 0, 0, 0, 0xe7, 3, 0, 0]).await.unwrap();
    assert_eq!(rig.heard().await, Ok(PeerMessage::Unsupported { message: 999 }));
    rig.say(PeerMessage::Ping { nonce: 5 }).await;
    assert_eq!(rig.heard().await, Ok(PeerMessage::Pong { nonce: 5 }));
}

#[tokio::test]
async fn an_oversized_frame_ends_the_session_at_its_prefix() {
    let mut rig = Rig::new();
    rig.other.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
    rig.ends_as_a_violation().await;
}

/// A shared file of one chunk and a bit more than one part.
fn shared_file() -> (tempfile::TempDir, Vec<u8>, Source) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let bytes: Vec<u8> = (0..300_000u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    std::fs::write(&path, &bytes).unwrap();
    let chunk_size = ChunkSize::new(512 * 1024).unwrap();
    let info =
        scan_file(&path, Some(chunk_size), &|_| std::ops::ControlFlow::Continue(())).unwrap();
    let store = FileStore::open_shared(&path, &info).unwrap();
    (directory, bytes, Source::Whole(Arc::new(store)))
}

fn upload(source: &Source) -> Order {
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

#[tokio::test]
async fn a_chunk_is_sent_in_parts_that_make_it_whole() {
    let mut rig = Rig::new();
    let (_directory, bytes, source) = shared_file();
    assert!(rig.session.order(upload(&source)));
    let mut got = Vec::new();
    while got.len() < bytes.len() {
        let (offset, part) = rig.heard().await.expect_err("only data is sent");
        assert_eq!(offset as usize, got.len());
        got.extend(part);
    }
    assert!(got == bytes, "the bytes of the chunk differ");
    let event = rig.event().await;
    assert!(
        matches!(event, SessionEvent::UploadEnded { end: UploadEnd::Sent, failed: None, .. }),
        "{event:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn with_a_delay_parts_wait_and_messages_pass_them() {
    let delay = Duration::from_secs(20);
    let mut rig = Rig::with_delay(delay);
    let (_directory, _, source) = shared_file();
    let began = tokio::time::Instant::now();
    assert!(rig.session.order(upload(&source)));
    assert!(matches!(rig.heard().await, Err((0, _))), "the first part does not wait");
    rig.say(PeerMessage::Ping { nonce: 5 }).await;
    assert_eq!(rig.heard().await, Ok(PeerMessage::Pong { nonce: 5 }));
    assert!(began.elapsed() < delay, "answered after {:?}", began.elapsed());
    assert!(matches!(rig.heard().await, Err((262_144, _))));
    assert!(began.elapsed() >= delay, "sent after {:?}", began.elapsed());
}

#[tokio::test]
async fn a_file_truncated_while_it_is_served_is_stopped_and_named() {
    let mut rig = Rig::new();
    let (directory, _, source) = shared_file();
    std::fs::File::options()
        .write(true)
        .open(directory.path().join("file"))
        .unwrap()
        .set_len(10)
        .unwrap();
    assert!(rig.session.order(upload(&source)));
    assert_eq!(rig.heard().await, Ok(PeerMessage::Stopped { file: FileHandle(4), chunk: 0 }));
    let event = rig.event().await;
    assert!(
        matches!(event, SessionEvent::UploadEnded { end: UploadEnd::Stopped, failed: Some(_), .. }),
        "{event:?}"
    );
}

#[tokio::test]
async fn a_closed_session_says_goodbye_and_leaves_no_task() {
    let mut rig = Rig::new();
    rig.session.close(ByeReason::IDLE);
    let mut rest = Vec::new();
    rig.other.read_to_end(&mut rest).await.unwrap();
    assert_eq!(
        decode::<PeerMessage>(&rest[4..]).unwrap(),
        PeerMessage::Bye { reason: ByeReason::IDLE }
    );
    rig.tasks.close();
    tokio::time::timeout(Duration::from_secs(10), rig.tasks.wait()).await.expect("the task ends");
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_other_side_does_not_read_ends_all_the_same() {
    let mut rig = Rig::new();
    let (_directory, _, source) = shared_file();
    for _ in 0..8 {
        assert!(rig.session.order(upload(&source)), "the queue has room for it");
    }
    rig.session.close(ByeReason::SHUTDOWN);
    loop {
        let event = tokio::time::timeout(Duration::from_secs(600), rig.events.recv())
            .await
            .expect("it ends");
        if matches!(event, Some((_, SessionEvent::Ended))) {
            break;
        }
    }
    rig.stop.cancel();
}

/// Over TCP: who writes to a socket that is closed already gets an error, and may not look at what
/// was said last.
#[tokio::test]
async fn the_goodbye_can_be_read_by_somebody_who_is_still_sending() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (other, accepted) =
        tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
    let (mut other, ours) = (other.unwrap(), accepted.unwrap().0);
    let (session, _kept) = over_tcp(ours);
    session.close(ByeReason::IDLE);
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        other.write_all(&[0; 1000]).await.unwrap();
    }
    let mut heard = Vec::new();
    other.read_to_end(&mut heard).await.unwrap();
    assert_eq!(
        decode::<PeerMessage>(&heard[4..]).unwrap(),
        PeerMessage::Bye { reason: ByeReason::IDLE }
    );
}

/// A session over TCP, and what it reports.
fn over_tcp(stream: tokio::net::TcpStream) -> (Session, mpsc::Receiver<(PeerKey, SessionEvent)>) {
    let remote = stream.peer_addr().unwrap();
    let (input, output) = stream.into_split();
    let (events_in, events) = mpsc::channel(64);
    let context = SessionContext {
        events: events_in,
        intake: Intake::new(1 << 20, Clock::new(), TaskTracker::new()),
        backlogs: Backlogs::default(),
        farewells: Arc::new(Semaphore::new(64)),
        turns: Arc::new(Semaphore::new(TURNS)),
        demo_delay: Duration::ZERO,
        clock: Clock::new(),
        tasks: TaskTracker::new(),
        stop: CancellationToken::new(),
    };
    let hello = Hello { peer_id: PeerId([1; 16]), listen_port: 0, capabilities: 0 };
    let greeted = Greeted { hello, input, output, buffered: BytesMut::new() };
    (Session::start(&context, PeerKey(1), remote, greeted), events)
}

/// Long enough for the connection to be found fast: then chunks go without a copy and several in a
/// turn, the end of one and a message with the head of the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_and_messages_of_a_fast_connection_arrive_whole_and_in_their_order() {
    const CHUNKS: u32 = 64;
    const ROUNDS: u32 = 24;
    const MESSAGES: u32 = 500;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let bytes: Vec<u8> =
        (0..CHUNKS * CHUNK / 4).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    std::fs::write(&path, &bytes).unwrap();
    let size = ChunkSize::new(CHUNK).unwrap();
    let info = scan_file(&path, Some(size), &|_| std::ops::ControlFlow::Continue(())).unwrap();
    let source = Source::Whole(Arc::new(FileStore::open_shared(&path, &info).unwrap()));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ours, theirs) = tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
    let (sender, mut sent) = over_tcp(ours.unwrap());
    let (receiver, mut received) = over_tcp(theirs.unwrap().0);

    let file = FileKey(4);
    let geometry = *info.geometry();
    let holdings = Holdings::Full;
    let open = Open {
        file: file.handle(),
        hash: [3; 32],
        size: geometry.size(),
        chunk_size: CHUNK,
        holdings,
    };
    let sender = Arc::new(sender);
    let content = Announced { hash: FileHash::from_bytes([3; 32]), geometry };
    assert!(sender.order(Order::Send(PeerMessage::Open(open))));
    let uploads = async {
        let (mut ordered, mut ended) = (0, 0);
        while ended < ROUNDS * CHUNKS {
            // In small lots, so that there is always something to send.
            while ordered < (ended + 16).min(ROUNDS * CHUNKS) {
                let chunk = geometry.chunk(ordered % CHUNKS).unwrap();
                receiver.asked.note(OURS, content, chunk.get());
                let (source, spares) = (source.clone(), Vec::new());
                assert!(sender.order(Order::Upload(Upload {
                    file,
                    chunk,
                    len: CHUNK,
                    source,
                    spares
                })));
                ordered += 1;
            }
            match sent.recv().await {
                Some((_, SessionEvent::UploadEnded { end: UploadEnd::Sent, failed: None, .. })) => {
                    ended += 1
                }
                other => panic!("{other:?}"),
            }
        }
    };
    // From another thread, so that some come between two parts.
    let messages_sent =
        async {
            let sender = Arc::clone(&sender);
            tokio::task::spawn_blocking(move || {
                for number in 0..MESSAGES {
                    assert!(sender.order(Order::Send(PeerMessage::Ready {
                        file: file.handle(),
                        chunk: number
                    })));
                    std::thread::sleep(Duration::from_micros(100));
                }
            })
            .await
            .unwrap();
        };
    let arrivals = async {
        let (mut chunks, mut messages) = (0, Vec::new());
        while chunks < ROUNDS * CHUNKS || messages.len() < MESSAGES as usize {
            match received.recv().await {
                Some((
                    _,
                    SessionEvent::ChunkArrived { chunk, body: ChunkBody::InMemory(buffer), .. },
                )) => {
                    let chunk = geometry.chunk(chunk).unwrap();
                    assert_eq!(chunk.get(), chunks % CHUNKS);
                    assert!(info.verify(chunk, buffer.bytes()), "chunk {chunks} has other bytes");
                    chunks += 1;
                }
                Some((_, SessionEvent::Message(PeerMessage::Ready { chunk, .. }))) => {
                    messages.push(chunk)
                }
                Some((_, SessionEvent::Message(PeerMessage::Open(_)))) => {}
                other => panic!("{other:?}"),
            }
        }
        messages
    };
    let ((), (), messages) = tokio::join!(uploads, messages_sent, arrivals);
    assert_eq!(messages, (0..MESSAGES).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_has_four_unanswered_questions_is_read_on_when_one_is_answered() {
    let mut rig = Rig::new();
    for first in 0..6 {
        rig.say(PeerMessage::InfoRequest { hash: [1; 32], first }).await;
    }
    for asked in 0..4 {
        let event = rig.event().await;
        assert!(
            matches!(event, SessionEvent::Message(PeerMessage::InfoRequest { first, .. }) if first == asked)
        );
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(rig.events.try_recv().is_err(), "the fifth waits");
    assert!(rig.session.order(Order::Send(PeerMessage::InfoNotFound { hash: [1; 32] })));
    assert!(matches!(
        rig.event().await,
        SessionEvent::Message(PeerMessage::InfoRequest { first: 4, .. })
    ));
}

#[tokio::test]
async fn long_messages_of_no_interest_are_read_past_and_others_are_taken_whole() {
    let mut rig = Rig::new();
    rig.say(PeerMessage::Extension { kind: 7, body: vec![1; 60_000] }).await;
    let mut unknown = 200_000_u32.to_le_bytes().to_vec();
    unknown.extend(999_u32.to_le_bytes());
    unknown.resize(200_004, 0);
    rig.other.write_all(&unknown).await.unwrap();
    let chunks: Vec<u32> = (0..4000).collect();
    rig.say(PeerMessage::Have { file: HANDLE, chunks: chunks.clone() }).await;
    let SessionEvent::LongMessage(long) = rig.event().await else { panic!("a long message") };
    assert_eq!(long.0, PeerMessage::Have { file: HANDLE, chunks });
    assert_eq!(rig.heard().await, Ok(PeerMessage::Unsupported { message: 999 }));
}

#[tokio::test(start_paused = true)]
async fn reading_byte_by_byte_does_not_prolong_the_time_for_what_waits() {
    let mut rig = Rig::new();
    let began = tokio::time::Instant::now();
    // More than the stream takes on.
    for _ in 0..100 {
        let chunks = vec![0; 4096];
        assert!(rig.session.order(Order::Send(PeerMessage::Have { file: HANDLE, chunks })));
    }
    let mut byte = [0];
    while !matches!(rig.events.try_recv(), Ok((_, SessionEvent::Ended))) {
        let _ = rig.other.read(&mut byte).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(began.elapsed() < Duration::from_secs(70), "it goes on");
    }
}

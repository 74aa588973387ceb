//! A connection that breaks the protocol is closed within the promised time, with a reason if the
//! other side can read it, and honest peers are not affected.

use std::time::Duration;

use futures_util::future::join_all;
use tnet_fileinfo::{ChunkSet, ChunkSize, Geometry};
use tnet_proto::{
    ByeReason, FileHandle, Hello, Holdings, Open, PeerId, PeerMessage, Protocol, preamble,
};
use tnet_testkit::{
    Content, Handshaken, Network, Node, RawClient, SOON, eventually, is, payload, stored,
};

/// 31 chunks of 16 KiB: no multiple of eight, so that a bitmap has a spare bit.
const LEN: u64 = 31 * 16 * 1024;

/// From the connection to the whole hello. The rest is for a busy machine.
const HELLO_DEADLINE: Duration = Duration::from_secs(5);
const SLACK: Duration = Duration::from_secs(4);

/// For what is refused as soon as it is seen.
const AT_ONCE: Duration = Duration::from_secs(3);

async fn call(node: &Node) -> RawClient {
    RawClient::call(node.local_addr()).await.expect("the peer listens")
}

async fn introduced(node: &Node) -> Handshaken {
    call(node).await.handshake(SOON).await
}

/// A frame that claims to be longer than it is allowed to be.
fn prefix(len: u32) -> [u8; 4] {
    len.to_le_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_a_hello_in_time_is_closed() {
    let network = Network::builder().peer("ann").start().await;
    let ann = network.peer("ann");
    let greeting = preamble(Protocol::Peer);
    let half_a_hello = [&greeting[..], &prefix(30), &[0; 10]].concat();
    let sayings: [(&str, &[u8]); 4] = [
        ("nothing at all", &[]),
        ("half a preamble", &greeting[..6]),
        ("a preamble and no hello", &greeting),
        ("half a hello", &half_a_hello),
    ];
    join_all(sayings.map(|(what, bytes)| async move {
        let mut stranger = call(ann).await;
        stranger.send(bytes).await;
        let (after, _) = stranger.until_closed(HELLO_DEADLINE + SLACK).await;
        assert!(after >= HELLO_DEADLINE - Duration::from_secs(1), "{what}: closed after {after:?}");
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_that_drips_is_closed_in_time_too() {
    let network = Network::builder().peer("ann").start().await;
    let mut stranger = call(network.peer("ann")).await;
    let greeting = preamble(Protocol::Peer);
    let dripping = async {
        for byte in greeting.iter().cycle() {
            stranger.send(&[*byte]).await;
            tokio::time::sleep(Duration::from_millis(450)).await;
            if stranger.is_closed() {
                return;
            }
        }
    };
    tnet_testkit::within("the connection is closed", HELLO_DEADLINE + SLACK, dripping).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_before_the_hello_is_closed_at_once() {
    let network = Network::builder().peer("ann").start().await;
    let greeting = preamble(Protocol::Peer);
    let nonsense: [(&str, Vec<u8>); 7] = [
        ("another protocol", b"GET / HTTP/1.1\r\nHost: ann\r\n\r\n".to_vec()),
        ("random bytes", payload(4096, 1).bytes()),
        ("zeros", vec![0; 4096]),
        ("a caller of the coordinator", preamble(Protocol::Coordinator).to_vec()),
        ("a version that does not exist", [&greeting[..8], &[9, 0, 9, 0]].concat()),
        ("a frame of 4 GiB", [&greeting[..], &prefix(u32::MAX)].concat()),
        // Allowed after the hello, not before.
        ("a frame of 5000 bytes", [&greeting[..], &prefix(5000)].concat()),
    ];
    for (what, bytes) in nonsense {
        let mut stranger = call(network.peer("ann")).await;
        stranger.send(&bytes).await;
        let (after, answer) = stranger.until_closed(HELLO_DEADLINE + SLACK).await;
        assert!(after < AT_ONCE, "{what}: closed only after {after:?}");
        // A version that does not fit is answered with those that would.
        assert!(answer.starts_with(&greeting), "{what}: answered with {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_message_that_is_no_hello_is_closed_at_once() {
    let network = Network::builder().peer("ann").start().await;
    let mut stranger = call(network.peer("ann")).await;
    stranger.send(&preamble(Protocol::Peer)).await;
    stranger.say(&PeerMessage::Ping { nonce: 1 }).await;
    let (after, _) = stranger.until_closed(HELLO_DEADLINE + SLACK).await;
    assert!(after < AT_ONCE, "{after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_message_is_answered_and_the_conversation_goes_on() {
    let network = Network::builder().peer("ann").start().await;
    let caller = introduced(network.peer("ann")).await;
    let mut stranger = caller.into_raw();
    stranger.send(&[&prefix(8)[..], &99_u32.to_le_bytes(), b"new!"].concat()).await;
    stranger.say(&PeerMessage::Ping { nonce: 5 }).await;
    let mut caller = stranger.resume();
    assert_eq!(caller.hear(SOON).await, Some(PeerMessage::Unsupported { message: 99 }));
    assert_eq!(caller.hear(SOON).await, Some(PeerMessage::Pong { nonce: 5 }));
    // An answer about an unknown message is never answered, an unknown extension ignored.
    caller.say(PeerMessage::Unsupported { message: 3 }).await;
    caller.say(PeerMessage::Extension { kind: 77, body: vec![1, 2, 3] }).await;
    caller.say(PeerMessage::Ping { nonce: 6 }).await;
    assert_eq!(caller.hear(SOON).await, Some(PeerMessage::Pong { nonce: 6 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_are_no_messages_are_closed_at_once() {
    let network = Network::builder().peer("ann").start().await;
    let data_without_bytes = {
        let mut frame = prefix(24).to_vec();
        frame.extend(6_u32.to_le_bytes());
        frame.extend([0; 20]);
        frame
    };
    let frames: [(&str, Vec<u8>); 6] = [
        ("a frame of 4 GiB", prefix(u32::MAX).to_vec()),
        ("a frame one byte above the limit", prefix(263_169).to_vec()),
        ("a frame of three bytes", [&prefix(3)[..], &[0; 3]].concat()),
        ("a ping cut off", [&prefix(8)[..], &17_u32.to_le_bytes(), &[0; 4]].concat()),
        ("a ping with a byte too many", [&prefix(13)[..], &17_u32.to_le_bytes(), &[0; 9]].concat()),
        ("data without a byte", data_without_bytes),
    ];
    for (what, bytes) in frames {
        let mut stranger = introduced(network.peer("ann")).await.into_raw();
        stranger.send(&bytes).await;
        let (after, _) = stranger.until_closed(SOON).await;
        assert!(after < AT_ONCE, "{what}: closed only after {after:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_out_of_place_are_answered_as_violations() {
    let network = Network::builder().peer("ann").start().await;
    let ann = network.peer("ann");
    let content = Content::of(payload(LEN, 2));
    ann.shares(&content).await;
    let open = |holdings| {
        let (hash, size, chunk_size) = (*content.hash().as_bytes(), LEN, 16 * 1024);
        PeerMessage::Open(Open { file: FileHandle(1), hash, size, chunk_size, holdings })
    };
    let nothing = || Holdings::Bitmap(vec![0; 4]);
    let file = FileHandle(1);
    let hello = Hello { peer_id: PeerId([3; 16]), listen_port: 0, capabilities: 0 };
    let bytes = || vec![1; 64 * 1024].into();
    let cases: [(&str, Vec<PeerMessage>); 10] = [
        ("a second hello", vec![PeerMessage::Hello(hello)]),
        ("a request before any open", vec![PeerMessage::Request { file, chunk: 0 }]),
        ("chunks announced before any open", vec![PeerMessage::Have { file, chunks: vec![0] }]),
        ("a close before any open", vec![PeerMessage::Close { file }]),
        ("a request past the end", vec![open(nothing()), PeerMessage::Request { file, chunk: 31 }]),
        (
            "chunks announced past the end",
            vec![open(nothing()), PeerMessage::Have { file, chunks: vec![31] }],
        ),
        ("a bitmap too short", vec![open(Holdings::Bitmap(vec![0; 3]))]),
        ("a bitmap too long", vec![open(Holdings::Bitmap(vec![0; 5]))]),
        ("a bitmap with a spare bit", vec![open(Holdings::Bitmap(vec![0, 0, 0, 0x80]))]),
        (
            "data that was not asked for",
            vec![open(nothing()), PeerMessage::Data { file, chunk: 0, offset: 0, bytes: bytes() }],
        ),
    ];
    for (what, messages) in cases {
        let mut caller = introduced(ann).await;
        for message in messages {
            caller.say(message).await;
        }
        let bye = caller.hear_until(AT_ONCE, |message| match message {
            PeerMessage::Bye { reason } => Some(reason),
            _ => None,
        });
        assert_eq!(bye.await, Some(ByeReason::VIOLATION), "{what}");
        assert_eq!(caller.hear(AT_ONCE).await, None, "{what}: nothing after a goodbye");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_for_an_unannounced_number_is_answered_as_a_violation() {
    let network = Network::builder().peer("ann").start().await;
    let mut caller = introduced(network.peer("ann")).await;
    // One byte: were it more, closing without reading it could overtake the goodbye.
    caller
        .say(PeerMessage::Data { file: FileHandle(1), chunk: 0, offset: 0, bytes: vec![1].into() })
        .await;
    let bye = caller.hear_until(AT_ONCE, |message| match message {
        PeerMessage::Bye { reason } => Some(reason),
        _ => None,
    });
    assert_eq!(bye.await, Some(ByeReason::VIOLATION));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_shared_is_not_found_and_nothing_more_is_said() {
    let network = Network::builder().peer("ann").start().await;
    let ann = network.peer("ann");
    let (shared, unknown) = (Content::of(payload(LEN, 3)), Content::of(payload(LEN, 4)));
    ann.shares(&shared).await;
    let mut caller = introduced(ann).await;
    // The last one is a lie about a file that is shared.
    let cases = [(unknown.hash(), LEN), (unknown.hash(), 0), (shared.hash(), LEN - 1)];
    for (number, (hash, size)) in (0..).zip(cases) {
        let (file, hash, chunk_size) = (FileHandle(number), *hash.as_bytes(), 16 * 1024);
        let bits =
            usize::try_from(size.div_ceil(u64::from(chunk_size)).div_ceil(8)).expect("small");
        let holdings = Holdings::Bitmap(vec![0; bits]);
        caller.say(PeerMessage::Open(Open { file, hash, size, chunk_size, holdings })).await;
        assert_eq!(caller.hear(SOON).await, Some(PeerMessage::NotFound { file }), "case {number}");
    }
    let hash = *unknown.hash().as_bytes();
    caller.say(PeerMessage::InfoRequest { hash, first: 0 }).await;
    assert_eq!(caller.hear(SOON).await, Some(PeerMessage::InfoNotFound { hash }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_description_is_given_to_every_peer_that_knows_the_hash() {
    let network = Network::builder().peer("ann").start().await;
    let ann = network.peer("ann");
    let content = Content::of(payload(LEN, 5));
    ann.shares(&content).await;
    let mut caller = introduced(ann).await;
    let hash = *content.hash().as_bytes();
    for first in [0, 30, 31, u32::MAX] {
        caller.say(PeerMessage::InfoRequest { hash, first }).await;
        let info = caller.hear_until(SOON, |message| match message {
            PeerMessage::Info(info) => Some(info),
            _ => None,
        });
        let info = info.await.expect("ann stays");
        let expected: Vec<[u8; 32]> =
            content.info().sums().iter().skip(first as usize).map(|sum| *sum.as_bytes()).collect();
        assert_eq!((info.first, info.size, info.sums), (first, LEN, expected));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_come_in_order_and_whole_in_whatever_size_they_are_asked_for() {
    let network = Network::builder().peer("ann").start().await;
    let ann = network.peer("ann");
    ann.shares(&Content::of(payload(LEN, 6))).await;
    // Smaller than ann cut the file, as she did, larger, and the whole file in one; the last two in
    // several parts.
    for chunk_size in [16 * 1024, 64 * 1024, 512 * 1024, 2 * 1024 * 1024] {
        let content =
            Content::chunked(payload(LEN, 6), ChunkSize::new(chunk_size).expect("a power of two"));
        let mut caller = introduced(ann).await;
        let theirs = caller.opens(&content, SOON).await;
        assert_eq!((theirs.chunk_size, theirs.holdings), (chunk_size, Holdings::Full));
        let mut bytes = Vec::new();
        for chunk in content.info().geometry().chunks() {
            caller.asks_for(chunk.get()).await;
            let (mut received, len) = (0, content.info().geometry().chunk_len(chunk));
            while received < len {
                match caller.hear(SOON).await {
                    Some(PeerMessage::Data { file, chunk: sent, offset, bytes: part }) => {
                        assert_eq!((file, sent, offset), (theirs.file, chunk.get(), received));
                        received += u32::try_from(part.0.len()).expect("a part is small");
                        bytes.extend(part.0);
                    }
                    // A full seed may want to give another chunk first; it offers that one, and we
                    // ask again.
                    Some(PeerMessage::Busy { .. } | PeerMessage::Ready { .. }) => {}
                    Some(PeerMessage::Suggest { .. }) => caller.asks_for(chunk.get()).await,
                    other => panic!("data, not {other:?}"),
                }
            }
        }
        assert!(bytes == content.payload().bytes(), "chunks of {chunk_size}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_unproven_connections_does_not_disturb_a_download() {
    let network = Network::builder().peer("ann").start().await;
    let ann = network.peer("ann");
    let content = Content::of(payload(LEN, 7));
    let seed = network.raw(content.raw_peer().allowing(5)).await;
    let download = ann.begins(&content).await;
    stored(&download, 5).await;
    let mut crowd = Vec::new();
    for number in 0..200_u32 {
        let mut stranger = call(ann).await;
        match number % 4 {
            0 => {}
            1 => stranger.send(&payload(100, u64::from(number)).bytes()).await,
            2 => stranger.send(&[&preamble(Protocol::Peer)[..], &prefix(u32::MAX)].concat()).await,
            _ => stranger.send(&preamble(Protocol::Peer)).await,
        }
        crowd.push(stranger);
    }
    seed.allow_all().await;
    ann.completes(download, &content, SOON).await;
    // One more peer gets in beside the crowd.
    introduced(ann).await;
    for stranger in crowd {
        stranger.until_closed(HELLO_DEADLINE + SLACK).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_with_all_places_lock_no_peer_out() {
    const PLACES: usize = 8;
    let network = Network::builder()
        .configure(|config| config.max_strangers = PLACES)
        .peer("ann")
        .start()
        .await;
    let ann = network.peer("ann");
    let mut silent = Vec::new();
    for _ in 0..PLACES {
        let mut stranger = call(ann).await;
        assert!(stranger.is_greeted(SOON).await, "he has a place");
        silent.push(stranger);
    }
    let began = tokio::time::Instant::now();
    introduced(ann).await;
    assert!(began.elapsed() < AT_ONCE, "let in after {:?}", began.elapsed());
    for stranger in silent {
        stranger.until_closed(HELLO_DEADLINE + SLACK).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_beyond_the_places_is_refused_with_a_reason_and_own_calls_go_on() {
    const PLACES: usize = 6;
    let network =
        Network::builder().configure(|config| config.swarm.max_peers = 8).peer("ann").start().await;
    let ann = network.peer("ann");
    let mut callers = Vec::new();
    for _ in 0..PLACES {
        callers.push(introduced(ann).await);
    }
    callers.push(introduced(ann).await);
    // Which one depends on how long the others have been there. Its session may answer once more
    // before it is told to end.
    let one_is_refused = async {
        while callers.len() > PLACES {
            for mut caller in std::mem::take(&mut callers) {
                caller.say(PeerMessage::Ping { nonce: 1 }).await;
                match caller.hear(SOON).await {
                    Some(PeerMessage::Pong { nonce: 1 }) => callers.push(caller),
                    Some(PeerMessage::Bye { reason: ByeReason::TOO_MANY }) => {}
                    other => panic!("an answer, or a goodbye, not {other:?}"),
                }
            }
        }
    };
    tokio::time::timeout(SOON, one_is_refused)
        .await
        .expect("one of them is told that there are too many");
    assert_eq!(callers.len(), PLACES);
    for caller in &mut callers {
        caller.say(PeerMessage::Ping { nonce: 2 }).await;
        assert_eq!(caller.hear(SOON).await, Some(PeerMessage::Pong { nonce: 2 }));
    }
    let content = Content::of(payload(LEN, 8));
    let _seed = network.raw_seed(&content).await;
    ann.fetches(&content).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_opened_in_chunks_of_every_size_leaves_nothing_behind() {
    let network = Network::builder().peer("seed").start().await;
    let (seed, content) = (network.peer("seed"), Content::of(payload(LEN, 21)));
    seed.shares(&content).await;
    let sizes: Vec<u32> = (14..=24).map(|power| 1 << power).collect();
    let files = async || seed.status_of(0).await.expect("the peer runs").files_total;
    let open = |file: u32, chunk_size: u32| {
        let geometry = Geometry::new(LEN, ChunkSize::new(chunk_size).expect("a power of two"));
        PeerMessage::Open(Open {
            file: FileHandle(file),
            hash: *content.hash().as_bytes(),
            size: LEN,
            chunk_size,
            holdings: Holdings::Bitmap(
                ChunkSet::empty(&geometry.expect("small enough")).to_bytes(),
            ),
        })
    };
    let opened = |message| match message {
        PeerMessage::Open(_) => Some(true),
        PeerMessage::NotFound { .. } => Some(false),
        _ => None,
    };
    let mut number = 0;
    // One at a time, each closed before the next; then as many as there may be, and the connection
    // goes.
    for (closes, served) in [(true, sizes.len()), (true, sizes.len()), (false, 5)] {
        let mut caller = introduced(seed).await;
        let mut taken = 0;
        for size in &sizes {
            number += 1;
            caller.say(open(number, *size)).await;
            taken += usize::from(caller.hear_until(SOON, opened).await.expect("the seed stays"));
            if closes {
                caller.say(PeerMessage::Close { file: FileHandle(number) }).await;
                eventually("only the file itself is left", SOON, async || is(files().await, 1))
                    .await;
            }
        }
        assert_eq!(taken, served, "with the file's own size, if {closes} that each is closed");
        assert!(files().await <= 5, "a few of one file at once");
        drop(caller);
        eventually("only the file itself is left", SOON, async || is(files().await, 1)).await;
    }
    network.coordinator_counts(content.hash(), 1, 0).await;
}

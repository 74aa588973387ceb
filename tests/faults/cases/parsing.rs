//! Bytes that are no messages, and messages that make no sense.

use std::time::Duration;

use bytes::BytesMut;
use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tnet_proto::{
    ByeReason, CoordinatorReply, CoordinatorRequest, FileHandle, FrameHead, Holdings,
    MAX_FRAME_LEN, MessageCodec, Open, PREAMBLE_LEN, PeerMessage, Protocol, encode, preamble,
};
use tnet_testkit::{Behaviour, Content, Network, RawClient, SOON, get_args, payload};
use tokio_util::codec::Decoder;

use crate::support::case::cases;
use crate::support::process::memory;
use crate::support::service::Service;

cases![
    1 "a length prefix of 4 GiB, then a trickle" a_length_of_4_gib_is_refused_at_the_prefix;
    2 "negative and overflowing lengths" negative_and_overflowing_lengths_are_refused .lasts(12);
    5 "truncated, bit-flipped and random frames" damaged_frames_end_one_connection_and_nothing_else;
    6 "chunk numbers out of range, bitmaps of a wrong length, spare bits" numbers_and_bitmaps_that_do_not_fit_are_violations;
    8 "unknown messages, newer and older versions" other_versions_are_told_apart_from_silence;
    9 "data that was not requested, or of another chunk" unrequested_data_is_not_written;
];

/// For what is refused as soon as it is seen, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(4);

/// The coordinator and a server, as processes.
async fn services(network: &Network) -> [Service; 2] {
    let coordinator = Service::coordinator(&network.user("coordinator")).await;
    let peer = Service::peer(&network.user("peer"), &[]).await;
    [coordinator, peer]
}

async fn a_length_of_4_gib_is_refused_at_the_prefix() -> String {
    const CALLERS: u64 = 200;
    let network = Network::builder().start().await;
    let mut most = 0;
    for service in services(&network).await {
        let before = memory(service.running.id()).peak_kib;
        for introduce in [false, true] {
            join_all((0..CALLERS).map(async |_| {
                let mut stranger =
                    RawClient::call(service.address).await.expect("the service listens");
                let introduction = if introduce {
                    service.greeting()
                } else {
                    preamble(service.protocol).to_vec()
                };
                stranger.send(&introduction).await;
                stranger.send(&u32::MAX.to_le_bytes()).await;
                let trickle = async {
                    while !stranger.is_closed() {
                        stranger.send(&[0]).await;
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                };
                tnet_testkit::within("the connection is closed", AT_ONCE, trickle).await;
            }))
            .await;
        }
        most = most.max((memory(service.running.id()).peak_kib - before) / CALLERS);
    }
    assert!(most <= 128, "{most} KiB for each connection");
    format!("at most {most} KiB of memory more for each of {CALLERS} connections at once")
}

async fn negative_and_overflowing_lengths_are_refused() -> String {
    let network = Network::builder().start().await;
    let above = u32::try_from(MAX_FRAME_LEN + 1).expect("small");
    let lengths = [
        u32::MAX,
        u32::MAX - 1,
        1 << 31,
        (1 << 31) + 1,
        i32::MAX.cast_unsigned(),
        above,
        0,
        1,
        2,
        3,
    ];
    let services = services(&network).await;
    for service in &services {
        for length in lengths {
            let mut stranger = RawClient::call(service.address).await.expect("the service listens");
            stranger
                .send(&[service.greeting(), length.to_le_bytes().to_vec(), vec![0; 64]].concat())
                .await;
            let (after, _) = stranger.until_closed(SOON).await;
            assert!(after < AT_ONCE, "a length of {length}: closed only after {after:?}");
        }
    }
    let mut random = StdRng::seed_from_u64(2);
    let (mut refused, tries) = (0, 1_000_000);
    for _ in 0..tries {
        let bytes: [u8; 32] = random.random();
        // Panics, or says more than there is, if a length is believed.
        match FrameHead::parse(&bytes, MAX_FRAME_LEN) {
            Ok(Some(head)) => assert!(head.head_len() + head.body_len() <= MAX_FRAME_LEN + 4),
            Ok(None) => {}
            Err(_) => refused += 1,
        }
    }
    for mut service in services {
        assert!(service.running.is_running(), "{}", service.running.stderr());
    }
    format!(
        "{} connections closed at once; {refused} of {tries} random heads refused; 0 crashes",
        2 * lengths.len()
    )
}

/// What a peer and a coordinator could be told, in true frames.
fn true_frames() -> Vec<Vec<u8>> {
    let content = Content::of(payload(500_000, 3));
    let (file, hash) = (FileHandle(1), *content.hash().as_bytes());
    let holdings = Holdings::Bitmap(vec![0xff]);
    let of_peers = [
        PeerMessage::Open(Open { file, hash, size: 500_000, chunk_size: 65_536, holdings }),
        PeerMessage::Have { file, chunks: vec![1, 2, 3] },
        PeerMessage::Request { file, chunk: 4 },
        PeerMessage::Data { file, chunk: 5, offset: 0, bytes: vec![7; 300].into() },
        PeerMessage::InfoRequest { hash, first: 0 },
        PeerMessage::Peers { file, peers: vec![([127, 0, 0, 1], 9).into()] },
        PeerMessage::Extension { kind: 1, body: vec![1; 40] },
        PeerMessage::Ping { nonce: 6 },
    ];
    let of_coordinators = [
        CoordinatorRequest::Lookup { hash },
        CoordinatorRequest::Report { seq: 1, replace: true, entries: Vec::new() },
        CoordinatorRequest::Heartbeat { digest: tnet_proto::ReportDigest::default() },
    ];
    let mut frames = Vec::new();
    let mut keep = |fill: &dyn Fn(&mut BytesMut)| {
        let mut frame = BytesMut::new();
        fill(&mut frame);
        frames.push(frame.to_vec());
    };
    of_peers.iter().for_each(|message| keep(&|frame| encode(message, frame)));
    of_coordinators.iter().for_each(|message| keep(&|frame| encode(message, frame)));
    frames
}

/// Cuts, flips bits, or writes over bytes.
fn damage(frame: &mut Vec<u8>, random: &mut StdRng) {
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..frame.len());
        match random.random_range(0..3) {
            0 => frame[at] ^= 1 << random.random_range(0..8),
            1 => frame[at] = random.random(),
            _ => frame.truncate(at.max(1)),
        }
    }
}

async fn damaged_frames_end_one_connection_and_nothing_else() -> String {
    let network = Network::builder().start().await;
    let services = services(&network).await;
    let (frames, mut random) = (true_frames(), StdRng::seed_from_u64(5));
    let mut sent = 0;
    for round in 0..150 {
        for service in &services {
            let mut stranger = RawClient::call(service.address).await.expect("the service listens");
            let mut bytes = service.greeting();
            for _ in 0..8 {
                let mut frame = frames[random.random_range(0..frames.len())].clone();
                damage(&mut frame, &mut random);
                bytes.extend(frame);
                sent += 1;
            }
            if round % 3 == 0 {
                damage(&mut bytes, &mut random);
            }
            stranger.send(&bytes).await;
        }
    }
    let mut decoded = 0;
    for _ in 0..200_000 {
        let mut frame = frames[random.random_range(0..frames.len())].clone();
        damage(&mut frame, &mut random);
        let mut codec = MessageCodec::<PeerMessage, PeerMessage>::new();
        codec.hello_done();
        let mut buffer = BytesMut::from(&frame[..]);
        let fits = matches!(codec.decode(&mut buffer), Ok(Some(_)));
        decoded += u32::from(fits);
        let mut codec = MessageCodec::<CoordinatorReply, CoordinatorRequest>::new();
        let _ = codec.decode(&mut BytesMut::from(&frame[..]));
    }
    for mut service in services {
        assert!(service.running.is_running(), "{}", service.running.stderr());
        let mut stranger =
            RawClient::call(service.address).await.expect("the service still listens");
        stranger.send(&service.greeting()).await;
        assert!(stranger.is_greeted(SOON).await, "the service still answers");
    }
    format!(
        "{sent} frames over connections, 400000 in the codec ({decoded} still messages); 0 crashes; see fuzz/"
    )
}

async fn numbers_and_bitmaps_that_do_not_fit_are_violations() -> String {
    // 31 chunks: a bitmap has one spare bit.
    let content = Content::of(payload(31 * 16 * 1024, 6));
    let network = Network::builder().peer("seed").start().await;
    let seed = network.peer("seed");
    seed.shares(&content).await;
    let file = FileHandle(1);
    let open = |holdings| {
        let (hash, size, chunk_size) =
            (*content.hash().as_bytes(), content.info().size(), 16 * 1024);
        PeerMessage::Open(Open { file, hash, size, chunk_size, holdings })
    };
    let bitmaps = [0, 1, 3, 5, 100, 10_000].map(|len| vec![0; len]);
    let spare_bits = [vec![0, 0, 0, 0x80], vec![0xff; 4]];
    let opens =
        bitmaps.into_iter().chain(spare_bits).map(|bits| vec![open(Holdings::Bitmap(bits))]);
    let nothing = || open(Holdings::Bitmap(vec![0; 4]));
    let numbers = [31, 32, 1 << 20, 1 << 31, u32::MAX];
    let requests = numbers.map(|chunk| vec![nothing(), PeerMessage::Request { file, chunk }]);
    let haves =
        numbers.map(|chunk| vec![nothing(), PeerMessage::Have { file, chunks: vec![0, chunk] }]);
    let mut handled = 0;
    for messages in opens.chain(requests).chain(haves) {
        let what = format!("{messages:?}");
        let mut caller = RawClient::call(seed.local_addr())
            .await
            .expect("the peer listens")
            .handshake(SOON)
            .await;
        for message in messages {
            caller.say(message).await;
        }
        let bye = caller.hear_until(AT_ONCE, |message| match message {
            PeerMessage::Bye { reason } => Some(reason),
            _ => None,
        });
        assert_eq!(bye.await, Some(ByeReason::VIOLATION), "{what}");
        handled += 1;
    }
    for behaviour in [Behaviour::AnnouncesBeyondTheEnd, Behaviour::SetsSpareBits] {
        cut_while_downloading(behaviour).await;
        handled += 1;
    }
    format!("{handled} of {handled} handled: said to be a violation, and cut")
}

async fn unrequested_data_is_not_written() -> String {
    for behaviour in [Behaviour::SendsUnasked, Behaviour::SendsAnother] {
        cut_while_downloading(behaviour).await;
    }
    "0 bytes written; the sender is told why and cut".to_owned()
}

/// A download that meets such a peer stores nothing of it, tells it why, and is completed by an
/// honest one.
async fn cut_while_downloading(behaviour: Behaviour) {
    let network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(97 * 16 * 1024, 5));
    let honest = network.raw(content.raw_peer().allowing(0)).await;
    let bad_peer = network.raw(content.raw_peer().behaving(behaviour)).await;
    let ann = network.peer("ann").begins(&content).await;
    bad_peer
        .counters_are("the bad peer is cut", SOON, |counters| {
            counters.byes.contains(&ByeReason::VIOLATION)
        })
        .await;
    assert_eq!(ann.progress().chunks_done, 0, "nothing of the bad peer is stored");
    let bans = network.peer("ann").status().await.expect("the peer runs").bans;
    assert!(bans.iter().any(|ban| ban.address == bad_peer.address()), "{bans:?}");
    honest.allow_all().await;
    network.peer("ann").completes(ann, &content, SOON).await;
}

/// Answers every caller with a preamble of its own, and says nothing more.
async fn answers_with(
    greeting: [u8; PREAMBLE_LEN],
) -> (std::net::SocketAddr, tokio_util::task::AbortOnDropHandle<()>) {
    use tokio::io::AsyncWriteExt;
    let listener =
        tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("there are free ports");
    let address = listener.local_addr().expect("bound");
    let task = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(&greeting).await;
            held.push(stream);
        }
    });
    (address, tokio_util::task::AbortOnDropHandle::new(task))
}

async fn other_versions_are_told_apart_from_silence() -> String {
    let network = Network::builder().start().await;
    let services = services(&network).await;
    let mut answered = 0;
    for service in &services {
        let ours = preamble(service.protocol);
        for versions in [[0, 0, 0, 0], [2, 0, 2, 0], [9, 0, 200, 0]] {
            let mut stranger = RawClient::call(service.address).await.expect("the service listens");
            stranger.send(&[&ours[..8], &versions].concat()).await;
            let (after, answer) = stranger.until_closed(SOON).await;
            assert!(
                after < AT_ONCE && answer.starts_with(&ours),
                "{versions:?}: {after:?}, {answer:?}"
            );
            answered += 1;
        }
    }
    // The user of an old program is told so, and not that there is no answer.
    let mut newer = preamble(Protocol::Coordinator);
    newer[8..].copy_from_slice(&[9, 0, 9, 0]);
    let content = Content::of(payload(100_000, 8));
    let cases =
        [(newer, 11, "another version"), (preamble(Protocol::Peer), 5, "not a tnet coordinator")];
    for (greeting, code, words) in cases {
        let (address, _answering) = answers_with(greeting).await;
        let user = network.user("ann").with_coordinator(address);
        content.write_info(&user.path("a.fileinfo"));
        for wanted in ["a.fileinfo", &content.hash().to_string()] {
            let get = get_args(wanted, &["--timeout", "2s"]);
            let finished = user.run(get).await.with_code(code);
            let line = finished.stderr.lines().find(|line| line.starts_with("tnet: "));
            assert!(
                line.is_some_and(|line| line.contains(words)),
                "{words:?} in {:?}",
                finished.stderr
            );
            answered += 1;
        }
    }
    format!("{answered} of {answered}: each side is told the other's versions, users get code 11")
}

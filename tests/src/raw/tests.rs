//! A raw peer is what the suites measure others against, so it is measured here against the
//! protocol itself.

use bytes::BytesMut;
use tnet_fileinfo::ChunkSize;
use tnet_proto::{FileHandle, Holdings, Open, PeerMessage, Protocol, encode, preamble};

use super::*;
use crate::payload::payload;
use crate::raw_client::{Handshaken, RawClient};
use crate::wait::SOON;

/// The client's number for the file.
const FILE: FileHandle = FileHandle(1);

fn file() -> (FileInfo, Vec<u8>) {
    // Three chunks, the last one short.
    let content = payload(40_000, 3);
    (content.describe(ChunkSize::new(16 * 1024).expect("a power of two in range")), content.bytes())
}

async fn introduced_to(raw: &RawPeer) -> Handshaken {
    RawClient::call(raw.address()).await.expect("a raw peer listens").handshake(SOON).await
}

/// A client that has opened the raw peer's file, and the raw peer's own open.
async fn opened(raw: &RawPeer) -> (Handshaken, Open) {
    let mut client = introduced_to(raw).await;
    let geometry = raw.info.geometry();
    let nothing = Holdings::Bitmap(ChunkSet::empty(geometry).to_bytes());
    let (hash, size, chunk_size) =
        (*raw.info.hash().as_bytes(), raw.info.size(), geometry.chunk_size().get());
    client
        .say(PeerMessage::Open(Open { file: FILE, hash, size, chunk_size, holdings: nothing }))
        .await;
    match client.hear(SOON).await {
        Some(PeerMessage::Open(open)) => (client, open),
        other => panic!("an open is answered with an open, not {other:?}"),
    }
}

async fn ask(client: &mut Handshaken, chunk: u32) -> PeerMessage {
    client.say(PeerMessage::Request { file: FILE, chunk }).await;
    client.hear(SOON).await.expect("the raw peer stays")
}

#[tokio::test]
async fn a_generous_seed_sends_the_chunk_that_was_asked_for() {
    let (info, content) = file();
    let raw = RawPeer::of(&info, content.clone()).start().await.expect("a free port");
    let (mut client, open) = opened(&raw).await;
    assert_eq!(open.holdings, Holdings::Full);
    let answer = ask(&mut client, 2).await;
    let bytes = content[32 * 1024..].to_vec().into();
    assert_eq!(answer, PeerMessage::Data { file: open.file, chunk: 2, offset: 0, bytes });
    let counters = raw
        .counters_are("one chunk was served", SOON, |counters| counters.served_in_all() == 1)
        .await;
    assert_eq!(counters.served, BTreeMap::from([(2, 1)]));
    assert_eq!(counters.requests, counters.served);
}

#[tokio::test]
async fn a_seed_that_gave_what_it_may_is_busy_until_it_may_give_more() {
    let (info, content) = file();
    let raw = RawPeer::of(&info, content).allowing(1).start().await.expect("a free port");
    let (mut client, _) = opened(&raw).await;
    assert!(matches!(ask(&mut client, 0).await, PeerMessage::Data { chunk: 0, .. }));
    assert!(matches!(ask(&mut client, 1).await, PeerMessage::Busy { chunk: 1, .. }));
    raw.allow(1).await;
    assert!(matches!(client.hear(SOON).await, Some(PeerMessage::Ready { chunk: 1, .. })));
    assert!(matches!(ask(&mut client, 1).await, PeerMessage::Data { chunk: 1, .. }));
    assert!(matches!(ask(&mut client, 2).await, PeerMessage::Busy { chunk: 2, .. }));
}

#[tokio::test]
async fn a_partial_holder_refuses_what_it_lacks_and_announces_what_it_gains() {
    let (info, content) = file();
    let chunk = |index| info.geometry().chunk(index).expect("one of three");
    let raw = RawPeer::of(&info, content).holding([chunk(0)]).start().await.expect("a free port");
    let (mut client, open) = opened(&raw).await;
    assert_eq!(open.holdings, Holdings::Bitmap(vec![0b001]));
    assert!(matches!(ask(&mut client, 2).await, PeerMessage::Refused { chunk: 2, .. }));
    raw.gain([chunk(2)]).await;
    assert_eq!(
        client.hear(SOON).await,
        Some(PeerMessage::Have { file: open.file, chunks: vec![2] })
    );
    assert!(matches!(ask(&mut client, 2).await, PeerMessage::Data { chunk: 2, .. }));
}

#[tokio::test]
async fn a_corrupting_peer_flips_exactly_one_bit() {
    let (info, content) = file();
    let bad_peer =
        RawPeer::of(&info, content.clone()).behaving(Behaviour::FlipsBit { percent: 100 });
    let bad_peer = bad_peer.start().await.expect("a free port");
    let (mut client, _) = opened(&bad_peer).await;
    let PeerMessage::Data { bytes, .. } = ask(&mut client, 0).await else { panic!("it sends") };
    let wrong: u32 = bytes.0.iter().zip(&content).map(|(a, b)| (a ^ b).count_ones()).sum();
    assert_eq!((bytes.0.len(), wrong), (16 * 1024, 1));
}

#[tokio::test]
async fn a_forged_description_does_not_prove_itself() {
    let (info, content) = file();
    let forger = RawPeer::of(&info, content)
        .describing(Description::Forged)
        .start()
        .await
        .expect("a free port");
    let mut client = introduced_to(&forger).await;
    let hash = *info.hash().as_bytes();
    client.say(PeerMessage::InfoRequest { hash, first: 0 }).await;
    let Some(PeerMessage::Info(told)) = client.hear(SOON).await else {
        panic!("a forger describes")
    };
    assert_eq!((told.hash, told.size, told.sums.len()), (hash, info.size(), 3));
    assert!(told.sums.iter().zip(info.sums()).all(|(told, truth)| told != truth.as_bytes()));
    forger.describe_as(Description::True).await;
    client.say(PeerMessage::InfoRequest { hash, first: 1 }).await;
    let Some(PeerMessage::Info(told)) = client.hear(SOON).await else { panic!("it describes") };
    assert!(told.sums.iter().eq(info.sums()[1..].iter().map(tnet_fileinfo::ChunkSum::as_bytes)));
}

#[tokio::test]
async fn an_open_that_comes_in_one_piece_with_the_hello_is_answered() {
    let (info, content) = file();
    let raw = RawPeer::of(&info, content).start().await.expect("a free port");
    let geometry = info.geometry();
    let (hash, size, chunk_size) =
        (*info.hash().as_bytes(), info.size(), geometry.chunk_size().get());
    let holdings = Holdings::Bitmap(ChunkSet::empty(geometry).to_bytes());
    let mut piece = BytesMut::from(&preamble(Protocol::Peer)[..]);
    encode(
        &PeerMessage::Hello(Hello { peer_id: random_id(), listen_port: 0, capabilities: 0 }),
        &mut piece,
    );
    encode(&PeerMessage::Open(Open { file: FILE, hash, size, chunk_size, holdings }), &mut piece);
    let mut client = RawClient::call(raw.address()).await.expect("a raw peer listens");
    client.send(&piece).await;
    let counters =
        raw.counters_are("the client is there", SOON, |counters| counters.greeted == 1).await;
    assert_eq!(counters.connected, 1);
    // Its preamble and hello, then its own open.
    let mut client = client.after_greeting(SOON).await;
    assert!(matches!(client.hear(SOON).await, Some(PeerMessage::Open(_))));
}

#[tokio::test]
async fn hanging_up_closes_connections_and_accepts_new_ones() {
    let (info, content) = file();
    let raw = RawPeer::of(&info, content).start().await.expect("a free port");
    let (mut client, _) = opened(&raw).await;
    raw.hang_up().await;
    assert_eq!(client.hear(SOON).await, None);
    opened(&raw).await;
    assert_eq!(raw.counters().greeted, 2);
}

#[tokio::test]
async fn a_fake_reporter_keeps_an_entry_alive_and_a_dropped_one_lets_it_expire() {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = tnet_coordinator::Config { listen, ..tnet_coordinator::Config::default() };
    let coordinator = tnet_coordinator::Coordinator::bind(config).expect("a free port").spawn();
    let (info, content) = file();
    let mut raw = RawPeer::of(&info, content).start().await.expect("a free port");
    raw.report_to(coordinator.local_addr(), Duration::from_millis(100)).await;
    let renewed = async || match coordinator.stats().await.expect("it runs").renewals {
        // Four intervals are more than a lease.
        renewals @ ..4 => Err(renewals),
        _ => Ok(()),
    };
    crate::wait::eventually("heartbeats beyond the lease", SOON, renewed).await;
    let found = crate::fake_reporter::holders(coordinator.local_addr(), info.hash()).await;
    assert_eq!((found.full, found.partial), (1, 0));
    assert_eq!(found.holders[0].address, raw.address());
    drop(raw);
    let expired = async || {
        let found = crate::fake_reporter::holders(coordinator.local_addr(), info.hash()).await;
        crate::wait::is(found.full, 0)
    };
    crate::wait::eventually("the entry expires", SOON, expired).await;
    coordinator.shutdown().await;
}

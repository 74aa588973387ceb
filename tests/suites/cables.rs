//! Bad cables: connections that break in the middle of a chunk, links that halt or crawl, networks
//! in two halves.

use std::num::NonZeroU32;
use std::time::Duration;

use tnet_testkit::{Content, FakeReporter, Network, Relay, SOON, eventually, payload};

/// 40 chunks of 64 KiB.
const LEN: u64 = 40 * CHUNK;
const CHUNK: u64 = 64 * 1024;

/// Chunks under way at once at most: the cap on small ones.
const SLOTS: u64 = 24;

/// A seed that everybody reaches through a relay, and only through that.
async fn distant_seed(
    network: &mut Network,
    name: &str,
    content: &Content,
) -> (Relay, FakeReporter) {
    let config = tnet_peer::Config { coordinator: None, ..network.peer_config() };
    let seed = network.start_peer_with(name, config).await;
    seed.shares(content).await;
    let relay = Relay::to(seed.local_addr()).await.expect("a free port");
    let reporter = network.announce(relay.address().port(), content).await;
    (relay, reporter)
}

fn rate(bytes_per_second: u32) -> NonZeroU32 {
    NonZeroU32::new(bytes_per_second).expect("not zero")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_reset_in_the_middle_of_chunks_cost_only_those_chunks() {
    const RESETS: u64 = 3;
    let mut network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LEN, 1));
    let (relay, _reporter) = distant_seed(&mut network, "seed", &content).await;
    // Slow enough that there always is a chunk under way.
    relay.limit(rate(2_000_000));
    let ann = network.peer("ann").begins(&content).await;
    for reset in 1..=RESETS {
        eventually("some more chunks are stored", SOON, async || {
            let progress = ann.progress();
            if u64::from(progress.chunks_done) >= 5 * reset { Ok(()) } else { Err(progress) }
        })
        .await;
        relay.reset_connections();
    }
    let fetched = network.peer("ann").completes(ann, &content, SOON).await;
    // In whole chunks; what came of a broken one is not even counted.
    let received = fetched.summary.traffic.bytes_received;
    assert!(received <= LEN + RESETS * SLOTS * CHUNK, "{received}");
    assert_eq!(fetched.summary.traffic.corrupt, 0, "half a chunk is no lie");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_halts_costs_seconds_when_there_is_another_seed() {
    let mut network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LEN, 2));
    let (relay, _reporter) = distant_seed(&mut network, "seed", &content).await;
    relay.limit(rate(1_000_000));
    let ann = network.peer("ann").begins(&content).await;
    eventually("some chunks are stored", SOON, async || {
        let progress = ann.progress();
        if progress.chunks_done >= 5 { Ok(()) } else { Err(progress) }
    })
    .await;
    relay.pause();
    let _other = network.raw_seed(&content).await;
    network.peer("ann").completes(ann, &content, Duration::from_secs(15)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_halts_for_a_while_is_used_again() {
    let mut network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LEN, 3));
    let (relay, _reporter) = distant_seed(&mut network, "seed", &content).await;
    relay.limit(rate(1_000_000));
    let ann = network.peer("ann").begins(&content).await;
    eventually("some chunks are stored", SOON, async || {
        let progress = ann.progress();
        if progress.chunks_done >= 5 { Ok(()) } else { Err(progress) }
    })
    .await;
    relay.pause();
    // Longer than the three seconds in which a source has to deliver.
    eventually("nothing has come for a while", SOON, async || {
        let progress = ann.progress();
        if progress.quiet >= Duration::from_secs(4) { Ok(()) } else { Err(progress) }
    })
    .await;
    relay.pass();
    network.peer("ann").completes(ann, &content, SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_in_two_halves_goes_on_when_it_is_one_again() {
    let mut network = Network::builder().start().await;
    let content = Content::of(payload(LEN, 5));
    let (cable, _reporter) = distant_seed(&mut network, "seed", &content).await;
    cable.limit(rate(1_000_000));
    network.start_peer("ann").await;
    network.start_peer("bob").await;
    let ann = network.peer("ann").begins(&content).await;
    let bob = network.peer("bob").begins(&content).await;
    for download in [&ann, &bob] {
        eventually("some chunks are stored", SOON, async || {
            let progress = download.progress();
            if progress.chunks_done >= 3 { Ok(()) } else { Err(progress) }
        })
        .await;
    }
    // Ann and bob are on this side; seed and coordinator on the other.
    cable.pause();
    network.cable().pause();
    // What one of the two has, the other gets.
    eventually("both have the same", SOON, async || {
        let (anns, bobs) = (ann.progress(), bob.progress());
        let settled = anns.quiet.min(bobs.quiet) >= Duration::from_secs(2);
        if settled && anns.chunks_done == bobs.chunks_done { Ok(()) } else { Err((anns, bobs)) }
    })
    .await;
    cable.pass();
    network.cable().pass();
    tokio::join!(
        network.peer("ann").completes(ann, &content, SOON),
        network.peer("bob").completes(bob, &content, SOON)
    );
}

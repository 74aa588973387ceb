//! Bad links: connections that break in the middle of a chunk, links that halt or crawl, networks
//! in two halves.

use std::num::NonZeroU32;
use std::time::Duration;

use tnet_peer::Download;
use tnet_testkit::{Content, FakeReporter, Network, Relay, SOON, eventually, payload};

/// 40 chunks of 16 KiB.
const LEN: u64 = 40 * CHUNK;
const CHUNK: u64 = 16 * 1024;

/// Chunks under way at once at most: the cap on small ones.
const SLOTS: u64 = 24;

/// A slow link to a seed, in the middle of a download by `ann`.
async fn in_the_middle(seed: u64) -> (Network, Content, Relay, FakeReporter, Download) {
    let mut network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LEN, seed));
    let (relay, reporter) = network.distant_seed("seed", &content).await;
    relay.limit(rate(1_000_000));
    let ann = network.peer("ann").begins(&content).await;
    has_stored(&ann, 5).await;
    (network, content, relay, reporter, ann)
}

/// Waits until at least so many chunks of a download are stored.
async fn has_stored(download: &Download, chunks: u64) {
    eventually("some chunks are stored", SOON, async || {
        let progress = download.progress();
        if u64::from(progress.chunks_done) >= chunks { Ok(()) } else { Err(progress) }
    })
    .await;
}

fn rate(bytes_per_second: u32) -> NonZeroU32 {
    NonZeroU32::new(bytes_per_second).expect("not zero")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_reset_in_the_middle_of_chunks_cost_only_those_chunks() {
    const RESETS: u64 = 3;
    let mut network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LEN, 1));
    let (relay, _reporter) = network.distant_seed("seed", &content).await;
    // Slow enough that there always is a chunk under way.
    relay.limit(rate(2_000_000));
    let ann = network.peer("ann").begins(&content).await;
    for reset in 1..=RESETS {
        has_stored(&ann, 5 * reset).await;
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
    let (network, content, relay, _reporter, ann) = in_the_middle(2).await;
    relay.pause();
    let _other = network.raw_seed(&content).await;
    network.peer("ann").completes(ann, &content, Duration::from_secs(15)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_halts_for_a_while_is_used_again() {
    let (network, content, relay, _reporter, ann) = in_the_middle(3).await;
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
    let (cable, _reporter) = network.distant_seed("seed", &content).await;
    cable.limit(rate(1_000_000));
    network.start_peer("ann").await;
    network.start_peer("bob").await;
    let ann = network.peer("ann").begins(&content).await;
    let bob = network.peer("bob").begins(&content).await;
    for download in [&ann, &bob] {
        has_stored(download, 3).await;
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

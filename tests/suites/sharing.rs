//! The purpose of it all: files go from peers that have them to peers that want them, whole and
//! right.

use std::time::Duration;

use futures_util::future::join_all;
use tnet_testkit::{Content, Network, SOON, eventually, payload, stored, within};
use tokio::time::timeout;

/// 32 chunks of 16 KiB.
const LEN: u64 = 32 * 16 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_shares_a_file_is_its_only_holder() {
    let network = Network::builder().peer("seed").peer("other").start().await;
    let content = Content::of(payload(LEN, 1));
    network.coordinator_counts(content.hash(), 0, 0).await;
    network.peer("seed").shares(&content).await;
    network.coordinator_counts(content.hash(), 1, 0).await;
    let status = network.peer("seed").status().await.expect("the peer runs");
    assert_eq!(status.files.len(), 1);
    assert_eq!((status.files[0].chunks_done, status.files[0].chunks_total), (32, 32));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_downloader_gets_the_file_and_is_a_holder_then() {
    let network = Network::builder().peer("seed").peer("ann").start().await;
    let content = Content::of(payload(LEN, 2));
    network.peer("seed").shares(&content).await;
    let fetched = network.peer("ann").fetches(&content).await;
    assert_eq!(fetched.summary.bytes_total, LEN);
    assert_eq!(fetched.summary.bytes_resumed, 0);
    assert_eq!((fetched.summary.traffic.arrived, fetched.summary.traffic.corrupt), (32, 0));
    let needless = timeout(Duration::ZERO, fetched.download.swarm_done()).await;
    assert!(needless.is_ok(), "the seed needs nothing, and there is no other peer");
    network.coordinator_counts(content.hash(), 2, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seeds_that_each_give_a_quarter_make_the_whole_together() {
    let network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LEN, 3));
    let mut seeds = Vec::new();
    for _ in 0..4 {
        seeds.push(network.raw(content.raw_peer().allowing(8)).await);
    }
    let fetched = network.peer("ann").fetches(&content).await;
    assert_eq!(fetched.summary.traffic.sources, 4);
    for seed in seeds {
        assert_eq!(seed.counters().served_in_all(), 8, "each gave what it was allowed to");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_peers_share_one_file_and_one_more_gets_it() {
    let network = Network::builder().peers("seed", 8).peer("ann").start().await;
    let content = Content::of(payload(LEN, 4));
    for seed in network.peers().filter(|peer| peer.name() != "ann") {
        seed.shares(&content).await;
    }
    network.coordinator_counts(content.hash(), 8, 0).await;
    network.peer("ann").fetches(&content).await;
    network.coordinator_counts(content.hash(), 9, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twelve_downloaders_of_one_seed_all_get_the_file() {
    let network = Network::builder().peer("seed").peers("ann", 12).start().await;
    let content = Content::of(payload(2 * LEN, 5));
    network.peer("seed").shares(&content).await;
    let downloaders = network.peers().filter(|peer| peer.name() != "seed");
    join_all(downloaders.map(|peer| peer.fetches(&content))).await;
    network.coordinator_counts(content.hash(), 13, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_downloader_serves_what_it_has_to_one_that_never_meets_the_seed() {
    let network = Network::builder().peer("ann").peer("bob").start().await;
    let content = Content::of(payload(LEN, 6));
    // Accepts one connection, which is ann's: bob may hear of it and call in vain.
    let seed = network.raw(content.raw_peer().allowing(12).accepting(1)).await;
    let ann = network.peer("ann").begins(&content).await;
    stored(&ann, 12).await;
    let bob = network.peer("bob").begins(&content).await;
    stored(&bob, 12).await;
    network.coordinator_counts(content.hash(), 1, 2).await;
    seed.allow_all().await;
    let fetched = network.peer("bob").completes(bob, &content, SOON).await;
    assert_eq!(fetched.summary.traffic.sources, 1);
    let fetched = network.peer("ann").completes(ann, &content, SOON).await;
    assert!(
        fetched.summary.traffic.uploaded >= 12,
        "ann served while it fetched: {:?}",
        fetched.summary
    );
    assert_eq!(seed.counters().greeted, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_serves_the_file_when_the_seed_is_gone() {
    let mut network = Network::builder().peer("seed").peer("ann").peer("bob").start().await;
    let content = Content::of(payload(LEN, 7));
    network.peer("seed").shares(&content).await;
    network.peer("ann").fetches(&content).await;
    network.stop("seed").await;
    network.coordinator_counts(content.hash(), 1, 0).await;
    network.peer("bob").fetches(&content).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_files_between_the_same_peers_go_over_one_connection() {
    let network = Network::builder().peer("ann").peer("bob").start().await;
    let (first, second) = (Content::of(payload(LEN, 8)), Content::of(payload(LEN, 9)));
    network.peer("ann").shares(&first).await;
    network.peer("bob").shares(&second).await;
    // Opposite directions at once.
    tokio::join!(network.peer("bob").fetches(&first), network.peer("ann").fetches(&second));
    for name in ["ann", "bob"] {
        let one = async || {
            let status = network.peer(name).status().await.expect("the peer runs");
            if status.peers.len() <= 1 { Ok(()) } else { Err(status.peers) }
        };
        eventually("at most one connection", SOON, one).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_file_after_the_other_is_fetched_from_the_same_seed() {
    let network = Network::builder().peer("seed").peer("ann").start().await;
    let (seed, ann) = (network.peer("seed"), network.peer("ann"));
    for number in 0..5 {
        let content = Content::of(payload(LEN, 100 + number));
        let (original, copy) =
            (seed.path(&format!("original {number}")), ann.path(&format!("copy {number}")));
        content.write(&original).await;
        seed.share(&original).await.expect("readable");
        let mut download = ann.download(content.info().clone(), &copy).await.expect("it begins");
        let what = format!("file {number} arrives");
        within(&what, SOON, download.finished())
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        content.is_at(&copy).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seed_that_is_not_announced_any_more_still_serves_its_neighbours() {
    let network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LEN, 10));
    let seed = content.raw_peer().allowing(4).start().await.expect("a free port");
    let reporter = network.announce(seed.address().port(), &content).await;
    let ann = network.peer("ann").begins(&content).await;
    stored(&ann, 4).await;
    reporter.change(Vec::new()).await;
    network.coordinator_counts(content.hash(), 0, 1).await;
    seed.allow_all().await;
    network.peer("ann").completes(ann, &content, SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_the_peer_holds_under_another_name_is_not_fetched() {
    let network = Network::builder().peer("seed").peer("ann").start().await;
    let content = Content::of(payload(LEN, 11));
    network.peer("seed").shares(&content).await;
    network.peer("ann").shares(&content).await;
    let fetched = network.peer("ann").fetches(&content).await;
    assert_eq!(fetched.summary.traffic.bytes_received, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_all_works_over_ipv6() {
    let network = Network::builder().ipv6().peer("seed").peer("ann").peer("bob").start().await;
    let content = Content::of(payload(LEN, 12));
    network.peer("seed").shares(&content).await;
    tokio::join!(network.peer("ann").fetches(&content), network.peer("bob").fetches(&content));
    network.coordinator_counts(content.hash(), 3, 0).await;
    let status = network.peer("ann").status().await.expect("the peer runs");
    assert!(
        status.listen.is_ipv6()
            && status.peers.iter().all(|peer| peer.address.is_none_or(|a| a.is_ipv6()))
    );
}

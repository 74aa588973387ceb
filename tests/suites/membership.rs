//! What the coordinator knows, and what peers do while it is not there.

use std::time::Duration;

use tnet_peer::share::WatchOptions;
use tnet_peer::{CoordinatorError, CoordinatorState, DownloadError, DownloadOptions};
use tnet_testkit::{Content, Network, SOON, eventually, is, payload, stored, within};
use tokio::net::TcpSocket;
use tokio::time::Instant;

/// 128 chunks of 16 KiB.
const LEN: u64 = 2 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_peer_leaves_the_table_when_its_lease_ends() {
    let interval = Duration::from_millis(300);
    let mut network =
        Network::builder().report_interval(interval).peer("seed").peer("other").start().await;
    let content = Content::of(payload(LEN, 1));
    network.peer("seed").shares(&content).await;
    network.peer("other").shares(&content).await;
    network.coordinator_counts(content.hash(), 2, 0).await;
    let killed = Instant::now();
    network.kill("seed");
    network.coordinator_counts(content.hash(), 1, 0).await;
    // Three intervals from its last sign of life; the rest is for a busy machine.
    assert!(killed.elapsed() < 3 * interval + Duration::from_secs(5), "{:?}", killed.elapsed());
    let stats = network.coordinator_handle().stats().await.expect("it runs");
    assert_eq!((stats.expired, stats.byes), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_peer_stays_in_the_table_beyond_its_lease() {
    let network =
        Network::builder().report_interval(Duration::from_millis(200)).peer("seed").start().await;
    let content = Content::of(payload(LEN, 2));
    network.peer("seed").shares(&content).await;
    network.coordinator_counts(content.hash(), 1, 0).await;
    let renewed =
        async || match network.coordinator_handle().stats().await.expect("it runs").renewals {
            // Five intervals are more than a lease.
            renewals @ ..5 => Err(renewals),
            _ => Ok(()),
        };
    eventually("five heartbeats", SOON, renewed).await;
    assert_eq!(network.swarm(content.hash()).await, (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_shut_down_leaves_the_table_at_once() {
    // The lease is minutes: only a goodbye can be that quick.
    let mut network =
        Network::builder().report_interval(Duration::from_secs(60)).peer("seed").start().await;
    let content = Content::of(payload(LEN, 3));
    network.peer("seed").shares(&content).await;
    network.coordinator_counts(content.hash(), 1, 0).await;
    network.stop("seed").await;
    network.coordinator_counts(content.hash(), 0, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_is_done_is_not_watched_any_more() {
    let network = Network::builder().peer("seed").peer("ann").start().await;
    let content = Content::of(payload(LEN, 30));
    network.peer("seed").shares(&content).await;
    network.peer("ann").fetches(&content).await;
    let asked = network.coordinator_handle().stats().await.expect("it runs").lookups;
    assert!(asked > 0, "it was watched");
    let watches =
        async || match network.coordinator_handle().stats().await.expect("it runs").watches {
            0 => Ok(()),
            some => Err(some),
        };
    eventually("there are no watches", SOON, watches).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_takes_no_more_watches_is_asked_instead() {
    let network = Network::builder();
    let network = network.configure_coordinator(|config| config.max_watches_per_connection = 0);
    // Long after the test.
    let network = network.configure(|config| {
        config.swarm.lookup_after = Duration::from_secs(600);
        config.swarm.lookup_at_most = Duration::from_secs(600);
    });
    let network = network.peer("seed").peer("ann").start().await;
    let content = Content::of(payload(LEN, 33));
    network.peer("seed").shares(&content).await;
    network.coordinator_counts(content.hash(), 1, 0).await;
    network.peer("ann").fetches(&content).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_is_reported_at_once_and_not_at_the_next_interval() {
    let network =
        Network::builder().report_interval(Duration::from_secs(60)).peer("ann").start().await;
    let content = Content::of(payload(LEN, 17));
    let seed = network.raw(content.raw_peer().allowing(5)).await;
    let ann = network.peer("ann").begins(&content).await;
    stored(&ann, 5).await;
    network.coordinator_counts(content.hash(), 1, 1).await;
    seed.allow_all().await;
    network.peer("ann").completes(ann, &content, SOON).await;
    network.coordinator_counts(content.hash(), 2, 0).await;
    network.peer("ann").unshare(content.hash()).await.expect("the peer runs");
    network.coordinator_counts(content.hash(), 1, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_no_longer_shared_is_reported_gone() {
    let network = Network::builder().peer("seed").start().await;
    let content = Content::of(payload(LEN, 4));
    let path = network.peer("seed").shares(&content).await;
    network.coordinator_counts(content.hash(), 1, 0).await;
    assert_eq!(network.peer("seed").unshare(content.hash()).await, Ok(true));
    network.coordinator_counts(content.hash(), 0, 0).await;
    assert!(path.exists(), "the file itself is the user's");
    assert_eq!(network.peer("seed").unshare(content.hash()).await, Ok(false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_deleted_while_its_peer_runs_is_reported_gone() {
    let network = Network::builder().peer("seed").peer("ann").start().await;
    let content = Content::of(payload(LEN, 5));
    let path = network.peer("seed").shares(&content).await;
    let fetched = network.peer("ann").fetches(&content).await;
    network.coordinator_counts(content.hash(), 2, 0).await;
    std::fs::remove_file(path).expect("the original is there");
    network.coordinator_counts(content.hash(), 1, 0).await;
    // A copy that was fetched is watched like one that was shared.
    std::fs::remove_file(fetched.path).expect("the copy is there");
    network.coordinator_counts(content.hash(), 0, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_deleted_while_its_peer_was_off_is_not_reported_again() {
    let mut network = Network::builder().peer("seed").start().await;
    let (kept, lost) = (Content::of(payload(LEN, 6)), Content::of(payload(LEN, 7)));
    let share = async |network: &Network| {
        let options = WatchOptions { settle: Duration::ZERO, ..WatchOptions::default() };
        let seed = network.peer("seed");
        seed.share_dir(seed.dir(), options).await.expect("the directory is there");
    };
    kept.write(&network.peer("seed").path("kept")).await;
    lost.write(&network.peer("seed").path("lost")).await;
    share(&network).await;
    network.coordinator_counts(kept.hash(), 1, 0).await;
    network.coordinator_counts(lost.hash(), 1, 0).await;
    network.stop("seed").await;
    // What the first life reported must be gone, or it would pass for the second's.
    network.coordinator_counts(kept.hash(), 0, 0).await;
    network.coordinator_counts(lost.hash(), 0, 0).await;
    std::fs::remove_file(network.peer_dir("seed").join("lost")).expect("the file is there");
    network.start_peer("seed").await;
    share(&network).await;
    network.coordinator_counts(kept.hash(), 1, 0).await;
    assert_eq!(network.swarm(lost.hash()).await, (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_changed_while_it_is_shared_is_reported_gone() {
    let network = Network::builder().peer("seed").start().await;
    let content = Content::of(payload(LEN, 8));
    let path = network.peer("seed").shares(&content).await;
    network.coordinator_counts(content.hash(), 1, 0).await;
    let file =
        std::fs::OpenOptions::new().write(true).open(path).expect("the original is writable");
    file.set_len(LEN / 2).expect("the original is writable");
    network.coordinator_counts(content.hash(), 0, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_refuses_connections_ends_a_download_in_the_promised_time() {
    let mut network = Network::builder().start().await;
    // Bound and never listening: connections are refused, and no other process can take the port.
    let bound = TcpSocket::new_v4().expect("a socket");
    bound.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let address = bound.local_addr().expect("bound");
    let config = tnet_peer::Config { coordinator: Some(address.into()), ..network.peer_config() };
    let ann = network.start_peer_with("ann", config).await;
    let cause = assert_unreachable(ann, address).await;
    assert!(cause.as_ref().is_some_and(|cause| cause.contains("refused")), "{cause:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_never_answers_ends_a_download_in_the_promised_time() {
    let mut network = Network::builder().start().await;
    network.cable().pause();
    let address = network.coordinator();
    let ann = network.start_peer("ann").await;
    assert_eq!(assert_unreachable(ann, address).await, None, "the first call has not ended");
}

/// What it said of the last call.
async fn assert_unreachable(
    ann: &tnet_testkit::Node,
    address: std::net::SocketAddr,
) -> Option<String> {
    let content = Content::of(payload(LEN, 9));
    let patience = Duration::from_millis(700);
    let options =
        DownloadOptions { coordinator_within: Some(patience), ..DownloadOptions::default() };
    let began = Instant::now();
    let error = async {
        let mut download = ann.download_with(content.info().clone(), ann.copy(), options).await?;
        download.finished().await.map(|_| ())
    };
    let error = within("an error", SOON, error).await.expect_err("there is no coordinator to ask");
    let took = began.elapsed();
    let DownloadError::Coordinator(CoordinatorError::Silent { address: named, cause, .. }) = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!(*named, address.into());
    assert!(
        error.to_string().contains(&address.to_string()),
        "the message names the address: {error}"
    );
    assert!((patience..patience + Duration::from_secs(5)).contains(&took), "{took:?}");
    assert!(!ann.copy().exists(), "nothing under the final name");
    cause.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_with_a_timeout_ends_without_holders() {
    let network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LEN, 10));
    let options = DownloadOptions {
        give_up_after: Some(Duration::from_millis(500)),
        ..DownloadOptions::default()
    };
    let ann = network.peer("ann");
    let mut download =
        ann.download_with(content.info().clone(), ann.copy(), options).await.expect("it begins");
    let error = within("an error", SOON, download.finished()).await.expect_err("it has no holder");
    assert!(matches!(error, DownloadError::NoHolder { .. }), "{error:?}");
    assert!(!ann.copy().exists());
    network.coordinator_counts(content.hash(), 0, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_dies_in_the_middle_of_a_download_does_not_stop_it() {
    let mut network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LEN, 11));
    let seed = network.raw(content.raw_peer().allowing(5)).await;
    let ann = network.peer("ann").begins(&content).await;
    stored(&ann, 5).await;
    network.kill_coordinator();
    let noticed = async || {
        let status = network.peer("ann").status().await.expect("the peer runs");
        if status.coordinator_state == CoordinatorState::Connected { Err(status) } else { Ok(()) }
    };
    eventually("the peer notices", SOON, noticed).await;
    seed.allow_all().await;
    network.peer("ann").completes(ann, &content, SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_coordinator_peers_find_more_peers_through_each_other() {
    let mut network = Network::builder().peer("ann").peer("bob").start().await;
    let content = Content::of(payload(LEN, 12));
    let seed = content.raw_peer().allowing(0).start().await.expect("a free port");
    let reporter = network.announce(seed.address().port(), &content).await;
    let bob = network.peer("bob").begins(&content).await;
    seed.counters_are("bob asks the seed", SOON, |counters| counters.requests_in_all() > 0).await;
    reporter.change(Vec::new()).await;
    network.coordinator_counts(content.hash(), 0, 1).await;
    // The coordinator names only bob to ann, and bob has nothing.
    let ann = network.peer("ann").begins(&content).await;
    network.coordinator_counts(content.hash(), 0, 2).await;
    network.kill_coordinator();
    seed.counters_are("ann meets the seed", SOON, |counters| counters.greeted == 2).await;
    seed.allow_all().await;
    network.peer("ann").completes(ann, &content, SOON).await;
    network.peer("bob").completes(bob, &content, SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_comes_back_empty_learns_everything_again() {
    let mut network = Network::builder().peer("seed").peer("ann").start().await;
    let (whole, part) = (Content::of(payload(LEN, 13)), Content::of(payload(LEN, 14)));
    network.peer("seed").shares(&whole).await;
    let source = network.raw(part.raw_peer().allowing(3)).await;
    let ann = network.peer("ann").begins(&part).await;
    stored(&ann, 3).await;
    network.kill_coordinator();
    network.start_coordinator();
    network.coordinator_counts(whole.hash(), 1, 0).await;
    network.coordinator_counts(part.hash(), 1, 1).await;
    source.allow_all().await;
    network.peer("ann").completes(ann, &part, SOON).await;
    network.coordinator_counts(part.hash(), 2, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_begun_without_a_coordinator_finds_its_peers_when_it_comes() {
    let mut network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LEN, 15));
    let _seed = network.raw_seed(&content).await;
    network.kill_coordinator();
    let ann = network.peer("ann");
    let options = DownloadOptions { coordinator_within: None, ..DownloadOptions::default() };
    let download =
        ann.download_with(content.info().clone(), ann.copy(), options).await.expect("it begins");
    let unreachable = async || is(download.progress().coordinator, CoordinatorState::Unreachable);
    eventually("the download says why it waits", SOON, unreachable).await;
    network.start_coordinator();
    network.peer("ann").completes(download, &content, SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_connection_that_goes_silent_is_made_anew() {
    let network =
        Network::builder().report_interval(Duration::from_millis(300)).peer("seed").start().await;
    let content = Content::of(payload(LEN, 16));
    network.peer("seed").shares(&content).await;
    network.coordinator_counts(content.hash(), 1, 0).await;
    network.cable().pause();
    network.coordinator_counts(content.hash(), 0, 0).await;
    network.cable().pass();
    network.coordinator_counts(content.hash(), 1, 0).await;
}

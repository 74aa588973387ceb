//! When a peer is gone, by goodbye or by being dropped, nothing of it is left: no task, no port, no
//! descriptor, no file but those it was asked to make.

use std::net::SocketAddr;
use std::time::Duration;

use tnet_peer::share::WatchOptions;
use tnet_testkit::{
    Content, Network, RawClient, ResourceCount, SOON, files_below, payload, stored, within,
};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, MutexGuard};

/// 40 chunks of 16 KiB.
const LEN: u64 = 40 * 16 * 1024;

/// Descriptors are counted for the whole process, so these tests take turns.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// How a peer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Dropped,
    ShutDown,
}

/// Starts a peer in an idle network, has it do something, ends it, and looks.
async fn nothing_is_left_of(end: End, busy: impl AsyncFnOnce(&Network, &Content)) {
    let _turn = turn().await;
    let mut network = Network::builder().start().await;
    let content = Content::of(payload(LEN, 1));
    // One connection of the coordinator's is made and ended, so that what it keeps for good is
    // there already.
    network.start_peer("first").await;
    network.stop("first").await;
    let before = ResourceCount::take_when_quiet().await;
    let address = network.start_peer("ann").await.local_addr();
    busy(&network, &content).await;
    match end {
        End::Dropped => network.kill("ann"),
        // Its own bounds are 1.5 s for goodbyes and 10 s for everything.
        End::ShutDown => {
            within("the peer ends", Duration::from_secs(15), network.stop("ann")).await
        }
    }
    before.is_restored(SOON).await;
    is_free(address).await;
}

async fn is_free(address: SocketAddr) {
    TcpListener::bind(address)
        .await
        .unwrap_or_else(|error| panic!("{address} is not free: {error}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_peer_leaves_nothing() {
    for end in [End::Dropped, End::ShutDown] {
        nothing_is_left_of(end, async |network, _| {
            network.peer("ann").status().await.expect("the peer runs");
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_in_the_middle_of_a_download_leaves_only_what_it_needs_to_go_on() {
    for end in [End::Dropped, End::ShutDown] {
        nothing_is_left_of(end, async |network, content| {
            let _seed = network.raw(content.raw_peer().allowing(10)).await;
            let ann = network.peer("ann").begins(content).await;
            stored(&ann, 10).await;
            // The handle goes before the peer does, and the seed after its first peer: all that may
            // happen.
            drop(ann);
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_has_fetched_and_serves_leaves_only_the_file() {
    for end in [End::Dropped, End::ShutDown] {
        nothing_is_left_of(end, async |network, content| {
            let seed = network.raw_seed(content).await;
            let ann = network.peer("ann");
            ann.fetches(content).await;
            assert_eq!(files_below(ann.dir()).expect("readable"), [std::path::Path::new("copy")]);
            drop(seed);
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_sends_to_a_peer_that_does_not_read_leaves_nothing() {
    for end in [End::Dropped, End::ShutDown] {
        nothing_is_left_of(end, async |network, content| {
            let ann = network.peer("ann");
            ann.shares(content).await;
            let mut caller =
                RawClient::call(ann.local_addr()).await.expect("ann listens").handshake(SOON).await;
            caller.opens(content, SOON).await;
            for chunk in 0..20 {
                caller.asks_for(chunk).await;
            }
            // The first bytes are under way, the others wait and are never read.
            let first =
                |message| matches!(message, tnet_proto::PeerMessage::Data { .. }).then_some(());
            caller.hear_until(SOON, first).await.expect("ann sends");
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_shares_a_directory_leaves_the_directory_as_it_is() {
    for end in [End::Dropped, End::ShutDown] {
        nothing_is_left_of(end, async |network, content| {
            let ann = network.peer("ann");
            content.write(&ann.path("file")).await;
            let options = WatchOptions { settle: Duration::ZERO, ..WatchOptions::default() };
            ann.share_dir(ann.dir(), options).await.expect("the directory is there");
            network.coordinator_counts(content.hash(), 1, 0).await;
            assert_eq!(files_below(ann.dir()).expect("readable"), [std::path::Path::new("file")]);
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_with_silent_callers_leaves_nothing() {
    for end in [End::Dropped, End::ShutDown] {
        nothing_is_left_of(end, async |network, _| {
            for _ in 0..20 {
                RawClient::call(network.peer("ann").local_addr()).await.expect("ann listens");
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_network_leaves_nothing() {
    let _turn = turn().await;
    let before = ResourceCount::take_when_quiet().await;
    let mut network = Network::builder().peer("seed").peers("ann", 4).start().await;
    let content = Content::of(payload(LEN, 2));
    network.peer("seed").shares(&content).await;
    network.peer("ann0").fetches(&content).await;
    network.kill_coordinator();
    let dir = network.dir().to_owned();
    drop(network);
    before.is_restored(SOON).await;
    assert!(!dir.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_goes_on_without_a_follower() {
    let _turn = turn().await;
    let network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LEN, 3));
    let seed = network.raw(content.raw_peer().allowing(10)).await;
    let download = network.peer("ann").begins(&content).await;
    stored(&download, 10).await;
    drop(download);
    seed.allow_all().await;
    network.coordinator_counts(content.hash(), 2, 0).await;
    content.is_at(&network.peer("ann").copy()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_peer_on_one_port_is_refused_with_the_address() {
    let _turn = turn().await;
    let network = Network::builder().peer("ann").start().await;
    let address = network.peer("ann").local_addr();
    let second = tnet_peer::Peer::builder().listen(address).spawn();
    let error = second.expect_err("the port is taken");
    assert!(matches!(error, tnet_peer::SpawnError::AddressInUse { .. }), "{error:?}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finished_files_hold_no_descriptors_however_many_there_are() {
    let _turn = turn().await;
    let network = Network::builder()
        .report_interval(Duration::from_millis(200))
        .peer("seed")
        .peer("ann")
        .start()
        .await;
    let contents: Vec<Content> = (0..40).map(|number| Content::of(payload(8192, number))).collect();
    for (number, content) in contents.iter().enumerate() {
        network.peer("seed").shares_as(content, &format!("{number}")).await;
    }
    // What is kept open of the shared files is closed when it was not read for a while.
    let before = ResourceCount::take_when_quiet().await;
    let mut followed = Vec::new();
    for (number, content) in contents.iter().enumerate() {
        let copy = network.peer("ann").path(&format!("copy {number}"));
        let mut download =
            network.peer("ann").download(content.info().clone(), &copy).await.expect("it begins");
        within("it is whole", SOON, download.finished()).await.expect("there is a seed");
        content.is_at(&copy).await;
        followed.push(download);
    }
    before.is_restored(SOON).await;
    let status = network.peer("ann").status().await.expect("the peer runs");
    assert_eq!((status.files_total, status.downloads_total), (40, 0));
    drop(followed);
}

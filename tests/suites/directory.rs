//! A shared directory: what is in it is shared, what comes is noticed, what goes is forgotten.

use std::time::Duration;

use tnet_peer::ShareError;
use tnet_peer::share::{ShareDirError, WatchOptions};
use tnet_testkit::{Content, Network, Node, SOON, eventually, payload};

/// 4 chunks of 16 KiB.
const LEN: u64 = 4 * 16 * 1024;

/// Files that did not change since the last scan are stable at once.
const OPTIONS: WatchOptions = WatchOptions { max_depth: 8, max_files: 100, settle: Duration::ZERO };

async fn shared(network: &Network) -> &Node {
    let seed = network.peer("seed");
    seed.share_dir(seed.dir(), OPTIONS).await.expect("the directory is there");
    seed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_there_and_files_that_come_are_shared() {
    let network = Network::builder().peer("seed").peer("ann").start().await;
    let (before, after, deep) =
        (Content::of(payload(LEN, 1)), Content::of(payload(LEN, 2)), Content::of(payload(LEN, 3)));
    before.write(&network.peer("seed").path("before")).await;
    let seed = shared(&network).await;
    network.coordinator_counts(before.hash(), 1, 0).await;
    after.write(&seed.path("after")).await;
    std::fs::create_dir_all(seed.path("some/where")).expect("writable");
    deep.write(&seed.path("some/where/deep")).await;
    network.coordinator_counts(after.hash(), 1, 0).await;
    network.coordinator_counts(deep.hash(), 1, 0).await;
    network.peer("ann").fetches(&deep).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_is_shared_as_what_it_is_now() {
    let network = Network::builder().peer("seed").peer("ann").start().await;
    let (old, new) = (Content::of(payload(LEN, 4)), Content::of(payload(LEN + 1, 5)));
    old.write(&network.peer("seed").path("file")).await;
    let seed = shared(&network).await;
    network.coordinator_counts(old.hash(), 1, 0).await;
    std::fs::write(seed.path("file"), new.payload().bytes()).expect("writable");
    network.coordinator_counts(old.hash(), 0, 0).await;
    network.coordinator_counts(new.hash(), 1, 0).await;
    network.peer("ann").fetches(&new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_file_is_not_shared_any_more_and_its_neighbours_are() {
    let network = Network::builder().peer("seed").start().await;
    let (goes, stays) = (Content::of(payload(LEN, 6)), Content::of(payload(LEN, 7)));
    goes.write(&network.peer("seed").path("goes")).await;
    stays.write(&network.peer("seed").path("stays")).await;
    let seed = shared(&network).await;
    network.coordinator_counts(goes.hash(), 1, 0).await;
    network.coordinator_counts(stays.hash(), 1, 0).await;
    std::fs::remove_file(seed.path("goes")).expect("it is there");
    network.coordinator_counts(goes.hash(), 0, 0).await;
    assert_eq!(network.swarm(stays.hash()).await, (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renamed_file_is_still_shared() {
    let network = Network::builder().peer("seed").peer("ann").start().await;
    let content = Content::of(payload(LEN, 8));
    content.write(&network.peer("seed").path("old name")).await;
    let seed = shared(&network).await;
    network.coordinator_counts(content.hash(), 1, 0).await;
    std::fs::rename(seed.path("old name"), seed.path("new name")).expect("writable");
    let new_name = seed.path("new name");
    eventually("it is shared from its new place", SOON, async || {
        let files = seed.status().await.expect("the peer runs").files;
        if files.len() == 1 && files[0].path == new_name { Ok(()) } else { Err(files) }
    })
    .await;
    network.peer("ann").fetches(&content).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_files_of_one_content_are_shared_until_both_are_gone() {
    let network = Network::builder().peer("seed").peer("ann").start().await;
    let content = Content::of(payload(LEN, 9));
    content.write(&network.peer("seed").path("one")).await;
    content.write(&network.peer("seed").path("two")).await;
    let seed = shared(&network).await;
    network.coordinator_counts(content.hash(), 1, 0).await;
    // Whichever of them is served.
    let served = seed.status().await.expect("the peer runs").files[0].path.clone();
    std::fs::remove_file(served).expect("it is there");
    network.peer("ann").fetches(&content).await;
    network.coordinator_counts(content.hash(), 2, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_in_a_shared_directory_is_not_shared_as_a_partial_file() {
    let network = Network::builder().peer("seed").start().await;
    let content = Content::of(payload(LEN, 10));
    let raw = network.raw(content.raw_peer().allowing(2)).await;
    let marker = Content::of(payload(LEN, 11));
    let seed = shared(&network).await;
    let download = seed.begins(&content).await;
    tnet_testkit::stored(&download, 2).await;
    // Once a file that came later is shared, the directory was looked at.
    marker.write(&seed.path("marker")).await;
    network.coordinator_counts(marker.hash(), 1, 0).await;
    let names: Vec<_> = seed
        .status()
        .await
        .expect("the peer runs")
        .files
        .into_iter()
        .map(|file| file.path)
        .collect();
    assert_eq!(names.len(), 2, "the marker and the download: {names:?}");
    raw.allow_all().await;
    seed.completes(download, &content, SOON).await;
    network.coordinator_counts(content.hash(), 2, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_is_not_there_is_an_error_at_once() {
    let network = Network::builder().peer("seed").start().await;
    let seed = network.peer("seed");
    let missing = seed.share_dir(seed.path("nowhere"), OPTIONS).await;
    assert!(matches!(missing, Err(ShareError::Dir(ShareDirError::Missing { .. }))), "{missing:?}");
    std::fs::write(seed.path("file"), b"").expect("writable");
    let file = seed.share_dir(seed.path("file"), OPTIONS).await;
    assert!(matches!(file, Err(ShareError::Dir(ShareDirError::NotADirectory { .. }))), "{file:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_directory_that_goes_as_a_whole_nothing_is_shared_until_it_is_back() {
    let network = Network::builder().peer("seed").start().await;
    let content = Content::of(payload(LEN, 12));
    let seed = network.peer("seed");
    std::fs::create_dir(seed.path("all")).expect("writable");
    content.write(&seed.path("all/file")).await;
    seed.share_dir(seed.path("all"), OPTIONS).await.expect("the directory is there");
    network.coordinator_counts(content.hash(), 1, 0).await;
    std::fs::rename(seed.path("all"), seed.path("elsewhere")).expect("writable");
    network.coordinator_counts(content.hash(), 0, 0).await;
    std::fs::rename(seed.path("elsewhere"), seed.path("all")).expect("writable");
    network.coordinator_counts(content.hash(), 1, 0).await;
}

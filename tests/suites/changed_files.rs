//! Files and directories that other processes change: touched, written to by another name, moved,
//! removed, replaced.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use tnet_peer::share::WatchOptions;
use tnet_peer::store::FinishError;
use tnet_peer::{Download, DownloadError, DownloadOptions, LeftOutKind};
use tnet_testkit::{Content, Network, Node, SOON, eventually, payload, stored, within};

/// 4 chunks of 16 KiB.
const LEN: u64 = 4 * 16 * 1024;

const OPTIONS: WatchOptions = WatchOptions { max_depth: 8, max_files: 100, settle: Duration::ZERO };

/// What the system has no word for is noticed within 30 s; a busy machine may take longer.
const UNHEARD: Duration = Duration::from_secs(60);

/// What is open is looked at twice a second; a busy machine may take longer.
const GIVEN_BACK: Duration = Duration::from_secs(5);

/// Writes a byte and sets the time of modification back.
fn write_unnoticed(path: &Path) {
    let file = fs::File::options().write(true).open(path).expect("there");
    let modified = file.metadata().and_then(|metadata| metadata.modified()).expect("told");
    file.write_all_at(b"other", 7).expect("writable");
    file.set_modified(modified).expect("ours");
}

async fn is_not_shared(network: &Network, content: &Content, limit: Duration) {
    eventually("it is not shared any more", limit, async || {
        let counts = network.swarm(content.hash()).await;
        if counts == (0, 0) { Ok(()) } else { Err(counts) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_only_touched_is_shared_again() {
    let network = Network::builder().peer("seed").peer("ann").start().await;
    let content = Content::of(payload(LEN, 1));
    let path = network.peer("seed").shares(&content).await;
    network.coordinator_counts(content.hash(), 1, 0).await;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("ours");
    network.peer("ann").fetches(&content).await;
    network.coordinator_counts(content.hash(), 2, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_written_to_and_whose_time_was_set_back_is_not() {
    let network = Network::builder().peer("seed").start().await;
    let content = Content::of(payload(LEN, 2));
    let path = network.peer("seed").shares(&content).await;
    network.coordinator_counts(content.hash(), 1, 0).await;
    write_unnoticed(&path);
    is_not_shared(&network, &content, SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_through_a_name_outside_of_the_shared_directory_is_noticed() {
    let network = Network::builder().peer("seed").start().await;
    let content = Content::of(payload(LEN, 3));
    let seed = network.peer("seed");
    fs::create_dir(seed.path("all")).expect("writable");
    content.write(&seed.path("all/file")).await;
    fs::hard_link(seed.path("all/file"), seed.path("outside")).expect("one file system");
    seed.share_dir(seed.path("all"), OPTIONS).await.expect("the directory is there");
    network.coordinator_counts(content.hash(), 1, 0).await;
    write_unnoticed(&seed.path("outside"));
    is_not_shared(&network, &content, UNHEARD).await;
    let files = seed.status().await.expect("the peer runs").files;
    assert!(files.iter().all(|file| file.hash != content.hash().to_string()), "{files:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_link_that_leads_elsewhere_is_followed_there() {
    let network = Network::builder().peer("seed").start().await;
    let (old, new) = (Content::of(payload(LEN, 4)), Content::of(payload(LEN, 5)));
    let seed = network.peer("seed");
    for (name, content) in [("one", &old), ("two", &new)] {
        fs::create_dir(seed.path(name)).expect("writable");
        content.write(&seed.path(name).join("file")).await;
    }
    symlink("one", seed.path("current")).expect("a link");
    seed.share_dir(seed.path("current"), OPTIONS).await.expect("the directory is there");
    network.coordinator_counts(old.hash(), 1, 0).await;
    symlink("two", seed.path("next")).expect("a link");
    fs::rename(seed.path("next"), seed.path("current")).expect("in place");
    eventually("the other directory is shared", UNHEARD, async || {
        let counts = (network.swarm(old.hash()).await, network.swarm(new.hash()).await);
        if counts == ((0, 0), (1, 0)) { Ok(()) } else { Err(counts) }
    })
    .await;
}

/// Files below the directory that this process has open and that have no name any more.
fn open_without_a_name(dir: &Path) -> usize {
    let open = fs::read_dir("/proc/self/fd").expect("there").flatten();
    let paths = open.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    paths
        .filter(|path| {
            path.starts_with(dir) && path.as_os_str().as_encoded_bytes().ends_with(b" (deleted)")
        })
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg(target_os = "linux")]
async fn a_deleted_file_gives_its_space_back_however_rarely_files_are_checked() {
    let seldom = |config: &mut tnet_peer::Config| config.share_interval = Duration::from_secs(3600);
    let builder = Network::builder().peer("seed").peer("ann").configure(seldom);
    let network = builder.report_interval(Duration::from_secs(60)).start().await;
    let content = Content::of(payload(LEN, 6));
    let seed = network.peer("seed");
    content.write(&seed.path("file")).await;
    seed.share_dir(seed.dir(), OPTIONS).await.expect("the directory is there");
    network.coordinator_counts(content.hash(), 1, 0).await;
    network.peer("ann").fetches(&content).await;
    fs::remove_file(seed.path("file")).expect("it is there");
    assert!(open_without_a_name(seed.dir()) <= 1);
    within("it is closed", GIVEN_BACK, async {
        while open_without_a_name(seed.dir()) > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    network.coordinator_counts(content.hash(), 1, 0).await;
}

/// A download to `here/file` in the directory of the node, with two chunks stored.
async fn two_chunks_of(content: &Content, node: &Node) -> Download {
    fs::create_dir(node.path("here")).expect("writable");
    let download = node
        .download_with(content.info().clone(), node.path("here/file"), DownloadOptions::default())
        .await
        .expect("it begins");
    stored(&download, 2).await;
    download
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_arrives_where_its_directory_is_by_then_and_is_shared_from_there() {
    let network = Network::builder().peer("ann").peer("bob").start().await;
    let content = Content::of(payload(LEN, 7));
    let source = network.raw(content.raw_peer().allowing(2)).await;
    let ann = network.peer("ann");
    let mut download = two_chunks_of(&content, ann).await;
    fs::rename(ann.path("here"), ann.path("there")).expect("movable");
    fs::create_dir(ann.path("here")).expect("writable");
    source.allow_all().await;
    let summary = within("the end", SOON, download.finished()).await.expect("it is whole");
    assert_eq!(summary.path, ann.path("there/file"));
    content.is_at(&summary.path).await;
    assert_eq!(fs::read_dir(ann.path("here")).expect("there").count(), 0);
    let files = ann.status().await.expect("the peer runs").files;
    assert_eq!(files[0].path, summary.path);
    drop(source);
    network.peer("bob").fetches(&content).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_whose_directory_is_removed_fails_before_its_end() {
    let network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LEN, 8));
    // The end would never come.
    let _source = network.raw(content.raw_peer().allowing(2)).await;
    let ann = network.peer("ann");
    let mut download = two_chunks_of(&content, ann).await;
    fs::remove_dir_all(ann.path("here")).expect("removable");
    let failed = within("the end", SOON, download.finished()).await;
    assert!(matches!(failed, Err(DownloadError::Finish(FinishError::Gone { .. }))), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn left_out_files_are_reported_while_they_exist() {
    let network = Network::builder().peer("seed").start().await;
    let content = Content::of(payload(LEN, 9));
    let seed = network.peer("seed");
    content.write(&seed.path("file")).await;
    symlink("file", seed.path("link")).expect("a link");
    fs::write(seed.path(".hidden"), "x").expect("writable");
    seed.share_dir(seed.dir(), OPTIONS).await.expect("the directory is there");
    let told = async || {
        let left_out = seed.status().await.expect("the peer runs").left_out;
        left_out
            .into_iter()
            .map(|left_out| (left_out.kind, left_out.count, left_out.example))
            .collect::<Vec<_>>()
    };
    let (link, hidden) =
        ((LeftOutKind::Link, 1, seed.path("link")), (LeftOutKind::Hidden, 1, seed.path(".hidden")));
    eventually("both are told", SOON, async || {
        let told = told().await;
        if told == [link.clone(), hidden.clone()] { Ok(()) } else { Err(told) }
    })
    .await;
    fs::remove_file(seed.path("link")).expect("ours");
    eventually("one is told", SOON, async || {
        let told = told().await;
        if told == [hidden.clone()] { Ok(()) } else { Err(told) }
    })
    .await;
}

//! What an earlier attempt left is verified before it counts: without help from other peers, and
//! only as long as it is wanted.

use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tnet_fileinfo::ChunkSize;
use tnet_peer::store::{self, Opened};
use tnet_peer::{DownloadOptions, FileChange, Phase};
use tnet_testkit::{Content, Network, Payload, SOON, eventually, within};

const MIB: u32 = 1024 * 1024;

/// Hashed in a tenth of a second at least.
const LEN: u64 = 256 * MIB as u64;

fn zeroes() -> Content {
    Content::chunked(Payload::Sparse { len: LEN }, ChunkSize::new(MIB).expect("a size for chunks"))
}

/// A directory in memory: what is written there waits for no disk.
fn directory() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir_in("/dev/shm").expect("a place in memory");
    let out = directory.path().join("copy");
    (directory, out)
}

fn open(content: &Content, out: &Path) -> store::Download {
    let unwatched = |_| ControlFlow::Continue(());
    match store::Download::open(content.info(), out, store::DownloadOptions::default(), &unwatched)
    {
        Ok(Opened::Partial(download, _)) => download,
        other => panic!("{other:?}"),
    }
}

/// Leaves a download that has all of the content, and a journal that says so.
fn all_but_its_name(content: &Content, out: &Path) -> PathBuf {
    let (download, bytes) = (open(content, out), vec![0; MIB as usize]);
    for chunk in content.info().geometry().chunks() {
        download.write_chunk(chunk, &bytes).expect("memory does not fail");
    }
    download.sync().expect("memory does not fail");
    download.partial_path()
}

fn patient() -> DownloadOptions {
    DownloadOptions { give_up_after: None, ..DownloadOptions::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_lacks_only_its_name_is_verified_without_peers() {
    let network = Network::builder().peer("ann").start().await;
    let (content, (_directory, out)) = (zeroes(), directory());
    all_but_its_name(&content, &out);
    let begun = network.peer("ann").download_with(content.info().clone(), &out, patient()).await;
    let mut download = begun.expect("it begins");
    let progress = download.progress();
    assert_eq!(
        (progress.bytes_done, progress.bytes_to_check, progress.bytes_resumed),
        (LEN, LEN, LEN)
    );
    let summary =
        within("it is complete", SOON, download.finished()).await.expect("nothing is missing");
    assert_eq!(
        (summary.bytes_resumed, summary.bytes_damaged, summary.traffic.requested),
        (LEN, 0, 0)
    );
    assert!(summary.verify_busy > Duration::ZERO);
    assert_eq!(download.progress().bytes_checked, LEN);
    content.is_at(&out).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_cancelled_while_it_is_verified_lets_go_of_its_files_at_once() {
    let network = Network::builder().peer("ann").start().await;
    let (content, (_directory, out)) = (zeroes(), directory());
    all_but_its_name(&content, &out);
    for _ in 0..3 {
        let begun =
            network.peer("ann").download_with(content.info().clone(), &out, patient()).await;
        within("the download ends", SOON, begun.expect("it begins").cancel()).await;
        assert!(!out.exists());
        // Nothing has it open for writing, and it has lost nothing.
        let again = open(&content, &out);
        assert!(again.vouched().is_full() && again.stored().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_shuts_down_while_it_verifies_leaves_no_reader_behind() {
    let mut network = Network::builder().peer("ann").start().await;
    let (content, (_directory, out)) = (zeroes(), directory());
    all_but_its_name(&content, &out);
    let begun = network.peer("ann").download_with(content.info().clone(), &out, patient()).await;
    let _download = begun.expect("it begins");
    network.stop("ann").await;
    let target = out.with_extension("partial").canonicalize().expect("it is there");
    let open = std::fs::read_dir("/proc/self/fd").expect("readable").filter_map(Result::ok);
    let readers = open.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|path| path == target));
    assert_eq!(readers.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_download_is_not_verified_until_it_is_resumed() {
    let network = Network::builder().peer("ann").start().await;
    let (content, (_directory, out)) = (zeroes(), directory());
    all_but_its_name(&content, &out);
    let begun = network.peer("ann").download_with(content.info().clone(), &out, patient()).await;
    let mut download = begun.expect("it begins");
    download.update(FileChange::Pause).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let paused = download.progress();
    assert_eq!(paused.phase, Phase::Paused);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(download.progress().bytes_checked, paused.bytes_checked);
    assert!(paused.bytes_checked < LEN, "{paused:?}");
    download.update(FileChange::Resume).await;
    within("it is complete", SOON, download.finished()).await.expect("nothing is missing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn downloads_at_the_same_time_are_all_verified() {
    let network = Network::builder().peer("ann").start().await;
    let (large, (_directory, out)) = (zeroes(), directory());
    all_but_its_name(&large, &out);
    let small = Content::chunked(
        Payload::Sparse { len: 3 * u64::from(MIB) },
        ChunkSize::new(MIB).expect("a size"),
    );
    let (_other, small_out) = directory();
    all_but_its_name(&small, &small_out);
    let ann = network.peer("ann");
    let mut first =
        ann.download_with(large.info().clone(), &out, patient()).await.expect("it begins");
    let mut second =
        ann.download_with(small.info().clone(), &small_out, patient()).await.expect("it begins");
    within("the small one", SOON, second.finished()).await.expect("nothing is missing");
    within("the large one", SOON, first.finished()).await.expect("nothing is missing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_chunk_waits_for_somebody_who_has_it_and_the_rest_is_served_meanwhile() {
    let network = Network::builder().peer("ann").start().await;
    let (content, (_directory, out)) = (zeroes(), directory());
    let partial = all_but_its_name(&content, &out);
    let file = File::options().write(true).open(partial).expect("there");
    file.write_all_at(b"rot", 7 * u64::from(MIB) + 5).expect("writable");
    let begun = network.peer("ann").download_with(content.info().clone(), &out, patient()).await;
    let mut download = begun.expect("it begins");
    eventually("all but one chunk is right", SOON, async || {
        let progress = download.progress();
        let is_found = progress.bytes_checked == LEN && progress.bytes_damaged == u64::from(MIB);
        if is_found && progress.bytes_done == LEN - u64::from(MIB) { Ok(()) } else { Err(progress) }
    })
    .await;
    assert!(!out.exists());
    let status = network.peer("ann").status().await.expect("the peer runs");
    assert_eq!(status.files[0].chunks_done, content.chunk_count() - 1);
    let seed = network.raw(content.raw_peer().holding(content.chunks([7]))).await;
    let summary =
        within("it is complete", SOON, download.finished()).await.expect("there is a holder");
    assert_eq!((summary.bytes_damaged, summary.traffic.arrived), (u64::from(MIB), 1));
    assert_eq!(seed.counters().served.keys().copied().collect::<Vec<_>>(), [7]);
    content.is_at(&out).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_is_cancelled_while_it_gets_its_name_says_that_it_is_whole() {
    let network = Network::builder().peer("ann").start().await;
    let ann = network.peer("ann");
    let content = Content::chunked(
        Payload::Sparse { len: u64::from(MIB) },
        ChunkSize::new(MIB).expect("a size"),
    );
    let mut whole = 0;
    for round in 0..60 {
        let (_directory, out) = directory();
        all_but_its_name(&content, &out);
        let begun = ann.download_with(content.info().clone(), &out, patient()).await;
        let download = begun.expect("it begins");
        tokio::time::sleep(Duration::from_micros(100 * round)).await;
        let summary = within("the download ends", SOON, download.cancel()).await;
        assert_eq!(summary.is_some(), out.exists(), "after {round} tenths of a millisecond");
        whole += u32::from(summary.is_some());
        ann.unshare(content.hash()).await.expect("the peer runs");
    }
    assert!(whole > 0, "none was whole in time");
}

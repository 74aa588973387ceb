//! Downloads that are interrupted, started twice, or short of sources: nothing verified is fetched
//! twice, nothing is overwritten by accident, and the user is told what is missing.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use tnet_peer::store::OpenError;
use tnet_peer::{DownloadError, DownloadOptions, Phase};
use tnet_testkit::{
    Content, Network, RawPeer, SOON, eventually, files_below, payload, stored, within,
};

/// 40 chunks of 16 KiB: more than are ever under way at once.
const LEN: u64 = 40 * CHUNK;
const CHUNK: u64 = 16 * 1024;

fn assert_each_chunk_came_once(seed: &RawPeer) {
    let served = seed.counters().served;
    assert!(served.len() == 40 && served.values().all(|times| *times == 1), "{served:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_download_goes_on_where_it_was() {
    let network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LEN, 1));
    let seed = network.raw(content.raw_peer().allowing(10)).await;
    let ann = network.peer("ann").begins(&content).await;
    stored(&ann, 10).await;
    within("the download ends", SOON, ann.cancel()).await;
    assert!(!network.peer("ann").copy().exists());
    seed.allow_all().await;
    let fetched = network.peer("ann").fetches(&content).await;
    assert_eq!(fetched.summary.bytes_resumed, 10 * CHUNK);
    assert_eq!(fetched.summary.traffic.arrived, 30);
    assert_each_chunk_came_once(&seed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_download_leaves_the_swarm() {
    let network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LEN, 2));
    let _seed = network.raw(content.raw_peer().allowing(10)).await;
    let ann = network.peer("ann").begins(&content).await;
    network.coordinator_counts(content.hash(), 1, 1).await;
    ann.cancel().await;
    network.coordinator_counts(content.hash(), 1, 0).await;
    assert!(network.peer("ann").status().await.expect("the peer runs").files.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_goes_on_after_the_peer_was_shut_down() {
    let mut network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LEN, 3));
    let seed = network.raw(content.raw_peer().allowing(10)).await;
    let mut ann = network.peer("ann").begins(&content).await;
    stored(&ann, 10).await;
    network.stop("ann").await;
    let ended = within("the download ends", SOON, ann.finished()).await;
    assert!(
        matches!(ended, Err(DownloadError::PeerGone(_) | DownloadError::Cancelled)),
        "{ended:?}"
    );
    seed.allow_all().await;
    let fetched = network.start_peer("ann").await.fetches(&content).await;
    assert_eq!(fetched.summary.bytes_resumed, 10 * CHUNK);
    assert_each_chunk_came_once(&seed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_goes_on_after_the_peer_was_killed() {
    let mut network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LEN, 4));
    let seed = network.raw(content.raw_peer().allowing(10)).await;
    let ann = network.peer("ann").begins(&content).await;
    stored(&ann, 10).await;
    network.kill("ann");
    seed.allow_all().await;
    let ann = network.start_peer("ann").await;
    let download = ann.begins_after_kill(&content).await;
    let fetched = ann.completes(download, &content, SOON).await;
    assert_eq!(fetched.summary.bytes_resumed, 10 * CHUNK, "all that was stored, journaled or not");
    assert_each_chunk_came_once(&seed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_without_a_journal_are_kept_only_if_they_verify() {
    // Nothing is synced, so nothing is journaled.
    let never = |config: &mut tnet_peer::Config| config.sync_interval = Duration::from_secs(3600);
    let mut network = Network::builder().configure(never).peer("ann").start().await;
    let content = Content::of(payload(LEN, 5));
    let seed = network.raw(content.raw_peer().allowing(10)).await;
    let ann = network.peer("ann").begins(&content).await;
    stored(&ann, 10).await;
    network.kill("ann");
    // What a crash of the machine can do: one of the ten chunks is not what was written.
    let partial = network.peer_dir("ann").join("copy.partial");
    let file =
        std::fs::OpenOptions::new().write(true).open(partial).expect("the partial file is there");
    let damaged = *seed.counters().served.keys().next().expect("ten chunks came");
    file.write_all_at(b"damaged", u64::from(damaged) * CHUNK + 5).expect("writable");
    drop(file);
    seed.allow_all().await;
    let ann = network.start_peer("ann").await;
    let download = ann.begins_after_kill(&content).await;
    let fetched = ann.completes(download, &content, SOON).await;
    assert_eq!(fetched.summary.bytes_resumed, 9 * CHUNK);
    let served = seed.counters().served;
    assert!(served.iter().all(|(chunk, times)| (*times == 2) == (*chunk == damaged)), "{served:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_content_is_not_downloaded_twice_at_once_by_one_peer() {
    let network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LEN, 6));
    let seed = network.raw(content.raw_peer().allowing(5)).await;
    let ann = network.peer("ann");
    let first = ann.begins(&content).await;
    stored(&first, 5).await;
    for out in [ann.copy(), ann.path("another")] {
        let second = ann.download(content.info().clone(), &out).await;
        let error = second.expect_err("it is under way already");
        assert!(
            matches!(&error, DownloadError::AlreadyRunning { out, .. } if *out == ann.copy()),
            "{error:?}"
        );
    }
    seed.allow_all().await;
    ann.completes(first, &content, SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_peers_do_not_download_to_one_target() {
    let network = Network::builder().peer("ann").peer("bob").start().await;
    let content = Content::of(payload(LEN, 7));
    let seed = network.raw(content.raw_peer().allowing(5)).await;
    let target = network.peer("ann").copy();
    let ann = network.peer("ann").begins(&content).await;
    stored(&ann, 5).await;
    let second =
        within("an answer", SOON, network.peer("bob").download(content.info().clone(), &target))
            .await;
    let error = second.expect_err("the target is taken");
    assert!(matches!(error, DownloadError::Open(OpenError::Busy { .. })), "{error:?}");
    seed.allow_all().await;
    network.peer("ann").completes(ann, &content, SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_contents_for_one_target_do_not_mix() {
    let network = Network::builder().peer("ann").start().await;
    let (first, second) = (Content::of(payload(LEN, 8)), Content::of(payload(LEN, 9)));
    let seed = network.raw(first.raw_peer().allowing(5)).await;
    let _other = network.raw_seed(&second).await;
    let ann = network.peer("ann");
    let download = ann.begins(&first).await;
    stored(&download, 5).await;
    let refused = ann.download(second.info().clone(), ann.copy()).await;
    assert!(matches!(refused, Err(DownloadError::Open(_))), "{refused:?}");
    seed.allow_all().await;
    ann.completes(download, &first, SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_the_user_is_not_overwritten_unasked() {
    let network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LEN, 10));
    let seed = network.raw(content.raw_peer().allowing(5)).await;
    let ann = network.peer("ann");
    std::fs::write(ann.copy(), b"of the user").expect("writable");
    let refused = ann.download(content.info().clone(), ann.copy()).await;
    let error = refused.expect_err("the target exists");
    assert!(matches!(error, DownloadError::Open(OpenError::Exists { .. })), "{error:?}");
    assert_eq!(std::fs::read(ann.copy()).expect("still there"), b"of the user");
    assert_eq!(files_below(ann.dir()).expect("readable").len(), 1, "no trace of the attempt");

    let options = DownloadOptions { overwrite: true, ..DownloadOptions::default() };
    let asked =
        ann.download_with(content.info().clone(), ann.copy(), options).await.expect("it begins");
    stored(&asked, 5).await;
    assert_eq!(
        std::fs::read(ann.copy()).expect("still there"),
        b"of the user",
        "until the new one is whole"
    );
    seed.allow_all().await;
    ann.completes(asked, &content, SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_appears_under_the_final_name_meanwhile_is_not_overwritten() {
    let network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LEN, 11));
    let seed = network.raw(content.raw_peer().allowing(5)).await;
    let ann = network.peer("ann");
    let mut download = ann.begins(&content).await;
    stored(&download, 5).await;
    std::fs::write(ann.copy(), b"of the user").expect("writable");
    seed.allow_all().await;
    let error = within("an error", SOON, download.finished()).await.expect_err("the name is taken");
    assert!(matches!(error, DownloadError::Finish(_)), "{error:?}");
    assert_eq!(std::fs::read(ann.copy()).expect("still there"), b"of the user");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_there_already_is_not_fetched_again() {
    let network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LEN, 12));
    content.write(&network.peer("ann").copy()).await;
    // There is no holder: success can only come from the disk.
    let fetched = network.peer("ann").fetches(&content).await;
    assert_eq!(fetched.summary.bytes_resumed, LEN);
    assert_eq!(fetched.summary.traffic.requested, 0);
    network.coordinator_counts(content.hash(), 1, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_without_holder_are_counted_and_fetched_when_there_is_one() {
    let network = Network::builder().peer("ann").peer("bob").start().await;
    let content = Content::of(payload(LEN, 13));
    let (even, odd) = (content.chunks((0..40).step_by(2)), content.chunks((1..40).step_by(2)));
    let half = network.raw(content.raw_peer().holding(even)).await;
    let ann = network.peer("ann").begins(&content).await;
    let bob = network.peer("bob").begins(&content).await;
    for download in [&ann, &bob] {
        stored(download, 20).await;
        eventually("20 chunks are without a holder", SOON, async || {
            let progress = download.progress();
            if progress.chunks_without_holder == 20 { Ok(()) } else { Err(progress) }
        })
        .await;
        assert_eq!(download.progress().phase, Phase::Downloading);
    }
    assert!(!network.peer("ann").copy().exists());
    assert!(
        half.counters().requests.keys().all(|chunk| chunk % 2 == 0),
        "chunks that a peer lacks are not asked for"
    );
    half.gain(odd).await;
    let (ann, bob) = tokio::join!(
        network.peer("ann").completes(ann, &content, SOON),
        network.peer("bob").completes(bob, &content, SOON)
    );
    assert_eq!((ann.summary.traffic.corrupt, bob.summary.traffic.corrupt), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_stalls_says_how_many_chunks_are_missing_and_keeps_the_rest() {
    let network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LEN, 14));
    let half = network.raw(content.raw_peer().holding(content.chunks(0..20))).await;
    let ann = network.peer("ann");
    let options = DownloadOptions {
        give_up_after: Some(Duration::from_secs(1)),
        ..DownloadOptions::default()
    };
    let mut download =
        ann.download_with(content.info().clone(), ann.copy(), options).await.expect("it begins");
    let error =
        within("an error", SOON, download.finished()).await.expect_err("half of it is nowhere");
    assert!(
        matches!(error, DownloadError::Stalled { missing: 20, without_holder: 20, chunks: 40, .. }),
        "{error:?}"
    );
    half.gain(content.chunks(20..40)).await;
    let fetched = ann.fetches(&content).await;
    assert_eq!(fetched.summary.bytes_resumed, 20 * CHUNK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_in_the_middle_loses_no_chunk_that_came() {
    let network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LEN, 15));
    let seed = network.raw(content.raw_peer().allowing(10)).await;
    let ann = network.peer("ann").begins(&content).await;
    stored(&ann, 10).await;
    seed.hang_up().await;
    seed.allow_all().await;
    network.peer("ann").completes(ann, &content, SOON).await;
    assert_eq!(seed.counters().greeted, 2);
    assert_each_chunk_came_once(&seed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seed_that_dies_in_the_middle_leaves_a_download_that_waits_for_another() {
    let network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LEN, 16));
    let seed = network.raw(content.raw_peer().allowing(20)).await;
    let ann = network.peer("ann").begins(&content).await;
    stored(&ann, 20).await;
    drop(seed);
    eventually("no peer is left", SOON, async || {
        let progress = ann.progress();
        if (progress.peers, progress.chunks_without_holder) == (0, 20) {
            Ok(())
        } else {
            Err(progress)
        }
    })
    .await;
    let another = network.raw_seed(&content).await;
    network.peer("ann").completes(ann, &content, SOON).await;
    assert_eq!(another.counters().served_in_all(), 20, "what came from the first is kept");
}

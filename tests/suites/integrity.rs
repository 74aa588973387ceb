//! Nothing wrong is ever seen under the final name: not with bad peers alone, not with forged
//! descriptions, not when files change under way. What single bad peers cost is in the suite of
//! faults.

use std::time::Duration;

use tnet_fileinfo::ChunkSize;
use tnet_peer::{CoordinatorError, DownloadError, DownloadOptions, FetchInfoError};
use tnet_testkit::{
    Behaviour, Content, Counters, Description, Network, SOON, eventually, files_below, payload,
    stored, within,
};

/// More chunks than are asked for at once, and no multiple of eight, so that a bitmap has a spare
/// bit.
const CHUNKS: u32 = 97;
const LEN: u64 = CHUNKS as u64 * 16 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_corrupting_peers_alone_a_download_gives_up_and_leaves_no_file() {
    let network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LEN, 3));
    let bad_peer =
        network.raw(content.raw_peer().behaving(Behaviour::FlipsBit { percent: 100 })).await;
    let options = DownloadOptions {
        give_up_after: Some(Duration::from_secs(1)),
        ..DownloadOptions::default()
    };
    let ann = network.peer("ann");
    let mut download =
        ann.download_with(content.info().clone(), ann.copy(), options).await.expect("it begins");
    let error = within("an error", SOON, download.finished())
        .await
        .expect_err("there is nothing right to have");
    assert!(
        matches!(error, DownloadError::NoHolder { .. } | DownloadError::Stalled { .. }),
        "{error:?}"
    );
    bad_peer.counters_are("it is banned", SOON, Counters::was_banned).await;
    assert!(!ann.copy().exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bare_hash_is_enough_to_get_the_file() {
    let network = Network::builder().peer("seed").peer("ann").start().await;
    let content = Content::of(payload(LEN, 6));
    network.peer("seed").shares(&content).await;
    network.coordinator_counts(content.hash(), 1, 0).await;
    let info = network
        .peer("ann")
        .fetch_info(content.hash(), SOON)
        .await
        .expect("the seed describes its file");
    assert_eq!(info.sums(), content.info().sums());
    assert_eq!(info.size(), LEN);
    network.peer("ann").fetches(&Content::described(content.payload(), info)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_description_in_more_than_one_part_is_put_together() {
    let network = Network::builder().peer("ann").start().await;
    // One part has 4096 sums.
    let smallest = ChunkSize::new(16 * 1024).expect("a power of two in range");
    let content = Content::chunked(payload(4100 * 16 * 1024, 7), smallest);
    let seed = network.raw_seed(&content).await;
    let info = network
        .peer("ann")
        .fetch_info(content.hash(), SOON)
        .await
        .expect("the seed describes its file");
    assert_eq!(info.sums(), content.info().sums());
    assert_eq!(seed.counters().described, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_description_is_refused_and_a_true_one_found() {
    let network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LEN, 8));
    let forger = network.raw(content.raw_peer().describing(Description::Forged)).await;
    let patience = Duration::from_secs(1);
    let error = network
        .peer("ann")
        .fetch_info(content.hash(), patience)
        .await
        .expect_err("only lies are told");
    assert!(
        matches!(error, FetchInfoError::NoneValid { holders, .. } if holders.lying == 1),
        "{error:?}"
    );
    assert!(forger.counters().described >= 1);
    assert_eq!(forger.counters().requests_in_all(), 0, "not one chunk was asked for");
    let _honest = network.raw_seed(&content).await;
    let info = network
        .peer("ann")
        .fetch_info(content.hash(), SOON)
        .await
        .expect("now one peer tells the truth");
    assert_eq!(info.sums(), content.info().sums());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hash_without_holders_is_given_up_in_the_promised_time() {
    let network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LEN, 9));
    let patience = Duration::from_millis(600);
    let asked =
        within("an answer", SOON, network.peer("ann").fetch_info(content.hash(), patience)).await;
    let error = asked.expect_err("it has no holder");
    assert!(
        matches!(error, FetchInfoError::NoHolder { waited, .. } if waited == patience),
        "{error:?}"
    );
    network.cable().cut();
    let away = async || {
        use tnet_peer::CoordinatorState::Connected;
        let state = network.peer("ann").status().await.expect("the peer runs").coordinator_state;
        if state == Connected { Err(state) } else { Ok(()) }
    };
    eventually("the coordinator is out of reach", SOON, away).await;
    let asked =
        within("an answer", SOON, network.peer("ann").fetch_info(content.hash(), patience)).await;
    let error = asked.expect_err("there is no coordinator to ask");
    assert!(
        matches!(error, FetchInfoError::Coordinator(CoordinatorError::Silent { .. })),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_changed_in_the_middle_of_a_download_spoils_nothing() {
    let network = Network::builder().peer("careless").peer("ann").start().await;
    let content = Content::of(payload(LEN, 10));
    let path = network.peer("careless").shares(&content).await;
    network.coordinator_counts(content.hash(), 1, 0).await;
    // The careless peer learns of the change only when it looks, or when another peer asks for the
    // bytes.
    let mut bytes = content.payload().bytes();
    bytes.iter_mut().step_by(1000).for_each(|byte| *byte ^= 0xff);
    std::fs::write(&path, bytes).expect("the original is writable");
    let ann = network.peer("ann").begins(&content).await;
    let _honest = network.raw_seed(&content).await;
    network.peer("ann").completes(ann, &content, SOON).await;
    network.coordinator_counts(content.hash(), 2, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_file_is_never_seen_under_its_final_name() {
    let network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LEN, 11));
    let seed = network.raw(content.raw_peer().allowing(15)).await;
    let ann = network.peer("ann").begins(&content).await;
    stored(&ann, 15).await;
    let files = files_below(network.peer("ann").dir()).expect("readable");
    let names: Vec<&str> = files.iter().filter_map(|path| path.to_str()).collect();
    assert!(
        names.iter().all(|name| name.starts_with("copy.partial")) && !names.is_empty(),
        "{names:?}"
    );
    seed.allow_all().await;
    network.peer("ann").completes(ann, &content, SOON).await;
    let files = files_below(network.peer("ann").dir()).expect("readable");
    assert_eq!(files, [std::path::Path::new("copy")], "nothing but the file is left");
}

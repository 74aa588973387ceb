//! Files of every awkward length, from nothing to more than 32 bits count.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use tnet_fileinfo::ChunkSize;
use tnet_testkit::{Content, Network, Node, Payload, RawClient, SOON, payload, within};

/// The chunk size of small files.
const CHUNK: u64 = 16 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_awkward_length_arrives() {
    let lengths = [
        0,             // no chunk at all
        1,             // one byte
        1023,          // one below,
        1024,          // at,
        1025,          // and above a leaf of the hash tree
        CHUNK - 1,     // one chunk, one byte short
        CHUNK,         // exactly one
        CHUNK + 1,     // a second chunk of one byte
        7 * CHUNK,     // a bitmap with a spare bit
        8 * CHUNK,     // without
        8 * CHUNK + 1, // a second byte of bitmap
    ];
    let network = Network::builder().peer("seed").peer("ann").start().await;
    let (seed, ann) = (network.peer("seed"), network.peer("ann"));
    for len in lengths {
        let content = Content::of(payload(len, len));
        let original = seed.path(&format!("original {len}"));
        content.write(&original).await;
        let shared =
            within("a file is shared", SOON, seed.share(&original)).await.expect("readable");
        assert_eq!((shared.hash(), shared.size()), (content.hash(), len));
        let copy = ann.path(&format!("copy {len}"));
        let mut download = ann.download(shared, &copy).await.expect("it begins");
        let what = format!("{len} bytes arrive");
        let summary = within(&what, SOON, download.finished()).await;
        let summary = summary.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(summary.bytes_total, len);
        content.is_at(&copy).await;
        network.coordinator_counts(content.hash(), 2, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_smallest_and_the_largest_chunks_arrive() {
    let network = Network::builder().peer("ann").peer("bob").start().await;
    let chunk_size = |bytes| ChunkSize::new(bytes).expect("a power of two in range");
    let small = Content::chunked(payload(100 * 16 * 1024 + 1, 1), chunk_size(16 * 1024));
    let large =
        Content::chunked(payload(3 * 16 * 1024 * 1024 + 1, 2), chunk_size(16 * 1024 * 1024));
    let _seeds = (network.raw_seed(&small).await, network.raw_seed(&large).await);
    tokio::join!(network.peer("ann").fetches(&small), network.peer("bob").fetches(&large));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_content_in_two_chunk_sizes_is_two_swarms_that_do_not_disturb_each_other() {
    let network = Network::builder().peer("ann").peer("bob").start().await;
    let chunk_size = |bytes| ChunkSize::new(bytes).expect("a power of two in range");
    let fine = Content::chunked(payload(80 * CHUNK + 1, 3), chunk_size(16 * 1024));
    let coarse = Content::chunked(payload(80 * CHUNK + 1, 3), chunk_size(256 * 1024));
    assert_eq!(fine.hash(), coarse.hash());
    let _seeds = (network.raw_seed(&fine).await, network.raw_seed(&coarse).await);
    tokio::join!(network.peer("ann").fetches(&fine), network.peer("bob").fetches(&coarse));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_source_does_not_keep_all_chunk_sizes_of_a_file_from_others() {
    let network = Network::builder().peer("seed").peer("ann").start().await;
    let (seed, payload) = (network.peer("seed"), payload(80 * CHUNK + 1, 4));
    let cut = |kib: u32| {
        Content::chunked(payload, ChunkSize::new(kib * 1024).expect("a power of two in range"))
    };
    seed.shares(&cut(64)).await;
    let mut callers = Vec::new();
    for kib in [16, 32, 128, 256] {
        let stranger = RawClient::call_from([127, 0, 0, 2].into(), seed.local_addr()).await;
        let mut caller = stranger.expect("it accepts").handshake(SOON).await;
        caller.opens(&cut(kib), SOON).await;
        callers.push(caller);
    }
    network.peer("ann").fetches(&cut(512)).await;
}

/// A few chunks of 4 MiB more than 32 bits count.
const HUGE: Payload = Payload::Sparse { len: (1 << 32) + (9 << 20) + 1 };

/// For the test that has the time.
const FIVE_GIB: Payload = Payload::Sparse { len: 5 << 30 };

/// Reading, hashing, writing and comparing 5 GiB takes seconds where nothing else runs.
const LIMIT: Duration = Duration::from_secs(120);

/// Shares a huge file, and describes it as its seed does: it does not fit into memory here.
async fn share_huge(seed: &Node, payload: Payload) -> Content {
    let original = seed.path("original");
    payload.write(&original).expect("a hole takes no space");
    let info = within("the file is scanned", LIMIT, seed.share(&original)).await.expect("readable");
    Content::described(payload, info)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_beyond_32_bits_of_offset_arrive_where_they_belong() {
    let network = Network::builder().peer("seed").peer("ann").start().await;
    let content = share_huge(network.peer("seed"), HUGE).await;
    let ann = network.peer("ann");
    // An earlier attempt has left almost all of it; no chunk is a hole. What is wrong has to be
    // found and fetched.
    let partial = File::create_new(ann.path("copy.partial")).expect("writable");
    partial.set_len(HUGE.len()).expect("a hole takes no space");
    for chunk in content.info().geometry().chunks() {
        partial.write_all_at(&[0], content.info().geometry().offset(chunk)).expect("writable");
    }
    let boundary = 1 << 32;
    let mut wrong = 0;
    for offset in [0, boundary - 1, boundary, HUGE.len() - 1] {
        partial.write_all_at(b"!", offset).expect("writable");
        let mut chunks = content.info().geometry().chunks();
        let chunk = chunks.find(|chunk| content.info().geometry().range(*chunk).contains(&offset));
        wrong += u64::from(content.info().geometry().chunk_len(chunk.expect("inside of the file")));
    }
    drop(partial);
    let fetched = ann.fetches_within(&content, LIMIT).await;
    assert_eq!(fetched.summary.bytes_resumed, HUGE.len() - wrong);
    assert_eq!(fetched.summary.traffic.bytes_received, wrong);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes 5 GiB to disk, which takes most of a minute; run with --ignored"]
async fn a_sparse_file_of_5_gib_arrives_over_the_network() {
    let network = Network::builder().peer("seed").peer("ann").start().await;
    let content = share_huge(network.peer("seed"), FIVE_GIB).await;
    let fetched = network.peer("ann").fetches_within(&content, LIMIT).await;
    assert_eq!(fetched.summary.bytes_total, FIVE_GIB.len());
    assert_eq!(fetched.summary.traffic.bytes_received, FIVE_GIB.len());
}

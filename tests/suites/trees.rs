//! Directories as one content: exactly right on every machine, one swarm, and what changes at a
//! seed concerns the chunks of what changed.

use std::fs;

use tnet_peer::store::tree::TreeScanOptions;
use tnet_peer::{DownloadOptions, Explain, SharedTree, TreeError};
use tnet_testkit::{Network, Node, SOON, Tree, eventually, is, within};

async fn shares(seed: &Node, tree: &Tree) -> SharedTree {
    let root = seed.path("tree");
    tree.write(&root);
    let shared = seed.share_tree(&root, TreeScanOptions::default()).await;
    shared.unwrap_or_else(|error| panic!("{} shares a tree: {error}", seed.name()))
}

async fn gets(peer: &Node, shared: &SharedTree, tree: &Tree) {
    let out = peer.path("out");
    let begun = peer.download_tree(shared.tree, &out, DownloadOptions::default()).await;
    let mut download = begun.unwrap_or_else(|error| panic!("{} begins: {error}", peer.name()));
    let finished = within("a tree is fetched", SOON, download.finished()).await;
    let summary = finished.unwrap_or_else(|error| panic!("{} fetches: {error}", peer.name()));
    assert_eq!(summary.bytes_total, tree.size());
    tree.is_at(&out);
    let left: Vec<_> = fs::read_dir(peer.dir())
        .expect("there")
        .map(|entry| entry.expect("readable").file_name())
        .filter(|name| name.as_encoded_bytes().windows(7).any(|part| part == b"partial"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tree_is_the_same_on_every_machine_and_goes_on_without_its_seed() {
    let mut network =
        Network::builder().peer("seed").peer("ann").peer("bob").peer("cid").start().await;
    let tree = Tree::usual(1);
    let shared = shares(network.peer("seed"), &tree).await;
    let (ann, bob) = (network.peer("ann"), network.peer("bob"));
    tokio::join!(gets(ann, &shared, &tree), gets(bob, &shared, &tree));
    network.stop("seed").await;
    gets(network.peer("cid"), &shared, &tree).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trees_without_bytes_are_trees() {
    let network = Network::builder().peer("seed").peer("ann").start().await;
    let mut tree = Tree::default();
    tree.file("nothing", Vec::new());
    let shared = shares(network.peer("seed"), &tree).await;
    gets(network.peer("ann"), &shared, &tree).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_is_there_already_is_refused_unless_it_is_that_tree() {
    let network = Network::builder().peer("seed").peer("ann").start().await;
    let (tree, ann) = (Tree::usual(2), network.peer("ann"));
    let shared = shares(network.peer("seed"), &tree).await;
    let mut other = tree.clone();
    other.remove("latest");
    other.write(&ann.path("out"));
    let begun = ann.download_tree(shared.tree, ann.path("out"), DownloadOptions::default()).await;
    let error = begun.expect_err("it is another one");
    assert!(matches!(error, TreeError::Download(_)), "{error}");
    assert!(error.hint().is_some());
    other.is_at(&ann.path("out"));
    fs::remove_dir_all(ann.path("out")).expect("ours");
    tree.write(&ann.path("out"));
    gets(ann, &shared, &tree).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_moves_only_what_changed_and_is_served_by_who_updated() {
    let mut network = Network::builder().peer("seed").peer("ann").peer("bob").start().await;
    let (mut old, mut new) = (Tree::usual(4), Tree::usual(4));
    let bytes = |number: u8, size| vec![number; size];
    for number in 0..40 {
        let path = format!("shards/m{number:02}");
        old.file(&path, [bytes(number, 100_000), bytes(100, 100_000)].concat());
        // One in ten is another, one has another name.
        match number {
            0 | 10 | 20 | 30 => new.file(&path, bytes(200 + number, 100_000)),
            39 => new.file("renamed", [bytes(number, 100_000), bytes(100, 100_000)].concat()),
            _ => new.file(&path, [bytes(number, 100_000), bytes(100, 100_000)].concat()),
        }
    }
    let shared = shares(network.peer("seed"), &new).await;
    let chunk = u64::from(shared.payload.geometry().chunk_size().get());
    let update = DownloadOptions { update: true, ..DownloadOptions::default() };
    let ann = network.peer("ann");
    old.write(&ann.path("out"));
    let begun = ann.download_tree(shared.tree, ann.path("out"), update).await;
    let mut download = begun.unwrap_or_else(|error| panic!("ann begins: {error}"));
    let finished = within("a tree is updated", SOON, download.finished()).await;
    let summary = finished.unwrap_or_else(|error| panic!("ann updates: {error}"));
    new.is_at(&ann.path("out"));
    // Each changed file, and the chunks at its ends.
    let most = 4 * (100_000 + 2 * chunk);
    let received = summary.traffic.bytes_received;
    assert!((400_000..=most).contains(&received), "{received} bytes arrived, not {most}");
    assert_eq!(summary.bytes_resumed + received, shared.payload.size());
    network.stop("seed").await;
    gets(network.peer("bob"), &shared, &new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seed_whose_file_changed_serves_the_rest_and_all_of_it_when_it_is_back() {
    let network = Network::builder().peer("seed").peer("ann").peer("bob").start().await;
    let (tree, seed, ann) = (Tree::usual(3), network.peer("seed"), network.peer("ann"));
    let shared = shares(seed, &tree).await;
    network.coordinator_counts(shared.payload.hash(), 1, 0).await;
    let changed = seed.path("tree/shards/1.bin");
    let before = fs::read(&changed).expect("there");
    fs::write(&changed, "something else").expect("writable");
    network.coordinator_counts(shared.payload.hash(), 0, 1).await;

    let out = ann.path("out");
    let begun = ann.download_tree(shared.tree, &out, DownloadOptions::default()).await;
    let mut download = begun.expect("some of it is there");
    let all = shared.payload.geometry().chunk_count();
    // The file is 300 000 bytes long.
    let without = 300_000_u32.div_ceil(shared.payload.geometry().chunk_size().get()) + 1;
    eventually("what did not change arrives", SOON, async || {
        is(download.progress().chunks_done + without >= all, true)
    })
    .await;
    assert!(!out.exists() && download.progress().chunks_done < all);

    fs::write(&changed, before).expect("writable");
    within("the rest arrives", SOON, download.finished()).await.expect("all of it is there");
    tree.is_at(&out);
    network.coordinator_counts(shared.payload.hash(), 2, 0).await;
}

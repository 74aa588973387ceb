//! What users change while a server runs: rates, pauses, priorities, and what it is to forget.

use std::time::Duration;

use serde_json::Value;
use tnet_peer::fileinfo::ChunkSize;
use tnet_peer::{Download, FileChange, LimitsChange};
use tnet_testkit::{Cli, Content, Network, SOON, eventually, is, payload, within};
use tokio::time::{Instant, sleep};

/// 128 chunks of 16 KiB.
const LEN: u64 = 2 * 1024 * 1024;

/// A rate at which that takes eight seconds.
const SLOW: u64 = LEN / 8;

/// A server of the user that shares `shared/a`.
async fn sharing(network: &Network, content: &Content) -> (Cli, tnet_testkit::Server) {
    let cli = network.user("ann");
    std::fs::create_dir(cli.path("shared")).expect("writable");
    content.write(&cli.path("shared/a")).await;
    let server = cli.server(["--dir", "shared", "--limit-up", "1G", "--max-peers", "50"]).await;
    network.coordinator_counts(content.hash(), 1, 0).await;
    (cli, server)
}

/// Some of it comes, and in two seconds no more than may.
async fn comes_slowly(download: &Download, began: Instant, chunk: u64) {
    let done = || download.progress().bytes_done;
    eventually("some of it is here", SOON, async || is(done() > 0, true)).await;
    sleep(Duration::from_secs(2).saturating_sub(began.elapsed())).await;
    let (done, seconds) = (done(), began.elapsed().as_secs_f64());
    // A tenth of a second that was not used, and the chunk that the rate let through last.
    let most = (seconds + 0.1) * SLOW as f64 + chunk as f64;
    assert!(done as f64 <= most, "{done} bytes in {seconds} s");
}

async fn file(cli: &Cli) -> Value {
    cli.run(["status", "--json"]).await.with_code(0).result()["status"]["files"][0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_set_while_it_runs_holds_and_is_shown() {
    let network = Network::builder().peer("bob").start().await;
    let content = Content::of(payload(LEN, 1));
    let (cli, _server) = sharing(&network, &content).await;
    let all = cli.run(["limit"]).await.with_code(0).stdout;
    assert_eq!(all, "the server: up 1 GiB/s, down no limit\n");
    let status = cli.run(["status", "--json"]).await.with_code(0).result();
    assert_eq!(status["status"]["bounds"]["connections"]["most"], 50);
    let said = cli
        .run(["limit", "shared/a", "--up", &SLOW.to_string(), "--json"])
        .await
        .with_code(0)
        .result();
    assert_eq!(said["limits"]["up"], SLOW);
    assert_eq!(file(&cli).await["limits"]["up"], SLOW);
    let began = Instant::now();
    let mut download = network.peer("bob").begins(&content).await;
    comes_slowly(&download, began, 16 * 1024).await;
    let _ = cli.run(["limit", "shared/a", "--up", "none"]).await.with_code(0);
    within("the rest comes at once", Duration::from_secs(5), download.finished())
        .await
        .expect("it is there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_holds_whatever_chunks_are_asked_for() {
    let network = Network::builder().peer("seed").peer("bob").start().await;
    let content = Content::of(payload(LEN, 7));
    let other =
        Content::chunked(payload(LEN, 7), ChunkSize::new(128 * 1024).expect("a power of two"));
    network.peer("seed").shares(&content).await;
    let change = FileChange::Limits(LimitsChange { up: Some(SLOW), down: None });
    assert!(network.peer("seed").update_file(content.hash(), change).await.expect("it runs"));
    network.coordinator_counts(content.hash(), 1, 0).await;
    let began = Instant::now();
    let download = network.peer("bob").begins(&other).await;
    comes_slowly(&download, began, 128 * 1024).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_file_is_not_here_until_it_is_resumed() {
    let network = Network::builder().peer("bob").start().await;
    let content = Content::of(payload(LEN, 2));
    let (cli, _server) = sharing(&network, &content).await;
    let _ = cli.run(["pause", &content.hash().to_string()[..8]]).await.with_code(0);
    network.coordinator_counts(content.hash(), 0, 0).await;
    assert_eq!(file(&cli).await["paused"], true);
    let mut download = network.peer("bob").begins(&content).await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(download.progress().bytes_done, 0);
    let _ = cli.run(["resume", "shared/a"]).await.with_code(0);
    within("it comes after all", SOON, download.finished()).await.expect("it is there");
    network.coordinator_counts(content.hash(), 2, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_download_stands_still_and_gives_up_never() {
    let network = Network::builder().peer("seed").start().await;
    let content = Content::of(payload(LEN, 3));
    network.peer("seed").shares(&content).await;
    network.peer("seed").limit(LimitsChange { up: Some(SLOW), down: None }).await.expect("it runs");
    network.coordinator_counts(content.hash(), 1, 0).await;
    let cli = network.user_with_info("ann", &content);
    let _server = cli.server::<&str>([]).await;
    let got = cli.start(["get", "a.fileinfo", "-o", "a", "--timeout", "4s", "--json"]);
    eventually("some of it is here", SOON, async || {
        is(file(&cli).await["chunks_done"].as_u64() > Some(0), true)
    })
    .await;
    let _ = cli.run(["pause", "a"]).await.with_code(0);
    sleep(Duration::from_millis(300)).await;
    let before = file(&cli).await;
    // Longer than its patience.
    sleep(Duration::from_secs(5)).await;
    let after = file(&cli).await;
    assert_eq!(after["chunks_done"], before["chunks_done"]);
    assert_eq!(after["download"]["phase"], "paused");
    network.peer("seed").limit(LimitsChange { up: Some(0), down: None }).await.expect("it runs");
    let _ = cli.run(["resume", "a"]).await.with_code(0);
    let _ = got.ends(SOON).await.with_code(0);
    content.is_at(&cli.path("a")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_file_is_forgotten_and_stays_on_the_disk() {
    let network = Network::builder().peer("bob").start().await;
    let content = Content::of(payload(LEN, 4));
    let (cli, _server) = sharing(&network, &content).await;
    let _ = cli.run(["rm", "shared/a"]).await.with_code(0);
    network.coordinator_counts(content.hash(), 0, 0).await;
    assert_eq!(file(&cli).await, Value::Null);
    content.is_at(&cli.path("shared/a")).await;
    // It is not taken up again when the directory is looked at.
    sleep(Duration::from_secs(3)).await;
    assert_eq!(file(&cli).await, Value::Null);
    for args in [["rm", "shared/a"], ["pause", "deadbeef"], ["resume", "b"], ["limit", "b"]] {
        let refused = cli.run(args).await.with_code(3);
        assert!(refused.stderr.contains("tnet ls"), "{}", refused.stderr);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_download_that_comes_first_overtakes_the_other() {
    let network = Network::builder().peer("seed").peer("ann").start().await;
    let (first, second) = (Content::of(payload(LEN, 5)), Content::of(payload(LEN, 6)));
    network.peer("seed").shares_as(&first, "first").await;
    network.peer("seed").shares_as(&second, "second").await;
    let ann = network.peer("ann");
    ann.limit(LimitsChange { up: None, down: Some(LEN / 2) }).await.expect("it runs");
    let dir = network.peer("ann").path("");
    let slow = ann.download(first.info().clone(), dir.join("first.copy")).await.expect("it begins");
    let mut quick =
        ann.download(second.info().clone(), dir.join("second.copy")).await.expect("it begins");
    quick.update(FileChange::Priority { level: tnet_peer::Priority::High }).await;
    let began = Instant::now();
    within("the urgent one", SOON, quick.finished()).await.expect("it is there");
    let other = slow.progress().bytes_done;
    assert!(other < LEN / 2, "{other} bytes of the other after {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_is_removed_ends_and_so_do_the_others_that_are_named() {
    let network = Network::builder().peer("seed").start().await;
    let (first, second) = (Content::of(payload(LEN, 7)), Content::of(payload(LEN, 8)));
    network.peer("seed").shares_as(&first, "first").await;
    network.peer("seed").shares_as(&second, "second").await;
    network.peer("seed").limit(LimitsChange { up: Some(SLOW), down: None }).await.expect("it runs");
    let cli = network.user("ann");
    first.write_info(&cli.path("1.fileinfo"));
    second.write_info(&cli.path("2.fileinfo"));
    let _server = cli.server::<&str>([]).await;
    let getting = [
        cli.start(["get", "1.fileinfo", "-o", "one"]),
        cli.start(["get", "2.fileinfo", "-o", "two"]),
    ];
    eventually("both run", SOON, async || {
        let listed = cli.run(["ls", "--json"]).await.json_lines();
        is(listed.iter().filter(|event| event["event"] == "file").count(), 2)
    })
    .await;
    let removed = cli.run(["rm", "one", "not-there", "two", "one"]).await.with_code(3);
    assert!(
        removed.stderr.contains("one.partial") && removed.stderr.contains("two.partial"),
        "{removed:?}"
    );
    assert!(removed.stderr.contains("1 of 4 files failed"), "{}", removed.stderr);
    for get in getting {
        let _ = get.ends(SOON).await.with_code(7);
    }
    assert!(cli.path("one.partial").exists() && cli.path("two.partial").exists());
    assert!(cli.run(["ls"]).await.with_code(0).stdout.is_empty());
}

//! `tnet get` as it happens to people: with a server and without, interrupted, killed, and run
//! again.

use std::time::Duration;

use tnet_testkit::{
    Cli, Content, Finished, Network, Payload, RawPeer, Running, SOON, eventually, get_args, payload,
};

/// 40 chunks of 16 KiB: more than are ever under way at once.
const LEN: u64 = 40 * 16 * 1024;

/// A download in its own process, which ends as soon as the file is whole.
const FOREGROUND: [&str; 10] = [
    "get",
    "a.fileinfo",
    "-o",
    "a",
    "--foreground",
    "--linger",
    "0s",
    "--json",
    "--listen",
    "127.0.0.1:0",
];

/// A download through the server.
const BY_SERVER: [&str; 7] = ["get", "a.fileinfo", "-o", "a", "--json", "--listen", "127.0.0.1:0"];

/// A user, a content of which the user has the description, and a seed that gives ten chunks of it
/// and is busy then.
struct Middle {
    network: Network,
    content: Content,
    seed: RawPeer,
    cli: Cli,
}

impl Middle {
    async fn of(payload: Payload) -> Middle {
        let network = Network::builder().start().await;
        let content = Content::of(payload);
        let seed = network.raw(content.raw_peer().allowing(10)).await;
        let cli = network.user_with_info("ann", &content);
        Middle { network, content, seed, cli }
    }

    /// Starts a download, which has all of the ten chunks when this returns.
    async fn begins(&self, get: &[&str]) -> Running {
        let mut running = self.cli.start(get);
        has_stored(&mut running, 10).await;
        running
    }

    /// The seed gives the rest, and the download goes on where it was; the file is right, and no
    /// chunk came twice.
    async fn goes_on(&self) {
        self.seed.allow_all().await;
        self.is_complete(self.cli.run(FOREGROUND).await).await;
    }

    async fn is_complete(&self, finished: Finished) {
        let report = finished.with_code(0).result();
        assert_eq!(report["bytes_resumed"], 10 * 16 * 1024);
        self.content.is_at(&self.cli.path("a")).await;
        let served = self.seed.counters().served;
        assert!(served.len() == 40 && served.values().all(|times| *times == 1), "{served:?}");
    }
}

/// Waits until the command says that so many chunks are stored.
async fn has_stored(running: &mut Running, chunks: u64) {
    let what = format!("{chunks} chunks are stored");
    running
        .prints(&what, SOON, |text| {
            let events = text
                .lines()
                .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            events
                .filter_map(|event| event["chunks_done"].as_u64())
                .any(|done| done == chunks)
                .then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_foreground_the_file_is_there_when_the_command_ends() {
    let network = Network::builder().peer("seed").start().await;
    let content = Content::of(payload(LEN, 1));
    network.peer("seed").shares(&content).await;
    let cli = network.user_with_info("ann", &content);
    let report = cli.run(FOREGROUND).await.with_code(0).result();
    assert_eq!(
        (&report["ok"], &report["bytes_total"], &report["bytes_resumed"]),
        (&true.into(), &LEN.into(), &0.into())
    );
    content.is_at(&cli.path("a")).await;
    assert!(!cli.path("a.partial").exists());
    // Again: it is there, so nothing has to be done, not even asked.
    network.cable().cut();
    let report = cli.run(FOREGROUND).await.with_code(0).result();
    assert_eq!(report["already_complete"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bare_hash_makes_a_file_of_that_name() {
    let network = Network::builder().peer("seed").start().await;
    let content = Content::of(payload(LEN, 2));
    network.peer("seed").shares(&content).await;
    network.coordinator_counts(content.hash(), 1, 0).await;
    let cli = network.user("ann");
    let hash = content.hash().to_string();
    let get = ["get", &hash, "--foreground", "--linger", "0s", "--listen", "127.0.0.1:0"];
    let _ = cli.run(get).await.with_code(0);
    content.is_at(&cli.path(&hash)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_server_one_is_started_and_goes_on_seeding() {
    let network = Network::builder().peer("bob").start().await;
    let content = Content::of(payload(LEN, 3));
    let seed = network.raw_seed(&content).await;
    let cli = network.user_with_info("ann", &content);
    let got = cli.run(BY_SERVER).await;
    let started =
        got.json_lines().into_iter().find(|event| event["event"] == "started").expect("it started");
    let server = cli.guard(started["pid"].as_u64());
    let _ = got.with_code(0);
    content.is_at(&cli.path("a")).await;

    drop(seed);
    network.coordinator_counts(content.hash(), 1, 0).await;
    network.peer("bob").fetches(&content).await;

    let files = cli.run(["ls"]).await.with_code(0).stdout;
    assert!(files.starts_with(&content.hash().to_string()) && files.contains("whole"), "{files}");
    let status = cli.run(["status", "--json"]).await.with_code(0).result();
    assert_eq!(status["pid"], server.pid());
    assert_eq!(status["status"]["files"][0]["hash"], content.hash().to_string());
    let second = cli.run(["start-server", "--listen", "127.0.0.1:0"]).await.with_code(9);
    assert!(second.stderr.contains("kill-server"), "{}", second.stderr);
    let _ = cli.run(["kill-server"]).await.with_code(0);
    assert!(!server.is_running(), "it waits for the end");
    let _ = cli.run(["ls"]).await.with_code(3);
    network.coordinator_counts(content.hash(), 1, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_shares_what_is_put_into_its_directory() {
    let network = Network::builder().peer("bob").start().await;
    let cli = network.user("ann");
    std::fs::create_dir(cli.path("shared")).expect("writable");
    let (before, after) = (Content::of(payload(LEN, 4)), Content::of(payload(LEN, 5)));
    before.write(&cli.path("shared/before")).await;
    let _server = cli.server(["--dir", "shared"]).await;
    network.coordinator_counts(before.hash(), 1, 0).await;
    after.write(&cli.path("shared/after")).await;
    network.coordinator_counts(after.hash(), 1, 0).await;
    network.peer("bob").fetches(&after).await;
    std::fs::remove_file(cli.path("shared/before")).expect("it is there");
    network.coordinator_counts(before.hash(), 0, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_is_130_and_the_same_command_goes_on_where_it_was() {
    let middle = Middle::of(payload(LEN, 6)).await;
    let first = middle.begins(&FOREGROUND).await;
    first.interrupt();
    let first = first.ends(SOON).await.with_code(130);
    assert!(
        first.stderr.contains("continue with: ") && first.stderr.contains("get a.fileinfo"),
        "{}",
        first.stderr
    );
    assert_eq!(first.result()["error"]["exit_code"], 130);
    assert!(!middle.cli.path("a").exists() && middle.cli.path("a.partial").exists());
    middle.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_is_like_ctrl_c() {
    let middle = Middle::of(payload(LEN, 7)).await;
    let running = middle.begins(&FOREGROUND).await;
    running.terminate();
    let _ = running.ends(SOON).await.with_code(130);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_while_it_lingers_ends_it_with_success() {
    let network = Network::builder().peer("bob").start().await;
    let content = Content::of(payload(LEN, 8));
    let seed = network.raw_seed(&content).await;
    let cli = network.user_with_info("ann", &content);
    let lingering = get_args("a.fileinfo", &["--linger", "10m"]);
    let running = cli.start(lingering);
    eventually("the file is there", SOON, async || {
        if cli.path("a").exists() { Ok(()) } else { Err(running.stderr()) }
    })
    .await;
    drop(seed);
    network.coordinator_counts(content.hash(), 1, 0).await;
    network.peer("bob").fetches(&content).await;
    running.terminate();
    let _ = running.ends(SOON).await.with_code(0);
    content.is_at(&cli.path("a")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_kill_9_nothing_that_was_stored_is_fetched_again() {
    let middle = Middle::of(payload(LEN, 9)).await;
    let first = middle.begins(&FOREGROUND).await;
    first.kill();
    let first = first.ends(SOON).await;
    assert_eq!(first.signal, Some(9));
    assert!(!middle.cli.path("a").exists());
    middle.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_leaves_a_download_that_another_one_completes() {
    let middle = Middle::of(payload(LEN, 11)).await;
    let cli = &middle.cli;
    let server = cli.server::<&str>([]).await;
    let first = middle.begins(&BY_SERVER).await;
    server.kill();
    let first = first.ends(SOON).await.with_code(7);
    assert!(first.stderr.contains("run the same command again"), "{}", first.stderr);
    middle.seed.allow_all().await;
    // Its socket is still there and does not answer: that must not stop the next one.
    let got = cli.run(BY_SERVER).await;
    let started =
        got.json_lines().into_iter().find(|event| event["event"] == "started").expect("it started");
    let _server = cli.guard(started["pid"].as_u64());
    middle.is_complete(got).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_that_stops_does_not_stop_the_server() {
    let middle = Middle::of(payload(LEN, 12)).await;
    let _server = middle.cli.server::<&str>([]).await;
    let watching = middle.begins(&BY_SERVER).await;
    watching.interrupt();
    let watching = watching.ends(SOON).await.with_code(130);
    assert!(watching.stderr.contains("goes on"), "{}", watching.stderr);
    middle.seed.allow_all().await;
    middle.network.coordinator_counts(middle.content.hash(), 2, 0).await;
    middle.content.is_at(&middle.cli.path("a")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_server_in_the_middle_of_a_download_keeps_what_came() {
    let middle = Middle::of(payload(LEN, 13)).await;
    let server = middle.cli.server::<&str>([]).await;
    let watching = middle.begins(&BY_SERVER).await;
    let _ = middle.cli.run(["kill-server"]).await.with_code(0);
    assert!(!server.is_running());
    let _ = watching.ends(Duration::from_secs(5)).await.with_code(7);
    middle.goes_on().await;
}

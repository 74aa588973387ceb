//! A download that stalls tells its user why within ten seconds, on a pipe and in events, and
//! `status` says the same.

use std::time::Duration;

use serde_json::Value;
use tnet_testkit::{Behaviour, Cli, Content, Network, SOON, eventually, payload};

const LEN: u64 = 40 * 16 * 1024;

const GET: [&str; 9] =
    ["get", "a.fileinfo", "-o", "a", "--foreground", "--linger", "0s", "--listen", "127.0.0.1:0"];

/// The promise.
const PROMPTLY: Duration = Duration::from_secs(10);

/// Downloads until it is told what the download waits for, once with lines and once with events.
async fn is_told(cli: &Cli, what: &str, words: &str) {
    let mut events = cli.start(GET.iter().chain(&["--json"]));
    let waiting = |text: &str| {
        let mut events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.find(|event| event["waiting"]["what"] == what)
    };
    let event = events.prints(&format!("an event: {what}"), PROMPTLY, waiting).await;
    assert!(event["waiting_text"].as_str().is_some_and(|text| text.contains(words)), "{event}");
    events.interrupt();
    events.ends(SOON).await.with_code(130);
    let lines = cli.start(GET);
    eventually("a line that says it", PROMPTLY, async || {
        let text = lines.stderr();
        let is_said = text.lines().any(|line| line.contains("waiting: ") && line.contains(words));
        if is_said { Ok(()) } else { Err(text) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_has_the_file() {
    let network = Network::builder().start().await;
    let content = Content::of(payload(LEN, 1));
    is_told(&network.user_with_info("ann", &content), "holder", "no peer has the file").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_has_some_chunks() {
    let network = Network::builder().start().await;
    let content = Content::of(payload(LEN, 2));
    let _some = network.raw(content.raw_peer().holding(content.chunks(0..35))).await;
    is_told(
        &network.user_with_info("ann", &content),
        "holder_of_chunks",
        "no peer has 5 of the missing chunks",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_coordinator_does_not_answer() {
    let network = Network::builder().start().await;
    network.cable().cut();
    let content = Content::of(payload(LEN, 3));
    is_told(
        &network.user_with_info("ann", &content),
        "coordinator",
        "the coordinator cannot be asked",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_is_busy() {
    let network = Network::builder().start().await;
    let content = Content::of(payload(LEN, 4));
    let _busy = network.raw(content.raw_peer().allowing(2)).await;
    is_told(&network.user_with_info("ann", &content), "busy_peers", "busy").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_requested_chunk_arrives() {
    let network = Network::builder().start().await;
    let content = Content::of(payload(LEN, 5));
    let _silent = network.raw(content.raw_peer().behaving(Behaviour::NeverSends)).await;
    is_told(&network.user_with_info("ann", &content), "answers", "send nothing").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_says_what_a_download_of_the_server_waits_for() {
    let network = Network::builder().start().await;
    let content = Content::of(payload(LEN, 6));
    let _some = network.raw(content.raw_peer().holding(content.chunks(0..35))).await;
    let cli = network.user_with_info("ann", &content);
    let _server = cli.server(Vec::<&str>::new()).await;
    let _watching = cli.start(["get", "a.fileinfo", "-o", "a"]);
    eventually("status says it", SOON, async || {
        let said = cli.run(["status"]).await.with_code(0).stdout;
        if said.contains("no peer has 5 of the missing chunks") { Ok(()) } else { Err(said) }
    })
    .await;
    let status = cli.run(["status", "--json"]).await.with_code(0).result();
    let waiting = &status["status"]["files"][0]["download"]["waiting"];
    assert_eq!(
        (&waiting["what"], &waiting["chunks"]),
        (&"holder_of_chunks".into(), &5.into()),
        "{status}"
    );
}

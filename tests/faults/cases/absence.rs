//! Seeds that change or go away, and coordinators that are not there.

use std::fs::OpenOptions;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::Value;
use tnet_testkit::{Content, Network, Running, SOON, eventually, get_args, payload, stored};

use crate::support::case::cases;
use crate::support::machine::chunks_done;
use crate::support::service::Service;

cases![
    21 "a file is truncated and rewritten while it is seeded" a_seed_whose_file_changes_stays_up_and_tells;
    45 "the only seed dies half-way and comes back" chunks_without_a_holder_are_counted_kept_and_fetched_later;
    49 "the coordinator is gone after its first answer" without_a_coordinator_all_peers_still_finish;
    50 "no coordinator at the start" without_any_coordinator_the_wait_is_bounded .lasts(30);
];

/// 40 chunks of 16 KiB.
const LEN: u64 = 40 * 16 * 1024;

const GET: [&str; 9] =
    ["get", "a.fileinfo", "-o", "a", "--foreground", "--linger", "0s", "--listen", "127.0.0.1:0"];

async fn a_seed_whose_file_changes_stays_up_and_tells() -> String {
    let network = Network::builder().start().await;
    let content = Content::of(payload(16 * LEN, 21));
    let seed = network.user("seed");
    std::fs::create_dir(seed.path("shared")).expect("writable");
    let path = seed.path("shared/file");
    content.write(&path).await;
    let mut server = Service::peer(&seed, &["--dir", "shared"]).await;
    network.coordinator_counts(content.hash(), 1, 0).await;
    let honest = network.raw(content.raw_peer().allowing(0)).await;
    let ann = network.user_with_info("ann", &content);
    let running = ann.start(GET);
    // Shorter and longer, over and over, while it is sent.
    let file = OpenOptions::new().write(true).open(&path).expect("writable");
    let mut changes = 0;
    for round in 0..60_u64 {
        file.set_len(16 * LEN * (round % 7) / 7).expect("writable");
        file.set_len(16 * LEN).expect("writable");
        changes += 2;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    honest.allow_all().await;
    running.ends(SOON).await.with_code(0);
    content.is_at(&ann.path("a")).await;
    assert!(server.running.is_running(), "{}", server.running.stderr());
    let own = server.address.port();
    let is_gone = async || {
        let holders = tnet_testkit::holders(network.coordinator(), content.hash()).await.holders;
        if holders.iter().any(|holder| holder.address.port() == own) {
            Err(holders)
        } else {
            Ok(())
        }
    };
    eventually("the file is not reported any more", Duration::from_secs(30), is_gone).await;
    format!("{changes} changes while it was sent: 0 crashes, reported gone, the copy is right")
}

/// Every event of a command so far.
fn events(text: &str) -> Vec<Value> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Waits until the command says that it waits, and for what. Returns how long that took.
async fn says_it_waits(running: &mut Running, what: &str) -> (Duration, Value) {
    let began = Instant::now();
    let find = |text: &str| {
        let waiting =
            |event: Value| (event["waiting"]["what"] == what).then(|| event["waiting"].clone());
        events(text).into_iter().find_map(waiting)
    };
    let waiting =
        running.prints(&format!("that it waits: {what}"), Duration::from_secs(15), find).await;
    (began.elapsed(), waiting)
}

async fn chunks_without_a_holder_are_counted_kept_and_fetched_later() -> String {
    let network = Network::builder().start().await;
    let content = Content::of(payload(LEN, 45));
    let seed = network.raw(content.raw_peer().allowing(20)).await;
    // A peer that stays, and has none of what is missing.
    let _other = network.raw(content.raw_peer().holding(content.chunks(0..3))).await;
    let ann = network.user_with_info("ann", &content);
    let mut running = ann.start(GET.iter().chain(&["--json", "--timeout", "8s"]));
    seed.counters_are("half is sent", SOON, |counters| counters.served_in_all() == 20).await;
    // What is on its way when a seed dies may be lost.
    eventually("half is there", SOON, async || match chunks_done(&running) {
        20.. => Ok(()),
        fewer => Err(fewer),
    })
    .await;
    drop(seed);
    let (told_after, waiting) = says_it_waits(&mut running, "holder_of_chunks").await;
    assert!(told_after < Duration::from_secs(10), "told only after {told_after:?}");
    let missing = waiting["chunks"].as_u64().expect("a number");
    assert!((17..=20).contains(&missing), "{waiting}");
    let given_up = running.ends(SOON).await.with_code(7);
    assert!(given_up.result()["error"].to_string().contains("chunk"), "{}", given_up.stdout);
    assert!(!ann.path("a").exists() && ann.path("a.partial").exists());
    let back = network.raw_seed(&content).await;
    let finished = ann.start(GET.iter().chain(&["--json"])).ends(SOON).await.with_code(0);
    content.is_at(&ann.path("a")).await;
    let kept = finished.result()["bytes_resumed"].as_u64().expect("a number");
    assert_eq!(
        kept + u64::from(back.counters().served_in_all()) * 16 * 1024,
        LEN,
        "nothing came twice"
    );
    format!(
        "told after {:.1} s: no peer has {missing} chunks; {kept} bytes kept, none fetched again",
        told_after.as_secs_f64()
    )
}

async fn without_a_coordinator_all_peers_still_finish() -> String {
    const PEERS: usize = 8;
    let mut network = Network::builder().peers("p", PEERS).start().await;
    let content = Content::of(payload(LEN, 49));
    let seed = network.raw(content.raw_peer().allowing(1)).await;
    let nodes: Vec<_> = network.peers().collect();
    let downloads = join_all(nodes.iter().map(|node| node.begins(&content))).await;
    // They find each other one by one; each has a neighbour when the coordinator goes for good.
    for download in &downloads {
        eventually("every peer has a neighbour", SOON, async || match download.progress().peers {
            0 => Err(download.progress()),
            _ => Ok(()),
        })
        .await;
    }
    let first = &downloads;
    eventually("one chunk is somewhere", SOON, async || {
        if first.iter().any(|download| download.progress().chunks_done > 0) {
            Ok(())
        } else {
            Err("none")
        }
    })
    .await;
    drop(nodes);
    network.kill_coordinator();
    seed.allow_all().await;
    let finishing = downloads.into_iter().zip(network.peers());
    let finished =
        join_all(finishing.map(|(download, node)| node.completes(download, &content, SOON))).await;
    format!("{} of {PEERS} finished", finished.len())
}

async fn without_any_coordinator_the_wait_is_bounded() -> String {
    let mut network = Network::builder().peer("quiet").start().await;
    let content = Content::of(payload(LEN, 50));
    let ann = network.user_with_info("ann", &content);
    network.kill_coordinator();
    let hash = content.hash().to_string();
    let mut slowest = Duration::ZERO;
    for wanted in ["a.fileinfo", &hash] {
        let began = Instant::now();
        let get = get_args(wanted, &["--timeout", "12s"]);
        let finished = ann.run_within(Duration::from_secs(40), get).await.with_code(5);
        let line =
            finished.stderr.lines().find(|line| line.starts_with("tnet: ")).unwrap_or_default();
        assert!(line.contains("did not answer") && line.contains("is it running"), "{line}");
        slowest = slowest.max(began.elapsed());
    }
    assert!(slowest < Duration::from_secs(30), "{slowest:?}");
    // A download that has begun is not given up for it.
    network.start_coordinator();
    let seed = network.raw(content.raw_peer().allowing(3)).await;
    let quiet = network.peer("quiet");
    let download = quiet.begins(&content).await;
    stored(&download, 3).await;
    network.cable().cut();
    seed.allow_all().await;
    quiet.completes(download, &content, SOON).await;
    format!("code 5 after at most {:.1} s, with what to check", slowest.as_secs_f64())
}

//! Connections that die without a word, hosts whose address changes, paths on which large packets
//! vanish, and processes that did not run for a while: what was said before goes on.

use std::net::Ipv4Addr;
use std::time::Duration;

use rustix::process::Signal;
use tnet_testkit::{Content, Running, SOON, eventually, payload};
use tokio::time::{Instant, sleep};

use crate::support::case::cases;
use crate::support::lan::Lan;
use crate::support::machine::{Machine, Serving, chunks_done, events};
use crate::support::needs::Need;

const MIB: u64 = 1024 * 1024;

/// A silent source is noticed after two progress windows and a probe, and its successor needs some
/// seconds to begin.
const CALLED_ANEW_WITHIN: Duration = Duration::from_secs(20);

cases![
    95 "the flow to the only seed dies silently" a_flow_that_died_silently_is_made_anew .needing(&[Need::Namespaces]) .lasts(25);
    96 "the only seed gets another address in the middle" a_seed_that_moves_goes_on_serving .needing(&[Need::Namespaces]) .lasts(20);
    97 "the receiver gets another address in the middle" a_receiver_that_moves_goes_on .needing(&[Need::Namespaces]) .lasts(25);
    98 "receiver and coordinator do not run (SIGSTOP) for longer than the time-out" time_that_did_not_run_counts_for_nothing .lasts(55);
    99 "large packets vanish on the way, without a word" a_path_for_small_packets_only_is_used_with_small_packets
        .needing(&[Need::Namespaces]) .lasts(12);
];

/// A slow seed on one side, a receiver on the other, in the middle of a download.
struct Pair {
    lan: Lan,
    _hub: Serving,
    _seed: Serving,
    get: Running,
}

const SEED: usize = 1;
const RECEIVER: usize = 2;

impl Pair {
    async fn new(content: &Content) -> Pair {
        let lan = Lan::new(2, 1);
        let hub = lan.machine(0).coordinates(Machine::COORDINATOR_PORT).await;
        // Its own address may change: it listens at any.
        let seed = lan.user(SEED, 0, Ipv4Addr::UNSPECIFIED.into(), lan.host(0).ip().into());
        let seed = seed.seeds_with(content, Machine::PEER_PORT, &["--limit-up", "1M"]).await;
        let receiver = lan.user(RECEIVER, 0, Ipv4Addr::UNSPECIFIED.into(), lan.host(0).ip().into());
        let get = receiver.gets(content, Machine::PEER_PORT, &["--linger", "0s"]);
        reaches(&get, 4, SOON).await;
        Pair { lan, _hub: hub, _seed: seed, get }
    }

    /// How long it stands still from now on, and until it is done; the content is right.
    async fn ends(self, content: &Content, stands_still_at_most: Duration) -> (f64, f64) {
        let (began, mut last) = (Instant::now(), chunks_done(&self.get));
        let (mut moved, mut longest) = (began, Duration::ZERO);
        eventually("it goes on to the end", stands_still_at_most + 3 * SOON, async || {
            let done = chunks_done(&self.get);
            if done > last {
                (last, moved) = (done, Instant::now());
            }
            longest = longest.max(moved.elapsed());
            let is_done = events(&self.get.stdout()).any(|event| event["event"] == "complete");
            if is_done { Ok(()) } else { Err((done, self.get.stderr())) }
        })
        .await;
        let _ = self.get.ends(SOON).await.with_code(0);
        assert!(longest < stands_still_at_most, "stood still for {longest:?}");
        content.is_at(&self.lan.machine(RECEIVER).cli().path("a")).await;
        (longest.as_secs_f64(), began.elapsed().as_secs_f64())
    }
}

async fn a_flow_that_died_silently_is_made_anew() -> String {
    let content = Content::of(payload(8 * MIB, 90));
    let pair = Pair::new(&content).await;
    pair.lan.host(SEED).drops_present_flows(Machine::PEER_PORT);
    let (still, took) = pair.ends(&content, CALLED_ANEW_WITHIN).await;
    format!("stood still for {still:.1} s, done {took:.1} s after the flow died")
}

async fn a_seed_that_moves_goes_on_serving() -> String {
    let content = Content::of(payload(8 * MIB, 91));
    let pair = Pair::new(&content).await;
    pair.lan.host(SEED).moves_to(Ipv4Addr::new(10, 77, 1, 91));
    // Three intervals and 5 s until it has called the coordinator again, and then the receiver
    // hears of it.
    let (still, took) = pair.ends(&content, Duration::from_secs(35) + CALLED_ANEW_WITHIN).await;
    format!("stood still for {still:.1} s, done {took:.1} s after the move")
}

async fn a_receiver_that_moves_goes_on() -> String {
    let content = Content::of(payload(8 * MIB, 92));
    let pair = Pair::new(&content).await;
    pair.lan.host(RECEIVER).moves_to(Ipv4Addr::new(10, 77, 1, 92));
    // What the old connection was to get keeps one of several slots of the seed for a minute.
    let (still, took) = pair.ends(&content, CALLED_ANEW_WITHIN + Duration::from_secs(5)).await;
    format!("stood still for {still:.1} s, done {took:.1} s after the move")
}

async fn time_that_did_not_run_counts_for_nothing() -> String {
    let (patience, pause) = (Duration::from_secs(8), Duration::from_secs(40));
    let content = Content::of(payload(8 * MIB, 93));
    let network = tnet_testkit::Network::builder().start().await;
    let hub = Machine::new(network.user("hub"), Ipv4Addr::LOCALHOST);
    let coordinator = hub.coordinates(0).await;
    let user = |name: &str| {
        let cli = network.user(name).with_coordinator(coordinator.address);
        Machine::new(cli, Ipv4Addr::LOCALHOST)
    };
    let _seed = user("seed").seeds_with(&content, 0, &["--limit-up", "1M"]).await;
    let get = user("ann").gets(&content, 0, &["--linger", "0s", "--timeout", "8s"]);
    reaches(&get, 4, SOON).await;
    for process in [&get, &coordinator.process] {
        process.signal(Signal::STOP);
    }
    sleep(pause).await;
    let left = u64::from(content.chunk_count()) - chunks_done(&get);
    for process in [&get, &coordinator.process] {
        process.signal(Signal::CONT);
    }
    let went_on = Instant::now();
    // At once: all entries are still there.
    user("bob").cli().run(["who", &content.hash().to_string()]).await.with_code(0);
    let _ = get.ends(3 * SOON).await.with_code(0);
    content.is_at(&user("ann").cli().path("a")).await;
    format!(
        "stopped for {} s with a time-out of {} s: the last {left} chunks came within {:.1} s, the coordinator had dropped no peer",
        pause.as_secs(),
        patience.as_secs(),
        went_on.elapsed().as_secs_f64()
    )
}

async fn a_path_for_small_packets_only_is_used_with_small_packets() -> String {
    let content = Content::of(payload(4 * MIB, 94));
    let lan = Lan::new(2, 1);
    lan.narrow_trunk(1400);
    let _hub = lan.machine(0).coordinates(Machine::COORDINATOR_PORT).await;
    let _seed = lan.machine(SEED).seeds(&content, Machine::PEER_PORT).await;
    let began = Instant::now();
    let get = lan.machine(RECEIVER).gets(&content, Machine::PEER_PORT, &["--linger", "0s"]);
    eventually("it says what is wrong", CALLED_ANEW_WITHIN, async || {
        let says = events(&get.stdout()).any(|event| event["large_packets_lost"] == true);
        if says { Ok(()) } else { Err(get.stderr()) }
    })
    .await;
    let said = began.elapsed().as_secs_f64();
    let _ = get.ends(2 * SOON).await.with_code(0);
    content.is_at(&lan.machine(RECEIVER).cli().path("a")).await;
    format!("said after {said:.1} s, whole after {:.1} s", began.elapsed().as_secs_f64())
}

async fn reaches(running: &Running, chunks: u64, within: Duration) {
    eventually("some chunks are stored", within, async || {
        let done = chunks_done(running);
        if done >= chunks { Ok(()) } else { Err((done, running.stderr())) }
    })
    .await;
}

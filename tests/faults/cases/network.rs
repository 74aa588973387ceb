//! Networks that split, reset, lose, lag, and machines that run out of what a network needs.

use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tnet_proto::PeerMessage;
use tnet_testkit::{
    Content, FakeReporter, Finished, Network, RawClient, Relay, Running, SOON, eventually, payload,
};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::support::case::cases;
use crate::support::flood::{Seen, Words, flood};
use crate::support::lan::Lan;
use crate::support::machine::{Machine, chunks_done, events};
use crate::support::needs::Need;
use crate::support::process::descriptors;
use crate::support::soak::at_length;

const MIB: u64 = 1024 * 1024;
const CHUNK: u64 = 32 * 1024;

/// Chunks under way at once at most: the cap on small ones.
const SLOTS: u64 = 24;

cases![
    32 "the network is in two halves for 10 s" two_halves_go_on_with_what_they_have_and_finish_together
        .needing(&[Need::Namespaces]) .lasts(20);
    34 "connections are reset in the middle of chunks, on and off" resets_cost_no_more_than_the_chunks_under_way
        .needing(&[Need::Namespaces]) .lasts(13);
    35 "1, 5, 10 % of all packets are lost" a_lossy_network_delivers .needing(&[Need::Namespaces]) .lasts(12);
    37 "a round trip of 50 ms to one of two seeds" a_long_round_trip_is_filled_with_more_requests .alone();
    38 "no descriptors left (64 in all from some moment on, a crowd takes them)"
        a_peer_without_descriptors_goes_on_and_recovers;
    38 "64 descriptors in all from the beginning, and a crowd" a_peer_that_knows_how_few_descriptors_there_are_goes_on;
    39 "the port is taken, or the address is not of this machine" an_unusable_address_is_reported;
];

async fn two_halves_go_on_with_what_they_have_and_finish_together() -> String {
    let outage = Duration::from_secs(at_length(10, 30));
    let content = Content::of(payload(12 * MIB, 32));
    let (calm, split) =
        tokio::join!(four_hosts(&content, None), four_hosts(&content, Some(outage)));
    let extra = split - calm - outage.as_secs_f64();
    assert!(extra < 2.0 * SOON.as_secs_f64(), "{calm} s without, {split} s with the outage");
    format!(
        "last of 3 done after {calm:.1} s without, {split:.1} s with the outage: {extra:.1} s more than the outage"
    )
}

/// Seconds until the last of three hosts has the file of a fourth; for a while two of them are cut
/// off.
async fn four_hosts(content: &Content, outage: Option<Duration>) -> f64 {
    let lan = Lan::new(2, 2);
    (0..4).for_each(|number| lan.limit(number, 24));
    let _hub = lan.machine(0).coordinates(Machine::COORDINATOR_PORT).await;
    let _seed = lan.machine(0).seeds(content, Machine::PEER_PORT).await;
    let get = |number: usize| lan.machine(number).gets(content, Machine::PEER_PORT, &[]);
    let [near, left, right] = [get(1), get(2), get(3)];
    if let Some(outage) = outage {
        for running in [&near, &left, &right] {
            reaches(running, u64::from(content.chunk_count()) / 8).await;
        }
        lan.cut_trunk();
        let cut = Instant::now();
        let before = chunks_done(&left).max(chunks_done(&right));
        eventually("the half with the seed has everything", outage, async || {
            let text = near.stdout();
            if events(&text).any(|event| event["event"] == "complete") {
                Ok(())
            } else {
                Err(chunks_done(&near))
            }
        })
        .await;
        // What one of the two has, the other gets.
        eventually("both of the other half have the same", outage, async || {
            let both = (chunks_done(&left), chunks_done(&right));
            if both.0 == both.1 && both.0 > before { Ok(()) } else { Err(both) }
        })
        .await;
        sleep_until(cut + outage).await;
        assert!(chunks_done(&left) < u64::from(content.chunk_count()), "the outage came too late");
        lan.mend_trunk();
    }
    let mut last: f64 = 0.0;
    for (running, number) in [near, left, right].into_iter().zip(1..) {
        last = last.max(seconds(&running.ends(4 * SOON).await.with_code(0)));
        content.is_at(&lan.machine(number).cli().path("a")).await;
    }
    last
}

async fn resets_cost_no_more_than_the_chunks_under_way() -> String {
    const RESETS: u64 = 5;
    let content = Content::of(payload(16 * MIB, 34));
    let (calm, broken) = tokio::join!(two_seeds(&content, 0), two_seeds(&content, RESETS));
    let again = broken.saturating_sub(calm);
    assert!(again <= RESETS * SLOTS * CHUNK, "{broken} bytes came, {calm} without resets");
    format!(
        "{RESETS} resets: {} KiB more on the wire than without, {:.2} chunks for each; {} KiB were allowed",
        again / 1024,
        again as f64 / CHUNK as f64 / RESETS as f64,
        RESETS * SLOTS * CHUNK / 1024,
    )
}

/// Bytes that came to a host that got the file of two seeds, which reset their connections in turn.
async fn two_seeds(content: &Content, resets: u64) -> u64 {
    // A port that is closed for a moment, which is long enough for something to be sent.
    const MOMENT: Duration = Duration::from_millis(300);
    let lan = Lan::new(3, 0);
    (0..2).for_each(|number| lan.limit(number, 12));
    let _hub = lan.machine(0).coordinates(Machine::COORDINATOR_PORT).await;
    let _seeds = (
        lan.machine(0).seeds(content, Machine::PEER_PORT).await,
        lan.machine(1).seeds(content, Machine::PEER_PORT).await,
    );
    let ann = lan.machine(2);
    let mut get = ann.gets(content, Machine::PEER_PORT, &["--linger", "0s"]);
    let before = lan.host(2).received();
    for (reset, number) in (1..=resets).zip([0, 1].into_iter().cycle()) {
        // All of them in the first half: this machine may do other things at the same time.
        reaches(&get, u64::from(content.chunk_count()) * reset / (2 * resets)).await;
        lan.host(number).resets(Machine::PEER_PORT);
        sleep(MOMENT).await;
        lan.host(number).passes();
        assert!(get.is_running(), "the last reset came too late");
    }
    let finished = get.ends(2 * SOON).await.with_code(0);
    let received = lan.host(2).received() - before;
    let traffic = &finished.result()["traffic"];
    assert_eq!(traffic["corrupt"], 0, "half a chunk is no lie");
    let retried = traffic["retried"].as_u64().expect("a result says what was asked for again");
    assert!(retried >= resets, "{resets} resets broke something: {traffic}");
    content.is_at(&ann.cli().path("a")).await;
    received
}

async fn a_lossy_network_delivers() -> String {
    const PERCENT: [u32; 4] = [0, 1, 5, 10];
    let content = Content::of(payload(2 * MIB, 35));
    let took = join_all(PERCENT.map(|percent| lossy(&content, percent))).await;
    let calm = took[0];
    assert!(took[PERCENT.len() - 1] > calm, "packets were lost: {took:?}");
    let shown = PERCENT
        .iter()
        .zip(&took)
        .skip(1)
        .map(|(percent, took)| format!("{percent} %: {:.2}", took / calm));
    let shown: Vec<String> = shown.collect();
    format!("times the duration without loss ({calm:.1} s): {}", shown.join(", "))
}

/// Seconds that a download from two seeds takes when every host loses so many packets of a hundred
/// that come to it.
async fn lossy(content: &Content, percent: u32) -> f64 {
    let lan = Lan::new(3, 0);
    lan.limit(2, 8);
    let _hub = lan.machine(0).coordinates(Machine::COORDINATOR_PORT).await;
    let _seeds = (
        lan.machine(0).seeds(content, Machine::PEER_PORT).await,
        lan.machine(1).seeds(content, Machine::PEER_PORT).await,
    );
    (0..3).filter(|_| percent > 0).for_each(|number| lan.host(number).loses(percent));
    let ann = lan.machine(2);
    let got = ann
        .gets(content, Machine::PEER_PORT, &["--linger", "0s"])
        .ends(4 * SOON)
        .await
        .with_code(0);
    content.is_at(&ann.cli().path("a")).await;
    seconds(&got)
}

async fn a_long_round_trip_is_filled_with_more_requests() -> String {
    const RATE: u32 = 8_000_000;
    let content = Content::of(payload(12 * MIB, 37));
    let [near, far] =
        [Duration::ZERO, Duration::from_millis(25)].map(|delay| used(&content, RATE, delay));
    let (near, far) = (near.await, far.await);
    assert!(far > 25.0, "{far} % of the links used with, {near} % without the delay");
    format!("{far:.0} % of both links used with 50 ms on one of them, {near:.0} % without")
}

/// How much of the links to two seeds a download uses, in percent, when one of them is so much
/// later in each direction.
async fn used(content: &Content, rate: u32, delay: Duration) -> f64 {
    let mut network = Network::builder().peer("ann").start().await;
    let near = distant_seed(&mut network, "near", content, rate).await;
    let far = distant_seed(&mut network, "far", content, rate).await;
    far.0.delay(delay);
    let fetched = network.peer("ann").fetches_within(content, 2 * SOON).await.summary;
    drop(near);
    100.0 * content.info().size() as f64 / (2.0 * f64::from(rate)) / fetched.elapsed.as_secs_f64()
}

async fn a_peer_without_descriptors_goes_on_and_recovers() -> String {
    with_few_descriptors(false).await
}

async fn a_peer_that_knows_how_few_descriptors_there_are_goes_on() -> String {
    with_few_descriptors(true).await
}

/// A peer downloads in a crowd; what it knows when it starts it need not run out of.
async fn with_few_descriptors(from_the_beginning: bool) -> String {
    const ALL: usize = 64;
    const CROWD: usize = 200;
    let mut network = Network::builder().peer("carl").start().await;
    let (gives, takes) = (Content::of(payload(4 * MIB, 38)), Content::of(payload(4 * MIB, 39)));
    let limit = format!("--nofile={ALL}:{ALL}");
    let mut bob = Machine::new(network.user("bob"), Ipv4Addr::LOCALHOST);
    if from_the_beginning {
        bob = bob.through(&["prlimit", &limit, "--"]);
    }
    let server = bob.seeds(&gives, 0).await;
    if !from_the_beginning {
        let pid = server.process.id().to_string();
        let limited = std::process::Command::new("prlimit").args(["--pid", &pid, &limit]).status();
        assert!(limited.is_ok_and(|status| status.success()), "a process of ours can be limited");
    }
    let (source, _reporter) = distant_seed(&mut network, "source", &takes, 1_000_000).await;
    takes.write_info(&bob.cli().path("a.fileinfo"));
    let getting = bob.cli().start(["get", "a.fileinfo", "-o", "a", "--json"]);
    reaches(&getting, 4).await;
    let pid = server.process.id();
    let (seen, stop) = (Arc::new(Seen::default()), CancellationToken::new());
    let _guard = stop.clone().drop_guard();
    let ends = (Ipv4Addr::LOCALHOST.into(), server.address);
    let crowd =
        flood(ends, CROWD, Words::identities(CROWD, &gives), Arc::clone(&seen), stop.clone());
    let crowd = AbortOnDropHandle::new(tokio::spawn(crowd));
    let mut held = 0;
    eventually("the crowd has what there is", SOON, async || {
        held = held.max(descriptors(pid));
        let crowd = if from_the_beginning { 1 } else { ALL / 4 };
        if seen.open() >= crowd && (seen.closed() > 0 || !from_the_beginning) {
            Ok(())
        } else {
            Err((held, seen.open()))
        }
    })
    .await;
    // It ends in the middle of the crowd: the last descriptors that it needs are there.
    let _ = getting.ends(2 * SOON).await.with_code(0);
    takes.is_at(&bob.cli().path("a")).await;
    held = held.max(descriptors(pid));
    // One that is closed and opened again while they are counted counts twice.
    let least = if from_the_beginning { 0 } else { ALL - 2 };
    assert!((least..=ALL + 2).contains(&held), "{held} descriptors");
    let let_in = seen.most();
    drop(crowd);
    let gone = Instant::now();
    // The file that it shares is still in the table, and it accepts.
    let fetched = network.peer("carl").fetches(&gives).await;
    let again = gone.elapsed();
    assert!(fetched.summary.traffic.arrived > 0);
    let mut caller =
        RawClient::call(server.address).await.expect("it listens").handshake(SOON).await;
    caller.say(PeerMessage::Ping { nonce: 1 }).await;
    assert_eq!(caller.hear(SOON).await, Some(PeerMessage::Pong { nonce: 1 }));
    drop(source);
    format!(
        "recovers: yes; {} of {ALL} descriptors in use with {let_in} of {CROWD} callers let in; the download \
         ended meanwhile, another peer had a whole file of it {:.1} s after the crowd was gone",
        held.min(ALL),
        again.as_secs_f64(),
    )
}

async fn an_unusable_address_is_reported() -> String {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    Content::of(payload(MIB, 40)).write_info(&cli.path("a.fileinfo"));
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let taken = taken.local_addr().expect("bound").to_string();
    // For documentation: no machine has it.
    let elsewhere = "203.0.113.1:7401";
    let get = ["get", "a.fileinfo", "-o", "a"];
    let commands = [
        vec!["coordinator"],
        vec!["start-server", "--foreground"],
        vec!["start-server"],
        [&get[..], &["--foreground"]].concat(),
        get.to_vec(),
    ];
    let mut last = String::new();
    for (address, cause) in
        [(taken.as_str(), "in use"), (elsewhere, "not an address of this machine")]
    {
        for command in &commands {
            let ended = cli.run(command.iter().chain(&["--listen", address])).await.with_code(5);
            let said = ended.stderr.trim_end();
            assert!(ended.stdout.is_empty() && said.lines().count() == 1, "{ended:?}");
            let hint = said.contains("; ")
                && (said.contains("another address") || said.contains("--listen"));
            assert!(
                said.starts_with("tnet: ")
                    && said.contains(address)
                    && said.contains(cause)
                    && hint,
                "{said}"
            );
            said.clone_into(&mut last);
        }
        assert!(!cli.path("a").exists() && !cli.path("a.partial").exists());
    }
    format!("exit code 5 from {} commands each, for example `{last}`", commands.len())
}

/// A seed that others reach through a relay of that rate, and only through that.
async fn distant_seed(
    network: &mut Network,
    name: &str,
    content: &Content,
    rate: u32,
) -> (Relay, FakeReporter) {
    let (relay, reporter) = network.distant_seed(name, content).await;
    relay.limit(NonZeroU32::new(rate).expect("not zero"));
    (relay, reporter)
}

/// Waits until a download has said that it has so many chunks.
async fn reaches(running: &Running, chunks: u64) {
    eventually("some more chunks are stored", SOON, async || {
        let done = chunks_done(running);
        if done >= chunks { Ok(()) } else { Err((done, running.stderr())) }
    })
    .await;
}

fn seconds(finished: &Finished) -> f64 {
    finished.result()["seconds"].as_f64().expect("a result says how long it took")
}

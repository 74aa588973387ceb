//! Processes that stop for a while, or for good.

use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tnet_peer::{Download, Phase};
use tnet_proto::{Availability, ReportEntry};
use tnet_testkit::{
    Content, FakeReporter, Network, Relay, SOON, eventually, holders, payload, within,
};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use crate::support::case::cases;
use crate::support::machine::Machine;
use crate::support::soak::at_length;

const MIB: u64 = 1024 * 1024;

/// Bytes a second on each connection to a seed: slow enough that there is a middle of a download.
const RATE: u32 = 2_000_000;

cases![
    47 "a seed is stopped (SIGSTOP) for 10 s and goes on" a_stopped_seed_is_done_without_and_serves_again .lasts(25);
    48 "the coordinator is killed in the middle and comes back empty" a_killed_coordinator_stops_no_transfer_and_learns_everything_again .lasts(15);
];

/// A real seed that others reach through a relay, and only through that.
struct Distant {
    process: tnet_testkit::Running,
    relay: Relay,
    reporter: FakeReporter,
}

impl Distant {
    async fn new(network: &Network, name: &str, content: &Content) -> Distant {
        // It cannot report itself: that port is closed.
        let alone = network.user(name).with_coordinator((Ipv4Addr::LOCALHOST, 1).into());
        let serving = Machine::new(alone, Ipv4Addr::LOCALHOST).seeds(content, 0).await;
        let relay = Relay::to(serving.address).await.expect("a free port");
        relay.limit(NonZeroU32::new(RATE).expect("not zero"));
        let reporter = network.announce(relay.address().port(), content).await;
        Distant { process: serving.process, relay, reporter }
    }
}

async fn a_stopped_seed_is_done_without_and_serves_again() -> String {
    let pause = Duration::from_secs(at_length(10, 60));
    let content = Content::of(payload(12 * MIB, 47));
    let mut network = Network::builder().peer("calm").start().await;
    let one = Distant::new(&network, "one", &content).await;
    let two = Distant::new(&network, "two", &content).await;
    let calm = network.peer("calm").fetches(&content).await.summary.elapsed;
    network.stop("calm").await;
    network.coordinator_counts(content.hash(), 2, 0).await;

    let ann = network.start_peer("ann").await;
    let download = ann.begins(&content).await;
    has_a_part(&download, 4).await;
    one.process.signal(rustix::process::Signal::STOP);
    let stopped = Instant::now();
    let fetched = ann.completes(download, &content, 2 * SOON).await.summary;
    let again = fetched.traffic.retried + fetched.traffic.hedged;
    assert!(again > 0, "what the stopped one owed came from the other: {:?}", fetched.traffic);
    sleep_until(stopped + pause).await;
    one.process.signal(rustix::process::Signal::CONT);

    // No other peer has it now.
    network.stop("ann").await;
    drop(two);
    one.relay.limit(NonZeroU32::new(10 * RATE).expect("not zero"));
    let bob = network.start_peer("bob").await;
    let served = bob.fetches_within(&content, 2 * SOON).await.summary;
    one.process.terminate();
    drop(one.reporter);
    let _ = one.process.ends(SOON).await.with_code(0);
    format!(
        "done {:.1} s later than without the stop; {} of {} chunks asked for again; after {} s it serves again, a whole \
         file in {:.1} s",
        fetched.elapsed.saturating_sub(calm).as_secs_f64(),
        again,
        content.chunk_count(),
        pause.as_secs(),
        served.elapsed.as_secs_f64(),
    )
}

async fn a_killed_coordinator_stops_no_transfer_and_learns_everything_again() -> String {
    const PEERS: u32 = 4;
    // As in the field: a table that is right within this and a quarter of it.
    let report_interval = Duration::from_secs(10);
    let outage = Duration::from_secs(at_length(3, 30));
    let content = Content::of(payload(at_length(28, 160) * MIB, 48));
    let other = Content::of(payload(MIB, 49));
    let mut network = Network::builder().start().await;
    // An address of its own, so that no other process takes the port while it is free.
    let hub = Machine::new(network.user("hub"), Ipv4Addr::new(127, 77, 48, 1));
    let first = hub.coordinates(0).await;
    let address = first.address;
    let config = tnet_peer::Config {
        coordinator: Some(address.into()),
        report_interval,
        ..network.peer_config()
    };
    let alone = tnet_peer::Config { coordinator: None, ..config.clone() };
    let seed = network.start_peer_with("seed", alone).await;
    seed.shares(&content).await;
    let relay = Relay::to(seed.local_addr()).await.expect("a free port");
    relay.limit(NonZeroU32::new(RATE / 2).expect("not zero"));
    let entry = ReportEntry {
        hash: *content.hash().as_bytes(),
        size: content.info().size(),
        availability: Availability::Full,
    };
    let _reporter =
        FakeReporter::announce(address, relay.address().port(), report_interval, vec![entry]).await;
    network.start_peer_with("archive", config.clone()).await.shares(&other).await;
    let mut downloads = Vec::new();
    for number in 0..PEERS {
        let peer = network.start_peer_with(&format!("peer{number}"), config.clone()).await;
        downloads.push(peer.begins(&content).await);
    }
    for download in &downloads {
        has_a_part(download, 20).await;
    }
    let is_right = async || {
        let (all, others) =
            (holders(address, content.hash()).await, holders(address, other.hash()).await);
        let right = all.full + all.partial == PEERS + 1 && others.full == 1;
        if right { Ok(()) } else { Err((all, others)) }
    };
    eventually("the table is right", SOON, is_right).await;

    first.process.kill();
    let _ = first.process.ends(SOON).await;
    let killed = Instant::now();
    let downloads = Arc::new(downloads);
    let longest = AbortOnDropHandle::new(tokio::spawn(longest_quiet(Arc::clone(&downloads))));
    sleep(outage).await;
    let again = hub.coordinates(address.port()).await;
    assert_eq!(again.address, address);
    let restarted = Instant::now();
    eventually("the table is right again", 2 * SOON, is_right).await;
    let rebuilt = restarted.elapsed();
    assert!(rebuilt < report_interval.mul_f64(1.25) + Duration::from_secs(5), "{rebuilt:?}");
    let longest =
        within("every download ends", 3 * SOON, longest).await.expect("no download fails");
    let ended = killed.elapsed();
    let downloads = Arc::into_inner(downloads).expect("the watching task has ended");
    for (download, number) in downloads.into_iter().zip(0..) {
        network.peer(&format!("peer{number}")).completes(download, &content, SOON).await;
    }
    // As long as the coordinator was away would mean that nothing moved without it.
    assert!(longest < outage, "{longest:?} without a chunk");
    format!(
        "no chunk for {:.2} s at most, in {:.1} s from the kill to the end; table right {:.1} s after the restart",
        longest.as_secs_f64(),
        ended.as_secs_f64(),
        rebuilt.as_secs_f64(),
    )
}

/// Waits until a download has one part in so many of its file.
async fn has_a_part(download: &Download, part: u64) {
    eventually("a part is stored", SOON, async || {
        let progress = download.progress();
        if part * progress.bytes_done >= progress.bytes_total { Ok(()) } else { Err(progress) }
    })
    .await;
}

/// The longest that one of the downloads went without a new chunk, until all are complete.
async fn longest_quiet(downloads: Arc<Vec<Download>>) -> Duration {
    let mut longest = Duration::ZERO;
    loop {
        let progress: Vec<_> = downloads.iter().map(Download::progress).collect();
        assert!(progress.iter().all(|progress| progress.phase != Phase::Failed), "{progress:?}");
        let under_way = progress.iter().filter(|progress| progress.phase != Phase::Complete);
        let Some(quiet) = under_way.map(|progress| progress.quiet).max() else { return longest };
        longest = longest.max(quiet);
        sleep(Duration::from_millis(20)).await;
    }
}

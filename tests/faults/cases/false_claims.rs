//! False ports at the coordinator, and peers that claim to be others.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tnet_proto::{CoordinatorReply, CoordinatorRequest, PeerId, ReportDigest};
use tnet_testkit::{Content, Network, RawClient, SOON, eventually, payload, within};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use crate::support::case::cases;
use crate::support::false_holder::{FalseHolder, Trick};
use crate::support::machine::{Machine, Serving};
use crate::support::measure::median;
use crate::support::raw_reporter::{RawReporter, full};
use crate::support::service::Service;
use crate::support::soak::at_length;

cases![
    75 "thousands of false ports for one file" false_ports_of_a_few_hosts_do_not_crowd_others_out .alone();
    76 "a claim to the address, port and id of a peer, again and again" a_claim_to_an_address_takes_nothing .alone();
];

const MIB: u64 = 1024 * 1024;

/// An interval with which a peer that says nothing more outlasts a case.
const LONG: Duration = Duration::from_secs(600);

fn loopback(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

/// What a download may take longer, whatever it takes alone. Everyday runs are beside other tests
/// and with a binary that is not optimised.
const PATIENCE: f64 = 1.0;
const PATIENCE_AT_LENGTH: f64 = 0.2;

/// What is behind a false port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behind {
    /// Calls are refused.
    Nothing,
    /// Connections are accepted, and nothing is ever sent on them.
    Silence,
    /// A peer that does not have the file.
    Others,
}

async fn false_ports_of_a_few_hosts_do_not_crowd_others_out() -> String {
    let ports = at_length(1000, 3000);
    super::crowds::raise_descriptors();
    let mut figures = Vec::new();
    for behind in [Behind::Nothing, Behind::Silence, Behind::Others] {
        for sources in [1, 4, 16] {
            let network = Network::builder().start().await;
            let service = Service::coordinator(&network.user("coordinator")).await;
            let coordinator = service.address;
            let content = Content::of(payload(4 * MIB, 75));
            let machine = |name| {
                let cli = network.user(name).with_coordinator(coordinator);
                Machine::new(cli, Ipv4Addr::LOCALHOST)
            };
            let _seed = machine("seed").seeds(&content, 0).await;
            let getting = machine("ann");
            let runs = at_length(1, 5);
            let [alone, hash_alone] = medians(&getting, &content, runs).await;
            let _false = false_ports(coordinator, &content, ports, sources, behind).await;
            let [crowded, hash_crowded] = medians(&getting, &content, runs).await;
            for (alone, crowded) in [(alone, crowded), (hash_alone, hash_crowded)] {
                assert!(
                    crowded < 2.0 * alone + at_length(PATIENCE, PATIENCE_AT_LENGTH),
                    "{sources} hosts, {behind:?}: {crowded} s instead of {alone}"
                );
            }
            figures.push(format!(
                "{sources} hosts, behind them {}: {crowded:.2} s instead of {alone:.2}, by hash {hash_crowded:.2} s instead \
                 of {hash_alone:.2}",
                match behind {
                    Behind::Nothing => "nothing",
                    Behind::Silence => "silence",
                    Behind::Others => "peers without the file",
                },
            ));
        }
    }
    format!("{ports} false ports: {}", figures.join("; "))
}

/// What a download is told of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    File,
    Hash,
}

/// Seconds of a download, by its description and by its hash.
async fn medians(machine: &Machine, content: &Content, runs: usize) -> [f64; 2] {
    let mut by_file = fetched(machine, content, runs, Source::File).await;
    let mut by_hash = fetched(machine, content, runs, Source::Hash).await;
    [median(&mut by_file), median(&mut by_hash)]
}

/// Seconds of downloads.
async fn fetched(machine: &Machine, content: &Content, runs: usize, source: Source) -> Vec<f64> {
    let hash = content.hash().to_string();
    content.write_info(&machine.cli().path("a.fileinfo"));
    let source = if source == Source::File { "a.fileinfo" } else { &hash };
    let mut took = Vec::new();
    for _ in 0..runs {
        let _ = std::fs::remove_file(machine.cli().path("a"));
        let args = ["--foreground", "--json", "--listen", "127.0.0.1:0", "--linger", "0s"];
        let began = Instant::now();
        let running = machine.start(&[&["get", source, "-o", "a"][..], &args].concat());
        let _ = running.ends(6 * SOON).await.with_code(0);
        took.push(began.elapsed().as_secs_f64());
    }
    took
}

/// A false port, for as long as this is there.
enum FalsePort {
    Closed(u16),
    Silent(TcpListener),
    Other(FalseHolder),
}

impl FalsePort {
    async fn at(ip: IpAddr, number: usize, content: &Content, behind: Behind) -> FalsePort {
        match behind {
            Behind::Nothing => FalsePort::Closed(u16::try_from(1000 + number).expect("a port")),
            // The kernel accepts.
            Behind::Silence => {
                FalsePort::Silent(TcpListener::bind((ip, 0)).await.expect("there are free ports"))
            }
            Behind::Others => {
                FalsePort::Other(FalseHolder::at(ip, Trick::Refuses, content.info().clone()).await)
            }
        }
    }

    fn port(&self) -> u16 {
        match self {
            FalsePort::Closed(port) => *port,
            FalsePort::Silent(listener) => listener.local_addr().expect("it is bound").port(),
            FalsePort::Other(holder) => holder.address.port(),
        }
    }
}

/// So many ports that say they have the file, on the addresses of so many hosts. Gone when this is
/// dropped.
async fn false_ports(
    coordinator: SocketAddr,
    content: &Content,
    ports: usize,
    sources: u8,
    behind: Behind,
) -> Vec<FalsePort> {
    let entry = full(*content.hash().as_bytes(), content.info().size());
    let mut held = Vec::new();
    for number in 0..ports {
        let ip = loopback(100 + u8::try_from(number % usize::from(sources)).expect("few"));
        let port = FalsePort::at(ip, number, content, behind).await;
        // Its entries stay when its connection ends.
        let mut line = RawReporter::call(coordinator, ip).await;
        assert!(line.is_welcome(PeerId(rand::random()), port.port(), LONG).await);
        line.say(CoordinatorRequest::Report { seq: 1, replace: true, entries: vec![entry] }).await;
        assert_eq!(line.hear().await, Some(CoordinatorReply::Accepted { seq: 1 }));
        held.push(port);
    }
    held
}

async fn a_claim_to_an_address_takes_nothing() -> String {
    const RUNS: usize = 3;
    let network = Network::builder().start().await;
    let service = Service::coordinator(&network.user("coordinator")).await;
    let coordinator = service.address;
    let content = Content::of(payload(4 * MIB, 76));
    let machine = |name| {
        let cli = network.user(name).with_coordinator(coordinator);
        Machine::new(cli, Ipv4Addr::LOCALHOST)
    };
    let seeding = machine("seed");
    let seed = seeding.seeds(&content, 0).await;
    let getting = machine("ann");
    let hash = *content.hash().as_bytes();
    eventually("the seed is listed", SOON, async || {
        is_listed(coordinator, hash, seed.address).await
    })
    .await;
    let mut calm = fetched(&getting, &content, RUNS, Source::File).await;
    let calm_restart = restart(&seeding, seed, coordinator, hash).await;

    let id = id_of(calm_restart.seed.address).await;
    let claims = Arc::new(AtomicU64::new(0));
    let claiming = claim(coordinator, calm_restart.seed.address, id, Arc::clone(&claims));
    let _claiming = AbortOnDropHandle::new(tokio::spawn(claiming));
    eventually("the claims have begun", SOON, async || match claims.load(Ordering::Relaxed) {
        0..100 => Err(()),
        _ => Ok(()),
    })
    .await;
    let mut claimed = fetched(&getting, &content, RUNS, Source::File).await;
    let claimed_restart = restart(&seeding, calm_restart.seed, coordinator, hash).await;
    let (calm, claimed) = (median(&mut calm), median(&mut claimed));
    assert!(claimed < 2.0 * calm + 1.0, "{calm} s without, {claimed} s with the claims");
    assert!(claimed_restart.listed < calm_restart.listed + 3.0, "{} s", claimed_restart.listed);
    format!(
        "{} claims: an honest download takes {claimed:.2} s instead of {calm:.2}; a peer that starts again is listed after \
         {:.2} s instead of {:.2}",
        claims.load(Ordering::Relaxed),
        claimed_restart.listed,
        calm_restart.listed,
    )
}

/// A peer that was started again, and how long it took until it was listed.
struct Restarted {
    seed: Serving,
    listed: f64,
}

/// Ends a server, which says goodbye, and starts it again on the same port.
async fn restart(
    machine: &Machine,
    seed: Serving,
    coordinator: SocketAddr,
    hash: [u8; 32],
) -> Restarted {
    let address = seed.address;
    seed.process.terminate();
    let _ = seed.process.ends(SOON).await;
    let began = Instant::now();
    let seed = machine.serves_again(address.port()).await;
    eventually("it is listed", 3 * SOON, async || is_listed(coordinator, hash, address).await)
        .await;
    Restarted { seed, listed: began.elapsed().as_secs_f64() }
}

/// Whether a peer that asks is told of the address.
async fn is_listed(
    coordinator: SocketAddr,
    hash: [u8; 32],
    address: SocketAddr,
) -> Result<(), Vec<SocketAddr>> {
    let mut asker = RawReporter::call(coordinator, loopback(9)).await;
    assert!(asker.is_welcome(PeerId(rand::random()), 0, LONG).await);
    let holders = asker.holders(hash).await;
    if holders.contains(&address) { Ok(()) } else { Err(holders) }
}

/// The id that a peer tells every neighbour.
async fn id_of(address: SocketAddr) -> PeerId {
    let stranger = RawClient::call(address).await.expect("it listens");
    within("a hello", SOON, stranger.hello()).await.peer_id
}

/// Says that it is the peer at this address, over and over, and that it holds nothing.
async fn claim(coordinator: SocketAddr, of: SocketAddr, id: PeerId, claims: Arc<AtomicU64>) {
    let mut latest: Vec<RawReporter> = Vec::new();
    loop {
        let Ok(mut line) = RawReporter::try_call(coordinator, of.ip()).await else { return };
        if line.is_welcome(id, of.port(), LONG).await {
            line.say(CoordinatorRequest::Heartbeat { digest: ReportDigest::default() }).await;
            line.say(CoordinatorRequest::Report { seq: 1, replace: true, entries: Vec::new() })
                .await;
            claims.fetch_add(1, Ordering::Relaxed);
            latest.push(line);
        }
        // Some are held, others end with a goodbye or without.
        if latest.len() > 20 {
            let mut oldest = latest.remove(0);
            if claims.load(Ordering::Relaxed).is_multiple_of(2) {
                oldest.say(CoordinatorRequest::Bye).await;
            }
        }
        sleep(Duration::from_millis(2)).await;
    }
}

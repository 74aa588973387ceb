//! Floods and false ports at the coordinator, and peers that claim to be others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tnet_proto::{CoordinatorReply, CoordinatorRequest, MAX_REPORT_ENTRIES, PeerId, ReportDigest};
use tnet_testkit::{Content, Network, RawClient, SOON, eventually, payload, within};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::support::case::cases;
use crate::support::false_holder::{FalseHolder, Trick};
use crate::support::lan::Lan;
use crate::support::machine::{Machine, Serving};
use crate::support::measure::median;
use crate::support::memory_group::MemoryGroup;
use crate::support::needs::Need;
use crate::support::process::memory;
use crate::support::raw_reporter::{RawReporter, full};
use crate::support::service::Service;
use crate::support::soak::at_length;

cases![
    74 "millions of files that no other peer has, by one host and by sixteen" a_flood_of_files_stays_within_the_memory
        .needing(&[Need::MemoryGroup]) .measures() .lasts(25);
    74 "the same by all addresses of an IPv6 prefix" a_flood_from_a_whole_prefix_does_not_lock_others_out
        .needing(&[Need::Namespaces]) .measures();
    74 "thousands of large reports of which only a part is sent" parts_of_reports_stay_within_the_memory
        .needing(&[Need::MemoryGroup]) .measures();
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

/// An address that is not flooded from.
const HONEST: u8 = 3;

/// What a flood has seen so far.
#[derive(Debug, Default)]
struct Flood {
    files: AtomicU64,
    refused: AtomicU64,
}

/// Reports files that no other peer has, from this address, until the token says so or the
/// coordinator is gone.
async fn flood(coordinator: SocketAddr, from: IpAddr, reports: u64, seen: Arc<Flood>) {
    let Ok(mut line) = RawReporter::try_call(coordinator, from).await else { return };
    if !line.is_welcome(PeerId(rand::random()), 7401, LONG).await {
        return;
    }
    for seq in 1..=reports {
        let entries: Vec<_> = (0..MAX_REPORT_ENTRIES).map(|_| full(rand::random(), 1)).collect();
        line.say(CoordinatorRequest::Report { seq, replace: false, entries }).await;
        match line.hear().await {
            Some(CoordinatorReply::Accepted { .. }) => {}
            Some(CoordinatorReply::LimitReached { .. }) => {
                seen.refused.fetch_add(1, Ordering::Relaxed);
            }
            Some(_) => {}
            None => return,
        }
        seen.files.fetch_add(MAX_REPORT_ENTRIES as u64, Ordering::Relaxed);
    }
    // Stays, and with it all that was taken.
    std::future::pending::<()>().await;
}

/// Reports so many files that no other peer has, and stays.
async fn holding(
    coordinator: SocketAddr,
    from: IpAddr,
    files: usize,
) -> (RawReporter, Vec<[u8; 32]>) {
    let mut line = RawReporter::call(coordinator, from).await;
    assert!(line.is_welcome(PeerId(rand::random()), 7402, LONG).await, "the honest are let in");
    let hashes: Vec<[u8; 32]> = (0..files).map(|_| rand::random()).collect();
    for (seq, part) in (1..).zip(hashes.chunks(MAX_REPORT_ENTRIES)) {
        let entries = part.iter().map(|hash| full(*hash, 1)).collect();
        line.say(CoordinatorRequest::Report { seq, replace: false, entries }).await;
        assert_eq!(
            line.hear().await,
            Some(CoordinatorReply::Accepted { seq }),
            "the honest are taken"
        );
    }
    (line, hashes)
}

/// Looks these files up again and again until the token says so: how long it took each time.
async fn looking_up(
    coordinator: SocketAddr,
    from: IpAddr,
    hashes: Vec<[u8; 32]>,
    stop: CancellationToken,
) -> Vec<Duration> {
    let mut line = RawReporter::call(coordinator, from).await;
    assert!(line.is_welcome(PeerId(rand::random()), 0, LONG).await, "the honest are let in");
    let mut took = Vec::new();
    for hash in hashes.into_iter().cycle() {
        if stop.is_cancelled() {
            break;
        }
        let began = Instant::now();
        assert_eq!(line.holders(hash).await.len(), 1, "what the honest hold is found throughout");
        took.push(began.elapsed());
        sleep(Duration::from_millis(2)).await;
    }
    took
}

/// Does this on a thread of its own: a busy attacker must not slow down the measurement.
fn apart<T, W>(work: impl FnOnce() -> W + Send + 'static) -> oneshot::Receiver<T>
where
    T: Send + 'static,
    W: Future<Output = T>,
{
    let (sender, result) = oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let done = runtime.expect("a machine that runs tests has descriptors").block_on(work());
        // Fails when the receiver was dropped: the result is not needed then.
        let _ = sender.send(done);
    });
    result
}

fn percentile_ms(took: &mut [Duration], percent: usize) -> f64 {
    took.sort_unstable();
    1000.0 * took[(took.len() - 1) * percent / 100].as_secs_f64()
}

async fn a_flood_of_files_stays_within_the_memory() -> String {
    let mut figures = Vec::new();
    for sources in [1, 16] {
        figures.push(flood_of_files(sources).await);
    }
    figures.join("; ")
}

/// A coordinator in a small control group, a flood from so many addresses, and honest peers before
/// and during it.
async fn flood_of_files(sources: u8) -> String {
    /// Of the group. Half of it is the coordinator's budget.
    const GROUP: u64 = 128 * MIB;
    /// What the process is without a table, and what an allocator adds.
    const SLACK: u64 = 24 * MIB;
    let network = Network::builder().start().await;
    let group = MemoryGroup::of_bytes(GROUP);
    let mut service = Service::coordinator_within(&network.user("coordinator"), &group).await;
    let coordinator = service.address;
    let (_seed, hashes) = holding(coordinator, loopback(HONEST), 10_000).await;
    let seen = Arc::new(Flood::default());
    let reports = at_length(192, 6000) / u64::from(sources);
    let stop = CancellationToken::new();
    let (flooding, until) = (Arc::clone(&seen), stop.clone());
    let flooded = apart(move || async move {
        let mut flooders = JoinSet::new();
        for source in 0..sources {
            // Two connections each: a source is an address.
            for _ in 0..2 {
                flooders.spawn(flood(
                    coordinator,
                    loopback(100 + source),
                    reports / 2,
                    Arc::clone(&flooding),
                ));
            }
        }
        until.cancelled().await;
    });
    let (asked, until) = (hashes.clone(), stop.clone());
    let asking = apart(move || looking_up(coordinator, loopback(4), asked, until));
    let wanted = reports / 2 * 2 * u64::from(sources) * MAX_REPORT_ENTRIES as u64;
    reaches(wanted / 2, &seen, &mut service, &group).await;
    // In the middle of it: a peer that is new, with a file that is new, and a peer that gets it.
    let (shared, got) = newcomer_is_served(&network, coordinator).await;
    reaches(wanted, &seen, &mut service, &group).await;
    stop.cancel();
    let mut times = asking.await.expect("the honest are served throughout");
    flooded.await.expect("a flood does not panic");
    let peak = memory(service.running.id()).peak_kib * 1024;
    let some: Vec<[u8; 32]> = hashes.iter().step_by(10).copied().collect();
    let found = found(coordinator, &some).await;
    assert_eq!(group.kills(), 0);
    assert!(peak <= GROUP / 2 + SLACK, "{} MiB", peak / MIB);
    assert_eq!(found, some.len(), "what was there before the flood stays");
    format!(
        "{:.1} M files by {sources} hosts: peak {} of {} MiB, 0 kills, {} reports cut; all of 10 000 earlier entries kept, \
         lookups' 99th percentile {:.1} ms, a new file shared and got in {shared:.1} s, \
         got in {got:.2} s",
        seen.files.load(Ordering::Relaxed) as f64 / 1e6,
        peak / MIB,
        GROUP / 2 / MIB,
        seen.refused.load(Ordering::Relaxed),
        percentile_ms(&mut times, 99),
    )
}

/// Waits until the flood has so many files, and sees to it that the coordinator lives.
async fn reaches(files: u64, seen: &Flood, service: &mut Service, group: &MemoryGroup) {
    eventually("the flood goes on", 6 * SOON, async || {
        assert!(service.running.is_running(), "the coordinator is gone after {seen:?}");
        assert_eq!(group.kills(), 0, "the coordinator is out of memory after {seen:?}");
        let now = seen.files.load(Ordering::Relaxed);
        if now >= files { Ok(()) } else { Err(now) }
    })
    .await;
}

/// How many of these files are found.
async fn found(coordinator: SocketAddr, hashes: &[[u8; 32]]) -> usize {
    let mut asker = RawReporter::call(coordinator, loopback(4)).await;
    assert!(asker.is_welcome(PeerId(rand::random()), 0, LONG).await);
    let mut found = 0;
    for hash in hashes {
        found += usize::from(!asker.holders(*hash).await.is_empty());
    }
    found
}

/// A peer shares a file and another gets it: seconds from the beginning of the one to the end of
/// the other, and of the download alone.
async fn newcomer_is_served(network: &Network, coordinator: SocketAddr) -> (f64, f64) {
    let content = Content::of(payload(MIB, 74));
    let began = Instant::now();
    let machine = |name| {
        let cli = network.user(name).with_coordinator(coordinator);
        Machine::new(cli, Ipv4Addr::LOCALHOST)
    };
    let _seed = machine("seed").seeds(&content, 0).await;
    let got = machine("ann").gets(&content, 0, &["--linger", "0s"]).ends(3 * SOON).await;
    let seconds = got.with_code(0).result()["seconds"].as_f64();
    (began.elapsed().as_secs_f64(), seconds.expect("a result says how long it took"))
}

async fn a_flood_from_a_whole_prefix_does_not_lock_others_out() -> String {
    const BUDGET: u64 = 64 * MIB;
    const SLACK: u64 = 24 * MIB;
    const HOSTS: u16 = 150;
    let lan = Lan::new(1, 0);
    lan.host(0).owns("2001:db8:74::/64");
    let machine = lan.machine(0);
    let listen = format!("[::]:{}", Machine::COORDINATOR_PORT);
    let mut process = machine.start(&["coordinator", "--memory", "64M", "--listen", &listen]);
    process.prints("it is ready", SOON, |text| text.contains("coordinator on").then_some(())).await;
    let at = |host| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0x74, 0, 0, 0, 0, host));
    let coordinator = SocketAddr::new(at(1), Machine::COORDINATOR_PORT);
    let coordinator_v4 = SocketAddr::new(loopback(1), Machine::COORDINATOR_PORT);
    let flooded = lan.host(0).inside(move |_| async move {
        let (_seed, before) = holding(coordinator_v4, loopback(HONEST), 10_000).await;
        let (_neighbour, of_neighbour) = holding(coordinator, at(2), 1000).await;
        let seen = Arc::new(Flood::default());
        let mut flooding = JoinSet::new();
        for host in 0..HOSTS {
            flooding.spawn(flood(coordinator, at(1000 + host), 1, Arc::clone(&seen)));
        }
        eventually("the flood is in", 6 * SOON, async || {
            let files = seen.files.load(Ordering::Relaxed);
            if files >= u64::from(HOSTS) * 9 / 10 * MAX_REPORT_ENTRIES as u64 {
                Ok(())
            } else {
                Err(files)
            }
        })
        .await;
        let began = Instant::now();
        let (_other, late) = holding(coordinator_v4, loopback(5), 100).await;
        let (_same, late_neighbour) = holding(coordinator, at(3), 1).await;
        let took = began.elapsed();
        let stop = CancellationToken::new();
        let asked = looking_up(coordinator_v4, loopback(4), before.clone(), stop.clone());
        let asking = tokio::spawn(asked);
        sleep(Duration::from_secs(1)).await;
        stop.cancel();
        let mut times = asking.await.expect("the honest are served");
        let some = before.into_iter().step_by(10).collect();
        let all = [some, of_neighbour, late, late_neighbour].concat();
        let found = found(coordinator_v4, &all).await;
        (found, all.len(), seen.files.load(Ordering::Relaxed), took, percentile_ms(&mut times, 99))
    });
    let (found, all, files, took, p99) = flooded.ends().await;
    assert_eq!(found, all, "the honest are kept and let in");
    let pid = process.id();
    let peak = memory(pid).peak_kib * 1024;
    assert!(peak <= BUDGET + SLACK, "{} MiB", peak / MIB);
    format!(
        "{:.1} M files from {HOSTS} addresses of a /64: peak {} of {} MiB; all of {all} honest entries kept, new ones taken \
         within {:.2} s; lookups' 99th percentile {p99:.1} ms",
        files as f64 / 1e6,
        peak / MIB,
        BUDGET / MIB,
        took.as_secs_f64(),
    )
}

async fn parts_of_reports_stay_within_the_memory() -> String {
    const GROUP: u64 = 128 * MIB;
    const SLACK: u64 = 24 * MIB;
    const CONNECTIONS: usize = 1000;
    let network = Network::builder().start().await;
    let group = MemoryGroup::of_bytes(GROUP);
    let service = Service::coordinator_within(&network.user("coordinator"), &group).await;
    let coordinator = service.address;
    let mut report = bytes::BytesMut::new();
    let entries: Vec<_> = (0..MAX_REPORT_ENTRIES).map(|_| full(rand::random(), 1)).collect();
    tnet_proto::encode(&CoordinatorRequest::Report { seq: 1, replace: true, entries }, &mut report);
    let but_one = Arc::new(report[..report.len() - 1].to_vec());
    let mut crowd = JoinSet::new();
    for number in 0..CONNECTIONS {
        let (greeting, but_one) = (service.greeting(), Arc::clone(&but_one));
        let from = loopback(100 + u8::try_from(number % 8).expect("small"));
        crowd.spawn(async move {
            let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
            socket.bind((from, 0).into()).expect("all of 127.0.0.0/8 is ours");
            let Ok(mut stream) = socket.connect(coordinator).await else { return };
            for bytes in [&greeting, &*but_one] {
                let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, bytes).await;
            }
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        });
    }
    sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    let (_honest, hashes) = holding(coordinator, loopback(HONEST), MAX_REPORT_ENTRIES).await;
    let took = began.elapsed();
    sleep(Duration::from_secs(3)).await;
    let peak = memory(service.running.id()).peak_kib * 1024;
    assert_eq!(group.kills(), 0);
    assert!(peak <= GROUP / 2 + SLACK, "{} MiB", peak / MIB);
    assert_eq!(found(coordinator, &hashes[..1]).await, 1);
    format!(
        "{CONNECTIONS} connections with all but one byte of a report: peak {} of {} MiB, an honest report of the same size taken \
         after {:.2} s",
        peak / MIB,
        GROUP / 2 / MIB,
        took.as_secs_f64(),
    )
}

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

//! Floods of reports at the coordinator, by one host, by many, and in parts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tnet_proto::{CoordinatorReply, CoordinatorRequest, MAX_REPORT_ENTRIES, PeerId};
use tnet_testkit::{Content, Network, SOON, eventually, payload};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::support::case::cases;
use crate::support::lan::Lan;
use crate::support::machine::Machine;
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
];

const MIB: u64 = 1024 * 1024;

/// An interval with which a peer that says nothing more outlasts a case.
const LONG: Duration = Duration::from_secs(600);

fn loopback(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

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

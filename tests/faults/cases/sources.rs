//! Crowds of one source: silent, dripping, lying, or sending others against a third.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::SinkExt;
use tnet_fileinfo::{ChunkSet, ChunkSize};
use tnet_proto::{Holdings, PeerMessage};
use tnet_testkit::{Content, Network, SOON, eventually, payload};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::support::case::cases;
use crate::support::crowd::{Crowd, HANDLE, Manner, Seen, joins, open_of};
use crate::support::lan::Lan;
use crate::support::needs::Need;
use crate::support::soak::{at_length, is_soak};

cases![
    72 "a crowd of 200 that holds the slots, from one source and from 16" a_crowd_of_few_sources_does_not_hold_the_slots
        .measures() .lasts(30);
    72 "a crowd of 24 that holds the memory for chunks" a_crowd_does_not_hold_the_memory_for_chunks .measures() .lasts(35);
    77 "a peer names addresses so that others are called, from 1 and from 20 connections" addresses_that_a_peer_names_are_called_a_few_times
        .needing(&[Need::Namespaces]) .lasts(12);
];

/// Of the file: as many chunks as a file of a hundred MiB has.
const CHUNKS: u32 = 1024;
const CHUNK: u32 = 32 * 1024;
const LEN: u64 = CHUNKS as u64 * CHUNK as u64;

/// Of a file of which few chunks fit into the memory for them.
const LONG_CHUNK: u32 = 1024 * 1024;

/// The seed's uplink, so that a download takes seconds in which to disturb it.
const RATE: u64 = 12 * 1024 * 1024;

const CROWD: usize = 200;

/// More than have room in the memory for chunks, and so few that their coming and going takes no
/// processor.
const HOLDERS: usize = 24;

/// How much longer than alone a download may take at full length; in seconds what it may take in
/// everyday runs, beside other things: one that is kept out takes for ever. What a start takes is
/// the same for a short file and a long one.
const SLOWER: f64 = 1.5;
const START: f64 = 0.3;
const NOT_KEPT_OUT: f64 = 60.0;

/// How a download went.
#[derive(Debug)]
struct Ran {
    took: Duration,
    /// Per cent of the file.
    wasted: f64,
}

impl Ran {
    fn assert_not_slowed_down(&self, alone: &Ran, what: &str) {
        let most = at_length(NOT_KEPT_OUT, SLOWER * alone.took.as_secs_f64() + START);
        assert!(self.took.as_secs_f64() <= most, "{what}: {self:?}, alone {alone:?}");
        assert!(self.wasted <= 5.0, "{what}: {self:?}");
    }
}

/// A download in such chunks from one seed, both on `ip`, within a crowd that is there first.
async fn within_crowd(ip: IpAddr, chunk: u32, crowd: Option<Crowd>) -> Ran {
    let content =
        Content::chunked(payload(LEN, 72), ChunkSize::new(chunk).expect("a power of two in range"));
    let mut network = Network::builder().on(ip).peer("ann").start().await;
    let mut config = network.peer_config();
    config.limits.up = NonZeroU64::new(RATE);
    let ann = network.peer("ann");
    let download = ann.begins(&content).await;
    let (stop, seen) = (CancellationToken::new(), Arc::new(Seen::default()));
    let _stops = stop.clone().drop_guard();
    if let Some(crowd) = crowd {
        let size = crowd.size;
        let (to, content, seeing) = (ann.local_addr(), content.clone(), Arc::clone(&seen));
        let surrounding = async move { crowd.surrounds(to, &content, seeing, stop).await };
        tokio::spawn(surrounding);
        eventually("the crowd is in", SOON, async || {
            let (inside, joined) = (seen.inside(), seen.joined());
            if inside >= size * 9 / 10 || joined >= 2 * size {
                Ok(())
            } else {
                Err((inside, joined))
            }
        })
        .await;
    }
    network.start_peer_with("seed", config).await.shares(&content).await;
    let began = Instant::now();
    let ann = network.peer("ann");
    let fetched = ann.completes(download, &content, 4 * SOON).await;
    let took = began.elapsed();
    let traffic = fetched.summary.traffic;
    let wasted = 100.0 * traffic.bytes_wasted as f64 / LEN as f64;
    Ran { took, wasted }
}

async fn a_crowd_of_few_sources_does_not_hold_the_slots() -> String {
    const ALL: [Manner; 4] = [Manner::Silent, Manner::Drips, Manner::Lies, Manner::BreaksOff];
    let ip = IpAddr::from(Ipv4Addr::LOCALHOST);
    let alone = within_crowd(ip, CHUNK, None).await;
    let of =
        |count: u8| (1..=count).map(|last| IpAddr::from([127, 0, 1, last])).collect::<Vec<_>>();
    let v6 = vec![IpAddr::from(Ipv6Addr::LOCALHOST)];
    let mixed =
        vec![(ip, of(1), ALL.to_vec()), (ip, of(16), ALL.to_vec()), (v6[0], v6, ALL.to_vec())];
    let each = [of(1), of(16)]
        .into_iter()
        .flat_map(|from| ALL.map(|manner| (ip, from.clone(), vec![manner])));
    let runs = if is_soak() { mixed.into_iter().chain(each).collect() } else { mixed };
    let mut figures = Vec::new();
    for (ip, sources, manners) in runs {
        let what = format!("{manners:?} from {}", sources.len());
        let ran = within_crowd(ip, CHUNK, Some(Crowd { size: CROWD, sources, manners })).await;
        ran.assert_not_slowed_down(&alone, &what);
        let ratio = ran.took.as_secs_f64() / alone.took.as_secs_f64();
        figures.push(format!("{what}: {ratio:.2} times, {:.1} % wasted", ran.wasted));
    }
    format!("alone {:.1} s; of 200: {}", alone.took.as_secs_f64(), figures.join("; "))
}

async fn a_crowd_does_not_hold_the_memory_for_chunks() -> String {
    let ip = IpAddr::from(Ipv4Addr::LOCALHOST);
    let alone = within_crowd(ip, LONG_CHUNK, None).await;
    let mut figures = Vec::new();
    for (manner, count) in
        [(Manner::Intrudes, 1), (Manner::Intrudes, 16), (Manner::Drips, 1), (Manner::Drips, 16)]
    {
        let sources = (1..=count).map(|last| IpAddr::from([127, 0, 1, last])).collect();
        let crowd = Crowd { size: HOLDERS, sources, manners: vec![manner] };
        let what = format!("{manner:?} from {count}");
        let ran = within_crowd(ip, LONG_CHUNK, Some(crowd)).await;
        ran.assert_not_slowed_down(&alone, &what);
        figures.push(format!(
            "{what}: {:.2} times",
            ran.took.as_secs_f64() / alone.took.as_secs_f64()
        ));
    }
    format!("alone {:.1} s; of {HOLDERS}: {}", alone.took.as_secs_f64(), figures.join(", "))
}

/// Ports of the third party that are named.
const PORTS: usize = 200;

/// A client names ports at `victim` to a peer that downloads, over so many connections from
/// `namer`; answers with the calls that came there.
async fn calls_at(victim: IpAddr, namer: IpAddr, ip: IpAddr, connections: usize) -> usize {
    let content = Content::of(payload(LEN, 77));
    // Pauses and intervals as in the field.
    let network = Network::builder().on(ip).configure(|config| config.swarm = Default::default());
    let network = network.peer("ann").start().await;
    let ann = network.peer("ann");
    let _download = ann.begins(&content).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    let mut ports: Vec<SocketAddr> = Vec::new();
    for _ in 0..PORTS {
        let listener = TcpListener::bind((victim, 0)).await.expect("an address of this host");
        ports.push(listener.local_addr().expect("it is bound"));
        let calls = Arc::clone(&calls);
        tasks.spawn(async move {
            while listener.accept().await.is_ok() {
                calls.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let open =
        open_of(&content, Holdings::Bitmap(ChunkSet::empty(content.info().geometry()).to_bytes()));
    let to = ann.local_addr();
    for number in 0..connections {
        let (open, ports) = (open.clone(), ports.clone());
        tasks.spawn(async move {
            loop {
                let mut joined = joins((namer, to), &open).await.expect("ann lets it in");
                for turn in 0.. {
                    // Others each time.
                    let from = (number * 7 + turn) * 10 % ports.len();
                    let peers = ports.iter().cycle().skip(from).take(10).copied().collect();
                    if joined.send(PeerMessage::Peers { file: HANDLE, peers }).await.is_err() {
                        break;
                    }
                    sleep(Duration::from_millis(200)).await;
                }
            }
        });
    }
    let lasts = at_length(Duration::from_secs(10), Duration::from_secs(30));
    // Only ends early when something goes wrong.
    if let Ok(Some(Err(error))) = timeout(lasts, tasks.join_next()).await {
        std::panic::resume_unwind(error.into_panic());
    }
    calls.load(Ordering::Relaxed)
}

async fn addresses_that_a_peer_names_are_called_a_few_times() -> String {
    let lan = Lan::new(1, 0);
    lan.host(0).owns("2001:db8::/64");
    let running = lan.host(0).inside(|_| async {
        let ip = |text: &str| -> IpAddr { text.parse().expect("an address") };
        let (v4, v6) = (ip("127.0.0.1"), ip("2001:db8::1"));
        let (namer4, namer6) = (ip("127.0.0.5"), ip("2001:db8::5"));
        tokio::join!(
            calls_at(ip("127.0.0.9"), namer4, v4, 1),
            calls_at(ip("127.0.0.9"), namer4, v4, 20),
            calls_at(ip("2001:db8::9"), namer6, v6, 1),
            calls_at(ip("2001:db8::9"), namer6, v6, 20),
            calls_at(ip("::1"), namer6, v6, 20),
            calls_at(v6, namer6, v6, 20),
        )
    });
    let (one4, many4, one6, many6, local, own) = running.ends().await;
    for calls in [one4, many4, one6, many6] {
        assert!(calls <= 4, "{calls} calls");
    }
    assert_eq!((local, own), (0, 0), "calls to ourselves");
    format!(
        "calls at a third party in {} s: {one4} (1 connection), {many4} (20 connections), IPv6 {one6} and {many6}; \
         of loopback and own addresses named from elsewhere {}",
        at_length(10, 30),
        local + own,
    )
}

//! Too many connections, and peers that ask for too much.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tnet_proto::{PeerMessage, Protocol, preamble};
use tnet_testkit::{Content, Network, RawClient, SOON, eventually, holders, payload, within};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::support::case::cases;
use crate::support::flood::{Seen, Words, flood_from, until_closed};
use crate::support::greedy::{Taste, takes};
use crate::support::lan::Lan;
use crate::support::machine::{Machine, events};
use crate::support::measure::median;
use crate::support::needs::Need;
use crate::support::process::descriptors;

const MIB: u64 = 1024 * 1024;

/// A peer's limits, as `tnet_swarm::Config` and `tnet_peer::Config` have them.
const MAX_CALLERS: usize = 750;
const MAX_STRANGERS: usize = 256;

/// From the connection to the whole hello. The rest is for a busy machine.
const HELLO_DEADLINE: Duration = Duration::from_secs(5);
const SLACK: Duration = Duration::from_secs(4);

cases![
    27 "1000 connections with an identity each from one host" a_crowd_from_one_host_is_bounded_and_does_not_slow_others
        .needing(&[Need::Namespaces]) .alone();
    28 "5000 connections that say nothing or half a hello" silent_connections_are_closed_and_lock_no_peer_out .works();
    30 "greedy peers ask the only seed for everything early" a_seed_gives_each_chunk_once_before_it_repeats_any
        .needing(&[Need::Namespaces]) .lasts(20);
];

async fn a_crowd_from_one_host_is_bounded_and_does_not_slow_others() -> String {
    const CROWD: usize = 1000;
    const RUNS: usize = 3;
    const LOOKS: usize = 10;
    // The one that downloads, in a connection or two.
    const HONEST: usize = 2;
    let lan = Lan::new(3, 0);
    lan.limit(0, 64);
    let content = Content::of(payload(16 * MIB, 27));
    let _hub = lan.machine(0).coordinates(Machine::COORDINATOR_PORT).await;
    let seed = lan.machine(0).seeds(&content, Machine::PEER_PORT).await;
    listed(&lan, &content).await;
    let ann = lan.machine(1);
    let fetch = async || {
        let _ = std::fs::remove_file(ann.cli().path("a"));
        let got = ann.gets(&content, 0, &["--linger", "0s"]).ends(3 * SOON).await.with_code(0);
        got.result()["seconds"].as_f64().expect("a result says how long it took")
    };
    let before = descriptors(seed.process.id());
    let seen = Arc::new(Seen::default());
    let (mut calm, mut crowded, mut most_held) = (Vec::new(), Vec::new(), 0);
    let mut most_let_in = 0;
    for _ in 0..RUNS {
        calm.push(fetch().await);
        let (from, to) = (IpAddr::from(lan.host(2).ip()), seed.address);
        let words = Words::identities(CROWD, &content);
        let seeing = Arc::clone(&seen);
        let crowd = lan
            .host(2)
            .inside(move |stop| flood_from(move |_| from, to, CROWD, words, seeing, stop));
        eventually("the crowd is in", SOON, async || {
            let open = seen.open();
            if open + 16 >= MAX_CALLERS { Ok(()) } else { Err(open) }
        })
        .await;
        crowded.push(fetch().await);
        for _ in 0..LOOKS {
            let status = lan.machine(0).cli().run(["status", "--json"]).await.with_code(0).result();
            let connections = &status["status"]["bounds"]["connections"]["used"];
            let connections = connections.as_u64().and_then(|used| usize::try_from(used).ok());
            most_let_in = most_let_in.max(connections.expect("a status says what is in use"));
            sleep(Duration::from_millis(100)).await;
        }
        let held = descriptors(seed.process.id());
        assert!(
            held <= before + MAX_CALLERS + MAX_STRANGERS,
            "{held} descriptors, {before} before"
        );
        most_held = most_held.max(held - before);
        crowd.stops().await;
    }
    assert!(seen.closed() > 0, "no connection was turned away");
    assert!(most_let_in <= MAX_CALLERS + HONEST, "{most_let_in} connections were let in");
    assert!(most_let_in + 64 >= MAX_CALLERS, "{most_let_in} connections are no crowd");
    eventually("no descriptor is left behind", SOON, async || {
        let now = descriptors(seed.process.id());
        if now <= before { Ok(()) } else { Err((before, now)) }
    })
    .await;
    let slowdown = 100.0 * (median(&mut crowded) / median(&mut calm) - 1.0);
    assert!(slowdown < 100.0, "{calm:?} without, {crowded:?} with the crowd");
    format!(
        "honest download {slowdown:.1} % slower (median of {RUNS}: {:.2} s without, {:.2} s with), at most {most_let_in} of {CROWD} let in, {most_held} descriptors",
        median(&mut calm),
        median(&mut crowded),
    )
}

async fn silent_connections_are_closed_and_lock_no_peer_out() -> String {
    const CROWD: usize = 5000;
    let most = raise_descriptors();
    let crowd = CROWD.min(usize::try_from(most / 2).unwrap_or(CROWD).saturating_sub(500));
    let network = Network::builder().start().await;
    let content = Content::of(payload(MIB, 28));
    let machine = Machine::new(network.user("ann"), Ipv4Addr::LOCALHOST);
    let server = machine.seeds(&content, 0).await;
    network.coordinator_counts(content.hash(), 1, 0).await;
    let before = descriptors(server.process.id());
    let most_held = Arc::new(AtomicUsize::new(0));
    let (pid, watched) = (server.process.id(), Arc::clone(&most_held));
    let watching = AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            watched.fetch_max(descriptors(pid), Ordering::Relaxed);
            sleep(Duration::from_millis(20)).await;
        }
    }));

    let greeting = preamble(Protocol::Peer).to_vec();
    let half_a_hello = [&greeting[..], &30_u32.to_le_bytes(), &[0; 10]].concat();
    let words = [Vec::new(), greeting[..6].to_vec(), greeting.clone(), half_a_hello];
    // Not the address of the honest.
    let ends = (IpAddr::from([127, 0, 0, 3]), server.address);
    let mut silent = JoinSet::new();
    for number in 0..crowd {
        let words = words[number % words.len()].clone();
        silent.spawn(async move { until_closed(ends, &words).await });
    }
    let done = AtomicBool::new(false);
    let honest = async {
        let mut took = Vec::new();
        while !done.load(Ordering::Relaxed) || took.is_empty() {
            let began = Instant::now();
            // The answer to a ping comes from behind the hello.
            let mut caller =
                RawClient::call(server.address).await.expect("it listens").handshake(SOON).await;
            caller.say(PeerMessage::Ping { nonce: 1 }).await;
            assert_eq!(caller.hear(SOON).await, Some(PeerMessage::Pong { nonce: 1 }));
            took.push(began.elapsed().as_secs_f64());
            sleep(Duration::from_millis(20)).await;
        }
        took
    };
    let silent = async {
        let closed = within("all of the silent are closed", 4 * SOON, silent.join_all()).await;
        done.store(true, Ordering::Relaxed);
        closed
    };
    let (mut honest, closed) = tokio::join!(honest, silent);
    let after: Vec<(Duration, Duration)> = closed.into_iter().flatten().collect();
    // The kernel turns some of so many away by itself.
    assert!(
        after.len() >= crowd * 9 / 10,
        "only {} of {crowd} were let in and closed",
        after.len()
    );
    let longest = after.iter().map(|(_, held)| *held).max().unwrap_or_default();
    assert!(longest <= HELLO_DEADLINE + SLACK, "{longest:?} from the greeting to the close");
    drop(watching);
    let held = most_held.load(Ordering::Relaxed) - before;
    assert!(held <= MAX_STRANGERS + 32, "{held} descriptors more than before");
    honest.sort_by(f64::total_cmp);
    let p99 = honest[(honest.len() - 1) * 99 / 100];
    assert!(p99 < HELLO_DEADLINE.as_secs_f64(), "an honest caller waits {p99} s");
    eventually("no descriptor is left behind", SOON, async || {
        let now = descriptors(pid);
        if now <= before { Ok(()) } else { Err((before, now)) }
    })
    .await;
    format!(
        "{} sockets held {held} descriptors at most, each closed after {:.1} s or less; an honest caller got in \
         within {p99:.2} s (p99 of {}, median {:.3} s)",
        after.len(),
        longest.as_secs_f64(),
        honest.len(),
        honest[honest.len() / 2],
    )
}

async fn a_seed_gives_each_chunk_once_before_it_repeats_any() -> String {
    const GREEDY: usize = 6;
    const HONEST: usize = 3;
    let once = given_before_the_first_repetition(GREEDY).await;
    let content = Content::of(payload(8 * MIB, 30));
    let (calm, greedy) = tokio::join!(
        first_full_copy(HONEST, 0, &content),
        first_full_copy(HONEST, GREEDY, &content)
    );
    let ratio = greedy / calm;
    // What is given to the greedy is lost for the others; more than their share they do not get.
    let fair = (HONEST + GREEDY) as f64 / HONEST as f64;
    assert!(ratio < 2.0 * fair, "{calm} s without, {greedy} s with the greedy");
    format!(
        "{once:.0} % of the chunks given before one is repeated; first full copy among {HONEST} honest peers after \
         {calm:.1} s, with {GREEDY} greedy ones after {greedy:.1} s: {ratio:.2} times, {fair:.1} would be their share"
    )
}

/// How many of a hundred chunks a seed has sent once when it sends one for the second time, when
/// only greedy peers ask.
async fn given_before_the_first_repetition(greedy: usize) -> f64 {
    let network = Network::builder().peer("seed").start().await;
    let content = Content::of(payload(16 * MIB, 31));
    let seed = network.peer("seed");
    seed.shares(&content).await;
    let takers = (0..greedy).map(|number| {
        let taste = if number % 2 == 0 { Taste::Anything } else { Taste::TheFirst };
        takes(seed.local_addr(), &content, taste, CancellationToken::new())
    });
    let came = within(
        "all of the greedy have everything",
        2 * SOON,
        futures_util::future::join_all(takers),
    )
    .await;
    let mut given: Vec<(Instant, u32, usize)> = (0..)
        .zip(&came)
        .flat_map(|(taker, came)| came.iter().map(move |(at, chunk)| (*at, *chunk, taker)))
        .collect();
    given.sort();
    let chunks = content.chunk_count() as usize;
    let mut first = vec![None; chunks];
    let mut of = vec![0_usize; greedy];
    let mut distinct = 0;
    for (_, chunk, taker) in given.into_iter().take(chunks) {
        if first[chunk as usize].replace(taker).is_none() {
            distinct += 1;
            of[taker] += 1;
        }
    }
    let share = 100.0 * f64::from(distinct) / chunks as f64;
    assert!(share > 90.0, "{share} % of what was given first was given once");
    // How much each gets is a matter of speed here, where nothing limits the seed.
    let most = of.iter().max().copied().unwrap_or_default();
    assert!(most < chunks * 9 / 10, "one of {greedy} got {most} of {chunks} chunks: {of:?}");
    share
}

/// Seconds until the first of some honest peers has the whole file of a seed that others ask too.
async fn first_full_copy(honest: usize, greedy: usize, content: &Content) -> f64 {
    let lan = Lan::new(honest + 2, 0);
    lan.limit(0, 32);
    let _hub = lan.machine(0).coordinates(Machine::COORDINATOR_PORT).await;
    let seed = lan.machine(0).seeds(content, Machine::PEER_PORT).await;
    listed(&lan, content).await;
    // The greedy are first.
    let (to, wanted) = (seed.address, content.clone());
    let taking = lan.host(1).inside(move |stop| async move {
        let takers = (0..greedy).map(|number| {
            let taste = if number % 2 == 0 { Taste::Anything } else { Taste::TheFirst };
            takes(to, &wanted, taste, stop.clone())
        });
        futures_util::future::join_all(takers).await
    });
    let running: Vec<_> = (0..honest)
        .map(|number| lan.machine(number + 2).gets(content, Machine::PEER_PORT, &[]))
        .collect();
    let first = eventually("one has the whole file", 3 * SOON, async || {
        let texts: Vec<String> = running.iter().map(|running| running.stdout()).collect();
        let complete = |text: &String| {
            events(text).find(|event| event["event"] == "complete")?["seconds"].as_f64()
        };
        texts.iter().find_map(complete).ok_or(texts.last().and_then(|text| events(text).last()))
    })
    .await;
    for (running, number) in running.into_iter().zip(2..) {
        let _ = running.ends(4 * SOON).await.with_code(0);
        content.is_at(&lan.machine(number).cli().path("a")).await;
    }
    taking.stops().await;
    first
}

/// Waits until the coordinator of a LAN knows its first seed.
async fn listed(lan: &Lan, content: &Content) {
    let hub = SocketAddr::new(lan.host(0).ip().into(), Machine::COORDINATOR_PORT);
    let hash = content.hash();
    let listed = lan.host(0).inside(move |_| async move {
        eventually("the seed is in the table", SOON, async || match holders(hub, hash).await {
            found if found.full == 0 => Err(found),
            _ => Ok(()),
        })
        .await;
    });
    listed.ends().await;
}

/// As many descriptors as this process may have.
pub(super) fn raise_descriptors() -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Fails where it is so many already.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

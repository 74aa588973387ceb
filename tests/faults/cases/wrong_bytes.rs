//! Peers that send wrong bytes, too few, too many, or none. One honest peer is enough.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tnet_peer::Traffic;
use tnet_testkit::{Behaviour, Content, Network, RawPeer, SOON, get_args, is, payload, stays};

use crate::support::case::cases;

cases![
    16 "one peer flips a bit in some of its chunks" a_peer_that_sends_wrong_bytes_is_named_and_banned;
    17 "10, 30 and 50 % of the peers send nothing but wrong bytes, or all but one" corrupting_peers_do_not_stop_a_download_with_one_honest_peer;
    18 "chunks too short, too long, or with a tail that never comes" chunks_of_another_length_cost_seconds;
    23 "a peer claims all chunks and has none" a_peer_that_refuses_what_it_claims_is_not_asked_for_ever;
    24 "a peer accepts requests and never sends" a_peer_that_never_sends_costs_seconds;
    25 "a peer drips a byte a second" a_peer_that_drips_costs_seconds;
];

/// More chunks than are asked for at once, and no multiple of eight.
const CHUNKS: u32 = 97;
const LEN: u64 = CHUNKS as u64 * 16 * 1024;

/// For shares and times, some more: 388 chunks.
const LONG: u64 = 388 * LONG_CHUNK;

/// What files of that length are cut into.
const LONG_CHUNK: u64 = 32 * 1024;

#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn percent(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole as f64
}

/// A download from one bad peer and three honest peers.
async fn with_one_bad_peer(share: u32) -> (Traffic, Option<Duration>, Duration) {
    let network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LONG, 16));
    let holder = content.raw_peer();
    let _honest = join_all((0..3).map(|_| network.raw(holder.clone()))).await;
    let bad_peer = network.raw(holder.behaving(Behaviour::FlipsBit { percent: share })).await;
    let began = Instant::now();
    let ann = network.peer("ann");
    let fetching = ann.fetches(&content);
    let watched = async {
        while !bad_peer.counters().was_banned() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        began.elapsed()
    };
    let mut fetching = std::pin::pin!(fetching);
    let (fetched, banned) = tokio::select! {
        banned = watched => (fetching.await, Some(banned)),
        fetched = &mut fetching => (fetched, None),
    };
    // A peer that sends few wrong chunks may send only one in a short download.
    let banned = match banned {
        None if fetched.summary.traffic.corrupt >= 2 => {
            bad_peer
                .counters_are("the bad peer is banned", SOON, |counters| counters.was_banned())
                .await;
            Some(began.elapsed())
        }
        seen => seen,
    };
    if banned.is_some() {
        let corrupt_peers = fetched.summary.corrupt_peers;
        assert!(
            corrupt_peers.len() == 1
                && corrupt_peers[0].banned
                && corrupt_peers[0].address == Some(bad_peer.address()),
            "{corrupt_peers:?}"
        );
        let bans = ann.status().await.expect("ann runs").bans;
        assert!(bans.iter().any(|ban| ban.address == bad_peer.address()), "{bans:?}");
        assert_eq!(bad_peer.counters().greeted, 1, "a banned peer is not called again");
    }
    (fetched.summary.traffic, banned, fetched.summary.elapsed)
}

async fn a_peer_that_sends_wrong_bytes_is_named_and_banned() -> String {
    let (_, _, clean) = with_one_bad_peer(0).await;
    let mut figures = Vec::new();
    for share in [5, 30, 100] {
        let (traffic, banned, elapsed) = with_one_bad_peer(share).await;
        // After one wrong chunk others are asked first: a short download may be over before the
        // second.
        assert!(
            traffic.corrupt < 2 || banned.is_some(),
            "the second wrong chunk is a ban: {traffic:?}"
        );
        assert!(traffic.bytes_wasted >= traffic.corrupt * LONG_CHUNK, "{traffic:?}");
        let wasted = percent(traffic.bytes_wasted, LONG);
        let after = banned.map_or("not in that time".to_owned(), |after| {
            format!("after {} ms", after.as_millis())
        });
        let slower = elapsed.as_secs_f64() / clean.as_secs_f64();
        figures.push(format!(
            "{share} %: {wasted:.1} % wasted, banned {after}, {slower:.1}x the time"
        ));
    }
    // The same as a user sees it: named when it happens, and with the result.
    let network = Network::builder().start().await;
    let content = Content::of(payload(LEN, 17));
    let honest = network.raw(content.raw_peer().allowing(0)).await;
    let bad_peer =
        network.raw(content.raw_peer().behaving(Behaviour::FlipsBit { percent: 100 })).await;
    let user = network.user_with_info("ann", &content);
    let get = get_args("a.fileinfo", &["--linger", "0s"]);
    let running = user.start(get);
    bad_peer.counters_are("the bad peer is banned", SOON, |counters| counters.was_banned()).await;
    honest.allow_all().await;
    let finished = running.ends(SOON).await.with_code(0);
    let named = format!("banned {}", bad_peer.address());
    assert!(finished.stderr.contains(&named), "{named:?} in {:?}", finished.stderr);
    content.is_at(&user.path("a")).await;
    figures.join("; ")
}

/// How long a download takes from that many peers, so many of them poisoners, and what it wastes.
async fn among_poisoners(content: &Content, peers: usize, poisoners: usize) -> (Duration, u64) {
    let network = Network::builder().peer("ann").start().await;
    let holder = content.raw_peer();
    let percent = |number| if number < poisoners { 100 } else { 0 };
    let peer = |number| holder.clone().behaving(Behaviour::FlipsBit { percent: percent(number) });
    let _peers: Vec<RawPeer> = join_all((0..peers).map(|number| network.raw(peer(number)))).await;
    let fetched = network.peer("ann").fetches(content).await;
    (fetched.summary.elapsed, fetched.summary.traffic.bytes_wasted)
}

async fn corrupting_peers_do_not_stop_a_download_with_one_honest_peer() -> String {
    const PEERS: usize = 10;
    let content = Content::of(payload(LONG, 18));
    let (clean, _) = among_poisoners(&content, PEERS, 0).await;
    let mut figures = Vec::new();
    for poisoners in [1, 3, 5, 9] {
        let (elapsed, wasted) = among_poisoners(&content, PEERS, poisoners).await;
        // When the second wrong chunk of one is known, some more of its chunks have arrived.
        let most = poisoners as u64 * 10 * LONG_CHUNK;
        assert!(wasted <= most, "{wasted} bytes wasted by {poisoners} poisoners");
        let slower = elapsed.as_secs_f64() / clean.as_secs_f64();
        figures.push(format!(
            "{}0 %: {slower:.1}x the time, {:.1} % wasted",
            poisoners,
            percent(wasted, LONG)
        ));
    }
    figures.join("; ")
}

/// How much longer a download takes when it met such a peer before the honest one.
async fn delay_by(behaviour: Behaviour) -> (Duration, RawPeer) {
    let network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LEN, 4));
    let honest = network.raw(content.raw_peer().allowing(0)).await;
    let bad_peer = network.raw(content.raw_peer().behaving(behaviour)).await;
    let ann = network.peer("ann").begins(&content).await;
    bad_peer
        .counters_are("the bad peer is asked", SOON, |counters| counters.requests_in_all() > 0)
        .await;
    honest.allow_all().await;
    let began = Instant::now();
    let fetched = network.peer("ann").completes(ann, &content, Duration::from_secs(12)).await;
    assert_eq!(fetched.summary.traffic.corrupt, 0, "nothing wrong was even complete");
    (began.elapsed(), bad_peer)
}

async fn chunks_of_another_length_cost_seconds() -> String {
    let (short, _) = delay_by(Behaviour::WithholdsLastByte).await;
    let network = Network::builder().peer("ann").start().await;
    let content = Content::of(payload(LEN, 12));
    let honest = network.raw(content.raw_peer().allowing(0)).await;
    let bad_peer = network.raw(content.raw_peer().behaving(Behaviour::SendsTooMuch)).await;
    let ann = network.peer("ann").begins(&content).await;
    // It may be cut without a word: what it sent is not read to the end.
    bad_peer
        .counters_are("the bad peer is cut", SOON, |counters| {
            counters.greeted > 0 && counters.connected == 0
        })
        .await;
    // Much longer than the longest pause before an address is called again.
    stays("the bad peer is left alone", Duration::from_millis(1500), async || {
        is(bad_peer.counters().greeted, 1)
    })
    .await;
    assert_eq!(ann.progress().chunks_done, 0, "nothing of the bad peer is stored");
    honest.allow_all().await;
    let fetched = network.peer("ann").completes(ann, &content, SOON).await;
    let retried = fetched.summary.traffic.retried;
    format!(
        "last byte withheld: {:.1} s more; a byte too many: cut at once, {retried} chunks asked for again",
        short.as_secs_f64()
    )
}

async fn a_peer_that_refuses_what_it_claims_is_not_asked_for_ever() -> String {
    let (_, bad_peer) = delay_by(Behaviour::Refuses).await;
    let asked = bad_peer.counters().requests_in_all();
    assert!(asked <= 64, "{:?}", bad_peer.counters());
    format!("{asked} requests in vain")
}

async fn a_peer_that_never_sends_costs_seconds() -> String {
    let (delay, _) = delay_by(Behaviour::NeverSends).await;
    format!("{:.1} s more for the last chunk", delay.as_secs_f64())
}

async fn a_peer_that_drips_costs_seconds() -> String {
    let (delay, bad_peer) = delay_by(Behaviour::Drips { bytes_per_second: NonZeroU32::MIN }).await;
    let asked = bad_peer.counters().requests_in_all();
    format!("{:.1} s more; {asked} slots held for at most that long", delay.as_secs_f64())
}

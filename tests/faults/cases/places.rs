//! Crowds that hold the places of a peer, and connections with the identity of another peer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tnet_testkit::{Content, SOON, eventually, holders, payload};
use tokio::time::Instant;

use crate::support::case::cases;
use crate::support::flood::{Seen, Words, flood_from};
use crate::support::impostor::calls_as;
use crate::support::lan::{Inside, Lan};
use crate::support::machine::{Machine, Serving};
use crate::support::measure::median;
use crate::support::needs::Need;
use crate::support::soak::{at_length, runs};

const MIB: u64 = 1024 * 1024;

/// Honest downloads with the crowd, of which the median counts; without it, if figures count.
const RUNS: usize = 3;

/// The seed keeps a quarter of its places for those it calls.
const PLACES: usize = 1000;
const CALLERS: usize = PLACES - PLACES / 4;

/// How much longer an honest download may take with a crowd at full length, besides the start, in
/// seconds: a process that starts and a first call take the same for a short file and a long one.
const SLOWER: f64 = 1.3;
const START: f64 = 0.3;

/// Seconds that it may take in everyday runs, beside other tests and with a binary that is not
/// optimised. A download that is kept out waits for 60.
const NOT_KEPT_OUT: f64 = 30.0;

cases![
    71 "a crowd from 8 addresses holds all places" a_crowd_from_a_few_addresses_does_not_lock_others_out
        .needing(&[Need::Namespaces]) .measures() .lasts(15);
    71 "a crowd with an address of one IPv6 prefix for each connection holds all places"
        a_crowd_of_one_prefix_does_not_lock_others_out .needing(&[Need::Namespaces]) .measures() .lasts(25);
    71 "a crowd holds all places while 16 receivers share an address"
        a_crowd_does_not_slow_down_a_swarm_behind_one_address .needing(&[Need::Namespaces]) .measures() .lasts(15);
    71 "a crowd holds all places while 16 receivers are in one IPv6 prefix"
        a_crowd_does_not_slow_down_a_swarm_in_one_prefix .needing(&[Need::Namespaces]) .measures() .lasts(20);
    76 "others at the address of a receiver and of a seed say that they are it"
        a_copied_id_replaces_no_connection .needing(&[Need::Namespaces]) .measures() .lasts(20);
];

/// A seed on the first host. The cables of the honest are those of an office; a crowd on the seed's
/// own would be a flood of packets, which no program can do anything about.
struct Seeded {
    lan: Lan,
    content: Content,
    seed: Serving,
    _hub: Serving,
}

impl Seeded {
    async fn new(
        hosts: usize,
        honest: &[usize],
        at: impl Fn(&Lan) -> IpAddr,
        content: Content,
    ) -> Seeded {
        let lan = Lan::new(hosts, 0);
        let ip = at(&lan);
        honest.iter().for_each(|host| lan.limit(*host, 64));
        let machine = lan.user(0, 0, ip, ip);
        let hub = machine.coordinates(Machine::COORDINATOR_PORT).await;
        let most = PLACES.to_string();
        let seed = machine.seeds_with(&content, Machine::PEER_PORT, &["--max-peers", &most]).await;
        let (to, hash) = (SocketAddr::new(ip, Machine::COORDINATOR_PORT), content.hash());
        let listed = lan.host(0).inside(move |_| async move {
            eventually("the seed is in the table", SOON, async || match holders(to, hash).await {
                found if found.full == 0 => Err(found),
                _ => Ok(()),
            })
            .await;
        });
        listed.ends().await;
        Seeded { lan, content, seed, _hub: hub }
    }

    /// Seconds that one honest download takes, from its start as its user sees it.
    async fn download(&self, by: &Machine) -> f64 {
        let _ = std::fs::remove_file(by.cli().path("a"));
        let began = Instant::now();
        by.gets(&self.content, 0, &["--linger", "0s", "--timeout", "60s"])
            .ends(3 * SOON)
            .await
            .with_code(0);
        began.elapsed().as_secs_f64()
    }

    /// All of these download at once, without and with a crowd.
    async fn swarm_beside_a_crowd(
        &self,
        users: &[Machine],
        from: impl Fn(usize) -> IpAddr + Send + 'static,
    ) -> String {
        let all = async || {
            let began = Instant::now();
            futures_util::future::join_all(users.iter().map(|user| self.download(user))).await;
            began.elapsed().as_secs_f64()
        };
        let (mut calm, mut crowded) = (Vec::new(), Vec::new());
        for _ in 0..runs(RUNS) {
            calm.push(all().await);
        }
        let crowd = self.crowd(2, size_of_crowd(), from).await;
        for _ in 0..RUNS {
            crowded.push(all().await);
        }
        crowd.stops().await;
        let (calm, crowded) = (median(&mut calm), median(&mut crowded));
        assert_not_kept_out(calm, crowded, "with the crowd");
        format!(
            "the last of {} receivers: {calm:.2} s alone, {crowded:.2} s with the crowd (median of {RUNS})",
            users.len()
        )
    }

    /// A crowd at the last host, which by now holds what it can get.
    async fn crowd(
        &self,
        at: usize,
        size: usize,
        from: impl Fn(usize) -> IpAddr + Send + 'static,
    ) -> Inside<()> {
        let (to, words) = (self.seed.address, Words::mixed(size, &self.content));
        let seen = Arc::new(Seen::default());
        let seeing = Arc::clone(&seen);
        let crowd =
            self.lan.host(at).inside(move |stop| flood_from(from, to, size, words, seeing, stop));
        eventually("the crowd is in", SOON, async || {
            let open = seen.open();
            if open + 50 >= CALLERS { Ok(()) } else { Err(open) }
        })
        .await;
        // It goes on for a while, so that no connection is new to the seed.
        tokio::time::sleep(Duration::from_secs(1)).await;
        crowd
    }
}

fn size_of_crowd() -> usize {
    at_length(1500, 5000)
}

async fn a_crowd_from_a_few_addresses_does_not_lock_others_out() -> String {
    let content = Content::of(payload(12 * MIB, 71));
    let seeded = Seeded::new(3, &[1], |lan| lan.host(0).ip().into(), content).await;
    let source =
        |number: usize| IpAddr::from([10, 77, 9, u8::try_from(number % 8).expect("small") + 1]);
    (0..8).for_each(|number| seeded.lan.host(2).is_also(source(number)));
    let ann = seeded.lan.machine(1);
    let (mut calm, mut crowded) = (Vec::new(), Vec::new());
    for _ in 0..runs(RUNS) {
        calm.push(seeded.download(&ann).await);
    }
    let crowd = seeded.crowd(2, size_of_crowd(), source).await;
    for _ in 0..RUNS {
        crowded.push(seeded.download(&ann).await);
    }
    crowd.stops().await;
    let (calm, crowded) = (median(&mut calm), median(&mut crowded));
    assert_not_kept_out(calm, crowded, "with the crowd");
    format!(
        "{} connections from 8 addresses, {CALLERS} places: an honest download takes {calm:.2} s alone and {crowded:.2} s \
         with the crowd, {:.2} times (median of {RUNS})",
        size_of_crowd(),
        crowded / calm,
    )
}

/// Where the crowd of one prefix is. Its host has all of it, and so have the honest that are in it
/// too.
const CROWDED: [u16; 4] = [0xfd77, 0, 0, 9];

fn in_prefix(prefix: [u16; 4], host: u16) -> IpAddr {
    let [a, b, c, d] = prefix;
    Ipv6Addr::new(a, b, c, d, 0, 0, 0, host).into()
}

async fn a_crowd_of_one_prefix_does_not_lock_others_out() -> String {
    let own = |host: u16| in_prefix([0xfd77, 0, 0, 1], host);
    let content = Content::of(payload(12 * MIB, 72));
    let seeded = Seeded::new(
        4,
        &[1, 3],
        |lan| {
            (0..3_u8).for_each(|host| lan.host(host.into()).is_also(own(1 + u16::from(host))));
            // A neighbour of the crowd.
            lan.host(3).is_also(in_prefix(CROWDED, 0xffff));
            own(1)
        },
        content,
    )
    .await;
    let lan = &seeded.lan;
    lan.host(2).is_all_of("fd77:0:0:9::/64");
    let IpAddr::V6(via) = own(3) else { unreachable!("it is of version 6") };
    lan.host(0).reaches("fd77:0:0:9::/64", Some(via));
    let IpAddr::V6(neighbour) = in_prefix(CROWDED, 0xffff) else {
        unreachable!("it is of version 6")
    };
    lan.host(0).reaches("fd77:0:0:9::ffff/128", None);
    let elsewhere = lan.user(1, 0, own(2), own(1));
    let beside = lan.user(3, 0, neighbour.into(), own(1));
    let mut times = [const { Vec::new() }; 4];
    for _ in 0..runs(RUNS) {
        times[0].push(seeded.download(&elsewhere).await);
        times[1].push(seeded.download(&beside).await);
    }
    let source = |number: usize| in_prefix(CROWDED, u16::try_from(number + 1).expect("small"));
    let crowd = seeded.crowd(2, size_of_crowd(), source).await;
    for _ in 0..RUNS {
        times[2].push(seeded.download(&elsewhere).await);
        times[3].push(seeded.download(&beside).await);
    }
    crowd.stops().await;
    let [calm_elsewhere, calm_beside, elsewhere, beside] =
        times.each_mut().map(|times| median(times));
    let (far, near) = (elsewhere / calm_elsewhere, beside / calm_beside);
    assert_not_kept_out(calm_elsewhere, elsewhere, "with the crowd");
    assert_not_kept_out(calm_beside, beside, "beside the crowd");
    format!(
        "{} connections with an address each of one /64, {CALLERS} places: a download from elsewhere takes {far:.2} times \
         as long, one from that /64 {near:.2} times (alone {calm_elsewhere:.2} s; median of {RUNS})",
        size_of_crowd(),
    )
}

/// Receivers that compete with a crowd as one.
const RECEIVERS: usize = 16;

async fn a_crowd_does_not_slow_down_a_swarm_behind_one_address() -> String {
    let seeded =
        Seeded::new(3, &[1], |lan| lan.host(0).ip().into(), Content::of(payload(4 * MIB, 73)))
            .await;
    let source =
        |number: usize| IpAddr::from([10, 77, 9, u8::try_from(number % 8).expect("small") + 1]);
    (0..8).for_each(|number| seeded.lan.host(2).is_also(source(number)));
    let (one, hub) = (Ipv4Addr::new(10, 77, 0, 2).into(), Ipv4Addr::new(10, 77, 0, 1).into());
    let users: Vec<Machine> =
        (0..RECEIVERS).map(|user| seeded.lan.user(1, user, one, hub)).collect();
    format!("behind one address: {}", seeded.swarm_beside_a_crowd(&users, source).await)
}

async fn a_crowd_does_not_slow_down_a_swarm_in_one_prefix() -> String {
    let at = |host: u16| in_prefix([0xfd77, 0, 0, 1], host);
    let receivers = 0x10..0x10 + u16::try_from(RECEIVERS).expect("small");
    let seeded = Seeded::new(
        3,
        &[1],
        |lan| {
            lan.host(0).is_also(at(1));
            receivers.clone().for_each(|host| lan.host(1).is_also(at(host)));
            at(1)
        },
        Content::of(payload(4 * MIB, 74)),
    )
    .await;
    let source = |number: usize| in_prefix(CROWDED, u16::try_from(number % 8).expect("small") + 1);
    (0..8).for_each(|number| seeded.lan.host(2).is_also(source(number)));
    let users: Vec<Machine> =
        receivers.zip(0..).map(|(host, user)| seeded.lan.user(1, user, at(host), at(1))).collect();
    format!("in one /64: {}", seeded.swarm_beside_a_crowd(&users, source).await)
}

async fn a_copied_id_replaces_no_connection() -> String {
    let content = Content::of(payload(24 * MIB, 76));
    let seeded = Seeded::new(2, &[1], |lan| lan.host(0).ip().into(), content.clone()).await;
    let ann = seeded.lan.machine(1);
    let receiver = SocketAddr::new(seeded.lan.host(1).ip().into(), Machine::PEER_PORT);
    let fetch = async || {
        let _ = std::fs::remove_file(ann.cli().path("a"));
        let began = Instant::now();
        let get = ann.gets(&content, receiver.port(), &["--linger", "0s", "--timeout", "60s"]);
        get.ends(4 * SOON).await.with_code(0);
        began.elapsed().as_secs_f64()
    };
    let (mut calm, mut attacked) = (Vec::new(), Vec::new());
    for _ in 0..runs(RUNS) {
        calm.push(fetch().await);
    }
    let seed = seeded.seed.address;
    let as_receiver = seeded.lan.host(1).inside(move |stop| calls_as(receiver, seed, stop));
    let as_seed = seeded.lan.host(0).inside(move |stop| calls_as(seed, receiver, stop));
    for _ in 0..RUNS {
        attacked.push(fetch().await);
    }
    let calls = as_receiver.stops().await + as_seed.stops().await;
    let (calm, attacked) = (median(&mut calm), median(&mut attacked));
    assert_not_kept_out(calm, attacked, "with impostors");
    format!(
        "{calls} calls with the id and the port of the receiver at the seed, and of the seed at the receiver: an honest \
         download takes {calm:.2} s alone, {attacked:.2} s meanwhile (median of {RUNS})"
    )
}

fn assert_not_kept_out(calm: f64, crowded: f64, how: &str) {
    assert!(
        crowded <= at_length(NOT_KEPT_OUT, SLOWER * calm + START),
        "{calm} s alone, {crowded} s {how}"
    );
}

//! Handouts of files with many holders.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tnet_fileinfo::FileHash;
use tnet_proto::{Availability, CallResult, Families, PeerId, Reach, ReportEntry};

use super::*;
use crate::registry::location::{Endpoints, PeerLocation};
use crate::registry::networks::AllowAdvertise;
use crate::registry::table::{Epoch, Introduction, Report, Scope, TableLimits};

const FILE: FileHash = FileHash::from_bytes([7; 32]);
const NOW: Duration = Duration::from_secs(1);
const EVERYWHERE: Reach = Reach::Everywhere { port: 7401, families: Families::Both };

struct Swarm {
    table: Table,
    epochs: u64,
    rng: StdRng,
}

impl Swarm {
    fn new() -> Swarm {
        let limits =
            TableLimits { max_peers: 200_000, max_peers_per_ip: 100_000, ..TableLimits::default() };
        Swarm { table: Table::new(limits), epochs: 0, rng: StdRng::seed_from_u64(7) }
    }

    fn holds(&mut self, ip: IpAddr, port: u16, availability: Availability) -> Epoch {
        let id = PeerId(u128::from(self.epochs + 1).to_le_bytes());
        let report_interval = Duration::from_secs(10);
        self.reports(
            &Introduction::seen_at(SocketAddr::new(ip, port), id, report_interval),
            availability,
        )
    }

    fn holds_at(&mut self, introduction: Introduction) -> Epoch {
        self.reports(&introduction, Availability::Full)
    }

    fn reports(&mut self, introduction: &Introduction, availability: Availability) -> Epoch {
        self.epochs += 1;
        let epoch = Epoch(self.epochs);
        self.table.hello(NOW, epoch, introduction).expect("far below the limit");
        let entry = ReportEntry { hash: *FILE.as_bytes(), size: 1, availability };
        let report = Report { seq: 1, scope: Scope::Everything, entries: &[entry] };
        self.table.report(NOW, epoch, report, |_| {});
        epoch
    }

    /// A holder that declares this reach, on a connection with these endpoints.
    fn joins(&mut self, reach: Reach, remote: &str, local: &str) -> Epoch {
        let address = |text: &str| text.parse().expect("an address");
        let ends = Endpoints::new(address(remote), address(local));
        let (location, _) = PeerLocation::of(reach, ends, &AllowAdvertise::default());
        let peer_id = PeerId(u128::from(self.epochs + 1).to_le_bytes());
        let report_interval = Duration::from_secs(10);
        self.holds_at(Introduction { ip: ends.remote.ip(), location, peer_id, report_interval })
    }

    fn crowd(&mut self, ip: IpAddr, ports: u16) {
        for port in 1..=ports {
            self.holds(ip, port, Availability::Full);
        }
    }

    fn handout(&mut self) -> Vec<SocketAddr> {
        self.handout_with(None, &[])
    }

    fn handout_with(&mut self, asker: Option<Epoch>, first: &[Epoch]) -> Vec<SocketAddr> {
        let handout = self.table.handout_with(&FILE, asker, first, &mut self.rng);
        let addresses: Vec<SocketAddr> =
            handout.holders.iter().map(|holder| holder.address).collect();
        assert_eq!(
            addresses.iter().collect::<BTreeSet<_>>().len(),
            addresses.len(),
            "no peer twice"
        );
        addresses
    }
}

fn v4(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + number).into()
}

fn v6(prefix: u16, host: u16) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, prefix, 0, 0, 0, host).into()
}

#[test]
fn one_honest_seed_among_thousands_of_ports_of_few_sources_is_always_named() {
    for sources in [1, 4, 16, 40] {
        let mut swarm = Swarm::new();
        for source in 0..sources {
            swarm.crowd(v4(100 + source), 3000);
        }
        let honest = SocketAddr::new(v4(1), 7401);
        swarm.holds(honest.ip(), honest.port(), Availability::Full);
        swarm.table.check();
        for _ in 0..50 {
            let named = swarm.handout();
            assert!(named.contains(&honest), "of {sources} sources");
            assert_eq!(named.len(), MAX_HOLDERS);
        }
    }
}

#[test]
fn at_most_three_of_a_source_are_named_while_others_are_to_be_had() {
    let mut swarm = Swarm::new();
    swarm.crowd(v4(100), 3000);
    for host in 0..400 {
        swarm.holds(v4(1000 + host), 7401, Availability::Partial);
    }
    for _ in 0..50 {
        let named = swarm.handout();
        let false_ones = named.iter().filter(|address| address.ip() == v4(100)).count();
        assert!(
            (false_ones, named.len()) <= (PER_SOURCE, MAX_HOLDERS),
            "{false_ones} of {}",
            named.len()
        );
    }
}

#[test]
fn all_addresses_of_a_prefix_do_not_crowd_out_another_network() {
    for honest in [v4(1), v6(2, 1)] {
        let mut swarm = Swarm::new();
        for host in 1..=3000 {
            swarm.holds(v6(1, host), 7401, Availability::Full);
        }
        swarm.holds(honest, 7401, Availability::Full);
        for _ in 0..50 {
            assert!(swarm.handout().contains(&SocketAddr::new(honest, 7401)));
        }
    }
}

#[test]
fn all_networks_of_a_site_do_not_crowd_out_another_site() {
    for of_each in [1, 12] {
        let mut swarm = Swarm::new();
        for prefix in 0..512 {
            for host in 1..=of_each {
                swarm.holds(v6(prefix, host), 7401, Availability::Full);
            }
        }
        let honest = SocketAddr::new(v4(1), 7401);
        swarm.holds(honest.ip(), honest.port(), Availability::Full);
        let named = (0..200).filter(|_| swarm.handout().contains(&honest)).count();
        assert_eq!(named, 200, "{of_each} in each network");
    }
}

#[test]
fn more_addresses_than_can_be_listed_are_drawn_evenly_whatever_each_has() {
    let mut swarm = Swarm::new();
    for source in 0..300 {
        swarm.crowd(v4(100 + source), 20);
    }
    let honest = SocketAddr::new(v4(1), 7401);
    swarm.holds(honest.ip(), honest.port(), Availability::Full);
    // About 20 of 301 addresses are drawn evenly: 13 in 200 expected, and 1.7 if holders were drawn
    // evenly.
    let named = (0..1000).filter(|_| swarm.handout().contains(&honest)).count();
    assert!(named > 40, "{named} of 1000");
}

#[test]
fn a_swarm_behind_one_address_or_in_one_prefix_is_drawn_from_evenly() {
    let behind_one: fn(u16) -> (IpAddr, u16) = |number| (v4(1), number + 1);
    let in_one_prefix: fn(u16) -> (IpAddr, u16) = |number| (v6(1, number), 7401);
    for address_of in [behind_one, in_one_prefix] {
        let mut swarm = Swarm::new();
        for number in 0..500 {
            let (ip, port) = address_of(number);
            swarm.holds(ip, port, Availability::Full);
        }
        // 2000 draws of 50 out of 500: each is expected 200 times, sigma 13.
        let mut drawn: BTreeMap<SocketAddr, u32> = BTreeMap::new();
        for _ in 0..2000 {
            let named = swarm.handout();
            assert_eq!(named.len(), MAX_HOLDERS);
            for address in named {
                *drawn.entry(address).or_default() += 1;
            }
        }
        assert_eq!(drawn.len(), 500);
        assert!(drawn.values().all(|times| (120..=280).contains(times)), "{drawn:?}");
    }
}

#[test]
fn a_lone_seed_is_named_among_hosts_with_many_peers_each() {
    let mut swarm = Swarm::new();
    for host in 0..10 {
        for port in 1..=50 {
            swarm.holds(v4(host), port, Availability::Partial);
        }
    }
    let seed = SocketAddr::new(v4(3), 7401);
    swarm.holds(seed.ip(), seed.port(), Availability::Full);
    for _ in 0..50 {
        let named = swarm.handout();
        assert!(named.contains(&seed));
        assert_eq!(named.len(), MAX_HOLDERS);
    }
}

#[test]
fn unreachable_holders_are_named_last_but_named() {
    let mut swarm = Swarm::new();
    let asker =
        |swarm: &mut Swarm, number: u32| swarm.holds(v4(9000 + number), 0, Availability::Partial);
    let (first, second) = (asker(&mut swarm, 1), asker(&mut swarm, 2));
    let again = asker(&mut swarm, 2);
    for host in 0..100 {
        swarm.holds(v4(host), 7401, Availability::Full);
    }
    let doubted = SocketAddr::new(v4(5), 7401);
    let is_last = |swarm: &mut Swarm| {
        let at = swarm.handout().iter().position(|address| *address == doubted);
        at == Some(MAX_HOLDERS - 1)
    };
    // Reports from one network are not enough, regardless of their number.
    for asker in [second, again, second] {
        swarm.table.record_call(NOW, asker, CallResult { address: doubted, reached: false });
    }
    assert!(!(0..20).all(|_| is_last(&mut swarm)));
    swarm.table.record_call(NOW, first, CallResult { address: doubted, reached: false });
    assert!((0..20).all(|_| is_last(&mut swarm)));
    // As many networks that reach it outweigh them.
    swarm.table.record_call(NOW, first, CallResult { address: doubted, reached: true });
    assert!((0..20).all(|_| is_last(&mut swarm)));
    swarm.table.record_call(NOW, second, CallResult { address: doubted, reached: true });
    assert!(!(0..20).all(|_| is_last(&mut swarm)));
    // Reports expire.
    let other = SocketAddr::new(v4(6), 7401);
    for asker in [first, second] {
        swarm.table.record_call(NOW, asker, CallResult { address: other, reached: false });
    }
    assert!(swarm.table.is_doubtful(Some(Site::At(other))));
    swarm.table.expire(NOW + Duration::from_secs(61));
    assert!(!swarm.table.is_doubtful(Some(Site::At(other))));
}

#[test]
fn two_that_conspire_cannot_hide_the_only_honest_one() {
    let mut swarm = Swarm::new();
    for source in 0..16 {
        swarm.crowd(v4(100 + source), 100);
    }
    let honest = SocketAddr::new(v4(1), 7401);
    swarm.holds(honest.ip(), honest.port(), Availability::Full);
    let liars = [1, 2].map(|number| swarm.holds(v4(9000 + number), 0, Availability::Partial));
    for liar in liars {
        swarm.table.record_call(NOW, liar, CallResult { address: honest, reached: false });
    }
    assert!((0..20).all(|_| swarm.handout().contains(&honest)));
}

#[test]
fn those_with_news_are_named_first_and_once() {
    for hosts in [20, 100] {
        let mut swarm = Swarm::new();
        let peers: Vec<Epoch> =
            (0..hosts).map(|host| swarm.holds(v4(host), 7401, Availability::Full)).collect();
        let fresh: Vec<SocketAddr> = (3..8).map(|host| SocketAddr::new(v4(host), 7401)).collect();
        for _ in 0..50 {
            let named = swarm
                .handout_with(Some(peers[0]), &[&peers[3..8], &peers[5..6], &peers[..1]].concat());
            assert_eq!(named[..5], fresh);
            assert_eq!(named.len(), MAX_HOLDERS.min(peers.len() - 1));
        }
    }
}

#[test]
fn no_peer_is_sent_to_the_address_that_it_claims_itself() {
    for asks_first in [true, false] {
        let mut swarm = Swarm::new();
        let shared = SocketAddr::new(v4(3), 7401);
        let asks = |swarm: &mut Swarm| {
            let asker = swarm.holds(shared.ip(), shared.port(), Availability::Partial);
            let entry =
                ReportEntry { hash: *FILE.as_bytes(), size: 1, availability: Availability::None };
            let report = Report { seq: 2, scope: Scope::Changes, entries: &[entry] };
            swarm.table.report(NOW, asker, report, |_| {});
            asker
        };
        let early = asks_first.then(|| asks(&mut swarm));
        for host in 0..60 {
            swarm.holds(v4(host), 7401, Availability::Full);
        }
        let asker = early.unwrap_or_else(|| asks(&mut swarm));
        for _ in 0..50 {
            assert!(!swarm.handout_with(Some(asker), &[]).contains(&shared));
            assert!((0..10).any(|_| swarm.handout().contains(&shared)));
        }
    }
}

/// Connections as the coordinator sees them: a seed on its own machine, a seed on loopback only, a
/// remote seed, and two askers, one of them on the coordinator's machine.
#[test]
fn holders_are_named_at_an_address_that_is_valid_for_the_asker() {
    let mut swarm = Swarm::new();
    let at = |text: &str| Reach::At { address: text.parse().expect("an address") };
    let seed = swarm.joins(EVERYWHERE, "127.0.0.1:50000", "127.0.0.1:7400");
    swarm.joins(at("127.0.0.1:7402"), "127.0.0.1:50001", "127.0.0.1:7400");
    swarm.joins(at("10.92.0.5:7401"), "10.0.0.5:50002", "10.0.0.1:7400");
    let far = swarm.joins(Reach::Nowhere, "10.0.0.9:50003", "10.0.0.1:7400");
    let near = swarm.joins(Reach::Nowhere, "127.0.0.1:50004", "127.0.0.1:7400");
    let mut named = |asker, first: &[Epoch]| {
        let mut named: Vec<String> =
            swarm.handout_with(Some(asker), first).iter().map(ToString::to_string).collect();
        named.sort_unstable();
        named
    };
    for first in [&[][..], &[seed]] {
        assert_eq!(named(far, first), ["10.0.0.1:7401", "10.92.0.5:7401"]);
        assert_eq!(named(near, first), ["10.92.0.5:7401", "127.0.0.1:7401", "127.0.0.1:7402"]);
    }
}

#[test]
fn results_of_calls_count_for_the_called_address() {
    for (reach, seed, local, site, askers) in [
        (
            EVERYWHERE,
            "127.0.0.1:50000",
            "127.0.0.1:7400",
            Site::OnCoordinator(7401),
            [
                ("10.0.0.9:1", "10.0.0.1:7400", "10.0.0.1:7401"),
                ("192.168.5.2:1", "192.168.5.1:7400", "192.168.5.1:7401"),
            ],
        ),
        (
            EVERYWHERE,
            "[fe80::2%3]:50000",
            "[fe80::1%3]:7400",
            Site::At("[fe80::2%3]:7401".parse().expect("an address")),
            [
                ("[fe80::8%3]:1", "[fe80::1%3]:7400", "[fe80::2]:7401"),
                ("[fe80:0:0:1::9%3]:1", "[fe80::1%3]:7400", "[fe80::2]:7401"),
            ],
        ),
    ] {
        let mut swarm = Swarm::new();
        swarm.joins(reach, seed, local);
        for (asker, local, named) in askers {
            assert!(!swarm.table.is_doubtful(Some(site)), "{named}");
            let asker = swarm.joins(Reach::Nowhere, asker, local);
            let address = named.parse().expect("an address");
            swarm.table.record_call(NOW, asker, CallResult { address, reached: false });
        }
        assert!(swarm.table.is_doubtful(Some(site)), "two networks could not reach it");
    }
}

#[test]
fn reports_before_a_restart_do_not_count_for_the_restarted_peer() {
    let anywhere = |ip: &str| (format!("{ip}:50000"), format!("{ip}:7400"));
    let elsewhere = |_: &str| ("10.0.0.2:50000".to_owned(), "10.0.0.1:7400".to_owned());
    for (before, now) in [
        (elsewhere(""), elsewhere("")),
        (anywhere("127.0.0.1"), anywhere("127.0.0.1")),
        (anywhere("127.0.0.1"), anywhere("10.0.0.1")), // it calls the coordinator at another address of their machine
    ] {
        let mut swarm = Swarm::new();
        swarm.joins(EVERYWHERE, &before.0, &before.1);
        let asker = swarm.joins(EVERYWHERE, &now.0, &now.1);
        let other = swarm.joins(EVERYWHERE, "10.0.0.7:50000", "10.0.0.1:7400");
        let told = swarm.table.handout(&FILE, Some(asker), &mut swarm.rng);
        assert_eq!(
            (told.swarm.full, told.holders.len()),
            (2, 1),
            "itself and one more; {before:?}"
        );
        let told = swarm.table.handout(&FILE, Some(other), &mut swarm.rng);
        assert_eq!(told.swarm.full, 3, "{before:?}");
    }
}

#[test]
fn a_peer_that_comes_back_accepts_where_it_is_now() {
    let mut swarm = Swarm::new();
    let comes = |swarm: &mut Swarm, local: &str| {
        let ends =
            Endpoints::new("10.0.0.1:50000".parse().expect("theirs"), local.parse().expect("ours"));
        let (location, _) = PeerLocation::of(EVERYWHERE, ends, &AllowAdvertise::default());
        let report_interval = Duration::from_secs(10);
        swarm.holds_at(Introduction {
            ip: ends.remote.ip(),
            location,
            peer_id: PeerId([7; 16]),
            report_interval,
        })
    };
    // It was on our machine, and its address is that of another one now.
    let first = comes(&mut swarm, "10.0.0.1:7400");
    swarm.table.disconnected(first);
    comes(&mut swarm, "192.168.5.1:7400");
    swarm.table.check();
    assert_eq!(swarm.handout(), ["10.0.0.1:7401".parse().expect("an address")]);
}

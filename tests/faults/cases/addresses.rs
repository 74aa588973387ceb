//! Addresses that mean something else to other hosts, that change, or that cannot be reached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use tnet_testkit::{Content, SOON, eventually, payload};
use tokio::time::Instant;

use crate::support::case::cases;
use crate::support::lan::Lan;
use crate::support::machine::{Machine, Serving};
use crate::support::needs::Need;

const LEN: u64 = 20 * 16 * 1024;

/// How long a getter has patience with peers that it cannot reach.
const PATIENCE: &str = "7s";

cases![
    90 "coordinator and seed on one machine, everything by default"
        a_seed_beside_the_coordinator_is_reachable_from_the_lan .needing(&[Need::Namespaces]);
    90 "a seed that accepts on loopback alone" a_seed_on_loopback_alone_is_not_named_to_other_machines
        .needing(&[Need::Namespaces]);
    91 "a coordinator that is called over IPv6, by its link-local address too"
        default_listeners_take_both_families .needing(&[Need::Namespaces]);
    92 "a network for data beside that of the coordinator" a_peer_is_found_in_the_network_that_it_names
        .needing(&[Need::Namespaces]);
    92 "a port that is published under another number" a_published_port_can_be_named
        .needing(&[Need::Namespaces]);
    93 "the address of a seed goes away" a_seed_is_listed_under_its_new_address .needing(&[Need::Namespaces]);
    93 "the only address at which a seed accepts goes away, and comes back"
        a_peer_without_a_reachable_address_is_not_listed .needing(&[Need::Namespaces]);
    91 "a network of link-local addresses" a_peer_beside_the_coordinator_finds_those_on_its_link
        .needing(&[Need::Namespaces]);
    94 "the only holder refuses connections, or does not answer" an_unreachable_holder_is_reported
        .needing(&[Need::Namespaces]) .lasts(30);
];

const ANYWHERE: &[&str] = &["--listen", "7401"];

fn content(seed: u64) -> Content {
    Content::of(payload(LEN, seed))
}

/// A coordinator at the first host that listens as it does by default.
async fn coordinates(lan: &Lan, more: &[&str]) -> Serving {
    lan.machine(0).starts(&[&["coordinator"][..], more].concat()).await
}

/// A seed at that host.
async fn seeds(lan: &Lan, host: usize, content: &Content, more: &[&str]) -> Serving {
    lan.machine(host).seeds_as(content, more).await
}

/// Where that host is told that holders are, once one is reported.
async fn named(lan: &Lan, host: usize, content: &Content, coordinator: &str) -> Vec<String> {
    let machine = lan.machine(host);
    let hash = content.hash().to_string();
    let who = ["who", &hash, "--json", "-c", coordinator];
    let reported = async || {
        let ended = machine.start(&who).ends(SOON).await;
        let result = ended.result();
        if result["full"] == 1 { Ok(result) } else { Err(result) }
    };
    let result = eventually("a holder is reported", SOON, reported).await;
    let holders = result["holders"].as_array().expect("a list").iter();
    holders.filter_map(|holder| Some(holder["address"].as_str()?.to_owned())).collect()
}

/// That host gets the file, by its description and by its hash.
async fn gets(lan: &Lan, host: usize, content: &Content, coordinator: &str) {
    let machine = lan.machine(host);
    content.write_info(&machine.cli().path("a.fileinfo"));
    let hash = content.hash().to_string();
    for (wanted, out) in [("a.fileinfo", "by-info"), (hash.as_str(), "by-hash")] {
        let get = ["get", wanted, "-o", out, "--foreground", "--linger", "0s", "-c", coordinator];
        machine.start(&get).ends(SOON).await.with_code(0);
        content.is_at(&machine.cli().path(out)).await;
    }
}

/// The IPv6 address of that host where hosts have one: `fd79::1` and so on.
fn local_ipv6(host: usize) -> IpAddr {
    Ipv6Addr::new(0xfd79, 0, 0, 0, 0, 0, 0, 1 + u16::try_from(host).expect("few")).into()
}

fn ip(lan: &Lan, host: usize) -> String {
    lan.host(host).ip().to_string()
}

async fn a_seed_beside_the_coordinator_is_reachable_from_the_lan() -> String {
    let content = content(90);
    let lan = Lan::new(2, 0);
    (0..2).for_each(|host| lan.host(host).is_also(local_ipv6(host)));
    let _hub = coordinates(&lan, &[]).await;
    let _seed = seeds(&lan, 0, &content, &["-c", "127.0.0.1"]).await;
    let status = lan.machine(0).start(&["status"]).ends(SOON).await.with_code(0);
    let words = status.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("others are sent to port 7401 of this machine"), "{words}");
    for (coordinator, at) in [
        (ip(&lan, 0), format!("{}:7401", ip(&lan, 0))),
        ("fd79::1".to_owned(), "[fd79::1]:7401".to_owned()),
    ] {
        assert_eq!(named(&lan, 1, &content, &coordinator).await, [at]);
        gets(&lan, 1, &content, &coordinator).await;
    }
    assert_eq!(named(&lan, 0, &content, "127.0.0.1").await, ["127.0.0.1:7401"]);
    "named at the address at which the asker has reached the coordinator, over IPv4 and IPv6"
        .to_owned()
}

async fn a_seed_on_loopback_alone_is_not_named_to_other_machines() -> String {
    let content = content(91);
    let lan = Lan::new(2, 0);
    let _hub = coordinates(&lan, &[]).await;
    let alone = ["-c", "127.0.0.1", "--listen", "127.0.0.1:7401"];
    let _seed = seeds(&lan, 0, &content, &alone).await;
    assert_eq!(named(&lan, 1, &content, &ip(&lan, 0)).await, Vec::<String>::new());
    assert_eq!(named(&lan, 0, &content, "127.0.0.1").await, ["127.0.0.1:7401"]);
    let machine = lan.machine(1);
    content.write_info(&machine.cli().path("a.fileinfo"));
    let hash = content.hash().to_string();
    for wanted in ["a.fileinfo", &hash] {
        let get = ["get", wanted, "-o", "a", "--foreground", "--timeout", "2s"];
        let ended = machine.start(&get).ends(SOON).await.with_code(5);
        assert!(ended.stderr.contains("1 peer has it and cannot be reached"), "{ended:?}");
    }
    // A seed on another host is told why it is not found.
    let _deaf = seeds(&lan, 1, &content, &["--listen", "127.0.0.1:7401"]).await;
    let status = lan.machine(1).start(&["status"]).ends(SOON).await.with_code(0);
    assert!(status.stdout.contains("we accept at 127.0.0.1 only"), "{}", status.stdout);
    "not named to other machines; get ends with 5, status says why".to_owned()
}

async fn default_listeners_take_both_families() -> String {
    let content = content(92);
    let lan = Lan::new(3, 0);
    (0..3).for_each(|host| lan.host(host).is_also(local_ipv6(host)));
    let _hub = coordinates(&lan, &[]).await;
    let seed = seeds(&lan, 1, &content, &["-c", "fd79::1"]).await;
    assert_eq!(named(&lan, 2, &content, "fd79::1").await, ["[fd79::2]:7401"]);
    gets(&lan, 2, &content, "fd79::1").await;
    drop(seed);
    // A peer that accepts IPv4 only is not named over IPv6.
    let lan = Lan::new(3, 0);
    (0..3).for_each(|host| lan.host(host).is_also(local_ipv6(host)));
    let _hub = coordinates(&lan, &[]).await;
    let deaf = seeds(&lan, 1, &content, &["-c", "fd79::1", "--listen", "0.0.0.0:7401"]).await;
    assert_eq!(named(&lan, 2, &content, "fd79::1").await, Vec::<String>::new());
    drop(deaf);
    // Over the link alone.
    let lan = Lan::new(3, 0);
    let there = lan.host(0).link_local();
    let (coordinator, unknown) = (format!("{there}%eth0"), format!("{there}%nothere0"));
    let _hub = coordinates(&lan, &[]).await;
    let _seed = seeds(&lan, 1, &content, &["-c", &coordinator]).await;
    let holders = named(&lan, 2, &content, &coordinator).await;
    assert!(holders.len() == 1 && holders[0].starts_with("[fe80::"), "{holders:?}");
    assert_eq!(
        named(&lan, 2, &content, &ip(&lan, 0)).await,
        Vec::<String>::new(),
        "not for the whole LAN"
    );
    gets(&lan, 2, &content, &coordinator).await;
    let refused = lan.machine(2).start(&["who", "-c", &unknown]).ends(SOON).await.with_code(2);
    assert!(refused.stderr.contains("no network interface \"nothere0\""), "{refused:?}");
    "listed and reached over IPv6 and over the link; not listed where it does not accept".to_owned()
}

async fn a_peer_is_found_in_the_network_that_it_names() -> String {
    let content = content(93);
    let advertised = ["--advertise", "10.92.0.2"];
    let alone = ["--listen", "10.92.0.2:7401"];
    for seed in [&advertised[..], &alone] {
        let lan = Lan::new(3, 0);
        (1..3).for_each(|host| lan.host(host).is_also(data_ip(host)));
        let _hub = coordinates(&lan, &[]).await;
        let _seed = seeds(&lan, 1, &content, seed).await;
        assert_eq!(named(&lan, 2, &content, &ip(&lan, 0)).await, ["10.92.0.2:7401"]);
        gets(&lan, 2, &content, &ip(&lan, 0)).await;
    }
    // Outside of what the coordinator was told.
    let lan = Lan::new(3, 0);
    let _hub = coordinates(&lan, &["--allow-advertise", "none,10.93.0.0/16"]).await;
    let _seed = seeds(&lan, 1, &content, &advertised).await;
    assert_eq!(named(&lan, 2, &content, &ip(&lan, 0)).await, Vec::<String>::new());
    let status = lan.machine(1).start(&["status"]).ends(SOON).await.with_code(0);
    let words = status.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("start it with --allow-advertise 10.92.0.2"), "{}", status.stdout);
    "found there by --advertise and by --listen; refused outside of the coordinator's networks, with the cure"
        .to_owned()
}

fn data_ip(host: usize) -> IpAddr {
    Ipv4Addr::new(10, 92, 0, 1 + u8::try_from(host).expect("few")).into()
}

async fn a_published_port_can_be_named() -> String {
    let content = content(94);
    let lan = Lan::new(3, 0);
    let _hub = coordinates(&lan, &[]).await;
    lan.host(1).publishes(9000, 7401);
    let at = format!("{}:9000", ip(&lan, 1));
    let _seed = seeds(&lan, 1, &content, &["--advertise", &at]).await;
    assert_eq!(named(&lan, 2, &content, &ip(&lan, 0)).await, [at]);
    gets(&lan, 2, &content, &ip(&lan, 0)).await;
    "found at the published port".to_owned()
}

async fn a_seed_is_listed_under_its_new_address() -> String {
    let content = content(95);
    let lan = Lan::new(3, 0);
    let _hub = coordinates(&lan, &[]).await;
    let _seed = seeds(&lan, 1, &content, ANYWHERE).await;
    let old = format!("{}:7401", ip(&lan, 1));
    assert_eq!(named(&lan, 2, &content, &ip(&lan, 0)).await, [old]);
    let moved = Instant::now();
    lan.host(1).moves_to(Ipv4Addr::new(10, 77, 9, 9));
    let machine = lan.machine(2);
    let hash = content.hash().to_string();
    let listed = async || {
        let result = machine.start(&["who", &hash, "--json"]).ends(SOON).await.result();
        let named = result["holders"].to_string();
        if named.contains("10.77.9.9:7401") { Ok(()) } else { Err(named) }
    };
    // A report interval of 10 s, a pause, and what a busy machine takes.
    eventually("it is listed anew", Duration::from_secs(25), listed).await;
    format!("listed under the new one after {:.1} s", moved.elapsed().as_secs_f64())
}

/// The coordinator is reached in another network, so the connection to it does not notice.
async fn a_peer_without_a_reachable_address_is_not_listed() -> String {
    let content = content(97);
    let lan = Lan::new(3, 0);
    let data = Ipv4Addr::new(10, 92, 0, 2);
    lan.host(1).is_also(data.into());
    let _hub = coordinates(&lan, &[]).await;
    let _seed = seeds(&lan, 1, &content, &["--listen", "10.92.0.2:7401"]).await;
    assert_eq!(named(&lan, 2, &content, &ip(&lan, 0)).await, ["10.92.0.2:7401"]);
    let machine = lan.machine(2);
    let hash = content.hash().to_string();
    let holders = async || {
        machine.start(&["who", &hash, "--json"]).ends(SOON).await.result()["holders"].to_string()
    };
    let comes_to = async |there: bool| {
        let holders = holders().await;
        if holders.contains("10.92.0.2:7401") == there { Ok(()) } else { Err(holders) }
    };
    // A report interval of 10 s, a pause, and what a busy machine takes.
    let within = Duration::from_secs(25);
    lan.host(1).is_no_longer(data);
    eventually("it is not listed", within, async || comes_to(false).await).await;
    let says_why = async || {
        let status = lan.machine(1).start(&["status"]).ends(SOON).await.with_code(0);
        let words = status.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        let why = "we accept at 10.92.0.2 only, which is not an address of this machine";
        if words.contains(why) { Ok(()) } else { Err(words) }
    };
    eventually("its status says why", within, says_why).await;
    lan.host(1).is_also(data.into());
    eventually("it is listed again", within, async || comes_to(true).await).await;
    "not listed while it is gone, and its status says so".to_owned()
}

async fn a_peer_beside_the_coordinator_finds_those_on_its_link() -> String {
    let content = content(98);
    let lan = Lan::new(2, 0);
    (0..2).for_each(|host| lan.host(host).is_also(link_ip(host)));
    let _hub = coordinates(&lan, &[]).await;
    let seed = ["-c", &link_ip(0).to_string()].map(str::to_owned);
    let _seed = seeds(&lan, 1, &content, &seed.each_ref().map(String::as_str)).await;
    for coordinator in ["127.0.0.1", &link_ip(0).to_string()] {
        assert_eq!(named(&lan, 0, &content, coordinator).await, [format!("{}:7401", link_ip(1))]);
        gets(&lan, 0, &content, coordinator).await;
    }
    "found by one that calls the coordinator at 127.0.0.1 and by one that calls it on the link"
        .to_owned()
}

fn link_ip(host: usize) -> IpAddr {
    Ipv4Addr::new(169, 254, 7, 1 + u8::try_from(host).expect("few")).into()
}

async fn an_unreachable_holder_is_reported() -> String {
    let content = content(96);
    let mut said = Vec::new();
    for (rule, reason) in [("drop", "timed out"), ("reject with tcp reset", "refused")] {
        let lan = Lan::new(3, 0);
        let _hub = coordinates(&lan, &[]).await;
        let _seed = seeds(&lan, 1, &content, ANYWHERE).await;
        let at = format!("{}:7401", ip(&lan, 1));
        assert_eq!(named(&lan, 2, &content, &ip(&lan, 0)).await, std::slice::from_ref(&at));
        lan.host(1).refuses(Machine::PEER_PORT, rule);
        let machine = lan.machine(2);
        content.write_info(&machine.cli().path("a.fileinfo"));
        let hash = content.hash().to_string();
        for wanted in ["a.fileinfo", &hash] {
            let get = ["get", wanted, "-o", "a", "--foreground", "--timeout", PATIENCE];
            let ended = machine.start(&get).ends(2 * SOON).await.with_code(5);
            let expected = format!("1 peer has it and cannot be reached at {at} ({reason})");
            assert!(ended.stderr.contains(&expected), "{ended:?}");
            // Nor is it said while it waits.
            assert!(!ended.stderr.contains("no peer has the file"), "{ended:?}");
        }
        said.push(reason);
    }
    format!("1 peer, code 5, {}", said.join(" and "))
}

//! What others say about where peers are, as sentences: it must cost nobody a peer, and third
//! parties few calls.

use std::net::SocketAddr;

use tnet_proto::{Holdings, PeerId, PeerMessage};

use super::desk::*;
use crate::{Config, Direction, Input, Output, PeerKey};
use tnet_sources::SourceState;

const HOST: &str = "10.0.7.7";

fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

fn id(number: u64) -> PeerId {
    let mut id = [1; 16];
    id[..8].copy_from_slice(&number.to_le_bytes());
    PeerId(id)
}

/// A peer calls from this address and says that it accepts peers there.
fn calls_from(desk: &mut Desk, number: u64, address: SocketAddr) -> PeerKey {
    let peer = PeerKey(number);
    desk.connected(peer, id(number), Some(address), Direction::Inbound);
    peer
}

/// The same, and it opens the file without a chunk of it.
fn leecher(desk: &mut Desk, number: u64, address: SocketAddr) -> (PeerKey, Vec<Output>) {
    let peer = calls_from(desk, number, address);
    let outputs = desk.open(peer, &[]);
    (peer, outputs)
}

fn holders(addresses: &[SocketAddr]) -> Input {
    Input::Holders { file: FILE, addresses: addresses.to_vec() }
}

fn names(desk: &mut Desk, namer: PeerKey, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    called(&desk.say(namer, PeerMessage::Peers { file: THEIRS, peers: addresses.to_vec() }))
}

/// Lets the calls fail, and those that follow from that at once; answers with all of them.
fn all_fail(desk: &mut Desk, first: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let (mut calls, mut next) = (first, 0);
    while let Some(address) = calls.get(next).copied() {
        calls.extend(called(&desk.input(Input::ConnectFailed { address })));
        next += 1;
    }
    calls
}

#[test]
fn a_caller_that_declares_the_port_of_a_holder_and_comes_and_goes_does_not_put_off_its_call() {
    let mut desk = Desk::downloading(2, Config::default());
    let address = Desk::address(50);
    let mut calls = Vec::new();
    for round in 0..6 {
        let evil = calls_from(&mut desk, 100 + round, address);
        desk.say(evil, desk.open_message(FILE, THEIRS, Holdings::Full));
        calls.extend(called(&desk.input(holders(&[address]))));
        calls.extend(called(&desk.wait(millis(100))));
        calls.extend(called(&desk.input(Input::PeerLost { peer: evil })));
        calls.extend(called(&desk.wait(millis(100))));
    }
    assert_eq!(calls, [address]);
}

#[test]
fn a_call_that_we_could_not_make_is_no_failure_of_the_address_nor_of_its_namer() {
    let mut desk = Desk::downloading(2, Config::default());
    let address = at(HOST, 1);
    let (namer, _) = leecher(&mut desk, 7, Desk::address(7));
    assert_eq!(names(&mut desk, namer, &[address]), [address]);
    // Each time after the first pause, which does not grow.
    for round in 0..10 {
        desk.input(Input::NotCalled { address });
        let outputs = desk.wait(millis(800));
        assert!(called(&outputs).contains(&address), "{round}");
    }
    // Now it fails for the first time: only now it counts.
    desk.input(Input::ConnectFailed { address });
    assert!(!called(&desk.wait(secs(10))).contains(&address));
}

#[test]
fn one_good_chunk_does_not_keep_us_for_ever_from_calling_where_its_sender_says_it_is() {
    let mut desk = Desk::downloading(8, with_slots(4));
    let (squatter, outputs) = desk.full_holder();
    let (_, chunk) = asked(&outputs)[0];
    desk.arrive(squatter, chunk);
    desk.store(chunk);
    let mut calls = called(&desk.input(holders(&[Desk::address(1)])));
    calls.extend(called(&desk.wait(secs(5))));
    assert_eq!(calls, []);
    assert_eq!(called(&desk.wait(secs(25))), [Desk::address(1)]);
}

/// Something of a chunk that was asked for has come from this peer, which holds all.
fn sends_a_first_chunk(desk: &mut Desk, peer: PeerKey) {
    let outputs = desk.say(peer, desk.open_message(FILE, THEIRS, Holdings::Full));
    assert_ne!(asked(&outputs), []);
    desk.input(Input::DataReceived { peer, bytes: 100 });
}

#[test]
fn a_connection_that_we_end_in_the_middle_of_a_chunk_is_not_held_against_its_source() {
    let mut desk = Desk::downloading(8, with_slots(4));
    let (address, large) = (Desk::address(50), PeerId([200; 16]));
    desk.connected(PeerKey(10), large, Some(address), Direction::Inbound);
    sends_a_first_chunk(&mut desk, PeerKey(10));
    let outputs = desk.connected(PeerKey(11), large, Some(address), Direction::Outbound);
    assert_eq!(disconnected(&outputs).len(), 1);
    assert_eq!(desk.swarm.sources.state(desk.now, address.ip()).0, SourceState::Clean);
    // One that goes by itself has cost us what it sent.
    sends_a_first_chunk(&mut desk, PeerKey(11));
    desk.input(Input::PeerLost { peer: PeerKey(11) });
    assert_eq!(desk.swarm.sources.state(desk.now, address.ip()).0, SourceState::Paused);
}

#[test]
fn a_caller_that_sends_its_first_chunk_does_not_make_room() {
    let mut desk = Desk::downloading(8, Config { max_peers: 8, ..with_slots(4) });
    let sender = calls_from(&mut desk, 1, at(HOST, 1));
    sends_a_first_chunk(&mut desk, sender);
    for port in 2..=6 {
        calls_from(&mut desk, u64::from(port), at(HOST, port));
    }
    for number in 10..20 {
        desk.now = desk.now + millis(5);
        calls_from(&mut desk, number, at("10.0.8.8", 1));
        assert!(desk.swarm.is_connected(sender), "{number}");
    }
}

#[test]
fn half_a_chunk_that_was_stopped_is_no_part_of_the_next() {
    let mut desk = Desk::downloading(8, with_slots(1));
    let (peer, outputs) = desk.full_holder();
    let (_, chunk) = asked(&outputs)[0];
    desk.input(Input::DataReceived { peer, bytes: 100 });
    desk.say(peer, PeerMessage::Stopped { file: THEIRS, chunk });
    assert_eq!(desk.swarm.peers[&peer].in_chunk, 0);
}

#[test]
fn an_address_that_comes_to_nothing_again_and_again_counts_once_against_its_namer() {
    let mut desk = Desk::downloading(4, Config::default());
    let (namer, _) = leecher(&mut desk, 1, at("10.0.1.1", 1));
    let first = names(&mut desk, namer, &[at("10.0.2.2", 1), at("10.0.3.3", 1)]);
    assert_eq!(all_fail(&mut desk, first).len(), 2);
    let mut calls = 2;
    for _ in 0..215 {
        let again = called(&desk.wait(secs(1)));
        calls += all_fail(&mut desk, again).len();
    }
    assert!(calls >= 8, "{calls}");
    assert!(desk.swarm.sources.may_name(desk.now, [10, 0, 1, 1].into()));
}

#[test]
fn of_one_source_three_are_named_that_were_not_reached_beside_others() {
    let mut desk = Desk::seeding(4, Config::default());
    for port in 1..=10 {
        leecher(&mut desk, u64::from(port), at(HOST, port));
    }
    leecher(&mut desk, 50, at("10.0.8.8", 1));
    let (last, outputs) = leecher(&mut desk, 60, at("10.0.9.9", 1));
    let named = told(&outputs, last).into_iter().find_map(|message| match message {
        PeerMessage::Peers { peers, .. } => Some(peers),
        _ => None,
    });
    let named = named.unwrap();
    assert!(named.contains(&at("10.0.8.8", 1)));
    assert_eq!(named.len(), 4, "{named:?}");
}

#[test]
fn in_a_swarm_behind_one_address_all_are_named() {
    let mut desk = Desk::seeding(4, Config::default());
    for port in 1..=16 {
        let (peer, outputs) = leecher(&mut desk, u64::from(port), at(HOST, port));
        let named = told(&outputs, peer).into_iter().find_map(|message| match message {
            PeerMessage::Peers { peers, .. } => Some(peers.len()),
            _ => None,
        });
        assert_eq!(named.unwrap_or(0), usize::from(port - 1));
    }
}

#[test]
fn callers_that_come_one_after_another_leave_few_addresses_and_keep_no_peer_from_naming() {
    let mut desk = Desk::downloading(4, Config::default());
    for port in 1..=60u16 {
        let (peer, _) = leecher(&mut desk, u64::from(port), at(HOST, port));
        desk.input(Input::PeerLost { peer });
    }
    let known = desk.swarm.known_addresses();
    assert!(known <= 40, "{known} addresses");
    // As many as would do for a file, of several sources.
    for source in 0..7 {
        for port in 1..=33u16 {
            let number = 1000 + 100 * source + u64::from(port);
            let (peer, _) = leecher(&mut desk, number, at(&format!("10.0.6.{source}"), port));
            desk.input(Input::PeerLost { peer });
        }
    }
    // Nor do those that stay.
    for number in 0..210u16 {
        leecher(
            &mut desk,
            4000 + u64::from(number),
            at(&format!("10.0.5.{}", number % 20), 1 + number),
        );
    }
    let (namer, _) = leecher(&mut desk, 5000, at("10.0.1.1", 1));
    let named = at("10.0.2.2", 1);
    names(&mut desk, namer, &[named]);
    assert!(desk.swarm.addresses.contact(named).is_some());
}

#[test]
fn of_a_host_whose_callers_say_ports_one_is_called_at_a_time_and_two_that_fail() {
    let mut desk = Desk::downloading(4, Config::default());
    for port in 1..=16 {
        leecher(&mut desk, u64::from(port), at(HOST, port));
    }
    desk.wait(secs(2));
    // Whatever has us look for somebody to call.
    let elsewhere = at("10.0.9.9", 1);
    let mut first = called(&desk.input(holders(&[elsewhere])));
    first.retain(|address| *address != elsewhere);
    assert_eq!(first.len(), 1);
    assert_eq!(all_fail(&mut desk, first).len(), 2);
    assert_eq!(called(&desk.wait(secs(20))), []);
}

/// Somebody has named 20 ports of a host; two calls came to nothing. Answers with a port that was
/// not called.
fn squatted(desk: &mut Desk) -> SocketAddr {
    let (squatter, _) = leecher(desk, 1, at("10.0.1.1", 1));
    let all: Vec<SocketAddr> = (1..=20).map(|port| at(HOST, port)).collect();
    let first = names(desk, squatter, &all);
    let calls = all_fail(desk, first);
    assert_eq!(calls.len(), 2);
    all.into_iter().find(|address| !calls.contains(address)).unwrap()
}

#[test]
fn an_address_that_a_squatter_named_is_called_when_another_source_names_it() {
    let mut desk = Desk::downloading(4, Config::default());
    let good = squatted(&mut desk);
    let (honest, _) = leecher(&mut desk, 2, at("10.0.4.4", 1));
    assert_eq!(names(&mut desk, honest, &[good]), [good]);
}

#[test]
fn what_is_not_called_for_now_does_not_wake_us() {
    let mut desk = Desk::downloading(4, Config::default());
    squatted(&mut desk);
    let (end, mut wakes) = (desk.now + secs(10), 0);
    while let Some(next) = desk.swarm.next_timeout().filter(|at| *at <= end) {
        desk.now = next.max(desk.now);
        desk.input(Input::Tick);
        wakes += 1;
    }
    assert!(wakes < 30, "{wakes} wakes in 10 s");
}

#[test]
fn peers_behind_one_address_name_each_other_though_some_of_them_are_gone() {
    let mut desk = Desk::downloading(4, Config::default());
    let reached = at(HOST, 1000);
    desk.input(holders(&[reached]));
    desk.connected(PeerKey(1), id(1), Some(reached), Direction::Outbound);
    desk.open(PeerKey(1), &[]);
    let all: Vec<SocketAddr> = (1..=6).map(|port| at(HOST, port)).collect();
    let first = names(&mut desk, PeerKey(1), &all);
    assert_eq!(sorted(all_fail(&mut desk, first)), all);
}

#[test]
fn an_ipv4_address_within_ipv6_is_no_other_address() {
    let mut desk = Desk::downloading(4, Config::default());
    let both = [at("10.0.2.2", 5), "[::ffff:10.0.2.2]:5".parse().unwrap()];
    assert_eq!(called(&desk.input(holders(&both))), [both[0]]);
    assert_eq!(desk.swarm.known_addresses(), 1);
}

#[test]
fn a_caller_that_is_turned_away_does_not_end_our_call_to_where_it_says_it_is() {
    let mut desk = Desk::downloading(4, Config::default());
    let address = Desk::address(50);
    assert_eq!(called(&desk.input(holders(&[address]))), [address]);
    let outputs = desk.connected(PeerKey(9), PeerId([128; 16]), Some(address), Direction::Inbound);
    assert_eq!(disconnected(&outputs).len(), 1);
    assert_eq!(desk.swarm.addresses.calling(), 1);
}

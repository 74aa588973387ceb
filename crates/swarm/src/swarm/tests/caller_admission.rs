//! Which callers keep their connection when there are more of them than places.

use std::net::SocketAddr;

use tnet_proto::{ByeReason, PeerId, PeerMessage};

use super::desk::*;
use crate::swarm::caller_admission::{PROVEN_FOR, SETTLING};
use crate::{Config, Direction, Input, Output, PeerKey, UploadEnd};

/// A process that serves a file and has so many places for callers.
fn seeding(places: usize) -> Desk {
    Desk::seeding(8, Config { max_peers: places * 4 / 3, ..with_slots(4) })
}

/// A stranger calls from this address.
fn calls(desk: &mut Desk, number: u32, from: &str) -> Vec<(PeerKey, ByeReason)> {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    let address = SocketAddr::new(from.parse().unwrap(), 7401);
    let peer = PeerKey(u64::from(number));
    disconnected(&desk.connected(peer, PeerId(id), Some(address), Direction::Inbound))
}

/// Takes a chunk to its last byte.
fn takes(desk: &mut Desk, number: u32, chunk: u32) {
    let peer = PeerKey(u64::from(number));
    desk.open(peer, &[]);
    assert_eq!(uploaded(&desk.request(peer, chunk)), [(peer, chunk)]);
    desk.ended(peer, chunk, UploadEnd::Sent);
}

fn made_room(number: u32) -> Vec<(PeerKey, ByeReason)> {
    vec![(PeerKey(u64::from(number)), ByeReason::TOO_MANY)]
}

/// Fills the places with idle callers, `first..first + count`, from addresses that the function
/// gives.
fn crowd(desk: &mut Desk, count: u32, from: impl Fn(u32) -> String) {
    for number in 1..=count {
        assert_eq!(calls(desk, number, &from(number)), []);
        desk.now = desk.now + millis(1);
    }
}

#[test]
fn a_newcomer_takes_the_place_of_the_longest_idle_one_of_the_source_with_most() {
    let mut desk = seeding(90);
    crowd(&mut desk, 90, |number| format!("10.0.0.{}", if number <= 30 { 1 } else { 2 }));
    assert_eq!(calls(&mut desk, 91, "10.0.0.3"), made_room(31));
    assert_eq!(calls(&mut desk, 92, "10.0.0.3"), made_room(32));
}

#[test]
fn a_source_with_most_places_does_not_drive_out_a_lighter_one() {
    let mut desk = seeding(90);
    crowd(&mut desk, 90, |number| format!("10.0.0.{}", if number <= 30 { 1 } else { 2 }));
    desk.wait(SETTLING * 2);
    for number in 91..150 {
        let left = calls(&mut desk, number, "10.0.0.2");
        assert!(left.iter().all(|(peer, _)| peer.0 > 30), "{left:?}");
    }
}

#[test]
fn of_a_prefix_with_an_address_for_each_connection_one_makes_room_for_others() {
    let mut desk = seeding(100);
    crowd(&mut desk, 100, |number| format!("2001:db8::{number:x}"));
    assert_eq!(calls(&mut desk, 101, "10.0.0.1"), made_room(1));
    assert_eq!(calls(&mut desk, 102, "2001:db8:0:1::1"), made_room(2));
    desk.now = desk.now + SETTLING;
    assert_eq!(calls(&mut desk, 103, "2001:db8::ffff"), made_room(3));
}

#[test]
fn a_caller_has_its_place_for_a_while_before_one_like_it_gets_it() {
    let mut desk = seeding(60);
    crowd(&mut desk, 60, |number| format!("10.0.{}.1", number));
    let turned_away = |outputs: Vec<(PeerKey, ByeReason)>| assert_eq!(outputs, made_room(200));
    turned_away(calls(&mut desk, 200, "10.1.0.1"));
    desk.now = desk.now + SETTLING;
    assert_eq!(calls(&mut desk, 201, "10.1.0.1"), made_room(1));
}

#[test]
fn a_caller_that_received_a_chunk_keeps_its_place_whatever_its_source_holds() {
    let mut desk = seeding(64);
    crowd(&mut desk, 64, |number| format!("10.0.0.{}", if number <= 24 { 1 } else { number }));
    for number in 1..=24 {
        takes(&mut desk, number, number % 8);
    }
    desk.wait(SETTLING * 2);
    for number in 100..400 {
        for (left, _) in
            calls(&mut desk, number, &format!("10.9.{}.{}", number / 250, number % 250))
        {
            assert!(left.0 > 24, "{left:?} had taken a chunk");
        }
        desk.now = desk.now + millis(5);
    }
}

#[test]
fn a_proof_does_not_last_for_ever() {
    let mut desk = seeding(64);
    crowd(&mut desk, 64, |number| format!("10.0.0.{number}"));
    for number in 1..=64 {
        takes(&mut desk, number, number % 8);
    }
    desk.now = desk.now + PROVEN_FOR / 2;
    takes(&mut desk, 1, 3);
    assert_eq!(calls(&mut desk, 100, "10.1.0.1"), made_room(100));
    desk.now = desk.now + PROVEN_FOR / 2;
    let left = calls(&mut desk, 101, "10.1.0.1");
    assert!(left.len() == 1 && left != made_room(1) && left != made_room(101), "{left:?}");
}

#[test]
fn receivers_of_one_source_do_not_keep_all_others_out() {
    let mut desk = seeding(200);
    crowd(&mut desk, 200, |_| "10.0.0.1".to_owned());
    for number in 1..=200 {
        takes(&mut desk, number, number % 8);
    }
    assert_eq!(calls(&mut desk, 300, "10.0.0.2"), made_room(1));
    // It is one of a few that have not had a chance yet: when there are enough of them, they
    // compete among themselves.
    for number in 301..400 {
        let left = calls(&mut desk, number, "10.0.0.2");
        desk.now = desk.now + millis(20);
        let of_receivers =
            (1..=200).filter(|number| !desk.swarm.is_connected(PeerKey(*number))).count();
        assert!(
            of_receivers <= 25,
            "{of_receivers} receivers made room for idle ones, last of all {left:?}"
        );
    }
}

#[test]
fn a_caller_that_is_being_sent_a_chunk_does_not_make_room() {
    let mut desk = seeding(60);
    crowd(&mut desk, 60, |_| "10.0.0.1".to_owned());
    let served = PeerKey(1);
    desk.open(served, &[]);
    desk.request(served, 0);
    assert_eq!(calls(&mut desk, 100, "10.0.0.2"), made_room(2));
    desk.ended(served, 0, UploadEnd::Stopped);
}

#[test]
fn peers_that_we_called_are_never_asked_to_make_room() {
    let mut desk = Desk::seeding(1, Config { max_peers: 8, ..Config::default() });
    for number in 0..2 {
        let peer = PeerKey(50 + number);
        let id = PeerId([50 + u8::try_from(number).unwrap(); 16]);
        desk.connected(peer, id, Some(Desk::address(50)), Direction::Outbound);
    }
    crowd(&mut desk, 6, |_| "10.0.0.50".to_owned());
    for number in 20..40 {
        calls(&mut desk, number, "10.0.0.9");
        desk.now = desk.now + SETTLING;
    }
    assert!(desk.swarm.is_connected(PeerKey(50)) && desk.swarm.is_connected(PeerKey(51)));
}

#[test]
fn an_address_that_says_it_is_full_is_told_apart_from_one_that_holds_nothing() {
    let mut desk = Desk::downloading(1, Config::default());
    let (full, without, gone) = (Desk::address(50), Desk::address(51), Desk::address(52));
    desk.input(Input::Holders { file: FILE, addresses: vec![full, without, gone] });
    desk.connected(PeerKey(10), PeerId([10; 16]), Some(full), Direction::Outbound);
    desk.say(PeerKey(10), PeerMessage::Bye { reason: ByeReason::TOO_MANY });
    desk.connected(PeerKey(11), PeerId([11; 16]), Some(without), Direction::Outbound);
    desk.say(PeerKey(11), PeerMessage::NotFound { file: FILE.handle() });
    desk.input(Input::ConnectFailed { address: gone });
    assert_eq!(desk.swarm.file_status(FILE, desk.now).unwrap().full_addresses, 1);
    // It is called again, and has a place.
    let outputs = desk.wait(secs(1));
    assert!(outputs.contains(&Output::Connect { address: full }), "{outputs:?}");
    desk.connected(PeerKey(12), PeerId([10; 16]), Some(full), Direction::Outbound);
    desk.open(PeerKey(12), &[]);
    assert_eq!(desk.swarm.file_status(FILE, desk.now).unwrap().full_addresses, 0);
}

//! Connections and addresses, as sentences.

use std::net::SocketAddr;

use tnet_proto::{ByeReason, FileHandle, Holdings, PeerId, PeerMessage};

use super::desk::*;
use super::network::{Character, Network};
use crate::{Config, Direction, Event, FileKey, Input, Output, PeerKey};

const SMALL: PeerId = PeerId([1; 16]);
const LARGE: PeerId = PeerId([200; 16]);

fn holders(addresses: &[SocketAddr]) -> Input {
    Input::Holders { file: FILE, addresses: addresses.to_vec() }
}

/// Connects both ways to one process, the second connection after the first; answers which were let
/// go.
fn double(
    desk: &mut Desk,
    id: PeerId,
    first: Direction,
    second: Direction,
) -> Vec<(PeerKey, ByeReason)> {
    let address = Some(Desk::address(50));
    desk.connected(PeerKey(10), id, address, first);
    disconnected(&desk.connected(PeerKey(11), id, address, second))
}

#[test]
fn of_two_connections_that_crossed_the_side_with_the_smaller_id_keeps_the_one_that_it_made() {
    use Direction::{Inbound, Outbound};
    // Our id is below that of the large one. With the small one it is for the other side to end one
    // of the two.
    for (first, second) in [(Inbound, Outbound), (Outbound, Inbound)] {
        let mut desk = Desk::downloading(1, Config::default());
        let dropped = double(&mut desk, LARGE, first, second);
        let expected = if first == Outbound { PeerKey(11) } else { PeerKey(10) };
        assert_eq!(dropped, [(expected, ByeReason::DUPLICATE)], "{first:?} {second:?}");
        let mut desk = Desk::downloading(1, Config::default());
        assert_eq!(double(&mut desk, SMALL, first, second), [], "{first:?} {second:?}");
    }
}

#[test]
fn the_one_that_the_smaller_id_made_stands_for_the_address_when_the_other_side_has_ended_ours() {
    let mut desk = Desk::downloading(1, Config::default());
    let address = Desk::address(50);
    desk.input(holders(&[address]));
    desk.connected(PeerKey(10), SMALL, Some(address), Direction::Outbound);
    desk.connected(PeerKey(11), SMALL, Some(address), Direction::Inbound);
    desk.say(PeerKey(11), PeerMessage::Pong { nonce: 0 });
    desk.say(PeerKey(10), PeerMessage::Bye { reason: ByeReason::DUPLICATE });
    desk.input(holders(&[address]));
    desk.open(PeerKey(11), &[]);
    assert_eq!(called(&desk.wait(secs(25))), []);
}

#[test]
fn a_caller_that_declares_id_and_port_of_a_peer_that_answers_does_not_take_its_place() {
    use Direction::{Inbound, Outbound};
    for (id, address, direction) in [
        (LARGE, Some(Desk::address(50)), Inbound),
        (SMALL, Some(Desk::address(50)), Inbound),
        (LARGE, Some(SocketAddr::from(([10, 0, 0, 50], 9))), Inbound),
        (LARGE, Some(SocketAddr::from(([10, 0, 0, 50], 9))), Outbound),
    ] {
        let mut desk = Desk::downloading(1, Config::default());
        let (honest, evil) = (PeerKey(10), PeerKey(11));
        desk.connected(honest, id, Some(Desk::address(50)), Inbound);
        for round in 0..10 {
            let outputs = desk.connected(PeerKey(evil.0 + round), id, address, direction);
            let asked = told(&outputs, honest).contains(&PeerMessage::Ping { nonce: 0 });
            assert!(asked || round > 0, "{outputs:?}");
            assert_eq!(disconnected(&outputs), []);
            desk.now = desk.now + millis(500);
            desk.say(honest, PeerMessage::Pong { nonce: 0 });
        }
        desk.wait(secs(5));
        assert!(desk.swarm.is_connected(honest), "{id:?} {address:?} {direction:?}");
    }
}

#[test]
fn a_connection_that_gives_no_sign_of_life_ends_when_its_peer_calls_again() {
    let mut desk = Desk::downloading(1, Config::default());
    assert_eq!(double(&mut desk, LARGE, Direction::Inbound, Direction::Inbound), []);
    // What comes over the new one is no sign of life of the old one.
    desk.wait(secs(1));
    desk.say(PeerKey(11), PeerMessage::Pong { nonce: 0 });
    assert_eq!(disconnected(&desk.wait(secs(4))), [(PeerKey(10), ByeReason::DUPLICATE)]);
    assert_eq!(disconnected(&desk.wait(secs(5))), []);
}

#[test]
fn a_caller_that_only_declares_the_address_of_a_holder_does_not_keep_us_from_calling_it() {
    let mut desk = Desk::downloading(2, Config::default());
    let address = Desk::address(50);
    // Each time for a while, and from the beginning.
    let mut calls = Vec::new();
    for round in 0..5 {
        let evil = PeerKey(100 + round);
        desk.connected(evil, PeerId([100; 16]), Some(address), Direction::Inbound);
        desk.say(evil, desk.open_message(FILE, THEIRS, Holdings::Full));
        calls.extend(called(&desk.input(holders(&[address]))));
        calls.extend(called(&desk.wait(millis(900))));
        desk.input(Input::PeerLost { peer: evil });
    }
    assert_eq!(calls, [address]);
}

#[test]
fn an_address_that_two_callers_say_is_theirs_is_called_at_once() {
    let mut desk = Desk::downloading(2, Config::default());
    let address = Desk::address(50);
    desk.connected(PeerKey(100), PeerId([100; 16]), Some(address), Direction::Inbound);
    desk.connected(PeerKey(101), PeerId([101; 16]), Some(address), Direction::Inbound);
    assert_eq!(called(&desk.input(holders(&[address]))), [address]);
}

#[test]
fn an_address_at_which_a_caller_that_sends_chunks_accepts_peers_is_not_called() {
    let mut desk = Desk::downloading(4, with_slots(4));
    let (peer, _) = desk.full_holder();
    desk.arrive(peer, 0);
    desk.store(0);
    desk.input(holders(&[Desk::address(1)]));
    assert_eq!(called(&desk.wait(secs(5))), []);
}

#[test]
fn corrupt_chunks_of_a_caller_that_declares_the_port_of_a_connected_peer_are_not_held_against_that_peer()
 {
    let mut desk = Desk::downloading(4, with_slots(4));
    let (honest, _) = desk.full_holder();
    desk.arrive(honest, 0);
    desk.store(0);
    for round in 0..3 {
        let evil = PeerKey(90 + round);
        desk.connected(evil, LARGE, Some(Desk::address(1)), Direction::Inbound);
        desk.say(evil, desk.open_message(FILE, THEIRS, Holdings::Full));
        desk.input(Input::DataReceived { peer: evil, bytes: 1 });
        desk.input(Input::ChunkCorrupt { file: FILE, chunk: desk.chunk(1), peer: evil });
        desk.input(Input::PeerLost { peer: evil });
    }
    desk.arrive(honest, 1);
    let outputs = desk.corrupt(honest, 1);
    assert!(desk.swarm.is_connected(honest), "{outputs:?}");
}

#[test]
fn a_caller_elsewhere_that_claims_the_id_of_a_peer_does_not_end_its_connection() {
    let mut desk = Desk::downloading(1, Config::default());
    desk.connected(PeerKey(10), LARGE, Some(Desk::address(50)), Direction::Inbound);
    let outputs = desk.connected(PeerKey(11), LARGE, Some(Desk::address(51)), Direction::Inbound);
    assert_eq!(disconnected(&outputs), []);
}

#[test]
fn two_nodes_that_call_each_other_at_once_end_up_with_one_connection() {
    for seed in 0..20 {
        let mut network = Network::new(seed, 400, Config::default());
        network.add_receiver(Character::Honest, 1);
        network.add_receiver(Character::Honest, 1);
        network.run_for(secs(3));
        let peers: Vec<usize> =
            network.nodes.iter().map(|node| node.swarm.peer_status().len()).collect();
        assert_eq!(peers, [1, 1], "seed {seed}");
    }
}

#[test]
fn a_connection_to_ourselves_is_dropped_and_not_made_again() {
    let mut desk = Desk::downloading(1, Config::default());
    let own = Desk::address(99);
    assert_eq!(called(&desk.input(holders(&[own]))), [own]);
    let outputs = desk.connected(PeerKey(10), PeerId([128; 16]), Some(own), Direction::Outbound);
    assert_eq!(disconnected(&outputs), [(PeerKey(10), ByeReason::DUPLICATE)]);
    desk.input(holders(&[own]));
    assert_eq!(called(&desk.wait(secs(500))), []);
}

#[test]
fn a_file_named_for_an_address_is_opened_there_whichever_peer_calls_with_the_same_id() {
    let mut desk = Desk::downloading(1, Config::default());
    // It called us from a port that it does not name, or is another one; we call where peers are
    // accepted.
    let (named, claimed) = (Desk::address(50), SocketAddr::from(([10, 0, 0, 50], 9)));
    desk.input(holders(&[named]));
    desk.connected(PeerKey(10), SMALL, Some(claimed), Direction::Inbound);
    let outputs = desk.connected(PeerKey(11), SMALL, Some(named), Direction::Outbound);
    assert_eq!(disconnected(&outputs), []);
    assert!(matches!(told(&outputs, PeerKey(11))[..], [PeerMessage::Open(_)]));
    assert_eq!(desk.swarm.addresses.calling(), 0);
}

#[test]
fn a_file_named_for_the_address_of_a_peer_that_we_called_is_opened_once_when_it_calls_too() {
    let mut desk = Desk::downloading(1, Config::default());
    let named = Desk::address(50);
    desk.connected(PeerKey(10), LARGE, Some(named), Direction::Outbound);
    desk.input(holders(&[named]));
    let outputs = desk.connected(PeerKey(11), LARGE, Some(named), Direction::Inbound);
    assert_eq!(disconnected(&outputs), [(PeerKey(11), ByeReason::DUPLICATE)]);
    assert_eq!(told(&outputs, PeerKey(10)), [PeerMessage::Ping { nonce: 0 }]);
}

#[test]
fn a_file_that_we_have_whole_is_left_for_the_other_side_to_open() {
    let mut desk = Desk::downloading(1, with_slots(1));
    let (peer, _) = desk.full_holder();
    desk.arrive(peer, 0);
    desk.store(0);
    desk.input(Input::PeerLost { peer });
    let again = PeerKey(90);
    let outputs = desk.connected(again, LARGE, Some(Desk::address(1)), Direction::Inbound);
    assert_eq!(told(&outputs, again), []);
}

#[test]
fn inbound_peers_leave_room_for_those_we_call() {
    let mut desk = Desk::downloading(1, Config { max_peers: 8, ..Config::default() });
    for _ in 0..6 {
        desk.connect();
    }
    let outputs =
        desk.connected(PeerKey(90), PeerId([90; 16]), Some(Desk::address(90)), Direction::Inbound);
    assert_eq!(disconnected(&outputs), [(PeerKey(90), ByeReason::TOO_MANY)]);
    let outputs =
        desk.connected(PeerKey(91), PeerId([91; 16]), Some(Desk::address(91)), Direction::Outbound);
    assert_eq!(disconnected(&outputs), []);
}

#[test]
fn a_connection_without_a_common_file_ends_after_a_while() {
    let mut desk = Desk::downloading(1, Config::default());
    let peer = desk.connect();
    assert_eq!(disconnected(&desk.wait(secs(29))), []);
    assert_eq!(disconnected(&desk.wait(secs(1))), [(peer, ByeReason::IDLE)]);
}

#[test]
fn a_connection_on_which_both_sides_are_full_ends_after_a_moment() {
    let mut desk = Desk::seeding(1, Config::default());
    let (peer, outputs) = desk.full_holder();
    assert_eq!(disconnected(&outputs), []);
    assert_eq!(disconnected(&desk.wait(secs(1))), [(peer, ByeReason::IDLE)]);
}

#[test]
fn a_connection_on_which_both_sides_are_full_stays_if_one_more_file_is_opened_in_time() {
    let mut desk = Desk::seeding(1, Config::default());
    let (peer, _) = desk.full_holder();
    let full = tnet_fileinfo::ChunkSet::full(&desk.geometry);
    desk.add_file(FileKey(2), full, crate::Goal::Seed);
    let open = desk.open_message(FileKey(2), FileHandle(71), Holdings::Bitmap(vec![0]));
    desk.say(peer, open);
    assert_eq!(disconnected(&desk.wait(secs(60))), []);
}

#[test]
fn a_connection_is_not_ended_while_a_chunk_is_sent_on_it() {
    let mut desk = Desk::seeding(1, Config::default());
    let peer = desk.holder_of(&[]);
    desk.request(peer, 0);
    let open = desk.open_message(FILE, THEIRS, Holdings::Full);
    desk.say(peer, open);
    assert_eq!(disconnected(&desk.wait(secs(10))), []);
    desk.ended(peer, 0, crate::UploadEnd::Sent);
    assert_eq!(disconnected(&desk.wait(secs(1))).len(), 1);
}

#[test]
fn a_peer_that_never_says_what_it_holds_makes_room_for_another() {
    // No lookup comes in between and finds that nothing arrives.
    let config = Config { neighbours: 1, lookup_after: secs(100), ..Config::default() };
    let mut desk = Desk::downloading(1, config);
    let (silent, other) = (Desk::address(50), Desk::address(51));
    let first = called(&desk.input(holders(&[silent])));
    assert_eq!(first, [silent]);
    desk.connected(PeerKey(10), LARGE, Some(silent), Direction::Outbound);
    assert_eq!(called(&desk.input(holders(&[other]))), []);
    assert_eq!(called(&desk.wait(secs(10))), [other]);
}

#[test]
fn not_more_than_the_wanted_number_of_neighbours_is_called() {
    let mut desk = Desk::downloading(1, Config { neighbours: 3, ..Config::default() });
    let addresses: Vec<SocketAddr> = (50..60).map(Desk::address).collect();
    assert_eq!(called(&desk.input(holders(&addresses))).len(), 3);
}

#[test]
fn a_failed_call_is_made_up_for_by_another() {
    let mut desk = Desk::downloading(1, Config { neighbours: 1, ..Config::default() });
    let first = called(&desk.input(holders(&[Desk::address(50), Desk::address(51)])))[0];
    let second = called(&desk.input(Input::ConnectFailed { address: first }));
    assert_eq!(second.len(), 1);
    assert_ne!(second[0], first);
}

#[test]
fn an_address_that_fails_is_called_less_and_less_often_but_never_given_up() {
    let mut desk = Desk::downloading(1, Config::default());
    let address = Desk::address(50);
    let mut last = desk.now;
    let mut pauses = Vec::new();
    let mut outputs = desk.input(holders(&[address]));
    for _ in 0..10 {
        while called(&outputs).is_empty() {
            outputs = desk.wait(millis(50));
        }
        pauses.push((desk.now - last).as_secs());
        last = desk.now;
        outputs = desk.input(Input::ConnectFailed { address });
    }
    assert_eq!(pauses[1], 0);
    assert_eq!(pauses[9], 30);
    assert!(pauses.is_sorted(), "{pauses:?}");
}

#[test]
fn a_banned_address_is_not_called_and_not_let_in_during_the_ban() {
    let mut desk = Desk::downloading(4, with_slots(4));
    let (corrupt, _) = desk.full_holder();
    for chunk in 0..2 {
        desk.arrive(corrupt, chunk);
        desk.corrupt(corrupt, chunk);
    }
    let address = Desk::address(1);
    desk.input(holders(&[address]));
    assert_eq!(called(&desk.wait(secs(590))), []);
    let outputs = desk.connected(PeerKey(90), LARGE, Some(address), Direction::Inbound);
    assert_eq!(disconnected(&outputs), [(PeerKey(90), ByeReason::BANNED)]);
    assert_eq!(called(&desk.wait(secs(11))), [address]);
}

#[test]
fn a_peer_that_is_cut_cannot_take_along_the_address_of_another() {
    let mut desk = Desk::downloading(4, with_slots(4));
    let (honest, _) = desk.full_holder();
    // It claims the port at which the honest one is connected.
    let evil = PeerKey(90);
    desk.connected(evil, LARGE, Some(Desk::address(1)), Direction::Inbound);
    desk.say(evil, PeerMessage::Have { file: FileHandle(5), chunks: vec![0] });
    desk.input(Input::PeerLost { peer: honest });
    // Since two said that it is theirs, it was called.
    desk.input(Input::ConnectFailed { address: Desk::address(1) });
    // The coordinator knows it: what came of the claim does not count.
    assert_eq!(called(&desk.input(holders(&[Desk::address(1)]))), [Desk::address(1)]);
}

#[test]
fn the_coordinator_is_asked_less_and_less_often_until_the_file_is_whole() {
    let mut desk = Desk::downloading(1, Config::default());
    let mut asked_at = Vec::new();
    for second in 0..300 {
        let outputs = desk.wait(secs(1));
        asked_at
            .extend(outputs.iter().filter(|o| matches!(o, Output::Lookup { .. })).map(|_| second));
    }
    let pauses: Vec<i32> = asked_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.len() >= 8 && pauses[..4].is_sorted(), "{pauses:?}");
    assert!(pauses[6..].iter().all(|pause| (22..=38).contains(pause)), "{pauses:?}");
    let (peer, _) = desk.full_holder();
    desk.arrive(peer, 0);
    desk.store(0);
    assert!(!desk.wait(secs(300)).iter().any(|output| matches!(output, Output::Lookup { .. })));
}

#[test]
fn a_peer_that_loses_its_last_neighbour_asks_the_coordinator_soon() {
    let mut desk = Desk::downloading(4, Config::default());
    desk.wait(secs(300));
    let peer = desk.holder_of(&[]);
    desk.input(Input::PeerLost { peer });
    let outputs = desk.wait(millis(1250));
    assert!(outputs.iter().any(|output| matches!(output, Output::Lookup { .. })));
}

#[test]
fn peers_learn_of_each_other_from_us() {
    let mut desk = Desk::seeding(4, Config::default());
    desk.holder_of(&[]);
    let second = desk.connect();
    let outputs = desk.open(second, &[]);
    let peers = PeerMessage::Peers { file: FILE.handle(), peers: vec![Desk::address(1)] };
    assert!(told(&outputs, second).contains(&peers));
}

#[test]
fn addresses_named_by_a_peer_are_called() {
    let mut desk = Desk::downloading(4, Config::default());
    let peer = desk.holder_of(&[]);
    let message = PeerMessage::Peers { file: THEIRS, peers: vec![Desk::address(77)] };
    assert_eq!(called(&desk.say(peer, message)), [Desk::address(77)]);
}

#[test]
fn a_peer_that_names_addresses_all_the_time_is_not_listened_to() {
    let mut desk = Desk::downloading(4, Config::default());
    let peer = desk.holder_of(&[]);
    let mut calls = 0;
    for n in 100..110 {
        let message = PeerMessage::Peers { file: THEIRS, peers: vec![Desk::address(n)] };
        calls += called(&desk.say(peer, message)).len();
    }
    assert_eq!(calls, 1);
}

#[test]
fn addresses_that_no_peer_can_have_are_not_called() {
    let mut desk = Desk::downloading(4, Config::default());
    let nonsense =
        ["0.0.0.0:5", "10.0.0.9:0", "224.0.0.1:5", "[::]:5", "[ff02::1]:5", "[::ffff:0.0.0.0]:5"];
    let addresses: Vec<SocketAddr> = nonsense.iter().map(|text| text.parse().unwrap()).collect();
    assert_eq!(called(&desk.input(holders(&addresses))), []);
}

#[test]
fn a_peer_that_says_bye_is_let_go_and_called_again_later() {
    let mut desk = Desk::downloading(4, Config::default());
    let peer = desk.holder_of(&[]);
    let outputs = desk.say(peer, PeerMessage::Bye { reason: ByeReason::TOO_MANY });
    assert_eq!(disconnected(&outputs).len(), 1);
    assert_eq!(events(&outputs), [] as [Event; 0]);
    assert_eq!(called(&desk.wait(secs(1))), [Desk::address(1)]);
}

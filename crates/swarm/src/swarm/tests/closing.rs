//! What a finished file leaves on a connection: nothing, after a while. And who wants it later
//! finds it.

use tnet_fileinfo::ChunkSet;
use tnet_proto::{ByeReason, FileHandle, Holdings, PeerMessage};

use super::desk::*;
use crate::{Config, FileKey, Goal, Input, PeerKey, Violation};

/// A second file in common keeps the connection.
const OTHER: FileKey = FileKey(2);
const THEIR_OTHER: FileHandle = FileHandle(71);

/// Seeds two files; the peer lacks the second one and has been given all of the first.
fn beside_another(config: Config) -> (Desk, PeerKey) {
    let mut desk = Desk::seeding(2, config);
    let full = ChunkSet::full(&desk.geometry);
    desk.add_file(OTHER, full, Goal::Seed);
    let peer = desk.holder_of(&[]);
    let open = desk.open_message(OTHER, THEIR_OTHER, Holdings::Bitmap(vec![0]));
    desk.say(peer, open);
    (desk, peer)
}

fn says_full(desk: &mut Desk, peer: PeerKey) {
    let open = desk.open_message(FILE, THEIRS, Holdings::Full);
    desk.say(peer, open);
}

fn is_closed(messages: &[PeerMessage]) -> bool {
    messages.contains(&PeerMessage::Close { file: OURS })
}

const OURS: FileHandle = FileHandle(FILE.0);

#[test]
fn a_seed_closes_a_file_that_the_other_side_has_whole_after_a_while() {
    let (mut desk, peer) = beside_another(with_slots(4));
    says_full(&mut desk, peer);
    assert!(!is_closed(&told(&desk.wait(millis(1900)), peer)));
    let outputs = desk.wait(millis(200));
    assert!(is_closed(&told(&outputs, peer)));
    assert_eq!((disconnected(&outputs), desk.swarm.neighbours(FILE)), (vec![], 0));
    assert_eq!(desk.swarm.neighbours(OTHER), 1);
}

#[test]
fn a_peer_that_becomes_full_closes_the_file_at_peers_that_have_it_and_at_no_others() {
    let mut desk = Desk::downloading(1, with_slots(4));
    let full = ChunkSet::full(&desk.geometry);
    desk.add_file(OTHER, full, Goal::Seed);
    let (source, _) = desk.full_holder();
    let other = desk.holder_of(&[]);
    for peer in [source, other] {
        let open = desk.open_message(OTHER, THEIR_OTHER, Holdings::Bitmap(vec![0]));
        desk.say(peer, open);
    }
    desk.arrive(source, 0);
    desk.store(0);
    let outputs = desk.wait(secs(3));
    assert!(is_closed(&told(&outputs, source)) && !is_closed(&told(&outputs, other)));
    assert_eq!(desk.swarm.holdings(FILE), [(other, 0)]);
}

#[test]
fn closes_that_cross_are_no_fault_and_leave_nothing() {
    let (mut desk, peer) = beside_another(with_slots(4));
    says_full(&mut desk, peer);
    desk.wait(secs(3));
    let outputs = desk.say(peer, PeerMessage::Close { file: THEIRS });
    assert_eq!(outputs, []);
    // The other order: theirs is here before ours is due.
    let (mut desk, peer) = beside_another(with_slots(4));
    says_full(&mut desk, peer);
    desk.say(peer, PeerMessage::Close { file: THEIRS });
    assert!(!is_closed(&told(&desk.wait(secs(3)), peer)));
}

#[test]
fn a_file_that_was_closed_can_be_opened_again_from_both_sides() {
    // They have lost chunks and say so before they hear of our close.
    let (mut desk, peer) = beside_another(with_slots(4));
    says_full(&mut desk, peer);
    desk.wait(secs(3));
    let outputs = desk.open(peer, &[0]);
    assert_eq!(told(&outputs, peer), [desk.open_message(FILE, OURS, Holdings::Full)]);
    assert_eq!(uploaded(&desk.request(peer, 1)), [(peer, 1)]);
    // We have lost chunks: the coordinator names the peer, which is connected.
    let (mut desk, peer) = beside_another(with_slots(4));
    says_full(&mut desk, peer);
    desk.wait(secs(3));
    let chunks = vec![desk.chunk(0)];
    desk.input(Input::ChunksLost { file: FILE, chunks });
    desk.input(Input::Holders { file: FILE, addresses: vec![Desk::address(1)] });
    let open = desk.open_message(FILE, THEIRS, Holdings::Full);
    assert_eq!(asked(&desk.say(peer, open)), [(peer, 0)]);
}

#[test]
fn a_file_that_is_lacking_again_before_it_was_closed_stays_open() {
    let (mut desk, peer) = beside_another(with_slots(4));
    says_full(&mut desk, peer);
    desk.wait(secs(1));
    desk.open(peer, &[0]);
    assert!(!is_closed(&told(&desk.wait(secs(20)), peer)));
}

#[test]
fn a_third_peer_that_comes_later_is_served_by_the_one_that_closed_the_file() {
    let mut desk = Desk::downloading(1, with_slots(4));
    let (source, _) = desk.full_holder();
    desk.arrive(source, 0);
    desk.store(0);
    desk.wait(secs(60));
    assert_eq!(desk.swarm.connections(), 0);
    let third = desk.holder_of(&[]);
    assert_eq!(uploaded(&desk.request(third, 0)), [(third, 0)]);
}

#[test]
fn a_file_that_is_being_sent_is_not_closed() {
    let (mut desk, peer) = beside_another(with_slots(4));
    desk.request(peer, 0);
    // Another source was faster, and their cancel is on its way.
    says_full(&mut desk, peer);
    assert!(!is_closed(&told(&desk.wait(secs(5)), peer)));
    desk.ended(peer, 0, crate::UploadEnd::Sent);
    assert!(is_closed(&told(&desk.wait(secs(5)), peer)));
}

#[test]
fn one_after_another_as_many_files_as_there_are_go_over_one_connection() {
    let mut desk = Desk::new(1, Config { max_links_per_peer: 4, ..Config::default() });
    for n in 1..=100 {
        let full = ChunkSet::full(&desk.geometry);
        desk.add_file(FileKey(n), full, Goal::Seed);
    }
    let peer = desk.connect();
    for n in 1..=100 {
        for holdings in [Holdings::Bitmap(vec![0]), Holdings::Full] {
            let outputs = desk.say(peer, desk.open_message(FileKey(n), FileHandle(n), holdings));
            assert_eq!(disconnected(&outputs), []);
        }
    }
    assert!(desk.swarm.peer_status()[0].files <= 4);
    desk.wait(secs(2));
    assert_eq!(desk.swarm.connections(), 0);
}

#[test]
fn of_more_files_than_allowed_the_one_unused_longest_is_closed() {
    let mut desk = Desk::new(1, Config { max_links_per_peer: 2, ..with_slots(4) });
    for n in 1..=3 {
        let full = ChunkSet::full(&desk.geometry);
        desk.add_file(FileKey(n), full, Goal::Seed);
    }
    let peer = desk.connect();
    let open = |desk: &mut Desk, n| {
        let open = desk.open_message(FileKey(n), FileHandle(n), Holdings::Bitmap(vec![0]));
        told(&desk.say(peer, open), peer)
    };
    open(&mut desk, 1);
    open(&mut desk, 2);
    // It is told busy or not: either way it uses the first one.
    desk.say(peer, PeerMessage::Request { file: FileHandle(1), chunk: 0 });
    let told = open(&mut desk, 3);
    assert!(told.contains(&PeerMessage::Close { file: FileHandle(2) }), "{told:?}");
    // What comes under the number of the closed one is late, and no fault.
    let outputs = desk.say(peer, PeerMessage::Request { file: FileHandle(2), chunk: 0 });
    assert_eq!(outputs, []);
}

#[test]
fn files_that_we_want_are_not_closed_for_those_that_others_want() {
    let mut desk = Desk::downloading(1, Config { max_links_per_peer: 1, ..with_slots(4) });
    let full = ChunkSet::full(&desk.geometry);
    desk.add_file(OTHER, full, Goal::Seed);
    let (peer, _) = desk.full_holder();
    let open = desk.open_message(OTHER, THEIR_OTHER, Holdings::Bitmap(vec![0]));
    let outputs = desk.say(peer, open);
    assert_eq!(told(&outputs, peer), [PeerMessage::NotFound { file: THEIR_OTHER }]);
    let late = PeerMessage::Request { file: THEIR_OTHER, chunk: 0 };
    assert_eq!((disconnected(&desk.say(peer, late)), desk.swarm.neighbours(FILE)), (vec![], 1));
}

#[test]
fn a_peer_that_comes_back_too_early_is_told_what_it_was_cut_for() {
    for (is_banned, reason) in [(false, ByeReason::VIOLATION), (true, ByeReason::BANNED)] {
        let mut desk = Desk::downloading(4, with_slots(4));
        let (peer, _) = desk.full_holder();
        if is_banned {
            for chunk in [0, 1] {
                desk.arrive(peer, chunk);
                desk.corrupt(peer, chunk);
            }
        } else {
            let have = PeerMessage::Have { file: THEIRS, chunks: vec![4] };
            let outputs = desk.say(peer, have);
            let event = crate::Event::Cut {
                address: Some(Desk::address(1)),
                violation: Violation::ChunkOutOfRange(4),
            };
            assert!(events(&outputs).contains(&event));
        }
        let again = PeerKey(90);
        let id = tnet_proto::PeerId([90; 16]);
        let outputs = desk.connected(again, id, Some(Desk::address(1)), crate::Direction::Inbound);
        assert_eq!(disconnected(&outputs), [(again, reason)]);
    }
}

//! Who takes part in which file's swarm, and what they are told of it, as sentences.

use tnet_fileinfo::ChunkSet;
use tnet_proto::{FileHandle, Holdings, PeerMessage};

use super::desk::*;
use crate::{Config, Event, FileKey, Goal, Input, Output, PeerKey, Violation};

const OURS: FileHandle = FileHandle(FILE.0);

fn cut_for(outputs: &[Output]) -> Option<Violation> {
    events(outputs).iter().find_map(|event| match event {
        Event::Cut { violation, .. } => Some(*violation),
        _ => None,
    })
}

fn haves(messages: &[PeerMessage]) -> Vec<u32> {
    let chunks = messages.iter().filter_map(|message| match message {
        PeerMessage::Have { chunks, .. } => Some(chunks.clone()),
        _ => None,
    });
    chunks.flatten().collect()
}

#[test]
fn an_open_is_answered_by_ours_once() {
    let mut desk = Desk::seeding(4, Config::default());
    let peer = desk.connect();
    let outputs = desk.open(peer, &[0]);
    assert_eq!(told(&outputs, peer), [desk.open_message(FILE, OURS, Holdings::Full)]);
    assert_eq!(told(&desk.open(peer, &[0, 1]), peer), []);
}

#[test]
fn an_open_of_something_else_is_answered_with_not_found() {
    let mut desk = Desk::seeding(4, Config::default());
    let peer = desk.connect();
    // Another file; the same bytes in another cut are another swarm.
    let other = desk.open_message(FileKey(9), FileHandle(71), Holdings::Full);
    let PeerMessage::Open(mut open) = desk.open_message(FILE, FileHandle(72), Holdings::Full)
    else {
        panic!()
    };
    open.chunk_size *= 2;
    for (message, file) in [(other, FileHandle(71)), (PeerMessage::Open(open), FileHandle(72))] {
        assert_eq!(told(&desk.say(peer, message), peer), [PeerMessage::NotFound { file }]);
    }
}

#[test]
fn what_is_said_of_a_file_before_the_not_found_arrives_is_no_fault() {
    let mut desk = Desk::seeding(4, Config::default());
    let peer = desk.connect();
    let file = FileHandle(71);
    let open = desk.open_message(FileKey(9), file, Holdings::Full);
    desk.say(peer, open);
    for message in [
        PeerMessage::Have { file, chunks: vec![3] },
        PeerMessage::Peers { file, peers: vec![] },
        PeerMessage::Request { file, chunk: 0 },
        PeerMessage::Close { file },
        PeerMessage::Close { file },
    ] {
        assert_eq!(desk.say(peer, message), []);
    }
}

#[test]
fn what_was_under_way_when_a_file_was_closed_is_no_fault() {
    // We removed it.
    let mut desk = Desk::downloading(4, with_slots(4));
    let (peer, _) = desk.full_holder();
    desk.input(Input::RemoveFile { file: FILE });
    assert_eq!(cut_for(&desk.arrive(peer, 0)), None);
    assert_eq!(cut_for(&desk.request(peer, 0)), None);
    // They closed it, and the answer to our request is behind the close.
    let mut desk = Desk::downloading(4, with_slots(4));
    let (peer, _) = desk.full_holder();
    desk.say(peer, PeerMessage::Close { file: THEIRS });
    assert_eq!(cut_for(&desk.arrive(peer, 0)), None);
    assert_eq!(cut_for(&desk.say(peer, PeerMessage::Stopped { file: THEIRS, chunk: 1 })), None);
}

#[test]
fn a_number_that_was_never_announced_costs_the_connection() {
    let file = FileHandle(5);
    for message in [
        PeerMessage::Close { file },
        PeerMessage::Have { file, chunks: vec![] },
        PeerMessage::Request { file, chunk: 0 },
        PeerMessage::Cancel { file, chunk: 0 },
        PeerMessage::Ready { file, chunk: 0 },
        PeerMessage::Peers { file, peers: vec![] },
    ] {
        let mut desk = Desk::seeding(4, Config::default());
        let peer = desk.holder_of(&[]);
        assert_eq!(cut_for(&desk.say(peer, message)), Some(Violation::UnknownHandle(file)));
    }
}

#[test]
fn one_number_for_two_files_costs_the_connection() {
    let mut desk = Desk::seeding(4, Config::default());
    let full = ChunkSet::full(&desk.geometry);
    desk.add_file(FileKey(2), full, Goal::Seed);
    let peer = desk.holder_of(&[]);
    let open = desk.open_message(FileKey(2), THEIRS, Holdings::Bitmap(vec![0]));
    assert_eq!(cut_for(&desk.say(peer, open)), Some(Violation::HandleReused(THEIRS)));
}

#[test]
fn another_number_for_a_file_replaces_the_first() {
    let mut desk = Desk::downloading(1, with_slots(1));
    let (peer, _) = desk.full_holder();
    let new = FileHandle(71);
    let open = desk.open_message(FILE, new, Holdings::Full);
    assert_eq!(asked(&desk.say(peer, open)), [(peer, 0)]);
    // What comes under the old number is late, and no fault.
    assert_eq!(desk.say(peer, PeerMessage::Stopped { file: THEIRS, chunk: 0 }), []);
    let outputs = desk.input(Input::ChunkArrived { peer, handle: new, chunk: 0, body: () });
    assert!(matches!(outputs[..], [Output::Store { .. }]));
}

#[test]
fn a_bitmap_that_does_not_fit_costs_the_connection() {
    // Four chunks: too short; too long; a bit past the last chunk.
    for bitmap in [vec![], vec![0, 0], vec![0b1_0000]] {
        let mut desk = Desk::seeding(4, Config::default());
        let peer = desk.connect();
        let open = desk.open_message(FILE, THEIRS, Holdings::Bitmap(bitmap));
        assert_eq!(cut_for(&desk.say(peer, open)), Some(Violation::BadBitmap));
    }
}

#[test]
fn a_chunk_past_the_end_costs_the_connection() {
    let mut desk = Desk::seeding(4, Config::default());
    let peer = desk.holder_of(&[]);
    assert_eq!(cut_for(&desk.request(peer, 4)), Some(Violation::ChunkOutOfRange(4)));
    let mut desk = Desk::seeding(4, Config::default());
    let peer = desk.holder_of(&[]);
    let outputs = desk.say(peer, PeerMessage::Have { file: THEIRS, chunks: vec![0, u32::MAX] });
    assert_eq!(cut_for(&outputs), Some(Violation::ChunkOutOfRange(u32::MAX)));
}

#[test]
fn files_that_we_do_not_have_cannot_fill_the_numbers_of_a_peer() {
    let mut desk = Desk::seeding(4, Config { max_links_per_peer: 8, ..Config::default() });
    let peer = desk.connect();
    for handle in 100..200 {
        let open = desk.open_message(FileKey(9), FileHandle(handle), Holdings::Full);
        assert_eq!(cut_for(&desk.say(peer, open)), None);
    }
    let outputs = desk.open(peer, &[]);
    assert_eq!(cut_for(&outputs), None);
    assert_eq!(uploaded(&desk.request(peer, 0)).len(), 1);
}

#[test]
fn a_number_that_was_forgotten_is_no_fault_of_the_peer() {
    let mut desk = Desk::seeding(4, Config::default());
    let peer = desk.connect();
    for handle in 100..1000 {
        let open = desk.open_message(FileKey(9), FileHandle(handle), Holdings::Full);
        assert_eq!(cut_for(&desk.say(peer, open)), None);
    }
    let have = |handle| PeerMessage::Have { file: FileHandle(handle), chunks: vec![0] };
    assert_eq!(cut_for(&desk.say(peer, have(100))), None);
    let other = desk.connect();
    assert_eq!(
        cut_for(&desk.say(other, have(100))),
        Some(Violation::UnknownHandle(FileHandle(100)))
    );
}

#[test]
fn a_repeated_open_replaces_what_the_peer_holds() {
    let mut desk = Desk::downloading(4, with_slots(1));
    let peer = desk.holder_of(&[0, 1]);
    desk.open(peer, &[2]);
    assert_eq!(desk.swarm.holdings(FILE), [(peer, 1)]);
    let open = desk.open_message(FILE, THEIRS, Holdings::Full);
    desk.say(peer, open);
    assert_eq!(desk.swarm.holdings(FILE), [(peer, 4)]);
}

#[test]
fn a_close_releases_our_requests() {
    let mut desk = Desk::downloading(4, with_slots(2));
    let (peer, _) = desk.full_holder();
    assert_eq!(desk.swarm.slot_status().downloads, 2);
    desk.say(peer, PeerMessage::Close { file: THEIRS });
    assert_eq!(desk.swarm.slot_status().downloads, 0);
    assert_eq!(desk.swarm.neighbours(FILE), 0);
}

#[test]
fn a_peer_that_closed_a_file_can_open_it_again_under_another_number() {
    let mut desk = Desk::downloading(1, with_slots(1));
    let (peer, _) = desk.full_holder();
    desk.say(peer, PeerMessage::Close { file: THEIRS });
    let open = desk.open_message(FILE, FileHandle(71), Holdings::Full);
    assert_eq!(asked(&desk.say(peer, open)), [(peer, 0)]);
}

#[test]
fn what_was_asked_for_and_abandoned_twice_may_be_answered_twice_and_no_more() {
    let mut desk = Desk::downloading(1, with_slots(1));
    let (peer, _) = desk.full_holder();
    let mut theirs = THEIRS;
    for next in [FileHandle(71), FileHandle(72)] {
        desk.say(peer, PeerMessage::Close { file: theirs });
        let open = desk.open_message(FILE, next, Holdings::Full);
        assert_eq!(asked(&desk.say(peer, open)), [(peer, 0)]);
        theirs = next;
    }
    let busy = || PeerMessage::Busy { file: FileHandle(72), chunk: 0, load: 1 };
    for _ in 0..3 {
        assert_eq!(cut_for(&desk.say(peer, busy())), None);
    }
    assert_eq!(cut_for(&desk.say(peer, busy())), Some(Violation::Unrequested(0)));
}

#[test]
fn stored_chunks_are_announced_together_after_a_moment() {
    let mut desk = Desk::downloading(4, with_slots(4));
    let (source, _) = desk.full_holder();
    let other = desk.holder_of(&[]);
    for chunk in [0, 2] {
        desk.arrive(source, chunk);
        assert!(haves(&told(&desk.store(chunk), other)).is_empty());
    }
    assert_eq!(haves(&told(&desk.wait(millis(20)), other)), [0, 2]);
    assert!(haves(&told(&desk.wait(secs(1)), other)).is_empty());
}

#[test]
fn chunks_that_arrived_and_are_not_stored_are_not_announced() {
    let mut desk = Desk::downloading(4, with_slots(4));
    let (source, _) = desk.full_holder();
    let other = desk.holder_of(&[]);
    desk.arrive(source, 0);
    assert!(haves(&told(&desk.wait(secs(1)), other)).is_empty());
}

#[test]
fn no_peer_is_told_of_chunks_that_it_has() {
    let mut desk = Desk::downloading(4, with_slots(4));
    let (source, _) = desk.full_holder();
    let other = desk.holder_of(&[0]);
    for chunk in [0, 2] {
        desk.arrive(source, chunk);
        desk.store(chunk);
    }
    let outputs = desk.wait(secs(1));
    assert_eq!((haves(&told(&outputs, source)), haves(&told(&outputs, other))), (vec![], vec![2]));
}

#[test]
fn a_peer_that_becomes_full_says_so() {
    let mut desk = Desk::downloading(1, with_slots(4));
    let (source, _) = desk.full_holder();
    let other = desk.holder_of(&[]);
    desk.arrive(source, 0);
    let outputs = desk.store(0);
    assert_eq!(told(&outputs, other), [desk.open_message(FILE, OURS, Holdings::Full)]);
}

#[test]
fn the_swarm_is_done_when_every_known_peer_is_full() {
    let mut desk = Desk::seeding(2, Config::default());
    assert!(desk.swarm.is_swarm_done(FILE));
    let peer = desk.holder_of(&[0]);
    assert!(!desk.swarm.is_swarm_done(FILE));
    let open = desk.open_message(FILE, THEIRS, Holdings::Full);
    desk.say(peer, open);
    assert!(desk.swarm.is_swarm_done(FILE));
}

#[test]
fn chunks_that_no_connected_peer_holds_are_known() {
    let mut desk = Desk::downloading(4, with_slots(1));
    desk.holder_of(&[0, 2]);
    let missing: Vec<u32> =
        desk.swarm.chunks_without_holder(FILE).iter().map(|chunk| chunk.get()).collect();
    assert_eq!(missing, [1, 3]);
}

#[test]
fn lost_chunks_that_were_announced_are_taken_back() {
    let mut desk = Desk::downloading(4, with_slots(4));
    let (source, _) = desk.full_holder();
    let other = desk.holder_of(&[]);
    desk.arrive(source, 0);
    desk.store(0);
    desk.wait(secs(1));
    let chunks = vec![desk.chunk(0)];
    let outputs = desk.input(Input::ChunksLost { file: FILE, chunks });
    assert_eq!(told(&outputs, other), [desk.open_message(FILE, OURS, Holdings::Bitmap(vec![0]))]);
}

#[test]
fn an_empty_file_is_complete_at_once() {
    let mut desk = Desk::new(0, Config::default());
    let nothing = ChunkSet::empty(&desk.geometry);
    let outputs = desk.add_file(FILE, nothing, Goal::Download);
    assert_eq!(events(&outputs), [Event::Complete { file: FILE }]);
}

#[test]
fn idle_files_cost_an_event_nothing() {
    // Ten thousand shared files beside one download: no timer, no output and no message for any of
    // them.
    let mut desk = Desk::new(1, with_slots(1));
    for n in 0..10_000u32 {
        let mut bytes = [0xff; 32];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        let hash = tnet_fileinfo::FileHash::from_bytes(bytes);
        let (geometry, stored) = (desk.geometry, ChunkSet::full(&desk.geometry));
        let (file, vouched) = (FileKey(1000 + n), ChunkSet::empty(&desk.geometry));
        let input = Input::AddFile { file, hash, geometry, stored, vouched, goal: Goal::Seed };
        desk.swarm.handle_input(desk.now, input);
    }
    assert_eq!((desk.swarm.next_timeout(), desk.swarm.poll_output()), (None, None));
    let peer = PeerKey(1);
    let outputs =
        desk.connected(peer, tnet_proto::PeerId([1; 16]), None, crate::Direction::Inbound);
    assert_eq!(outputs, []);
}

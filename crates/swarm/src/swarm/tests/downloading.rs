//! Whom to ask for what, and what to make of the answers, as sentences.

use tnet_fileinfo::ChunkSet;
use tnet_proto::{FileHandle, Holdings, PeerMessage};

use super::desk::*;
use crate::{Config, FileKey, Goal, Input, PeerKey};

const OURS: FileHandle = FileHandle(FILE.0);

#[test]
fn the_rarest_chunk_is_asked_for_first() {
    let mut desk = Desk::downloading(3, with_slots(1));
    let (first, _) = desk.full_holder();
    desk.proven(first);
    // Chunk 1 is the one that no partial holder has; it is what the slot goes to when it is free
    // again.
    desk.holder_of(&[0, 2]);
    desk.holder_of(&[0]);
    let taken = desk.open_at(first)[0];
    let outputs = desk.arrive(first, taken);
    let next = asked(&outputs)[0].1;
    assert_eq!(next, if taken == 1 { 2 } else { 1 });
}

#[test]
fn two_sources_get_the_same_number_of_requests() {
    let mut desk = Desk::downloading(8, with_slots(4));
    let (blocker, _) = desk.full_holder();
    let (first, second) = (desk.full_holder().0, desk.full_holder().0);
    let outputs = desk.input(Input::PeerLost { peer: blocker });
    assert_eq!(
        sorted(asked(&outputs).iter().map(|(peer, _)| *peer)),
        [first, first, second, second]
    );
}

#[test]
fn one_source_alone_gets_all_our_slots() {
    let mut desk = Desk::downloading(8, with_slots(4));
    assert_eq!(asked(&desk.full_holder().1).len(), 4);
}

#[test]
fn no_source_is_asked_for_more_than_three_at_once_while_there_are_others() {
    let mut desk = Desk::downloading(64, with_slots(6));
    let peers: Vec<PeerKey> = (0..6).map(|_| desk.full_holder().0).collect();
    for _ in 0..40 {
        let open = |peer: &PeerKey| Some((*peer, *desk.open_at(*peer).first()?));
        let (peer, chunk) = peers.iter().find_map(open).unwrap();
        desk.arrive(peer, chunk);
        desk.store(chunk);
    }
    let most = peers.iter().map(|peer| desk.open_at(*peer).len()).max();
    assert!(most <= Some(3), "{most:?} requests at one of six sources");
}

#[test]
fn a_busy_source_is_not_asked_again_before_it_wakes_us() {
    let mut desk = Desk::downloading(8, with_slots(2));
    let (peer, outputs) = desk.full_holder();
    let [(_, first), (_, second)] = asked(&outputs)[..] else { panic!("two slots") };
    assert_eq!(asked(&desk.busy(peer, first)), []);
    assert_eq!(asked(&desk.busy(peer, second)), []);
    let outputs = desk.say(peer, PeerMessage::Ready { file: THEIRS, chunk: first });
    assert_eq!(asked(&outputs).len(), 2);
}

#[test]
fn what_a_busy_source_does_not_send_is_asked_of_another() {
    let mut desk = Desk::downloading(1, with_slots(1));
    let (busy, _) = desk.full_holder();
    let (other, _) = desk.full_holder();
    assert_eq!(asked(&desk.busy(busy, 0)), [(other, 0)]);
}

#[test]
fn a_source_that_never_wakes_us_is_asked_again_when_patience_is_over() {
    let mut desk = Desk::downloading(1, with_slots(1));
    let (peer, _) = desk.full_holder();
    desk.busy(peer, 0);
    assert_eq!(asked(&desk.wait(millis(1499))), []);
    // Two seconds, a quarter more or less.
    assert_eq!(asked(&desk.wait(millis(1001))), [(peer, 0)]);
}

#[test]
fn a_slot_that_is_of_no_use_is_given_back() {
    let mut desk = Desk::downloading(2, with_slots(1));
    let (first, _) = desk.full_holder();
    let (second, _) = desk.full_holder();
    // Our only slot is taken.
    let outputs = desk.say(second, PeerMessage::Ready { file: THEIRS, chunk: 1 });
    assert_eq!(told(&outputs, second), [PeerMessage::Cancel { file: OURS, chunk: 1 }]);
    let outputs = desk.say(second, PeerMessage::Suggest { file: THEIRS, chunk: 0 });
    assert_eq!(told(&outputs, second), [PeerMessage::Cancel { file: OURS, chunk: 0 }]);
    assert_eq!(told(&outputs, first), []);
}

#[test]
fn a_suggested_chunk_is_asked_for_if_it_is_missing() {
    let mut desk = Desk::downloading(64, with_slots(1));
    let (peer, outputs) = desk.full_holder();
    let (_, first) = asked(&outputs)[0];
    desk.busy(peer, first);
    let suggested = (first + 31) % 64;
    let outputs = desk.say(peer, PeerMessage::Suggest { file: THEIRS, chunk: suggested });
    assert_eq!(asked(&outputs), [(peer, suggested)]);
}

#[test]
fn a_suggestion_of_what_is_asked_for_already_cancels_nothing() {
    let mut desk = Desk::downloading(1, with_slots(1));
    let (peer, _) = desk.full_holder();
    let outputs = desk.say(peer, PeerMessage::Suggest { file: THEIRS, chunk: 0 });
    assert_eq!(told(&outputs, peer), []);
}

#[test]
fn a_wake_up_for_a_file_that_needs_nothing_is_used_for_another() {
    let mut desk = Desk::downloading(2, with_slots(1));
    let (peer, outputs) = desk.full_holder();
    desk.busy(peer, asked(&outputs)[0].1);
    let (other, handle) = (FileKey(2), FileHandle(71));
    let empty = ChunkSet::empty(&desk.geometry);
    desk.add_file(other, empty, Goal::Download);
    let open = desk.open_message(other, handle, Holdings::Full);
    let chunk = asked(&desk.say(peer, open))[0].1;
    desk.say(peer, PeerMessage::Busy { file: handle, chunk, load: 1 });
    // It has lost all of that file; the place in line was for it.
    let open = desk.open_message(other, handle, Holdings::Bitmap(vec![0]));
    desk.say(peer, open);
    let outputs = desk.say(peer, PeerMessage::Ready { file: handle, chunk });
    assert!(matches!(told(&outputs, peer)[..], [PeerMessage::Request { file: OURS, .. }]));
}

#[test]
fn several_files_share_the_slots() {
    let mut desk = Desk::new(64, with_slots(8));
    let peer = desk.connect();
    desk.proven(peer);
    for n in 1..=4 {
        let empty = ChunkSet::empty(&desk.geometry);
        desk.add_file(FileKey(n), empty, Goal::Download);
        let handle = FileHandle(70 + n);
        let open = desk.open_message(FileKey(n), handle, Holdings::Full);
        // It is busy until all four are known.
        for (_, chunk) in asked(&desk.say(peer, open)) {
            desk.say(peer, PeerMessage::Busy { file: handle, chunk, load: 1 });
        }
    }
    desk.say(peer, PeerMessage::Ready { file: FileHandle(74), chunk: 0 });
    let open = (1..=4).map(|n| desk.swarm.requests.of_link(peer, FileKey(n)).open().len());
    assert_eq!(open.collect::<Vec<_>>(), [2, 2, 2, 2]);
}

#[test]
fn nothing_is_asked_for_while_the_disk_is_behind() {
    let config = Config { storing_bytes: 16384, ..with_slots(1) };
    let mut desk = Desk::downloading(4, config);
    let (peer, outputs) = desk.full_holder();
    let (_, chunk) = asked(&outputs)[0];
    assert_eq!(asked(&desk.arrive(peer, chunk)), []);
    assert_eq!(asked(&desk.store(chunk)).len(), 1);
}

#[test]
fn a_slot_that_is_kept_for_us_is_taken_beyond_our_own_slots() {
    let mut desk = Desk::downloading(64, with_slots(4));
    let (busy, outputs) = desk.full_holder();
    for (_, chunk) in asked(&outputs) {
        desk.busy(busy, chunk);
    }
    let taken = asked(&desk.full_holder().1).len() + asked(&desk.full_holder().1).len();
    assert_eq!(taken, 4, "all our slots");
    // Half as many more are for those who wake us, and no more than that.
    for (ready, expected) in [(10, 1), (11, 1), (12, 0)] {
        let outputs = desk.say(busy, PeerMessage::Ready { file: THEIRS, chunk: ready });
        assert_eq!(asked(&outputs).len(), expected, "slot {ready}");
    }
}

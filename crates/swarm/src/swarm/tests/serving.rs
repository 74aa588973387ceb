//! Whom to serve, as sentences.

use tnet_fileinfo::ChunkSet;
use tnet_proto::{FileHandle, Holdings, PeerMessage};

use super::desk::*;
use crate::swarm::upload::MAX_DECLINED;
use crate::{FileKey, Goal, Input, Output, PeerKey, UploadEnd};

const OURS: FileHandle = FileHandle(FILE.0);

fn is_busy(messages: &[PeerMessage]) -> bool {
    messages.iter().any(|message| matches!(message, PeerMessage::Busy { .. }))
}

fn ready(chunk: u32) -> PeerMessage {
    PeerMessage::Ready { file: OURS, chunk }
}

/// The chunk suggested in these messages.
fn suggested(messages: &[PeerMessage]) -> Option<u32> {
    messages.iter().find_map(|message| match message {
        PeerMessage::Suggest { chunk, .. } => Some(*chunk),
        _ => None,
    })
}

/// A partial holder of chunks 0 to 7 with one slot, so that nothing is suggested, which sends chunk
/// 0 to the first of two peers.
fn one_slot_taken() -> (Desk, PeerKey, PeerKey) {
    let mut desk = Desk::new(16, with_slots(1));
    let mut stored = ChunkSet::empty(&desk.geometry);
    (0..8).for_each(|chunk| {
        stored.insert(desk.chunk(chunk));
    });
    desk.add_file(FILE, stored, Goal::Download);
    let (first, second) = (desk.holder_of(&[]), desk.holder_of(&[]));
    assert_eq!(uploaded(&desk.request(first, 0)), [(first, 0)]);
    (desk, first, second)
}

#[test]
fn a_request_beyond_the_slots_is_answered_with_busy_and_woken_when_one_frees() {
    let (mut desk, first, second) = one_slot_taken();
    let outputs = desk.request(second, 3);
    assert!(is_busy(&told(&outputs, second)) && uploaded(&outputs).is_empty());
    let outputs = desk.ended(first, 0, UploadEnd::Sent);
    assert_eq!(told(&outputs, second), [ready(3)]);
}

#[test]
fn a_kept_slot_serves_a_request_for_any_chunk() {
    let (mut desk, first, second) = one_slot_taken();
    desk.request(second, 3);
    desk.ended(first, 0, UploadEnd::Sent);
    assert_eq!(uploaded(&desk.request(second, 5)), [(second, 5)]);
}

#[test]
fn a_kept_slot_is_kept_from_others() {
    let (mut desk, first, second) = one_slot_taken();
    desk.request(second, 3);
    desk.ended(first, 0, UploadEnd::Sent);
    assert!(is_busy(&told(&desk.request(first, 1), first)));
}

#[test]
fn a_slot_given_back_passes_on_at_once() {
    let (mut desk, first, second) = one_slot_taken();
    desk.request(second, 3);
    desk.ended(first, 0, UploadEnd::Sent);
    desk.request(first, 1);
    assert_eq!(told(&desk.cancel(second, 3), first), [ready(1)]);
}

#[test]
fn a_kept_slot_that_is_not_used_passes_on_in_time() {
    let (mut desk, first, second) = one_slot_taken();
    desk.request(second, 3);
    desk.ended(first, 0, UploadEnd::Sent);
    desk.request(first, 1);
    assert_eq!(told(&desk.wait(millis(499)), first), []);
    assert_eq!(told(&desk.wait(millis(1)), first), [ready(1)]);
}

#[test]
fn a_peer_that_leaves_slots_unused_again_and_again_is_not_woken_any_more() {
    let (mut desk, _, second) = one_slot_taken();
    let mut woken = 0;
    for _ in 0..6 {
        // The first peer takes the slot in between.
        let outputs = desk.request(second, 3);
        woken += told(&outputs, second).iter().filter(|message| **message == ready(3)).count();
        let outputs = desk.ended(PeerKey(1), 0, UploadEnd::Sent);
        woken += told(&outputs, second).iter().filter(|message| **message == ready(3)).count();
        desk.wait(secs(1));
        desk.request(PeerKey(1), 0);
    }
    assert_eq!(woken, 3);
}

#[test]
fn waiting_peers_are_woken_in_the_order_in_which_they_came() {
    let (mut desk, first, second) = one_slot_taken();
    let third = desk.holder_of(&[]);
    desk.request(third, 2);
    desk.request(second, 3);
    let outputs = desk.ended(first, 0, UploadEnd::Sent);
    assert_eq!((told(&outputs, third), told(&outputs, second)), (vec![ready(2)], vec![]));
}

#[test]
fn a_peer_that_leaves_while_it_waits_does_not_hold_up_the_line() {
    let (mut desk, first, second) = one_slot_taken();
    let third = desk.holder_of(&[]);
    desk.request(second, 3);
    desk.request(third, 2);
    desk.input(Input::PeerLost { peer: second });
    assert_eq!(told(&desk.ended(first, 0, UploadEnd::Sent), third), [ready(2)]);
}

#[test]
fn the_slot_of_a_lost_peer_goes_to_the_next_in_line() {
    let (mut desk, first, second) = one_slot_taken();
    desk.request(second, 3);
    assert_eq!(told(&desk.input(Input::PeerLost { peer: first }), second), [ready(3)]);
}

#[test]
fn a_cancelled_upload_keeps_its_slot_until_it_has_ended_and_is_stopped_once() {
    let (mut desk, first, second) = one_slot_taken();
    let chunk = desk.chunk(0);
    assert_eq!(desk.cancel(first, 0), [Output::StopUpload { peer: first, file: FILE, chunk }]);
    assert_eq!(desk.cancel(first, 0), []);
    desk.request(second, 3);
    assert_eq!(told(&desk.ended(first, 0, UploadEnd::Stopped), second), [ready(3)]);
}

#[test]
fn a_chunk_that_is_not_held_is_refused() {
    let (mut desk, _, second) = one_slot_taken();
    let outputs = desk.request(second, 9);
    assert_eq!(told(&outputs, second), [PeerMessage::Refused { file: OURS, chunk: 9 }]);
}

#[test]
fn a_fresh_seed_answers_a_request_for_what_it_gave_already_with_a_suggestion() {
    let mut desk = Desk::seeding(8, with_slots(4));
    let (first, second) = (desk.holder_of(&[]), desk.holder_of(&[]));
    assert_eq!(uploaded(&desk.request(first, 5)), [(first, 5)]);
    let outputs = desk.request(second, 5);
    let better = suggested(&told(&outputs, second)).unwrap();
    assert!(is_busy(&told(&outputs, second)) && better != 5);
    assert_eq!(uploaded(&desk.request(second, better)), [(second, better)]);
}

#[test]
fn a_fresh_seed_gives_every_chunk_once_before_any_twice() {
    let mut desk = Desk::seeding(8, with_slots(3));
    let peers: Vec<_> = (0..4).map(|_| desk.holder_of(&[])).collect();
    let mut given = Vec::new();
    // All want the same chunks in the same order.
    'all: for chunk in (0..8).cycle() {
        for peer in &peers {
            let outputs = desk.request(*peer, chunk);
            let mut uploads = uploaded(&outputs);
            if let Some(better) = suggested(&told(&outputs, *peer)) {
                uploads.extend(uploaded(&desk.request(*peer, better)));
            }
            for (peer, chunk) in uploads {
                given.push(chunk);
                desk.ended(peer, chunk, UploadEnd::Sent);
                desk.say(peer, PeerMessage::Have { file: THEIRS, chunks: vec![chunk] });
                if given.len() == 8 {
                    break 'all;
                }
            }
        }
    }
    given.sort_unstable();
    assert_eq!(given, (0..8).collect::<Vec<_>>());
}

#[test]
fn a_suggestion_keeps_its_slot_although_an_older_request_arrives_after_it() {
    let mut desk = Desk::seeding(8, with_slots(4));
    let (first, second) = (desk.holder_of(&[]), desk.holder_of(&[]));
    desk.request(first, 5);
    desk.request(first, 6);
    let better = suggested(&told(&desk.request(second, 5), second)).unwrap();
    // Sent before the suggestion came to the second peer.
    let outputs = desk.request(second, 6);
    assert!(is_busy(&told(&outputs, second)) && uploaded(&outputs).is_empty());
    assert_eq!(uploaded(&desk.request(second, better)), [(second, better)]);
}

#[test]
fn a_peer_that_gives_suggestions_back_again_and_again_gets_what_it_asks_for() {
    let mut desk = Desk::seeding(8, with_slots(4));
    let (first, second) = (desk.holder_of(&[]), desk.holder_of(&[]));
    desk.request(first, 5);
    for _ in 0..MAX_DECLINED {
        let better = suggested(&told(&desk.request(second, 5), second)).unwrap();
        desk.cancel(second, better);
    }
    assert_eq!(uploaded(&desk.request(second, 5)), [(second, 5)]);
}

#[test]
fn a_suggestion_that_lapses_is_made_to_another_peer() {
    let mut desk = Desk::seeding(2, with_slots(4));
    let (first, second) = (desk.holder_of(&[]), desk.holder_of(&[]));
    desk.request(first, 0);
    assert_eq!(suggested(&told(&desk.request(second, 0), second)), Some(1));
    desk.wait(secs(1));
    let third = desk.holder_of(&[]);
    assert_eq!(suggested(&told(&desk.request(third, 0), third)), Some(1));
}

#[test]
fn what_only_a_lost_peer_had_is_given_away_again() {
    let mut desk = Desk::seeding(2, with_slots(4));
    let first = desk.holder_of(&[]);
    for chunk in 0..2 {
        desk.request(first, chunk);
        desk.ended(first, chunk, UploadEnd::Sent);
    }
    // It has announced one of the two when it goes.
    desk.say(first, PeerMessage::Have { file: THEIRS, chunks: vec![0] });
    assert!(desk.swarm.files[&FILE].suggest.as_ref().unwrap().is_done());
    desk.input(Input::PeerLost { peer: first });
    let suggest = desk.swarm.files[&FILE].suggest.as_ref().unwrap();
    assert!(!suggest.is_spread(desk.chunk(0)) && !suggest.is_spread(desk.chunk(1)));
}

#[test]
fn what_others_have_is_not_given_away_again_when_one_of_them_goes() {
    let mut desk = Desk::seeding(2, with_slots(4));
    let (first, _) = (desk.holder_of(&[0, 1]), desk.holder_of(&[1]));
    desk.input(Input::PeerLost { peer: first });
    let suggest = desk.swarm.files[&FILE].suggest.as_ref().unwrap();
    assert!(!suggest.is_spread(desk.chunk(0)) && suggest.is_spread(desk.chunk(1)));
}

#[test]
fn removing_a_file_stops_its_uploads_and_frees_their_slots_when_they_have_ended() {
    let (mut desk, first, _) = one_slot_taken();
    let outputs = desk.input(Input::RemoveFile { file: FILE });
    let stops = outputs.iter().filter(|output| matches!(output, Output::StopUpload { .. })).count();
    assert_eq!((stops, desk.swarm.slot_status().uploads), (1, 1));
    desk.ended(first, 0, UploadEnd::Stopped);
    assert_eq!(desk.swarm.slot_status().uploads, 0);
}

#[test]
fn a_peer_has_one_place_in_line_whatever_it_asks_for() {
    let (mut desk, first, second) = one_slot_taken();
    (1..6).for_each(|chunk| {
        desk.request(second, chunk);
    });
    assert_eq!(desk.swarm.slot_status().waiting, 1);
    assert_eq!(told(&desk.ended(first, 0, UploadEnd::Sent), second), [ready(5)]);
}

#[test]
fn being_served_does_not_cost_a_peer_its_place_in_line() {
    let mut desk = Desk::seeding(8, with_slots(4));
    let (first, second) = (desk.holder_of(&[]), desk.holder_of(&[]));
    desk.request(first, 5);
    desk.request(first, 6);
    let better = suggested(&told(&desk.request(second, 5), second)).unwrap();
    // It is told busy for this one, and does not ask again before it is woken.
    desk.request(second, 6);
    let outputs = desk.request(second, better);
    assert_eq!(uploaded(&outputs), [(second, better)]);
    assert!(suggested(&told(&outputs, second)).is_some());
}

#[test]
fn a_seed_of_two_files_serves_both_from_the_same_slots() {
    let mut desk = Desk::seeding(4, with_slots(2));
    let other = FileKey(2);
    let full = ChunkSet::full(&desk.geometry);
    desk.add_file(other, full, Goal::Seed);
    let peer = desk.holder_of(&[]);
    let open = desk.open_message(other, FileHandle(71), Holdings::Bitmap(vec![0]));
    desk.say(peer, open);
    desk.request(peer, 0);
    desk.say(peer, PeerMessage::Request { file: FileHandle(71), chunk: 0 });
    let outputs = desk.request(peer, 1);
    assert!(is_busy(&told(&outputs, peer)));
    assert_eq!(desk.swarm.slot_status().uploads, 2);
}

#[test]
fn the_first_receiver_leaves_slots_for_later_ones() {
    let mut desk = Desk::seeding(64, with_slots(12));
    let first = desk.holder_of(&[]);
    let given = (0..12).flat_map(|chunk| uploaded(&desk.request(first, chunk))).count();
    assert_eq!(given, 6, "one of two shares");
    let second = desk.holder_of(&[]);
    assert_eq!(uploaded(&desk.request(second, 20)), [(second, 20)]);
}

#[test]
fn a_peer_with_its_share_gets_the_next_chunk_when_one_of_its_own_has_left() {
    let mut desk = Desk::seeding(64, with_slots(12));
    let first = desk.holder_of(&[]);
    (0..7).for_each(|chunk| {
        desk.request(first, chunk);
    });
    let outputs = desk.ended(first, 0, UploadEnd::Sent);
    let next = suggested(&told(&outputs, first)).expect("it waits in line");
    assert_eq!(
        uploaded(&desk.request(first, next)),
        [(first, next)],
        "and is served though it has its share"
    );
}

#[test]
fn a_part_is_served_and_nothing_is_asked_for() {
    let mut desk = Desk::new(16, with_slots(4));
    let mut stored = ChunkSet::empty(&desk.geometry);
    (0..8).for_each(|chunk| {
        stored.insert(desk.chunk(chunk));
    });
    let mut outputs = desk.add_file(FILE, stored, Goal::ServePart);
    let file = FILE;
    outputs.extend(desk.input(Input::Holders { file, addresses: vec![Desk::address(99)] }));
    let (seed, told_at_once) = desk.full_holder();
    outputs.extend(told_at_once);
    outputs.extend(desk.say(seed, PeerMessage::Suggest { file: THEIRS, chunk: 9 }));
    outputs.extend(desk.say(seed, PeerMessage::Ready { file: THEIRS, chunk: 10 }));
    let lacking = desk.holder_of(&[1, 12]);
    assert_eq!(uploaded(&desk.request(lacking, 7)), [(lacking, 7)]);
    outputs.extend(desk.input(Input::PeerLost { peer: lacking }));
    outputs.extend(desk.input(Input::PeerLost { peer: seed }));
    outputs.extend(desk.wait(std::time::Duration::from_secs(600)));
    assert_eq!(asked(&outputs), []);
    let is_search =
        |output: &&Output| matches!(output, Output::Connect { .. } | Output::Lookup { .. });
    assert_eq!(outputs.iter().find(is_search), None);
}

/// Takes so many chunks without a word; announces each of them if it is told to.
fn free_rides(desk: &mut Desk, peer: PeerKey, chunks: u32, announces: bool) {
    for chunk in 0..chunks {
        let chunk = chunk % 8;
        assert_eq!(uploaded(&desk.request(peer, chunk)), [(peer, chunk)]);
        desk.ended(peer, chunk, UploadEnd::Sent);
        if announces {
            desk.say(peer, PeerMessage::Have { file: THEIRS, chunks: vec![chunk] });
        }
    }
}

/// A peer takes so many chunks of a file of 16, then waits for the only slot, and another one after
/// it. Whether it is served before the other.
fn is_served_in_turn(chunks: u32, announces: bool) -> bool {
    let (mut desk, taker, first) = one_slot_taken();
    let second = desk.holder_of(&[]);
    desk.ended(taker, 0, UploadEnd::Sent);
    free_rides(&mut desk, first, chunks, announces);
    assert_eq!(uploaded(&desk.request(taker, 0)), [(taker, 0)]);
    assert!(is_busy(&told(&desk.request(first, 7), first)));
    assert!(is_busy(&told(&desk.request(second, 7), second)));
    let outputs = desk.ended(taker, 0, UploadEnd::Sent);
    let is_woken = |peer| told(&outputs, peer) == [ready(7)];
    assert!(is_woken(first) != is_woken(second), "{outputs:?}");
    is_woken(first)
}

#[test]
fn a_peer_that_received_the_file_twice_and_announced_nothing_is_served_after_all_others() {
    assert!(is_served_in_turn(32, false), "twice is not more than twice");
    assert!(!is_served_in_turn(33, false));
}

#[test]
fn a_peer_that_announces_what_it_receives_is_served_in_turn() {
    assert!(is_served_in_turn(7, true));
    // What it announces and asks for again it has not lost each time.
    assert!(!is_served_in_turn(48, true));
}

#[test]
fn a_free_rider_is_served_while_no_other_peer_waits_and_is_offered_nothing() {
    let mut desk = Desk::seeding(8, with_slots(1));
    let free_rider = desk.holder_of(&[]);
    free_rides(&mut desk, free_rider, 60, false);
    desk.swarm.config.offers = true;
    desk.request(free_rider, 0);
    let outputs = desk.ended(free_rider, 0, UploadEnd::Sent);
    assert_eq!(suggested(&told(&outputs, free_rider)), None, "{outputs:?}");
    let peer = desk.connect();
    let outputs = desk.open(peer, &[]);
    let outputs = [outputs, desk.wait(secs(1))].concat();
    assert_eq!(told(&outputs, free_rider), []);
}

#[test]
fn a_source_that_comes_back_after_almost_two_free_rides_is_still_a_free_rider() {
    let (mut desk, taker, first) = one_slot_taken();
    let second = desk.holder_of(&[]);
    desk.ended(taker, 0, UploadEnd::Sent);
    free_rides(&mut desk, first, 30, false);
    desk.input(Input::PeerLost { peer: first });
    let again = PeerKey(70);
    let (id, address) =
        (tnet_proto::PeerId([70; 16]), std::net::SocketAddr::from(([10, 0, 0, 2], 9)));
    desk.connected(again, id, Some(address), crate::Direction::Inbound);
    desk.open(again, &[]);
    free_rides(&mut desk, again, 3, false);
    desk.request(taker, 0);
    assert!(is_busy(&told(&desk.request(again, 7), again)));
    assert!(is_busy(&told(&desk.request(second, 7), second)));
    let outputs = desk.ended(taker, 0, UploadEnd::Sent);
    assert_eq!(told(&outputs, second), [ready(7)]);
    assert_eq!(told(&outputs, again), []);
}

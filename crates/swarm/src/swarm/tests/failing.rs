//! When sources stall, corrupt, refuse or go, and when our own disk fails, as sentences.

use tnet_fileinfo::ChunkSet;
use tnet_proto::{ByeReason, FileHandle, Holdings, PeerMessage};

use super::desk::*;
use crate::{Config, Event, FileKey, Goal, Input, Output, PeerKey, Violation};

const OURS: FileHandle = FileHandle(FILE.0);

#[test]
fn the_requests_of_a_lost_peer_go_elsewhere_at_once_and_first() {
    let mut desk = Desk::downloading(64, with_slots(1));
    let (first, outputs) = desk.full_holder();
    let (_, chunk) = asked(&outputs)[0];
    let (second, _) = desk.full_holder();
    assert_eq!(asked(&desk.input(Input::PeerLost { peer: first })), [(second, chunk)]);
}

#[test]
fn the_requests_of_a_stalled_source_go_elsewhere_within_the_window() {
    let mut desk = Desk::downloading(1, with_slots(1));
    let (stalled, _) = desk.full_holder();
    let (other, _) = desk.full_holder();
    desk.wait(millis(2200));
    // Three seconds, a quarter more or less.
    let outputs = desk.wait(millis(1600));
    let told = told(&outputs, stalled);
    assert_eq!(
        told,
        [PeerMessage::Ping { nonce: 0 }, PeerMessage::Cancel { file: OURS, chunk: 0 }]
    );
    // A hedge may have come first.
    assert_eq!(desk.open_at(other), [0]);
}

#[test]
fn a_slow_source_that_keeps_sending_is_not_stalled() {
    let mut desk = Desk::downloading(1, with_slots(1));
    let (peer, _) = desk.full_holder();
    for _ in 0..200 {
        // A little above the floor of 2 KiB/s.
        desk.input(Input::DataReceived { peer, bytes: 250 });
        let outputs = desk.wait(millis(100));
        assert_eq!(told(&outputs, peer), []);
    }
}

#[test]
fn what_a_stalled_source_sends_late_is_used_and_not_punished() {
    let mut desk = Desk::downloading(1, with_slots(1));
    let (late, _) = desk.full_holder();
    let (other, _) = desk.full_holder();
    desk.wait(secs(4));
    let outputs = desk.arrive(late, 0);
    let stored =
        outputs.iter().any(|output| matches!(output, Output::Store { peer, .. } if *peer == late));
    assert!(stored && events(&outputs).is_empty());
    // The other one need not send it any more.
    assert_eq!(told(&outputs, other), [PeerMessage::Cancel { file: OURS, chunk: 0 }]);
}

#[test]
fn a_source_whose_flow_died_is_called_anew_within_ten_seconds() {
    let mut desk = Desk::downloading(64, with_slots(4));
    let (peer, address) = (desk.reached(1), Desk::address(1));
    let outputs = desk.open(peer, &(0..64).collect::<Vec<_>>());
    // Chunks come, and suddenly nothing any more.
    deliver(&mut desk, peer, &outputs, 10, millis(500));
    let outputs = desk.wait(secs(11));
    assert_eq!(disconnected(&outputs).iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), [peer]);
    assert!(called(&outputs).contains(&address), "{outputs:?}");
    let fell_silent = |event: &Event| matches!(event, Event::FellSilent { .. });
    assert!(events(&outputs).iter().any(fell_silent), "{outputs:?}");
}

/// Sends so many of the chunks that were and are asked for, one after each pause.
fn deliver(
    desk: &mut Desk,
    peer: PeerKey,
    outputs: &[Output],
    chunks: usize,
    pause: std::time::Duration,
) {
    let mut wanted: std::collections::VecDeque<u32> =
        asked(outputs).iter().map(|(_, chunk)| *chunk).collect();
    for _ in 0..chunks {
        let chunk = wanted.pop_front().unwrap();
        let mut outputs = desk.arrive(peer, chunk);
        outputs.extend(desk.store(chunk));
        outputs.extend(desk.wait(pause));
        wanted.extend(asked(&outputs).iter().map(|(_, chunk)| *chunk));
    }
}

#[test]
fn a_source_that_sends_nothing_and_answers_pings_keeps_its_connection() {
    let mut desk = Desk::downloading(1, with_slots(1));
    let (peer, _) = desk.full_holder();
    for _ in 0..15 {
        let outputs = desk.wait(secs(1));
        assert_eq!(disconnected(&outputs), []);
        if told(&outputs, peer).contains(&PeerMessage::Ping { nonce: 0 }) {
            desk.say(peer, PeerMessage::Pong { nonce: 0 });
        }
    }
}

#[test]
fn while_our_own_disk_is_behind_no_source_counts_as_silent() {
    let config = Config { storing_bytes: 16384, ..with_slots(2) };
    let mut desk = Desk::downloading(4, config);
    let (peer, outputs) = desk.full_holder();
    desk.arrive(peer, asked(&outputs)[0].1);
    assert_eq!(disconnected(&desk.wait(secs(60))), []);
}

#[test]
fn a_source_that_we_do_not_read_does_not_count_as_silent() {
    let mut desk = Desk::downloading(4, with_slots(4));
    let (peer, outputs) = desk.full_holder();
    deliver(&mut desk, peer, &outputs, 1, millis(500));
    desk.input(Input::ReadingPaused { peer });
    let outputs = desk.wait(secs(60));
    assert_eq!((disconnected(&outputs), events(&outputs)), (vec![], vec![]));
    assert!(!told(&outputs, peer).iter().any(|told| matches!(told, PeerMessage::Cancel { .. })));
}

#[test]
fn a_source_whose_answer_we_read_late_has_its_time_from_then_on() {
    let mut desk = Desk::downloading(64, with_slots(4));
    let (peer, outputs) = desk.full_holder();
    deliver(&mut desk, peer, &outputs, 1, millis(500));
    // It is asked for a sign of life; before that is there we cannot read any more.
    while !told(&desk.wait(millis(100)), peer).contains(&PeerMessage::Ping { nonce: 0 }) {}
    desk.input(Input::ReadingPaused { peer });
    desk.wait(millis(4900));
    desk.input(Input::ReadingResumed { peer });
    assert_eq!(disconnected(&desk.wait(millis(4900))), []);
    // Now it is silent.
    assert_eq!(disconnected(&desk.wait(secs(10))), [(peer, ByeReason::IDLE)]);
}

#[test]
fn an_open_is_not_unanswered_while_we_do_not_read() {
    let mut desk = Desk::downloading(1, with_slots(1));
    let peer = desk.reached(1);
    desk.input(Input::ReadingPaused { peer });
    assert_eq!(disconnected(&desk.wait(secs(60))), []);
    desk.input(Input::ReadingResumed { peer });
    assert_eq!(disconnected(&desk.wait(secs(21))).len(), 1);
}

#[test]
fn only_where_there_are_two_connections_one_of_them_ends_as_a_double() {
    let mut desk = Desk::downloading(1, with_slots(1));
    let (peer, _) = desk.full_holder();
    assert_eq!(disconnected(&desk.wait(secs(11))), [(peer, ByeReason::IDLE)]);
}

#[test]
fn when_every_source_is_silent_the_coordinator_is_asked_at_once() {
    let mut desk = Desk::downloading(64, with_slots(4));
    let (peer, outputs) = desk.full_holder();
    // By now it is asked each half minute.
    deliver(&mut desk, peer, &outputs, 40, secs(2));
    let outputs = desk.wait(secs(6));
    assert!(
        outputs.iter().any(|output| matches!(output, Output::Lookup { file: FILE })),
        "{outputs:?}"
    );
}

#[test]
fn a_peer_that_does_not_answer_an_open_and_says_nothing_else_is_let_go() {
    let mut desk = Desk::downloading(1, with_slots(1));
    let peer = desk.reached(1);
    let outputs = desk.wait(secs(11));
    assert_eq!(disconnected(&outputs).iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), [peer]);
    assert!(called(&outputs).contains(&Desk::address(1)));
}

#[test]
fn a_source_that_never_delivers_is_let_go() {
    let mut desk = Desk::downloading(1, with_slots(1));
    let (peer, _) = desk.full_holder();
    let outputs = desk.wait(secs(120));
    assert_eq!(disconnected(&outputs).iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), [peer]);
    let cancels =
        told(&outputs, peer).iter().filter(|m| matches!(m, PeerMessage::Cancel { .. })).count();
    assert_eq!(cancels, 1, "who owes an answer is not asked for more");
}

#[test]
fn a_source_that_answers_after_a_stall_is_asked_again() {
    let mut desk = Desk::downloading(1, with_slots(1));
    let (peer, _) = desk.full_holder();
    desk.wait(millis(3900));
    desk.say(peer, PeerMessage::Stopped { file: THEIRS, chunk: 0 });
    assert_eq!(asked(&desk.wait(secs(4))), [(peer, 0)]);
}

#[test]
fn a_stall_is_not_held_against_a_source_while_our_disk_is_behind() {
    let config = Config { storing_bytes: 16384, ..with_slots(2) };
    let mut desk = Desk::downloading(4, config);
    let (peer, outputs) = desk.full_holder();
    desk.arrive(peer, asked(&outputs)[0].1);
    assert_eq!(told(&desk.wait(secs(20)), peer), []);
}

#[test]
fn a_corrupt_chunk_is_fetched_again_and_the_second_one_costs_a_ban() {
    let mut desk = Desk::downloading(4, with_slots(4));
    let (corrupt, _) = desk.full_holder();
    desk.arrive(corrupt, 0);
    let outputs = desk.corrupt(corrupt, 0);
    assert_eq!(asked(&outputs), [(corrupt, 0)]);
    desk.arrive(corrupt, 1);
    let outputs = desk.corrupt(corrupt, 1);
    assert!(events(&outputs).contains(&Event::Banned { address: Some(Desk::address(1)) }));
    assert_eq!(disconnected(&outputs).len(), 1);
}

#[test]
fn reconnecting_does_not_wash_off_a_corrupt_chunk() {
    let mut desk = Desk::downloading(4, with_slots(4));
    let (corrupt, _) = desk.full_holder();
    desk.arrive(corrupt, 0);
    desk.corrupt(corrupt, 0);
    desk.input(Input::PeerLost { peer: corrupt });
    let again = PeerKey(99);
    desk.connected(
        again,
        tnet_proto::PeerId([77; 16]),
        Some(Desk::address(1)),
        crate::Direction::Inbound,
    );
    let open = desk.open_message(FILE, THEIRS, Holdings::Full);
    desk.say(again, open);
    desk.arrive(again, 0);
    let outputs = desk.corrupt(again, 0);
    assert!(events(&outputs).contains(&Event::Banned { address: Some(Desk::address(1)) }));
}

#[test]
fn leaving_before_the_sum_is_known_does_not_help_either() {
    let mut desk = Desk::downloading(4, with_slots(4));
    let (corrupt, _) = desk.full_holder();
    desk.arrive(corrupt, 0);
    desk.arrive(corrupt, 1);
    desk.input(Input::PeerLost { peer: corrupt });
    desk.corrupt(corrupt, 0);
    let outputs = desk.corrupt(corrupt, 1);
    assert!(events(&outputs).contains(&Event::Banned { address: Some(Desk::address(1)) }));
}

#[test]
fn a_chunk_that_fails_again_and_again_is_tried_after_longer_and_longer_pauses() {
    let mut desk = Desk::downloading(1, with_slots(1));
    let (peer, _) = desk.full_holder();
    let mut pauses = Vec::new();
    for _ in 0..6 {
        desk.arrive(peer, 0);
        let chunk = desk.chunk(0);
        let before = desk.now;
        let mut requests =
            asked(&desk.input(Input::ChunksLost { file: FILE, chunks: vec![chunk] }));
        while requests.is_empty() {
            requests = asked(&desk.wait(millis(10)));
        }
        pauses.push((desk.now - before).as_millis());
    }
    // Three times at once, then about 250, 500 and 1000 ms, a quarter more or less and up to 10 ms
    // late.
    assert_eq!(pauses[..3], [0, 0, 0]);
    for (pause, about) in pauses[3..].iter().zip([250, 500, 1000]) {
        assert!((about * 3 / 4..=about * 5 / 4 + 10).contains(pause), "{pauses:?}");
    }
}

#[test]
fn a_peer_that_announces_and_refuses_is_cut() {
    let mut desk = Desk::downloading(40, with_slots(1));
    let (peer, mut outputs) = desk.full_holder();
    for refused in 1..=16 {
        let (_, chunk) = asked(&outputs)[0];
        outputs = desk.say(peer, PeerMessage::Refused { file: THEIRS, chunk });
        assert_eq!(disconnected(&outputs).len(), usize::from(refused == 16), "after {refused}");
    }
    let cut = Event::Cut { address: Some(Desk::address(1)), violation: Violation::EmptyPromises };
    assert_eq!(events(&outputs), [cut]);
}

#[test]
fn a_chunk_that_could_not_be_read_is_asked_of_its_only_holder_again() {
    let mut desk = Desk::downloading(1, with_slots(1));
    let (peer, _) = desk.full_holder();
    let outputs = desk.say(peer, PeerMessage::Stopped { file: THEIRS, chunk: 0 });
    assert_eq!(asked(&outputs), [(peer, 0)]);
}

#[test]
fn a_refused_chunk_is_not_asked_of_the_same_peer_until_it_is_announced_again() {
    let mut desk = Desk::downloading(1, with_slots(1));
    let (peer, _) = desk.full_holder();
    let outputs = desk.say(peer, PeerMessage::Refused { file: THEIRS, chunk: 0 });
    assert_eq!(asked(&outputs), []);
    let outputs = desk.say(peer, PeerMessage::Have { file: THEIRS, chunks: vec![0] });
    assert_eq!(asked(&outputs), [(peer, 0)]);
}

#[test]
fn what_was_not_asked_for_costs_the_connection() {
    let answers: [fn(FileHandle, u32) -> PeerMessage; 3] = [
        |file, chunk| PeerMessage::Busy { file, chunk, load: 0 },
        |file, chunk| PeerMessage::Stopped { file, chunk },
        |file, chunk| PeerMessage::Refused { file, chunk },
    ];
    for answer in answers {
        let mut desk = Desk::downloading(4, with_slots(1));
        let peer = desk.holder_of(&[0]);
        let outputs = desk.say(peer, answer(THEIRS, 2));
        let violation = Violation::Unrequested(2);
        assert_eq!(events(&outputs), [Event::Cut { address: Some(Desk::address(1)), violation }]);
    }
    let mut desk = Desk::downloading(4, with_slots(1));
    let peer = desk.holder_of(&[0]);
    assert_eq!(disconnected(&desk.arrive(peer, 2)).len(), 1);
}

#[test]
fn chunks_in_the_retry_queue_whose_holders_are_gone_do_not_hold_up_others() {
    let mut desk = Desk::downloading(8, with_slots(2));
    let first = desk.holder_of(&[0, 1]);
    desk.input(Input::PeerLost { peer: first });
    let second = desk.connect();
    let outputs = desk.open(second, &[5, 6]);
    assert_eq!(sorted(asked(&outputs)), [(second, 5), (second, 6)]);
}

#[test]
fn chunks_whose_source_has_room_are_found_behind_many_rarer_ones_whose_sources_have_none() {
    // 2000 chunks that one busy peer has, five that two have, and one that nobody has, so that none
    // is full.
    let mut desk = Desk::downloading(2006, with_slots(2));
    let all: Vec<u32> = (0..2005).collect();
    let busy = desk.holder_of(&all);
    for chunk in desk.open_at(busy) {
        desk.busy(busy, chunk);
    }
    let other = desk.connect();
    let outputs = desk.open(other, &[2000, 2001, 2002, 2003, 2004]);
    assert_eq!(asked(&outputs).len(), 2);
}

#[test]
fn a_file_is_complete_when_its_last_chunk_is_stored_and_not_before() {
    let mut desk = Desk::downloading(2, with_slots(2));
    let (peer, _) = desk.full_holder();
    desk.arrive(peer, 0);
    desk.arrive(peer, 1);
    assert_eq!(events(&desk.store(0)), []);
    assert_eq!(events(&desk.store(1)), [Event::Complete { file: FILE }]);
}

#[test]
fn chunks_lost_after_completion_are_fetched_again_and_no_longer_offered() {
    let mut desk = Desk::downloading(2, with_slots(2));
    let (peer, _) = desk.full_holder();
    for chunk in 0..2 {
        desk.arrive(peer, chunk);
        desk.store(chunk);
    }
    let chunk = desk.chunk(1);
    let outputs = desk.input(Input::ChunksLost { file: FILE, chunks: vec![chunk] });
    assert_eq!(asked(&outputs), [(peer, 1)]);
    let open = desk.open_message(FILE, OURS, Holdings::Bitmap(vec![0b01]));
    assert!(told(&outputs, peer).contains(&open));
    desk.arrive(peer, 1);
    assert_eq!(events(&desk.store(1)), [Event::Complete { file: FILE }]);
}

#[test]
fn a_file_removed_while_its_chunks_are_being_stored_leaves_nothing_behind() {
    let mut desk = Desk::downloading(2, with_slots(2));
    let (peer, _) = desk.full_holder();
    desk.arrive(peer, 0);
    desk.input(Input::RemoveFile { file: FILE });
    let status = desk.swarm.slot_status();
    assert_eq!((status.storing_bytes, status.downloads), (0, 0));
    assert_eq!(desk.store(0), []);
    assert_eq!(desk.corrupt(peer, 0).len(), 1, "only the event");
    // Its answer to the other request crosses our close.
    assert_eq!(desk.arrive(peer, 1), []);
}

#[test]
fn a_chunk_that_cannot_be_read_at_its_source_is_not_asked_for_without_end() {
    let mut desk = Desk::downloading(1, with_slots(1));
    let (peer, _) = desk.full_holder();
    let stopped = PeerMessage::Stopped { file: THEIRS, chunk: 0 };
    for _ in 0..3 {
        assert_eq!(asked(&desk.say(peer, stopped.clone())), [(peer, 0)]);
    }
    assert_eq!(asked(&desk.say(peer, stopped)), []);
    assert_eq!(asked(&desk.wait(millis(313))), [(peer, 0)]);
}

#[test]
fn two_answers_to_a_request_from_before_and_one_from_after_a_close_are_no_fault() {
    let mut desk = Desk::downloading(1, with_slots(1));
    let (peer, _) = desk.full_holder();
    desk.say(peer, PeerMessage::Close { file: THEIRS });
    let open = desk.open_message(FILE, THEIRS, Holdings::Full);
    assert_eq!(asked(&desk.say(peer, open)), [(peer, 0)]);
    // It took the request from before its close for a new one.
    desk.arrive(peer, 0);
    assert_eq!(events(&desk.busy(peer, 0)), []);
    assert_eq!(events(&desk.busy(peer, 0)).len(), 1, "a third answer is one too many");
}

#[test]
fn an_answer_that_crossed_a_removal_and_a_new_download_of_the_file_is_no_fault() {
    let mut desk = Desk::downloading(1, with_slots(1));
    let (peer, _) = desk.full_holder();
    desk.input(Input::RemoveFile { file: FILE });
    let (hash, geometry, stored) = (hash(FILE), desk.geometry, ChunkSet::empty(&desk.geometry));
    let (file, vouched, goal) = (FileKey(2), stored.clone(), Goal::Download);
    desk.input(Input::AddFile { file, hash, geometry, stored, vouched, goal });
    let open = desk.open_message(FILE, THEIRS, Holdings::Bitmap(vec![0]));
    desk.say(peer, open);
    assert_eq!(events(&desk.say(peer, PeerMessage::Stopped { file: THEIRS, chunk: 0 })), []);
}

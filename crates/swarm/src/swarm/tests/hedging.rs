//! Asking for a chunk twice: only at the end, only for what takes long, and within bounds, as
//! sentences.

use tnet_proto::PeerMessage;

use super::desk::*;
use crate::{Config, Input, PeerKey};

#[test]
fn only_the_end_is_asked_for_twice_and_only_when_it_takes_long() {
    let mut desk = Desk::downloading(2, with_slots(2));
    let (first, _) = desk.full_holder();
    let (second, _) = desk.full_holder();
    assert_eq!(asked(&desk.wait(millis(999))), []);
    let hedges = asked(&desk.wait(millis(1)));
    assert_eq!(hedges, [], "our slots are all taken");
    let outputs = desk.arrive(first, 0);
    assert_eq!(asked(&outputs), [(second, 1)]);
}

#[test]
fn nothing_is_asked_for_twice_while_something_is_missing() {
    // Chunk 2 is missing and nobody has it.
    let mut desk = Desk::downloading(3, with_slots(4));
    let first = desk.holder_of(&[0, 1]);
    let _second = desk.holder_of(&[0, 1]);
    for _ in 0..8 {
        desk.input(Input::DataReceived { peer: first, bytes: 4000 });
        assert_eq!(asked(&desk.wait(secs(1))), []);
    }
}

#[test]
fn a_chunk_is_asked_for_twice_at_most() {
    let mut desk = Desk::downloading(1, with_slots(4));
    let first = desk.full_holder().0;
    let others: Vec<PeerKey> = (0..3).map(|_| desk.full_holder().0).collect();
    let mut hedged = Vec::new();
    for _ in 0..10 {
        for peer in others.iter().chain([&first]) {
            desk.input(Input::DataReceived { peer: *peer, bytes: 4000 });
        }
        hedged.extend(asked(&desk.wait(secs(1))));
    }
    assert_eq!(hedged.len(), 1);
}

#[test]
fn duplicates_are_bounded_until_a_chunk_is_very_late() {
    // At most 2 of 20 chunks; all are with one source that trickles.
    let mut desk = Desk::downloading(20, Config { requests_per_source: 20, ..with_slots(24) });
    let (slow, _) = desk.full_holder();
    desk.proven(slow);
    desk.say(slow, PeerMessage::Have { file: THEIRS, chunks: vec![0] });
    let (other, _) = desk.full_holder();
    let trickle = |desk: &mut Desk, seconds: u64| {
        let mut hedged = Vec::new();
        for _ in 0..seconds {
            for peer in [slow, other] {
                desk.input(Input::DataReceived { peer, bytes: 4000 });
            }
            hedged.extend(asked(&desk.wait(secs(1))));
        }
        hedged.len()
    };
    assert_eq!(trickle(&mut desk, 29), 2);
    assert_eq!(trickle(&mut desk, 3), 2, "four slots are left, two of them are hedges already");
}

#[test]
fn a_hedge_that_was_stopped_in_time_does_not_count_as_a_duplicate() {
    let mut desk = Desk::downloading(1, with_slots(2));
    let (first, _) = desk.full_holder();
    let (second, _) = desk.full_holder();
    desk.wait(secs(1));
    assert_eq!(desk.swarm.files[&FILE].download.as_ref().unwrap().hedges, 1);
    desk.arrive(first, 0);
    desk.say(second, PeerMessage::Stopped { file: THEIRS, chunk: 0 });
    assert_eq!(desk.swarm.files[&FILE].download.as_ref().unwrap().hedges, 0);
}

#[test]
fn a_second_copy_that_could_not_be_stopped_is_counted_and_dropped() {
    let mut desk = Desk::downloading(1, with_slots(2));
    let (first, _) = desk.full_holder();
    let (second, _) = desk.full_holder();
    desk.wait(secs(1));
    desk.arrive(first, 0);
    assert_eq!(desk.arrive(second, 0), []);
    assert_eq!(desk.swarm.file_status(FILE, desk.now).unwrap().stats.duplicate, 1);
}

#[test]
fn a_second_copy_is_not_asked_of_a_stranger_while_one_that_has_proven_itself_is_only_busy() {
    let mut desk = Desk::downloading(1, with_slots(4));
    let (dripping, _) = desk.full_holder();
    let (seed, _) = desk.full_holder();
    desk.proven(seed);
    desk.swarm.on_verified(desk.now, seed, Desk::address(2).ip());
    desk.full_holder();
    let mut hedges = Vec::new();
    for _ in 0..30 {
        desk.input(Input::DataReceived { peer: dripping, bytes: 4000 });
        hedges = asked(&desk.wait(millis(100)));
        if !hedges.is_empty() {
            break;
        }
    }
    assert_eq!(hedges, [(seed, 0)]);
    assert_eq!(asked(&desk.busy(seed, 0)), []);
    desk.input(Input::DataReceived { peer: dripping, bytes: 4000 });
    assert_eq!(asked(&desk.wait(millis(100))), [], "the other one has proven nothing");
    let ready = PeerMessage::Ready { file: THEIRS, chunk: 0 };
    assert_eq!(asked(&desk.say(seed, ready)), [(seed, 0)]);
}

#[test]
fn a_second_source_that_says_it_is_busy_does_not_count_as_a_duplicate() {
    let mut desk = Desk::downloading(1, with_slots(2));
    desk.full_holder();
    let (second, _) = desk.full_holder();
    desk.wait(secs(1));
    assert_eq!(desk.swarm.files[&FILE].download.as_ref().unwrap().hedges, 1);
    desk.busy(second, 0);
    assert_eq!(desk.swarm.files[&FILE].download.as_ref().unwrap().hedges, 0);
}

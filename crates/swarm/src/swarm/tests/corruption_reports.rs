//! Chunks that are not what they were: told to their sender, withdrawn, and back again.

use tnet_proto::{ByeReason, Holdings, PeerMessage};

use super::desk::*;
use crate::{Config, Event, Goal, Input, Output, UploadEnd};

/// What scripted peers send under their number, and the core under its own.
const OURS: tnet_proto::FileHandle = tnet_proto::FileHandle(FILE.0);

const NONE: [u32; 0] = [];

fn doubted(outputs: &[Output]) -> Vec<u32> {
    let chunks = events(outputs).into_iter().filter_map(|event| match event {
        Event::Doubted { chunk, .. } => Some(chunk.get()),
        _ => None,
    });
    chunks.collect()
}

fn corrupt(chunk: u32) -> PeerMessage {
    PeerMessage::Corrupt { file: THEIRS, chunk }
}

impl Desk {
    fn send_whole(&mut self, peer: crate::PeerKey, chunk: u32) {
        self.request(peer, chunk);
        self.ended(peer, chunk, UploadEnd::Sent);
    }

    fn withdraw(&mut self, chunks: &[u32]) -> Vec<Output> {
        let chunks = chunks.iter().map(|chunk| self.chunk(*chunk)).collect();
        let mut outputs = self.input(Input::ChunksWithdrawn { file: FILE, chunks });
        outputs.extend(self.wait(millis(0)));
        outputs
    }

    fn restore(&mut self, chunk: u32) -> Vec<Output> {
        let chunks = vec![self.chunk(chunk)];
        self.input(Input::ChunksRestored { file: FILE, chunks })
    }

    fn ours(&self, bitmap: u8) -> PeerMessage {
        self.open_message(FILE, OURS, Holdings::Bitmap(vec![bitmap]))
    }
}

#[test]
fn the_sender_of_a_corrupt_chunk_is_told_which_one_before_it_is_banned() {
    let mut desk = Desk::downloading(4, with_slots(4));
    let (peer, _) = desk.full_holder();
    desk.arrive(peer, 1);
    desk.arrive(peer, 2);
    let word = |chunk| PeerMessage::Corrupt { file: OURS, chunk };
    assert!(told(&desk.corrupt(peer, 1), peer).contains(&word(1)));
    let outputs = desk.corrupt(peer, 2);
    assert_eq!(disconnected(&outputs), [(peer, ByeReason::BANNED)]);
    let word = Output::Send { peer, message: word(2) };
    let bye = Output::Disconnect { peer, reason: ByeReason::BANNED };
    let at = |wanted: &Output| outputs.iter().position(|output| output == wanted);
    assert!(at(&word).expect("told") < at(&bye).expect("banned"), "{outputs:?}");
}

#[test]
fn a_report_counts_once_for_each_time_the_chunk_was_sent_and_not_after_it_was_announced() {
    let mut desk = Desk::seeding(4, with_slots(4));
    let peer = desk.holder_of(&[]);
    assert_eq!(doubted(&desk.say(peer, corrupt(1))), NONE, "it was not sent");
    desk.send_whole(peer, 1);
    assert_eq!(doubted(&desk.say(peer, corrupt(1))), [1]);
    assert_eq!(doubted(&desk.say(peer, corrupt(1))), NONE, "the same word again");
    desk.send_whole(peer, 2);
    desk.say(peer, PeerMessage::Have { file: THEIRS, chunks: vec![2] });
    assert_eq!(doubted(&desk.say(peer, corrupt(2))), NONE, "it has said that it is right");
    let other = desk.holder_of(&[]);
    desk.send_whole(peer, 3);
    assert_eq!(doubted(&desk.say(other, corrupt(3))), NONE, "it was sent to somebody else");
}

#[test]
fn a_report_that_comes_before_we_know_that_the_chunk_was_sent_counts_when_we_do() {
    let mut desk = Desk::seeding(4, with_slots(4));
    let peer = desk.holder_of(&[]);
    desk.request(peer, 1);
    assert_eq!(doubted(&desk.say(peer, corrupt(1))), NONE);
    assert_eq!(doubted(&desk.ended(peer, 1, UploadEnd::Sent)), [1]);
    desk.request(peer, 2);
    desk.say(peer, corrupt(2));
    assert_eq!(doubted(&desk.ended(peer, 2, UploadEnd::Stopped)), NONE, "it was not sent");
    desk.request(peer, 3);
    desk.say(peer, corrupt(3));
    let outputs = desk.say(peer, PeerMessage::Bye { reason: ByeReason::BANNED });
    assert_eq!(doubted(&outputs), [3], "nobody will say how it ended");
}

#[test]
fn of_a_peer_that_bans_without_a_report_some_chunks_sent_last_are_doubted() {
    let mut desk = Desk::seeding(64, with_slots(64));
    let peer = desk.holder_of(&[]);
    for chunk in 0..40 {
        desk.send_whole(peer, chunk);
    }
    // Those it announced were right.
    desk.say(peer, PeerMessage::Have { file: THEIRS, chunks: (0..20).collect() });
    let outputs = desk.say(peer, PeerMessage::Bye { reason: ByeReason::BANNED });
    assert_eq!(doubted(&outputs), (20..36).collect::<Vec<u32>>());
    assert_eq!(disconnected(&outputs).len(), 1);
}

#[test]
fn a_peer_that_names_chunks_is_not_guessed_about_when_it_leaves() {
    let mut desk = Desk::seeding(8, with_slots(8));
    let peer = desk.holder_of(&[]);
    for chunk in 0..4 {
        desk.send_whole(peer, chunk);
    }
    desk.say(peer, corrupt(2));
    assert_eq!(doubted(&desk.say(peer, PeerMessage::Bye { reason: ByeReason::BANNED })), NONE);
    let idle = desk.holder_of(&[]);
    desk.send_whole(idle, 1);
    assert_eq!(doubted(&desk.say(idle, PeerMessage::Bye { reason: ByeReason::IDLE })), NONE);
}

#[test]
fn a_withdrawn_chunk_of_a_seed_is_refused_taken_back_and_not_fetched() {
    let mut desk = Desk::seeding(4, with_slots(4));
    let (other, _) = desk.full_holder();
    let peer = desk.holder_of(&[]);
    desk.request(peer, 1);
    let outputs = desk.withdraw(&[1, 1]);
    assert!(told(&outputs, peer).contains(&desk.ours(0b1101)), "{outputs:?}");
    let stops = outputs.iter().filter(|output| matches!(output, Output::StopUpload { .. })).count();
    assert_eq!(stops, 1, "what is being sent of it ends");
    assert_eq!(asked(&outputs), [], "it is served, not wanted");
    assert_eq!(told(&desk.request(peer, 1), peer), [PeerMessage::Refused { file: OURS, chunk: 1 }]);
    assert_eq!(uploaded(&desk.request(peer, 2)), [(peer, 2)], "the rest is served");
    let offered = desk.say(other, PeerMessage::Ready { file: THEIRS, chunk: 1 });
    assert!(told(&offered, other).contains(&PeerMessage::Cancel { file: OURS, chunk: 1 }));
    assert_eq!(asked(&desk.wait(secs(60))), []);
}

#[test]
fn a_paused_file_with_withdrawn_chunks_is_not_downloaded_when_it_is_resumed() {
    let mut desk = Desk::seeding(4, with_slots(4));
    desk.withdraw(&[1]);
    desk.input(Input::Pause { file: FILE });
    let outputs = desk.input(Input::Resume { file: FILE });
    assert_eq!(outputs, [], "nobody is asked for it");
}

#[test]
fn a_restored_chunk_is_announced_and_the_last_one_makes_the_file_whole() {
    let mut desk = Desk::seeding(4, with_slots(4));
    let peer = desk.holder_of(&[]);
    desk.withdraw(&[0, 1]);
    desk.restore(0);
    assert_eq!(desk.swarm.stored_chunks(FILE), Some(3));
    let have = PeerMessage::Have { file: OURS, chunks: vec![0] };
    assert!(told(&desk.wait(secs(1)), peer).contains(&have));
    let outputs = desk.restore(1);
    assert!(told(&outputs, peer).contains(&desk.open_message(FILE, OURS, Holdings::Full)));
    assert_eq!(events(&outputs), [], "no download is complete");
    assert_eq!(desk.swarm.stored_chunks(FILE), Some(4));
    desk.restore(1);
}

#[test]
fn a_withdrawn_chunk_of_a_running_download_is_fetched_again() {
    let mut desk = Desk::downloading(2, with_slots(2));
    let (peer, _) = desk.full_holder();
    desk.arrive(peer, 0);
    desk.store(0);
    assert_eq!(asked(&desk.withdraw(&[0])), [(peer, 0)]);
}

#[test]
fn chunks_that_go_one_by_one_are_announced_together() {
    // Each announcement names all chunks: on a dying disk they would be most of what is said.
    let mut desk = Desk::seeding(64, Config { offers: false, ..with_slots(4) });
    let peer = desk.holder_of(&[]);
    let mut opens = 0;
    for chunk in 0..60 {
        let mut outputs = desk.withdraw(&[chunk]);
        outputs.extend(desk.wait(millis(50)));
        opens +=
            told(&outputs, peer).iter().filter(|said| matches!(said, PeerMessage::Open(_))).count();
    }
    assert!((3..=5).contains(&opens), "{opens} announcements in three seconds");
}

#[test]
fn a_part_that_is_only_served_stays_so_when_chunks_of_it_go() {
    let mut desk = Desk::new(4, with_slots(4));
    let mut stored = tnet_fileinfo::ChunkSet::empty(&desk.geometry);
    for chunk in [0, 1] {
        stored.insert(desk.chunk(chunk));
    }
    desk.add_file(FILE, stored, Goal::ServePart);
    let peer = desk.holder_of(&[]);
    let outputs = desk.withdraw(&[0]);
    assert!(told(&outputs, peer).contains(&desk.ours(0b10)));
    assert_eq!(asked(&outputs), []);
}

#[test]
fn a_file_that_was_downloaded_and_rots_is_served_in_part_and_not_downloaded_again() {
    let mut desk = Desk::downloading(2, with_slots(2));
    let (peer, _) = desk.full_holder();
    for chunk in 0..2 {
        desk.arrive(peer, chunk);
        desk.store(chunk);
    }
    let receiver = desk.holder_of(&[]);
    let outputs = desk.withdraw(&[1]);
    assert!(told(&outputs, receiver).contains(&desk.ours(0b01)));
    assert_eq!(asked(&outputs), []);
    desk.input(Input::Pause { file: FILE });
    desk.input(Input::Resume { file: FILE });
    assert_eq!(asked(&desk.wait(secs(5))), []);
    assert_eq!(events(&desk.restore(1)), [], "it was complete before");
    assert_eq!(desk.swarm.stored_chunks(FILE), Some(2));
}

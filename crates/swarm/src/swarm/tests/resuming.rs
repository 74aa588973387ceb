//! Chunks that an earlier process left: neither wanted nor ours until they are verified.

use tnet_proto::{FileHandle, Holdings, PeerMessage};

use super::desk::*;
use crate::{Event, FileKey, Input};

const OURS: FileHandle = FileHandle(FILE.0);

impl Desk {
    fn verified(&mut self, chunks: &[u32]) -> Vec<crate::Output> {
        let chunks = chunks.iter().map(|chunk| self.chunk(*chunk)).collect();
        self.input(Input::ChunksVerified { file: FILE, chunks })
    }

    fn lost(&mut self, chunks: &[u32]) -> Vec<crate::Output> {
        let chunks = chunks.iter().map(|chunk| self.chunk(*chunk)).collect();
        self.input(Input::ChunksLost { file: FILE, chunks })
    }
}

#[test]
fn a_vouched_chunk_is_not_asked_for_even_if_it_is_the_rarest() {
    let mut desk = Desk::resuming(4, &[0, 1], with_slots(8));
    let rare = desk.connect();
    assert_eq!(asked(&desk.open(rare, &[0, 1])), []);
    let other = desk.connect();
    assert_eq!(sorted(asked(&desk.open(other, &[1, 2, 3]))), [(other, 2), (other, 3)]);
}

#[test]
fn a_vouched_chunk_is_not_announced_or_served_until_it_is_verified() {
    let mut desk = Desk::resuming(4, &[0, 1], with_slots(8));
    let peer = desk.connect();
    let outputs = desk.open(peer, &[3]);
    let open = |bits| desk.open_message(FILE, OURS, Holdings::Bitmap(vec![bits]));
    let (nothing, second) = (open(0), open(0b10));
    assert!(told(&outputs, peer).contains(&nothing), "{outputs:?}");
    let refused = PeerMessage::Refused { file: OURS, chunk: 1 };
    assert!(told(&desk.request(peer, 1), peer).contains(&refused));

    let mut outputs = desk.verified(&[1]);
    outputs.extend(desk.wait(millis(2000)));
    assert!(
        told(&outputs, peer).contains(&PeerMessage::Have { file: OURS, chunks: vec![1] }),
        "{outputs:?}"
    );
    let later = desk.connect();
    assert!(told(&desk.open(later, &[3]), later).contains(&second));
    assert!(!told(&desk.request(later, 1), later).contains(&refused));
}

#[test]
fn a_vouched_chunk_that_fails_is_asked_for_at_once_and_no_peer_is_told_anything() {
    let mut desk = Desk::resuming(4, &[0, 1, 2, 3], with_slots(8));
    let (peer, outputs) = desk.full_holder();
    assert_eq!(asked(&outputs), []);
    let outputs = desk.lost(&[2, 0]);
    assert_eq!(sorted(asked(&outputs)), [(peer, 0), (peer, 2)]);
    assert_eq!(outputs.len(), 2, "{outputs:?}");
    assert_eq!(desk.swarm.file_status(FILE, desk.now).map(|status| status.stats.retried), Some(0));
}

#[test]
fn a_file_is_complete_when_its_last_vouched_chunk_is_verified_and_not_before() {
    let mut desk = Desk::resuming(3, &[0, 1], with_slots(8));
    let (peer, _) = desk.full_holder();
    desk.arrive(peer, 2);
    assert_eq!(events(&desk.store(2)), []);
    assert!(desk.swarm.is_only_unverified(FILE));
    assert_eq!(events(&desk.verified(&[0])), []);
    assert_eq!(events(&desk.verified(&[0])), [], "the same one again");
    assert_eq!(events(&desk.verified(&[1])), [Event::Complete { file: FILE }]);
    assert!(!desk.swarm.is_only_unverified(FILE));
}

#[test]
fn a_file_that_lacks_nothing_but_verification_asks_no_peer_and_is_not_complete() {
    let mut desk = Desk::resuming(2, &[0, 1], with_slots(8));
    assert!(desk.swarm.is_only_unverified(FILE));
    let (peer, mut outputs) = desk.full_holder();
    outputs.extend(desk.wait(millis(300_000)));
    assert_eq!(
        (events(&outputs), asked(&outputs), disconnected(&outputs)),
        (vec![], vec![], vec![])
    );
    assert_eq!(asked(&desk.lost(&[0])), [(peer, 0)]);
}

#[test]
fn what_is_said_of_chunks_that_are_not_vouched_changes_nothing() {
    let mut desk = Desk::resuming(3, &[0], with_slots(1));
    let (peer, outputs) = desk.full_holder();
    let (_, requested) = asked(&outputs)[0];
    assert_eq!(desk.verified(&[1, 2]), []);
    desk.arrive(peer, requested);
    assert_eq!(events(&desk.store(requested)), []);
    let (file, chunks) = (FileKey(77), vec![desk.chunk(0)]);
    assert_eq!(desk.input(Input::ChunksVerified { file, chunks }), []);
}

//! Slots for peers that have not asked, as sentences.

use std::time::Duration;

use tnet_fileinfo::ChunkSet;
use tnet_proto::PeerMessage;

use super::desk::*;
use crate::{Config, FileKey, Goal, Output, PeerKey, UploadEnd};

fn offering(slots: u32) -> Config {
    Config { offers: true, ..with_slots(slots) }
}

/// The chunks that the peer is offered a slot for.
fn offered(outputs: &[Output], to: PeerKey) -> Vec<u32> {
    let offers = told(outputs, to).into_iter().filter_map(|message| match message {
        PeerMessage::Ready { chunk, .. } | PeerMessage::Suggest { chunk, .. } => Some(chunk),
        _ => None,
    });
    offers.collect()
}

/// A partial holder of chunk 0 that has just stored chunk 1, and what it did then, after these
/// peers came.
fn with_a_new_chunk(peers: &[&[u32]]) -> (Desk, Vec<PeerKey>, Vec<Output>) {
    let mut desk = Desk::new(8, offering(4));
    let mut stored = ChunkSet::empty(&desk.geometry);
    stored.insert(desk.chunk(0));
    desk.add_file(FILE, stored, Goal::Download);
    let peers = peers.iter().map(|held| desk.holder_of(held)).collect();
    let source = desk.holder_of(&[0, 1]);
    desk.arrive(source, 1);
    let outputs = desk.store(1);
    (desk, peers, outputs)
}

#[test]
fn a_free_slot_is_offered_to_a_peer_that_lacks_what_is_here() {
    let (_, peers, outputs) = with_a_new_chunk(&[&[0, 2]]);
    let source = PeerKey(2);
    assert_eq!(offered(&outputs, peers[0]), [1]);
    assert!(offered(&outputs, source).is_empty(), "it lacks nothing that is here");
}

#[test]
fn the_slot_that_is_offered_serves_any_chunk() {
    let (mut desk, peers, _) = with_a_new_chunk(&[&[]]);
    assert_eq!(uploaded(&desk.request(peers[0], 1)), [(peers[0], 1)]);
}

#[test]
fn no_more_slots_are_offered_than_there_are() {
    let (_, peers, outputs) = with_a_new_chunk(&[&[], &[], &[], &[], &[], &[]]);
    assert_eq!(peers.iter().filter(|peer| !offered(&outputs, **peer).is_empty()).count(), 4);
}

#[test]
fn a_crowd_that_takes_nothing_leaves_slots_for_peers_that_ask() {
    let mut desk = Desk::seeding(100, offering(8));
    let crowd: Vec<PeerKey> = (0..60).map(|_| desk.holder_of(&[])).collect();
    let first = desk.holder_of(&[]);
    desk.request(first, 0);
    let outputs = desk.wait(millis(600));
    let offers = crowd.iter().map(|peer| offered(&outputs, *peer).len()).sum::<usize>();
    assert_eq!(offers, 2, "a quarter of the slots");
    let honest = desk.holder_of(&[]);
    for chunk in [98, 99] {
        assert_eq!(uploaded(&desk.request(honest, chunk)), [(honest, chunk)]);
    }
}

#[test]
fn a_peer_that_gives_an_offer_back_gets_no_other_for_a_while() {
    let (mut desk, peers, outputs) = with_a_new_chunk(&[&[]]);
    let chunk = offered(&outputs, peers[0])[0];
    assert!(offered(&desk.cancel(peers[0], chunk), peers[0]).is_empty());
    desk.wait(Duration::from_millis(150));
    let source = desk.holder_of(&[2]);
    desk.arrive(source, 2);
    assert_eq!(offered(&desk.store(2), peers[0]).len(), 1);
}

#[test]
fn an_offer_that_is_not_taken_frees_its_slot() {
    let (mut desk, peers, _) = with_a_new_chunk(&[&[], &[], &[], &[]]);
    let late = desk.holder_of(&[]);
    desk.wait(secs(1));
    let taken: Vec<_> =
        peers.iter().chain([&late]).map(|peer| uploaded(&desk.request(*peer, 0)).len()).collect();
    assert_eq!(taken.iter().sum::<usize>(), 4, "four slots: {taken:?}");
}

#[test]
fn a_peer_that_is_being_served_is_offered_nothing() {
    let (mut desk, peers, _) = with_a_new_chunk(&[&[]]);
    desk.request(peers[0], 1);
    let source = desk.holder_of(&[2]);
    desk.arrive(source, 2);
    assert!(offered(&desk.store(2), peers[0]).is_empty());
    assert_eq!(offered(&desk.ended(peers[0], 1, UploadEnd::Sent), peers[0]).len(), 1);
}

#[test]
fn a_fresh_seed_offers_what_no_other_peer_has() {
    let mut desk = Desk::seeding(2, offering(4));
    let peers = [desk.holder_of(&[]), desk.holder_of(&[])];
    let outputs = desk.request(peers[0], 0);
    assert_eq!(offered(&outputs, peers[1]), [1], "chunk 0 is on its way to somebody");
}

#[test]
fn all_files_of_a_peer_may_be_offered() {
    let mut desk = Desk::seeding(1, offering(4));
    let peer = desk.holder_of(&[0]);
    let other = FileKey(2);
    desk.add_file(other, ChunkSet::full(&desk.geometry), Goal::Seed);
    let empty = tnet_proto::Holdings::Bitmap(ChunkSet::empty(&desk.geometry).to_bytes());
    desk.say(peer, desk.open_message(other, tnet_proto::FileHandle(71), empty));
    let asking = desk.holder_of(&[]);
    let outputs = desk.request(asking, 0);
    let is_of_other = |message: &PeerMessage| matches!(message, PeerMessage::Suggest { file, .. } | PeerMessage::Ready { file, .. } if *file == other.handle());
    assert!(told(&outputs, peer).iter().any(is_of_other), "{outputs:?}");
}

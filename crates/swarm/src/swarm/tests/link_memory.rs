//! Who may have how many files open when the memory for that is short, as sentences.

use tnet_fileinfo::ChunkSet;
use tnet_proto::{FileHandle, Holdings, PeerMessage};

use super::desk::*;
use crate::link::LINK_BYTES;
use crate::swarm::caller_admission::PROVEN_FOR;
use crate::{Config, FileKey, Goal, Output, PeerKey, UploadEnd};

/// Files that are shared, and links for which there is memory: each has a set of one byte.
const FILES: u32 = 60;
const LINKS: u32 = 48;

fn seeding() -> Desk {
    let link_bytes = u64::from(LINKS) * (LINK_BYTES + 1);
    let mut desk = Desk::new(1, Config { link_bytes, ..with_slots(4) });
    for file in 1..=FILES {
        let full = ChunkSet::full(&desk.geometry);
        desk.add_file(FileKey(file), full, Goal::Seed);
    }
    desk
}

fn open(desk: &mut Desk, peer: PeerKey, file: u32, holdings: Holdings) -> Vec<Output> {
    let open = desk.open_message(FileKey(file), FileHandle(file), holdings);
    desk.say(peer, open)
}

/// Opens these files, none of which the peer has.
fn opens(desk: &mut Desk, peer: PeerKey, files: impl IntoIterator<Item = u32>) -> Vec<Output> {
    files.into_iter().flat_map(|file| open(desk, peer, file, Holdings::Bitmap(vec![0]))).collect()
}

/// Takes the chunk of a file that it has open.
fn takes(desk: &mut Desk, peer: PeerKey) {
    desk.say(peer, PeerMessage::Request { file: FileHandle(1), chunk: 0 });
    desk.ended(peer, 0, UploadEnd::Sent);
}

fn files_of(desk: &Desk, peer: PeerKey) -> u32 {
    let peers = desk.swarm.peer_status();
    peers.iter().find(|status| status.peer == peer).map_or(0, |status| status.files)
}

#[test]
fn one_that_is_alone_may_use_all_of_it_and_is_then_told_that_there_is_no_more() {
    let mut desk = seeding();
    let peer = desk.connect();
    let outputs = opens(&mut desk, peer, 1..=FILES);
    assert_eq!((files_of(&desk, peer), disconnected(&outputs)), (LINKS, vec![]));
    let not_found = |file| PeerMessage::NotFound { file: FileHandle(file) };
    assert_eq!(told(&outputs, peer).last(), Some(&not_found(FILES)));
    // What comes under its number is late, and no fault.
    assert_eq!(desk.say(peer, PeerMessage::Request { file: FileHandle(FILES), chunk: 0 }), []);
}

#[test]
fn a_source_with_less_gets_its_part_of_those_unused_longest() {
    let mut desk = seeding();
    let (crowd, newcomer) = (desk.connect(), desk.connect());
    opens(&mut desk, crowd, 1..=FILES);
    desk.say(crowd, PeerMessage::Request { file: FileHandle(1), chunk: 0 });
    let outputs = opens(&mut desk, newcomer, 1..=FILES);
    assert_eq!((files_of(&desk, crowd), files_of(&desk, newcomer)), (LINKS / 2, LINKS / 2));
    let closed =
        |file| told(&outputs, crowd).contains(&PeerMessage::Close { file: FileHandle(file) });
    assert!(closed(2) && !closed(1), "the first one is being used");
    assert_eq!(disconnected(&outputs), []);
}

#[test]
fn many_connections_of_one_source_share_what_is_there() {
    let mut desk = seeding();
    let address = |port| Some(std::net::SocketAddr::from(([10, 0, 0, 9], port)));
    for number in 1..=6 {
        let id = tnet_proto::PeerId([200 + number; 16]);
        let peer = PeerKey(u64::from(100 + number));
        desk.connected(peer, id, address(7000 + u16::from(number)), crate::Direction::Inbound);
        opens(&mut desk, peer, 1..=FILES);
        desk.wait(millis(300));
    }
    let of_each: Vec<u32> = (101..=106).map(|peer| files_of(&desk, PeerKey(peer))).collect();
    assert!(
        of_each.iter().all(|files| (LINKS / 6 - 2..=LINKS / 6 + 2).contains(files)),
        "{of_each:?}"
    );
    let honest = desk.connect();
    opens(&mut desk, honest, 1..=FILES);
    assert_eq!(files_of(&desk, honest), LINKS / 2);
}

#[test]
fn a_peer_that_received_a_chunk_lately_keeps_its_links_but_for_one_that_had_no_chance() {
    let mut desk = seeding();
    let useful = desk.connect();
    opens(&mut desk, useful, 1..=FILES);
    takes(&mut desk, useful);
    let crowd: Vec<PeerKey> = (0..4).map(|_| desk.connect()).collect();
    for peer in &crowd {
        opens(&mut desk, *peer, 1..=FILES);
    }
    let of_crowd: u32 = crowd.iter().map(|peer| files_of(&desk, *peer)).sum();
    assert_eq!((of_crowd, files_of(&desk, useful)), (LINKS / 8, LINKS - LINKS / 8));
    // It is of use no more.
    desk.wait(PROVEN_FOR);
    opens(&mut desk, crowd[0], 1..=FILES);
    assert!(files_of(&desk, crowd[0]) > LINKS / 4, "{}", files_of(&desk, crowd[0]));
}

#[test]
fn a_peer_that_finished_a_file_can_have_another_at_once() {
    let mut desk = seeding();
    let peer = desk.connect();
    opens(&mut desk, peer, 1..=LINKS);
    open(&mut desk, peer, 7, Holdings::Full);
    let outputs = opens(&mut desk, peer, [FILES]);
    assert!(
        told(&outputs, peer).contains(&PeerMessage::Close { file: FileHandle(7) }),
        "{outputs:?}"
    );
    assert_eq!(files_of(&desk, peer), LINKS);
}

#[test]
fn what_we_want_ourselves_always_has_room() {
    let mut desk = Desk::downloading(1, Config { link_bytes: 0, ..with_slots(4) });
    let address = Desk::address(1);
    desk.input(crate::Input::Holders { file: FILE, addresses: vec![address] });
    let id = tnet_proto::PeerId([1; 16]);
    let outputs = desk.connected(PeerKey(1), id, Some(address), crate::Direction::Outbound);
    assert!(matches!(told(&outputs, PeerKey(1))[..], [PeerMessage::Open(_)]), "{outputs:?}");
    desk.say(PeerKey(1), desk.open_message(FILE, THEIRS, Holdings::Full));
    assert_eq!(desk.swarm.neighbours(FILE), 1);
}

//! Each fault of a frame has its own error, and no faulty frame is decoded.

use tnet_proto::{
    Availability, CallResult, CoordinatorReply, CoordinatorRequest, DecodeError, FileHandle,
    Holdings, Info, MAX_BITMAP_LEN, MAX_DATA_LEN, MAX_EXTENSION_LEN, MAX_FRAME_LEN,
    MAX_HAVE_CHUNKS, MAX_HOLDERS, MAX_INFO_SUMS, MAX_REPORT_ENTRIES, MAX_TAIL_LEAF, MAX_TAIL_PATH,
    Open, PeerMessage, ReportEntry, WireMessage, decode,
};

use crate::body_of;
use crate::samples::{coordinator_replies, coordinator_requests, hex, peer_messages};

const FILE: FileHandle = FileHandle(1);

fn assert_cuts_and_leftovers<M: WireMessage + PartialEq>(samples: &[(M, &str)]) {
    for (message, golden) in samples {
        let body = hex(golden);
        for cut in 0..body.len() {
            let found = decode::<M>(&body[..cut]);
            assert_eq!(found, Err(DecodeError::Truncated), "{message:?} cut to {cut} bytes");
        }
        for extra in [1, 4, 1000] {
            let longer = [&body[..], &vec![0; extra]].concat();
            let found = decode::<M>(&longer);
            assert_eq!(found, Err(DecodeError::TrailingBytes { extra }), "{message:?}");
        }
    }
}

#[test]
fn a_cut_is_truncated_wherever_it_is_and_a_leftover_is_trailing() {
    assert_cuts_and_leftovers(&peer_messages());
    assert_cuts_and_leftovers(&coordinator_requests());
    assert_cuts_and_leftovers(&coordinator_replies());
}

/// `of(n)` is a message whose list has n items.
fn assert_limit<M: WireMessage + PartialEq>(max: usize, of: impl Fn(usize) -> M) {
    let full = of(max);
    let name = full.name();
    let read_back = decode::<M>(&body_of(&full));
    assert!(
        read_back.as_ref() == Ok(&full),
        "{name} with {max} items is refused: {:?}",
        read_back.err()
    );
    let over = max + 1;
    let error = decode::<M>(&body_of(&of(over))).expect_err("one more than the limit");
    assert_eq!(error, DecodeError::TooLong { len: over as u64, max }, "{name} with {over} items");
}

fn open(holdings: Holdings) -> PeerMessage {
    PeerMessage::Open(Open { file: FILE, hash: [1; 32], size: 1, chunk_size: 16_384, holdings })
}

fn info() -> Info {
    let (tail_leaf, tail_path, sums) = (vec![], vec![], vec![]);
    Info { hash: [1; 32], size: 1, chunk_size: 16_384, tail_leaf, tail_path, first: 0, sums }
}

#[test]
fn each_list_of_a_peer_message_ends_at_its_own_limit() {
    assert_limit(MAX_BITMAP_LEN, |n| open(Holdings::Bitmap(vec![0xff; n])));
    assert_limit(MAX_HAVE_CHUNKS, |n| PeerMessage::Have { file: FILE, chunks: vec![9; n] });
    assert_limit(MAX_DATA_LEN, |n| PeerMessage::Data {
        file: FILE,
        chunk: 0,
        offset: 0,
        bytes: vec![5; n].into(),
    });
    assert_limit(MAX_TAIL_LEAF, |n| PeerMessage::Info(Info { tail_leaf: vec![7; n], ..info() }));
    assert_limit(MAX_TAIL_PATH, |n| {
        PeerMessage::Info(Info { tail_path: vec![[7; 32]; n], ..info() })
    });
    assert_limit(MAX_INFO_SUMS, |n| PeerMessage::Info(Info { sums: vec![[7; 32]; n], ..info() }));
    for address in ["192.0.2.1:1", "[2001:db8::1]:1"] {
        let address = address.parse().expect("an address");
        assert_limit(MAX_HOLDERS, |n| PeerMessage::Peers { file: FILE, peers: vec![address; n] });
    }
    assert_limit(MAX_EXTENSION_LEN, |n| PeerMessage::Extension { kind: 1, body: vec![1; n] });
}

#[test]
fn each_list_between_peer_and_coordinator_ends_at_its_own_limit() {
    let entry = ReportEntry { hash: [1; 32], size: 1, availability: Availability::Full };
    assert_limit(MAX_REPORT_ENTRIES, |n| CoordinatorRequest::Report {
        seq: 1,
        replace: true,
        entries: vec![entry; n],
    });
    assert_limit(MAX_EXTENSION_LEN, |n| CoordinatorRequest::Extension {
        kind: 1,
        body: vec![1; n],
    });
    for address in ["192.0.2.1:1", "[2001:db8::1]:1"] {
        let address = address.parse().expect("an address");
        let result = CallResult { address, reached: false };
        assert_limit(MAX_HOLDERS, |n| CoordinatorRequest::Calls { results: vec![result; n] });
    }
}

#[test]
fn a_claimed_length_within_the_limit_still_needs_its_bytes() {
    let body = hex("04000000 01000000 0010000000000000 00*64"); // 4096 chunks claimed, 16 there
    assert_eq!(decode::<PeerMessage>(&body), Err(DecodeError::Truncated));
}

#[test]
fn values_that_do_not_exist_are_malformed() {
    let peer = [
        "01000000 07000000 11*32 0100010000000000 00400000 02000000", // holdings: neither full nor bitmap
        "10000000 07000000 0100000000000000 02000000 00*18", // address: neither IPv4 nor IPv6
        "06000000 07000000 04000000 ffffffff 0100000000000000 aa", // a part that ends beyond 4 GiB
    ];
    for body in peer {
        assert_eq!(decode::<PeerMessage>(&hex(body)), Err(DecodeError::Malformed), "{body}");
    }
    let request = [
        "01000000 0200000000000000 02 0000000000000000", // a bool of 2
        "01000000 0200000000000000 01 0100000000000000 11*32 0100010000000000 03000000", // availability 3
    ];
    for body in request {
        assert_eq!(decode::<CoordinatorRequest>(&hex(body)), Err(DecodeError::Malformed), "{body}");
    }
    let reply = "05000000 05000000 40420f0000000000"; // a limit that is not in the list
    assert_eq!(decode::<CoordinatorReply>(&hex(reply)), Err(DecodeError::Malformed));
}

#[test]
#[should_panic(expected = "a list is above its limit")]
fn writing_a_frame_above_the_limit_is_our_own_fault() {
    body_of(&PeerMessage::Extension { kind: 1, body: vec![0; MAX_FRAME_LEN] });
}

//! Every message with its bytes, written down by hand once and never changed: peers of other
//! versions have the same bytes in their heads. At least one sample for each message; where a
//! message has two forms, both.

use tnet_proto::{
    Availability, ByeReason, CallResult, CoordinatorReply, CoordinatorRequest, Families,
    FileHandle, Hello, Holder, Holdings, Info, Limit, Listed, Open, PeerId, PeerMessage, Reach,
    Refusal, ReportDigest, ReportEntry,
};

const FILE: FileHandle = FileHandle(7);
const HASH: [u8; 32] = [0x11; 32];

/// Reads hex with blanks; `11*32` is 32 times the byte 11.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace().flat_map(word).collect()
}

fn word(word: &str) -> Vec<u8> {
    let (digits, times) = match word.split_once('*') {
        Some((digits, times)) => (digits, times.parse().expect("a number of repetitions")),
        None => (word, 1),
    };
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    assert!(rest.is_empty(), "half a byte in {word}");
    let byte = |pair: &[u8; 2]| {
        let pair = std::str::from_utf8(pair).expect("hex digits are ASCII");
        u8::from_str_radix(pair, 16).expect("hex digits")
    };
    pairs.iter().map(byte).collect::<Vec<u8>>().repeat(times)
}

#[rustfmt::skip]
pub(crate) fn peer_messages() -> Vec<(PeerMessage, &'static str)> {
    let open = |holdings| Open { file: FILE, hash: HASH, size: 65_537, chunk_size: 16_384, holdings };
    vec![
        (PeerMessage::Hello(Hello { peer_id: PeerId([0xa0; 16]), listen_port: 7401, capabilities: 5 }),
            "00000000 a0*16 e91c 0500000000000000"),
        (PeerMessage::Open(open(Holdings::Full)),
            "01000000 07000000 11*32 0100010000000000 00400000 00000000"),
        (PeerMessage::Open(open(Holdings::Bitmap(vec![0b1_0101]))),
            "01000000 07000000 11*32 0100010000000000 00400000 01000000 0100000000000000 15"),
        (PeerMessage::NotFound { file: FILE },
            "02000000 07000000"),
        (PeerMessage::Close { file: FILE },
            "03000000 07000000"),
        (PeerMessage::Have { file: FILE, chunks: vec![0, 4] },
            "04000000 07000000 0200000000000000 00000000 04000000"),
        (PeerMessage::Request { file: FILE, chunk: 4 },
            "05000000 07000000 04000000"),
        (PeerMessage::Data { file: FILE, chunk: 4, offset: 262_144, bytes: vec![0xde, 0xad, 0xbe].into() },
            "06000000 07000000 04000000 00000400 0300000000000000 deadbe"),
        (PeerMessage::Busy { file: FILE, chunk: 4, load: 9 },
            "07000000 07000000 04000000 09000000"),
        (PeerMessage::Ready { file: FILE, chunk: 4 },
            "08000000 07000000 04000000"),
        (PeerMessage::Suggest { file: FILE, chunk: 3 },
            "09000000 07000000 03000000"),
        (PeerMessage::Cancel { file: FILE, chunk: 4 },
            "0a000000 07000000 04000000"),
        (PeerMessage::Stopped { file: FILE, chunk: 4 },
            "0b000000 07000000 04000000"),
        (PeerMessage::Refused { file: FILE, chunk: 4 },
            "0c000000 07000000 04000000"),
        (PeerMessage::InfoRequest { hash: HASH, first: 4096 },
            "0d000000 11*32 00100000"),
        (PeerMessage::Info(Info {
            hash: HASH, size: 65_537, chunk_size: 16_384, tail_leaf: vec![0xab], tail_path: vec![[0x22; 32]],
            first: 3, sums: vec![[0x33; 32], [0x44; 32]],
        }),
            "0e000000 11*32 0100010000000000 00400000 0100000000000000 ab 0100000000000000 22*32 \
             03000000 0200000000000000 33*32 44*32"),
        (PeerMessage::InfoNotFound { hash: HASH },
            "0f000000 11*32"),
        (PeerMessage::Peers { file: FILE, peers: vec![address_v4(), address_v6()] },
            "10000000 07000000 0200000000000000 00000000 c0000201 e91c \
             01000000 20010db8 00*11 01 ea1c"),
        (PeerMessage::Ping { nonce: 0x0102_0304_0506_0708 },
            "11000000 0807060504030201"),
        (PeerMessage::Pong { nonce: 0x0102_0304_0506_0708 },
            "12000000 0807060504030201"),
        (PeerMessage::Bye { reason: ByeReason::BANNED },
            "13000000 0500"),
        (PeerMessage::Unsupported { message: 99 },
            "14000000 63000000"),
        (PeerMessage::Extension { kind: 1000, body: vec![1, 2, 3] },
            "15000000 e8030000 0300000000000000 010203"),
        (PeerMessage::Corrupt { file: FILE, chunk: 4 },
            "16000000 07000000 04000000"),
    ]
}

#[rustfmt::skip]
pub(crate) fn coordinator_requests() -> Vec<(CoordinatorRequest, &'static str)> {
    let entry = |availability| ReportEntry { hash: HASH, size: 65_537, availability };
    let hello = |reach| CoordinatorRequest::Hello {
        peer_id: PeerId([0xa0; 16]), reach, report_interval_ms: 5_000, capabilities: 5,
    };
    vec![
        (hello(Reach::Nowhere),
            "00000000 a0*16 00000000 88130000 0500000000000000"),
        (hello(Reach::Everywhere { port: 7401, families: Families::V4 }),
            "00000000 a0*16 01000000 e91c 00000000 88130000 0500000000000000"),
        (hello(Reach::Everywhere { port: 7401, families: Families::V6 }),
            "00000000 a0*16 01000000 e91c 01000000 88130000 0500000000000000"),
        (hello(Reach::Everywhere { port: 7401, families: Families::Both }),
            "00000000 a0*16 01000000 e91c 02000000 88130000 0500000000000000"),
        (hello(Reach::At { address: address_v6() }),
            "00000000 a0*16 02000000 01000000 20010db8 00*11 01 ea1c 88130000 0500000000000000"),
        (CoordinatorRequest::Report {
            seq: 2, replace: true, entries: vec![entry(Availability::Partial), entry(Availability::Full)],
        },
            "01000000 0200000000000000 01 0200000000000000 \
             11*32 0100010000000000 01000000 \
             11*32 0100010000000000 02000000"),
        (CoordinatorRequest::Report { seq: 3, replace: false, entries: vec![entry(Availability::None)] },
            "01000000 0300000000000000 00 0100000000000000 11*32 0100010000000000 00000000"),
        (CoordinatorRequest::Heartbeat { digest: ReportDigest([0xd1; 16]) },
            "02000000 d1*16"),
        (CoordinatorRequest::Lookup { hash: HASH },
            "03000000 11*32"),
        (CoordinatorRequest::Watch { hash: HASH },
            "04000000 11*32"),
        (CoordinatorRequest::Unwatch { hash: HASH },
            "05000000 11*32"),
        (CoordinatorRequest::Bye,
            "06000000"),
        (CoordinatorRequest::Unsupported { message: 99 },
            "07000000 63000000"),
        (CoordinatorRequest::Extension { kind: 1000, body: vec![1, 2, 3] },
            "08000000 e8030000 0300000000000000 010203"),
        (CoordinatorRequest::Calls {
            results: vec![
                CallResult { address: address_v4(), reached: true },
                CallResult { address: address_v6(), reached: false },
            ],
        },
            "09000000 0200000000000000 \
             00000000 c0000201 e91c 01 \
             01000000 20010db8 00*11 01 ea1c 00"),
    ]
}

#[rustfmt::skip]
pub(crate) fn coordinator_replies() -> Vec<(CoordinatorReply, &'static str)> {
    let limit = |limit| CoordinatorReply::LimitReached { limit, value: 1_000_000 };
    let welcome = |listed| CoordinatorReply::Welcome {
        lease_ms: 15_000, observed: address_v4(), listed, digest: ReportDigest([0xd1; 16]), capabilities: 5,
    };
    vec![
        (welcome(Listed::Nowhere),
            "00000000 983a0000 00000000 c0000201 e91c 00000000 d1*16 0500000000000000"),
        (welcome(Listed::At { address: address_v4() }),
            "00000000 983a0000 00000000 c0000201 e91c 01000000 00000000 c0000201 e91c d1*16 0500000000000000"),
        (welcome(Listed::Refused { refusal: Refusal::OutsideNetworks }),
            "00000000 983a0000 00000000 c0000201 e91c 02000000 00000000 d1*16 0500000000000000"),
        (welcome(Listed::Refused { refusal: Refusal::Meaningless }),
            "00000000 983a0000 00000000 c0000201 e91c 02000000 01000000 d1*16 0500000000000000"),
        (welcome(Listed::Refused { refusal: Refusal::OtherFamily }),
            "00000000 983a0000 00000000 c0000201 e91c 02000000 02000000 d1*16 0500000000000000"),
        (CoordinatorReply::Accepted { seq: 2 },
            "01000000 0200000000000000"),
        (CoordinatorReply::Renewed,
            "02000000"),
        (CoordinatorReply::Resync,
            "03000000"),
        (CoordinatorReply::Holders {
            hash: HASH, full: 3, partial: 300, holders: vec![
                Holder { address: address_v4(), availability: Availability::Full },
                Holder { address: address_v6(), availability: Availability::Partial },
            ],
        },
            "04000000 11*32 03000000 2c010000 0200000000000000 \
             00000000 c0000201 e91c 02000000 \
             01000000 20010db8 00*11 01 ea1c 01000000"),
        (limit(Limit::EntriesPerPeer),
            "05000000 00000000 40420f0000000000"),
        (limit(Limit::EntriesTotal),
            "05000000 01000000 40420f0000000000"),
        (limit(Limit::ConnectionsPerIp),
            "05000000 02000000 40420f0000000000"),
        (limit(Limit::ConnectionsTotal),
            "05000000 03000000 40420f0000000000"),
        (limit(Limit::WatchesPerPeer),
            "05000000 04000000 40420f0000000000"),
        (CoordinatorReply::Bye,
            "06000000"),
        (CoordinatorReply::Unsupported { message: 99 },
            "07000000 63000000"),
        (CoordinatorReply::Extension { kind: 1000, body: vec![1, 2, 3] },
            "08000000 e8030000 0300000000000000 010203"),
    ]
}

fn address_v4() -> std::net::SocketAddr {
    "192.0.2.1:7401".parse().expect("an address")
}

fn address_v6() -> std::net::SocketAddr {
    "[2001:db8::1]:7402".parse().expect("an address")
}

//! `docs/protocol.md` tells the truth: its examples are what the program writes, byte for byte, and
//! its tables are complete.

use tnet_fileinfo::{ChunkSize, FileHash, FileInfo, Geometry, Tail, chunk_sum, root};
use tnet_proto::{
    Availability, ByeReason, CoordinatorReply, CoordinatorRequest, Families, FileHandle, Hello,
    Holder, Holdings, Listed, MAX_BITMAP_LEN, MAX_DATA_LEN, MAX_EXTENSION_LEN,
    MAX_FRAME_BEFORE_HELLO, MAX_FRAME_LEN, MAX_HAVE_CHUNKS, MAX_HOLDERS, MAX_INFO_SUMS,
    MAX_REPORT_ENTRIES, MAX_TAIL_LEAF, MAX_TAIL_PATH, Open, PeerId, PeerMessage, Protocol, Reach,
    ReportDigest, ReportEntry, WireMessage, preamble,
};

use crate::frame_of;
use crate::samples::hex;

const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocol.md"));

const CONTENT: &[u8] = b"Hello, swarm!\n";

/// One side's bytes at one time.
#[derive(Debug, PartialEq, Eq)]
struct Turn {
    /// Sender, receiver and message, as in `A > B  Hello`.
    title: String,
    bytes: Vec<u8>,
}

fn introduce(who: &str, protocol: Protocol) -> Turn {
    Turn { title: format!("{who}  preamble"), bytes: preamble(protocol).to_vec() }
}

fn say<M: WireMessage>(who: &str, message: &M) -> Turn {
    Turn { title: format!("{who}  {}", message.name()), bytes: frame_of(message) }
}

/// The document from a heading to the next one of the same level or above.
fn section(heading: &str) -> &'static str {
    let depth = |line: &str| line.chars().take_while(|&mark| mark == '#').count();
    let (_, rest) = DOCUMENT.split_once(&format!("\n{heading}\n")).expect("the heading is there");
    let mut next = rest.match_indices("\n#").map(|(at, _)| at);
    let end = next.find(|at| depth(&rest[at + 1..]) <= depth(heading));
    &rest[..end.unwrap_or(rest.len())]
}

/// What stands in the section's fenced block of that kind.
fn block(heading: &str, kind: &str) -> &'static str {
    let (_, rest) =
        section(heading).split_once(&format!("```{kind}\n")).expect("the block is there");
    rest.split_once("```").expect("the block ends").0
}

fn turns(block: &str) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    for line in block.lines() {
        let bytes = line.split(';').next().expect("split yields at least one part");
        match turns.last_mut() {
            Some(turn) if line.starts_with(' ') => turn.bytes.extend(hex(bytes)),
            _ => turns.push(Turn { title: line.to_owned(), bytes: Vec::new() }),
        }
    }
    turns
}

fn assert_same(found: &[Turn], expected: &[Turn]) {
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len(), "the document ends early or goes on");
}

#[test]
fn the_example_of_two_peers_is_what_the_program_writes() {
    let (from_a, from_b) = ("A > B", "B > A");
    let hello = |peer_id| PeerMessage::Hello(Hello { peer_id, listen_port: 7401, capabilities: 0 });
    let open = |file, holdings| {
        PeerMessage::Open(Open { file, hash: hash(), size: 14, chunk_size: 16_384, holdings })
    };
    let (at_a, at_b) = (FileHandle(7), FileHandle(0));
    let expected = [
        introduce(from_b, Protocol::Peer),
        introduce(from_a, Protocol::Peer),
        say(from_b, &hello(id(0xb0))),
        say(from_a, &hello(id(0xa0))),
        say(from_b, &open(at_b, Holdings::Bitmap(vec![0]))),
        say(from_a, &open(at_a, Holdings::Full)),
        say(from_b, &PeerMessage::Request { file: at_b, chunk: 0 }),
        say(
            from_a,
            &PeerMessage::Data { file: at_a, chunk: 0, offset: 0, bytes: CONTENT.to_vec().into() },
        ),
        say(from_b, &open(at_b, Holdings::Full)),
        say(from_a, &PeerMessage::Bye { reason: ByeReason::IDLE }),
    ];
    assert_same(&turns(block("## 7. Worked example: two peers", "wire")), &expected);
}

#[test]
fn the_example_with_the_coordinator_is_what_the_program_writes() {
    let (from_c, from_b) = ("C > B", "B > C");
    let entry = |availability| ReportEntry { hash: hash(), size: 14, availability };
    let report = |seq, replace, availability| CoordinatorRequest::Report {
        seq,
        replace,
        entries: vec![entry(availability)],
    };
    let mut digest = ReportDigest::default();
    digest.toggle(&entry(Availability::Full));
    let seed = Holder { address: ([10, 0, 0, 1], 7401).into(), availability: Availability::Full };
    let expected = [
        introduce(from_b, Protocol::Coordinator),
        introduce(from_c, Protocol::Coordinator),
        say(
            from_b,
            &CoordinatorRequest::Hello {
                peer_id: id(0xb0),
                reach: Reach::Everywhere { port: 7401, families: Families::Both },
                report_interval_ms: 5_000,
                capabilities: 0,
            },
        ),
        say(
            from_c,
            &CoordinatorReply::Welcome {
                lease_ms: 15_000,
                observed: ([10, 0, 0, 2], 50_000).into(),
                listed: Listed::At { address: ([10, 0, 0, 2], 7401).into() },
                digest: ReportDigest::default(),
                capabilities: 0,
            },
        ),
        say(from_b, &CoordinatorRequest::Watch { hash: hash() }),
        say(
            from_c,
            &CoordinatorReply::Holders { hash: hash(), full: 1, partial: 0, holders: vec![seed] },
        ),
        say(from_b, &report(1, true, Availability::Partial)),
        say(from_c, &CoordinatorReply::Accepted { seq: 1 }),
        say(from_b, &report(2, false, Availability::Full)),
        say(from_c, &CoordinatorReply::Accepted { seq: 2 }),
        say(from_b, &CoordinatorRequest::Heartbeat { digest }),
        say(from_c, &CoordinatorReply::Renewed),
        say(from_b, &CoordinatorRequest::Bye),
    ];
    assert_same(
        &turns(block("## 8. Worked example: a peer and the coordinator", "wire")),
        &expected,
    );
}

#[test]
fn the_example_of_a_description_is_what_the_program_writes() {
    let content: Vec<u8> =
        (0..40_000u32).map(|i| u8::try_from(i % 251).expect("below 251")).collect();
    let chunk_size = ChunkSize::new(16_384).expect("the smallest chunk size");
    let geometry = Geometry::new(content.len() as u64, chunk_size).expect("three chunks");
    let pieces: Vec<&[u8]> = content.chunks(16_384).collect();
    let sums: Vec<_> = geometry
        .chunks()
        .zip(&pieces)
        .map(|(chunk, piece)| chunk_sum(&geometry, chunk, piece))
        .collect();
    let tail = Tail::of(&geometry, pieces.last().expect("three pieces"));
    let hash = FileHash::from_bytes(*blake3::hash(&content).as_bytes());
    assert_eq!(root(&geometry, &sums), hash);
    let info = FileInfo::from_parts(None, geometry, sums, tail, hash).expect("true parts");
    let found = block("### `.fileinfo`", "json");
    assert_eq!(found, info.to_json());
    assert_eq!(FileInfo::parse(found.as_bytes()).expect("it proves itself"), info);
}

#[test]
fn every_message_is_in_its_table_under_its_number() {
    fn assert_listed<M: WireMessage>(heading: &str) {
        let rows = section(heading)
            .lines()
            .filter(|line| line.starts_with("| ") && !line.starts_with("| #"));
        let found: Vec<String> =
            rows.map(|row| row.split('|').take(3).collect::<Vec<_>>().join("|")).collect();
        let expected: Vec<String> = M::NAMES
            .iter()
            .enumerate()
            .map(|(number, name)| format!("| {number} | `{name}` "))
            .collect();
        assert_eq!(found, expected, "under {heading}");
    }
    assert_listed::<PeerMessage>("### Messages");
    assert_listed::<CoordinatorRequest>("### Messages from the peer");
    assert_listed::<CoordinatorReply>("### Messages from the coordinator");
}

#[test]
fn every_limit_is_in_the_table_with_its_value() {
    let limits = [
        ("MAX_FRAME_LEN", MAX_FRAME_LEN),
        ("MAX_FRAME_BEFORE_HELLO", MAX_FRAME_BEFORE_HELLO),
        ("MAX_DATA_LEN", MAX_DATA_LEN),
        ("MAX_BITMAP_LEN", MAX_BITMAP_LEN),
        ("MAX_HAVE_CHUNKS", MAX_HAVE_CHUNKS),
        ("MAX_INFO_SUMS", MAX_INFO_SUMS),
        ("MAX_TAIL_LEAF", MAX_TAIL_LEAF),
        ("MAX_TAIL_PATH", MAX_TAIL_PATH),
        ("MAX_HOLDERS", MAX_HOLDERS),
        ("MAX_REPORT_ENTRIES", MAX_REPORT_ENTRIES),
        ("MAX_EXTENSION_LEN", MAX_EXTENSION_LEN),
    ];
    let table = section("## 6. Limits and deadlines");
    for (name, value) in limits {
        assert!(
            table.contains(&format!("\n| `{name}` | {value} |")),
            "{name} is not there as {value}"
        );
    }
}

fn hash() -> [u8; 32] {
    *blake3::hash(CONTENT).as_bytes()
}

/// Sixteen bytes that count up, so that a reader sees their order.
fn id(first: u8) -> PeerId {
    PeerId(std::array::from_fn(|index| first + u8::try_from(index).expect("below 16")))
}

//! Writes the seeds of all targets, or says with `--check` which of those that are there are not
//! what it would write.
//!
//! Seeds are made by the code that speaks the formats, so that they are made anew when a format
//! changes.

#[path = "../../crates/proto/tests/wire/samples.rs"]
mod samples;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use bytes::BytesMut;
use tnet_control::fuzzing::{request_again, response_again};
use tnet_fuzz::truth::TRUTHS;
use tnet_proto::{
    Availability, CoordinatorReply, FileHandle, Holder, Holdings, Info, MAX_HOLDERS, MAX_TAIL_PATH,
    Open, PeerMessage, Protocol, WireMessage, data_header, encode, preamble,
};

/// By `TARGET/NAME`.
type Seeds = BTreeMap<PathBuf, Vec<u8>>;

/// The first bytes of streams: both pieces as long as can be.
const WHOLE: [u8; 2] = [255, 255];

fn main() -> io::Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let wanted = seeds();
    let found = read_all(&root)?;
    if env::args().any(|argument| argument == "--check") {
        let paths = wanted.keys().chain(found.keys().filter(|path| !wanted.contains_key(*path)));
        let stale: Vec<_> = paths.filter(|path| wanted.get(*path) != found.get(*path)).collect();
        for path in &stale {
            eprintln!("not current: {}", root.join(path).display());
        }
        if !stale.is_empty() {
            eprintln!("make them anew: cargo run --manifest-path fuzz/Cargo.toml --example seeds");
        }
        return Ok(if stale.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    for path in found.keys().filter(|path| !wanted.contains_key(*path)) {
        fs::remove_file(root.join(path))?;
    }
    for (path, bytes) in wanted.iter().filter(|(path, bytes)| found.get(*path) != Some(*bytes)) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a file in the directory of its target"))?;
        fs::write(path, bytes)?;
    }
    println!("{} seeds", wanted.len());
    Ok(ExitCode::SUCCESS)
}

fn read_all(root: &Path) -> io::Result<Seeds> {
    let mut found = Seeds::new();
    for target in fs::read_dir(root).into_iter().flatten() {
        for seed in fs::read_dir(target?.path())? {
            let path = seed?.path();
            let name = path.strip_prefix(root).map_err(io::Error::other)?.to_owned();
            found.insert(name, fs::read(path)?);
        }
    }
    Ok(found)
}

fn seeds() -> Seeds {
    let mut seeds = Seeds::new();
    let mut add = |target: &str, name: &str, bytes: Vec<u8>| {
        let known = seeds.insert(Path::new(target).join(name), bytes);
        assert_eq!(known, None, "{target}/{name} twice");
    };
    preambles(&mut add);
    frame_heads(&mut add);
    messages("peer_messages", &samples::peer_messages(), &mut add);
    full_lists(&mut add);
    messages("coordinator_requests", &samples::coordinator_requests(), &mut add);
    messages("coordinator_replies", &samples::coordinator_replies(), &mut add);
    descriptions(&mut add);
    control_lines(&mut add);
    file_names(&mut add);
    sessions(&mut add);
    stories(&mut add);
    seeds
}

fn preambles(add: &mut impl FnMut(&str, &str, Vec<u8>)) {
    let mut newer = preamble(Protocol::Peer);
    newer[8..].copy_from_slice(&[2, 0, 9, 0]);
    for (name, stream) in [
        ("peer", preamble(Protocol::Peer).to_vec()),
        ("coordinator", preamble(Protocol::Coordinator).to_vec()),
        ("newer", newer.to_vec()),
        ("cut_off", preamble(Protocol::Peer)[..11].to_vec()),
        ("web", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
    ] {
        add("preamble", name, [&WHOLE, stream.as_slice()].concat());
    }
}

fn frame_heads(add: &mut impl FnMut(&str, &str, Vec<u8>)) {
    let part = data_header(FileHandle(7), 4, 262_144, 3);
    add("frame_head", "data", [part.as_slice(), b"abc"].concat());
    add("frame_head", "data_head_only", part.to_vec());
    add("frame_head", "request", frame(&PeerMessage::Request { file: FileHandle(7), chunk: 4 }));
    add("frame_head", "too_long", vec![0, 0, 0, 0xff, 6, 0, 0, 0]);
    add("frame_head", "too_short", vec![3, 0, 0, 0, 6, 0, 0, 0]);
}

fn messages<M: WireMessage>(
    target: &str,
    samples: &[(M, &str)],
    add: &mut impl FnMut(&str, &str, Vec<u8>),
) {
    let mut all = vec![1, 6, 40];
    for (number, (message, golden)) in samples.iter().enumerate() {
        let frame = frame(message);
        assert_eq!(frame[4..], samples::hex(golden), "{message:?}");
        all.extend_from_slice(&frame);
        add(
            target,
            &format!("{number:02}_{}", message.name()),
            [&[1, 255, 255], frame.as_slice()].concat(),
        );
    }
    add(target, "all", all);
}

/// Lists that can be above their limits in a small frame.
fn full_lists(add: &mut impl FnMut(&str, &str, Vec<u8>)) {
    let address = "192.0.2.1:7401".parse().expect("an address");
    let peers = PeerMessage::Peers { file: FileHandle(7), peers: vec![address; MAX_HOLDERS] };
    let holder = Holder { address, availability: Availability::Full };
    let hash = [1; 32];
    let holders = vec![holder; MAX_HOLDERS];
    let reply = CoordinatorReply::Holders { hash, full: 50, partial: 0, holders };
    let info = PeerMessage::Info(Info {
        hash,
        size: 1,
        chunk_size: 16_384,
        tail_leaf: vec![1; 8],
        tail_path: vec![[2; 32]; MAX_TAIL_PATH],
        first: 0,
        sums: Vec::new(),
    });
    for (target, name, frame) in [
        ("peer_messages", "most_peers", frame(&peers)),
        ("peer_messages", "longest_path", frame(&info)),
        ("coordinator_replies", "most_holders", frame(&reply)),
    ] {
        add(target, name, [&[1, 255, 255], frame.as_slice()].concat());
    }
}

fn descriptions(add: &mut impl FnMut(&str, &str, Vec<u8>)) {
    for (name, truth) in [("empty", 0), ("one_byte", 1), ("a_chunk_and_a_byte", 6), ("several", 11)]
    {
        add("fileinfo_json", name, TRUTHS[truth].info().to_json().into_bytes());
    }
    let name = "a \"quoted\" é.txt".parse().expect("a valid name");
    let named = TRUTHS[3].info().clone().with_name(Some(name)).to_json();
    let unknown = named.replacen('{', "{\"later\": [1.5e3, {\"deep\": [null, true]}],", 1);
    add("fileinfo_json", "named", named.into_bytes());
    add("fileinfo_json", "with_a_later_field", unknown.into_bytes());
}

fn control_lines(add: &mut impl FnMut(&str, &str, Vec<u8>)) {
    let hash = "ab".repeat(32);
    let requests = [
        r#"{"v":1,"request":"status"}"#.to_owned(),
        r#"{"v":1,"request":"ls"}"#.to_owned(),
        r#"{"v":1,"request":"shutdown"}"#.to_owned(),
        format!(r#"{{"v":1,"request":"unshare","hash":"{hash}"}}"#),
        format!(
            r#"{{"v":1,"request":"get","hash":"{hash}","out":"/a","timeout_ms":1500,"follow":true}}"#
        ),
        r#"{"v":1,"request":"get","fileinfo":"/ä.fileinfo","out":[47,255,10],"overwrite":true}"#
            .to_owned(),
        r#"{"v":1,"request":"status","files":70}"#.to_owned(),
        r#"{"v":1,"request":"limit","up":0,"down":7}"#.to_owned(),
        format!(r#"{{"v":1,"request":"update_file","hash":"{hash}","change":"pause"}}"#),
        format!(
            r#"{{"v":1,"request":"update_file","hash":"{hash}","change":"priority","level":"high"}}"#
        ),
        format!(r#"{{"v":1,"request":"update_file","hash":"{hash}","change":"limits","up":5}}"#),
    ];
    for (number, request) in requests.iter().enumerate() {
        let line = request_again(request.as_bytes()).expect("a request");
        add(
            "control_lines",
            &format!("request_{number}"),
            [&[0, 255, 255], line.as_slice()].concat(),
        );
    }
    let traffic = r#"{"requested":9,"busy":1,"arrived":8,"duplicate":0,"corrupt":0,"retried":1,"hedged":0,
        "bytes_received":99,"bytes_wasted":0,"uploaded":3,"sources":2}"#;
    let time = r#"{"secs":1,"nanos":5}"#;
    let shares = format!(r#"{{"wire":{time},"peers":{time},"disk":{time},"verification":{time}}}"#);
    let bound = r#"{"used":1,"most":1000}"#;
    let progress = format!(
        r#""phase":"downloading","bytes_done":1,"bytes_total":2,"bytes_resumed":0,"chunks_done":1,
        "chunks_total":2,"peers":1,"full_peers":1,"chunks_without_holder":0,"coordinator":"connected",
        "quiet":{time},"elapsed":{time},"time":{shares},"traffic":{traffic}"#
    );
    let file = format!(
        r#""hash":"{hash}","path":"/a","size":2,"chunk_size":65536,"chunks_total":1,"chunks_done":1,"peers":1,
        "download":{{{progress}}},"traffic":{traffic},"sent_bytes":4,
        "swarm":[{{"address":"127.0.0.1:7401","chunks":1}}],
        "chunk_map":{{"chunks":[1,2],"stored":[1,0],"under_way":[0,2]}},"down_per_second":5,"up_per_second":6,"idle":{time}"#
    );
    let responses = [
        r#""hello","pid":7,"program":"0.1.0","listen":"127.0.0.1:7401","coordinator":"[::1]:7400""#.to_owned(),
        format!(
            r#""status","peer_id":"00","listen":"127.0.0.1:7401","coordinator":null,"coordinator_state":"none",
            "uptime":{time},"sent_bytes":1,"received_bytes":2,"files":[],"peers":[],
            "slots":{{"uploads":1,"waiting":0,"downloads":2,"storing_bytes":3,"uploads_most":20,"downloads_most":15,
            "upload_bytes":4,"download_bytes":5}},
            "bans":[{{"address":"10.0.0.1:1","reason":"sent wrong bytes","remaining":{time}}}],
            "down_per_second":5,"up_per_second":6,"files_total":3,"downloads_total":1,
            "coordinator_contact":{{"since":{time},"last_report":null,"files_reported":3,"last_error":"refused"}},
            "bounds":{{"connections":{bound},"known_peers":{bound},"open_files":{bound},"files":{bound},
            "storing_bytes":{bound},"chunk_memory_bytes":{bound}}}"#
        ),
        format!(r#""file",{file}"#),
        r#""peer","address":null,"outbound":true,"files":1,"open_requests":1,"bytes_received":1,"chunks_sent":1,
            "corrupt":0,"stalled":false"#
            .to_owned(),
        r#""end""#.to_owned(),
        r#""started","out":"/a""#.to_owned(),
        format!(r#""progress",{progress}"#),
        format!(
            r#""done","path":"/a","bytes_total":2,"bytes_resumed":0,"elapsed":{time},"time":{shares},
            "verify_busy":{time},"traffic":{traffic},"sources":[{{"address":"10.0.0.1:1","bytes":2}}]"#
        ),
        r#""unshared","found":true"#.to_owned(),
        r#""stopping""#.to_owned(),
        r#""fault","kind":"no_holder","message":"nobody has it""#.to_owned(),
        format!(
            r#""peer","address":"10.0.0.1:1","outbound":false,"files":1,"open_requests":1,"bytes_received":1,
            "chunks_sent":1,"corrupt":0,"stalled":false,"bytes_sent":7,"down_per_second":5,"up_per_second":6,
            "round_trip":{time}"#
        ),
    ];
    for (number, response) in responses.iter().enumerate() {
        let line = format!(r#"{{"v":1,"response":{response}}}"#);
        let line = response_again(line.as_bytes()).expect("a response");
        add(
            "control_lines",
            &format!("response_{number:02}"),
            [&[0, 255, 255], line.as_slice()].concat(),
        );
    }
    add("control_lines", "short_lines", [&[4, 2, 5], b"abc\nabcd\n\nabcde\n".as_slice()].concat());
}

fn file_names(add: &mut impl FnMut(&str, &str, Vec<u8>)) {
    let long = "é".repeat(127) + "x";
    for (number, name) in [
        "a.iso",
        "..",
        "a/b",
        "C:",
        "con.txt",
        "lpt¹",
        "trailing. ",
        "e\u{301}.txt",
        "\u{202e}gpj.exe",
        "a\nb",
        &long,
        "日本語.tar.gz",
    ]
    .into_iter()
    .enumerate()
    {
        add("file_names", &format!("{number:02}"), name.as_bytes().to_vec());
    }
    add("file_names", "no_text", vec![b'a', 0xff, 0xc3]);
}

fn sessions(add: &mut impl FnMut(&str, &str, Vec<u8>)) {
    let file = FileHandle(7);
    let open =
        |size| Open { file, hash: [1; 32], size, chunk_size: 16_384, holdings: Holdings::Full };
    let part = |offset: u32, bytes: &[u8]| {
        let len = u32::try_from(bytes.len()).expect("a short part");
        [data_header(file, 0, offset, len).as_slice(), bytes].concat()
    };
    let opened = frame(&PeerMessage::Open(open(100)));
    let other = frame(&PeerMessage::Ready { file, chunk: 0 });
    let stopped = frame(&PeerMessage::Stopped { file, chunk: 0 });
    let closed = frame(&PeerMessage::Close { file });
    let ping = frame(&PeerMessage::Ping { nonce: 5 });
    for (name, parts) in [
        ("whole_chunk", vec![&opened, &part(0, &[1; 100])]),
        ("in_parts", vec![&opened, &part(0, &[1; 60]), &other, &ping, &part(60, &[2; 40])]),
        ("stopped", vec![&opened, &part(0, &[1; 60]), &stopped, &part(0, &[1; 100])]),
        ("closed_midway", vec![&opened, &part(0, &[1; 60]), &closed, &part(60, &[2; 40])]),
        ("not_announced", vec![&part(0, &[1; 60])]),
        ("out_of_order", vec![&opened, &part(50, &[1; 50])]),
        ("past_the_end", vec![&opened, &part(0, &[1; 60]), &part(60, &[1; 41])]),
    ] {
        let stream: Vec<u8> = parts.into_iter().flatten().copied().collect();
        add("peer_session", name, [&WHOLE, stream.as_slice()].concat());
    }
    let mut every = WHOLE.to_vec();
    samples::peer_messages().iter().for_each(|(message, _)| every.extend(frame(message)));
    add("peer_session", "every_message", every);
}

/// What the targets that are told a story make of bytes: the first ones lead somewhere, the others
/// are any bytes.
fn stories(add: &mut impl FnMut(&str, &str, Vec<u8>)) {
    add("fileinfo_parts", "truth_in_one", vec![11, 0, 0, 255, 255]);
    add("fileinfo_parts", "truth_in_pieces", vec![13, 0, 0, 1, 9, 2, 5, 3, 9, 4, 9, 5, 9, 60, 3]);
    add("fileinfo_parts", "a_byte_longer", vec![11, 0, 1, 1, 1, 255, 255]);
    add("fileinfo_parts", "another_sum_and_its_hash", vec![11, 0, 2, 5, 77, 0, 13, 255, 255]);
    add(
        "chunk_set",
        "two_bitmaps",
        [vec![64, 9, 99], vec![0x5a; 8], vec![99], vec![0xa5; 8]].concat(),
    );
    // Insert, remove, unite, intersect, subtract, compare.
    let operations = (0..60).flat_map(|op: u8| [op.wrapping_mul(7), op]);
    add("chunk_set", "operations", [64, 9, 1, 1].into_iter().chain(operations).collect());
    add("journal", "whole", vec![100, 1, 2, 2, 2, 0, 3, 90, 9, 1, 50, 2, 0, 1, 7, 7]);
    add("journal", "torn", vec![100, 1, 2, 1, 2, 0, 3, 90, 9, 1, 99, 0, 0, 1, 4, 4]);
    add("journal", "flipped", vec![100, 1, 2, 1, 2, 0, 3, 90, 9, 1, 85, 0, 1, 3, 1, 4, 4]);
    // Add a file, connect, open, ask; then get answers, store, wait.
    let story = [
        [0, 1, 0].as_slice(),
        &[0, 0, 0, 0],
        &[3, 1, 9],
        &[24, 0, 0, 1, 0, 0, 4, 0, 0, 0, 0],
        &[9, 7, 0],
        &[14, 5, 0],
        &[24, 0, 10, 1, 3],
        &[18, 1, 0],
        &[21, 0, 5],
        &[9, 7, 0, 9, 7, 0, 14, 5, 0, 14, 0, 0, 17, 1, 0, 21, 0, 8],
    ];
    add("swarm_events", "a_download", [&[1], story.concat().as_slice()].concat());
    for (target, lens) in [
        ("swarm_events", [60, 200, 600]),
        ("coordinator_table", [60, 200, 600]),
        ("journal", [30, 100, 300]),
        ("fileinfo_parts", [20, 60, 200]),
        ("chunk_set", [60, 100, 160]),
    ] {
        for len in lens {
            add(target, &format!("any_{len}"), any_bytes(len));
        }
    }
}

/// The same each time.
fn any_bytes(len: usize) -> Vec<u8> {
    let mut state = len as u64;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

fn frame<M: WireMessage>(message: &M) -> Vec<u8> {
    let mut frame = BytesMut::new();
    encode(message, &mut frame);
    frame.to_vec()
}

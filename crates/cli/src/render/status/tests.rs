//! Statuses of servers of all sizes, at several widths.

use std::num::NonZeroU64;
use std::time::Duration;

use tnet_peer::{
    Ban, Bound, ChunkMap, ConnectionStatus, CoordinatorContact, DamagedFile, FileStatus, LeftOut,
    LeftOutKind, Limits, Listing, ListingProblem, Phase, Priority, Progress, SlotStatus,
    TimeShares, Traffic, Waiting,
};

use super::super::documented::undocumented;
use super::files::{sent, state};
use super::*;

const PIPE: Layout = Layout { columns: None, utf8: false, fits_paths: false };

fn on_terminal(columns: usize) -> Layout {
    Layout { columns: Some(columns), utf8: true, fits_paths: true }
}

fn hello() -> Hello {
    Hello {
        pid: 7,
        program: "1".into(),
        listen: ([127, 0, 0, 1], 7401).into(),
        coordinator: None,
        advertise: None,
    }
}

fn idle() -> Status {
    Status {
        peer_id: "00".into(),
        listen: ([127, 0, 0, 1], 7401).into(),
        coordinator: None,
        coordinator_state: CoordinatorState::None,
        uptime: Duration::from_secs(61),
        sent_bytes: 132 << 20,
        received_bytes: 0,
        files: Vec::new(),
        peers: Vec::new(),
        slots: SlotStatus::default(),
        bans: Vec::new(),
        down_per_second: 0,
        up_per_second: 0,
        shortage: None,
        files_total: 0,
        downloads_total: 0,
        coordinator_contact: CoordinatorContact::default(),
        bounds: Bounds::default(),
        limits: Limits::default(),
        left_out: Vec::new(),
    }
}

fn seeded(number: u32) -> FileStatus {
    FileStatus {
        hash: format!("{number:064x}"),
        path: format!("/srv/images/{number}").into(),
        tree: None,
        is_manifest: false,
        size: 128 << 20,
        chunk_size: 1 << 17,
        chunks_total: 1024,
        chunks_done: 1024,
        peers: 1,
        download: None,
        traffic: Traffic::default(),
        sent_bytes: 132 << 20,
        swarm: Vec::new(),
        chunk_map: None,
        down_per_second: 0,
        up_per_second: 12 << 20,
        idle: None,
        damaged: Vec::new(),
        paused: false,
        priority: Priority::default(),
        limits: Limits::default(),
    }
}

fn coming() -> FileStatus {
    let progress = Progress {
        phase: Phase::Downloading,
        bytes_done: 64 << 20,
        bytes_total: 128 << 20,
        bytes_resumed: 0,
        bytes_to_check: 0,
        bytes_checked: 0,
        bytes_damaged: 0,
        chunks_done: 512,
        chunks_total: 1024,
        peers: 3,
        full_peers: 1,
        chunks_without_holder: 0,
        coordinator: CoordinatorState::Connected,
        quiet: Duration::from_secs(12),
        waiting: None,
        elapsed: Duration::from_secs(20),
        time: TimeShares::default(),
        traffic: Traffic::default(),
        large_packets_lost: false,
        corrupt_peers: Vec::new(),
    };
    let map = ChunkMap {
        chunks: vec![16; 64],
        stored: (0..64).map(|cell| if cell < 32 { 16 } else { 0 }).collect(),
        under_way: (0..64).map(|cell| u32::from(cell == 32) * 5).collect(),
    };
    FileStatus {
        path: "/home/a person/with a directory/inside another/big.iso".into(),
        chunks_done: 512,
        download: Some(progress),
        chunk_map: Some(map),
        down_per_second: 8 << 20,
        up_per_second: 0,
        ..seeded(99)
    }
}

fn peer(number: u8) -> ConnectionStatus {
    ConnectionStatus {
        address: Some(([192, 168, 100, number], 17401).into()),
        outbound: true,
        files: 1,
        open_requests: 2,
        bytes_received: 860 << 20,
        chunks_sent: 3,
        corrupt: 1,
        stalled: true,
        bytes_sent: 3 << 17,
        down_per_second: 12 << 20,
        up_per_second: 0,
        round_trip: Some(Duration::from_micros(290)),
    }
}

fn busy() -> Status {
    Status {
        coordinator: Some(std::net::SocketAddr::from(([192, 168, 100, 1], 7400)).into()),
        coordinator_state: CoordinatorState::Unreachable,
        coordinator_contact: CoordinatorContact {
            since: Duration::from_secs(30),
            last_report: Some(Duration::from_secs(41)),
            files_reported: 2,
            last_error: Some("Connection refused (os error 111)".into()),
            listing: Listing::Unknown,
        },
        files: vec![coming(), seeded(2), seeded(1)],
        files_total: 3,
        downloads_total: 1,
        peers: vec![peer(2), peer(1)],
        slots: SlotStatus {
            uploads: 3,
            uploads_most: 20,
            downloads: 5,
            downloads_most: 15,
            ..SlotStatus::default()
        },
        bounds: Bounds { files: Some(Bound { used: 3, most: 1_000_000 }), ..Bounds::default() },
        ..idle()
    }
}

fn text(status: &Status, layout: Layout) -> String {
    status_lines(&hello(), status, layout).join("\n")
}

#[test]
fn each_kind_of_left_out_file_has_a_line_with_count_and_example() {
    let left_out = |kind, count| LeftOut { kind, count, example: "/data/a b".into() };
    let left_out = vec![left_out(LeftOutKind::Link, 3), left_out(LeftOutKind::Pipe, 1)];
    let lines = status_lines(&hello(), &Status { left_out, ..idle() }, PIPE);
    let at = lines.iter().position(|line| line.starts_with("not shared")).expect("it is told");
    assert_eq!(
        lines[at..at + 2],
        ["not shared   3 symbolic links, as /data/a b", "             1 pipe, as /data/a b"]
    );
}

#[test]
fn a_server_without_files_or_peers_is_shown_in_full() {
    let ban = Ban {
        address: ([10, 0, 0, 7], 7401).into(),
        reason: "sent wrong bytes".into(),
        remaining: Duration::from_secs(540),
    };
    let lines = status_lines(&hello(), &Status { bans: vec![ban], ..idle() }, PIPE);
    assert_eq!(lines[0], "server       pid 7, up 1 min 1 s");
    assert_eq!(lines[2], "coordinator  none");
    assert_eq!(lines[3], "traffic      132 MiB sent, 0 B received, 0 B/s up, 0 B/s down");
    assert!(
        lines.contains(&"0 shared files".to_owned())
            && lines.contains(&"0 connected peers".to_owned()),
        "{lines:?}"
    );
    assert!(
        lines.contains(&"  10.0.0.7:7401  sent wrong bytes  9 min left".to_owned()),
        "{lines:?}"
    );
}

#[test]
fn the_listed_address_is_shown_or_the_reason_for_none() {
    let of = |listing| {
        let coordinator_contact = CoordinatorContact { listing, ..CoordinatorContact::default() };
        status_lines(&hello(), &Status { coordinator_contact, ..idle() }, PIPE)
    };
    let listed = of(Listing::At(([10, 0, 0, 5], 7401).into()));
    assert!(listed[1].ends_with(", others are sent to 10.0.0.5:7401"), "{listed:?}");
    let beside = of(Listing::SameMachine { port: 7401 }).join(" ");
    assert!(beside.contains("others are sent to port 7401 of this machine"), "{beside}");
    let alone = of(Listing::At(([127, 0, 0, 1], 7401).into()));
    assert!(alone[1].ends_with(", others on this machine are sent to 127.0.0.1:7401"), "{alone:?}");
    let problem = ListingProblem::AddressGone { ip: [127, 0, 0, 1].into(), port: 7401 };
    let refused = of(Listing::Refused(problem));
    assert!(refused[1].ends_with(", others are not sent here"), "{refused:?}");
    let warning = "warning      others do not find this peer: we accept at 127.0.0.1 only, which is \
                   not an address of this machine any more; use --listen 7401";
    assert_eq!(refused[3], warning);
}

#[test]
fn at_eighty_columns_a_download_has_its_figures_and_its_map() {
    let text = text(&busy(), on_terminal(80));
    let expected = "\
1 download
  /home/a person/with a directory/inside another/big.iso
    00000000, 50 %, 64 MiB of 128 MiB, 8 MiB/s down, 1 peer, 5 chunks under way,
    8.0 s left
    [████████████████████████████████                                ]
";
    assert!(text.contains(expected), "{text}");
    let coordinator = "\
coordinator  192.168.100.1:7400, unreachable for 30.0 s, retrying,
             last report 41.0 s ago,
             last error: Connection refused (os error 111)
";
    assert!(text.contains(coordinator), "{text}");
}

#[test]
fn a_pipe_has_a_line_for_each_and_no_blocks() {
    let text = text(&busy(), PIPE);
    assert!(text.is_ascii(), "{text}");
    let peers = "\
2 connected peers          down  up  received     sent  round trip
  192.168.100.1:17401  12 MiB/s   -   860 MiB  384 KiB      0.3 ms  stalled, 1 corrupt
";
    assert!(text.contains(peers), "{text}");
    assert!(text.contains(
        "  00000000  128 MiB  whole  1 peer  12 MiB/s up  sent 1.03 copies (132 MiB)  /srv/images/1\n"
    ));
}

#[test]
fn no_line_is_wider_than_the_terminal_if_words_can_be_moved() {
    for columns in [40, 60, 80, 120] {
        for line in status_lines(&hello(), &busy(), on_terminal(columns)) {
            // An error of the system is one phrase.
            let is_phrase = line.contains("last error");
            assert!(line.chars().count() <= columns || is_phrase, "{columns}: {line}");
        }
    }
}

#[test]
fn a_path_that_does_not_fit_loses_its_beginning_only_where_it_is_drawn_again() {
    let narrow = text(&busy(), on_terminal(40));
    assert!(narrow.contains("\n  …th a directory/inside another/big.iso\n"), "{narrow}");
    let once = text(&busy(), Layout { fits_paths: false, ..on_terminal(40) });
    assert!(
        once.contains("\n  /home/a person/with a directory/inside another/big.iso\n"),
        "{once}"
    );
}

#[test]
fn of_a_hundred_thousand_files_those_active_last_are_shown() {
    let mut files: Vec<FileStatus> = (0..70).map(seeded).collect();
    files[69].idle = Some(Duration::from_secs(3));
    let status = Status { files, files_total: 100_000, ..idle() };
    let text = text(&status, PIPE);
    assert!(text.contains("\n100 000 shared files, those active last:\n"), "{text}");
    assert!(text.contains("\n  ... and 99 980 more (tnet ls)\n"), "{text}");
    assert!(text.contains("/srv/images/69\n"), "{text}");
    assert_eq!(text.matches("/srv/images/").count(), files::MOST_SHARED as usize);
}

#[test]
fn of_a_thousand_peers_the_fastest_are_shown_in_the_order_of_their_addresses() {
    let mut peers: Vec<ConnectionStatus> = (0..200).map(peer).collect();
    peers[150].up_per_second = 1;
    let text = text(&Status { peers, ..idle() }, PIPE);
    assert!(text.contains("192.168.100.150:17401"), "{text}");
    assert!(text.contains("\n  ... and 150 more (--json)"), "{text}");
}

#[test]
fn a_download_that_waits_says_for_what() {
    let mut status = busy();
    if let Some(progress) = &mut status.files[0].download {
        progress.waiting = Some(Waiting::HolderOfChunks { chunks: 5 });
    }
    let text = text(&status, PIPE);
    assert!(text.contains("\n    waiting 12.0 s: no peer has 5 of the missing chunks\n"), "{text}");
}

#[test]
fn a_seed_says_how_often_it_has_sent_its_file() {
    let file = seeded(1);
    assert_eq!(sent(&file), "sent 1.03 copies (132 MiB)");
    assert_eq!(sent(&FileStatus { sent_bytes: 0, ..file.clone() }), "sent nothing");
    // A chunk of an empty file cannot be sent, but a division by its size could be tried.
    assert_eq!(sent(&FileStatus { size: 0, sent_bytes: 0, ..file }), "sent nothing");
}

#[test]
fn settings_are_shown_where_they_hold() {
    let limits = Limits { up: NonZeroU64::new(10 << 20), down: None };
    let file = FileStatus { paused: true, priority: Priority::High, limits, ..seeded(1) };
    let status = Status { files: vec![file], files_total: 1, limits, ..idle() };
    let lines = status_lines(&hello(), &status, PIPE).join("\n");
    assert!(lines.contains("at most 10 MiB/s up"), "{lines}");
    assert!(lines.contains("whole, paused, first, at most 10 MiB/s up"), "{lines}");
}

#[test]
fn damage_on_the_disk_is_shown_beside_the_sound_chunks() {
    let damaged =
        |wrong, unreadable| DamagedFile { path: "/a".into(), wrong, unreadable, checking: false };
    let file = |chunks_done, damaged| FileStatus { chunks_done, damaged, ..seeded(1) };
    assert_eq!(
        state(&file(768, vec![damaged(255, 1)])),
        "75 %, 255 chunks wrong on disk, 1 chunk unreadable"
    );
    // Another file has what this one lacks.
    assert_eq!(state(&file(1024, vec![damaged(1, 0)])), "whole, 1 chunk wrong on disk");
}

#[test]
fn every_field_of_the_status_is_documented() {
    let damaged = vec![DamagedFile { path: "/a".into(), wrong: 1, unreadable: 0, checking: true }];
    let idle_for = Some(Duration::from_secs(1));
    let file = FileStatus { damaged, idle: idle_for, ..coming() };
    let status = Status { files: vec![file], ..busy() };
    assert_eq!(undocumented(&serde_json::json!(status)), Vec::<String>::new());
}

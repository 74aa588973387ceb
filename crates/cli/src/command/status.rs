//! `tnet status`: what the server does at this moment.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tnet_peer::control::{Client, ConnectError, Hello};
use tnet_peer::{Ban, ConnectionStatus, CoordinatorState, FileStatus, Status};

use super::ls;
use crate::args::Global;
use crate::exit::{Exit, Failure};
use crate::render::Output;
use crate::render::output::{Report, fields};
use crate::render::table::aligned;
use crate::render::units::{count, duration, shown_path, size};
use crate::settings;

/// Connections that are shown to a person; scripts get all.
const MAX_PEERS_SHOWN: usize = 50;

/// Files that are shown to a person; `tnet ls` lists all.
const MAX_FILES_SHOWN: usize = 50;

pub(crate) async fn run(global: &Global, output: Output) -> Result<Report, Failure> {
    let client = Client::connect(&settings::state_dir(global)?).await.map_err(no_server)?;
    let hello = client.hello().clone();
    let mut status = client.status().await?;
    status.files.sort_by(|a, b| a.path.cmp(&b.path));
    for line in lines(&hello, &status) {
        output.data(&line);
    }
    Ok(fields(json!({ "pid": hello.pid, "program": hello.program, "status": for_scripts(&status) })))
}

/// The status, and what scripts would else compute from it.
fn for_scripts(status: &Status) -> Value {
    let mut value = json!(status);
    let files = value.get_mut("files").and_then(Value::as_array_mut);
    for (shown, file) in files.into_iter().flatten().zip(&status.files) {
        shown["sent_copies"] = file.sent_copies().into();
    }
    value
}

/// What to do when there is no server to be asked.
pub(crate) fn no_server(error: ConnectError) -> Failure {
    let hint = match &error {
        ConnectError::NotRunning { .. } => {
            "start one with `tnet start-server`, or name its directory with --state-dir"
        }
        _ => "try `tnet kill-server`",
    };
    let failure = Failure::from(error);
    if failure.exit == Exit::NotAllowed { failure } else { failure.or_hint(hint) }
}

fn lines(hello: &Hello, status: &Status) -> Vec<String> {
    let coordinator = coordinator(status.coordinator, status.coordinator_state);
    let mut lines = aligned(
        &[
            vec!["server".to_owned(), format!("pid {}, up {}", hello.pid, duration(status.uptime))],
            vec!["peers on".to_owned(), status.listen.to_string()],
            vec!["coordinator".to_owned(), coordinator],
            vec![
                "slots".to_owned(),
                format!(
                    "{} sending, {} waiting for one, {} receiving, {} on the way to disk",
                    status.slots.uploads,
                    status.slots.waiting,
                    status.slots.downloads,
                    size(status.slots.storing_bytes)
                ),
            ],
            vec![
                "traffic".to_owned(),
                format!(
                    "{} sent, {} received since the start",
                    size(status.sent_bytes),
                    size(status.received_bytes)
                ),
            ],
        ],
        &[],
    );
    lines.push(String::new());
    lines.push(count(status.files.len() as u64, "file"));
    let rows: Vec<Vec<String>> = status.files.iter().take(MAX_FILES_SHOWN).map(file_row).collect();
    for (row, file) in aligned(&rows, &[1, 2]).into_iter().zip(&status.files) {
        lines.extend(indented([row]));
        lines.extend(waiting(file));
    }
    if status.files.len() > MAX_FILES_SHOWN {
        lines.push("  … `tnet ls` lists all".to_owned());
    }
    lines.push(String::new());
    lines.push(count(status.peers.len() as u64, "connected peer"));
    let rows: Vec<Vec<String>> = status.peers.iter().take(MAX_PEERS_SHOWN).map(peer_row).collect();
    lines.extend(indented(aligned(&rows, &[])));
    if status.peers.len() > MAX_PEERS_SHOWN {
        lines.push("  … --json lists all".to_owned());
    }
    if !status.bans.is_empty() {
        lines.push(String::new());
        lines.push(count(status.bans.len() as u64, "banned peer"));
        let rows: Vec<Vec<String>> = status.bans.iter().map(ban_row).collect();
        lines.extend(indented(aligned(&rows, &[])));
    }
    lines
}

fn ban_row(ban: &Ban) -> Vec<String> {
    vec![ban.address.to_string(), ban.reason.clone(), format!("{} left", duration(ban.remaining))]
}

/// What a download that stands still waits for.
fn waiting(file: &FileStatus) -> Option<String> {
    let progress = file.download.as_ref()?;
    Some(format!("    waiting {}: {}", duration(progress.quiet), progress.waiting?))
}

fn indented(lines: impl IntoIterator<Item = String>) -> impl Iterator<Item = String> {
    lines.into_iter().map(|line| format!("  {line}"))
}

fn coordinator(address: Option<SocketAddr>, state: CoordinatorState) -> String {
    let state = match state {
        CoordinatorState::None => "none",
        CoordinatorState::Connecting => "connecting",
        CoordinatorState::Connected => "connected",
        CoordinatorState::Unreachable => "unreachable",
        CoordinatorState::OtherVersion => "speaks another version",
        CoordinatorState::NotCoordinator => "is not a coordinator",
    };
    match address {
        Some(address) => format!("{address}, {state}"),
        None => state.to_owned(),
    }
}

fn file_row(file: &FileStatus) -> Vec<String> {
    let hash = file.hash.get(..8).unwrap_or(&file.hash).to_owned();
    let peers = count(file.peers.into(), "peer");
    vec![hash, size(file.size), ls::state(file), peers, sent(file), shown_path(&file.path)]
}

fn sent(file: &FileStatus) -> String {
    match file.sent_bytes {
        0 => "sent nothing".to_owned(),
        bytes => format!("sent {:.2} copies ({})", file.sent_copies(), size(bytes)),
    }
}

fn peer_row(peer: &ConnectionStatus) -> Vec<String> {
    let address =
        peer.address.map_or_else(|| "(accepts no connections)".to_owned(), |address| address.to_string());
    let mut remarks = Vec::new();
    if peer.stalled {
        remarks.push("stalled".to_owned());
    }
    if peer.corrupt > 0 {
        remarks.push(format!("{} corrupt", peer.corrupt));
    }
    vec![
        address,
        format!("received {}", size(peer.bytes_received)),
        format!("sent {}", count(peer.chunks_sent, "chunk")),
        remarks.join(", "),
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tnet_peer::{SlotStatus, Traffic};

    use super::*;

    #[test]
    fn a_server_without_files_or_peers_is_told_in_full() {
        let listen = ([127, 0, 0, 1], 7401).into();
        let hello = Hello { pid: 7, program: "1".into(), listen, coordinator: None };
        let status = Status {
            peer_id: "00".into(),
            listen,
            coordinator: None,
            coordinator_state: CoordinatorState::None,
            uptime: Duration::from_secs(61),
            sent_bytes: 132 << 20,
            received_bytes: 0,
            files: Vec::new(),
            peers: Vec::new(),
            slots: SlotStatus::default(),
            bans: vec![Ban {
                address: ([10, 0, 0, 7], 7401).into(),
                reason: "sent wrong bytes".into(),
                remaining: Duration::from_secs(540),
            }],
        };
        let lines = lines(&hello, &status);
        assert_eq!(lines[0], "server       pid 7, up 1 min 1 s");
        assert_eq!(lines[2], "coordinator  none");
        assert_eq!(lines[4], "traffic      132 MiB sent, 0 B received since the start");
        assert!(
            lines.contains(&"0 files".to_owned()) && lines.contains(&"0 connected peers".to_owned()),
            "{lines:?}"
        );
        assert_eq!(lines.last().map(String::as_str), Some("  10.0.0.7:7401  sent wrong bytes  9 min left"));
    }

    #[test]
    fn a_seed_says_how_often_it_has_sent_its_file() {
        let file = FileStatus {
            hash: "00".repeat(32),
            path: "/a".into(),
            size: 128 << 20,
            chunk_size: 1 << 17,
            chunks_total: 1024,
            chunks_done: 1024,
            peers: 1,
            download: None,
            traffic: Traffic::default(),
            sent_bytes: 132 << 20,
            swarm: Vec::new(),
        };
        assert_eq!(sent(&file), "sent 1.03 copies (132 MiB)");
        assert_eq!(sent(&FileStatus { sent_bytes: 0, ..file.clone() }), "sent nothing");
        // A chunk of an empty file cannot be sent, but a division by its size could be tried.
        assert_eq!(sent(&FileStatus { size: 0, sent_bytes: 0, ..file }), "sent nothing");
    }
}

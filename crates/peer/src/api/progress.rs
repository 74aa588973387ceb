//! How a download is going, and how it went.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tnet_fileinfo::FileInfo;

use super::time::TimeShares;
use super::waiting::Waiting;

/// What a download is doing.
///
/// Exhaustive: each case has words of its own in the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Asking the coordinator and connecting to holders.
    FindingPeers,
    /// Chunks arrive.
    Downloading,
    /// Nothing has to be fetched; what an earlier attempt left is still being verified.
    Checking,
    /// Every chunk is stored; the file is synced and gets its name.
    Finishing,
    /// The file is whole and has its name.
    Complete,
    /// It ended without the file.
    Failed,
    /// The user stopped it for now.
    Paused,
}

/// Whether the coordinator can be asked.
///
/// Exhaustive: each case has words of its own in the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CoordinatorState {
    /// None is configured.
    None,
    /// Being called.
    Connecting,
    /// Answers.
    Connected,
    /// Does not answer; called again and again.
    Unreachable,
    /// Speaks another version of the protocol; called again and again.
    OtherVersion,
    /// Something else answers at its address; called again and again.
    NotCoordinator,
}

/// A download at one moment.
///
/// Exhaustive: clients of a server read it from JSON and build it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// Bytes of the file that are stored, those of earlier attempts included, which count before
    /// they are [verified](Self::bytes_checked). Falls only where those turn out to be damaged.
    pub bytes_done: u64,
    /// Bytes of the file.
    pub bytes_total: u64,
    /// Bytes that an earlier attempt had stored, but for those found to be damaged.
    pub bytes_resumed: u64,
    /// Bytes that an earlier attempt had stored and that are verified in the background, while the
    /// rest arrives. The download is not complete before that, and none of them is served.
    #[serde(default)]
    pub bytes_to_check: u64,
    /// Those of them that were verified so far, right or damaged.
    #[serde(default)]
    pub bytes_checked: u64,
    /// Those of them that had changed on the disk since and are fetched again.
    #[serde(default)]
    pub bytes_damaged: u64,
    /// Chunks in [`bytes_done`](Self::bytes_done).
    pub chunks_done: u32,
    /// Chunks of the file.
    pub chunks_total: u32,
    /// Peers of the swarm we are connected to.
    pub peers: u32,
    /// Those of them that have the whole file.
    pub full_peers: u32,
    /// Missing chunks that none of them holds.
    pub chunks_without_holder: u32,
    /// Whether more peers can be found.
    pub coordinator: CoordinatorState,
    /// Time since the last chunk was stored, or since the start.
    pub quiet: Duration,
    /// What it waits for, if that has been a while.
    #[serde(default)]
    pub waiting: Option<Waiting>,
    /// Time since the start.
    pub elapsed: Duration,
    /// Where that went; counted until the end of the download.
    #[serde(default)]
    pub time: TimeShares,
    /// Counters so far.
    pub traffic: Traffic,
    /// Since it began, large packets seemed to get lost on the way to a peer while small ones
    /// passed: the MTU of the path. That peer is called with small ones.
    #[serde(default)]
    pub large_packets_lost: bool,
    /// Who sent wrong bytes so far: those who were banned first, and not more than a person reads.
    #[serde(default)]
    pub corrupt_peers: Vec<CorruptPeer>,
}

impl Progress {
    /// Of a download that just began: so many bytes and chunks were here before.
    pub(crate) fn begun(phase: Phase, info: &FileInfo, bytes: u64, chunks: u32) -> Progress {
        Progress {
            phase,
            bytes_done: bytes,
            bytes_total: info.size(),
            bytes_resumed: bytes,
            bytes_to_check: 0,
            bytes_checked: 0,
            bytes_damaged: 0,
            chunks_done: chunks,
            chunks_total: info.geometry().chunk_count(),
            peers: 0,
            full_peers: 0,
            chunks_without_holder: 0,
            coordinator: CoordinatorState::None,
            quiet: Duration::ZERO,
            waiting: None,
            elapsed: Duration::ZERO,
            time: TimeShares::default(),
            traffic: Traffic::default(),
            large_packets_lost: false,
            corrupt_peers: Vec::new(),
        }
    }
}

/// What one download has cost so far.
///
/// Exhaustive: clients of a server read it from JSON and build it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Chunks asked for.
    pub requested: u64,
    /// Requests that met a busy peer.
    pub busy: u64,
    /// Chunks that arrived and were stored.
    pub arrived: u64,
    /// Chunks that arrived twice.
    pub duplicate: u64,
    /// Chunks that arrived with wrong bytes.
    pub corrupt: u64,
    /// Chunks asked for again, for whatever reason.
    pub retried: u64,
    /// Chunks asked for at a second peer at the end.
    pub hedged: u64,
    /// Bytes of chunks that arrived.
    pub bytes_received: u64,
    /// Bytes that arrived and were thrown away: duplicate or corrupt.
    pub bytes_wasted: u64,
    /// Chunks sent to others meanwhile.
    pub uploaded: u64,
    /// Peers that sent at least one chunk.
    pub sources: u32,
}

/// A peer that sent wrong bytes.
///
/// Exhaustive: clients of a server read it from JSON and build it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorruptPeer {
    /// Where it accepts peers, if it does.
    pub address: Option<std::net::SocketAddr>,
    /// Chunks it sent whose bytes were wrong. Each was thrown away and fetched elsewhere.
    pub corrupt: u32,
    /// Whether it is not talked to any more for a while.
    pub banned: bool,
}

/// In words: what it did, and what came of it.
impl fmt::Display for CorruptPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{address}")?,
            None => f.write_str("a peer that accepts no calls")?,
        }
        let (plural, end) = (
            if self.corrupt == 1 { "" } else { "s" },
            if self.banned { " and was banned" } else { "" },
        );
        write!(f, " sent wrong bytes for {} chunk{plural}{end}", self.corrupt)
    }
}

/// How a finished download went.
///
/// Exhaustive: clients of a server read it from JSON and build it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Where the file is.
    pub path: std::path::PathBuf,
    /// Its bytes.
    pub bytes_total: u64,
    /// Bytes that an earlier attempt had stored, but for those that were damaged.
    pub bytes_resumed: u64,
    /// Bytes that an earlier attempt had stored and that had changed on the disk since; they were
    /// fetched again.
    #[serde(default)]
    pub bytes_damaged: u64,
    /// Time from the start until it had its name.
    pub elapsed: Duration,
    /// Where that went; the shares sum to it.
    #[serde(default)]
    pub time: TimeShares,
    /// What the threads that verified chunks spent on that, added up. Most of it passes while other
    /// chunks are on the wire and so is no share of the time.
    #[serde(default)]
    pub verify_busy: Duration,
    /// What it cost.
    pub traffic: Traffic,
    /// The peers that the bytes came from, most first.
    pub sources: Vec<SourceShare>,
    /// Who sent wrong bytes, as in [`Progress::corrupt_peers`].
    #[serde(default)]
    pub corrupt_peers: Vec<CorruptPeer>,
    /// What it went without, because its file system does not have it; for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What one peer gave to a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SourceShare {
    /// Where it accepts peers, if it does.
    pub address: Option<std::net::SocketAddr>,
    /// Bytes that were stored.
    pub bytes: u64,
}

//! What a peer holds and does, for people and scripts. Serialises to the JSON that `tnet status --json` prints.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::progress::{CoordinatorState, Progress, Traffic};

/// A whole peer at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The id of this start, 32 hex digits.
    pub peer_id: String,
    /// Where it accepts peers.
    pub listen: SocketAddr,
    /// The coordinator it reports to.
    pub coordinator: Option<SocketAddr>,
    /// Whether that answers.
    pub coordinator_state: CoordinatorState,
    /// Time since the start.
    pub uptime: Duration,
    /// Files held or wanted.
    pub files: Vec<FileStatus>,
    /// Connections.
    pub peers: Vec<ConnectionStatus>,
    /// Slots in use.
    pub slots: SlotStatus,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStatus {
    /// 64 hex digits.
    pub hash: String,
    /// Where it is.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Bytes per chunk.
    pub chunk_size: u32,
    /// Chunks in all.
    pub chunks_total: u32,
    /// Chunks verified and on disk.
    pub chunks_done: u32,
    /// Peers of its swarm we are connected to.
    pub peers: u32,
    /// How the download is going; none for a file that is seeded.
    pub download: Option<Progress>,
    /// Counters.
    pub traffic: Traffic,
    /// How much of it each connected peer of its swarm holds.
    pub swarm: Vec<SwarmMember>,
}

/// A connected peer in one file's swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwarmMember {
    /// Where it accepts peers.
    pub address: Option<SocketAddr>,
    /// Chunks it is known to hold.
    pub chunks: u32,
}

/// One connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionStatus {
    /// Where the other side accepts peers.
    pub address: Option<SocketAddr>,
    /// We called them.
    pub outbound: bool,
    /// Files in common.
    pub files: u32,
    /// Requests open at it.
    pub open_requests: u32,
    /// Bytes of chunks received from it.
    pub bytes_received: u64,
    /// Chunks sent to it.
    pub chunks_sent: u64,
    /// Corrupt chunks received from it.
    pub corrupt: u32,
    /// Not asked at the moment because it did not deliver.
    pub stalled: bool,
}

/// Slots in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotStatus {
    /// Chunks being sent, or kept for a peer that was told so.
    pub uploads: u32,
    /// Peers waiting for a slot.
    pub waiting: u32,
    /// Chunks asked for.
    pub downloads: u32,
    /// Bytes that arrived and are not in the file yet.
    pub storing_bytes: u64,
}

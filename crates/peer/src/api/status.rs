//! What a peer holds and does, for people and scripts. Serialises to the JSON that `tnet status
//! --json` prints, which adds what follows from it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tnet_net::{CoordinatorAddress, Shortage};
use tnet_store::share::LeftOut;

use super::bounds::Bounds;
use super::chunk_map::ChunkMap;
use super::file_settings::{Limits, Priority};
use super::progress::{CoordinatorState, Phase, Progress, Traffic};

/// A whole peer at one moment.
///
/// Exhaustive: clients of a server read it from JSON and build it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The id of this start, 32 hex digits.
    pub peer_id: String,
    /// Where it accepts peers.
    pub listen: SocketAddr,
    /// The coordinator it reports to.
    pub coordinator: Option<CoordinatorAddress>,
    /// Whether that answers.
    pub coordinator_state: CoordinatorState,
    /// Time since the start.
    pub uptime: Duration,
    /// Bytes of chunks sent since the start, over all files, those gone since included. Counted
    /// when a chunk is sent to its end.
    #[serde(default)]
    pub sent_bytes: u64,
    /// Bytes of chunks received since the start, duplicate and corrupt ones included.
    #[serde(default)]
    pub received_bytes: u64,
    /// Files held or wanted: what is being downloaded first, then what was sent or received last.
    /// If not all of them were asked for, the rest is missing.
    pub files: Vec<FileStatus>,
    /// Connections.
    pub peers: Vec<ConnectionStatus>,
    /// Slots in use.
    pub slots: SlotStatus,
    /// Peers that are not talked to for a while because of what they sent, the last ones first.
    #[serde(default)]
    pub bans: Vec<Ban>,
    /// Bytes of chunks received in a second, over the last seconds.
    #[serde(default)]
    pub down_per_second: u64,
    /// Bytes of chunks sent in a second, over the last seconds.
    #[serde(default)]
    pub up_per_second: u64,
    /// Files held or wanted, in `files` or not.
    #[serde(default)]
    pub files_total: u64,
    /// Those of them that are being downloaded.
    #[serde(default)]
    pub downloads_total: u64,
    /// How it stands with the coordinator.
    #[serde(default)]
    pub coordinator_contact: CoordinatorContact,
    /// What is bounded, and how much of it is in use.
    #[serde(default)]
    pub bounds: Bounds,
    /// Rates that the user set for the whole process.
    #[serde(default)]
    pub limits: Limits,
    /// What is in shared directories and is not shared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// There are no file descriptors left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortage: Option<Shortage>,
}

/// How it stands with the coordinator.
///
/// Exhaustive: clients of a server read it from JSON and build it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoordinatorContact {
    /// Time in the present state.
    pub since: Duration,
    /// Time since it last confirmed a report or a sign of life.
    pub last_report: Option<Duration>,
    /// Files that are reported to it.
    pub files_reported: u64,
    /// Why the last connection to it ended or did not come about, if one did.
    pub last_error: Option<String>,
    /// Where it sends others who look for this peer.
    #[serde(default)]
    pub listing: Listing,
}

/// Where the coordinator sends others who look for a peer.
///
/// Exhaustive: each case has words of its own in the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Listing {
    /// It has not said so yet.
    #[default]
    Unknown,
    /// Nowhere: the peer asked for that.
    Nowhere,
    /// There.
    At(SocketAddr),
    /// To this port of the machine that it shares with the coordinator, at the address at which
    /// they reach that.
    #[serde(rename = "beside")]
    SameMachine {
        /// TCP port.
        port: u16,
    },
    /// Nowhere, and why.
    Refused(ListingProblem),
}

/// Why the coordinator sends nobody to this peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "problem", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ListingProblem {
    /// The only address at which the peer accepts is not an address of this machine any more.
    #[error("we accept at {ip} only, which is not an address of this machine any more")]
    AddressGone {
        /// The address.
        ip: IpAddr,
        /// TCP port.
        port: u16,
    },
    /// The coordinator sees the peer at a loopback address, though the two do not share a machine.
    #[error(
        "the coordinator sees us at {seen}, as if we were on its machine: the connection to it is passed on there"
    )]
    Forwarded {
        /// Where the coordinator sees the peer.
        seen: IpAddr,
    },
    /// The declared address is in no network that the coordinator allows.
    #[error(
        "the coordinator sees us at {seen} and does not send others to {ip}, which is in no network that it was told"
    )]
    OutsideNetworks {
        /// The declared address.
        ip: IpAddr,
        /// Where the coordinator sees the peer.
        seen: IpAddr,
        /// Whether it is advertised; else the peer listens at it.
        is_advertised: bool,
    },
    /// The advertised address means another machine to each that reads it.
    #[error("{ip} means another machine to others, so the coordinator sends nobody to it")]
    AdvertisesLocal {
        /// The address.
        ip: IpAddr,
    },
    /// The peer accepts connections from its own machine or link only.
    #[error("we accept at {ip} only, where others on the network do not reach us")]
    ListensLocally {
        /// The address.
        ip: IpAddr,
        /// TCP port.
        port: u16,
    },
    /// The peer accepts at an address of one family, and is seen at one of the other.
    #[error("we accept at {ip} only, and the coordinator sees us at {seen}")]
    OtherFamily {
        /// The address.
        ip: IpAddr,
        /// TCP port.
        port: u16,
        /// Where the coordinator sees the peer.
        seen: IpAddr,
    },
}

impl ListingProblem {
    /// What the user can do about it, in the terms of the command line.
    pub fn hint(&self) -> String {
        match self {
            Self::AddressGone { port, .. } | Self::ListensLocally { port, .. } => {
                format!("use --listen {port}")
            }
            Self::Forwarded { .. } => {
                "give --advertise the address at which others reach this machine".to_owned()
            }
            Self::OutsideNetworks { ip, is_advertised, .. } => {
                let declared =
                    if *is_advertised { "--advertise" } else { "the address in --listen" };
                format!("start it with --allow-advertise {ip}, or leave out {declared}")
            }
            Self::AdvertisesLocal { .. } => {
                "give --advertise an address at which they reach this one".to_owned()
            }
            Self::OtherFamily { port, .. } => format!(
                "use --listen {port}, or name the coordinator by an address of the other kind"
            ),
        }
    }
}

/// A peer that is not talked to.
///
/// Exhaustive: clients of a server read it from JSON and build it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// Where it accepts peers.
    pub address: SocketAddr,
    /// Why, in words.
    pub reason: String,
    /// How much longer.
    pub remaining: Duration,
}

/// One file.
///
/// Exhaustive: clients of a server read it from JSON and build it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStatus {
    /// 64 hex digits.
    pub hash: String,
    /// `tree:` and the hash of the tree that it is the payload of; none of a file.
    #[serde(default)]
    pub tree: Option<String>,
    /// Whether it is the manifest of a tree that is here or is being downloaded.
    #[serde(default)]
    pub is_manifest: bool,
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
    /// Bytes of its chunks sent to others since it is here. Counted when a chunk is sent to its
    /// end.
    #[serde(default)]
    pub sent_bytes: u64,
    /// How much of it each connected peer of its swarm holds.
    pub swarm: Vec<SwarmMember>,
    /// Where its chunks are; none of a whole file.
    #[serde(default)]
    pub chunk_map: Option<ChunkMap>,
    /// Bytes of its chunks stored in a second, over the last seconds.
    #[serde(default)]
    pub down_per_second: u64,
    /// Bytes of its chunks sent in a second, over the last seconds.
    #[serde(default)]
    pub up_per_second: u64,
    /// Time since a chunk of it was last stored or sent; none if none was.
    #[serde(default)]
    pub idle: Option<Duration>,
    /// Files with this content that have chunks which are wrong or cannot be read, and are not
    /// served from there.
    #[serde(default)]
    pub damaged: Vec<DamagedFile>,
    /// Neither served nor downloaded for now, because the user said so.
    #[serde(default)]
    pub paused: bool,
    /// Before or after other files.
    #[serde(default)]
    pub priority: Priority,
    /// Rates that the user set for it.
    #[serde(default)]
    pub limits: Limits,
}

impl FileStatus {
    /// What another machine names it by: the tree that it is the payload of, or else its hash.
    pub fn name_elsewhere(&self) -> &str {
        self.tree.as_deref().unwrap_or(&self.hash)
    }

    /// Whether it is on its way: neither whole nor given up.
    pub fn is_download(&self) -> bool {
        let phase = self.download.as_ref().map(|progress| progress.phase);
        phase.is_some_and(|phase| !matches!(phase, Phase::Complete | Phase::Failed))
    }

    /// How many times its bytes were sent. What one seed alone has to send is one copy; what is
    /// more was sent again, and peers could have sent it to each other. None of an empty file.
    pub fn sent_copies(&self) -> f64 {
        if self.size == 0 {
            return 0.0;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "a ratio for people, of numbers far below 2^53"
        )]
        let copies = self.sent_bytes as f64 / self.size as f64;
        copies
    }
}

/// A file on the disk that is not all that was shared.
///
/// Exhaustive: clients of a server read it from JSON and build it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedFile {
    /// Where it is.
    pub path: PathBuf,
    /// Chunks that do not match their sums.
    pub wrong: u32,
    /// Chunks that the disk does not give.
    pub unreadable: u32,
    /// All of it is being looked at.
    pub checking: bool,
}

/// A connected peer in one file's swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SwarmMember {
    /// Where it accepts peers.
    pub address: Option<SocketAddr>,
    /// Chunks it is known to hold.
    pub chunks: u32,
}

/// One connection.
///
/// Exhaustive: clients of a server read it from JSON and build it.
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
    /// Bytes of chunks sent to it, each counted when it is sent to its end.
    #[serde(default)]
    pub bytes_sent: u64,
    /// Bytes of chunks received from it in a second, over the last seconds.
    #[serde(default)]
    pub down_per_second: u64,
    /// Bytes of chunks sent to it in a second, over the last seconds.
    #[serde(default)]
    pub up_per_second: u64,
    /// How long it took to answer when it was called; unknown of peers that called us.
    #[serde(default)]
    pub round_trip: Option<Duration>,
}

/// Slots in use.
///
/// Exhaustive: clients of a server read it from JSON and build it.
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
    /// Uploads at most, of chunks as long as those being sent; follows the uplink.
    #[serde(default)]
    pub uploads_most: u32,
    /// Chunks asked for at most, if they are as long as those that are.
    #[serde(default)]
    pub downloads_most: u32,
    /// Bytes of the chunks being sent.
    #[serde(default)]
    pub upload_bytes: u64,
    /// Bytes of the chunks asked for.
    #[serde(default)]
    pub download_bytes: u64,
}

/// A part of the list of files.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FilesPage {
    /// In no order that means anything.
    pub files: Vec<FileStatus>,
    /// The last of these, if there are more.
    pub last: Option<FileCursor>,
}

/// A place in the list of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileCursor(pub(crate) tnet_swarm::FileKey);

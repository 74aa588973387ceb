//! Why a download stands still, in one word for programs and one phrase for people.

use std::fmt;

use serde::{Deserialize, Serialize};
use tnet_net::Shortage;

/// What a download waits for, told when no chunk was stored for some seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Waiting {
    /// No peer is connected, and the coordinator, which could name some, cannot be asked.
    Coordinator,
    /// No peer has the file.
    Holder,
    /// Peers have the file, and none of them can be reached.
    UnreachablePeers {
        /// How many.
        peers: u32,
    },
    /// Peers that may have the file said that they have no place for one more connection. They are
    /// called again.
    FullPeers {
        /// How many.
        peers: u32,
    },
    /// Peers are connected, and none of them has any chunk that is missing.
    HolderOfChunks {
        /// Missing chunks that none of them has.
        chunks: u32,
    },
    /// All holders of missing chunks are out of upload slots.
    BusyPeers,
    /// Chunks were asked for, and nothing comes.
    Answers,
    /// Peers introduce themselves and then nothing comes: perhaps large packets get lost on the
    /// way. They are called again, with small ones.
    LargePackets,
    /// Other downloads of this process use all there may be requests.
    OtherDownloads,
    /// The rate that the user allows is used up.
    Limit,
    /// Chunks are here, and the disk has not taken them yet.
    Disk,
    /// There are no file descriptors left.
    Descriptors(Shortage),
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Waiting::Coordinator => f.write_str("the coordinator cannot be asked who has the file"),
            Waiting::Holder => f.write_str("no peer has the file"),
            Waiting::UnreachablePeers { peers: 1 } => {
                f.write_str("1 peer has the file and cannot be reached")
            }
            Waiting::UnreachablePeers { peers } => {
                write!(f, "{peers} peers have the file and cannot be reached")
            }
            Waiting::FullPeers { peers: 1 } => {
                f.write_str("1 peer may have the file and has no place for us")
            }
            Waiting::FullPeers { peers } => {
                write!(f, "{peers} peers may have the file and have no place for us")
            }
            Waiting::HolderOfChunks { chunks: 1 } => {
                f.write_str("no peer has 1 of the missing chunks")
            }
            Waiting::HolderOfChunks { chunks } => {
                write!(f, "no peer has {chunks} of the missing chunks")
            }
            Waiting::BusyPeers => f.write_str("all peers that have missing chunks are busy"),
            Waiting::Answers => f.write_str("the peers that were asked send nothing"),
            Waiting::LargePackets => f.write_str(
                "small packets pass and large ones may not (path MTU); small ones are tried",
            ),
            Waiting::OtherDownloads => f.write_str("other downloads use all slots"),
            Waiting::Limit => f.write_str("the limit of the rate lets nothing begin yet"),
            Waiting::Disk => f.write_str("the disk is slow"),
            Waiting::Descriptors(shortage) => write!(f, "{shortage}; {}", shortage.hint()),
        }
    }
}

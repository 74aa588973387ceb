//! What can go wrong with each operation of a [`Peer`](crate::Peer), and whose fault it is.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tnet_fileinfo::{Explain, FileHash, ScanError, shown_path};
use tnet_infosearch::{Unreached, UselessHolders};
use tnet_net::{CoordinatorAddress, Shortage};

use super::progress::{CoordinatorState, CorruptPeer};
use crate::store;

/// A peer could not be started.
///
/// Exhaustive: each case must get an exit code of the command line.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// Another process accepts connections there.
    #[error("{address} is in use by another process")]
    AddressInUse {
        /// The address asked for.
        address: SocketAddr,
    },
    /// No network interface of this machine has the address.
    #[error("{address} is not an address of this machine")]
    AddressNotHere {
        /// The address asked for.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("listening on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// From the system.
        #[source]
        source: io::Error,
    },
}

impl Explain for SpawnError {
    fn hint(&self) -> Option<&str> {
        match self {
            SpawnError::AddressInUse { .. } => Some("choose another address or port"),
            SpawnError::AddressNotHere { .. } | SpawnError::Listen { .. } => None,
        }
    }
}

/// The peer has been shut down; nothing can be asked of it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the peer has been shut down")]
pub struct PeerGone;

impl Explain for PeerGone {}

/// A file or a directory could not be shared.
///
/// Exhaustive: each case must get an exit code of the command line.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// It could not be read, or changed meanwhile.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// It could not be opened, or is not what it was when it was scanned.
    #[error(transparent)]
    Store(#[from] store::ShareError),
    /// The directory cannot be made one tree.
    #[error(transparent)]
    Tree(#[from] store::tree::TreeScanError),
    /// The directory cannot be shared.
    #[error(transparent)]
    Dir(#[from] store::share::ShareDirError),
    /// The peer has been shut down.
    #[error(transparent)]
    PeerGone(#[from] PeerGone),
}

impl Explain for ShareError {
    fn hint(&self) -> Option<&str> {
        match self {
            ShareError::Scan(error) => error.hint(),
            ShareError::Store(error) => error.hint(),
            ShareError::Tree(error) => error.hint(),
            ShareError::Dir(error) => error.hint(),
            ShareError::PeerGone(_) => None,
        }
    }

    fn subject(&self) -> Option<&Path> {
        match self {
            ShareError::Scan(error) => error.subject(),
            ShareError::Store(error) => error.subject(),
            ShareError::Tree(error) => error.subject(),
            ShareError::Dir(error) => error.subject(),
            ShareError::PeerGone(_) => None,
        }
    }
}

/// Why what answers at a coordinator's address is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// No version of the protocol is spoken by both.
    #[error("speaks another version of the protocol")]
    OtherVersion,
    /// It is something else.
    #[error("is not a tnet coordinator")]
    NotCoordinator,
}

impl Explain for Unfit {
    fn hint(&self) -> Option<&str> {
        Some(match self {
            Unfit::OtherVersion => "update the older of the two programs",
            Unfit::NotCoordinator => "check the address",
        })
    }
}

impl Unfit {
    /// What the state of the coordinator says, if it says that.
    pub(crate) fn of(state: CoordinatorState) -> Option<Unfit> {
        match state {
            CoordinatorState::OtherVersion => Some(Unfit::OtherVersion),
            CoordinatorState::NotCoordinator => Some(Unfit::NotCoordinator),
            CoordinatorState::None
            | CoordinatorState::Connecting
            | CoordinatorState::Connected
            | CoordinatorState::Unreachable => None,
        }
    }
}

/// A coordinator could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CoordinatorError {
    /// It did not answer.
    #[error("the coordinator at {address} did not answer within {waited:.0?}{}", in_brackets(.cause))]
    Silent {
        /// Where it should be.
        address: CoordinatorAddress,
        /// For how long.
        waited: Duration,
        /// What became of the last call, in words.
        cause: Option<String>,
    },
    /// Nothing answers there, or no longer.
    #[error("the coordinator at {address} cannot be asked")]
    Unreachable {
        /// Where it should be.
        address: CoordinatorAddress,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// What answers cannot be talked to.
    #[error("{address} {fault}")]
    Unfit {
        /// Where it should be.
        address: CoordinatorAddress,
        /// What is wrong.
        fault: Unfit,
    },
}

impl Explain for CoordinatorError {
    fn hint(&self) -> Option<&str> {
        match self {
            CoordinatorError::Silent { .. } | CoordinatorError::Unreachable { .. } => {
                Some("is it running, is the address right?")
            }
            CoordinatorError::Unfit { fault, .. } => fault.hint(),
        }
    }
}

/// A download could not be started, or ended without the file.
///
/// Exhaustive: each case must get an exit code of the command line.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The target cannot be written. Nothing was fetched.
    #[error(transparent)]
    Open(#[from] store::OpenError),
    /// The file is being downloaded in this process already.
    #[error("{hash} is being downloaded already, to {}", shown_path(.out))]
    AlreadyRunning {
        /// Which file.
        hash: FileHash,
        /// Where to.
        out: PathBuf,
    },
    /// The coordinator is of no use, and no peer that holds the file was known.
    #[error(transparent)]
    Coordinator(#[from] CoordinatorError),
    /// Nobody holds the file.
    #[error("no peer holds this file (waited {waited:.0?})")]
    NoHolder {
        /// For how long.
        waited: Duration,
    },
    /// Peers hold the file, and none of them can be reached. What is there stays for the next
    /// attempt.
    #[error("{holders}")]
    Unreachable {
        /// For how long.
        waited: Duration,
        /// Who, where, and why not.
        holders: Unreached,
        /// Chunks not here.
        missing: u32,
        /// Chunks in all.
        chunks: u32,
    },
    /// Peers that may hold the file have no place for one more connection, and no other peer holds
    /// it.
    #[error("{} no place for one more connection (waited {waited:.0?})", peers_that_may_hold(*full))]
    AllFull {
        /// For how long.
        waited: Duration,
        /// How many said so.
        full: u32,
    },
    /// Some chunks arrived, then none for too long. What is there stays for the next attempt.
    #[error(
        "no chunk arrived for {waited:.0?}: {missing} of {chunks} chunks missing, {without_holder} of them held by {}{}",
        holders_beside(*full),
        blame(corrupt_peers)
    )]
    Stalled {
        /// For how long.
        waited: Duration,
        /// Chunks not here.
        missing: u32,
        /// Of those: held by no peer we are connected to.
        without_holder: u32,
        /// Peers that may hold them and have no place for one more connection.
        full: u32,
        /// Chunks in all.
        chunks: u32,
        /// Who sent wrong bytes, as in [`Progress::corrupt_peers`](super::Progress::corrupt_peers).
        corrupt_peers: Vec<CorruptPeer>,
    },
    /// The disk failed or is full. What is verified stays for the next attempt, and on a full disk
    /// is served meanwhile.
    #[error(transparent)]
    Write(#[from] store::WriteError),
    /// The disk could not confirm what was written.
    #[error(transparent)]
    Sync(#[from] store::SyncError),
    /// Everything is here, but could not be given its final name.
    #[error(transparent)]
    Finish(#[from] store::FinishError),
    /// There were no file descriptors left.
    #[error(transparent)]
    OutOfDescriptors(Shortage),
    /// The caller cancelled it.
    #[error("cancelled")]
    Cancelled,
    /// The peer has been shut down.
    #[error(transparent)]
    PeerGone(#[from] PeerGone),
}

impl Explain for DownloadError {
    fn hint(&self) -> Option<&str> {
        match self {
            DownloadError::Open(error) => error.hint(),
            DownloadError::Coordinator(error) => error.hint(),
            DownloadError::Unreachable { holders, .. } => Some(holders.hint()),
            DownloadError::AllFull { .. } => Some("try again later"),
            DownloadError::Write(error) => error.hint(),
            DownloadError::Sync(error) => error.hint(),
            DownloadError::Finish(error) => error.hint(),
            DownloadError::OutOfDescriptors(shortage) => Some(shortage.hint()),
            DownloadError::AlreadyRunning { .. }
            | DownloadError::NoHolder { .. }
            | DownloadError::Stalled { .. }
            | DownloadError::Cancelled
            | DownloadError::PeerGone(_) => None,
        }
    }

    fn subject(&self) -> Option<&Path> {
        match self {
            DownloadError::Open(error) => error.subject(),
            DownloadError::AlreadyRunning { out, .. } => Some(out),
            DownloadError::Write(error) => error.subject(),
            DownloadError::Sync(error) => error.subject(),
            DownloadError::Finish(error) => error.subject(),
            DownloadError::Coordinator(_)
            | DownloadError::NoHolder { .. }
            | DownloadError::Unreachable { .. }
            | DownloadError::AllFull { .. }
            | DownloadError::Stalled { .. }
            | DownloadError::OutOfDescriptors(_)
            | DownloadError::Cancelled
            | DownloadError::PeerGone(_) => None,
        }
    }
}

fn in_brackets(cause: &Option<String>) -> String {
    cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default()
}

/// Senders of wrong bytes that an error names.
const BLAMED: usize = 3;

/// Who sent wrong bytes, as the end of a sentence; nothing if nobody did.
fn blame(corrupt_peers: &[CorruptPeer]) -> String {
    let named = corrupt_peers.iter().take(BLAMED).map(|peer| format!(", {peer}"));
    let more = corrupt_peers.len().saturating_sub(BLAMED);
    let more = (more > 0).then(|| format!(", {more} more sent wrong bytes"));
    named.chain(more).collect()
}

fn holders_beside(full: u32) -> String {
    match full {
        0 => "nobody".to_owned(),
        _ => format!("no peer that has a place for us, {full} had none"),
    }
}

fn peers_that_may_hold(peers: u32) -> String {
    match peers {
        1 => "1 peer that may hold this file has".to_owned(),
        _ => format!("{peers} peers that may hold this file have"),
    }
}

/// A `.fileinfo` could not be had from other peers.
///
/// Exhaustive: each case must get an exit code of the command line.
#[derive(Debug, thiserror::Error)]
pub enum FetchInfoError {
    /// The coordinator is of no use.
    #[error(transparent)]
    Coordinator(#[from] CoordinatorError),
    /// Without a coordinator nobody can be found by a hash alone.
    #[error("no coordinator is configured to ask who holds {hash}")]
    NoCoordinator {
        /// Which file.
        hash: FileHash,
    },
    /// Nobody holds the file.
    #[error("no peer holds {hash} (waited {waited:.0?})")]
    NoHolder {
        /// Which file.
        hash: FileHash,
        /// For how long.
        waited: Duration,
    },
    /// Peers hold the file, and none of them can be reached.
    #[error("{holders}")]
    Unreachable {
        /// Which file.
        hash: FileHash,
        /// For how long.
        waited: Duration,
        /// Who, where, and why not.
        holders: Unreached,
    },
    /// There were no file descriptors left.
    #[error(transparent)]
    OutOfDescriptors(Shortage),
    /// Holders were asked, and none answered with a description that proves itself.
    #[error("no description of {hash} that proves itself: {holders}")]
    NoneValid {
        /// Which file.
        hash: FileHash,
        /// What came of those that were asked.
        holders: UselessHolders,
    },
    /// The peer has been shut down.
    #[error(transparent)]
    PeerGone(#[from] PeerGone),
}

impl Explain for FetchInfoError {
    fn hint(&self) -> Option<&str> {
        match self {
            FetchInfoError::Coordinator(error) => error.hint(),
            FetchInfoError::Unreachable { holders, .. } => Some(holders.hint()),
            FetchInfoError::OutOfDescriptors(shortage) => Some(shortage.hint()),
            FetchInfoError::NoneValid { holders, .. } => holders.hint(),
            FetchInfoError::NoCoordinator { .. }
            | FetchInfoError::NoHolder { .. }
            | FetchInfoError::PeerGone(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stalled(corrupt_peers: Vec<CorruptPeer>) -> String {
        let waited = Duration::from_secs(60);
        DownloadError::Stalled {
            waited,
            missing: 900,
            without_holder: 883,
            full: 0,
            chunks: 1000,
            corrupt_peers,
        }
        .to_string()
    }

    #[test]
    fn who_sent_wrong_bytes_is_named_and_a_crowd_of_them_counted() {
        let missing =
            "no chunk arrived for 60s: 900 of 1000 chunks missing, 883 of them held by nobody";
        assert_eq!(stalled(Vec::new()), missing);
        let peer = |port, corrupt, banned| {
            let address = Some(SocketAddr::from(([10, 0, 0, 5], port)));
            CorruptPeer { address, corrupt, banned }
        };
        assert_eq!(
            stalled(vec![peer(7401, 12, true), peer(7402, 1, false)]),
            format!(
                "{missing}, 10.0.0.5:7401 sent wrong bytes for 12 chunks and was banned, \
                 10.0.0.5:7402 sent wrong bytes for 1 chunk"
            )
        );
        let crowd = stalled((1..=9).map(|port| peer(port, 2, true)).collect());
        assert!(crowd.ends_with(
            "10.0.0.5:3 sent wrong bytes for 2 chunks and was banned, 6 more sent wrong bytes"
        ));
    }
}

//! What can go wrong with a tree.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tnet_fileinfo::tree::{MAX_MANIFEST_LEN, ManifestError, TreeHash};
use tnet_fileinfo::{Explain, shown};

use super::error::{DownloadError, FetchInfoError, PeerGone};
use crate::store::ReadError;

/// A tree cannot be downloaded.
///
/// Exhaustive: each case must get an exit code of the command line.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// No description of its manifest or of its payload is to be had.
    #[error(transparent)]
    FetchInfo(#[from] FetchInfoError),
    /// The manifest or the payload could not be downloaded.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// The manifest breaks a rule. Nothing was written.
    #[error("{tree} is refused")]
    Manifest {
        /// Which tree.
        tree: TreeHash,
        /// Which rule, and where.
        source: ManifestError,
    },
    /// More bytes than a manifest may have.
    #[error("{tree} has a manifest of {size} bytes; at most {MAX_MANIFEST_LEN} are allowed")]
    ManifestTooLong {
        /// Which tree.
        tree: TreeHash,
        /// Bytes.
        size: u64,
    },
    /// The tree has a link that may lead out of it, and that was not allowed.
    #[error(
        "{tree} has a link {:?} to {:?}, which may lead out of it",
        shown(OsStr::from_bytes(path)),
        shown(OsStr::from_bytes(target))
    )]
    OutsideLink {
        /// Which tree.
        tree: TreeHash,
        /// The link, from the top of the tree.
        path: Vec<u8>,
        /// Its text.
        target: Vec<u8>,
    },
    /// The manifest says another size of the payload than the description that proves it.
    #[error("the manifest of {tree} says another size than its payload has")]
    OtherPayload {
        /// Which tree.
        tree: TreeHash,
    },
    /// The manifest arrived, and cannot be read any more.
    #[error("reading the manifest of {tree}")]
    Read {
        /// Which tree.
        tree: TreeHash,
        /// Why.
        source: ReadError,
    },
    /// The peer has been shut down.
    #[error(transparent)]
    PeerGone(#[from] PeerGone),
}

impl Explain for TreeError {
    fn hint(&self) -> Option<&str> {
        match self {
            TreeError::FetchInfo(error) => error.hint(),
            TreeError::Download(error) => error.hint(),
            TreeError::Manifest { .. }
            | TreeError::ManifestTooLong { .. }
            | TreeError::OtherPayload { .. } => Some("ask who made it for a right one"),
            TreeError::OutsideLink { .. } => Some("--allow-outside-links makes it as it is"),
            TreeError::Read { .. } => Some("try again"),
            TreeError::PeerGone(_) => None,
        }
    }

    fn subject(&self) -> Option<&Path> {
        match self {
            TreeError::Download(error) => error.subject(),
            _ => None,
        }
    }
}

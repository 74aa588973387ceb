//! Why a directory cannot be made a tree.

use std::io;
use std::path::{Path, PathBuf};

use tnet_fileinfo::tree::{MAX_DEPTH, MAX_ENTRIES, MAX_MANIFEST_LEN, MAX_PATH_LEN, ManifestError};
use tnet_fileinfo::{Explain, GeometryError, shown, shown_path};

/// A directory cannot be made a tree. Paths are relative to its top.
///
/// Not `non_exhaustive`: each case must get an exit code of the command line.
#[derive(Debug, thiserror::Error)]
pub enum TreeScanError {
    /// The directory itself cannot be opened.
    #[error("cannot open the directory")]
    Open(#[source] io::Error),
    /// What was named is no directory.
    #[error("not a directory")]
    NotADirectory,
    /// Something in it cannot be looked at or read.
    #[error("cannot read {:?} in the directory", shown_path(path))]
    Read {
        /// Which entry.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something in it has no content that could be sent.
    #[error("{:?} in the directory is a {kind}, and has no content", shown_path(path))]
    NoContent {
        /// Which entry.
        path: PathBuf,
        /// What it is.
        kind: NoContent,
    },
    /// An entry was replaced, written to or removed while the directory was read.
    #[error("{:?} in the directory changed while it was read", shown_path(path))]
    Changed {
        /// Which entry.
        path: PathBuf,
    },
    /// A file has more bytes than its length says, without a change: the system generates it.
    #[error(
        "the length of {:?} in the directory is not known before it is read, like that of files in /proc",
        shown_path(path)
    )]
    UnknownLength {
        /// Which file.
        path: PathBuf,
    },
    /// A link that may lead out of the tree, and this was not allowed.
    #[error(
        "{:?} in the directory is a link to {:?}, which may lead out of it",
        shown_path(path),
        shown(target)
    )]
    OutsideLink {
        /// The link.
        path: PathBuf,
        /// Its text.
        target: std::ffi::OsString,
    },
    /// Directories nested deeper than a tree may be.
    #[error("{:?} is more than {MAX_DEPTH} directories deep", shown_path(path))]
    TooDeep {
        /// The first such entry.
        path: PathBuf,
    },
    /// A path or the target of a link is longer than a tree may have.
    #[error(
        "the path of {:?} in the directory, or its target, is longer than {MAX_PATH_LEN} bytes",
        shown_path(path)
    )]
    PathTooLong {
        /// The entry.
        path: PathBuf,
    },
    /// More entries than a tree may have.
    #[error(
        "the directory has more than {MAX_ENTRIES} entries, or its list more than {MAX_MANIFEST_LEN} bytes"
    )]
    TooLarge,
    /// The files have more bytes than can be cut into chunks of that size.
    #[error("the files of the directory: {0}")]
    Geometry(#[from] GeometryError),
    /// The list breaks a rule of its format.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// `progress` said stop.
    #[error("stopped before the end")]
    Cancelled,
}

/// What has no content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoContent {
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
    /// A block or character device.
    Device,
}

impl std::fmt::Display for NoContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pipe => "pipe",
            Self::Socket => "socket",
            Self::Device => "device",
        })
    }
}

impl Explain for TreeScanError {
    fn hint(&self) -> Option<&str> {
        match self {
            Self::NoContent { .. } => Some("remove it, or make the tree of a directory without it"),
            Self::Changed { .. } => Some("try again when nothing writes to the directory"),
            Self::UnknownLength { .. } => Some("put a copy of it in its place"),
            Self::OutsideLink { .. } => Some("--allow-outside-links takes it as it is"),
            Self::TooDeep { .. } | Self::PathTooLong { .. } | Self::TooLarge => {
                Some("make several trees of its directories")
            }
            Self::Geometry(_) => Some("take larger chunks, or make several trees"),
            Self::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("every file of a tree must be readable")
            }
            _ => None,
        }
    }

    fn subject(&self) -> Option<&Path> {
        match self {
            Self::Read { path, .. }
            | Self::NoContent { path, .. }
            | Self::Changed { path }
            | Self::UnknownLength { path }
            | Self::OutsideLink { path, .. }
            | Self::TooDeep { path }
            | Self::PathTooLong { path } => Some(path),
            _ => None,
        }
    }
}

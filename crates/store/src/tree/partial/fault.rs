//! What can be wrong with the directory of a tree that is being made.

use std::io;
use std::path::{Path, PathBuf};

use tnet_fileinfo::{Explain, shown_path};

use crate::no_room::{NoRoom, hint_on};

/// The directory cannot hold the tree. Paths are relative to its top.
#[derive(Debug, thiserror::Error)]
pub enum TreeFault {
    /// The file system takes two names of the tree for one: it ignores case, or the form of
    /// accented letters.
    #[error(
        "the file system takes {:?} and {:?} of the tree for one name",
        shown_path(first),
        shown_path(second)
    )]
    OneName {
        /// Made first.
        first: PathBuf,
        /// Could not be made any more.
        second: PathBuf,
    },
    /// The file system takes no such name.
    #[error("the file system does not take the name {:?} of the tree", shown_path(path))]
    NameRefused {
        /// Which.
        path: PathBuf,
    },
    /// It was put there by somebody else, or changed meanwhile.
    #[error("{:?} of the tree was replaced by something else", shown_path(path))]
    Foreign {
        /// Which.
        path: PathBuf,
    },
    /// It was removed or cut off.
    #[error("{:?} of the tree is not there any more, or not whole", shown_path(path))]
    Gone {
        /// Which.
        path: PathBuf,
    },
    /// The system refuses something else.
    #[error("{:?} of the tree", shown_path(path))]
    Io {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl TreeFault {
    /// The kind that the system would have given it.
    pub(super) fn kind(&self) -> io::ErrorKind {
        match self {
            Self::OneName { .. } => io::ErrorKind::AlreadyExists,
            Self::NameRefused { .. } => io::ErrorKind::InvalidFilename,
            Self::Gone { .. } => io::ErrorKind::NotFound,
            Self::Foreign { .. } => io::ErrorKind::Other,
            Self::Io { source, .. } => source.kind(),
        }
    }
}

/// For functions that files have too; the kind is kept.
impl From<TreeFault> for io::Error {
    fn from(fault: TreeFault) -> Self {
        Self::new(fault.kind(), fault)
    }
}

impl Explain for TreeFault {
    fn hint(&self) -> Option<&str> {
        match self {
            Self::OneName { .. } | Self::NameRefused { .. } => Some(NoRoom::FileSize.hint()),
            Self::Foreign { .. } | Self::Gone { .. } => {
                Some("let nothing else write there, then run the same command again")
            }
            Self::Io { source, .. } => hint_on(source),
        }
    }

    fn subject(&self) -> Option<&Path> {
        match self {
            Self::OneName { second: path, .. }
            | Self::NameRefused { path }
            | Self::Foreign { path }
            | Self::Gone { path }
            | Self::Io { path, .. } => Some(path),
        }
    }
}

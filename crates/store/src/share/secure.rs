//! Which directories can be shared, and why one cannot.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use tnet_fileinfo::Explain;

use crate::sys::{self, Protection};

/// A directory cannot be shared.
///
/// Exhaustive: each case must get an exit code of the command line.
#[derive(Debug, thiserror::Error)]
pub enum ShareDirError {
    /// It does not exist.
    #[error("directory {dir:?} does not exist")]
    Missing {
        /// The directory.
        dir: PathBuf,
    },
    /// It is something else.
    #[error("{dir:?} is not a directory")]
    NotADirectory {
        /// The path.
        dir: PathBuf,
    },
    /// All users may write to it and another user owns it, so any user could share files through
    /// this process.
    #[error("directory {dir:?} belongs to another user and everybody may write to it")]
    Insecure {
        /// The directory.
        dir: PathBuf,
    },
    /// It was replaced, and another user could have done that.
    #[error("another directory took the place of {dir:?}, and other users may put one there")]
    Replaced {
        /// The directory.
        dir: PathBuf,
    },
    /// It cannot be opened or read.
    #[error("reading directory {dir:?}")]
    Io {
        /// The directory.
        dir: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl Explain for ShareDirError {
    fn hint(&self) -> Option<&str> {
        match self {
            Self::Missing { .. } => Some("create it first"),
            Self::Insecure { .. } => {
                Some("share a directory of your own, or have its owner run `chmod o-w` on it")
            }
            Self::Replaced { .. } => Some("start again to share it"),
            Self::NotADirectory { .. } | Self::Io { .. } => None,
        }
    }

    fn subject(&self) -> Option<&Path> {
        match self {
            Self::Missing { dir }
            | Self::NotADirectory { dir }
            | Self::Insecure { dir }
            | Self::Replaced { dir }
            | Self::Io { dir, .. } => Some(dir),
        }
    }
}

impl ShareDirError {
    /// Whether the directory that was meant is not where it was.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::NotADirectory { .. } | Self::Replaced { .. })
    }
}

/// Opens the directory if only its owner decides what is in it, or if the owner is this user.
pub(super) fn open_secure(dir: &Path) -> Result<OwnedFd, ShareDirError> {
    let directory = sys::open_directory(dir).map_err(|source| {
        let dir = dir.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => ShareDirError::Missing { dir },
            io::ErrorKind::NotADirectory => ShareDirError::NotADirectory { dir },
            _ => ShareDirError::Io { dir, source },
        }
    })?;
    check_secure(dir, &directory)?;
    Ok(directory)
}

pub(super) fn check_secure(dir: &Path, directory: &OwnedFd) -> Result<(), ShareDirError> {
    let failed = |source| ShareDirError::Io { dir: dir.to_owned(), source };
    let protection = sys::protection(directory).map_err(failed)?;
    if is_insecure(protection, sys::effective_user()) {
        return Err(ShareDirError::Insecure { dir: dir.to_owned() });
    }
    Ok(())
}

/// Whether all users may write to a directory that this user does not own.
fn is_insecure(protection: Protection, user: u32) -> bool {
    const OTHERS_WRITE: u32 = 0o002;
    protection.mode & OTHERS_WRITE != 0 && protection.owner != user
}

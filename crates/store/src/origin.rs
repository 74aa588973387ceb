//! How a shared file is opened again after it was closed.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

use super::beneath;
use super::fingerprint::FileFingerprint;
use super::shared_root::SharedRoot;
use super::sys;

/// Where a file was opened from. A caller that opens it again must compare the fingerprint: another
/// file may be there by then.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// A path that the user named: links are followed.
    Named,
    /// A shared directory, in which others may write: nothing outside is reached, no link is
    /// followed.
    Inside(Arc<SharedRoot>),
    /// A directory that another process opened and passed to us, and that its path does not lead to
    /// in this process.
    Handed(Arc<OwnedFd>),
}

impl Origin {
    /// Opens `path`.
    pub(super) fn open(&self, path: &Path) -> io::Result<File> {
        match self {
            Self::Named => sys::open_path_for_reading(path),
            Self::Inside(root) => root.open(path),
            Self::Handed(directory) => beneath::open(directory, name_of(path)?),
        }
    }

    /// The fingerprint of `path` now.
    pub(super) fn fingerprint_at(&self, path: &Path) -> io::Result<FileFingerprint> {
        match self {
            Self::Named => std::fs::metadata(path).map(|metadata| FileFingerprint::of(&metadata)),
            Self::Inside(root) => root.fingerprint_at(path),
            Self::Handed(directory) => beneath::fingerprint_at(directory, name_of(path)?),
        }
    }

    /// Whether one path means the same file for both: in a directory that was passed to us it may
    /// lead elsewhere.
    pub(super) fn is_same_place(&self, other: &Self) -> bool {
        let is_same = |one, other| -> io::Result<bool> {
            Ok(sys::entry(one)?.is_same_file(&sys::entry(other)?))
        };
        match (self, other) {
            (Self::Handed(one), Self::Handed(other)) => is_same(&**one, &**other).unwrap_or(false),
            (Self::Handed(_), _) | (_, Self::Handed(_)) => false,
            (Self::Named | Self::Inside(_), Self::Named | Self::Inside(_)) => true,
        }
    }

    /// Whether it is a shared directory.
    pub(super) fn is_inside(&self) -> bool {
        matches!(self, Self::Inside(_))
    }
}

fn name_of(path: &Path) -> io::Result<&Path> {
    Ok(path.file_name().map(Path::new).ok_or(Errno::NOENT)?)
}

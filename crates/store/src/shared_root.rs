//! A shared directory, which stays open: its files are opened relative to the descriptor, not by a
//! path that other users could lead elsewhere.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;

use super::beneath;
use super::fingerprint::FileFingerprint;
use super::sys;

/// The root of a shared directory.
#[derive(Debug)]
pub struct SharedRoot {
    path: PathBuf,
    directory: Mutex<Arc<OwnedFd>>,
}

impl SharedRoot {
    /// `directory` was opened at `path`, which is absolute.
    pub fn new(path: PathBuf, directory: OwnedFd) -> Self {
        Self { path, directory: Mutex::new(Arc::new(directory)) }
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the directory by another one that has its path now.
    pub fn replace(&self, directory: OwnedFd) {
        *self.directory.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(directory);
    }

    /// The directory.
    pub fn directory(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.directory.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether `other` is the same directory.
    pub fn is(&self, other: &OwnedFd) -> io::Result<bool> {
        Ok(sys::entry(&*self.directory())?.is_same_file(&sys::entry(other)?))
    }

    /// Opens `path`, which begins with the path of this directory. The caller must check what kind
    /// of file it is.
    pub(super) fn open(&self, path: &Path) -> io::Result<File> {
        beneath::open(&*self.directory(), self.inside(path)?)
    }

    fn inside<'a>(&self, path: &'a Path) -> io::Result<&'a Path> {
        Ok(path.strip_prefix(&self.path).map_err(|_| Errno::XDEV)?)
    }

    /// The fingerprint of `path` now, if the directory still has its path.
    pub(super) fn fingerprint_at(&self, path: &Path) -> io::Result<FileFingerprint> {
        if !self.is(&sys::open_directory(&self.path)?)? {
            return Err(Errno::NOENT.into());
        }
        beneath::fingerprint_at(&*self.directory(), self.inside(path)?)
    }
}

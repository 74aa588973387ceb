//! A shared directory, which stays open: what is shared of it is found from there, not by a path
//! that others could lead elsewhere.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;

use super::beneath;
use super::stamp::Stamp;
use super::sys;

/// The directory that was named to be shared.
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

    /// Where it was found.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Another directory has its place, and is shared from now on.
    pub fn replace(&self, directory: OwnedFd) {
        *self.directory.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(directory);
    }

    /// The directory.
    pub fn directory(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.directory.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether `other` is this very directory.
    pub fn is(&self, other: &OwnedFd) -> io::Result<bool> {
        Ok(sys::entry(&*self.directory())?.is_same_file(&sys::entry(other)?))
    }

    /// Opens what is at `path`, which is that of this directory and what is below it. What it is
    /// has to be asked of the answer.
    pub(super) fn open(&self, path: &Path) -> io::Result<File> {
        beneath::open(&*self.directory(), self.inside(path)?)
    }

    fn inside<'a>(&self, path: &'a Path) -> io::Result<&'a Path> {
        Ok(path.strip_prefix(&self.path).map_err(|_| Errno::XDEV)?)
    }

    /// What stands at `path` now, if the directory is still where it was found.
    pub(super) fn stamp_at(&self, path: &Path) -> io::Result<Stamp> {
        if !self.is(&sys::open_directory(&self.path)?)? {
            return Err(Errno::NOENT.into());
        }
        beneath::stamp_at(&*self.directory(), self.inside(path)?)
    }
}

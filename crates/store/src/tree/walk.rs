//! Finds what is in a directory that becomes a tree. The walk never leaves it: directories are
//! opened one inside the other and links are not followed, not even ones that take a directory's
//! place during the walk. Everything in it is listed, or an error names what cannot be.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::Dir;
use rustix::io::Errno;
use tnet_fileinfo::tree::{MAX_DEPTH, MAX_ENTRIES, MAX_MANIFEST_LEN, MAX_PATH_LEN};

use super::error::{NoContent, TreeScanError};
use crate::FileFingerprint;
use crate::sys::{self, EntryKind};

const OWNER_EXECUTES: u32 = 0o100;

/// What is in a directory, before its files are read. About 60 bytes an entry besides its path.
#[derive(Debug)]
pub struct TreeListing {
    pub(super) directory: OwnedFd,
    /// Sorted bytewise by path, as in the manifest.
    pub(super) entries: Vec<Found>,
    /// Bytes in all files.
    pub(super) size: u64,
    /// A directory in it that is on another device.
    pub(super) elsewhere: Option<PathBuf>,
}

/// An entry of a directory.
#[derive(Debug)]
pub(super) struct Found {
    /// From the top of the tree.
    pub(super) path: Box<[u8]>,
    pub(super) what: What,
}

/// What an entry is.
#[derive(Debug)]
pub(super) enum What {
    Directory,
    File { fingerprint: FileFingerprint, is_executable: bool },
    Link { target: Box<[u8]> },
}

impl TreeListing {
    /// Lists everything in the directory at `root`; a link there is followed, because the user
    /// named it.
    ///
    /// # Errors
    /// It is no directory, something in it cannot be looked at or has no content, or it is larger
    /// than a tree may be.
    pub fn read(root: &Path) -> Result<Self, TreeScanError> {
        let directory = sys::open_directory(root).map_err(|error| match error.kind() {
            io::ErrorKind::NotADirectory => TreeScanError::NotADirectory,
            _ => TreeScanError::Open(error),
        })?;
        Self::of(directory)
    }

    /// Lists everything in an open directory.
    pub(crate) fn of(directory: OwnedFd) -> Result<Self, TreeScanError> {
        let top = sys::open_subdirectory(&directory, ".".as_ref()).map_err(TreeScanError::Open)?;
        let device = sys::entry(&top).map_err(TreeScanError::Open)?.device;
        let mut walk = Walk {
            path: Vec::new(),
            entries: Vec::new(),
            len: 0,
            size: 0,
            device,
            elsewhere: None,
        };
        walk.list(top, 1)?;
        let Walk { mut entries, size, elsewhere, .. } = walk;
        entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { directory, entries, size, elsewhere })
    }

    /// Bytes in all its files.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// A directory in it where another file system begins, if there is one.
    pub(crate) fn mount_point(&self) -> Option<&Path> {
        self.elsewhere.as_deref()
    }

    /// How many entries there are: directories, files and links, without the top.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the directory is empty.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

struct Walk {
    /// Of the entry that is being looked at, from the top.
    path: Vec<u8>,
    entries: Vec<Found>,
    /// Bytes that the entries have in a manifest.
    len: usize,
    /// Bytes in all files.
    size: u64,
    /// That the top is on.
    device: u64,
    elsewhere: Option<PathBuf>,
}

impl Walk {
    /// Lists a directory whose path is `self.path`, and whose entries are `depth` components deep.
    fn list(&mut self, directory: OwnedFd, depth: usize) -> Result<(), TreeScanError> {
        let mut names = Dir::new(directory).map_err(|error| self.unreadable(error.into()))?;
        while let Some(name) = names.read() {
            let name = name.map_err(|error| self.unreadable(error.into()))?;
            let name = name.file_name().to_bytes();
            if [&b"."[..], b".."].contains(&name) {
                continue;
            }
            let parent = self.path.len();
            if parent > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(name);
            let fd = names.fd().map_err(|error| self.unreadable(error.into()))?;
            self.visit(fd, OsStr::from_bytes(name), depth)?;
            self.path.truncate(parent);
        }
        Ok(())
    }

    fn visit(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &OsStr,
        depth: usize,
    ) -> Result<(), TreeScanError> {
        if depth > MAX_DEPTH {
            return Err(TreeScanError::TooDeep { path: self.path() });
        }
        let entry = sys::entry_at(directory, name).map_err(|error| self.unreadable(error))?;
        let entry = entry.ok_or_else(|| self.changed())?;
        let no_content = |kind| Err(TreeScanError::NoContent { path: self.path(), kind });
        match entry.kind {
            EntryKind::Directory => {
                if entry.device != self.device && self.elsewhere.is_none() {
                    self.elsewhere = Some(self.path());
                }
                self.add(What::Directory)?;
                let inside = sys::open_subdirectory(directory, name).map_err(|error| {
                    let is_gone = error.kind() == io::ErrorKind::NotFound;
                    if is_gone || sys::is_something_else(&error) {
                        self.changed()
                    } else {
                        self.unreadable(error)
                    }
                })?;
                self.list(inside, depth + 1)
            }
            EntryKind::File => {
                let is_executable = entry.protection.mode & OWNER_EXECUTES != 0;
                let fingerprint = entry.fingerprint;
                self.size =
                    self.size.checked_add(fingerprint.size).ok_or(TreeScanError::TooLarge)?;
                self.add(What::File { fingerprint, is_executable })
            }
            EntryKind::Link => {
                let target =
                    sys::link_target(directory, name).map_err(
                        |error| match Errno::from_io_error(&error) {
                            Some(Errno::NOENT | Errno::INVAL) => self.changed(),
                            _ => self.unreadable(error),
                        },
                    )?;
                self.add(What::Link { target: target.into_boxed_slice() })
            }
            EntryKind::Pipe => no_content(NoContent::Pipe),
            EntryKind::Socket => no_content(NoContent::Socket),
            EntryKind::Device => no_content(NoContent::Device),
        }
    }

    fn add(&mut self, what: What) -> Result<(), TreeScanError> {
        // In the manifest: kind and length of the path; size and hash; length of the target.
        let (head, target) = match &what {
            What::Directory => (3, 0),
            What::File { .. } => (3 + 8 + 32, 0),
            What::Link { target } => (3 + 2, target.len()),
        };
        if self.path.len().max(target) > MAX_PATH_LEN {
            return Err(TreeScanError::PathTooLong { path: self.path() });
        }
        self.len += head + self.path.len() + target;
        if self.entries.len() >= MAX_ENTRIES as usize || self.len > MAX_MANIFEST_LEN {
            return Err(TreeScanError::TooLarge);
        }
        self.entries.push(Found { path: self.path.as_slice().into(), what });
        Ok(())
    }

    fn path(&self) -> PathBuf {
        path_of(&self.path)
    }

    fn changed(&self) -> TreeScanError {
        TreeScanError::Changed { path: self.path() }
    }

    fn unreadable(&self, source: io::Error) -> TreeScanError {
        TreeScanError::Read { path: self.path(), source }
    }
}

/// The path of an entry; the top of the tree is `.`.
pub(super) fn path_of(path: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(if path.is_empty() { b"." } else { path }))
}

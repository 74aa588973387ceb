//! Which file on which device. Two equal ids that were read at one moment are of one file, whatever
//! its names are.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use super::named_dir;
use super::sys::{self, Entry, EntryKind};

/// The identity of a file on this machine. Not to be kept over a restart: the number of a device
/// follows the order of mounting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// The id of an open file or directory.
    ///
    /// # Errors
    /// Its metadata cannot be read.
    pub fn of(file: impl AsFd) -> io::Result<Self> {
        Ok(Self::of_entry(&sys::entry(file)?))
    }

    /// The id of the file at `out`. `None` if no regular file is there, or if the file has several
    /// names (hard links): then a second name with this id is another output, not the same one.
    pub fn at(out: &Path) -> Option<Self> {
        let parent = std::path::absolute(out).ok()?.parent()?.to_owned();
        let directory = named_dir::open(&parent).ok()?;
        let entry = sys::entry_at(&directory, out.file_name()?).ok()??;
        (entry.kind == EntryKind::File && entry.names == 1).then(|| Self::of_entry(&entry))
    }

    pub(super) fn of_entry(entry: &Entry) -> Self {
        Self { device: entry.device, inode: entry.fingerprint.inode }
    }

    pub(super) fn device(self) -> u64 {
        self.device
    }
}

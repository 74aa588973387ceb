//! The directory of a file to be downloaded, opened by the process that requests the file. The
//! process that downloads it may see another directory under the same path; the open descriptor is
//! the same for both.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags};

use super::error::OpenError;
use super::fingerprint::FileFingerprint;
use super::sys::{self, EntryKind};
use super::target::open_parent;

/// An open directory, and the path of the output in it.
#[derive(Debug)]
pub struct OutDirectory {
    directory: OwnedFd,
    out: PathBuf,
}

/// Where a finished file is found.
///
/// Exhaustive: a caller must decide about each case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileLocation {
    /// At the path that was requested.
    AtItsPath,
    /// In the directory, which has another path by now.
    At(PathBuf),
    /// Not in the directory, of another size, or in a directory that no path leads to.
    Nowhere,
}

impl OutDirectory {
    /// Opens the directory that `out` is to be in. Blocks for as long as the disk does.
    ///
    /// # Errors
    /// It is not there, is no directory, or others may have led the path elsewhere.
    pub fn open(out: &Path) -> Result<Self, OpenError> {
        let (directory, parent) = open_parent(out)?;
        let name = out.file_name().ok_or_else(|| OpenError::NoFileName { path: out.to_owned() })?;
        Ok(Self { directory, out: parent.join(name) })
    }

    /// The directory.
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Whether this process may make files in it.
    pub fn is_writable(&self) -> bool {
        let flags = AtFlags::EACCESS;
        rustix::fs::accessat(&self.directory, ".", Access::WRITE_OK | Access::EXEC_OK, flags)
            .is_ok()
    }

    /// Where a complete file of `size` bytes, or a directory, is now.
    ///
    /// # Errors
    /// The metadata cannot be read.
    pub fn find(&self, size: u64) -> io::Result<FileLocation> {
        let Some(name) = self.out.file_name() else { return Ok(FileLocation::Nowhere) };
        let entry = sys::entry_at(&self.directory, name)?;
        let is_tree = matches!(&entry, Some(entry) if entry.kind == EntryKind::Directory);
        let fingerprint = match entry {
            Some(entry) if entry.kind == EntryKind::Link => {
                FileFingerprint::of(&sys::open_for_reading(&self.directory, name)?.metadata()?)
            }
            Some(entry) => entry.fingerprint,
            None => return Ok(FileLocation::Nowhere),
        };
        if !is_tree && fingerprint.size != size {
            return Ok(FileLocation::Nowhere);
        }
        let leads_there = |path: &Path| {
            let found = std::fs::metadata(path).map(|metadata| FileFingerprint::of(&metadata));
            found.is_ok_and(|found| found.is_same_file(&fingerprint))
        };
        if leads_there(&self.out) {
            return Ok(FileLocation::AtItsPath);
        }
        // The last known path of the directory: something else may have been mounted there since.
        let moved = sys::path_of(&self.directory).map(|path| path.join(name));
        Ok(moved.filter(|path| leads_there(path)).map_or(FileLocation::Nowhere, FileLocation::At))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_where_it_was_asked_for_or_where_its_directory_is_now() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (there, moved) = (dir.path().join("there"), dir.path().join("moved"));
        fs::create_dir(&there).expect("writable");
        let out = OutDirectory::open(&there.join("file")).expect("it is there");
        assert!(out.is_writable());
        assert_eq!(out.find(3).expect("readable"), FileLocation::Nowhere);
        fs::write(there.join("file"), "abc").expect("writable");
        assert_eq!(out.find(4).expect("readable"), FileLocation::Nowhere, "another size");
        assert_eq!(out.find(3).expect("readable"), FileLocation::AtItsPath);
        fs::rename(&there, &moved).expect("writable");
        let real = fs::canonicalize(&moved).expect("there");
        assert_eq!(out.find(3).expect("readable"), FileLocation::At(real.join("file")));
        // Another file under that path is not ours.
        fs::create_dir(&there).expect("writable");
        fs::write(there.join("file"), "xyz").expect("writable");
        assert_eq!(out.find(3).expect("readable"), FileLocation::At(real.join("file")));
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let refused = OutDirectory::open(&dir.path().join("none/file"));
        assert!(matches!(refused, Err(OpenError::ParentMissing { .. })), "{refused:?}");
    }
}

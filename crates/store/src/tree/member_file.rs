//! A file of a tree while it is read: opened below the directory of the tree, and found unchanged
//! before and after.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use super::error::TreeScanError;
use super::walk::path_of;
use crate::sys::{self, EntryKind};
use crate::{FileFingerprint, beneath};

/// An open file of a tree.
pub(super) struct MemberFile<'a> {
    path: &'a [u8],
    fingerprint: FileFingerprint,
    file: File,
}

impl<'a> MemberFile<'a> {
    /// Opens the file that had this fingerprint when the directory was listed.
    pub(super) fn open(
        directory: impl AsFd,
        path: &'a [u8],
        fingerprint: FileFingerprint,
    ) -> Result<Self, TreeScanError> {
        let file = beneath::open(directory, &path_of(path)).map_err(|source| {
            if beneath::leads_elsewhere(&source) {
                TreeScanError::Changed { path: path_of(path) }
            } else {
                TreeScanError::Read { path: path_of(path), source }
            }
        })?;
        let member = Self { path, fingerprint, file };
        member.check_unchanged()?;
        Ok(member)
    }

    /// Reads `len` bytes at `position` to the front of `buffer`, which has room for one byte more.
    pub(super) fn read(
        &self,
        buffer: &mut [u8],
        len: usize,
        position: u64,
    ) -> Result<(), TreeScanError> {
        // Where nothing should follow, one byte more is asked for: no other call is needed to see
        // that nothing does.
        let is_end = position + len as u64 == self.fingerprint.size;
        let wanted = len + usize::from(is_end);
        let mut filled = 0;
        while filled < wanted {
            let at = position + filled as u64;
            match self.file.read_at(&mut buffer[filled..wanted], at) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(TreeScanError::Read { path: path_of(self.path), source });
                }
            }
            if filled == len && len > 0 {
                break; // a short read is the end of the file
            }
        }
        if filled == len {
            return Ok(());
        }
        self.check_unchanged()?;
        Err(TreeScanError::UnknownLength { path: path_of(self.path) })
    }

    /// Whether it is still the file that was listed.
    pub(super) fn check_unchanged(&self) -> Result<(), TreeScanError> {
        match sys::entry(&self.file) {
            Ok(entry) if entry.kind == EntryKind::File && entry.fingerprint == self.fingerprint => {
                Ok(())
            }
            Ok(_) => Err(TreeScanError::Changed { path: path_of(self.path) }),
            Err(source) => Err(TreeScanError::Read { path: path_of(self.path), source }),
        }
    }
}

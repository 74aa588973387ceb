//! The metadata of a file at one moment. Two equal fingerprints of one path mean the same file with
//! the same content, as far as a file system can tell without reading it.
//!
//! The device number is not part of it: btrfs, overlays and network file systems get another one
//! each time they are mounted in another order. The time of change (`ctime`) is part of it because
//! no program can set it; the time of modification (`mtime`) can be set back after a write.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// Identity, size and times of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct FileFingerprint {
    /// The file's number on its file system.
    pub inode: u64,
    /// Bytes in the file.
    pub size: u64,
    /// Last modification, in nanoseconds since the Unix epoch, by the clock of the file system. It
    /// is never compared with a local clock here.
    pub modified_ns: i64,
    /// Last change of content, name, owner or mode, in the same unit by the same clock.
    pub changed_ns: i64,
}

impl FileFingerprint {
    /// The fingerprint of a file whose metadata was just read.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            size: metadata.len(),
            modified_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether both are of one file, changed in between or not.
    pub fn is_same_file(&self, other: &Self) -> bool {
        self.inode == other.inode
    }

    /// Whether only the time of change differs: the file got another name, owner or mode, or it was
    /// written to and its time of modification was set back. Only reading the file tells which.
    pub fn is_touched(&self, other: &Self) -> bool {
        self != other && Self { changed_ns: other.changed_ns, ..*self } == *other
    }
}

/// Saturates: two times beyond the range of an `i64` of nanoseconds (the year 2262) are equal, and
/// only size and inode tell the files apart.
pub(crate) fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

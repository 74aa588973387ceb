//! What a file looked like at one moment. Two equal stamps of one path mean the same file with the
//! same content, as far as a file system can tell without reading it.
//!
//! The device's number is not in it: btrfs, overlays and network file systems get another one each
//! time they are mounted in another order. The time of change is, which nobody can set: a program
//! that writes may set that of modification to what it was.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// Identity, size and times of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// The file's number on its file system.
    pub inode: u64,
    /// Bytes in the file.
    pub size: u64,
    /// Last modification, in nanoseconds since the Unix epoch, as the file system tells it; never
    /// compared with a clock here.
    pub modified_ns: i64,
    /// Last change of content, name, owner or mode, likewise.
    pub changed_ns: i64,
}

impl Stamp {
    /// The stamp of a file whose metadata was just read.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            size: metadata.len(),
            modified_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether both are stamps of one file, changed in between or not.
    pub fn is_same_file(&self, other: &Self) -> bool {
        self.inode == other.inode
    }

    /// Whether all but the time of change is the same: the file got another name, owner or mode, or
    /// it was written to and the time of modification set back. Only reading it tells.
    pub fn is_touched(&self, other: &Self) -> bool {
        self != other && Self { changed_ns: other.changed_ns, ..*self } == *other
    }
}

/// Times further away than an `i64` of nanoseconds reaches (the year 2262) stick to its end: two of
/// them look equal, and size and inode must tell the files apart.
pub(crate) fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

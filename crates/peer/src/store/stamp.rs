//! What a file looked like at one moment. Two equal stamps of one path mean the same file with the same content, as
//! far as a file system can tell without reading it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// Identity, size and time of last modification of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// The device the file is on.
    pub device: u64,
    /// The file's number on that device.
    pub inode: u64,
    /// Bytes in the file.
    pub size: u64,
    /// Last modification, in nanoseconds since the Unix epoch, as the file system tells it; never compared with a
    /// clock here.
    pub modified_ns: i64,
}

impl Stamp {
    /// The stamp of a file whose metadata was just read.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
        }
    }

    /// Whether both are stamps of one file, changed in between or not.
    pub fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// Times further away than an `i64` of nanoseconds reaches (the year 2262) stick to its end: two of them look equal,
/// and size and inode must tell the files apart.
pub(crate) fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

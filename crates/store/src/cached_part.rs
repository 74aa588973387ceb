//! Where some bytes of a content are in the page cache.

use std::fs::File;
use std::sync::Arc;

use super::fingerprint::FileFingerprint;

/// Bytes that lie one after the other in an open file and are in the page cache.
#[derive(Debug)]
pub struct CachedPart {
    pub(super) file: Arc<File>,
    pub(super) position: u64,
    /// The fingerprint of the file when the part was looked up; `None`: nothing but this process
    /// writes to it.
    pub(super) seen: Option<FileFingerprint>,
    /// Which member of a tree the file is.
    pub(super) member: Option<u32>,
}

impl CachedPart {
    /// The file, for `sendfile`. Its cursor has no meaning: read at positions only.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where in the file the bytes begin, in bytes.
    pub fn position(&self) -> u64 {
        self.position
    }
}

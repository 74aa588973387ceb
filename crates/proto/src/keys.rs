//! The numbers by which the parts of one process name a connection and a file, and how an upload
//! ended.

use crate::FileHandle;

/// A connection, numbered by the process; a number is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(pub u64);

/// A file of this process, numbered by it; a number is never used again. It is also our handle for
/// the file on every connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileKey(pub u32);

impl FileKey {
    /// Our number for the file on the wire.
    pub fn handle(self) -> FileHandle {
        FileHandle(self.0)
    }
}

/// How a chunk that was being sent ended. Exhaustive: it ended in one of these ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadEnd {
    /// The last byte was handed to the network.
    Sent,
    /// Stopped before the end, because it was cancelled or could not be read.
    Stopped,
}

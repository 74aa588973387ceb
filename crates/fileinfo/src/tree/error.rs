//! Why bytes are not a manifest.

use crate::geometry::GeometryError;

use super::limits::{MAX_COMPONENT_LEN, MAX_DEPTH, MAX_ENTRIES, MAX_MANIFEST_LEN, MAX_PATH_LEN};

/// Why bytes are not a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// It does not begin as a manifest does.
    #[error("this is not the manifest of a tree")]
    NotManifest,
    /// A later version of the format.
    #[error("the manifest has version {found}, and this program reads version {supported}")]
    Version {
        /// In the manifest.
        found: u32,
        /// The version of this program.
        supported: u32,
    },
    /// More bytes than any manifest has.
    #[error("the manifest has {len} bytes; at most {MAX_MANIFEST_LEN} are allowed")]
    TooLong {
        /// Bytes.
        len: usize,
    },
    /// More entries than any tree has, or than its bytes can hold.
    #[error("the manifest claims {count} entries; at most {MAX_ENTRIES} are allowed")]
    TooManyEntries {
        /// Claimed.
        count: u32,
    },
    /// It ends within an entry.
    #[error("the manifest is cut off after {entries} entries")]
    Truncated {
        /// Whole entries before the end.
        entries: u32,
    },
    /// Something follows its last entry.
    #[error("{len} bytes follow the last entry of the manifest")]
    TrailingBytes {
        /// Bytes.
        len: usize,
    },
    /// An entry breaks a rule.
    #[error("\"{path}\" in the manifest: {fault}")]
    Entry {
        /// Its path, escaped.
        path: String,
        /// The rule.
        fault: EntryFault,
    },
    /// The sizes of the files are not that of the payload.
    #[error("the files of the tree have {files} bytes, and its payload {payload}")]
    PayloadSize {
        /// Sum over the files.
        files: u64,
        /// Of the payload.
        payload: u64,
    },
    /// A payload that cannot be cut into chunks of its chunk size.
    #[error("the payload of the tree: {0}")]
    Payload(#[from] GeometryError),
}

/// The rule that an entry breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryFault {
    /// Neither a directory, a file nor a link.
    #[error("it has the unknown kind {0}")]
    Kind(u8),
    /// No path at all.
    #[error("its path is empty")]
    EmptyPath,
    /// From the root of the file system.
    #[error("its path is absolute")]
    AbsolutePath,
    /// Two slashes in a row, or one at the end.
    #[error("its path has an empty component")]
    EmptyComponent,
    /// `.` or `..`.
    #[error("its path has a component that is `.` or `..`")]
    DotComponent,
    /// A byte that no path can have.
    #[error("a NUL byte is in its path or target")]
    Nul,
    /// Longer than file systems take.
    #[error("its path is longer than {MAX_PATH_LEN} bytes")]
    PathTooLong,
    /// Longer than file systems take.
    #[error("a component of its path is longer than {MAX_COMPONENT_LEN} bytes")]
    ComponentTooLong,
    /// Deeper than any real tree.
    #[error("it is more than {MAX_DEPTH} directories deep")]
    TooDeep,
    /// The order is canonical.
    #[error("it does not come after the entry before it in bytewise order")]
    NotSorted,
    /// The same path again.
    #[error("it is there twice")]
    Twice,
    /// An entry lies in what is not a directory of the tree.
    #[error("the directory that it is in is not in the manifest, or is a file or a link")]
    NoDirectory,
    /// A file without bytes has a hash, and this is not it.
    #[error("it has no bytes, and not the hash of no bytes")]
    EmptyFileHash,
    /// More bytes than can be counted.
    #[error("with it the files have more bytes than can be counted")]
    SizeOverflow,
    /// A link to nothing.
    #[error("its target is empty")]
    EmptyTarget,
    /// Longer than systems take.
    #[error("its target is longer than {MAX_PATH_LEN} bytes")]
    TargetTooLong,
}

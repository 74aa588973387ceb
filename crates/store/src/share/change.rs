//! What a scan of a shared directory reports.

use std::io;
use std::path::PathBuf;

use crate::FileFingerprint;

/// Something that happened in the directory.
///
/// Exhaustive: a caller must decide about each case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new file is there and settled.
    Appeared {
        /// Its path: the directory's, made absolute, and where it is inside.
        path: PathBuf,
        /// Its fingerprint. Compare it after opening the file: the path may lead elsewhere by then.
        fingerprint: FileFingerprint,
    },
    /// A reported file has other content, or another file is in its place, and it is settled.
    Changed {
        /// Its path.
        path: PathBuf,
        /// Its fingerprint now.
        fingerprint: FileFingerprint,
    },
    /// A reported file has other content, and is not settled: it is still being written to. It
    /// appears again when it is.
    Changing {
        /// Its path.
        path: PathBuf,
    },
    /// A reported file is gone, or has changed and cannot be read any more.
    Deleted {
        /// Its path.
        path: PathBuf,
    },
    /// A file or directory cannot be read and is left out. Reported once, and again if it fails
    /// anew after it worked. Files reported from inside a directory count as unchanged until it can
    /// be read again.
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Why.
        kind: io::ErrorKind,
    },
    /// A file is left out because its owner may not have meant to share it: it has another name,
    /// not all users may read it, and other users may create names in its directory. Reported once.
    HardLink {
        /// Its path.
        path: PathBuf,
    },
    /// A directory is too deep and is left out. Reported once.
    TooDeep {
        /// Its path.
        path: PathBuf,
    },
    /// There are more files than are watched; some are left out. Reported once, and again if it
    /// happens anew.
    TooMany {
        /// How many are watched.
        limit: usize,
    },
}

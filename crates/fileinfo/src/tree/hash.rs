//! The name of a tree.

use std::fmt;
use std::str::FromStr;

use crate::hash::FileHash;

/// What stands before the digits, so that the hash of a tree is not taken for that of a file.
const PREFIX: &str = "tree:";

/// The hash of a tree: the BLAKE3 of its manifest. Written `tree:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreeHash(FileHash);

impl TreeHash {
    /// The tree whose manifest has this hash.
    pub const fn of_manifest(hash: FileHash) -> Self {
        Self(hash)
    }

    /// The hash of its manifest as a content.
    pub const fn manifest(self) -> FileHash {
        self.0
    }
}

impl fmt::Display for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.0)
    }
}

impl fmt::Debug for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TreeHash {
    type Err = ParseTreeHashError;

    fn from_str(text: &str) -> Result<Self, ParseTreeHashError> {
        let digits = text.strip_prefix(PREFIX).ok_or(ParseTreeHashError)?;
        digits.parse().map(Self).map_err(|_| ParseTreeHashError)
    }
}

/// The text is not the hash of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hash of a tree is `tree:` and exactly 64 hexadecimal digits")]
pub struct ParseTreeHashError;

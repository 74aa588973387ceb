//! The two names of content: what a whole file is, and what one of its chunks must be.
//!
//! Both are 32 bytes of BLAKE3. They are different types because they are different things: a
//! [`FileHash`] names a file in the whole system, a [`ChunkSum`] means something only beside the
//! geometry of its file.

use std::fmt;
use std::str::FromStr;

use crate::hex;

/// The BLAKE3 hash of a file, exactly what `b3sum FILE` prints. It names the file everywhere in the
/// system.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileHash([u8; 32]);

impl FileHash {
    /// Takes the 32 bytes as they are; nothing is proven by holding them.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 8 hex digits, for logs: enough for an eye, not for a decision.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..4])
    }
}

impl fmt::Display for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(&self.0))
    }
}

impl fmt::Debug for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for FileHash {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<Self, ParseHashError> {
        hex::decode_32(text).map(Self).ok_or(ParseHashError)
    }
}

/// The text is not a file hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a file hash is exactly 64 hexadecimal digits")]
pub struct ParseHashError;

/// What one chunk must hash to: the BLAKE3 chaining value of the chunk's subtree at its place in
/// the file.
///
/// The same bytes at another offset have another sum, so a chunk cannot pass for its neighbour.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ChunkSum([u8; 32]);

impl ChunkSum {
    /// Takes the 32 bytes as they are; nothing is proven by holding them.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for ChunkSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `b3sum` of an empty file.
    const EMPTY: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";

    #[test]
    fn a_hash_reads_and_prints_as_b3sum_does() {
        let hash: FileHash = EMPTY.parse().expect("64 digits");
        assert_eq!(hash, FileHash::from_bytes(*blake3::hash(b"").as_bytes()));
        assert_eq!(hash.to_string(), EMPTY);
        assert_eq!(format!("{hash:?}"), EMPTY);
        assert_eq!(hash.short(), "af1349b9");
    }

    #[test]
    fn anything_but_64_digits_is_refused() {
        let long = format!("{EMPTY}0");
        let spaced = format!(" {}", &EMPTY[1..]);
        // Nothing; one digit short; one too many; the right length but not a digit; 64 bytes in 32
        // wide characters.
        for text in ["", &EMPTY[1..], &long, &spaced, &"é".repeat(32)] {
            assert_eq!(text.parse::<FileHash>(), Err(ParseHashError), "{text:?}");
        }
    }
}

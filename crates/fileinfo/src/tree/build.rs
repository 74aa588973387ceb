//! Makes a manifest.

use crate::geometry::Geometry;
use crate::hash::FileHash;

use super::entry::{DIRECTORY, EXECUTABLE, FILE, LINK};
use super::error::ManifestError;
use super::manifest::Manifest;
use super::parse::{HEADER_LEN, MAGIC, VERSION};

/// Collects what is in a tree, in any order.
#[derive(Debug, Default)]
pub struct ManifestBuilder {
    entries: Vec<Encoded>,
}

/// An entry as it will stand in the manifest.
#[derive(Debug)]
struct Encoded {
    path: Box<[u8]>,
    kind: u8,
    /// What follows the path.
    rest: Box<[u8]>,
}

impl ManifestBuilder {
    /// Adds a directory, each before or after what is in it. The top of the tree is none.
    pub fn directory(&mut self, path: &[u8]) {
        self.add(path, DIRECTORY, &[]);
    }

    /// Adds a regular file of `size` bytes with its own BLAKE3.
    pub fn file(&mut self, path: &[u8], size: u64, hash: FileHash, is_executable: bool) {
        let kind = if is_executable { EXECUTABLE } else { FILE };
        self.add(path, kind, &[&size.to_le_bytes()[..], hash.as_bytes()].concat());
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &[u8], target: &[u8]) {
        self.add(path, LINK, &[&length(target)[..], target].concat());
    }

    fn add(&mut self, path: &[u8], kind: u8, rest: &[u8]) {
        self.entries.push(Encoded { path: path.into(), kind, rest: rest.into() });
    }

    /// The manifest, with the payload that the files make in the order of the manifest.
    ///
    /// # Errors
    /// As [`Manifest::parse`].
    pub fn finish(
        mut self,
        payload: Geometry,
        payload_hash: FileHash,
    ) -> Result<Manifest, ManifestError> {
        self.entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        let count = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        let len: usize = self.entries.iter().map(Encoded::len).sum();
        let mut bytes = Vec::with_capacity(HEADER_LEN + len);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&payload.size().to_le_bytes());
        bytes.extend_from_slice(&payload.chunk_size().get().to_le_bytes());
        bytes.extend_from_slice(payload_hash.as_bytes());
        for Encoded { path, kind, rest } in self.entries {
            bytes.push(kind);
            bytes.extend_from_slice(&length(&path));
            bytes.extend_from_slice(&path);
            bytes.extend_from_slice(&rest);
        }
        Manifest::parse(bytes)
    }
}

impl Encoded {
    fn len(&self) -> usize {
        1 + 2 + self.path.len() + self.rest.len()
    }
}

/// The length of a path or target. One that is too long for the field is refused by the parser,
/// which allows far fewer bytes.
fn length(text: &[u8]) -> [u8; 2] {
    u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes()
}

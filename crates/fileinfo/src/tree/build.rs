//! Makes a manifest.

use crate::geometry::Geometry;
use crate::hash::FileHash;

use super::entry::{DIRECTORY, EXECUTABLE, FILE, LINK};
use super::error::ManifestError;
use super::manifest::Manifest;
use super::parse::{HEADER_LEN, MAGIC, VERSION};

/// Collects what is in a tree, in any order: sorted bytewise by path it is fastest. Needs as much
/// memory as the manifest, and twice that for another order.
#[derive(Debug, Default)]
pub struct ManifestBuilder {
    /// The manifest, but with a header of zeroes and in the order of the calls.
    bytes: Vec<u8>,
    /// Where each entry begins.
    starts: Vec<usize>,
    /// Whether an entry does not come after the one before it.
    is_unsorted: bool,
}

impl ManifestBuilder {
    /// Adds a directory, each before or after what is in it. The top of the tree is none.
    pub fn directory(&mut self, path: &[u8]) {
        self.add(path, DIRECTORY, &[]);
    }

    /// Adds a regular file of `size` bytes with its own BLAKE3.
    pub fn file(&mut self, path: &[u8], size: u64, hash: FileHash, is_executable: bool) {
        let kind = if is_executable { EXECUTABLE } else { FILE };
        self.add(path, kind, &[&size.to_le_bytes(), hash.as_bytes()]);
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &[u8], target: &[u8]) {
        self.add(path, LINK, &[&length(target), target]);
    }

    fn add(&mut self, path: &[u8], kind: u8, rest: &[&[u8]]) {
        self.bytes.resize(self.bytes.len().max(HEADER_LEN), 0);
        self.is_unsorted |= self.starts.last().is_some_and(|last| self.path_at(*last) >= path);
        self.starts.push(self.bytes.len());
        self.bytes.push(kind);
        for part in [&length(path)[..], path].into_iter().chain(rest.iter().copied()) {
            self.bytes.extend_from_slice(part);
        }
    }

    /// The path of the entry that begins there.
    fn path_at(&self, start: usize) -> &[u8] {
        let after_kind = self.bytes.get(start + 1..).unwrap_or_default();
        let (len, rest) = after_kind.split_first_chunk().unwrap_or((&[0, 0], &[]));
        rest.get(..u16::from_le_bytes(*len).into()).unwrap_or(rest)
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
        let count = u32::try_from(self.starts.len()).unwrap_or(u32::MAX);
        if self.is_unsorted {
            self.bytes = self.sorted();
        }
        let header = [
            &MAGIC[..],
            &VERSION.to_le_bytes(),
            &count.to_le_bytes(),
            &payload.size().to_le_bytes(),
            &payload.chunk_size().get().to_le_bytes(),
            payload_hash.as_bytes(),
        ];
        let mut bytes = self.bytes;
        drop(self.starts);
        bytes.splice(..HEADER_LEN.min(bytes.len()), header.concat());
        bytes.shrink_to_fit();
        Manifest::parse(bytes)
    }

    /// The same bytes in the order of their paths.
    fn sorted(&self) -> Vec<u8> {
        let ends = self.starts.iter().skip(1).copied().chain([self.bytes.len()]);
        let mut entries: Vec<_> =
            self.starts.iter().zip(ends).map(|(start, end)| *start..end).collect();
        entries.sort_unstable_by_key(|entry| self.path_at(entry.start));
        let mut bytes = vec![0; HEADER_LEN];
        bytes.reserve_exact(self.bytes.len().saturating_sub(HEADER_LEN));
        for entry in entries {
            bytes.extend_from_slice(self.bytes.get(entry).unwrap_or_default());
        }
        bytes
    }
}

/// The length of a path or target. One that is too long for the field is refused by the parser,
/// which allows far fewer bytes.
fn length(text: &[u8]) -> [u8; 2] {
    u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes()
}

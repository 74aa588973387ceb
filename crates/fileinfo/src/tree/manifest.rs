//! A manifest in memory: its bytes, and where each entry begins. Four bytes an entry besides.

use std::fmt;

use crate::chunk_size::ChunkSize;
use crate::geometry::{Geometry, GeometryError};
use crate::hash::FileHash;

use super::entry::{Entry, entry_at};
use super::hash::TreeHash;

/// Where the chunk size of the payload stands, after magic, version, count and size.
const CHUNK_SIZE_AT: usize = 8 + 4 + 4 + 8;

/// The list of what is in a tree, proven canonical: there is one manifest for one tree.
#[derive(Clone, PartialEq, Eq)]
pub struct Manifest {
    pub(super) bytes: Vec<u8>,
    /// Where each entry begins.
    pub(super) starts: Vec<u32>,
    pub(super) payload: Geometry,
    pub(super) payload_hash: FileHash,
}

impl Manifest {
    /// The canonical bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The hash of the tree. Hashes the whole manifest each time.
    pub fn hash(&self) -> TreeHash {
        TreeHash::of_manifest(FileHash::from_bytes(*blake3::hash(&self.bytes).as_bytes()))
    }

    /// How the payload is cut into chunks.
    pub fn payload(&self) -> &Geometry {
        &self.payload
    }

    /// The hash of the payload.
    pub fn payload_hash(&self) -> FileHash {
        self.payload_hash
    }

    /// Cuts the payload into chunks of another size. That gives the tree another hash, as the size
    /// of the chunks stands in the manifest.
    ///
    /// # Errors
    /// The payload would have too many chunks; the manifest is as it was.
    pub fn set_chunk_size(&mut self, chunk_size: ChunkSize) -> Result<(), GeometryError> {
        self.payload = Geometry::new(self.payload.size(), chunk_size)?;
        let bytes = chunk_size.get().to_le_bytes();
        if let Some(field) = self.bytes.get_mut(CHUNK_SIZE_AT..CHUNK_SIZE_AT + bytes.len()) {
            field.copy_from_slice(&bytes);
        }
        Ok(())
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether the tree is an empty directory.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The entries, sorted bytewise by path.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry<'_>> {
        self.starts.iter().map(|start| self.entry(*start))
    }

    /// The entry at a path.
    pub fn find(&self, path: &[u8]) -> Option<Entry<'_>> {
        let at = self.starts.binary_search_by(|start| self.entry(*start).path.cmp(path)).ok()?;
        self.starts.get(at).map(|start| self.entry(*start))
    }

    fn entry(&self, start: u32) -> Entry<'_> {
        entry_at(&self.bytes, start).expect("parsed before, and never changed")
    }
}

impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let payload = self.payload.size();
        write!(f, "manifest of {} entries with {payload} bytes", self.starts.len())
    }
}

//! From the hash of a file to its number in the table. Only numbers are kept here; the hashes are
//! with the files.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use tnet_fileinfo::FileHash;

use super::FileId;

/// An index with room for this many files is made smaller when less than a quarter of it is used.
const SHRINK_FROM: usize = 1024;

/// The index. Keyed hashing: hashes of files are chosen outside.
#[derive(Debug)]
pub(super) struct FileIndex {
    ids: HashTable<FileId>,
    hasher: RandomState,
}

impl FileIndex {
    /// Bytes for each file, whatever happened before: four of a number and one of the table, filled
    /// to a quarter of seven eighths.
    pub(super) const BYTES_PER_FILE: usize = 24;

    pub(super) fn new() -> FileIndex {
        FileIndex { ids: HashTable::new(), hasher: RandomState::new() }
    }

    pub(super) fn find<'a>(
        &self,
        hash: &FileHash,
        hash_of: impl Fn(FileId) -> &'a FileHash,
    ) -> Option<FileId> {
        self.ids.find(self.hasher.hash_one(hash), |id| hash_of(*id) == hash).copied()
    }

    /// Adds a file that is not in it.
    pub(super) fn insert<'a>(
        &mut self,
        hash: &FileHash,
        id: FileId,
        hash_of: impl Fn(FileId) -> &'a FileHash,
    ) {
        let FileIndex { ids, hasher } = self;
        ids.insert_unique(hasher.hash_one(hash), id, |id| hasher.hash_one(hash_of(*id)));
    }

    /// Removes a file that is in it. `hash_of` must still know all others.
    pub(super) fn remove<'a>(
        &mut self,
        hash: &FileHash,
        id: FileId,
        hash_of: impl Fn(FileId) -> &'a FileHash,
    ) {
        let FileIndex { ids, hasher } = self;
        if let Ok(found) = ids.find_entry(hasher.hash_one(hash), |other| *other == id) {
            found.remove();
        }
        if ids.capacity() >= SHRINK_FROM && ids.len() < ids.capacity() / 4 {
            ids.shrink_to(ids.len() * 2, |id| hasher.hash_one(hash_of(*id)));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn reserved_bytes(&self) -> usize {
        self.ids.allocation_size()
    }
}

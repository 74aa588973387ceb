//! Maps the hash of a file to its number in the table. It stores only the numbers; the hashes are
//! stored with the files.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use tnet_fileinfo::FileHash;

use super::FileSlot;

/// An index with at least this capacity shrinks when less than a quarter of it is used.
const SHRINK_FROM: usize = 1024;

/// The index. Keyed hashing: peers choose the hashes of files.
#[derive(Debug)]
pub(super) struct FileIndex {
    ids: HashTable<FileSlot>,
    hasher: RandomState,
}

impl FileIndex {
    /// Upper bound of the bytes per file: four of a number and one of the hash table, at the lowest
    /// fill of a quarter of seven eighths.
    pub(super) const BYTES_PER_FILE: usize = 24;

    pub(super) fn new() -> FileIndex {
        FileIndex { ids: HashTable::new(), hasher: RandomState::new() }
    }

    pub(super) fn find<'a>(
        &self,
        hash: &FileHash,
        hash_of: impl Fn(FileSlot) -> &'a FileHash,
    ) -> Option<FileSlot> {
        self.ids.find(self.hasher.hash_one(hash), |id| hash_of(*id) == hash).copied()
    }

    /// Adds a file that is not in it.
    pub(super) fn insert<'a>(
        &mut self,
        hash: &FileHash,
        id: FileSlot,
        hash_of: impl Fn(FileSlot) -> &'a FileHash,
    ) {
        let FileIndex { ids, hasher } = self;
        ids.insert_unique(hasher.hash_one(hash), id, |id| hasher.hash_one(hash_of(*id)));
    }

    /// Removes a file that is in it. `hash_of` must still know all others.
    pub(super) fn remove<'a>(
        &mut self,
        hash: &FileHash,
        id: FileSlot,
        hash_of: impl Fn(FileSlot) -> &'a FileHash,
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

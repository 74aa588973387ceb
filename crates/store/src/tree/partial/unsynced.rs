//! What a power cut could still take from a tree that is being made.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Changes since the last sync that went through.
#[derive(Debug, Default)]
pub(super) struct Unsynced(Mutex<Changes>);

/// Changes that are not on the disk for sure.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Members with new bytes; each once, but for what a failed sync left.
    pub(super) members: Vec<u32>,
    /// Directories in which names were made or removed; the top is the empty path.
    pub(super) directories: HashSet<Box<[u8]>>,
    /// What an earlier process left is not known to be on the disk either.
    pub(super) is_all: bool,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.directories.is_empty() && !self.is_all
    }

    /// Things that have to be synced, if each is synced by itself.
    pub(super) fn count(&self) -> usize {
        if self.is_all { usize::MAX } else { self.members.len() + self.directories.len() }
    }
}

impl Unsynced {
    /// The member has new bytes. `note_it` says whether that is not noted yet; it is called with
    /// the changes locked, so that nobody relies on a note that is still to be made.
    pub(super) fn note_member(&self, member: u32, note_it: impl FnOnce() -> bool) {
        let mut changes = self.changes();
        if note_it() {
            changes.members.push(member);
        }
    }

    /// A name in this directory was made or removed.
    pub(super) fn note_directory(&self, path: &[u8]) {
        let mut changes = self.changes();
        if !changes.directories.contains(path) {
            changes.directories.insert(path.into());
        }
    }

    /// Nothing that is there is known to be on the disk.
    pub(super) fn note_all(&self) {
        self.changes().is_all = true;
    }

    /// All changes, which are about to be synced. `forget` is called for each member, with the
    /// changes locked: what is written to it from now on is noted anew.
    pub(super) fn take(&self, forget: impl Fn(u32)) -> Changes {
        let mut changes = self.changes();
        changes.members.iter().copied().for_each(forget);
        std::mem::take(&mut *changes)
    }

    /// The changes could not be synced.
    pub(super) fn put_back(&self, failed: Changes) {
        let mut changes = self.changes();
        changes.members.extend(failed.members);
        changes.directories.extend(failed.directories);
        changes.is_all |= failed.is_all;
    }

    // A poisoned lock is used: each change is complete in itself.
    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

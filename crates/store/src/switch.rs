//! The end of an update: the new directory takes the place of the old one in one step, then the old
//! one is removed. What each moment leaves, and what the same command makes of it:
//!
//! | crash or power cut after       | on disk                                            | next open                        |
//! |--------------------------------|----------------------------------------------------|----------------------------------|
//! | directories synced             | old tree; `.partial` and its journal, whole        | verifies all and finishes        |
//! | the journal named the old one  | the same                                           | the same                         |
//! | names exchanged, not synced    | the same, or the new tree and the old as `.partial`| the same, or as below            |
//! | part of the old one removed    | new tree; what is left of the old one as `.partial`| removes it: the journal names it |
//! | all of the old one removed     | new tree and a journal that speaks of it           | removes the journal              |
//!
//! The journal is the only proof that a `.partial` is an old tree that may be removed, so it goes
//! last.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::UNIX_EPOCH;

use tnet_fileinfo::FileInfo;
use tnet_fileinfo::shown_path;
use tnet_fileinfo::tree::Layout;

use super::error::OpenError;
use super::journal::{Format, Subject};
use super::resume;
use super::sys::{self, EntryKind, LockOutcome};
use super::target::Target;
use super::tree::{TreeListing, remove_tree};

/// What begins the last bytes of a journal that names the directory whose place was taken. It is no
/// valid record, so that it ends the journal for all who look for records.
const MARK: &[u8; 8] = b"replaced";
const NOTE_LEN: usize = 24;

/// The directory of an older tree, which is to be replaced.
#[derive(Debug)]
pub(super) struct OldTree {
    root: File,
}

impl OldTree {
    /// The output, if it can be exchanged and removed.
    ///
    /// # Errors
    /// Another file system is in it or below it, or the file system cannot exchange two names.
    pub(super) fn of(
        target: &Target,
        listing: &TreeListing,
        root: File,
    ) -> Result<Self, OpenError> {
        let path = target.path(target.out());
        let device = sys::entry(&root).map_err(|error| target.error(target.out(), error))?.device;
        if device != target.device() {
            return Err(OpenError::MountPoint { path });
        }
        if let Some(inner) = listing.mount_point() {
            return Err(OpenError::MountPoint { path: path.join(inner) });
        }
        match can_exchange(target) {
            Ok(true) => Ok(Self { root }),
            Ok(false) => Err(OpenError::NoExchange { path }),
            Err(error) => Err(target.error(target.out(), error)),
        }
    }

    /// Whether it still is the output; `None` if nothing has that name.
    pub(super) fn is_in_place(&self, target: &Target) -> io::Result<Option<bool>> {
        let ours = sys::entry(&self.root)?;
        let there = sys::entry_at(target.directory(), target.out())?;
        Ok(there.map(|there| there.is_same_file(&ours)))
    }

    /// Its permissions, for the new directory.
    pub(super) fn mode(&self) -> io::Result<u32> {
        Ok(sys::protection(&self.root)?.mode & 0o777)
    }

    /// Exchanges both names. From now on until this is dropped no other download takes the old
    /// directory, which is the `.partial` then, for its own.
    pub(super) fn exchange(&self, target: &Target) -> io::Result<()> {
        if matches!(sys::lock_exclusive(&self.root), Ok(LockOutcome::HeldElsewhere)) {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        note(target, &self.root.metadata()?)?;
        sys::exchange(target.directory(), target.partial(), target.out())
    }

    /// Removes it, after the exchange.
    pub(super) fn remove(&self, target: &Target) -> io::Result<()> {
        let ours = sys::entry(&self.root)?;
        match sys::entry_at(target.directory(), target.partial())? {
            Some(there) if there.is_same_file(&ours) => {
                remove_tree(target.directory(), target.partial())
            }
            _ => Ok(()),
        }
    }
}

/// Whether the file system can exchange two directories in one step: tried out.
fn can_exchange(target: &Target) -> io::Result<bool> {
    let stem = format!(".tnet-{:016x}", rand::random::<u64>());
    let names = [format!("{stem}-a"), format!("{stem}-b")];
    let directory = target.directory();
    let exchanged = names
        .iter()
        .try_for_each(|name| sys::make_directory(directory, name.as_ref(), 0o700))
        .map(|()| sys::exchange(directory, names[0].as_ref(), names[1].as_ref()).is_ok());
    for name in &names {
        let _ = sys::remove_directory(directory, name.as_ref());
    }
    exchanged
}

/// Says durably in the journal which directory is about to be replaced.
fn note(target: &Target, old: &Metadata) -> io::Result<()> {
    let journal = sys::open_existing(target.directory(), target.journal())?;
    journal.write_all_at(&note_of(old), journal.metadata()?.len())?;
    journal.sync_data()
}

fn note_of(old: &Metadata) -> [u8; NOTE_LEN] {
    let born = old.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    let born = born.and_then(|born| u64::try_from(born.as_nanos()).ok()).unwrap_or(0);
    let mut note = [0; NOTE_LEN];
    note[..8].copy_from_slice(MARK);
    note[8..16].copy_from_slice(&old.ino().to_le_bytes());
    note[16..].copy_from_slice(&born.to_le_bytes());
    note
}

/// Removes what a crash at the very end left beside the finished tree: the directory that it
/// replaced, and the journal of that very tree. Anything else there belongs to another download.
pub(super) fn remove_leftovers(target: &Target, finished: &File, info: &FileInfo, layout: &Layout) {
    // Best effort: all of it is only litter.
    let Ok(metadata) = finished.metadata() else { return };
    let subject = Subject { hash: layout.tree().manifest(), ..Subject::of(info, &metadata) };
    if resume::read_journal(target, &Format::new(&subject), metadata.uid()).is_none() {
        return;
    }
    if let Err(error) = remove_replaced(target, metadata.uid()) {
        let path = target.path(target.partial());
        tracing::warn!(path = %shown_path(&path), %error, "the directory that was replaced cannot be removed");
        return;
    }
    let _ = sys::remove(target.directory(), target.journal());
}

/// Removes the `.partial` if the journal names it as the directory that was replaced.
fn remove_replaced(target: &Target, owner: u32) -> io::Result<()> {
    let directory = target.directory();
    let there = sys::entry_at(directory, target.partial())?;
    if there.is_none_or(|entry| entry.kind != EntryKind::Directory) {
        return Ok(());
    }
    let old = File::from(sys::open_subdirectory(directory, target.partial())?);
    let Some(journal) = resume::find_journal(target, owner) else { return Ok(()) };
    let mut noted = [0; NOTE_LEN];
    let at = journal.metadata()?.len().checked_sub(NOTE_LEN as u64);
    let Some(at) = at else { return Ok(()) };
    journal.read_exact_at(&mut noted, at)?;
    if noted != note_of(&old.metadata()?)
        || matches!(sys::lock_exclusive(&old), Ok(LockOutcome::HeldElsewhere))
    {
        return Ok(());
    }
    remove_tree(directory, target.partial())
}

//! The directory of a tree that is being downloaded, as one file: the payload. Whatever was written
//! at a position of the payload is read there again, from the member that it belongs to.
//!
//! A member is created when its first bytes arrive, and is as long as what was written to it; a
//! missing one is a hole. Nothing outside the directory is written, read or removed, whatever
//! takes the place of a name in it: see [`Place`].

mod emptying;
mod fault;
mod finish;
mod handles;
mod place;
mod probe;
mod reading;
mod room;
mod sharing;
mod stock;
mod syncing;
mod unsynced;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tnet_fileinfo::tree::{Layout, MAX_COMPONENT_LEN, Member, Span};

use crate::block_file::BlockFile;
use crate::fingerprint::FileFingerprint;
use crate::sys;

pub(crate) use emptying::remove_any as remove_tree;
pub use fault::TreeFault;
use place::{Place, as_path, io_fault, name_of};
use stock::{Found, What, remove_everything, take_stock};

/// Bytes of a member that is worth keeping open between two uses. Smaller ones lie within few
/// chunks, and each is closed at once.
const WORTH_KEEPING: u64 = 256 * 1024;

/// Locks for creating members: two threads that write different members seldom wait for each other.
const CREATING: usize = 16;

/// The member is in the directory.
const PRESENT: u8 = 1;
/// It has bytes that are not known to be on the disk, and is noted among the unsynced ones.
const UNSYNCED: u8 = 2;

/// The directory of a tree that is being downloaded. All methods block.
#[derive(Debug)]
pub(crate) struct PartialTree {
    layout: Arc<Layout>,
    place: Place,
    /// [`PRESENT`] and [`UNSYNCED`], for each member.
    members: Box<[AtomicU8]>,
    creating: [Mutex<()>; CREATING],
    is_in_memory: bool,
    /// Bytes that the file system had allocated for members when this was opened.
    allocated: u64,
    /// Members that were there when this was opened.
    found: u32,
}

impl PartialTree {
    /// Takes over `directory`, which must be locked by the caller and accessible to no other user.
    /// What an earlier download left of the same tree or another one is kept where it can be of
    /// use; everything else in it is removed.
    ///
    /// # Errors
    /// Something in it can be neither used nor removed, or the file system refuses a name of the
    /// tree or takes two of them for one.
    pub(crate) fn open(layout: Arc<Layout>, directory: OwnedFd) -> Result<Self, TreeFault> {
        let mut tree = Self {
            members: (0..layout.member_count()).map(|_| AtomicU8::new(0)).collect(),
            is_in_memory: sys::is_in_memory(&directory),
            place: Place::new(directory)?,
            layout,
            creating: Default::default(),
            allocated: 0,
            found: 0,
        };
        tree.check_lengths()?;
        let (mut allocated, mut found_any) = (0_u64, false);
        let removed = take_stock(&tree.place, &tree.layout, &mut |found| {
            found_any = true;
            match found.what {
                What::Directory => tree.place.note_directory(found.path),
                What::Link => {}
                What::Member(number, member) => {
                    if found.entry.fingerprint.size > member.size() {
                        let file = tree.place.open_file(member.path)?;
                        file.set_len(member.size()).map_err(|error| io_fault(found.path, error))?;
                    }
                    let counted = member.size().next_multiple_of(room::BLOCK);
                    allocated += found.entry.allocated.min(counted);
                    tree.found += 1;
                    tree.members[number as usize].store(PRESENT, Ordering::Relaxed);
                }
            }
            Ok(())
        })?;
        if found_any || removed {
            tree.place.unsynced.note_all();
        }
        tree.allocated = allocated;
        if !tree.place.takes_all_names() {
            // So that what it does not take shows before any byte is written.
            tree.make_all()?;
        }
        Ok(tree)
    }

    /// Its open directory.
    pub(crate) fn directory(&self) -> &OwnedFd {
        self.place.top()
    }

    /// Which bytes of the payload are in which member.
    pub(crate) fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Whether the file system is in memory, so that no read or write waits for a disk.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.is_in_memory
    }

    /// Makes what has no bytes, gives everything its mode, syncs all, and compares every entry with
    /// the manifest by name, kind and size; answers with the fingerprint of each member. Call it
    /// when all chunks are stored and nothing writes any more. What remains is to rename the
    /// directory and to sync the one that it is in.
    ///
    /// # Errors
    /// Something is missing, in the way, or cannot be synced. Call it again when that was mended.
    pub(crate) fn finish(&self) -> Result<Vec<FileFingerprint>, TreeFault> {
        let is_there = |member| self.is_present(member);
        finish::make_missing(&self.place, &self.layout, &is_there, &|number| {
            self.create(number, &self.member(number)).map(drop)
        })?;
        self.place.handles.close_all();
        let fingerprints = finish::compare(&self.place, &self.layout)?;
        self.sync_data().map_err(|error| io_fault(b"", error))?;
        Ok(fingerprints)
    }

    /// Removes everything in the directory. The directory itself stays.
    ///
    /// # Errors
    /// Something could not be removed.
    pub(crate) fn discard(&self) -> Result<(), TreeFault> {
        self.place.handles.close_all();
        for member in &self.members {
            member.store(0, Ordering::Relaxed);
        }
        self.place.take_changes(|_| {});
        remove_everything(&self.place)
    }

    /// Refuses names that are too long for the file system. All others take what a manifest allows.
    fn check_lengths(&self) -> Result<(), TreeFault> {
        let Some(longest) = sys::longest_name(&self.place) else { return Ok(()) };
        if longest >= MAX_COMPONENT_LEN as u64 {
            return Ok(());
        }
        let is_too_long = |path: &[u8]| name_of(path).len() as u64 > longest;
        match self.layout.manifest().entries().find(|entry| is_too_long(entry.path)) {
            Some(entry) => Err(TreeFault::NameRefused { path: as_path(entry.path).to_owned() }),
            None => Ok(()),
        }
    }

    /// Makes every entry of the tree, members without their bytes, and looks whether each is there.
    fn make_all(&self) -> Result<(), TreeFault> {
        for number in 0..self.layout.member_count() {
            if !self.is_present(number) {
                self.create(number, &self.member(number))?;
            }
        }
        finish::make_missing(&self.place, &self.layout, &|_| true, &|_| Ok(()))?;
        let seen = |found: &Found<'_>| Ok(found.entry.fingerprint);
        finish::compare_names(&self.place, &self.layout, &seen).map(drop)
    }

    fn member(&self, number: u32) -> Member<'_> {
        self.layout.member(number).expect("spans are of members")
    }

    fn is_present(&self, number: u32) -> bool {
        self.members[number as usize].load(Ordering::Acquire) & PRESENT != 0
    }

    /// Writes to one member; answers how many bytes.
    fn write_span(&self, span: &Span, bytes: &[u8]) -> io::Result<usize> {
        let member = self.member(span.member);
        let is_kept = member.size() >= WORTH_KEEPING && span.len() < member.size();
        let file = match self.place.handles.find(span.member) {
            Some(file) => file,
            None => {
                let file = self.open_or_create(span.member, &member)?;
                if is_kept { self.place.handles.keep(span.member, file) } else { Arc::new(file) }
            }
        };
        let written = FileExt::write_at(&*file, bytes, span.within.start);
        // After the write: a sync that runs meanwhile either covers these bytes or leaves the note.
        self.note_written(span.member);
        written
    }

    fn note_written(&self, member: u32) {
        let flags = &self.members[member as usize];
        self.place
            .unsynced
            .note_member(member, || flags.fetch_or(UNSYNCED, Ordering::AcqRel) & UNSYNCED == 0);
    }

    fn open_or_create(&self, number: u32, member: &Member<'_>) -> Result<File, TreeFault> {
        if self.is_present(number) {
            return self.open_present(member);
        }
        let lock = &self.creating[number as usize % CREATING];
        // A poisoned lock is used: the member is there or not.
        let _alone = lock.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_present(number) {
            return self.open_present(member);
        }
        self.create(number, member)
    }

    fn open_present(&self, member: &Member<'_>) -> Result<File, TreeFault> {
        self.place.open_file(member.path)
    }

    fn create(&self, number: u32, member: &Member<'_>) -> Result<File, TreeFault> {
        let file = self.create_without_room(number, member)?;
        room::reserve(&file, member.size()).map_err(|error| io_fault(member.path, error))?;
        Ok(file)
    }

    fn create_without_room(&self, number: u32, member: &Member<'_>) -> Result<File, TreeFault> {
        let file = self.place.create_file(member.path, member.is_executable)?;
        self.members[number as usize].fetch_or(PRESENT, Ordering::AcqRel);
        Ok(file)
    }
}

impl BlockFile for PartialTree {
    /// Answers with less than all after an error within, which the next call meets again.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        let mut done = 0;
        for span in self.layout.spans(position..position.saturating_add(bytes.len() as u64)) {
            let rest = &bytes[done..];
            let part = usize::try_from(span.len()).map_or(rest, |len| &rest[..len]);
            match self.write_span(&span, part) {
                Ok(written) => {
                    done += written;
                    if written < part.len() {
                        break;
                    }
                }
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync_changes()
    }
}

#[cfg(test)]
mod tests;

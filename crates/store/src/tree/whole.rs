//! The members of a complete tree, read as one content. Each has the fingerprint that it was shared
//! with: a member that is changed, replaced or deleted withdraws the chunks it is in, and only
//! those. They are served again when they have been read and are right.
//!
//! A withdrawn member counts from then on by the fingerprint it has now, so its chunks can be
//! proven one by one. The flaws are set before the new fingerprint counts, and a reader compares
//! with the fingerprint that counted before it read and looks at the flaws afterwards: no order of
//! the two lets bytes through that nobody verified.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tnet_fileinfo::tree::Layout;
use tnet_fileinfo::{ChunkIndex, Geometry};

use crate::beneath;
use crate::cached_part::CachedPart;
use crate::content_bytes::ContentBytes;
use crate::fd_cache::{CachedFile, FdCache};
use crate::file_state::FileState;
use crate::fingerprint::FileFingerprint;
use crate::flaws::{Flaw, Flaws};
use crate::sys;

/// Smaller members are closed after each read: they are read in one piece.
const KEPT_OPEN: u64 = 128 * 1024;

/// A complete tree.
#[derive(Debug)]
pub(crate) struct WholeTree {
    layout: Arc<Layout>,
    geometry: Geometry,
    path: Arc<Path>,
    root: Mutex<Arc<OwnedFd>>,
    /// What each member counts by. A deleted one has that of no file.
    counted: Mutex<Vec<FileFingerprint>>,
    /// Chunks withdrawn since they were last asked for.
    withdrawn: Mutex<BTreeSet<u32>>,
    flaws: Arc<Flaws>,
    open: Mutex<BTreeMap<u32, Arc<CachedFile>>>,
    among: Option<FdCache>,
    is_in_memory: bool,
}

impl WholeTree {
    /// The tree at `path`, which `root` was opened at, with the fingerprint of each member. Its
    /// payload is served in chunks of this geometry, which may be others than the manifest says.
    pub(crate) fn new(
        layout: Arc<Layout>,
        geometry: Geometry,
        path: Arc<Path>,
        root: OwnedFd,
        fingerprints: Vec<FileFingerprint>,
    ) -> Self {
        let is_in_memory = sys::is_in_memory(&root);
        Self {
            layout,
            geometry,
            path,
            root: Mutex::new(Arc::new(root)),
            counted: Mutex::new(fingerprints),
            withdrawn: Mutex::default(),
            flaws: Arc::default(),
            open: Mutex::default(),
            among: None,
            is_in_memory,
        }
    }

    pub(crate) fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    pub(crate) fn is_in_memory(&self) -> bool {
        self.is_in_memory
    }

    /// The chunks that are not served.
    pub(crate) fn flaws(&self) -> &Arc<Flaws> {
        &self.flaws
    }

    /// Counts the open members against this cache.
    pub(crate) fn limit_by(&mut self, others: &FdCache) {
        self.among = Some(others.clone());
        lock(&self.open).clear();
    }

    /// Closes the members that were not read since the last call, and those that have no name any
    /// more.
    pub(crate) fn close_idle(&self) {
        lock(&self.open).retain(|_, file| {
            file.close_if_idle();
            file.peek().is_some_and(|file| file.metadata().is_ok_and(|now| now.nlink() > 0))
        });
    }

    /// Compares all members with what they count by. Those that differ withdraw their chunks.
    pub(crate) fn state(&self) -> FileState {
        match sys::open_directory(&self.path) {
            Ok(root) => *lock(&self.root) = Arc::new(root),
            Err(_) => return FileState::Gone,
        }
        let root = Arc::clone(&lock(&self.root));
        for number in 0..self.layout.member_count() {
            let found = self.path_of(number).and_then(|path| beneath::fingerprint_at(&*root, path));
            self.compare(number, found.unwrap_or_default());
        }
        match lock(&self.withdrawn).is_empty() {
            true => FileState::Unchanged,
            false => FileState::MembersChanged,
        }
    }

    /// The chunks that were withdrawn since the last call, because a member of theirs differs.
    pub(crate) fn take_withdrawn(&self) -> Vec<ChunkIndex> {
        let withdrawn = std::mem::take(&mut *lock(&self.withdrawn));
        withdrawn.into_iter().filter_map(|index| self.geometry.chunk(index)).collect()
    }

    /// Where bytes of the payload are, if one open member holds them all and they are in memory.
    pub(crate) fn cached_part(&self, position: u64, len: u32) -> Option<CachedPart> {
        let range = position..position.checked_add(len.into())?;
        let span = self.layout.spans(range).next().filter(|span| span.len() == u64::from(len))?;
        let seen = self.counted_by(span.member);
        let file = lock(&self.open).get(&span.member)?.opened()?;
        let at = span.within.start;
        let is_cached = |at| sys::read_cached(&file, &mut [0], at);
        let is_at_hand = self.is_in_memory || is_cached(at) && is_cached(span.within.end - 1);
        (is_at_hand && is_as(&file, seen)).then_some(CachedPart {
            file,
            position: at,
            seen: Some(seen),
            member: Some(span.member),
        })
    }

    /// Whether an open member is still what it was when the part was looked up. One that is not
    /// withdraws its chunks.
    pub(crate) fn is_unchanged(&self, part: &CachedPart) -> bool {
        let Some((member, seen)) = part.member.zip(part.seen) else { return false };
        let found = fingerprint_of(&part.file);
        if found != seen {
            self.look_again(member);
        }
        found == seen
    }

    /// The member, open, and what it counts by.
    fn open(&self, number: u32, size: u64) -> io::Result<(Arc<File>, FileFingerprint)> {
        let seen = self.counted_by(number);
        let kept = lock(&self.open).get(&number).and_then(|kept| kept.opened());
        if let Some(file) = kept {
            return Ok((file, seen));
        }
        let root = Arc::clone(&lock(&self.root));
        let file = Arc::new(beneath::open(&*root, self.path_of(number)?)?);
        if size >= KEPT_OPEN {
            self.keep(number, &file);
        }
        Ok((file, seen))
    }

    fn keep(&self, number: u32, file: &Arc<File>) {
        let Some(others) = &self.among else { return };
        let mut kept = CachedFile::new(Arc::clone(file));
        kept.limit_by(others, &self.path);
        if kept.peek().is_some() {
            lock(&self.open).insert(number, Arc::new(kept));
        }
    }

    fn path_of(&self, number: u32) -> io::Result<&Path> {
        let member = self.layout.member(number).ok_or(io::ErrorKind::NotFound)?;
        Ok(Path::new(std::ffi::OsStr::from_bytes(member.path)))
    }

    fn counted_by(&self, number: u32) -> FileFingerprint {
        lock(&self.counted).get(number as usize).copied().unwrap_or_default()
    }

    /// Compares a member with what is at its path now.
    fn look_again(&self, number: u32) {
        lock(&self.open).remove(&number);
        let root = Arc::clone(&lock(&self.root));
        let found = self.path_of(number).and_then(|path| beneath::fingerprint_at(&*root, path));
        self.compare(number, found.unwrap_or_default());
    }

    /// A member that does not look as it counts by withdraws its chunks.
    fn compare(&self, number: u32, found: FileFingerprint) {
        if found == self.counted_by(number) {
            return;
        }
        let Some(member) = self.layout.member(number) else { return };
        lock(&self.open).remove(&number);
        let chunks = self.chunks_in(&member.range);
        let mut withdrawn = lock(&self.withdrawn);
        for index in chunks {
            if let Some(chunk) = self.geometry.chunk(index) {
                self.flaws.set(&self.geometry, chunk, Some(Flaw::Unreadable));
                withdrawn.insert(index);
            }
        }
        drop(withdrawn);
        // Only now: see the head of this file.
        if let Some(counted) = lock(&self.counted).get_mut(number as usize) {
            *counted = found;
        }
    }

    fn chunks_in(&self, range: &Range<u64>) -> Range<u32> {
        let size = u64::from(self.geometry.chunk_size().get());
        let index = |at: u64| u32::try_from(at).unwrap_or(u32::MAX);
        match range.is_empty() {
            true => 0..0,
            false => index(range.start / size)..index((range.end - 1) / size) + 1,
        }
    }
}

impl ContentBytes for WholeTree {
    /// A member that is not what it was is an end of the bytes.
    fn read_exact_at(&self, mut buf: &mut [u8], position: u64) -> io::Result<()> {
        for span in self.layout.spans(position..position + buf.len() as u64) {
            let size = self.layout.member(span.member).map_or(0, |member| member.size());
            let (now, later) = buf.split_at_mut(usize::try_from(span.len()).unwrap_or(usize::MAX));
            let read = self.open(span.member, size).and_then(|(file, seen)| {
                FileExt::read_exact_at(&*file, now, span.within.start)?;
                match is_as(&file, seen) {
                    true => Ok(()),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                }
            });
            if let Err(error) = read {
                let is_other = error.kind() == io::ErrorKind::UnexpectedEof
                    || beneath::leads_elsewhere(&error);
                if !is_other {
                    return Err(error);
                }
                self.look_again(span.member);
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buf = later;
        }
        match buf.is_empty() {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn read_cached(&self, mut buf: &mut [u8], position: u64) -> bool {
        for span in self.layout.spans(position..position + buf.len() as u64) {
            let (now, later) = buf.split_at_mut(usize::try_from(span.len()).unwrap_or(usize::MAX));
            let seen = self.counted_by(span.member);
            let open = lock(&self.open).get(&span.member).and_then(|kept| kept.opened());
            let is_read = open.is_some_and(|file| {
                sys::read_cached(&file, now, span.within.start) && is_as(&file, seen)
            });
            if !is_read {
                return false;
            }
            buf = later;
        }
        buf.is_empty()
    }

    fn drop_cached(&self, range: Range<u64>) {
        for span in self.layout.spans(range) {
            if let Ok((file, _)) = self.open(span.member, 0) {
                sys::drop_cached(&file, span.within);
            }
        }
    }
}

fn is_as(file: &File, seen: FileFingerprint) -> bool {
    fingerprint_of(file) == seen
}

/// That of no file if it has no name any more.
fn fingerprint_of(file: &File) -> FileFingerprint {
    match file.metadata() {
        Ok(now) if now.nlink() > 0 => FileFingerprint::of(&now),
        _ => FileFingerprint::default(),
    }
}

// A poisoned lock is used: what is behind it changes in single steps.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

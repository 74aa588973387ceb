//! A file being downloaded. Its final name stands for the complete, verified file or for what was
//! there before, never for anything between.
//!
//! Verified chunks are written to `OUT.partial`; only [`Download::finish`] renames it to `OUT`, and
//! only when every chunk is on the disk.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use tnet_fileinfo::tree::Layout;
use tnet_fileinfo::{ChunkIndex, ChunkSet, FileInfo, ProgressFn, shown_path};

use super::cached_part::CachedPart;
use super::chunk_reader::{ChunkReader, ChunkVerdict};
use super::chunk_writer::ChunkWriter;
use super::disks::{Disks, Feature, Promise};
use super::error::{DiscardError, FinishError, OpenError, ReadError, SyncError, WriteError};
use super::file_store::FileStore;
use super::fingerprint::FileFingerprint;
use super::open::{open, sync_directory};
use super::open_tree::open_tree;
use super::page_cache::PageCache;
use super::partial::Partial;
use super::partial_bytes::PartialBytes;
use super::replaced::{LostMetadata, ReplacedFile};
use super::reservation;
use super::resume;
use super::switch::OldTree;
use super::sys::{self, Entry};
use super::target::Target;
use super::tree::PartialTree;

/// What to do about a file that has the output's name and other content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnExisting {
    /// Keep it: the download is refused.
    #[default]
    Refuse,
    /// Replace it atomically once the download is complete.
    Replace,
}

/// How a download is opened.
///
/// Exhaustive, for `..DownloadOptions::default()`; new fields have defaults.
#[derive(Debug, Clone, Default)]
pub struct DownloadOptions {
    /// What to do about an existing output with other content.
    pub existing: OnExisting,
    /// The directory of the output, if the caller opened it already.
    pub directory: Option<Arc<OwnedFd>>,
    /// The mode of a new file; `None`: as the umask says.
    pub mode: Option<u32>,
    /// Must be shared by all downloads of this process.
    pub disks: Disks,
    /// The output is the directory of this tree, and the content its payload; `None`: a file.
    pub tree: Option<Arc<Layout>>,
    /// What is at the output is replaced as with [`OnExisting::Replace`], a directory by a tree
    /// too, in one step; chunks that are right there already are taken from it.
    pub update: bool,
    /// Files and directories from which chunks are taken too.
    pub reuse: Vec<PathBuf>,
}

/// The result of opening a download.
///
/// Exhaustive: a caller must decide about each case.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "made once for a download and taken apart at once")]
pub enum Opened {
    /// The output is already exactly that file.
    Complete(FileStore),
    /// The download has begun or is resumed. The set has the chunks that an earlier attempt left:
    /// they are stored, or [vouched for](Download::vouched) and still to be
    /// [verified](Download::check_vouched). The others must be fetched.
    Partial(Download, ChunkSet),
}

/// A file being downloaded. All methods block; share it in an `Arc`.
#[derive(Debug)]
pub struct Download {
    pub(super) info: FileInfo,
    target: Target,
    options: DownloadOptions,
    /// The directory whose place the tree takes.
    pub(super) replaces: Option<OldTree>,
    partial: Partial,
    promise: Promise,
    /// A write, a sync or a reservation failed for lack of space.
    lacked_room: AtomicBool,
    /// Some metadata of the replaced file could not be kept.
    lost_attributes: AtomicBool,
    pub(super) bytes: PartialBytes,
    pub(super) writer: ChunkWriter<PartialBytes, File>,
    /// Held for reading while the files are used, for writing to end that. So nothing is written to
    /// a file that has its final name. Taken before any lock of the writer.
    phase: RwLock<Phase>,
    is_in_memory: bool,
    /// Whether the last write to a file in memory was slow.
    was_slow: AtomicBool,
    pub(super) page_cache: PageCache,
}

/// A write to memory that takes longer than this waited for something.
const SLOW: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    Finished,
    Closed,
}

/// What got its name.
enum Named {
    File(FileFingerprint),
    Tree { layout: Arc<Layout>, root: OwnedFd, fingerprints: Vec<FileFingerprint> },
}

impl Download {
    /// Begins or resumes the download of `info` to `out`, with the space of its first bytes
    /// reserved; see [`reserve_rest`](Self::reserve_rest).
    ///
    /// `OUT.partial` is judged by its content alone: each chunk in it that is right is kept, also
    /// if it was written for another file, and the rest is overwritten. What the journal vouches
    /// for is not read yet; everything else that could be right is read, and `progress` is called
    /// for it.
    ///
    /// # Errors
    /// See [`OpenError`]. A `.partial` made by this call is removed again.
    pub fn open(
        info: &FileInfo,
        out: &Path,
        mut options: DownloadOptions,
        progress: ProgressFn<'_>,
    ) -> Result<Opened, OpenError> {
        if options.update {
            options.existing = OnExisting::Replace;
        }
        match options.tree.clone() {
            None => open(info, out, options, progress),
            Some(layout) => open_tree(info, &layout, out, options, progress),
        }
    }

    pub(super) fn new(
        info: FileInfo,
        target: Target,
        options: DownloadOptions,
        partial: Partial,
        bytes: PartialBytes,
        writer: ChunkWriter<PartialBytes, File>,
        promise: Promise,
    ) -> Self {
        let is_in_memory = sys::is_in_memory(partial.file());
        let page_cache = PageCache::new(info.geometry(), sys::memory_bytes());
        let phase = RwLock::new(Phase::Open);
        Self {
            info,
            target,
            options,
            replaces: None,
            partial,
            promise,
            lacked_room: AtomicBool::new(false),
            lost_attributes: AtomicBool::new(false),
            bytes,
            writer,
            phase,
            is_in_memory,
            was_slow: AtomicBool::new(false),
            page_cache,
        }
    }

    /// Reserves the remaining space while chunks are written. Returns early when the download ends.
    ///
    /// # Errors
    /// [`WriteError::Reserve`]: the disk has filled up or failed.
    pub fn reserve_rest(&self) -> Result<(), WriteError> {
        if self.layout().is_some()
            || !reservation::is_in_steps(self.file())
            || reservation::is_plenty(self.file(), self.info.size())
        {
            return Ok(());
        }
        let reserved = reservation::go_on(self.info.size(), |from, len| match *self.phase() {
            Phase::Open => sys::reserve(self.file(), from, len).map(Some),
            Phase::Finished | Phase::Closed => Ok(None),
        });
        reserved.map_err(|source| {
            let error = WriteError::Reserve { path: self.partial_path(), source };
            self.note_room(&error);
            error
        })
    }

    /// Whether a lock keeps other processes from writing to the file. If not, all of it must be
    /// read once more before it is finished.
    pub fn is_guarded(&self) -> bool {
        self.partial.is_guarded()
    }

    fn note_room(&self, error: &WriteError) {
        if error.is_disk_full() {
            self.lacked_room.store(true, Ordering::Relaxed);
        }
    }

    /// Stores a chunk whose bytes were verified. A chunk that is stored already is left alone.
    ///
    /// # Errors
    /// See [`WriteError`]; the chunk is not stored then.
    ///
    /// # Panics
    /// `bytes` is not exactly as long as the chunk, so it cannot have been verified.
    pub fn write_chunk(&self, chunk: ChunkIndex, bytes: &[u8]) -> Result<(), WriteError> {
        match *self.phase() {
            Phase::Closed => Err(WriteError::Closed),
            // In `Finished` every chunk is stored, so this writes nothing.
            Phase::Open | Phase::Finished => {
                let began = Instant::now();
                let written = self.writer.write_chunk(chunk, bytes);
                self.was_slow.store(began.elapsed() > SLOW, Ordering::Relaxed);
                match &written {
                    Ok(()) => self.promise.note_stored(bytes.len() as u64),
                    Err(error) => self.note_room(error),
                }
                written
            }
        }
    }

    /// Lets a download without a stored chunk share the blocks of a file of the same size
    /// (reflink), if the file system can: no byte is read or written. Chunks count as stored when
    /// they are [adopted](Self::adopt_chunk).
    pub fn share_blocks(&self, whole: &FileStore) -> bool {
        let phase = self.phase();
        *phase == Phase::Open
            && self.layout().is_none()
            && self.writer.stored().is_empty()
            && self.writer.vouched().is_empty()
            && whole.info().size() == self.info.size()
            && whole.open_now().is_some_and(|whole| sys::reflink(&whole, self.file()))
    }

    /// Stores a chunk whose bytes are in the file already, if they have the right sum. `buf` is
    /// scratch memory.
    ///
    /// # Errors
    /// The bytes cannot be read.
    pub fn adopt_chunk(&self, chunk: ChunkIndex, buf: &mut Vec<u8>) -> Result<bool, ReadError> {
        buf.resize(self.info.geometry().chunk_len(chunk) as usize, 0);
        let phase = self.phase();
        self.reader().read(chunk, 0, buf)?;
        Ok(*phase == Phase::Open && self.info.verify(chunk, buf) && self.writer.adopt_chunk(chunk))
    }

    /// Makes every chunk stored so far survive a power cut, and records it in the journal; returns
    /// those that newly do.
    ///
    /// # Errors
    /// See [`SyncError`]: chunks may be lost, and are not stored any more.
    pub fn sync(&self) -> Result<ChunkSet, SyncError> {
        // The guard is held to the end: the phase must not change during the sync.
        let phase = self.phase();
        match *phase {
            Phase::Open => {
                let synced = self.writer.sync()?;
                self.page_cache.on_synced(&self.bytes, &synced);
                Ok(synced)
            }
            Phase::Finished => Ok(ChunkSet::empty(self.info.geometry())),
            Phase::Closed => Err(SyncError::Closed),
        }
    }

    /// Fills `buf` with the bytes of a stored chunk from `offset` (bytes from the start of the
    /// chunk).
    ///
    /// # Errors
    /// The chunk is not stored, the part is not in it, or the file was truncated.
    pub fn read_chunk_part(
        &self,
        chunk: ChunkIndex,
        offset: u32,
        buf: &mut [u8],
    ) -> Result<(), ReadError> {
        if !self.writer.is_stored(chunk) {
            return Err(ReadError::NotStored { chunk });
        }
        self.reader().read(chunk, offset, buf)
    }

    /// As [`read_chunk_part`](Self::read_chunk_part), but only if it needs no disk; `None` if it
    /// would, or if that is not known.
    pub fn read_chunk_part_at_once(
        &self,
        chunk: ChunkIndex,
        offset: u32,
        buf: &mut [u8],
    ) -> Option<Result<(), ReadError>> {
        if !self.writer.is_stored(chunk) {
            return Some(Err(ReadError::NotStored { chunk }));
        }
        self.reader().read_at_once(chunk, offset, buf)
    }

    /// Whether a chunk is stored.
    pub fn is_stored(&self, chunk: ChunkIndex) -> bool {
        self.writer.is_stored(chunk)
    }

    /// Reads a stored chunk and compares it with its sum; `None` if it is not stored. `buf` is
    /// scratch memory.
    pub fn inspect(&self, chunk: ChunkIndex, buf: &mut Vec<u8>) -> Option<ChunkVerdict> {
        let inspect = || self.reader().inspect(chunk, buf).unwrap_or_else(ChunkVerdict::Failed);
        self.writer.is_stored(chunk).then(inspect)
    }

    /// Marks a stored chunk that is wrong or unreadable as missing: it may be written again. Must
    /// not be called while the download is being [finished](Self::finish). Does not block.
    pub fn lose_chunk(&self, chunk: ChunkIndex) -> bool {
        self.writer.lose_chunk(chunk)
    }

    /// Whether the file system is in memory, so that no read waits for a disk.
    pub fn is_in_memory(&self) -> bool {
        self.is_in_memory
    }

    /// Where a part of a stored chunk is, for `sendfile`, if it is in memory; `None` if it is not,
    /// or if that is not known.
    pub fn cached_part(&self, chunk: ChunkIndex, offset: u32, len: u32) -> Option<CachedPart> {
        if !self.writer.is_stored(chunk) {
            return None;
        }
        let position = self.reader().position(chunk, offset, len.into())?;
        self.bytes.cached_part(position, len, self.is_in_memory)
    }

    pub(super) fn reader(&self) -> ChunkReader<'_, PartialBytes> {
        ChunkReader { bytes: &self.bytes, info: &self.info, is_in_memory: self.is_in_memory }
    }

    /// Whether the next write is likely not to wait: the file is in memory, and the last write was
    /// not slow.
    pub fn writes_at_once(&self) -> bool {
        self.is_in_memory && !self.was_slow.load(Ordering::Relaxed)
    }

    /// Turns the `.partial` into the output, durably, and keeps it open for serving. Every chunk in
    /// it was verified by this process: before it was written, or in the file, which this process
    /// has locked since.
    ///
    /// # Errors
    /// See [`FinishError`]. If the output appeared meanwhile and was not to be replaced, the
    /// `.partial` stays.
    pub fn finish(&self) -> Result<FileStore, FinishError> {
        let mut phase = self.phase_mut();
        if *phase != Phase::Open {
            return Err(FinishError::Closed);
        }
        match self.writer.missing_count() {
            0 => {}
            missing => return Err(FinishError::Incomplete { missing }),
        }
        // The journal is not written: it is removed below.
        self.writer.sync_data().map_err(|source| FinishError::Sync { source })?;
        let finished = match &self.bytes {
            PartialBytes::File(_) => self.name_file()?,
            PartialBytes::Tree(tree) => self.name_tree(tree)?,
        };
        *phase = Phase::Finished;
        self.promise.end();
        // Before the journal is removed: a power cut must not remove the journal and leave the old
        // name.
        sync_directory(&self.target, &self.options.disks);
        // A journal that stays does no harm: it names the inode of the finished file, which no
        // `.partial` can have. It is closed first: a network file system keeps a file that is
        // removed while it is open, under another name.
        self.writer.close_journal();
        let is_old_removed = self.replaces.as_ref().is_none_or(|old| self.remove_old(old));
        if is_old_removed {
            let _ = sys::remove(self.target.directory(), self.target.journal());
        }
        if self.layout().is_some() {
            let _ = sys::remove(self.target.directory(), self.target.manifest());
        }
        self.partial.unlock();
        self.target.relocate();
        let (info, path) = (self.info.clone(), self.path());
        Ok(match finished {
            Named::File(fingerprint) => {
                FileStore::new(Arc::clone(self.partial.file()), info, path, fingerprint)
                    .found_by(self.target.origin())
            }
            Named::Tree { layout, root, fingerprints } => {
                FileStore::of_payload(layout, info, path, root, fingerprints)
            }
        })
    }

    fn name_file(&self) -> Result<Named, FinishError> {
        self.carry_over();
        let before = self.fingerprint_of_partial()?;
        self.rename()?;
        // Renaming changes the time of change. If anything else differs too, the old fingerprint is
        // kept, and the next read notices.
        let after = sys::fingerprint(self.file()).unwrap_or(before);
        Ok(Named::File(if after.is_touched(&before) { after } else { before }))
    }

    fn name_tree(&self, tree: &PartialTree) -> Result<Named, FinishError> {
        let failed = |source| FinishError::Rename { path: self.path(), source };
        let of_tree = |fault| FinishError::Tree { path: self.path(), fault };
        let fingerprints = tree.finish().map_err(of_tree)?;
        let root = tree.directory().try_clone().map_err(failed)?;
        if self.partial_entry().map_err(failed)?.is_none() {
            return Err(FinishError::Gone { path: self.partial_path() });
        }
        match &self.replaces {
            None => self.rename()?,
            Some(old) => self.switch(old, tree)?,
        }
        Ok(Named::Tree { layout: Arc::clone(tree.layout()), root, fingerprints })
    }

    /// Gives the tree its name, and the directory that had it the name of the `.partial`.
    fn switch(&self, old: &OldTree, tree: &PartialTree) -> Result<(), FinishError> {
        let failed = |source| FinishError::Rename { path: self.path(), source };
        match old.is_in_place(&self.target).map_err(failed)? {
            // It was moved away.
            None => return self.rename(),
            Some(false) => return Err(FinishError::Exists { path: self.path() }),
            Some(true) => {}
        }
        // Never more readable than what it replaces. Where modes cannot be changed there are none.
        let _ = sys::set_mode(tree.directory(), old.mode().map_err(failed)?);
        old.exchange(&self.target).map_err(failed)
    }

    /// Finishes a tree as far as the exchange, as a process does that is killed then.
    #[cfg(test)]
    pub(super) fn exchange_and_die(&self) {
        let PartialBytes::Tree(tree) = &self.bytes else { unreachable!("of a tree") };
        self.name_tree(tree).expect("all is there");
    }

    /// Removes the directory that was replaced; false if that failed. The next download to the same
    /// output tries it again.
    fn remove_old(&self, old: &OldTree) -> bool {
        let removed = old.remove(&self.target);
        if let Err(error) = &removed {
            let path = self.partial_path();
            tracing::warn!(path = %shown_path(&path), %error, "the directory that was replaced cannot be removed");
        }
        removed.is_ok()
    }

    /// Ends the download and leaves its files for resuming, synced so that a restart need not hash
    /// them. Open readers may continue; another [`Download::open`] may begin. Dropping does the
    /// same without the sync.
    ///
    /// # Errors
    /// See [`SyncError`]; the download is closed in any case.
    pub fn abandon(&self) -> Result<(), SyncError> {
        let mut phase = self.phase_mut();
        if *phase != Phase::Open {
            return Ok(());
        }
        *phase = Phase::Closed;
        let synced = self.writer.sync();
        self.promise.end();
        if self.lacked_room.load(Ordering::Relaxed) {
            self.give_back();
        }
        self.partial.unlock();
        synced.map(drop)
    }

    /// Ends the download and removes its files. Does nothing to a finished or abandoned one.
    ///
    /// # Errors
    /// A file could not be removed; the download is closed in any case.
    pub fn discard(&self) -> Result<(), DiscardError> {
        let mut phase = self.phase_mut();
        if *phase != Phase::Open {
            return Ok(());
        }
        *phase = Phase::Closed;
        self.writer.close_journal();
        self.promise.end();
        // The journal first: a crash in between leaves data that no journal vouches for, never the
        // reverse. That of a tree is only emptied: a directory without a journal is not ours.
        self.discard_name(self.target.journal(), |this| match this.layout() {
            None => sys::remove(this.target.directory(), this.target.journal()),
            Some(_) => resume::empty_journal(&this.target),
        })?;
        self.discard_name(self.target.partial(), |this| match this.partial_entry()? {
            Some(_) => this.remove_partial(),
            None => Ok(()), // the name is another file's by now
        })?;
        self.discard_name(self.target.journal(), |this| {
            sys::remove(this.target.directory(), this.target.journal())
        })?;
        self.partial.unlock();
        Ok(())
    }

    fn remove_partial(&self) -> io::Result<()> {
        let directory = self.target.directory();
        let PartialBytes::Tree(tree) = &self.bytes else {
            return sys::remove(directory, self.target.partial());
        };
        tree.discard()?;
        sys::remove_directory(directory, self.target.partial())?;
        sys::remove(directory, self.target.manifest())
    }

    /// Whether the `.partial` is still where it was made; if not, the download can never finish. If
    /// its directory was moved, its paths are the new ones from now on.
    pub fn is_in_place(&self) -> bool {
        self.target.relocate();
        *self.phase() == Phase::Finished || matches!(self.partial_entry(), Ok(Some(_)))
    }

    /// The chunks stored so far, durable or not. Each was verified by this process.
    pub fn stored(&self) -> ChunkSet {
        self.writer.stored()
    }

    /// The chunks that an earlier process stored and this one has not
    /// [verified](Self::check_vouched) yet.
    pub fn vouched(&self) -> ChunkSet {
        self.writer.vouched()
    }

    /// The open file, for `sendfile` of stored chunks. Its cursor has no meaning: read at positions
    /// only.
    pub fn file(&self) -> &File {
        self.partial.file()
    }

    /// What the file lacks because its file system does not support it, as text for the user.
    pub fn notes(&self) -> Vec<&'static str> {
        let mut notes = self.options.disks.lacking_for_all(self.target.device());
        notes.extend(
            self.lost_attributes.load(Ordering::Relaxed).then(|| Feature::Attributes.consequence()),
        );
        notes
    }

    /// What is being downloaded.
    pub fn info(&self) -> &FileInfo {
        &self.info
    }

    /// The layout, if it is the payload of a tree.
    pub fn layout(&self) -> Option<&Arc<Layout>> {
        self.bytes.layout()
    }

    /// Where the finished file will be; absolute.
    pub fn path(&self) -> PathBuf {
        self.target.path(self.target.out())
    }

    /// Where the file is until then; absolute.
    pub fn partial_path(&self) -> PathBuf {
        self.target.path(self.target.partial())
    }

    /// Keeps only the space of stored chunks, and lets another download that could finish with it
    /// take even that.
    fn give_back(&self) {
        if self.layout().is_some() {
            return; // only members that have bytes take space
        }
        let mut kept = self.writer.stored();
        kept.union_with(&self.writer.vouched());
        for chunk in kept.missing() {
            sys::punch_hole(self.file(), self.info.geometry().range(chunk));
        }
        self.options.disks.ended_without_room(self.file(), &self.path());
    }

    /// Carries the metadata of a replaced file over to the new one.
    fn carry_over(&self) {
        if self.options.existing != OnExisting::Replace {
            return;
        }
        let Some(old) = ReplacedFile::at(&self.target) else { return };
        if let Err(LostMetadata { what, source }) = old.carry_to(self.file()) {
            self.lost_attributes.store(true, Ordering::Relaxed);
            let error = io::Error::new(source.kind(), format!("{what}: {source}"));
            self.options.disks.lacks(
                self.target.device(),
                Feature::Attributes,
                &self.path(),
                &error,
            );
        }
    }

    /// The fingerprint of the `.partial`, if its name still leads to the file that we wrote, at its
    /// full length.
    fn fingerprint_of_partial(&self) -> Result<FileFingerprint, FinishError> {
        let gone = || FinishError::Gone { path: self.partial_path() };
        let failed = |source| FinishError::Rename { path: self.path(), source };
        let entry = self.partial_entry().map_err(failed)?.ok_or_else(gone)?;
        if entry.fingerprint.size == self.info.size() { Ok(entry.fingerprint) } else { Err(gone()) }
    }

    /// The metadata under the name of the `.partial`, if it is our file.
    fn partial_entry(&self) -> io::Result<Option<Entry>> {
        let ours = sys::entry(self.file())?;
        let entry = sys::entry_at(self.target.directory(), self.target.partial())?;
        Ok(entry.filter(|entry| entry.is_same_file(&ours)))
    }

    fn rename(&self) -> Result<(), FinishError> {
        let (directory, from, to) =
            (self.target.directory(), self.target.partial(), self.target.out());
        let renamed = match self.options.existing {
            // A directory replaces none by renaming.
            _ if self.layout().is_some() => sys::rename_new(directory, from, to),
            OnExisting::Refuse => sys::rename_new(directory, from, to),
            OnExisting::Replace => sys::rename_replacing(directory, from, to),
        };
        renamed.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => FinishError::Exists { path: self.path() },
            io::ErrorKind::NotFound => FinishError::Gone { path: self.partial_path() },
            _ => FinishError::Rename { path: self.path(), source },
        })
    }

    fn discard_name(
        &self,
        name: &OsStr,
        remove: impl FnOnce(&Self) -> io::Result<()>,
    ) -> Result<(), DiscardError> {
        remove(self).map_err(|source| DiscardError { path: self.target.path(name), source })
    }

    // A poisoned lock is used: the phase is one word, set in one step.
    pub(super) fn phase(&self) -> RwLockReadGuard<'_, Phase> {
        self.phase.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn phase_mut(&self) -> RwLockWriteGuard<'_, Phase> {
        self.phase.write().unwrap_or_else(PoisonError::into_inner)
    }
}

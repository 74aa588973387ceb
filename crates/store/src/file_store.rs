//! A complete content that is served. A read returns the bytes that were shared, or an error: each
//! read compares the fingerprint, so a file that was truncated, written to or deleted since is
//! noticed. It is never mapped into memory.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tnet_fileinfo::tree::{Layout, Manifest};
use tnet_fileinfo::{ChunkIndex, FileInfo, ProgressFn};

use super::cached_part::CachedPart;
use super::candidate::Candidate;
use super::chunk_reader::{ChunkReader, ChunkVerdict};
use super::content_bytes::ContentBytes;
use super::error::{ReadAgainError, ReadError, ShareError};
use super::fd_cache::FdCache;
use super::file_state::FileState;
use super::fingerprint::FileFingerprint;
use super::flaws::Flaws;
use super::one_file::{self, OneFile};
use super::origin::Origin;
use super::scan_cache::ScanCache;
use super::sys;
use super::tree::WholeTree;
use super::watch_link::WatchLink;

/// A complete content for serving: a file, the payload of a tree, or the manifest of one. Files are
/// opened when they are read, and stay open for a while.
#[derive(Debug)]
pub struct FileStore {
    info: FileInfo,
    path: Arc<Path>,
    bytes: Bytes,
    flaws: Arc<Flaws>,
}

/// Where the bytes are.
#[derive(Debug)]
enum Bytes {
    File(OneFile),
    /// The payload of a tree.
    Tree(WholeTree),
    /// The manifest of one, in memory.
    Manifest(Arc<Manifest>),
}

impl FileStore {
    /// Opens a file that was scanned as `info`; a symbolic link is followed.
    ///
    /// The content is not read again, so the file must have been one that others could not replace
    /// since the scan.
    ///
    /// # Errors
    /// It cannot be opened, is no regular file, or has not the scanned size.
    pub fn open_shared(path: &Path, info: &FileInfo) -> Result<Self, ShareError> {
        Candidate::named(path)?.into_store(info)
    }

    pub(super) fn new(
        file: Arc<File>,
        info: FileInfo,
        path: PathBuf,
        fingerprint: FileFingerprint,
    ) -> Self {
        let path: Arc<Path> = path.into();
        let file = OneFile::new(file, Arc::clone(&path), Origin::Named, fingerprint);
        Self { info, path, bytes: Bytes::File(file), flaws: Arc::default() }
    }

    /// The payload of the tree at `path` (absolute), which `root` was opened at: `info` describes
    /// it as long as each member has its fingerprint, in the order of the layout.
    pub fn of_payload(
        layout: Arc<Layout>,
        info: FileInfo,
        path: PathBuf,
        root: OwnedFd,
        fingerprints: Vec<FileFingerprint>,
    ) -> Self {
        let path: Arc<Path> = path.into();
        let tree = WholeTree::new(layout, *info.geometry(), Arc::clone(&path), root, fingerprints);
        let flaws = Arc::clone(tree.flaws());
        Self { info, path, bytes: Bytes::Tree(tree), flaws }
    }

    /// The manifest of the tree at `path` (absolute), described by `info`.
    pub fn of_manifest(manifest: Arc<Manifest>, info: FileInfo, path: PathBuf) -> Self {
        let path: Arc<Path> = path.into();
        Self { info, path, bytes: Bytes::Manifest(manifest), flaws: Arc::default() }
    }

    /// Reopens it by this origin.
    #[must_use]
    pub(super) fn found_by(mut self, origin: Origin) -> Self {
        if let Bytes::File(file) = &mut self.bytes {
            file.origin = origin;
        }
        self
    }

    /// Counts the file against this cache: from now on it is closed when there is no slot, or by
    /// [`close_if_idle`](Self::close_if_idle).
    #[must_use]
    pub fn with_fd_cache(mut self, others: &FdCache) -> Self {
        match &mut self.bytes {
            Bytes::File(file) => file.limit_by(others),
            Bytes::Tree(tree) => tree.limit_by(others),
            Bytes::Manifest(_) => {}
        }
        self
    }

    /// Registers the watcher of the directory that the file is in: while it notices changes, the
    /// file need not be polled.
    #[must_use]
    pub fn watched_by(mut self, watched: &WatchLink) -> Self {
        if let Bytes::File(file) = &mut self.bytes {
            file.watch_link = Some(watched.clone());
        }
        self
    }

    /// Whether it is in a shared directory, which is polled as a whole.
    pub fn is_in_shared_dir(&self) -> bool {
        self.watch_link().is_some()
    }

    /// Whether a watcher notices changes of the file.
    pub fn is_watched(&self) -> bool {
        self.watch_link().is_some_and(WatchLink::is_watched)
    }

    fn watch_link(&self) -> Option<&WatchLink> {
        match &self.bytes {
            Bytes::File(file) => file.watch_link.as_ref(),
            Bytes::Tree(_) | Bytes::Manifest(_) => None,
        }
    }

    /// The layout, if it is the payload of a tree.
    pub fn layout(&self) -> Option<&Arc<Layout>> {
        match &self.bytes {
            Bytes::Tree(tree) => Some(tree.layout()),
            Bytes::File(_) | Bytes::Manifest(_) => None,
        }
    }

    /// The manifest, if it is the one of a tree that is here too. Its path is that of the tree.
    pub fn manifest(&self) -> Option<&Arc<Manifest>> {
        match &self.bytes {
            Bytes::Manifest(manifest) => Some(manifest),
            Bytes::File(_) | Bytes::Tree(_) => None,
        }
    }

    /// Closes what was not read since the last call.
    pub fn close_if_idle(&self) {
        match &self.bytes {
            Bytes::File(file) => file.close_if_idle(),
            Bytes::Tree(tree) => tree.close_idle(),
            Bytes::Manifest(_) => {}
        }
    }

    /// Fills `buf` with the bytes of `chunk` from `offset` (bytes from the start of the chunk).
    ///
    /// # Errors
    /// The part is not in the chunk, the chunk has a flaw, the file is not what was shared any
    /// more, or the disk failed.
    pub fn read_chunk_part(
        &self,
        chunk: ChunkIndex,
        offset: u32,
        buf: &mut [u8],
    ) -> Result<(), ReadError> {
        self.check_flaw(chunk)?;
        match &self.bytes {
            Bytes::File(file) => {
                let open = file.open(chunk)?;
                self.reader(&*open).read(chunk, offset, buf)?;
                // Afterwards, so that a change during the read is seen too.
                file.check(&open, chunk)
            }
            Bytes::Tree(tree) => {
                self.reader(tree).read(chunk, offset, buf).map_err(of_member(chunk))?;
                // It may have been withdrawn when the read began.
                self.check_flaw(chunk)
            }
            Bytes::Manifest(manifest) => self.reader(manifest.bytes()).read(chunk, offset, buf),
        }
    }

    /// As [`read_chunk_part`](Self::read_chunk_part), but only if it needs no disk. `None` if it
    /// would, or if that is not known, as while the file is not open.
    pub fn read_chunk_part_at_once(
        &self,
        chunk: ChunkIndex,
        offset: u32,
        buf: &mut [u8],
    ) -> Option<Result<(), ReadError>> {
        if let Err(error) = self.check_flaw(chunk) {
            return Some(Err(error));
        }
        match &self.bytes {
            Bytes::File(file) => {
                let open = file.opened()?;
                let read = self.reader(&*open).read_at_once(chunk, offset, buf)?;
                Some(read.and_then(|()| file.check(&open, chunk)))
            }
            Bytes::Tree(tree) => {
                let position = self.reader(tree).position(chunk, offset, buf.len() as u64)?;
                tree.read_cached(buf, position).then(|| self.check_flaw(chunk))
            }
            Bytes::Manifest(_) => Some(self.read_chunk_part(chunk, offset, buf)),
        }
    }

    /// Whether the file system is in memory, so that no read waits for a disk.
    pub fn is_in_memory(&self) -> bool {
        match &self.bytes {
            Bytes::File(file) => file.is_in_memory,
            Bytes::Tree(tree) => tree.is_in_memory(),
            Bytes::Manifest(_) => true,
        }
    }

    /// Where a part of a chunk is, for `sendfile`, if it is in the page cache. `None` if it is not,
    /// if that is not known, or if the file is not what was shared any more.
    pub fn cached_part(&self, chunk: ChunkIndex, offset: u32, len: u32) -> Option<CachedPart> {
        self.check_flaw(chunk).ok()?;
        match &self.bytes {
            Bytes::File(file) => {
                let open = file.opened()?;
                file.check(&open, chunk).ok()?;
                let position = self.reader(&*open).cached_part(chunk, offset, len)?;
                Some(file.part(open, position))
            }
            Bytes::Tree(tree) => {
                let position = self.reader(tree).position(chunk, offset, len.into())?;
                let part = tree.cached_part(position, len)?;
                self.check_flaw(chunk).is_ok().then_some(part)
            }
            Bytes::Manifest(_) => None,
        }
    }

    /// As [`cached_part`](Self::cached_part), for bytes anywhere in the file.
    pub fn cached_range(&self, position: u64, len: u32) -> Option<CachedPart> {
        let is_inside = position.checked_add(u64::from(len))? <= self.info.size();
        let is_sound = || {
            !self.flaws.are_any()
                || self.chunks_in(position, len).all(|chunk| self.flaws.of(chunk).is_none())
        };
        if !is_inside || !is_sound() {
            return None;
        }
        match &self.bytes {
            Bytes::File(file) => {
                let open = file.opened()?;
                file.check(&open, self.info.geometry().chunk(0)?).ok()?;
                let is_cached = self.reader(&*open).is_cached(position, len);
                is_cached.then(|| file.part(open, position))
            }
            Bytes::Tree(tree) => {
                let part = tree.cached_part(position, len)?;
                is_sound().then_some(part)
            }
            Bytes::Manifest(_) => None,
        }
    }

    fn reader<'a, B: ContentBytes + ?Sized>(&'a self, bytes: &'a B) -> ChunkReader<'a, B> {
        ChunkReader { bytes, info: &self.info, is_in_memory: self.is_in_memory() }
    }

    /// The chunks that contain these bytes.
    fn chunks_in(&self, position: u64, len: u32) -> impl Iterator<Item = ChunkIndex> + '_ {
        let geometry = self.info.geometry();
        let chunk_size = u64::from(geometry.chunk_size().get());
        let last = position.saturating_add(u64::from(len)).saturating_sub(1) / chunk_size;
        (position / chunk_size..=last)
            .filter_map(|index| u32::try_from(index).ok().and_then(|index| geometry.chunk(index)))
    }

    /// Reads a chunk and compares it with its sum, also if it is known to have a flaw. Wrong bytes
    /// are read a second time, from the disk if the system drops them from the page cache. `buf` is
    /// scratch memory.
    pub fn inspect(&self, chunk: ChunkIndex, buf: &mut Vec<u8>) -> ChunkVerdict {
        let inspected = match &self.bytes {
            Bytes::File(file) => file.open(chunk).and_then(|open| {
                let verdict = self.inspect_in(&*open, chunk, buf)?;
                file.check(&open, chunk).map(|()| verdict)
            }),
            Bytes::Tree(tree) => self.inspect_in(tree, chunk, buf).map_err(of_member(chunk)),
            Bytes::Manifest(manifest) => self.inspect_in(manifest.bytes(), chunk, buf),
        };
        inspected.unwrap_or_else(ChunkVerdict::Failed)
    }

    fn inspect_in<B: ContentBytes + ?Sized>(
        &self,
        bytes: &B,
        chunk: ChunkIndex,
        buf: &mut Vec<u8>,
    ) -> Result<ChunkVerdict, ReadError> {
        if self.flaws.of(chunk).is_some() {
            bytes.drop_cached(self.info.geometry().range(chunk));
        }
        self.reader(bytes).inspect(chunk, buf)
    }

    /// Chunks that are not served.
    pub fn flaws(&self) -> &Flaws {
        &self.flaws
    }

    /// The chunks of a tree that were withdrawn since the last call, because a member of theirs
    /// differs from what was shared.
    pub fn take_withdrawn(&self) -> Vec<ChunkIndex> {
        match &self.bytes {
            Bytes::Tree(tree) => tree.take_withdrawn(),
            Bytes::File(_) | Bytes::Manifest(_) => Vec::new(),
        }
    }

    fn check_flaw(&self, chunk: ChunkIndex) -> Result<(), ReadError> {
        match self.flaws.of(chunk) {
            None => Ok(()),
            Some(_) => Err(ReadError::Withdrawn { chunk }),
        }
    }

    /// The file, opened again if needed; `None` if that fails, if it is empty, and for a tree.
    pub(super) fn open_now(&self) -> Option<Arc<File>> {
        let first = self.info.geometry().chunk(0)?;
        match &self.bytes {
            Bytes::File(file) => file.open(first).ok(),
            Bytes::Tree(_) | Bytes::Manifest(_) => None,
        }
    }

    /// Whether the file of a part is still what it was when the part was looked up: one system
    /// call.
    ///
    /// # Errors
    /// It is not. `chunk` is for the error only: it may have been withdrawn meanwhile.
    pub fn check(&self, part: &CachedPart, chunk: ChunkIndex) -> Result<(), ReadError> {
        match (&self.bytes, part.seen) {
            (Bytes::Tree(tree), _) => match tree.is_unchanged(part) {
                true => Ok(()),
                false => Err(ReadError::MemberChanged { chunk }),
            },
            (_, Some(seen)) => one_file::check(&part.file, seen, chunk),
            (_, None) => Ok(()),
        }
    }

    /// The same file, if it still has the same content. Reads all of it.
    ///
    /// # Errors
    /// It has another, or cannot be opened or read, or `progress` said stop.
    pub fn read_again(
        &self,
        scans: Option<&ScanCache>,
        now: Duration,
        progress: ProgressFn<'_>,
    ) -> Result<Self, ReadAgainError> {
        let Bytes::File(file) = &self.bytes else { return Err(ReadAgainError::OtherContent) };
        let candidate = Candidate::open(self.path.to_path_buf(), file.origin.clone())?;
        if candidate.metadata().len() != self.info.size()
            || !candidate.is_right(&self.info, progress)?
        {
            return Err(ReadAgainError::OtherContent);
        }
        let metadata = candidate.metadata().clone();
        let again = candidate.into_store(&self.info)?;
        if let Some(scans) = scans {
            scans.remember(&self.path, &metadata, &self.info, now);
        }
        Ok(again)
    }

    /// Whether the file was deleted, so that closing it would free its space. `None` if it is not
    /// open. The members of a tree are looked at one by one instead.
    pub fn is_open_in_vain(&self) -> Option<bool> {
        match &self.bytes {
            Bytes::File(file) => file.is_open_in_vain(),
            Bytes::Tree(_) | Bytes::Manifest(_) => None,
        }
    }

    /// The state of the content at its path, where it was shared from. A file whose metadata cannot
    /// be read is gone.
    pub fn state(&self) -> FileState {
        match &self.bytes {
            Bytes::File(file) => file.state(),
            Bytes::Tree(tree) => tree.state(),
            Bytes::Manifest(_) => match sys::open_directory(&self.path) {
                Ok(_) => FileState::Unchanged,
                Err(_) => FileState::Gone,
            },
        }
    }

    /// The description of the content.
    pub fn info(&self) -> &FileInfo {
        &self.info
    }

    /// The absolute path that it was shared from.
    pub fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// Whether both have one name in one directory.
    pub fn is_in_place_of(&self, other: &Self) -> bool {
        let is_same_place = match (&self.bytes, &other.bytes) {
            (Bytes::File(one), Bytes::File(other)) => one.origin.is_same_place(&other.origin),
            (Bytes::Manifest(_), Bytes::Manifest(_)) => true,
            (Bytes::Manifest(_), _) | (_, Bytes::Manifest(_)) => false,
            (Bytes::Tree(_), _) | (_, Bytes::Tree(_)) => true,
        };
        is_same_place && self.path == other.path
    }

    /// Its fingerprint when it was shared; that of no file if it is of a tree.
    pub fn fingerprint(&self) -> FileFingerprint {
        match &self.bytes {
            Bytes::File(file) => file.fingerprint,
            Bytes::Tree(_) | Bytes::Manifest(_) => FileFingerprint::default(),
        }
    }
}

/// Bytes of a tree that are not what they were are those of one member.
fn of_member(chunk: ChunkIndex) -> impl Fn(ReadError) -> ReadError {
    move |error| match error {
        ReadError::Changed => ReadError::MemberChanged { chunk },
        other => other,
    }
}

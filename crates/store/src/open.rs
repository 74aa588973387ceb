//! Opens a download. On success the `.partial` is locked by us, has its full length and its space;
//! on failure everything is as it was before.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;
use tnet_fileinfo::{FileInfo, ProgressFn, shown_path};

use super::beneath;
use super::chunk_writer::ChunkWriter;
use super::disks::{Disks, Feature, Promise, Refused};
use super::download::{Download, DownloadOptions, OnExisting, Opened};
use super::error::{OpenError, SyncError};
use super::file_store::FileStore;
use super::fingerprint::FileFingerprint;
use super::journal::{Format, Subject};
use super::ledger::Ledger;
use super::no_room::NoRoom;
use super::partial::{Age, Partial, PartialKind, Readable};
use super::partial_bytes::PartialBytes;
use super::replaced::{ReplacedFile, check_replaceable};
use super::reservation;
use super::resume::{self, verify};
use super::reuse_in_file;
use super::reuse_in_tree::Stop;
use super::sys::{self, Entry, EntryKind};
use super::target::Target;
use super::tree::OldFiles;

/// Attempts until a directory that other processes change at the same time counts as busy. One
/// attempt suffices except in the moment in which another process finishes or discards the same
/// download.
pub(super) const ATTEMPTS: u32 = 8;

/// Bytes that a file system allocates for a journal at least.
pub(super) const BLOCK: u64 = 4096;

pub(super) fn open(
    info: &FileInfo,
    out: &Path,
    options: DownloadOptions,
    progress: ProgressFn<'_>,
) -> Result<Opened, OpenError> {
    let target = Target::open(out, options.directory.clone())?;
    target.check_name()?;
    for _ in 0..ATTEMPTS {
        let in_the_way = target.entry(target.out())?;
        if let Some(entry) = in_the_way
            && let Some(store) = complete(&target, entry, info, progress)?
        {
            return Ok(Opened::Complete(store));
        }
        if in_the_way.is_some() && options.existing == OnExisting::Refuse {
            return Err(OpenError::Exists { path: target.path(target.out()) });
        }
        if let Some(entry) = in_the_way {
            check_replaceable(&target, &entry)?;
        }
        if sys::is_unchangeable(target.directory()) {
            return Err(OpenError::Unchangeable { path: target.parent() });
        }
        // Never more readable than what it replaces, from its first byte on.
        let is_private =
            in_the_way.is_some() && ReplacedFile::at(&target).is_some_and(|old| old.is_private());
        let readable = if is_private { Readable::ByUs } else { Readable::AsUsual(options.mode) };
        let Some(partial) = Partial::lock(&target, PartialKind::File(readable), &options.disks)?
        else {
            continue;
        };
        // Only with the lock is it certain that no other process finishes this output.
        if target.entry(target.out())?.map(|entry| entry.fingerprint)
            != in_the_way.map(|entry| entry.fingerprint)
        {
            partial.take_back(&target);
            continue;
        }
        let old = old_files(&target, in_the_way, info, &options);
        let prepared =
            old.and_then(|old| prepare(&target, &partial, info, &old, &options.disks, progress));
        return match prepared {
            Ok((bytes, writer, promise)) => {
                let download =
                    Download::new(info.clone(), target, options, partial, bytes, writer, promise);
                let mut kept = download.stored();
                kept.union_with(&download.vouched());
                Ok(Opened::Partial(download, kept))
            }
            Err(error) => {
                if matches!(error, OpenError::DiskFull { .. }) && partial.age() == Age::Found {
                    reservation::give_back(partial.file(), info.size());
                    options.disks.ended_without_room(partial.file(), &target.path(target.out()));
                }
                partial.take_back(&target);
                Err(error)
            }
        };
    }
    Err(OpenError::Busy { path: target.path(target.partial()) })
}

/// The output, if it is already the file that is wanted.
fn complete(
    target: &Target,
    entry: Entry,
    info: &FileInfo,
    progress: ProgressFn<'_>,
) -> Result<Option<FileStore>, OpenError> {
    let path = target.path(target.out());
    match entry.kind {
        EntryKind::File | EntryKind::Link => {}
        EntryKind::Directory => return Err(OpenError::IsDirectory { path }),
        EntryKind::Pipe | EntryKind::Socket | EntryKind::Device => {
            return Err(OpenError::NotAFile { path });
        }
    }
    let opened = match entry.kind {
        // A link that another user may have put there is in the way, wherever it leads.
        EntryKind::Link if !target.is_trusted(&entry)? => return Ok(None),
        EntryKind::Link => sys::open_for_reading(target.directory(), target.out()),
        _ => beneath::open(target.directory(), target.out().as_ref()),
    };
    let file = match opened {
        Ok(file) => file,
        // Unreadable, a dangling link, or gone again: it is not known to be the file.
        Err(_) => return Ok(None),
    };
    let metadata = file.metadata().map_err(|source| target.error(target.out(), source))?;
    if metadata.is_dir() {
        return Err(OpenError::IsDirectory { path });
    }
    if !metadata.is_file() {
        return Err(OpenError::NotAFile { path });
    }
    if metadata.len() != info.size()
        || !verify(target, target.out(), &file, info, None, progress)?.is_full()
    {
        return Ok(None);
    }
    resume::remove_leftovers(target, &file, info);
    let store = FileStore::new(Arc::new(file), info.clone(), path, FileFingerprint::of(&metadata));
    Ok(Some(store.found_by(target.origin())))
}

/// All files from which bytes may be taken: the one that is replaced, and what the user named.
fn old_files(
    target: &Target,
    replaced: Option<Entry>,
    info: &FileInfo,
    options: &DownloadOptions,
) -> Result<OldFiles, OpenError> {
    let mut old = OldFiles::default();
    if options.update && replaced.is_some() {
        let directory = target.directory().try_clone_to_owned();
        let directory = directory.map_err(|source| target.error(target.out(), source))?;
        old.add_file(directory, target.out())
            .map_err(|source| target.error(target.out(), source))?;
    }
    for path in &options.reuse {
        old.add_named(path, Some(info.size()))
            .map_err(|source| OpenError::Reuse { path: path.clone(), source })?;
    }
    Ok(old)
}

/// Everything between the lock and the first chunk, in the order that the table in [`store`](super)
/// relies on.
fn prepare(
    target: &Target,
    partial: &Partial,
    info: &FileInfo,
    old: &OldFiles,
    disks: &Disks,
    progress: ProgressFn<'_>,
) -> Result<(PartialBytes, ChunkWriter<PartialBytes, File>, Promise), OpenError> {
    let file = partial.file();
    let failed = |source| target.error(target.partial(), source);
    let metadata = file.metadata().map_err(failed)?;
    check_size(target, file, info.size())?;
    let format = Format::new(&Subject::of(info, &metadata));
    let vouched = match partial.age() {
        // A journal without its `.partial` vouches for nothing, even should the new file get the
        // old one's inode.
        Age::New => None,
        Age::Found if metadata.len() != info.size() => None,
        Age::Found => resume::read_journal(target, &format, metadata.uid()),
    };
    if vouched.is_none() {
        // Durably, before the `.partial` changes: a journal that is invalid today must not become
        // valid after a crash, when the length may be right again.
        sys::remove(target.directory(), target.journal())
            .map_err(|source| target.error(target.journal(), source))?;
        sync_directory(target, disks);
    }
    if metadata.len() > info.size() {
        file.set_len(info.size()).map_err(failed)?;
    }
    let stopped = |stop| match stop {
        Stop::Cancelled => OpenError::Cancelled { path: target.path(target.partial()) },
        Stop::Io(source) => failed(source),
    };
    let shared = match partial.age() {
        Age::New => reuse_in_file::share(file, info, old, progress).map_err(stopped)?,
        Age::Found => None,
    };
    let journal_len = if vouched.is_some() { 0 } else { format.max_len().next_multiple_of(BLOCK) };
    let promise = reserve(target, file, info.size(), journal_len, shared.is_some(), disks)?;
    let (journal, journaled) = resume::open_journal(target, format, vouched, None)?;
    promise.note_journal();
    sync_directory(target, disks);

    let mut found = match shared {
        Some(right) => right,
        None => resume::verify_unvouched(target, file, info, &journaled, progress)?,
    };
    let mut kept = journaled.clone();
    kept.union_with(&found);
    if !old.is_empty() && !kept.is_full() {
        let copied = reuse_in_file::copy(file, info, old, &kept, progress).map_err(stopped)?;
        found.union_with(&copied);
    }
    let is_news = !found.is_empty();
    let ledger = Ledger::new(*info.geometry(), journaled, found);
    let bytes = PartialBytes::File(Arc::clone(file));
    let writer = ChunkWriter::new(bytes.clone(), journal, *info.geometry(), ledger);
    if is_news {
        // So that they need not be read again after a crash.
        writer.sync().map_err(|error| match error {
            SyncError::Data { source, .. } => failed(source),
            other => target.error(target.journal(), io::Error::other(other)),
        })?;
    }
    let mut kept = writer.stored();
    kept.union_with(&writer.vouched());
    promise.note_stored(info.geometry().bytes_in(&kept));
    Ok((bytes, writer, promise))
}

/// Refuses a file larger than the file system or the process can write, independent of free space.
fn check_size(target: &Target, file: &File, size: u64) -> Result<(), OpenError> {
    let path = || target.path(target.partial());
    if let Some(limit) = sys::file_size_limit().filter(|limit| *limit < size) {
        return Err(OpenError::OverLimit { path: path(), size, limit });
    }
    match sys::max_file_size(file) {
        Some(largest) if largest < size => Err(OpenError::TooLarge { path: path(), size }),
        _ => Ok(()),
    }
}

/// Gives the `.partial` its full length, and promises it space beside other downloads. One that
/// shares blocks has its length, and nothing is reserved: some file systems want room for all of
/// it, whatever is there already.
fn reserve(
    target: &Target,
    file: &Arc<File>,
    size: u64,
    journal_len: u64,
    is_shared: bool,
    disks: &Disks,
) -> Result<Promise, OpenError> {
    let path = || target.path(target.partial());
    let failed = |source| target.error(target.partial(), source);
    // `st_blocks` counts units of 512 bytes on every file system.
    let allocated = file.metadata().map_err(failed)?.blocks().saturating_mul(512);
    let full =
        |why| OpenError::DiskFull { path: path(), needed: size.saturating_sub(allocated), why };
    let promised =
        disks.promise(file, &target.path(target.out()), size, journal_len).map_err(failed)?;
    let promise = promised.map_err(|refused| match refused {
        Refused::NoRoom => full(NoRoom::Space),
        Refused::Busy => OpenError::Busy { path: path() },
    })?;
    if is_shared {
        return Ok(promise);
    }
    reservation::begin(file, size).map_err(|error| match NoRoom::of(&error) {
        Some(NoRoom::FileSize | NoRoom::ProcessLimit) => OpenError::TooLarge { path: path(), size },
        Some(why) => full(why),
        None => failed(error),
    })?;
    Ok(promise)
}

/// Syncs the directory, if the file system can.
pub(super) fn sync_directory(target: &Target, disks: &Disks) {
    if let Err(error) = sys::sync_directory(target.directory()) {
        if Errno::from_io_error(&error) == Some(Errno::IO) {
            // The file system can sync directories; the disk failed.
            let parent = target.parent();
            tracing::warn!(path = %shown_path(&parent), %error, "the disk failed to sync a directory: a power cut may undo names in it");
            return;
        }
        disks.lacks(target.device(), Feature::DirectorySync, &target.path(target.out()), &error);
    }
}

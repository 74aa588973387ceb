//! Opens the download of a tree. As with a file, on success the `.partial`, a directory here, is
//! locked by us; on failure everything is as it was before.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tnet_fileinfo::tree::Layout;
use tnet_fileinfo::{ChunkSet, FileInfo, ProgressFn};

use super::chunk_reader::ChunkReader;
use super::chunk_writer::ChunkWriter;
use super::content_bytes::ContentBytes;
use super::disks::{Disks, Promise, Refused};
use super::download::{Download, DownloadOptions, OnExisting, Opened};
use super::error::{OpenError, SyncError};
use super::file_store::FileStore;
use super::journal::{Format, Subject};
use super::ledger::Ledger;
use super::no_room::NoRoom;
use super::open::{ATTEMPTS, sync_directory};
use super::parallel;
use super::partial::{Age, Partial, PartialKind};
use super::partial_bytes::PartialBytes;
use super::resume;
use super::reuse_in_tree::{Stop, TreeReuse};
use super::switch::{self, OldTree};
use super::sys::{self, Entry, EntryKind};
use super::target::Target;
use super::tree::{OldFiles, PartialTree, TreeListing, TreeScanError, TreeScanOptions};

pub(super) fn open_tree(
    info: &FileInfo,
    layout: &Arc<Layout>,
    out: &Path,
    options: DownloadOptions,
    progress: ProgressFn<'_>,
) -> Result<Opened, OpenError> {
    let target = Target::open(out, options.directory.clone())?;
    let (directory, manifest) = (target.shared_directory(), target.manifest().to_owned());
    let opened = open_target(info, layout, target, options, progress);
    if !matches!(opened, Ok(Opened::Partial(..)) | Err(OpenError::Busy { .. })) {
        // No download needs it.
        let _ = sys::remove(&*directory, &manifest);
    }
    opened
}

fn open_target(
    info: &FileInfo,
    layout: &Arc<Layout>,
    target: Target,
    options: DownloadOptions,
    progress: ProgressFn<'_>,
) -> Result<Opened, OpenError> {
    target.check_name()?;
    for _ in 0..ATTEMPTS {
        let in_the_way = target.entry(target.out())?;
        let mut there = match in_the_way {
            Some(entry) => look(&target, entry)?,
            None => There::Nothing,
        };
        if let There::Directory { root, listing } = &mut there
            && let Some(store) = complete(&target, root, listing, layout, info, progress)?
        {
            return Ok(Opened::Complete(store));
        }
        let (replaces, listing) = match (there, options.existing) {
            (There::Nothing, _) => (None, None),
            (There::Directory { root, listing }, _) if options.update => {
                let path = target.path(target.out());
                let listing = listing.map_err(|source| OpenError::Reuse { path, source })?;
                (Some(OldTree::of(&target, &listing, root)?), Some(listing))
            }
            (_, OnExisting::Refuse) => {
                return Err(OpenError::Exists { path: target.path(target.out()) });
            }
            (_, OnExisting::Replace) => {
                return Err(OpenError::TreeInTheWay { path: target.path(target.out()) });
            }
        };
        if sys::is_unchangeable(target.directory()) {
            return Err(OpenError::Unchangeable { path: target.parent() });
        }
        let Some(partial) = Partial::lock(&target, PartialKind::Directory, &options.disks)? else {
            continue;
        };
        // Only with the lock is it certain that no other process finishes this output.
        let is_as_before = match (target.entry(target.out())?, in_the_way) {
            (None, None) => true,
            (Some(now), Some(before)) => now.is_same_file(&before),
            _ => false,
        };
        if !is_as_before {
            partial.take_back(&target);
            continue;
        }
        let prepared = old_files(listing, &options).and_then(|old| {
            prepare(&target, &partial, info, layout, old, &options.disks, progress)
        });
        return match prepared {
            Ok((bytes, writer, promise)) => {
                let mut download =
                    Download::new(info.clone(), target, options, partial, bytes, writer, promise);
                download.replaces = replaces;
                let mut kept = download.stored();
                kept.union_with(&download.vouched());
                Ok(Opened::Partial(download, kept))
            }
            Err(error) => {
                partial.take_back(&target);
                Err(error)
            }
        };
    }
    Err(OpenError::Busy { path: target.path(target.partial()) })
}

/// What has the name of the output.
enum There {
    Nothing,
    /// With all that is in it, if that can be listed.
    Directory {
        root: File,
        listing: Result<TreeListing, TreeScanError>,
    },
    SomethingElse,
}

fn look(target: &Target, entry: Entry) -> Result<There, OpenError> {
    if entry.kind != EntryKind::Directory {
        return Ok(There::SomethingElse);
    }
    let failed = |source| target.error(target.out(), source);
    let root = sys::open_subdirectory(target.directory(), target.out()).map_err(failed)?;
    let listing = TreeListing::of(root.try_clone().map_err(failed)?);
    Ok(There::Directory { root: root.into(), listing })
}

/// The output, if it is already exactly the tree that is wanted.
fn complete(
    target: &Target,
    root: &File,
    listing: &mut Result<TreeListing, TreeScanError>,
    layout: &Arc<Layout>,
    info: &FileInfo,
    progress: ProgressFn<'_>,
) -> Result<Option<FileStore>, OpenError> {
    let failed = |source| target.error(target.out(), source);
    let Ok(listed) = listing else { return Ok(None) };
    if listed.len() != layout.manifest().len() || listed.size() != info.size() {
        return Ok(None);
    }
    let own = || root.try_clone().map(OwnedFd::from).map_err(failed);
    let again = TreeListing::of(own()?);
    let Ok(listed) = std::mem::replace(listing, again) else { return Ok(None) };
    let options = TreeScanOptions {
        chunk_size: Some(layout.manifest().payload().chunk_size()),
        allow_outside_links: true,
    };
    // What cannot be read is not known to be the tree.
    let Ok(found) = listed.scan(options, progress) else { return Ok(None) };
    if found.manifest.hash() != layout.tree() {
        return Ok(None);
    }
    switch::remove_leftovers(target, root, info, layout);
    let path = target.path(target.out());
    let (layout, info) = (Arc::clone(layout), info.clone());
    Ok(Some(FileStore::of_payload(layout, info, path, own()?, found.fingerprints)))
}

/// All files from which bytes may be taken.
fn old_files(
    replaced: Option<TreeListing>,
    options: &DownloadOptions,
) -> Result<OldFiles, OpenError> {
    let mut old = OldFiles::default();
    if let Some(listing) = replaced {
        old.add(listing);
    }
    for path in &options.reuse {
        old.add_named(path, None)
            .map_err(|source| OpenError::Reuse { path: path.clone(), source })?;
    }
    Ok(old)
}

type Prepared = (PartialBytes, ChunkWriter<PartialBytes, File>, Promise);

/// Everything between the lock and the first chunk, in the same order as for a file.
fn prepare(
    target: &Target,
    partial: &Partial,
    info: &FileInfo,
    layout: &Arc<Layout>,
    mut old: OldFiles,
    disks: &Disks,
    progress: ProgressFn<'_>,
) -> Result<Prepared, OpenError> {
    let directory = partial.file();
    let failed = |source| target.error(target.partial(), source);
    check_sizes(target, directory, layout)?;
    let metadata = directory.metadata().map_err(failed)?;
    // Of this tree, not of its payload: the same bytes under other names are in other places.
    let subject = Subject { hash: layout.tree().manifest(), ..Subject::of(info, &metadata) };
    let format = Format::new(&subject);
    let vouched = match partial.age() {
        Age::New => None,
        Age::Found => resume::read_journal(target, &format, metadata.uid()),
    };
    // Before anything in the directory changes, so that at no moment there is something of ours in
    // it and no journal beside it. A journal of another `.partial` is renewed in its place.
    let stale = match (&vouched, partial.age()) {
        (Some(_), _) => None,
        (None, Age::New) => {
            sys::remove(target.directory(), target.journal())
                .map_err(|source| target.error(target.journal(), source))?;
            None
        }
        (None, Age::Found) => {
            let stale = resume::find_journal(target, metadata.uid());
            if stale.is_none() && !sys::is_empty_directory(directory).map_err(failed)? {
                return Err(OpenError::ForeignPartial { path: target.path(target.partial()) });
            }
            stale
        }
    };
    let (journal, journaled) = resume::open_journal(target, format, vouched, stale)?;
    sync_directory(target, disks);
    let own = directory.try_clone().map_err(failed)?.into();
    let of_tree = |fault| OpenError::Tree { path: target.path(target.out()), fault };
    let tree = Arc::new(PartialTree::open(Arc::clone(layout), own).map_err(of_tree)?);
    let stopped = |stop| match stop {
        Stop::Cancelled => OpenError::Cancelled { path: target.path(target.partial()) },
        Stop::Io(source) => failed(source),
    };
    let prepared = (|| {
        let bytes = PartialBytes::Tree(Arc::clone(&tree));
        let mut found = verify_unvouched(target, &tree, info, &journaled, progress)?;
        let mut kept = journaled.clone();
        kept.union_with(&found);
        let reuse = match old.is_empty() || kept.is_full() {
            true => None,
            false => Some(TreeReuse::plan(&tree, info, &mut old, &kept, progress)),
        };
        let reuse = reuse.transpose().map_err(stopped)?;
        let shared = reuse.as_ref().map(|reuse| reuse.share(&kept)).transpose().map_err(stopped)?;
        let shared = shared.unwrap_or_else(|| ChunkSet::empty(info.geometry()));
        let promise =
            promise_room(target, partial, &tree, info.geometry().bytes_in(&shared), disks)?;
        let is_shared = |member| reuse.as_ref().is_some_and(|reuse| reuse.is_shared(member));
        tree.reserve_members(&is_shared).map_err(failed)?;
        kept.union_with(&shared);
        found.union_with(&shared);
        if let Some(reuse) = reuse {
            found.union_with(&reuse.copy(&kept).map_err(stopped)?);
        }
        let is_news = !found.is_empty();
        let ledger = Ledger::new(*info.geometry(), journaled, found);
        let writer = ChunkWriter::new(bytes.clone(), journal, *info.geometry(), ledger);
        if is_news {
            writer.sync().map_err(|error| match error {
                SyncError::Data { source, .. } => failed(source),
                other => target.error(target.journal(), std::io::Error::other(other)),
            })?;
        }
        Ok((bytes, writer, promise))
    })();
    if prepared.is_err() && partial.age() == Age::New {
        // What was made for it goes with it.
        let _ = tree.discard();
    }
    prepared
}

/// Refuses a member larger than the file system or the process can write.
fn check_sizes(target: &Target, directory: &File, layout: &Layout) -> Result<(), OpenError> {
    let size = layout.members().map(|member| member.size()).max().unwrap_or(0);
    let path = || target.path(target.partial());
    if let Some(limit) = sys::file_size_limit().filter(|limit| *limit < size) {
        return Err(OpenError::OverLimit { path: path(), size, limit });
    }
    match sys::max_file_size(directory) {
        Some(largest) if largest < size => Err(OpenError::TooLarge { path: path(), size }),
        _ => Ok(()),
    }
}

/// Promises the tree its space beside other downloads, but for bytes that share blocks.
fn promise_room(
    target: &Target,
    partial: &Partial,
    tree: &PartialTree,
    shared: u64,
    disks: &Disks,
) -> Result<Promise, OpenError> {
    let path = || target.path(target.partial());
    let mut room = tree.room_needed();
    room.bytes = room.bytes.saturating_sub(shared);
    let lacks_files = sys::free_space(tree.directory())
        .and_then(|free| free.files)
        .is_some_and(|free| free < room.files);
    if lacks_files {
        return Err(OpenError::DiskFull { path: path(), needed: room.bytes, why: NoRoom::Inodes });
    }
    let promised = disks
        .promise(partial.file(), &target.path(target.out()), room.bytes, 0)
        .map_err(|source| target.error(target.partial(), source))?;
    promised.map_err(|refused| match refused {
        Refused::NoRoom => {
            OpenError::DiskFull { path: path(), needed: room.bytes, why: NoRoom::Space }
        }
        Refused::Busy => OpenError::Busy { path: path() },
    })
}

/// The chunks that are right in the members though the journal does not vouch for them.
fn verify_unvouched(
    target: &Target,
    tree: &Arc<PartialTree>,
    info: &FileInfo,
    journaled: &ChunkSet,
    progress: ProgressFn<'_>,
) -> Result<ChunkSet, OpenError> {
    let geometry = info.geometry();
    let failed = |source| target.error(target.partial(), source);
    let right = ChunkSet::empty(geometry);
    let mut candidates = ChunkSet::empty(geometry);
    let chunk_size = u64::from(geometry.chunk_size().get());
    let mut from = 0;
    while let Some(data) = tree.next_data(from, geometry.size()).map_err(failed)? {
        let last = (data.end - 1) / chunk_size;
        for index in data.start / chunk_size..=last {
            let chunk = u32::try_from(index).ok().and_then(|index| geometry.chunk(index));
            if let Some(chunk) = chunk.filter(|chunk| !journaled.contains(*chunk)) {
                candidates.insert(chunk);
            }
        }
        from = ((last + 1) * chunk_size).min(geometry.size());
    }
    let (bytes, is_in_memory) = (&PartialBytes::Tree(Arc::clone(tree)), tree.is_in_memory());
    let reader = ChunkReader { bytes, info, is_in_memory };
    let (candidates, right) = (candidates.iter().collect::<Vec<_>>(), Mutex::new(right));
    parallel::for_each(
        &candidates,
        geometry.chunk_size().get() as usize,
        |buf: &mut Vec<u8>, chunk| {
            let len = geometry.chunk_len(*chunk);
            if progress(len.into()).is_break() {
                return Err(OpenError::Cancelled { path: target.path(target.partial()) });
            }
            // After a failed sync the cache may show pages that never reached the disk.
            tree.drop_cached(geometry.range(*chunk));
            buf.resize(len as usize, 0);
            // A missing member is no error: the chunk is fetched.
            if reader.read(*chunk, 0, buf).is_ok() && info.verify(*chunk, buf) {
                right.lock().unwrap_or_else(PoisonError::into_inner).insert(*chunk);
            }
            Ok(())
        },
    )?;
    Ok(right.into_inner().unwrap_or_else(PoisonError::into_inner))
}

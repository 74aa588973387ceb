//! What all downloads of one process know of the file systems they write to: the space that is
//! promised, the space that failed downloads hold in vain, and the features that a file system
//! lacks.
//!
//! A download begins only if its file system has space for it beside all that earlier downloads
//! still need, so an earlier one can always finish. A download that ends for lack of space keeps
//! its data for its next attempt, until another download of this process could finish with that
//! space and could not without it: then its data is removed.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tnet_fileinfo::shown_path;

use super::file_id::FileId;
use super::partial;
use super::sys;

/// Downloads that are remembered because they ended for lack of space. Beyond this number the
/// oldest is forgotten, and keeps its data.
const STRANDED: usize = 256;

/// A feature that a file system may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Feature {
    /// Locks of an open file (`flock`). The locks of the process keep others out too.
    FileLocks,
    /// Locks of any kind.
    Locks,
    DirectorySync,
    /// Metadata of a replaced file.
    Attributes,
}

impl Feature {
    pub(super) fn consequence(self) -> &'static str {
        match self {
            Self::FileLocks => {
                "this file system has no locks for open files: weaker locks are used, and the file is read once more at the end"
            }
            Self::Locks => {
                "this file system has no locks: another process can write to the same target, and the file is read once more at the end"
            }
            Self::DirectorySync => {
                "this file system cannot sync directories: a power cut may undo the name of a finished file"
            }
            Self::Attributes => "some metadata of the replaced file could not be kept",
        }
    }
}

/// Shared by all downloads of a process.
#[derive(Debug, Clone, Default)]
pub struct Disks(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    promised: Vec<Weak<Needs>>,
    /// The latest last.
    stranded: VecDeque<Stranded>,
    lacking: BTreeSet<(u64, Feature)>,
}

/// Space promised to a running download, until it ends or is dropped.
#[derive(Debug)]
pub(super) struct Promise(Arc<Needs>);

/// The space that a download still needs.
#[derive(Debug)]
struct Needs {
    id: FileId,
    pool: Pool,
    file: Arc<File>,
    /// Bytes of the file.
    size: u64,
    /// Bytes of the journal, until it exists.
    journal: AtomicU64,
    stored: AtomicU64,
    is_over: AtomicBool,
}

/// The pool of space that files share. On some file systems it is more than one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pool {
    Device(u64),
    OfAFileSystem(u64, u64),
}

/// A download that ended for lack of space.
#[derive(Debug)]
struct Stranded {
    id: FileId,
    pool: Pool,
    out: PathBuf,
}

/// Why a download gets no promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// There is too little free space, or it is promised to others.
    NoRoom,
    /// Another download of this process uses that file.
    Busy,
}

impl Pool {
    fn of(file: &File, id: FileId) -> Self {
        sys::storage_pool(file)
            .map_or(Self::Device(id.device()), |(kind, number)| Self::OfAFileSystem(kind, number))
    }
}

impl Promise {
    /// Bytes of the file that are stored now, for file systems where `st_blocks` does not tell.
    pub(super) fn note_stored(&self, bytes: u64) {
        self.0.stored.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The journal has been created.
    pub(super) fn note_journal(&self) {
        self.0.journal.store(0, Ordering::Relaxed);
    }

    /// The download needs no more space.
    pub(super) fn end(&self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

impl Needs {
    /// Bytes that the download will still take from the file system.
    fn outstanding(&self) -> u64 {
        if self.is_over.load(Ordering::Relaxed) {
            return 0;
        }
        let there = allocated(&self.file).max(self.stored.load(Ordering::Relaxed));
        self.size.saturating_sub(there).saturating_add(self.journal.load(Ordering::Relaxed))
    }
}

impl Disks {
    /// Promises `size` bytes for the download to `out`, whose `.partial` is `file`, and `journal`
    /// bytes for its journal.
    pub(super) fn promise(
        &self,
        file: &Arc<File>,
        out: &Path,
        size: u64,
        journal: u64,
    ) -> io::Result<Result<Promise, Refused>> {
        let id = FileId::of(file)?;
        let pool = Pool::of(file, id);
        let needs = Needs {
            id,
            pool,
            file: Arc::clone(file),
            size,
            journal: AtomicU64::new(journal),
            stored: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        };
        let mut known = self.known();
        known.stranded.retain(|stranded| stranded.id != id && stranded.out != out);
        let promised = match known.promised_beside(id, pool) {
            Ok(promised) => promised,
            Err(refused) => return Ok(Err(refused)),
        };
        let needed = needs.outstanding();
        let lacking = || {
            let free = sys::free_space(file).map_or(u64::MAX, |free| free.bytes);
            promised.saturating_add(needed).saturating_sub(free)
        };
        if needed > 0 && lacking() > 0 {
            if known.make_way(pool, lacking()) && lacking() > 0 {
                sys::sync_file_system(file);
            }
            if lacking() > 0 {
                return Ok(Err(Refused::NoRoom));
            }
        }
        let needs = Arc::new(needs);
        known.promised.push(Arc::downgrade(&needs));
        Ok(Ok(Promise(needs)))
    }

    /// Records that the download to `out` ended for lack of space, or cannot begin, and that its
    /// `.partial` still holds its data.
    pub(super) fn ended_without_room(&self, partial: &File, out: &Path) {
        if let Ok(id) = FileId::of(partial) {
            self.known().strand(Stranded { id, pool: Pool::of(partial, id), out: out.to_owned() });
        }
    }

    /// Logs once for each file system that it lacks this feature.
    pub(super) fn lacks(&self, device: u64, feature: Feature, path: &Path, error: &io::Error) {
        if self.known().lacking.insert((device, feature)) {
            tracing::warn!(path = %shown_path(path), %error, "{}", feature.consequence());
        }
    }

    /// What the missing features of this device mean for files on it, as text for the user.
    pub(super) fn lacking_for_all(&self, device: u64) -> Vec<&'static str> {
        let for_all = [Feature::FileLocks, Feature::Locks, Feature::DirectorySync];
        let known = self.known();
        for_all
            .into_iter()
            .filter(|feature| known.lacking.contains(&(device, *feature)))
            .map(Feature::consequence)
            .collect()
    }

    // A poisoned lock is used: each change is complete in itself.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Bytes promised to others from this pool.
    fn promised_beside(&mut self, id: FileId, pool: Pool) -> Result<u64, Refused> {
        self.promised.retain(|promise| promise.strong_count() > 0);
        let mut bytes = 0_u64;
        for promise in self.promised.iter().filter_map(Weak::upgrade) {
            if promise.id == id && !promise.is_over.load(Ordering::Relaxed) {
                return Err(Refused::Busy);
            }
            if promise.pool == pool {
                bytes = bytes.saturating_add(promise.outstanding());
            }
        }
        Ok(bytes)
    }

    fn strand(&mut self, stranded: Stranded) {
        self.stranded.retain(|known| known.id != stranded.id);
        if self.stranded.len() == STRANDED {
            self.stranded.pop_front();
        }
        self.stranded.push_back(stranded);
    }

    /// Removes failed downloads, the latest first, to free `lacking` bytes; removes none if that
    /// would not suffice.
    fn make_way(&mut self, pool: Pool, lacking: u64) -> bool {
        let (mut chosen, mut found) = (Vec::new(), 0_u64);
        for stranded in self.stranded.iter().rev().filter(|stranded| stranded.pool == pool) {
            if found >= lacking {
                break;
            }
            if let Some(partial) = partial::of_ended(&stranded.out, stranded.id) {
                found = found.saturating_add(allocated(partial.file()));
                chosen.push((stranded.id, partial));
            }
        }
        if found < lacking {
            return false;
        }
        for (id, partial) in chosen {
            tracing::warn!(path = %shown_path(&partial.path()), "removed a failed download: another one can finish with its space");
            partial.remove();
            self.stranded.retain(|stranded| stranded.id != id);
        }
        true
    }
}

/// Bytes that the file system has allocated for a file.
fn allocated(file: &File) -> u64 {
    // `st_blocks` counts units of 512 bytes on every file system.
    file.metadata().map_or(0, |metadata| metadata.blocks().saturating_mul(512))
}

#[cfg(test)]
#[path = "tests/disks.rs"]
mod tests;

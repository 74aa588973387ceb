//! What the downloads of one process know of the file systems they write to, together: the room
//! that is promised, who holds some in vain, and what a file system turned out to lack.
//!
//! A download begins only if its file system has room for it beside all that those before it still
//! need: who began first finishes. One that ends for want of room keeps what it has for its next
//! attempt, until another download of this process could finish with that room and could not
//! without: then it gives way.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tnet_fileinfo::shown_path;

use super::partial;
use super::sys;

/// Downloads that ended for want of room and are remembered. Beyond that the oldest is forgotten
/// and keeps what it has.
const STRANDED: usize = 256;

/// Something a file system need not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Service {
    /// Those of an open file. The process's own keep others out too.
    FileLocks,
    /// Any.
    Locks,
    DirectorySync,
    /// What a replaced file has beside its content.
    Attributes,
}

impl Service {
    pub(super) fn consequence(self) -> &'static str {
        match self {
            Self::FileLocks => {
                "this file system has no locks for open files: weaker ones keep others out, and all is read once more in the end"
            }
            Self::Locks => {
                "this file system has no locks: another process with the same target is not kept out, and all is read once more in the end"
            }
            Self::DirectorySync => {
                "this file system cannot sync directories: a power cut may undo the name of a finished file"
            }
            Self::Attributes => {
                "not all that the replaced file had beside its content could be kept"
            }
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
    lacking: BTreeSet<(u64, Service)>,
}

/// Room for a download that is under way, until it is ended or dropped.
#[derive(Debug)]
pub(super) struct Promise(Arc<Needs>);

/// What a download still needs.
#[derive(Debug)]
struct Needs {
    id: FileId,
    pool: Pool,
    file: Arc<File>,
    /// Bytes of the file.
    size: u64,
    /// Bytes of the journal, as long as it is not there.
    journal: AtomicU64,
    stored: AtomicU64,
    is_over: AtomicBool,
}

/// Which file, on which device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

/// What files take their room from. On some file systems that is more than a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pool {
    Device(u64),
    OfAFileSystem(u64, u64),
}

/// A download that ended for want of room.
#[derive(Debug)]
struct Stranded {
    id: FileId,
    pool: Pool,
    out: PathBuf,
}

/// There is no promise for a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// What is free is too little, or promised to others.
    NoRoom,
    /// Another download of this process has that file.
    Busy,
}

impl FileId {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

impl Pool {
    fn of(file: &File, id: FileId) -> Self {
        sys::pool(file)
            .map_or(Self::Device(id.device), |(kind, number)| Self::OfAFileSystem(kind, number))
    }
}

impl Promise {
    /// Bytes of the file that are stored now, for file systems that tell nothing by the blocks of a
    /// file.
    pub(super) fn note_stored(&self, bytes: u64) {
        self.0.stored.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The journal has its room.
    pub(super) fn note_journal(&self) {
        self.0.journal.store(0, Ordering::Relaxed);
    }

    /// Nothing more is needed.
    pub(super) fn end(&self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

impl Needs {
    /// Bytes that are still to be taken from the file system.
    fn outstanding(&self) -> u64 {
        if self.is_over.load(Ordering::Relaxed) {
            return 0;
        }
        let there = allocated(&self.file).max(self.stored.load(Ordering::Relaxed));
        self.size.saturating_sub(there).saturating_add(self.journal.load(Ordering::Relaxed))
    }
}

impl Disks {
    /// Promises `size` bytes for the download to `out`, whose `.partial` is `file`, and so many for
    /// its journal.
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
            let free = sys::free(file).map_or(u64::MAX, |free| free.bytes);
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

    /// The download to `out` has ended for want of room, or cannot begin, and its `.partial` holds
    /// what it has.
    pub(super) fn ended_without_room(&self, partial: &File, out: &Path) {
        if let Ok(id) = FileId::of(partial) {
            self.known().strand(Stranded { id, pool: Pool::of(partial, id), out: out.to_owned() });
        }
    }

    /// Says once for each file system that it lacks this.
    pub(super) fn lacks(&self, device: u64, service: Service, path: &Path, error: &io::Error) {
        if self.known().lacking.insert((device, service)) {
            tracing::warn!(path = %shown_path(path), %error, "{}", service.consequence());
        }
    }

    /// What files on this device go without, for people.
    pub(super) fn lacking_for_all(&self, device: u64) -> Vec<&'static str> {
        let for_all = [Service::FileLocks, Service::Locks, Service::DirectorySync];
        let known = self.known();
        for_all
            .into_iter()
            .filter(|service| known.lacking.contains(&(device, *service)))
            .map(Service::consequence)
            .collect()
    }

    // A poisoned lock is taken all the same: each change is complete in itself.
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

    /// Frees so many bytes of what others hold in vain, the latest first; nothing if that does not
    /// suffice.
    fn make_way(&mut self, pool: Pool, lacking: u64) -> bool {
        let (mut chosen, mut found) = (Vec::new(), 0_u64);
        for stranded in self.stranded.iter().rev().filter(|stranded| stranded.pool == pool) {
            if found >= lacking {
                break;
            }
            if let Some(partial) =
                partial::of_ended(&stranded.out, (stranded.id.device, stranded.id.inode))
            {
                found = found.saturating_add(allocated(partial.file()));
                chosen.push((stranded.id, partial));
            }
        }
        if found < lacking {
            return false;
        }
        for (id, partial) in chosen {
            tracing::warn!(path = %shown_path(&partial.path()), "gives its room to a download that can finish with it");
            partial.remove();
            self.stranded.retain(|stranded| stranded.id != id);
        }
        true
    }
}

/// Bytes that the file system has set aside for a file.
fn allocated(file: &File) -> u64 {
    // `st_blocks` counts in 512 bytes whatever the file system's block is.
    file.metadata().map_or(0, |metadata| metadata.blocks().saturating_mul(512))
}

#[cfg(test)]
#[path = "tests/disks.rs"]
mod tests;

//! A cache of file descriptors: a peer that shares a million files keeps only the recently read
//! ones open. Never more than [`MAX_OPEN`] files are open among those that share one [`FdCache`].

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Files of one peer that stay open after a read, at most: more would be of little use.
const MAX_OPEN: usize = 256;

/// The files that may stay open, shared by all [`FileStore`](crate::FileStore)s that count against
/// one bound.
#[derive(Debug, Clone)]
pub struct FdCache(Arc<Slots>);

#[derive(Debug)]
struct Slots {
    permits: Arc<Semaphore>,
    most: usize,
    /// The paths of the open files, and how many are open under each.
    paths: Mutex<HashMap<Arc<Path>, usize>>,
}

impl Slots {
    fn paths(&self) -> MutexGuard<'_, HashMap<Arc<Path>, usize>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the slots for open files, until it is dropped.
#[derive(Debug)]
struct OpenSlot {
    others: FdCache,
    path: Arc<Path>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for OpenSlot {
    fn drop(&mut self) {
        let mut paths = self.others.0.paths();
        if let Some(count) = paths.get_mut(&self.path) {
            *count -= 1;
            if *count == 0 {
                paths.remove(&self.path);
            }
        }
    }
}

impl FdCache {
    /// `most` open files at most, and never more than 256.
    pub fn new(most: usize) -> Self {
        let most = most.min(MAX_OPEN);
        Self(Arc::new(Slots {
            permits: Arc::new(Semaphore::new(most)),
            most,
            paths: Mutex::default(),
        }))
    }

    /// The paths of the files that are open now.
    pub fn paths(&self) -> Vec<Arc<Path>> {
        self.0.paths().keys().cloned().collect()
    }

    fn take_slot(&self, path: &Arc<Path>) -> Option<OpenSlot> {
        let permit = Arc::clone(&self.0.permits).try_acquire_owned().ok()?;
        *self.0.paths().entry(Arc::clone(path)).or_default() += 1;
        Some(OpenSlot { others: self.clone(), path: Arc::clone(path), _permit: permit })
    }

    /// The number of files that are open now, and the most that may be.
    pub fn in_use(&self) -> (usize, usize) {
        let Slots { permits, most, .. } = &*self.0;
        (most - permits.available_permits().min(*most), *most)
    }
}

/// One file, open or closed.
#[derive(Debug)]
pub(super) struct CachedFile {
    open: Mutex<Option<Open>>,
    /// `None`: it always stays open.
    among: Option<(FdCache, Arc<Path>)>,
}

#[derive(Debug)]
struct Open {
    file: Arc<File>,
    /// Since the last [`CachedFile::close_if_idle`].
    was_used: bool,
    _slot: Option<OpenSlot>,
}

impl CachedFile {
    pub(super) fn new(file: Arc<File>) -> Self {
        Self { open: Mutex::new(Some(Open { file, was_used: true, _slot: None })), among: None }
    }

    /// From now on it stays open only as long as there is a slot and it is read.
    pub(super) fn limit_by(&mut self, others: &FdCache, path: &Arc<Path>) {
        self.among = Some((others.clone(), Arc::clone(path)));
        let open = self.open().take();
        if let Some(open) = open {
            self.keep(open.file);
        }
    }

    /// The file, if it is open; counts as a use.
    pub(super) fn opened(&self) -> Option<Arc<File>> {
        let mut open = self.open();
        let open = open.as_mut()?;
        open.was_used = true;
        Some(Arc::clone(&open.file))
    }

    /// The file, if it is open; does not count as a use.
    pub(super) fn peek(&self) -> Option<Arc<File>> {
        self.open().as_ref().map(|open| Arc::clone(&open.file))
    }

    /// Keeps a reopened file, if there is a slot.
    pub(super) fn keep(&self, file: Arc<File>) {
        let slot = match &self.among {
            None => None,
            Some((others, path)) => match others.take_slot(path) {
                Some(slot) => Some(slot),
                None => return,
            },
        };
        *self.open() = Some(Open { file, was_used: true, _slot: slot });
    }

    /// Closes it if it was not used since the last call. A read that is under way keeps its own
    /// handle.
    pub(super) fn close_if_idle(&self) {
        if self.among.is_none() {
            return;
        }
        let mut open = self.open();
        if let Some(Open { was_used, .. }) = open.as_mut()
            && !std::mem::take(was_used)
        {
            *open = None;
        }
    }

    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

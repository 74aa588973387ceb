//! An open file that need not stay open: a peer that shares a million files has not a million
//! descriptors.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Files of one peer that stay open after they were read from, at most: more would be of little
/// use.
const KEPT_OPEN: usize = 256;

/// How many files may stay open, in all that share this.
#[derive(Debug, Clone)]
pub struct OpenFiles(Arc<Room>);

#[derive(Debug)]
struct Room {
    places: Arc<Semaphore>,
    most: usize,
    /// Where those that are open are, and how many of them there.
    paths: Mutex<HashMap<Arc<Path>, usize>>,
}

impl Room {
    fn paths(&self) -> MutexGuard<'_, HashMap<Arc<Path>, usize>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the open files, until it is dropped.
#[derive(Debug)]
struct Place {
    others: OpenFiles,
    path: Arc<Path>,
    _room: OwnedSemaphorePermit,
}

impl Drop for Place {
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

impl OpenFiles {
    /// So many at most, or fewer.
    pub fn new(most: usize) -> Self {
        let most = most.min(KEPT_OPEN);
        Self(Arc::new(Room {
            places: Arc::new(Semaphore::new(most)),
            most,
            paths: Mutex::default(),
        }))
    }

    /// Where the files are that are open at this moment.
    pub fn paths(&self) -> Vec<Arc<Path>> {
        self.0.paths().keys().cloned().collect()
    }

    fn place(&self, path: &Arc<Path>) -> Option<Place> {
        let room = Arc::clone(&self.0.places).try_acquire_owned().ok()?;
        *self.0.paths().entry(Arc::clone(path)).or_default() += 1;
        Some(Place { others: self.clone(), path: Arc::clone(path), _room: room })
    }

    /// Files open at this moment, and how many may stay so.
    pub fn in_use(&self) -> (usize, usize) {
        let Room { places, most, .. } = &*self.0;
        (most - places.available_permits().min(*most), *most)
    }
}

/// One file, open or not.
#[derive(Debug)]
pub(super) struct Held {
    open: Mutex<Option<Open>>,
    /// None: it stays open whatever else is.
    among: Option<(OpenFiles, Arc<Path>)>,
}

#[derive(Debug)]
struct Open {
    file: Arc<File>,
    /// Since the last [`Held::rest`].
    was_used: bool,
    _place: Option<Place>,
}

impl Held {
    pub(super) fn new(file: Arc<File>) -> Self {
        Self { open: Mutex::new(Some(Open { file, was_used: true, _place: None })), among: None }
    }

    /// From now on it stays open only as long as there is room and somebody reads it.
    pub(super) fn keep_among(&mut self, others: &OpenFiles, path: &Arc<Path>) {
        self.among = Some((others.clone(), Arc::clone(path)));
        let open = self.open().take();
        if let Some(open) = open {
            self.keep(open.file);
        }
    }

    /// The file, if it is open.
    pub(super) fn file(&self) -> Option<Arc<File>> {
        let mut open = self.open();
        let open = open.as_mut()?;
        open.was_used = true;
        Some(Arc::clone(&open.file))
    }

    /// The same for somebody who does not read from it.
    pub(super) fn peek(&self) -> Option<Arc<File>> {
        self.open().as_ref().map(|open| Arc::clone(&open.file))
    }

    /// It was opened again and stays open if there is room.
    pub(super) fn keep(&self, file: Arc<File>) {
        let place = match &self.among {
            None => None,
            Some((others, path)) => match others.place(path) {
                Some(place) => Some(place),
                None => return,
            },
        };
        *self.open() = Some(Open { file, was_used: true, _place: place });
    }

    /// Closes it if it was not used since this was last called. Who reads from it right now is not
    /// disturbed.
    pub(super) fn rest(&self) {
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

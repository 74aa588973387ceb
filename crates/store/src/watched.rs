//! What those who serve some files and the one who watches the directory they are in tell each
//! other.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// Whether somebody notices what becomes of some files, so that nobody else has to look; and which
/// of them were not found when they were to be opened again. Each is there once, so there are never
/// more than files.
#[derive(Debug, Clone, Default)]
pub struct Watched(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    is_watched: AtomicBool,
    missed: Mutex<BTreeSet<Arc<Path>>>,
    word: Notify,
}

impl Watched {
    /// From now on.
    pub fn set(&self, is_watched: bool) {
        self.0.is_watched.store(is_watched, Ordering::Relaxed);
    }

    pub(super) fn is_watched(&self) -> bool {
        self.0.is_watched.load(Ordering::Relaxed)
    }

    /// It was not at its path, and is not served any more. It may be back before a look at the
    /// directory sees that.
    pub(super) fn miss(&self, path: &Arc<Path>) {
        self.0.missed.lock().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(path));
        self.0.word.notify_one();
    }

    /// The files that were missed since this was last called.
    pub fn take_missed(&self) -> BTreeSet<Arc<Path>> {
        std::mem::take(&mut *self.0.missed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Until one is missed.
    pub async fn missed(&self) {
        self.0.word.notified().await;
    }
}

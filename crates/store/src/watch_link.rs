//! Shared state between the watcher of a directory and the [`FileStore`](crate::FileStore)s of the
//! files in it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// Two facts: whether the watcher notices changes, so that the files need not be polled; and which
/// files could not be opened again. Each file is in that set once, so the set is never larger than
/// the number of files.
#[derive(Debug, Clone, Default)]
pub struct WatchLink(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    is_watched: AtomicBool,
    missed: Mutex<BTreeSet<Arc<Path>>>,
    word: Notify,
}

impl WatchLink {
    /// Sets whether the watcher notices changes from now on.
    pub fn set(&self, is_watched: bool) {
        self.0.is_watched.store(is_watched, Ordering::Relaxed);
    }

    pub(super) fn is_watched(&self) -> bool {
        self.0.is_watched.load(Ordering::Relaxed)
    }

    /// Reports a file that was not at its path and is not served any more. It may be back before a
    /// scan of the directory notices.
    pub(super) fn miss(&self, path: &Arc<Path>) {
        self.0.missed.lock().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(path));
        self.0.word.notify_one();
    }

    /// The files that were reported missing since the last call.
    pub fn take_missed(&self) -> BTreeSet<Arc<Path>> {
        std::mem::take(&mut *self.0.missed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until a file is reported missing.
    pub async fn missed(&self) {
        self.0.word.notified().await;
    }
}

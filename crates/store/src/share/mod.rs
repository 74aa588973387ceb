//! Notices files that are added to, changed in and removed from a shared directory, by scanning it
//! repeatedly.
//!
//! Polling is slow and reliable: it misses no change for good, and works on every file system.
//! Where inotify is available, it only tells when to scan.

mod change;
mod dir_watch;
mod inotify;
mod left_out;
mod scan;
mod secure;
mod walk;

pub use change::Change;
pub use dir_watch::{DirWatch, WatchOptions};
pub use inotify::Notices;
pub use left_out::{LeftOut, LeftOutKind};
pub use secure::ShareDirError;

#[cfg(test)]
mod tests;

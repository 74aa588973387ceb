//! Noticing what a person puts into, changes in and takes out of a shared directory, by looking at
//! it again and again.
//!
//! Looking is dull and sure: it misses nothing for good, and works on every file system. Where the
//! system has word of changes, that only says when to look.

mod dir_watch;
mod inotify;
mod left_out;
mod walk;

pub use dir_watch::{Change, DirWatch, ShareDirError, WatchOptions};
pub use inotify::Notices;
pub use left_out::{LeftOut, LeftOutKind};

#[cfg(test)]
mod tests;

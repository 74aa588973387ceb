//! Noticing what a person puts into, changes in and takes out of a shared directory, by looking at it again and again.
//!
//! Looking is dull and sure: it misses nothing for good, and works on every file system. Where the system has word of
//! changes, that only says when to look.

mod dir_watch;
mod notices;
mod walk;

pub(crate) use notices::Notices;

pub use dir_watch::{Change, DirWatch, ShareDirError, WatchOptions};

#[cfg(test)]
mod tests;

//! Noticing what a person puts into, changes in and takes out of a shared directory, by looking at it again and again.
//!
//! Looking is dull and sure: it needs no notification service, misses nothing for good, and works on every file system.

mod dir_watch;
mod walk;

pub use dir_watch::{Change, DirWatch, ShareDirError, WatchOptions};

#[cfg(test)]
mod tests;

//! Whether a shared content is what it was.

/// The state of a shared content compared with when it was shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileState {
    /// It is as it was shared, under its path.
    Unchanged,
    /// Only the time of its last change differs: only reading it tells whether its content changed.
    Touched,
    /// It was written to or truncated.
    Changed,
    /// Its path is gone or names another file.
    Gone,
    /// Of a tree: members differ, and their chunks are [withdrawn](crate::FileStore::take_withdrawn).
    MembersChanged,
}

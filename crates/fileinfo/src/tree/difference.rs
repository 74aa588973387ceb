//! What differs between two trees. They differ nowhere exactly if they have the same entries.

use std::cmp::Ordering;
use std::iter::from_fn;

use super::entry::{Entry, EntryKind};
use super::manifest::Manifest;

/// A path at which a tree is not the expected one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference<'a> {
    /// From the top of the tree; untrusted bytes, as in [`Entry`].
    pub path: &'a [u8],
    /// What is wrong there; of several things the first.
    pub kind: DifferenceKind,
}

/// What is wrong at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DifferenceKind {
    /// Nothing is there.
    Missing,
    /// Nothing should be there.
    Extra,
    /// One of a directory, a file and a link is there instead of another.
    Kind,
    /// A file with other bytes.
    Content,
    /// A file that is executable and should not be, or the other way round.
    Mode,
    /// A link with another target.
    Target,
}

impl Manifest {
    /// Where `found` differs from this tree, sorted bytewise by path. How payloads are cut into
    /// chunks is no difference.
    pub fn differences<'a>(
        &'a self,
        found: &'a Manifest,
    ) -> impl Iterator<Item = Difference<'a>> + 'a {
        let (mut expected, mut found) = (self.entries().peekable(), found.entries().peekable());
        from_fn(move || {
            loop {
                let order = match (expected.peek(), found.peek()) {
                    (None, None) => return None,
                    (Some(_), None) => Ordering::Less,
                    (None, Some(_)) => Ordering::Greater,
                    (Some(one), Some(other)) => one.path.cmp(other.path),
                };
                let one = if order.is_le() { expected.next() } else { None };
                let other = if order.is_ge() { found.next() } else { None };
                let difference = match (one, other) {
                    (Some(Entry { path, .. }), None) => {
                        Some(Difference { path, kind: DifferenceKind::Missing })
                    }
                    (None, Some(Entry { path, .. })) => {
                        Some(Difference { path, kind: DifferenceKind::Extra })
                    }
                    (Some(one), Some(other)) => between(one.kind, other.kind)
                        .map(|kind| Difference { path: one.path, kind }),
                    (None, None) => None,
                };
                if difference.is_some() {
                    return difference;
                }
            }
        })
    }
}

fn between(expected: EntryKind<'_>, found: EntryKind<'_>) -> Option<DifferenceKind> {
    use EntryKind::{Directory, File, Link};
    match (expected, found) {
        _ if expected == found => None,
        (File { size, hash, .. }, File { size: other_size, hash: other_hash, .. }) => {
            if (size, hash) == (other_size, other_hash) {
                Some(DifferenceKind::Mode)
            } else {
                Some(DifferenceKind::Content)
            }
        }
        (Link { .. }, Link { .. }) => Some(DifferenceKind::Target),
        (Directory | File { .. } | Link { .. }, _) => Some(DifferenceKind::Kind),
    }
}

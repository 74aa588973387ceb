//! Where the links of a tree lead.

use super::entry::{Entry, EntryKind};
use super::manifest::Manifest;
use super::path::components;

impl Manifest {
    /// Links that may lead out of the tree.
    ///
    /// A target is followed from the directory of its link. It stays inside if it is relative and
    /// each `..` in it leaves a directory of the tree: behind another link, `..` is where that link
    /// led to, which could be above the tree although the text is not. Other components may be
    /// links, which stay inside themselves, or be missing.
    pub fn links_to_outside(&self) -> impl Iterator<Item = Entry<'_>> {
        self.entries().filter(|entry| match entry.kind {
            EntryKind::Link { target } => !self.stays_inside(entry.path, target),
            EntryKind::Directory | EntryKind::File { .. } => false,
        })
    }

    fn stays_inside(&self, link: &[u8], target: &[u8]) -> bool {
        if target.starts_with(b"/") {
            return false;
        }
        let mut path: Vec<&[u8]> = components(link).collect();
        path.pop();
        for component in components(target) {
            match component {
                [] | [b'.'] => {}
                [b'.', b'.'] => {
                    let leaves = self.find(&path.join(&b'/'));
                    if !leaves.is_some_and(|entry| entry.kind == EntryKind::Directory) {
                        return false;
                    }
                    path.pop();
                }
                name => path.push(name),
            }
        }
        true
    }
}

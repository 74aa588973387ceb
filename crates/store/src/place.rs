//! Where an output goes, as its file system sees it: two paths with one place are one file, however
//! they are written.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rand::RngExt;

use super::named_dir;
use super::sys;

/// A name in a directory. Two that are equal may be one file; [`Place::is_one_with`] asks the file
/// system.
#[derive(Debug, Clone)]
pub struct Place {
    directory: Arc<OwnedFd>,
    key: Key,
    name: OsString,
}

/// What all paths of one file have in common, and seldom others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// Device and number of the directory.
    directory: (u64, u64),
    name: OsString,
}

impl Place {
    /// The place of an output; none if its directory is not there.
    pub fn of(out: &Path) -> Option<Self> {
        let name = out.file_name()?;
        let parent = std::path::absolute(out).ok()?.parent()?.to_owned();
        let directory = named_dir::open(&parent).ok()?;
        let entry = sys::entry(&directory).ok()?;
        let key = Key { directory: (entry.device, entry.stamp.inode), name: folded(name) };
        Some(Self { directory: Arc::new(directory), key, name: name.to_owned() })
    }

    /// Places with different keys are different.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Whether a file with the other name would be found under this one. Where the names differ, it
    /// is tried.
    pub fn is_one_with(&self, other: &OsStr) -> bool {
        if self.name == other {
            return true;
        }
        // No longer than what a download adds to its name.
        let start = OsString::from(format!(".tnet-{:08x}.", rand::rng().random::<u32>()));
        let with = |name: &OsStr| {
            let mut probe = start.clone();
            probe.push(name);
            probe
        };
        let (ours, theirs) = (with(&self.name), with(other));
        if sys::create_new(&self.directory, &theirs, None).is_err() {
            return false;
        }
        let found = sys::entry_at(&self.directory, &ours).is_ok_and(|entry| entry.is_some());
        // What cannot be removed is only litter.
        let _ = sys::remove(&self.directory, &theirs);
        found
    }
}

/// The same for all names that are one where case does not matter, or dots at the end.
fn folded(name: &OsStr) -> OsString {
    match name.to_str() {
        Some(text) => text.trim_end_matches(['.', ' ']).to_lowercase().to_uppercase().into(),
        None => OsStr::from_bytes(&name.as_bytes().to_ascii_uppercase()).to_owned(),
    }
}

/// A file as it was left under a name: whoever finds the same one under another name would write
/// over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Found {
    device: u64,
    inode: u64,
}

impl Found {
    /// What stands under the name now, if it is a file with no other name.
    pub fn at(out: &Path) -> Option<Self> {
        let parent = std::path::absolute(out).ok()?.parent()?.to_owned();
        let directory = named_dir::open(&parent).ok()?;
        let entry = sys::entry_at(directory.as_fd(), out.file_name()?).ok()??;
        let is_one = entry.kind == sys::EntryKind::File && entry.names == 1;
        is_one.then_some(Self { device: entry.device, inode: entry.stamp.inode })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::scratch;

    #[test]
    fn a_path_through_a_link_or_with_detours_has_the_same_place() {
        let dir = scratch();
        std::fs::create_dir(dir.path().join("a")).expect("writable");
        std::os::unix::fs::symlink("a", dir.path().join("link")).expect("a link");
        let place = |path: &str| Place::of(&dir.path().join(path));
        let key = |path: &str| place(path).map(|place| place.key);
        assert!(key("a/x").is_some());
        for same in ["a/./x", "link/x", "a/../a/x", "link/../a//x"] {
            assert_eq!(key(same), key("a/x"), "{same}");
        }
        assert_ne!(key("x"), key("a/x"));
        assert_eq!(key("not there/x"), None);
        let there = place("a/x").expect("it is there");
        assert!(there.is_one_with("x".as_ref()));
        assert!(!there.is_one_with("y".as_ref()));
        assert_eq!(std::fs::read_dir(dir.path().join("a")).expect("readable").count(), 0);
    }

    #[test]
    fn names_are_one_where_case_does_not_matter() {
        for (one, other) in
            [("A.img", "a.IMG"), ("\u{c4}", "\u{e4}"), ("a.", "A"), ("stra\u{df}e", "STRASSE")]
        {
            assert_eq!(folded(one.as_ref()), folded(other.as_ref()), "{one}");
        }
        assert_ne!(folded("a".as_ref()), folded("b".as_ref()));
    }
}

//! Which file an output path names, as the file system sees it: two paths with one identity lead to
//! one file, however they are written.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rand::RngExt;

use super::named_dir;
use super::sys;

/// A name in an open directory. Outputs with equal [keys](Self::key) may be one file;
/// [`is_same_name_as`](Self::is_same_name_as) asks the file system.
#[derive(Debug, Clone)]
pub struct OutputIdentity {
    directory: Arc<OwnedFd>,
    key: OutputKey,
    name: OsString,
}

/// Equal for all paths of one file, and seldom equal for paths of different files.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OutputKey {
    /// Device and number of the directory.
    directory: (u64, u64),
    name: OsString,
}

impl OutputIdentity {
    /// The identity of an output; `None` if its directory does not exist.
    pub fn of(out: &Path) -> Option<Self> {
        let name = out.file_name()?;
        let parent = std::path::absolute(out).ok()?.parent()?.to_owned();
        let directory = named_dir::open(&parent).ok()?;
        let entry = sys::entry(&directory).ok()?;
        let key =
            OutputKey { directory: (entry.device, entry.fingerprint.inode), name: folded(name) };
        Some(Self { directory: Arc::new(directory), key, name: name.to_owned() })
    }

    /// Outputs with different keys are different files.
    pub fn key(&self) -> &OutputKey {
        &self.key
    }

    /// Whether a file with the other name would be found under this name, as on a file system that
    /// ignores case. If the names differ, this creates and removes a probe file to find out.
    pub fn is_same_name_as(&self, other: &OsStr) -> bool {
        if self.name == other {
            return true;
        }
        // Not longer than the suffix that a download adds to its name.
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
        // A probe that cannot be removed does no harm.
        let _ = sys::remove(&self.directory, &theirs);
        found
    }
}

/// Equal for all names that are one name on a file system that ignores case or dots at the end.
fn folded(name: &OsStr) -> OsString {
    match name.to_str() {
        Some(text) => text.trim_end_matches(['.', ' ']).to_lowercase().to_uppercase().into(),
        None => OsStr::from_bytes(&name.as_bytes().to_ascii_uppercase()).to_owned(),
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
        let place = |path: &str| OutputIdentity::of(&dir.path().join(path));
        let key = |path: &str| place(path).map(|place| place.key);
        assert!(key("a/x").is_some());
        for same in ["a/./x", "link/x", "a/../a/x", "link/../a//x"] {
            assert_eq!(key(same), key("a/x"), "{same}");
        }
        assert_ne!(key("x"), key("a/x"));
        assert_eq!(key("not there/x"), None);
        let there = place("a/x").expect("it is there");
        assert!(there.is_same_name_as("x".as_ref()));
        assert!(!there.is_same_name_as("y".as_ref()));
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

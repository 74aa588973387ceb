//! What the file system makes of names and modes, found out with one file that is removed again.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;

use rustix::io::Errno;

use crate::{beneath, sys};

/// What is known of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Probe {
    /// Any two names are two names: it takes neither upper and lower case for one, nor a letter
    /// with its accent in one or two characters, and refuses no byte. Else it may refuse a name.
    pub(super) takes_all_names: bool,
    /// The permissions that are left of `0777` in a new file; `None` if it has no modes.
    pub(super) granted_mode: Option<u32>,
}

/// What no file system for other systems takes, and a byte that is not in UTF-8.
const ODD: &[u8] = b":?\xff";

impl Probe {
    /// Makes a file in the directory, which is ours alone.
    pub(super) fn of(directory: &OwnedFd) -> io::Result<Self> {
        let stem = format!(".tnet-{:016x}", rand::random::<u64>());
        let named = |end: &str| OsString::from_vec([stem.as_bytes(), end.as_bytes(), ODD].concat());
        let (mut name, mut takes_all_names) = (named("A\u{e9}"), true);
        let mut created = create(directory, &name);
        if created.as_ref().is_err_and(refuses_name) {
            (name, takes_all_names) = (OsString::from(stem.clone()), false);
            created = create(directory, &name);
        }
        let file = created?;
        let mut found = || -> io::Result<Self> {
            let granted = sys::protection(&file)?.mode & 0o777;
            sys::set_mode(&file, 0o600)?;
            let has_modes = sys::protection(&file)?.mode & 0o777 == 0o600;
            let is_there = |other: OsString| {
                sys::entry_at(directory, &other).is_ok_and(|entry| entry.is_some())
            };
            takes_all_names &= !["a\u{e9}", "Ae\u{301}"].map(named).into_iter().any(is_there);
            Ok(Self { takes_all_names, granted_mode: has_modes.then_some(granted) })
        };
        let found = found();
        sys::remove(directory, &name)?;
        found
    }
}

fn create(directory: &OwnedFd, name: &OsStr) -> io::Result<File> {
    beneath::create(directory, name.as_ref(), 0o777)
}

fn refuses_name(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::ILSEQ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let directory = sys::open_directory(dir.path()).expect("there");
        let probe = Probe::of(&directory).expect("writable");
        assert_eq!(std::fs::read_dir(dir.path()).expect("there").count(), 0);
        // Of the file systems that tests run on.
        if cfg!(target_os = "linux") {
            assert!(probe.takes_all_names);
            assert!(probe.granted_mode.is_some());
        }
    }
}

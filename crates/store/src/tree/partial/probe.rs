//! What the file system makes of names and modes, found out with one file that is removed again.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;

use crate::sys;

/// What is known of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Probe {
    /// It takes upper and lower case for one, or a letter with its accent in one or two
    /// characters.
    pub(super) folds_names: bool,
    /// The permissions that are left of `0777` in a new file; `None` if it has no modes.
    pub(super) granted_mode: Option<u32>,
}

impl Probe {
    /// Makes a file in the directory, which is ours alone.
    pub(super) fn of(directory: &OwnedFd) -> io::Result<Self> {
        let stem = format!(".tnet-{:016x}", rand::random::<u64>());
        let named = |end: &str| OsString::from(format!("{stem}{end}"));
        let (mut name, mut is_plain) = (named("A\u{e9}"), false);
        let mut created = create(directory, &name);
        if created.as_ref().is_err_and(refuses_name) {
            // Not even this one may be taken as it is: then it folds, for all that is known.
            (name, is_plain) = (named("A"), true);
            created = create(directory, &name);
        }
        let file = created?;
        let found = || -> io::Result<Self> {
            let granted = sys::protection(&file)?.mode & 0o777;
            sys::set_mode(&file, 0o600)?;
            let has_modes = sys::protection(&file)?.mode & 0o777 == 0o600;
            let mut folds_names = is_plain;
            for other in ["a\u{e9}", "Ae\u{301}"].map(named) {
                folds_names |= sys::entry_at(directory, &other).is_ok_and(|entry| entry.is_some());
            }
            Ok(Self { folds_names, granted_mode: has_modes.then_some(granted) })
        };
        let found = found();
        sys::remove(directory, &name)?;
        found
    }
}

fn create(directory: &OwnedFd, name: &OsStr) -> io::Result<std::fs::File> {
    crate::beneath::create(directory, name.as_ref(), 0o777)
}

fn refuses_name(error: &io::Error) -> bool {
    use rustix::io::Errno;
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
        if cfg!(target_os = "linux") {
            assert!(!probe.folds_names);
            assert!(probe.granted_mode.is_some());
        }
    }
}

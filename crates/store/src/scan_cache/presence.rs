//! Whether a file that was seen is gone for good, or away with its disk.
//!
//! Reading the files of a large disk again because it was not mounted for a moment would take
//! hours. So what a directory is on is remembered with the file: a file is gone if it has no name
//! any more and what is left of its path is on the same device.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The number of a mounted file system, good until it is unmounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Device(u64);

impl Device {
    /// What the directory of a file is on. Not that of the file itself, which on an overlay may be
    /// on another one.
    pub(super) fn of_directory(path: &Path) -> Option<Device> {
        std::fs::metadata(path.parent()?).ok().as_ref().map(Device::of)
    }

    fn of(metadata: &Metadata) -> Device {
        Device(metadata.dev())
    }
}

/// Whether a file whose directory was on that device is not there while the device is.
pub(super) fn is_gone(path: &Path, device: Device) -> bool {
    !is_there(path) && directory_left(path).is_some_and(|found| found == device)
}

/// Whether something has that name; true also if that cannot be known.
pub(super) fn is_there(path: &Path) -> bool {
    !std::fs::symlink_metadata(path).is_err_and(|error| means_absence(&error))
}

/// What the innermost directory above a path is on, of those that are there; `None` if that cannot
/// be known.
fn directory_left(path: &Path) -> Option<Device> {
    for above in path.ancestors().skip(1) {
        match std::fs::metadata(above) {
            Ok(metadata) => return Some(Device::of(&metadata)),
            Err(error) if means_absence(&error) => {}
            Err(_) => return None,
        }
    }
    None
}

fn means_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The path of these bytes.
pub(super) fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_whose_disk_is_away_is_not_gone() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let below = dir.path().join("a");
        std::fs::create_dir(&below).expect("writable");
        let path = below.join("file");
        std::fs::write(&path, "bytes").expect("writable");
        let device = Device::of_directory(&path).expect("there");
        let other = Device(device.0.wrapping_add(1));
        assert!(!is_gone(&path, device) && !is_gone(&path, other), "it is there");
        std::fs::remove_file(&path).expect("ours");
        assert!(is_gone(&path, device) && !is_gone(&path, other), "its directory is there");
        std::fs::remove_dir(&below).expect("empty");
        assert!(is_gone(&path, device) && !is_gone(&path, other), "the one above is there");
        std::fs::write(&below, "no directory").expect("writable");
        let file = Device(std::fs::metadata(&below).expect("there").dev());
        assert!(is_gone(&path, file), "no name can be below a file");
    }
}

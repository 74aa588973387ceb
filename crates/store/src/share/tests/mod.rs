//! Directories as people treat them: copied into, edited, cleaned up, badly protected.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::{Change, DirWatch, WatchOptions};
use crate::FileFingerprint;

mod changes;
mod model;
mod safety;

/// The wall clock of the tests.
const NOW: Duration = Duration::from_secs(2_000_000_000);
const LONG_AGO: Duration = Duration::from_secs(1_000_000_000);
/// Within [`WatchOptions::settle`] of [`NOW`].
const JUST_NOW: Duration = Duration::from_millis(1_999_999_999_900);

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a place for temporary files")
}

fn watch(dir: &Path) -> DirWatch {
    DirWatch::new(dir, WatchOptions::default()).expect("a directory of our own")
}

/// Writes a file that was last modified at that time.
fn put(path: impl AsRef<Path>, content: &[u8], modified: Duration) {
    fs::write(&path, content).expect("writable");
    touch(path, modified);
}

fn touch(path: impl AsRef<Path>, modified: Duration) {
    let file = File::options().write(true).open(path).expect("there");
    file.set_modified(UNIX_EPOCH + modified).expect("settable");
}

fn fingerprint(path: impl AsRef<Path>) -> FileFingerprint {
    FileFingerprint::of(&fs::metadata(path).expect("there"))
}

fn appeared(path: impl AsRef<Path>) -> Change {
    Change::Appeared { fingerprint: fingerprint(&path), path: path.as_ref().to_owned() }
}

fn changed(path: impl AsRef<Path>) -> Change {
    Change::Changed { fingerprint: fingerprint(&path), path: path.as_ref().to_owned() }
}

fn deleted(path: impl AsRef<Path>) -> Change {
    Change::Deleted { path: path.as_ref().to_owned() }
}

fn poll(watch: &mut DirWatch) -> Vec<Change> {
    let mut changes = watch.poll(NOW).expect("readable");
    changes.sort_by_key(|change| format!("{change:?}"));
    changes
}

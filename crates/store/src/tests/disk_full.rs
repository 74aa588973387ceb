//! File systems that are full or cannot be written, for real: small ones mounted for the test,
//! where that is allowed.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{CHUNK, Sample, names, scratch, skipped};
use crate::{Download, OpenError};

/// A memory file system; unmounted when dropped.
pub(crate) struct Mount {
    dir: tempfile::TempDir,
}

impl Mount {
    /// Returns `None` and prints why where mounting is not allowed.
    pub(crate) fn new(options: &str) -> Option<Self> {
        let dir = scratch();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tnet-test"])
            .arg(dir.path())
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            skipped("mounting is not allowed here");
        }
        mounted.then(|| Self { dir })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.dir.path()).status();
    }
}

#[test]
fn a_file_that_does_not_fit_is_refused_before_the_first_byte_and_leaves_nothing() {
    let Some(mount) = Mount::new("size=1m") else { return };
    let sample = Sample::of_size(2 << 20);

    let refused = sample.open(&mount.path().join("out"));

    let Err(OpenError::DiskFull { needed, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(needed, 2 << 20);
    assert!(names(mount.path()).is_empty(), "{:?}", names(mount.path()));
}

#[test]
fn a_partial_that_cannot_get_its_space_back_keeps_its_chunks() {
    let Some(mount) = Mount::new("size=1m") else { return };
    let out = mount.path().join("out");
    let sample = Sample::of_size(40 * CHUNK);
    let (download, _) = sample.begin(&out);
    sample.write(&download, &[1]);
    download.sync().expect("there is room");
    let partial = download.partial_path();
    drop(download);
    // As a copy that does not keep holes' space would be: two chunks, and the disk full.
    fs::File::options()
        .write(true)
        .open(&partial)
        .and_then(|file| file.set_len(2 * CHUNK))
        .expect("cut");
    let filler = mount.path().join("filler");
    fill(&filler);

    let refused = sample.open(&out);
    assert!(matches!(refused, Err(OpenError::DiskFull { .. })), "{refused:?}");

    // Emptied first: a child that another test is just starting may hold the file open for a
    // moment.
    fs::File::create(&filler).expect("can be emptied");
    fs::remove_file(&filler).expect("removable");
    let (_, resumed): (Download, _) = sample.begin(&out);
    assert_eq!(resumed, sample.set(&[1]));
}

/// Writes until nothing fits any more.
pub(crate) fn fill(path: &Path) {
    use std::io::Write;
    let mut file = fs::File::create(path).expect("a name still fits");
    while file.write_all(&[1; 4096]).is_ok() {}
}

#[test]
fn a_download_with_its_space_reserved_finishes_on_a_disk_that_is_full_by_then() {
    let Some(mount) = Mount::new("size=8m") else { return };
    let out = mount.path().join("out");
    let sample = Sample::of_size(400 * CHUNK);
    let (download, _) = sample.begin(&out);
    download.reserve_rest().expect("there is room");
    fill(&mount.path().join("filler"));

    // No chunk beside another, each with a record of its own: the journal outgrows its first block.
    for index in (0..400).step_by(2).chain((1..400).step_by(2)) {
        sample.write(&download, &[index]); // the space was reserved
        download.sync().expect("the journal's space was reserved");
    }
    download.finish().expect("a rename needs no space");

    assert_eq!(fs::read(&out).expect("there"), sample.content);
}

#[test]
fn a_read_only_file_system_is_named_as_such() {
    let Some(mount) = Mount::new("size=1m,ro") else { return };
    let refused = Sample::of_size(CHUNK).open(&mount.path().join("out"));
    assert!(matches!(refused, Err(OpenError::ReadOnly { .. })), "{refused:?}");
}

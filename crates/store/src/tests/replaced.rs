//! What a file that is replaced leaves to the new one: at no moment is the new one more readable.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use super::{CHUNK, Sample, partial, scratch};
use crate::{OnExisting, OpenError, write_whole};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("there").permissions().mode() & 0o7777
}

fn old_file(path: &Path, mode: u32) {
    fs::write(path, "old").expect("writable");
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("ours");
}

#[test]
fn a_replaced_file_keeps_its_mode_and_its_partial_is_no_more_readable() {
    for kept in [0o600, 0o640, 0o400, 0o644, 0o755, 0o777] {
        let dir = scratch();
        let out = dir.path().join("out");
        let sample = Sample::of_size(2 * CHUNK);
        old_file(&out, kept);
        let (download, _) = partial(sample.open_replacing(&out));
        let readable = mode(&dir.path().join("out.partial"));
        assert_eq!(readable & !kept & 0o077, 0, "{kept:o}: {readable:o}");
        sample.write_all(&download);
        download.finish().expect("whole");
        assert_eq!(mode(&out), kept);
        assert_eq!(fs::read(&out).expect("readable"), sample.content);
    }
}

#[test]
fn a_partial_of_an_earlier_attempt_becomes_private_too() {
    let dir = scratch();
    let out = dir.path().join("out");
    let sample = Sample::of_size(2 * CHUNK);
    let (download, _) = sample.begin(&out);
    sample.write(&download, &[0]);
    drop(download);
    old_file(&out, 0o600);
    let (_download, _) = partial(sample.open_replacing(&out));
    assert_eq!(mode(&dir.path().join("out.partial")) & 0o077, 0);
}

#[test]
fn attributes_and_owner_stay_where_the_user_may_keep_them() {
    let dir = scratch();
    let out = dir.path().join("out");
    let sample = Sample::of_size(CHUNK);
    old_file(&out, 0o600);
    let file = fs::File::open(&out).expect("readable");
    let has_attributes =
        rustix::fs::fsetxattr(&file, "user.k", b"v", rustix::fs::XattrFlags::empty()).is_ok();
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        std::os::unix::fs::chown(&out, Some(65534), Some(65533)).expect("root may");
    }
    let (download, _) = partial(sample.open_replacing(&out));
    sample.write_all(&download);
    download.finish().expect("whole");
    let metadata = fs::metadata(&out).expect("there");
    if is_root {
        assert_eq!((metadata.uid(), metadata.gid()), (65534, 65533));
    }
    let mut value = [0; 8];
    let found =
        fs::File::open(&out).map(|file| rustix::fs::fgetxattr(file, "user.k", &mut value[..]));
    if has_attributes {
        assert_eq!(found.expect("readable"), Ok(1));
    }
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_a_link_led_to_is_what_was_readable() {
    let dir = scratch();
    let (out, secret) = (dir.path().join("out"), dir.path().join("secret"));
    let sample = Sample::of_size(CHUNK);
    old_file(&secret, 0o600);
    symlink("secret", &out).expect("a link");
    let (download, _) = partial(sample.open_replacing(&out));
    sample.write_all(&download);
    download.finish().expect("whole");
    assert_eq!(mode(&out), 0o600);
    assert_eq!(fs::read(&secret).expect("ours"), b"old");
}

#[test]
fn a_description_that_is_replaced_keeps_its_mode() {
    let dir = scratch();
    let out = dir.path().join("out");
    old_file(&out, 0o600);
    write_whole(&out, b"new", OnExisting::Replace).expect("writable");
    assert_eq!((mode(&out), fs::read(&out).expect("ours")), (0o600, b"new".to_vec()));
}

#[test]
fn an_irreplaceable_target_is_refused_before_the_first_byte() {
    let dir = scratch();
    let out = dir.path().join("out");
    let sample = Sample::of_size(CHUNK);
    old_file(&out, 0o600);
    let changed = |flag: &str, path: &Path| {
        let changed = std::process::Command::new("chattr").arg(flag).arg(path).output();
        changed.is_ok_and(|output| output.status.success())
    };
    for (fix, free, at) in [
        ("+i", "-i", out.as_path()),
        ("+a", "-a", &out),
        ("+i", "-i", dir.path()),
        ("+a", "-a", dir.path()),
    ] {
        if !changed(fix, at) {
            super::skipped("no file can be made immutable here");
            return;
        }
        let refused = sample.open_replacing(&out);
        changed(free, at);
        assert!(
            matches!(refused, Err(OpenError::Unchangeable { .. })),
            "{fix} {at:?}: {refused:?}"
        );
    }
    assert!(!dir.path().join("out.partial").exists());
}

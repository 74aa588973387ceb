//! What may stand where a download wants to go, and what each of these means.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;

use tnet_fileinfo::scan::unwatched;

use super::{CHUNK, Sample, names, partial, scratch, skipped};
use crate::{Download, DownloadOptions, OpenError, Opened};

#[test]
fn a_new_download_has_its_full_length_and_its_space_before_the_first_byte() {
    let dir = scratch();
    let sample = Sample::of_size(10 * CHUNK + 1);

    let (download, resumed) = sample.begin(&dir.path().join("out"));

    let metadata = fs::metadata(download.partial_path()).expect("created");
    assert!(resumed.is_empty());
    assert_eq!(metadata.len(), sample.info.size());
    assert!(metadata.blocks() * 512 >= sample.info.size(), "only {} blocks", metadata.blocks());
    assert_eq!(names(dir.path()), ["out.partial", "out.partial.journal"]);
}

#[test]
fn a_file_with_other_content_is_not_touched_unless_it_may_be_replaced() {
    let dir = scratch();
    let out = dir.path().join("out");
    let sample = Sample::of_size(2 * CHUNK);
    // Another length, which is never read, and the same length, which is.
    for other in [b"precious".to_vec(), Sample::of_seed(2 * CHUNK, b"other").content] {
        fs::write(&out, &other).expect("writable");

        assert!(matches!(sample.open(&out), Err(OpenError::Exists { .. })));
        assert_eq!(names(dir.path()), ["out"]);

        let (download, _) = partial(sample.open_replacing(&out));
        assert_eq!(fs::read(&out).expect("still there"), other, "replaced before it is whole");
        download.discard().expect("removable");
    }
}

#[test]
fn the_finished_file_is_complete_without_downloading_whether_it_may_be_replaced_or_not() {
    let dir = scratch();
    let out = dir.path().join("out");
    for size in [0, 1, 3 * CHUNK] {
        let sample = Sample::of_size(size);
        fs::write(&out, &sample.content).expect("writable");
        let inode = fs::metadata(&out).expect("there").ino();

        for opened in [sample.open(&out), sample.open_replacing(&out)] {
            let Ok(Opened::Complete(store)) = opened else {
                panic!("{size} bytes are not complete")
            };
            assert_eq!(store.fingerprint().inode, inode);
        }
        assert_eq!(names(dir.path()), ["out"]);
    }
}

#[test]
fn a_link_to_the_finished_file_is_complete_and_a_link_to_anything_else_exists() {
    let dir = scratch();
    let out = dir.path().join("out");
    let sample = Sample::of_size(2 * CHUNK);
    fs::write(dir.path().join("right"), &sample.content).expect("writable");
    fs::write(dir.path().join("wrong"), b"x").expect("writable");

    symlink("right", &out).expect("a link");
    assert!(matches!(sample.open(&out), Ok(Opened::Complete(_))));
    for other in ["wrong", "nowhere"] {
        fs::remove_file(&out).expect("removable");
        symlink(other, &out).expect("a link");
        assert!(matches!(sample.open(&out), Err(OpenError::Exists { .. })), "{other}");
    }
}

#[test]
fn replacing_a_link_leaves_what_it_led_to_alone() {
    let dir = scratch();
    let (out, led_to) = (dir.path().join("out"), dir.path().join("led to"));
    let sample = Sample::of_size(2 * CHUNK);
    fs::write(&led_to, b"precious").expect("writable");
    symlink(&led_to, &out).expect("a link");

    let (download, _) = partial(sample.open_replacing(&out));
    sample.write_all(&download);
    download.finish().expect("the disk works");

    assert_eq!(fs::read(&led_to).expect("still there"), b"precious");
    assert!(fs::symlink_metadata(&out).expect("there").is_file());
}

#[test]
fn a_directory_or_a_device_is_never_replaced() {
    let dir = scratch();
    let sample = Sample::of_size(CHUNK);
    let link = dir.path().join("link");
    symlink(dir.path(), &link).expect("a link");

    for directory in [dir.path(), &link] {
        assert!(matches!(sample.open_replacing(directory), Err(OpenError::IsDirectory { .. })));
    }
    assert!(matches!(
        sample.open_replacing(Path::new("/dev/null")),
        Err(OpenError::NotAFile { .. })
    ));
    assert!(fs::metadata("/dev/null").expect("there").file_type().is_char_device());
}

#[test]
fn a_pipe_in_the_way_is_refused_and_does_not_hang() {
    let dir = scratch();
    let sample = Sample::of_size(CHUNK);
    make_pipe(dir.path(), "out");
    make_pipe(dir.path(), "other.partial");

    assert!(matches!(sample.open(&dir.path().join("out")), Err(OpenError::NotAFile { .. })));
    assert!(matches!(
        sample.open(&dir.path().join("other")),
        Err(OpenError::ForeignPartial { .. })
    ));
}

fn make_pipe(directory: &Path, name: &str) {
    let made = std::process::Command::new("mkfifo").arg(directory.join(name)).status();
    assert!(made.expect("mkfifo is everywhere").success());
}

#[test]
fn each_hopeless_path_has_its_own_error() {
    let dir = scratch();
    let sample = Sample::of_size(CHUNK);
    let file = dir.path().join("file");
    fs::write(&file, b"x").expect("writable");
    let open = |path: &Path| sample.open(path).expect_err("hopeless");

    assert!(matches!(open(&dir.path().join("no/out")), OpenError::ParentMissing { .. }));
    assert!(matches!(open(&file.join("out")), OpenError::ParentNotDirectory { .. }));
    assert!(matches!(open(Path::new("..")), OpenError::NoFileName { .. }));
    assert!(matches!(open(Path::new("/")), OpenError::NoFileName { .. }));
    // Fits into the 255 bytes of a name, but not with `.partial.journal`.
    assert!(matches!(open(&dir.path().join("n".repeat(250))), OpenError::NameTooLong { .. }));
    assert_eq!(names(dir.path()), ["file"]);
}

#[test]
fn refusals_of_the_system_keep_their_meaning() {
    let error = |kind: io::ErrorKind| OpenError::from_io(Path::new("out"), kind.into());
    assert!(matches!(error(io::ErrorKind::PermissionDenied), OpenError::NotAllowed { .. }));
    assert!(matches!(error(io::ErrorKind::ReadOnlyFilesystem), OpenError::ReadOnly { .. }));
    assert!(matches!(error(io::ErrorKind::StorageFull), OpenError::DiskFull { .. }));
    assert!(matches!(error(io::ErrorKind::QuotaExceeded), OpenError::DiskFull { .. }));
    assert!(matches!(error(io::ErrorKind::Other), OpenError::Io { .. }));
}

#[test]
fn a_second_download_of_the_same_output_is_busy_at_once() {
    let dir = scratch();
    let out = dir.path().join("out");
    let sample = Sample::of_size(2 * CHUNK);
    let (first, _) = sample.begin(&out);
    sample.write(&first, &[0]);

    assert!(matches!(sample.open(&out), Err(OpenError::Busy { .. })));

    sample.write(&first, &[1]);
    first.finish().expect("the refused one left it alone");
}

#[test]
fn an_abandoned_download_may_be_opened_again_while_its_handle_lives() {
    let dir = scratch();
    let out = dir.path().join("out");
    let sample = Sample::of_size(2 * CHUNK);
    let (first, _) = sample.begin(&out);
    sample.write(&first, &[1]);

    first.abandon().expect("the disk works");

    let (_second, resumed, hashed) = sample.begin_counting(&out);
    assert_eq!(resumed, sample.set(&[1]));
    sample.assert_hashed(&out, hashed, 0, &[1]);
    assert!(first.write_chunk(sample.chunk(0), sample.bytes(sample.chunk(0))).is_err());
}

#[test]
fn a_partial_that_others_could_write_to_is_refused_and_not_written_to() {
    let dir = scratch();
    let victim = dir.path().join("victim");
    let sample = Sample::of_size(CHUNK);
    fs::write(&victim, b"precious").expect("writable");
    symlink(&victim, dir.path().join("soft.partial")).expect("a link");
    fs::hard_link(&victim, dir.path().join("hard.partial")).expect("a link");
    fs::create_dir(dir.path().join("dir.partial")).expect("a directory");

    for name in ["soft", "hard", "dir"] {
        let opened = sample.open(&dir.path().join(name));
        assert!(matches!(opened, Err(OpenError::ForeignPartial { .. })), "{name}");
    }
    assert_eq!(fs::read(&victim).expect("there"), b"precious");
}

#[test]
fn a_stopped_verification_leaves_everything_for_the_next_time() {
    let dir = scratch();
    let out = dir.path().join("out");
    let sample = Sample::of_size(4 * CHUNK);
    let (download, _) = sample.begin(&out);
    sample.write(&download, &[0, 2]);
    drop(download);

    let stopped =
        Download::open(&sample.info, &out, DownloadOptions::default(), &|_| ControlFlow::Break(()));

    assert!(matches!(stopped, Err(OpenError::Cancelled { .. })));
    assert_eq!(sample.begin(&out).1, sample.set(&[0, 2]));
}

#[test]
fn the_companions_have_the_output_s_name_and_a_suffix_whatever_bytes_the_name_has() {
    use std::os::unix::ffi::OsStrExt;
    let dir = scratch();
    let sample = Sample::of_size(CHUNK);
    let out = dir.path().join(OsStr::from_bytes(b"not \xff text"));

    let (download, _) = sample.begin(&out);

    assert_eq!(
        download.partial_path().file_name(),
        Some(OsStr::from_bytes(b"not \xff text.partial"))
    );
}

#[test]
fn the_lock_ends_with_the_download_even_if_another_process_shares_the_open_file() {
    let dir = scratch();
    let out = dir.path().join("out");
    let sample = Sample::of_size(2 * CHUNK);
    let (download, _) = sample.begin(&out);
    // As between the two steps of starting a process: the same open file in two hands.
    let shared = download.file().try_clone().expect("a descriptor is left");

    drop(download);

    sample.begin(&out);
    drop(shared);
}

#[test]
fn a_resumed_download_may_become_more_private_but_not_less() {
    let open = |sample: &Sample, out: &Path, mode| {
        let options = DownloadOptions { mode: Some(mode), ..DownloadOptions::default() };
        partial(Download::open(&sample.info, out, options, &unwatched)).0
    };
    for (began, resumed, expected) in
        [(0o644, 0o600, 0o600), (0o600, 0o644, 0o600), (0o640, 0o644, 0o640)]
    {
        let dir = scratch();
        let out = dir.path().join("out");
        let sample = Sample::of_size(2 * CHUNK);
        drop(open(&sample, &out, began));
        let download = open(&sample, &out, resumed);
        sample.write_all(&download);
        download.finish().expect("whole");
        let mode = fs::metadata(&out).expect("there").mode() & 0o777;
        assert_eq!(mode, expected, "{mode:o} after {began:o} and {resumed:o}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn what_a_directory_gives_to_new_files_no_umask_takes_away() {
    let dir = scratch();
    // Version 2, then tag, rights and id of each entry: owner, user 1234, group, mask, others.
    let entries =
        [(0x01_u16, 7_u16, u32::MAX), (0x02, 6, 1234), (0x04, 5, u32::MAX), (0x10, 7, u32::MAX)];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries.into_iter().chain([(0x20, 0, u32::MAX)]) {
        list.extend([&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat());
    }
    let directory = fs::File::open(dir.path()).expect("there");
    let flags = rustix::fs::XattrFlags::empty();
    if rustix::fs::fsetxattr(&directory, "system.posix_acl_default", &list, flags).is_err() {
        return skipped("this file system has no access lists");
    }
    let out = dir.path().join("out");
    let sample = Sample::of_size(2 * CHUNK);
    // Twice: a new `.partial`, and one that is resumed.
    for _ in 0..2 {
        let options = DownloadOptions { mode: Some(0o644), ..DownloadOptions::default() };
        let (download, _) = partial(Download::open(&sample.info, &out, options, &unwatched));
        let usual = dir.path().join("as any other program makes it");
        fs::File::create(&usual).expect("writable");
        let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o777;
        assert_eq!(mode(&download.partial_path()), mode(&usual));
        assert_eq!(mode(&usual), 0o660, "the user in the list may write");
    }
}

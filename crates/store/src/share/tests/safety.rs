//! What is not shared, and directories that are not watched.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::{LONG_AGO, NOW, appeared, deleted, poll, put, scratch, watch};
use crate::share::{Change, DirWatch, LeftOut, LeftOutKind, ShareDirError, WatchOptions};

#[test]
fn companions_hidden_names_links_and_special_files_are_not_shared() {
    let dir = scratch();
    let path = |name: &str| dir.path().join(name);
    for name in ["a.partial", "a.partial.journal", "a.fileinfo", ".hidden", "shared"] {
        put(path(name), b"x", LONG_AGO);
    }
    fs::create_dir_all(path(".git/objects")).expect("writable");
    put(path(".git/objects/pack"), b"x", LONG_AGO);
    symlink(path("shared"), path("link")).expect("a link");
    symlink(dir.path(), path("loop")).expect("a link");
    let made = std::process::Command::new("mkfifo").arg(path("pipe")).status();
    assert!(made.expect("mkfifo is everywhere").success());
    let _socket = std::os::unix::net::UnixListener::bind(path("socket")).expect("a socket");

    let mut watch = watch(dir.path());
    assert_eq!(poll(&mut watch), [appeared(path("shared"))]);
    let left_out = |kind, count, example: &str| LeftOut { kind, count, example: path(example) };
    let expected = [
        left_out(LeftOutKind::Link, 2, "link"),
        left_out(LeftOutKind::Pipe, 1, "pipe"),
        left_out(LeftOutKind::Socket, 1, "socket"),
        left_out(LeftOutKind::Hidden, 2, ".git"),
        left_out(LeftOutKind::Companion, 3, "a.fileinfo"),
    ];
    assert_eq!(watch.left_out(), expected);
    fs::remove_file(path("pipe")).expect("ours");
    poll(&mut watch);
    assert!(watch.left_out().iter().all(|left_out| left_out.kind != LeftOutKind::Pipe));
}

#[test]
fn a_directory_that_is_too_deep_is_reported_once_and_the_last_one_that_is_not_is_shared() {
    let dir = scratch();
    let options = WatchOptions { max_depth: 2, ..WatchOptions::default() };
    let (deep, deeper) = (dir.path().join("1/2"), dir.path().join("1/2/3"));
    fs::create_dir_all(&deeper).expect("writable");
    put(deep.join("file"), b"x", LONG_AGO);
    put(deeper.join("file"), b"x", LONG_AGO);
    let mut watch = DirWatch::new(dir.path(), options).expect("a directory of our own");

    assert_eq!(poll(&mut watch), [appeared(deep.join("file")), Change::TooDeep { path: deeper }]);
    assert_eq!(poll(&mut watch), []);
}

#[test]
fn an_unreadable_file_is_reported_once_and_appears_when_it_can_be_read() {
    if rustix::process::geteuid().is_root() {
        return skipped("the superuser can read everything");
    }
    let dir = scratch();
    let (file, inside) = (dir.path().join("file"), dir.path().join("closed/file"));
    fs::create_dir(dir.path().join("closed")).expect("writable");
    put(&file, b"x", LONG_AGO);
    put(&inside, b"x", LONG_AGO);
    protect(&file, 0o000);
    protect(&dir.path().join("closed"), 0o000);
    let unreadable = |path: &Path| Change::Unreadable {
        path: path.to_owned(),
        kind: io::ErrorKind::PermissionDenied,
    };
    let mut watch = watch(dir.path());

    assert_eq!(poll(&mut watch), [unreadable(&dir.path().join("closed")), unreadable(&file)]);
    assert_eq!(poll(&mut watch), []);

    protect(&file, 0o600);
    protect(&dir.path().join("closed"), 0o700);
    assert_eq!(poll(&mut watch), [appeared(&inside), appeared(&file)]);

    protect(&dir.path().join("closed"), 0o000);
    assert_eq!(poll(&mut watch), [unreadable(&dir.path().join("closed"))], "nothing is deleted");
    protect(&dir.path().join("closed"), 0o700);
    assert_eq!(poll(&mut watch), []);
}

fn protect(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
}

#[test]
fn only_an_existing_directory_is_watched_and_losing_it_deletes_nothing() {
    let dir = scratch();
    let (shared, file) = (dir.path().join("shared"), dir.path().join("shared/file"));
    let refused = DirWatch::new(&shared, WatchOptions::default());
    assert!(matches!(refused, Err(ShareDirError::Missing { .. })));
    fs::create_dir(&shared).expect("writable");
    put(&file, b"x", LONG_AGO);
    let refused = DirWatch::new(&file, WatchOptions::default());
    assert!(matches!(refused, Err(ShareDirError::NotADirectory { .. })));
    let mut watch = watch(&shared);
    assert_eq!(poll(&mut watch), [appeared(&file)]);

    fs::rename(&shared, dir.path().join("away")).expect("movable");
    assert!(matches!(watch.poll(NOW), Err(ShareDirError::Missing { .. })));
    fs::rename(dir.path().join("away"), &shared).expect("movable");
    assert_eq!(poll(&mut watch), []);
}

#[test]
fn a_private_file_with_a_second_name_is_left_out_where_others_may_have_given_it() {
    let dir = scratch();
    let (elsewhere, linked) = (dir.path().join(".elsewhere"), dir.path().join("linked"));
    put(&elsewhere, b"private", LONG_AGO);
    protect(&elsewhere, 0o640);
    fs::hard_link(&elsewhere, &linked).expect("one file system");
    let hard_link = || Change::HardLink { path: linked.clone() };
    // Users who may write to the directory, and whether all users may read the file.
    for (directory, file, is_shared) in
        [(0o755, 0o640, true), (0o777, 0o640, false), (0o1777, 0o600, false), (0o777, 0o644, true)]
    {
        protect(dir.path(), directory);
        protect(&elsewhere, file);
        let expected = if is_shared { appeared(&linked) } else { hard_link() };
        assert_eq!(poll(&mut watch(dir.path())), [expected], "{directory:o} {file:o}");
    }
    protect(dir.path(), 0o777);
    protect(&elsewhere, 0o600);
    fs::remove_file(&elsewhere).expect("removable");
    assert_eq!(poll(&mut watch(dir.path())), [appeared(&linked)], "it has only this name");
}

#[test]
fn a_directory_that_others_put_in_the_place_of_the_shared_one_is_not_scanned() {
    let dir = scratch();
    let (above, secret) = (dir.path().join("above"), dir.path().join("secret"));
    let (shared, away) = (above.join("shared"), above.join("away"));
    for made in [&shared, &secret] {
        fs::create_dir_all(made).expect("writable");
        put(made.join("file"), b"x", LONG_AGO);
    }
    protect(&above, 0o777);
    let mut watch = watch(&shared);
    assert_eq!(poll(&mut watch), [appeared(shared.join("file"))]);

    fs::rename(&shared, &away).expect("movable");
    symlink(&secret, &shared).expect("a link");
    assert!(matches!(watch.poll(NOW), Err(ShareDirError::Replaced { .. })));
    fs::remove_file(&shared).expect("removable");
    fs::create_dir(&shared).expect("writable");
    assert!(matches!(watch.poll(NOW), Err(ShareDirError::Replaced { .. })));
    // Where no other user may do that, the owner wants it so.
    protect(&above, 0o755);
    assert_eq!(poll(&mut watch), [deleted(shared.join("file"))]);
    put(shared.join("new"), b"x", LONG_AGO);
    assert_eq!(poll(&mut watch), [appeared(shared.join("new"))]);
}

#[test]
fn a_world_writable_directory_of_another_user_is_refused() {
    let dir = scratch();
    let shared = dir.path().join("shared");
    fs::create_dir(&shared).expect("writable");
    let mut watch = watch(&shared);
    protect(&shared, 0o777);
    watch.poll(NOW).expect("it is ours");

    if std::os::unix::fs::chown(&shared, Some(rustix::process::geteuid().as_raw() + 1), None)
        .is_err()
    {
        return skipped("giving directories away is not allowed here");
    }
    for mode in [0o777, 0o1777, 0o702] {
        protect(&shared, mode);
        let refused = DirWatch::new(&shared, WatchOptions::default());
        assert!(matches!(refused, Err(ShareDirError::Insecure { .. })), "{mode:o}");
        assert!(matches!(watch.poll(NOW), Err(ShareDirError::Insecure { .. })), "{mode:o}");
    }
    protect(&shared, 0o775);
    watch.poll(NOW).expect("only its owner and group may write");
}

#[expect(
    clippy::print_stderr,
    reason = "a test that was skipped must not look like one that passed"
)]
fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}

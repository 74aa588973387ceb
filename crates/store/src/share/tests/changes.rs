//! What a scan reports of files that come, change and go.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use super::{JUST_NOW, LONG_AGO, NOW, appeared, changed, deleted, poll, put, scratch, watch};
use crate::share::{Change, DirWatch, LeftOut, LeftOutKind, WatchOptions};
use crate::wait_for_the_clock_of;

#[test]
fn a_file_that_has_been_there_for_long_appears_at_first_sight_and_once() {
    let dir = scratch();
    let file = dir.path().join("file");
    put(&file, b"x", LONG_AGO);
    let mut watch = watch(dir.path());

    assert_eq!(poll(&mut watch), [appeared(&file)]);
    assert_eq!(poll(&mut watch), []);
}

#[test]
fn a_file_still_being_written_appears_only_when_it_stays_the_same() {
    let dir = scratch();
    let file = dir.path().join("file");
    let mut watch = watch(dir.path());
    for length in 1..4 {
        put(&file, &vec![b'x'; length], JUST_NOW);
        assert_eq!(poll(&mut watch), [], "{length} bytes");
    }

    assert_eq!(poll(&mut watch), [appeared(&file)]);
}

#[test]
fn an_edit_is_reported_once_it_is_settled_and_as_a_change() {
    let dir = scratch();
    let file = dir.path().join("file");
    put(&file, b"old", LONG_AGO);
    let mut watch = watch(dir.path());
    poll(&mut watch);

    put(&file, b"new", JUST_NOW);

    assert_eq!(poll(&mut watch), [Change::Changing { path: file.clone() }]);
    assert_eq!(poll(&mut watch), [appeared(&file)]);
    assert_eq!(poll(&mut watch), []);
}

#[test]
fn content_that_changes_while_size_and_time_of_modification_stay_is_a_change() {
    let dir = scratch();
    let file = dir.path().join("file");
    put(&file, b"old", LONG_AGO);
    let mut watch = watch(dir.path());
    poll(&mut watch);

    wait_for_the_clock_of(&file);
    put(&file, b"new", LONG_AGO);

    assert_eq!(poll(&mut watch), [changed(&file)]);
}

#[test]
fn another_file_moved_into_place_is_a_change_even_with_the_same_size_and_time() {
    let dir = scratch();
    let (file, other) = (dir.path().join("file"), dir.path().join(".other"));
    put(&file, b"old", LONG_AGO);
    put(&other, b"new", LONG_AGO);
    let mut watch = watch(dir.path());
    poll(&mut watch);

    fs::rename(other, &file).expect("replaced");

    assert_eq!(poll(&mut watch), [changed(&file)]);
}

/// Whether inotify reports the change.
fn is_heard(watch: &mut DirWatch, what: impl FnOnce()) -> bool {
    let notices = watch.take_notices().expect("a file system of this machine").into_fd();
    what();
    let within = rustix::event::Timespec { tv_sec: 0, tv_nsec: 300_000_000 };
    let mut ready = [PollFd::new(&notices, PollFlags::IN)];
    rustix::event::poll(&mut ready, Some(&within)).expect("no signal comes") > 0
}

#[test]
fn inotify_reports_what_happens_after_a_scan_and_nothing_else() {
    let dir = scratch();
    fs::create_dir_all(dir.path().join("in/deep")).expect("writable");
    let (file, deep) = (dir.path().join("file"), dir.path().join("in/deep/file"));
    put(&file, b"old", LONG_AGO);
    put(&deep, b"old", LONG_AGO);
    let mut watch = watch(dir.path());
    assert_eq!(poll(&mut watch).len(), 2);
    assert!(!is_heard(&mut watch, || assert_eq!(fs::read(&deep).unwrap_or_default(), b"old")));

    let moved = dir.path().join("in/moved");
    let happenings: [(&str, &dyn Fn()); 6] = [
        ("written", &|| put(&deep, b"new", LONG_AGO)),
        ("protected", &|| {
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("ours")
        }),
        ("renamed", &|| fs::rename(&deep, &moved).expect("in place")),
        ("deleted", &|| fs::remove_file(&file).expect("removable")),
        ("a directory created", &|| fs::create_dir(dir.path().join("in/more")).expect("writable")),
        ("a file in it", &|| put(dir.path().join("in/more/file"), b"x", LONG_AGO)),
    ];
    for (name, happening) in happenings {
        poll(&mut watch);
        assert!(is_heard(&mut watch, happening), "{name}");
    }
}

#[test]
fn a_check_finds_what_inotify_does_not_tell_and_nothing_else() {
    let (dir, outside) = (scratch(), scratch());
    fs::create_dir(dir.path().join("a")).expect("writable");
    put(dir.path().join("a/file"), b"content", LONG_AGO);
    fs::create_dir(dir.path().join("empty")).expect("writable");
    let other_name = outside.path().join("other name");
    fs::hard_link(dir.path().join("a/file"), &other_name).expect("one file system");
    let mut watch = watch(dir.path());
    assert!(!watch.is_as_seen());
    for change in [
        &(|| put(&other_name, b"changed", JUST_NOW)) as &dyn Fn(),
        &|| fs::remove_file(dir.path().join("a/file")).expect("there"),
        &|| put(dir.path().join("empty/new"), b"", LONG_AGO),
        &|| fs::rename(dir.path().join("empty"), outside.path().join("moved")).expect("there"),
        &|| fs::create_dir(dir.path().join("empty")).expect("writable"),
    ] {
        poll(&mut watch);
        assert!(watch.is_as_seen() && watch.is_as_seen());
        // The clock of a file system ticks each 4 to 10 ms.
        std::thread::sleep(Duration::from_millis(20));
        change();
        assert!(!watch.is_as_seen());
    }
}

#[test]
fn a_scan_that_leaves_something_to_wait_for_is_followed_by_another_without_a_report() {
    let dir = scratch();
    let mut watch = watch(dir.path());
    put(dir.path().join("file"), b"x", JUST_NOW);
    poll(&mut watch);
    assert!(watch.take_notices().is_none(), "the file is not settled");
    poll(&mut watch);
    assert!(watch.take_notices().is_some());
}

#[test]
fn a_deleted_file_is_reported_and_one_that_never_came_to_rest_is_not() {
    let dir = scratch();
    let (file, brief) = (dir.path().join("file"), dir.path().join("brief"));
    put(&file, b"x", LONG_AGO);
    put(&brief, b"x", JUST_NOW);
    let mut watch = watch(dir.path());
    assert_eq!(poll(&mut watch), [appeared(&file)]);

    fs::remove_file(&file).expect("removable");
    fs::remove_file(&brief).expect("removable");

    assert_eq!(poll(&mut watch), [deleted(&file)]);
}

#[test]
fn a_removed_directory_takes_its_files_along_and_a_moved_one_brings_them_elsewhere() {
    let dir = scratch();
    let (old, new) = (dir.path().join("a/b"), dir.path().join("c"));
    fs::create_dir_all(&old).expect("writable");
    put(old.join("file"), b"x", LONG_AGO);
    let mut watch = watch(dir.path());
    assert_eq!(poll(&mut watch), [appeared(old.join("file"))]);

    fs::rename(&old, &new).expect("movable");
    assert_eq!(poll(&mut watch), [appeared(new.join("file")), deleted(old.join("file"))]);
    fs::remove_dir_all(&new).expect("removable");
    assert_eq!(poll(&mut watch), [deleted(new.join("file"))]);
}

#[test]
fn a_file_that_could_not_be_read_to_its_end_is_left_out_until_it_changes() {
    let dir = scratch();
    let path = |name: &str| dir.path().join(name);
    for name in ["a", "b", "c"] {
        put(path(name), b"x", LONG_AGO);
    }
    let mut watch = watch(dir.path());
    poll(&mut watch);
    watch.could_not_read(path("b"));
    watch.could_not_read(path("a"));
    watch.could_not_read(path("a"));
    let unread = |count, example: &str| {
        vec![LeftOut { kind: LeftOutKind::Unreadable, count, example: path(example) }]
    };
    assert_eq!(watch.left_out(), unread(2, "a"));
    assert_eq!(poll(&mut watch), []);
    assert_eq!(watch.left_out(), unread(2, "a"), "nothing happened to them");
    put(path("a"), b"other", LONG_AGO);
    assert_eq!(poll(&mut watch), [changed(path("a"))]);
    assert_eq!(watch.left_out(), unread(1, "b"));
    fs::remove_file(path("b")).expect("ours");
    poll(&mut watch);
    assert_eq!(watch.left_out(), []);
}

#[test]
fn files_beyond_the_limit_are_left_out_until_there_is_room() {
    let dir = scratch();
    let options = WatchOptions { max_files: 2, ..WatchOptions::default() };
    for name in ["a", "b", "c"] {
        put(dir.path().join(name), b"x", LONG_AGO);
    }
    let mut watch = DirWatch::new(dir.path(), options).expect("a directory of our own");

    let mut shared = Vec::new();
    let mut too_many = 0;
    for change in poll(&mut watch) {
        match change {
            Change::Appeared { path, .. } => shared.push(path),
            Change::TooMany { limit: 2 } => too_many += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((shared.len(), too_many), (2, 1));
    assert_eq!(poll(&mut watch), [], "said once");

    let left_out = ["a", "b", "c"]
        .map(|name| dir.path().join(name))
        .into_iter()
        .find(|path| !shared.contains(path));
    fs::remove_file(&shared[0]).expect("removable");
    assert_eq!(poll(&mut watch), [deleted(&shared[0])]);
    assert_eq!(poll(&mut watch), [appeared(left_out.expect("one of three"))]);
    assert_eq!(poll(&mut watch), []);
}

#[test]
fn a_file_that_could_not_be_opened_as_it_was_seen_appears_again() {
    let dir = scratch();
    let file = dir.path().join("file");
    put(&file, b"x", LONG_AGO);
    let mut watch = watch(dir.path());
    assert_eq!(poll(&mut watch), [appeared(&file)]);
    watch.look_again_at(&file);
    assert_eq!(poll(&mut watch), [appeared(&file)]);
    assert_eq!(poll(&mut watch), []);
}

/// What 10 000 idle files may cost: 0.1 % of a processor with a check each 28 s.
#[test]
#[ignore = "a measurement: with --release, on a machine that has nothing else to do"]
fn a_check_of_ten_thousand_idle_files_takes_little() {
    let dir = scratch();
    for number in 0..10_000 {
        let sub = dir.path().join(format!("some directory/number {}", number % 100));
        fs::create_dir_all(&sub).expect("writable");
        put(
            sub.join(format!("a file with a name of usual length {number}.tar.gz")),
            b"x",
            LONG_AGO,
        );
    }
    let mut watch = watch(dir.path());
    assert_eq!(watch.poll(NOW).expect("readable").len(), 10_000);
    let costs = (0..10).map(|_| {
        let cost = crate::Cost::begin();
        assert!(watch.is_as_seen());
        cost.so_far()
    });
    let least = costs.min().expect("ten");
    assert!(least <= Duration::from_millis(28), "{least:?}");
}

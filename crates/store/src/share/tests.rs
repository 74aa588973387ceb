//! Directories as people treat them: copied into, edited, cleaned up, badly protected.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use rustix::event::{PollFd, PollFlags};

use super::{Change, DirWatch, ShareDirError, WatchOptions};
use crate::share::{LeftOut, LeftOutKind};
use crate::{FileFingerprint, wait_for_the_clock_of};

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
fn what_cannot_be_read_is_reported_once_and_appears_when_it_can() {
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
    // Who may write to the directory, and whether everybody may read the file.
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
fn a_directory_that_others_put_in_the_place_of_the_shared_one_is_not_looked_at() {
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

/// Paths of the property test: at the top, inside, and ones that are never shared.
const PATHS: [&str; 6] = ["a", "b", "in/a", "in/deep/a", ".hidden", "in/a.partial"];

#[derive(Debug, Clone)]
enum Step {
    /// Writes that many bytes; long ago or just now.
    Write(usize, usize, bool),
    Delete(usize),
    /// Moves one path over another.
    Rename(usize, usize),
    Poll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let path = || 0..PATHS.len();
    let step = prop_oneof![
        3 => (path(), 0..3_usize, any::<bool>()).prop_map(|(path, len, old)| Step::Write(path, len, old)),
        1 => path().prop_map(Step::Delete),
        1 => (path(), path()).prop_map(|(from, to)| Step::Rename(from, to)),
        3 => Just(Step::Poll),
    ];
    prop::collection::vec(step, 1..40)
}

/// The files that should be shared, found the simple way.
fn shareable(dir: &Path) -> BTreeMap<PathBuf, FileFingerprint> {
    PATHS[..4]
        .iter()
        .map(|name| dir.join(name))
        .filter_map(|path| {
            fs::metadata(&path).ok().map(|metadata| (path, FileFingerprint::of(&metadata)))
        })
        .collect()
}

/// Applies the changes to a listener's view of the directory.
fn apply(
    believed: &mut BTreeMap<PathBuf, FileFingerprint>,
    changes: Vec<Change>,
) -> Result<(), TestCaseError> {
    for change in changes {
        let consistent = match change {
            Change::Appeared { path, fingerprint } => believed.insert(path, fingerprint).is_none(),
            Change::Changed { path, fingerprint } => {
                believed.insert(path, fingerprint).is_some_and(|old| old != fingerprint)
            }
            Change::Deleted { path } | Change::Changing { path } => {
                believed.remove(&path).is_some()
            }
            Change::Unreadable { .. }
            | Change::HardLink { .. }
            | Change::TooDeep { .. }
            | Change::TooMany { .. } => false,
        };
        prop_assert!(consistent);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn applying_all_changes_yields_the_directory(steps in steps()) {
        let dir = scratch();
        fs::create_dir_all(dir.path().join("in/deep")).expect("writable");
        let mut watch = watch(dir.path());
        let mut believed = BTreeMap::new();
        let mut seen_before = BTreeMap::new();
        for (number, step) in (0..).zip(&steps) {
            // Each modification has its own time, as on a file system with fine clocks.
            let tick = Duration::from_nanos(number);
            match *step {
                Step::Write(path, len, old) => {
                    let base = if old { LONG_AGO } else { JUST_NOW };
                    put(dir.path().join(PATHS[path]), &vec![0; len], base + tick);
                }
                Step::Delete(path) => {
                    let _ = fs::remove_file(dir.path().join(PATHS[path]));
                }
                Step::Rename(from, to) => {
                    let _ = fs::rename(dir.path().join(PATHS[from]), dir.path().join(PATHS[to]));
                }
                Step::Poll => {
                    let there = shareable(dir.path());
                    let before = believed.clone();
                    apply(&mut believed, watch.poll(NOW).expect("readable"))?;
                    for (path, fingerprint) in &there {
                        let old = fingerprint.modified_ns < i64::try_from(JUST_NOW.as_nanos()).expect("this century");
                        let settled = old || seen_before.get(path) == Some(fingerprint);
                        let expected = (settled || before.get(path) == Some(fingerprint)).then_some(fingerprint);
                        prop_assert_eq!(believed.get(path), expected, "{:?}", path);
                    }
                    prop_assert!(believed.keys().all(|path| there.contains_key(path)));
                    seen_before = there;
                }
            }
        }
        for _ in 0..2 {
            apply(&mut believed, watch.poll(NOW).expect("readable"))?;
        }
        prop_assert_eq!(believed, shareable(dir.path()));
    }
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

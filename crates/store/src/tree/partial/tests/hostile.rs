//! Names that somebody else puts into the directory while the tree is written: nothing outside is
//! reached, and what cannot be written is an error.

use std::os::unix::fs::symlink;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::*;

const SIZE: usize = 5000;

fn outside(sample: &Sample) -> PathBuf {
    let outside = sample.root.join("outside");
    fs::create_dir(&outside).expect("writable");
    fs::write(outside.join("b"), "outside").expect("writable");
    outside
}

fn assert_untouched(outside: &Path) {
    assert_eq!(listed(outside), [PathBuf::from("b")].into());
    assert_eq!(fs::read(outside.join("b")).expect("there"), b"outside");
}

fn sample() -> Sample {
    Sample::new(&[
        ("a", Is::File(SIZE)),
        ("d", Is::Directory),
        ("d/b", Is::File(SIZE)),
        ("d/c", Is::File(SIZE)),
        ("k", Is::Link("d")),
    ])
}

#[test]
fn a_directory_that_became_a_link_is_not_followed() {
    let sample = sample();
    let outside = outside(&sample);
    let tree = sample.begin();
    sample.write(&tree, 0..SIZE + 1);
    fs::rename(sample.path("d"), sample.path("e")).expect("writable");
    symlink(&outside, sample.path("d")).expect("writable");
    for start in [SIZE + 1, 2 * SIZE] {
        let error = write_all_at(&tree, &[1; 10], start as u64).expect_err("it is a link now");
        assert!(error.source.to_string().contains("\"d"), "{}", error.source);
    }
    let mut buf = [0; 7];
    let error = tree.read_exact_at(&mut buf, SIZE as u64).expect_err("it is a link now");
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert!(!tree.read_cached(&mut buf, SIZE as u64));
    assert_untouched(&outside);
    tree.discard().expect("links are removed");
    assert_untouched(&outside);
}

#[test]
fn a_second_name_of_a_file_outside_is_neither_written_nor_read() {
    let sample = sample();
    let outside = outside(&sample);
    let tree = sample.begin();
    sample.write(&tree, 0..2 * SIZE);
    fs::remove_file(sample.path("d/b")).expect("ours");
    fs::hard_link(outside.join("b"), sample.path("d/b")).expect("writable");
    write_all_at(&tree, &[1; 10], SIZE as u64).expect_err("not ours alone");
    let mut buf = [0; 7];
    let error = tree.read_exact_at(&mut buf, SIZE as u64).expect_err("not ours alone");
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert!(!tree.read_cached(&mut buf, SIZE as u64));
    assert_untouched(&outside);
}

#[test]
fn a_name_that_is_taken_is_an_error_and_not_written_to() {
    for put in [
        |path: &Path, _: &Path| fs::write(path, "foreign").expect("writable"),
        |path: &Path, _: &Path| fs::create_dir(path).expect("writable"),
        |path: &Path, outside: &Path| symlink(outside.join("b"), path).expect("writable"),
        |path: &Path, outside: &Path| symlink(outside.join("new"), path).expect("writable"),
    ] {
        let sample = sample();
        let outside = outside(&sample);
        let tree = sample.begin();
        put(&sample.path("a"), &outside);
        let error = write_all_at(&tree, &[1; 10], 0).expect_err("taken");
        assert!(error.source.to_string().contains("\"a\""), "{}", error.source);
        assert_untouched(&outside);
        put(&sample.path("k"), &outside);
        sample.write(&tree, SIZE..3 * SIZE);
        tree.finish().expect_err("both are taken");
    }
}

/// On most file systems these are several names; on those that ignore case, or the form of accented
/// letters, the tree is refused before a byte is written.
#[test]
fn two_names_are_two_files_or_both_are_named_in_the_error() {
    let pairs = [
        [("Ab", Is::File(10)), ("aB", Is::File(20))],
        [("Ab", Is::Directory), ("aB", Is::File(20))],
        [("Ab", Is::Directory), ("aB", Is::Directory)],
        [("Ab", Is::Link("x")), ("aB", Is::Link("x"))],
        [("Ab", Is::File(0)), ("aB", Is::Link("Ab"))],
        [("e\u{301}", Is::File(10)), ("\u{e9}", Is::File(10))],
    ];
    for pair in pairs {
        let sample = Sample::new(&pair);
        let is_one = {
            fs::write(sample.path("Xe\u{301}"), "").expect("writable");
            let is_one = ["xe\u{301}", "X\u{e9}"]
                .map(|other| fs::exists(sample.path(other)).expect("known"));
            fs::remove_file(sample.path("Xe\u{301}")).expect("ours");
            is_one[0] || is_one[1]
        };
        match sample.open() {
            Ok(tree) => {
                assert!(!is_one, "{pair:?}");
                sample.write_all(&tree);
                tree.finish().expect("all is there");
                sample.assert_whole();
            }
            Err(TreeFault::OneName { first, second }) => {
                assert!(is_one, "{pair:?}");
                let mut named = [first, second];
                named.sort();
                assert_eq!(named, pair.map(|(path, _)| PathBuf::from(path)));
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// Exchanges names for links, and a file for a second name of another, while everything is written,
/// read, synced, finished and removed.
#[test]
fn a_racer_with_links_reaches_nothing_outside() {
    let sample = sample();
    let outside = outside(&sample);
    let stop = AtomicBool::new(false);
    let (mut rounds, mut leaks) = (0_u32, 0_u32);
    thread::scope(|scope| {
        for (name, text) in [("d", "../outside"), ("a", "../outside/b")] {
            let (sample, outside, stop) = (&sample, &outside, &stop);
            let (path, aside) = (sample.path(name), sample.root.join(name));
            scope.spawn(move || {
                // Whatever comes of it: the other side is as fast.
                while !stop.load(Ordering::Relaxed) {
                    let _ = fs::rename(&path, &aside);
                    let _ = symlink(text, &path);
                    thread::yield_now();
                    let _ = fs::remove_file(&path);
                    let _ = fs::hard_link(outside.join("b"), &path);
                    thread::yield_now();
                    let _ = fs::remove_file(&path);
                    let _ = fs::rename(&aside, &path);
                }
            });
        }
        let deadline = Instant::now() + Duration::from_secs(1);
        while Instant::now() < deadline {
            let Ok(tree) = sample.open() else { continue };
            for start in [0, SIZE, 2 * SIZE] {
                let _ = write_all_at(&tree, &sample.payload[start..start + 100], start as u64);
                let mut buf = [0; 7];
                let read = tree.read_exact_at(&mut buf, start as u64);
                leaks += u32::from(read.is_ok() && buf == *b"outside");
            }
            let _ = tree.sync_data();
            let _ = tree.finish();
            let _ = tree.discard();
            rounds += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(rounds > 0, "the racer was in the way of every round");
    assert_eq!(leaks, 0, "bytes from outside were read");
    assert_untouched(&outside);
}

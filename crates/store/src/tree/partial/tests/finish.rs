//! The end of a tree, and its removal.

use std::os::unix::fs::symlink;

use super::*;

const ENTRIES: [(&str, Is<'_>); 9] = [
    ("bin", Is::Directory),
    ("bin/run", Is::Executable(7)),
    ("bin/run.empty", Is::Executable(0)),
    ("d", Is::Directory),
    ("d/deep", Is::Directory),
    ("d/deep/file", Is::File(300_000)),
    ("d/deep/link", Is::Link("../../bin/run")),
    ("d/none", Is::Directory),
    ("empty", Is::File(0)),
];

#[test]
fn a_finished_tree_is_exactly_the_manifest_with_a_fingerprint_for_each_member() {
    let sample = Sample::new(&ENTRIES);
    let tree = sample.begin();
    sample.write_all(&tree);
    let fingerprints = tree.finish().expect("all is there");
    sample.assert_whole();
    let now: Vec<_> = sample
        .layout
        .members()
        .map(|member| {
            let path = sample.top().join(std::ffi::OsStr::from_bytes(member.path));
            FileFingerprint::of(&fs::metadata(path).expect("there"))
        })
        .collect();
    assert_eq!(fingerprints, now);
}

#[test]
fn a_tree_that_was_finished_before_is_finished_again() {
    let sample = Sample::new(&ENTRIES);
    let tree = sample.begin();
    sample.write_all(&tree);
    let first = tree.finish().expect("all is there");
    assert_eq!(tree.finish().expect("still"), first);
    assert_eq!(sample.begin().finish().expect("found"), first);
    sample.assert_whole();
}

#[test]
fn a_member_that_was_never_written_or_is_cut_off_is_named() {
    let sample = Sample::new(&ENTRIES);
    let tree = sample.begin();
    sample.write(&tree, sample.range_of("bin/run"));
    let fault = tree.finish().expect_err("one is missing");
    assert!(matches!(&fault, TreeFault::Gone { path } if path == Path::new("d/deep/file")));
    sample.write(&tree, sample.range_of("d/deep/file"));
    fs::OpenOptions::new()
        .write(true)
        .open(sample.path("d/deep/file"))
        .and_then(|file| file.set_len(5))
        .expect("writable");
    let fault = tree.finish().expect_err("one is short");
    assert!(matches!(&fault, TreeFault::Gone { path } if path == Path::new("d/deep/file")));
}

#[test]
fn what_appeared_meanwhile_is_not_in_the_finished_tree() {
    let sample = Sample::new(&ENTRIES);
    let tree = sample.begin();
    sample.write_all(&tree);
    fs::create_dir_all(sample.path("d/deep/more/and/more")).expect("writable");
    fs::write(sample.path("d/deep/more/and/file"), "x").expect("writable");
    fs::write(sample.path(".hidden"), "x").expect("writable");
    symlink("..", sample.path("d/up")).expect("writable");
    tree.finish().expect("all is there");
    sample.assert_whole();
}

#[test]
fn everything_is_removed_however_deep_and_nothing_that_a_link_leads_to() {
    let sample = Sample::new(&ENTRIES);
    let tree = sample.begin();
    sample.write_all(&tree);
    tree.finish().expect("all is there");
    let outside = sample.root.join("outside");
    fs::create_dir(&outside).expect("writable");
    fs::write(outside.join("kept"), "x").expect("writable");
    symlink(&outside, sample.path("d/out")).expect("writable");
    let mut deep = sys::open_directory(&sample.top()).expect("there");
    for _ in 0..1000 {
        sys::make_directory(&deep, "deeper".as_ref(), 0o700).expect("writable");
        sys::make_link(&deep, "out".as_ref(), outside.as_os_str().as_bytes()).expect("writable");
        deep = sys::open_subdirectory(&deep, "deeper".as_ref()).expect("just made");
    }
    drop(deep);
    tree.discard().expect("all of it is ours");
    assert!(listed(&sample.top()).is_empty());
    assert!(outside.join("kept").exists());
}

#[test]
fn what_was_discarded_can_be_written_anew() {
    let sample = Sample::new(&ENTRIES);
    let tree = sample.begin();
    sample.write_all(&tree);
    tree.discard().expect("all of it is ours");
    let tree = sample.begin();
    sample.write_all(&tree);
    tree.finish().expect("all is there");
    sample.assert_whole();
}

#[test]
fn modes_that_another_tree_or_the_user_left_are_set_right() {
    let sample = Sample::new(&ENTRIES);
    let tree = sample.begin();
    sample.write_all(&tree);
    let set = |inner: &str, mode| {
        fs::set_permissions(sample.path(inner), fs::Permissions::from_mode(mode)).expect("ours");
    };
    let mode = |inner: &str| {
        fs::metadata(sample.path(inner)).expect("there").permissions().mode() & 0o7777
    };
    tree.finish().expect("all is there");
    let paths = ["bin/run", "d/deep/file", "d/deep", "empty", ""];
    let wanted = paths.map(mode);
    for path in paths {
        set(path, 0o2770);
    }
    let tree = sample.begin();
    assert_eq!(mode("") & 0o77, 0, "no other user gets in meanwhile");
    tree.finish().expect("all is there");
    // Directories hand on their group.
    let kept = paths.map(|path| if sample.path(path).is_dir() { 0o2000 } else { 0 });
    assert_eq!(paths.map(mode), std::array::from_fn(|at| wanted[at] | kept[at]));
}

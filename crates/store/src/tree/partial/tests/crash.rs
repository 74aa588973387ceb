//! What an earlier process may have left in the directory, by itself or for another tree. After
//! what is missing was written, each state ends as exactly the tree.

use std::os::unix::fs::symlink;

use super::*;

const ENTRIES: [(&str, Is<'_>); 6] = [
    ("d", Is::Directory),
    ("d/large", Is::File(300_000)),
    ("d/small", Is::Executable(500)),
    ("link", Is::Link("d/small")),
    ("none", Is::Directory),
    ("void", Is::File(0)),
];

/// Puts something into the directory, as an earlier process or another program would have.
type Put = fn(&Sample);

fn remove(sample: &Sample, inner: &str) {
    let path = sample.path(inner);
    match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path).expect("ours"),
        Ok(_) => fs::remove_file(path).expect("ours"),
        Err(_) => {}
    }
}

fn put_file(sample: &Sample, inner: &str, bytes: &[u8]) {
    remove(sample, inner);
    fs::write(sample.path(inner), bytes).expect("writable");
}

/// The states of a directory that was finished, but for one thing.
const STATES: [(&str, Put); 20] = [
    ("as it was", |_| {}),
    ("nothing", |sample| {
        fs::read_dir(sample.top()).expect("there").for_each(|entry| {
            let name = entry.expect("listed").file_name();
            remove(sample, name.to_str().expect("plain"));
        })
    }),
    ("a small member missing", |sample| remove(sample, "d/small")),
    ("a large member missing", |sample| remove(sample, "d/large")),
    ("an empty member missing", |sample| remove(sample, "void")),
    ("a directory missing", |sample| remove(sample, "d")),
    ("an empty directory missing", |sample| remove(sample, "none")),
    ("a link missing", |sample| remove(sample, "link")),
    ("a member empty", |sample| put_file(sample, "d/large", b"")),
    ("a member short", |sample| put_file(sample, "d/small", b"x")),
    ("a member too long", |sample| put_file(sample, "d/small", &[1; 9000])),
    ("an empty member with bytes", |sample| put_file(sample, "void", b"x")),
    ("another link", |sample| {
        remove(sample, "link");
        symlink("elsewhere", sample.path("link")).expect("writable");
    }),
    ("a file in place of a link", |sample| put_file(sample, "link", b"x")),
    ("a file in place of a directory", |sample| put_file(sample, "d", b"x")),
    ("a directory in place of a file", |sample| {
        remove(sample, "d/small");
        fs::create_dir_all(sample.path("d/small/not/empty")).expect("writable");
    }),
    ("a link in place of a file", |sample| {
        remove(sample, "d/small");
        symlink("../../outside", sample.path("d/small")).expect("writable");
    }),
    ("a link in place of a directory", |sample| {
        remove(sample, "d");
        symlink("..", sample.path("d")).expect("writable");
    }),
    ("a second name of a file outside", |sample| {
        remove(sample, "d/small");
        fs::hard_link(sample.root.join("outside"), sample.path("d/small")).expect("writable");
    }),
    ("a pipe in place of a file", |sample| {
        remove(sample, "d/large");
        let made = std::process::Command::new("mkfifo").arg(sample.path("d/large")).status();
        assert!(made.expect("mkfifo is everywhere").success());
    }),
];

#[test]
fn every_state_of_the_directory_ends_as_exactly_the_tree() {
    for (state, put) in STATES {
        let sample = Sample::new(&ENTRIES);
        fs::write(sample.root.join("outside"), "outside").expect("writable");
        let tree = sample.begin();
        sample.write_all(&tree);
        tree.finish().expect("all is there");
        drop(tree);
        put(&sample);

        let tree = sample.open().unwrap_or_else(|fault| panic!("{state}: {fault:?}"));
        sample.mend(&tree);
        tree.sync_data().unwrap_or_else(|error| panic!("{state}: {error:?}"));
        tree.finish().unwrap_or_else(|fault| panic!("{state}: {fault:?}"));

        sample.assert_whole();
        let outside = fs::read(sample.root.join("outside")).expect("there");
        assert_eq!(outside, b"outside", "{state}");
        assert_eq!(fs::read_dir(sample.root).expect("there").count(), 2, "{state}");
    }
}

#[test]
fn what_another_tree_left_is_used_or_removed() {
    let sample = Sample::new(&ENTRIES);
    let tree = sample.begin();
    sample.write_all(&tree);
    tree.finish().expect("all is there");
    drop(tree);

    let next = sample.followed_by(&[
        ("D", Is::Directory),
        ("d", Is::File(20)),
        ("link", Is::Directory),
        ("link/deep", Is::File(30)),
        ("void", Is::Executable(10)),
    ]);
    let tree = next.begin();
    next.mend(&tree);
    tree.finish().expect("all is there");
    next.assert_whole();
}

#[test]
fn a_member_that_is_there_is_data_and_a_missing_one_a_hole() {
    let sample = Sample::new(&[
        ("a", Is::File(1000)),
        ("b", Is::File(1000)),
        ("c", Is::File(1000)),
        ("d", Is::File(1000)),
    ]);
    let tree = sample.begin();
    sample.write(&tree, 0..1000);
    sample.write(&tree, 2000..4000);
    let tree = sample.begin();
    assert_eq!(tree.next_data(0, 4000).expect("readable"), Some(0..1000));
    assert_eq!(tree.next_data(1000, 4000).expect("readable"), Some(2000..4000));
    assert_eq!(tree.next_data(4000, 4000).expect("readable"), None);
    assert_eq!(tree.next_data(1000, 2000).expect("readable"), None);
}

#[test]
fn a_sync_that_failed_is_made_up_for_by_the_next_one() {
    let sample = Sample::new(&[("a", Is::File(1000)), ("d", Is::Directory), ("d/b", Is::File(10))]);
    let tree = sample.begin();
    if tree.is_in_memory() {
        return; // nothing is synced there
    }
    sample.write_all(&tree);
    fs::rename(sample.path("d/b"), sample.path("moved")).expect("writable");
    tree.sync_data().expect_err("one of the members is gone");
    tree.sync_data().expect_err("it still is");
    fs::rename(sample.path("moved"), sample.path("d/b")).expect("writable");
    tree.sync_data().expect("it is back");
    fs::rename(sample.path("d/b"), sample.path("moved")).expect("writable");
    tree.sync_data().expect("nothing was written since");
}

//! Updates: what is right on this machine is taken from there, and the old content is replaced in
//! one step.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use tnet_fileinfo::MIN_CHUNK_SIZE;

use super::tree_downloads::{TreeSample, bytes_of, read_files, write_files};
use super::{CHUNK, Sample, partial};
use crate::{Download, DownloadOptions, OpenError, Opened};

fn updating() -> DownloadOptions {
    DownloadOptions { update: true, ..DownloadOptions::default() }
}

fn updating_to(sample: &TreeSample) -> DownloadOptions {
    DownloadOptions { update: true, ..sample.options() }
}

/// Files of an old and of a new version: one that stays, one renamed, one changed in the middle,
/// one that grew, one deleted, one new.
fn versions() -> (Vec<(&'static str, Vec<u8>)>, TreeSample) {
    let large = bytes_of("large", 600_000);
    let mut changed = large.clone();
    changed[300_000] ^= 1;
    let grown = [bytes_of("log", 100_000), bytes_of("more", 50_000)].concat();
    let old = vec![
        ("d/stays", bytes_of("stays", 200_000)),
        ("d/was", bytes_of("renamed", 200_000)),
        ("gone/deleted", bytes_of("deleted", 1000)),
        ("image", large),
        ("log", bytes_of("log", 100_000)),
    ];
    let new = TreeSample::of(&[
        ("d/stays", bytes_of("stays", 200_000)),
        ("e/is", bytes_of("renamed", 200_000)),
        ("image", changed),
        ("log", grown),
        ("new", bytes_of("new", 3000)),
    ]);
    (old, new)
}

fn put(top: &Path, files: &[(&str, Vec<u8>)]) {
    write_files(top, files.iter().map(|(path, bytes)| (*path, &bytes[..])));
}

#[test]
fn an_updated_tree_takes_what_the_old_one_has() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let (out, (old, new)) = (scratch.path().join("out"), versions());
    put(&out, &old);
    fs::set_permissions(&out, PermissionsExt::from_mode(0o750)).expect("ours");
    let (download, kept) = partial(new.open(&out, updating_to(&new)));
    let fetched = new.fetch_rest(&download);
    assert!(kept.count() > 0 && fetched < 53_000 + 8 * CHUNK, "{fetched} bytes fetched");
    assert_eq!(read_files(&out).len(), old.len(), "until the end it is the old tree");
    let store = download.finish().expect("all is there");
    new.assert_at(&out);
    assert_eq!(**store.path(), *out);
    assert_eq!(fs::read_dir(scratch.path()).expect("there").count(), 1, "nothing else is left");
    assert_eq!(fs::metadata(&out).expect("there").mode() & 0o777, 0o750);
    assert!(matches!(new.open(&out, updating_to(&new)), Ok(Opened::Complete(_))));
}

#[test]
fn a_tree_takes_what_another_place_has_and_leaves_it_alone() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let (elsewhere, (old, new)) = (scratch.path().join("elsewhere"), versions());
    put(&elsewhere, &old);
    fs::write(scratch.path().join("single"), bytes_of("new", 3000)).expect("writable");
    let reuse = vec![elsewhere.clone(), scratch.path().join("single")];
    let options = DownloadOptions { reuse, ..new.options() };
    let (download, _) = partial(new.open(&scratch.path().join("out"), options));
    let fetched = new.fetch_rest(&download);
    assert!(fetched < 50_000 + 8 * CHUNK, "{fetched} bytes fetched");
    download.finish().expect("all is there");
    new.assert_at(&scratch.path().join("out"));
    assert_eq!(read_files(&elsewhere).len(), old.len());
    let missing = DownloadOptions { reuse: vec![scratch.path().join("none")], ..new.options() };
    let refused = new.open(&scratch.path().join("other"), missing);
    assert!(matches!(refused, Err(OpenError::Reuse { .. })), "{refused:?}");
    assert_eq!(fs::read_dir(scratch.path()).expect("there").count(), 3);
}

#[test]
fn an_update_goes_on_where_it_was_stopped() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let (out, (old, new)) = (scratch.path().join("out"), versions());
    put(&out, &old);
    let (download, kept) = partial(new.open(&out, updating_to(&new)));
    drop(download);
    let (download, again) = partial(new.open(&out, updating_to(&new)));
    assert_eq!(again.count(), kept.count());
    new.fetch_rest(&download);
    check_all(&download);
    download.finish().expect("all is there");
    new.assert_at(&out);
}

#[test]
fn only_a_directory_is_updated_to_a_tree() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let (_, new) = versions();
    fs::write(scratch.path().join("file"), "x").expect("writable");
    fs::create_dir(scratch.path().join("directory")).expect("writable");
    symlink("directory", scratch.path().join("link")).expect("writable");
    for name in ["file", "link"] {
        let refused = new.open(&scratch.path().join(name), updating_to(&new));
        assert!(matches!(refused, Err(OpenError::TreeInTheWay { .. })), "{name}: {refused:?}");
    }
    let sample = Sample::of_size(1000);
    let refused = Download::open(
        &sample.info,
        &scratch.path().join("directory"),
        updating(),
        &tnet_fileinfo::scan::unwatched,
    );
    assert!(matches!(refused, Err(OpenError::IsDirectory { .. })), "{refused:?}");
    assert_eq!(fs::read_dir(scratch.path()).expect("there").count(), 3);
}

#[test]
fn a_directory_that_changed_places_meanwhile_is_not_replaced() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let (out, (old, new)) = (scratch.path().join("out"), versions());
    put(&out, &old);
    let (download, _) = partial(new.open(&out, updating_to(&new)));
    new.fetch_rest(&download);
    fs::rename(&out, scratch.path().join("moved")).expect("writable");
    write_files(&out, [("theirs", &b"x"[..])]);
    download.finish().expect_err("another directory is there");
    assert_eq!(read_files(&out).len(), 1);
    fs::rename(&out, scratch.path().join("theirs")).expect("writable");
    download.finish().expect("nothing is there now");
    new.assert_at(&out);
    assert_eq!(read_files(&scratch.path().join("moved")).len(), old.len());
}

/// Compares everything that an earlier process stored.
fn check_all(download: &Download) {
    while !download.vouched().is_empty() {
        download.check_vouched(u64::MAX, Duration::from_secs(60));
    }
}

/// A process that dies at the end of an update: what was done until then, in order.
#[test]
fn each_state_at_the_end_is_the_old_or_the_new_tree_and_the_same_command_ends_it() {
    type Step = fn(&Path);
    let undo_exchange: Step = |scratch| {
        let (out, partial) = (scratch.join("out"), scratch.join("out.partial"));
        let aside = scratch.join("aside");
        fs::rename(&partial, &aside).expect("writable");
        fs::rename(&out, &partial).expect("writable");
        fs::rename(&aside, &out).expect("writable");
    };
    let states: [(&str, Step); 4] = [
        ("before the exchange", undo_exchange),
        ("after the exchange", |_| {}),
        ("half of the old one removed", |scratch| {
            fs::remove_dir_all(scratch.join("out.partial/d")).expect("there");
        }),
        ("all of it removed", |scratch| {
            fs::remove_dir_all(scratch.join("out.partial")).expect("there");
        }),
    ];
    for (state, make) in states {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let (out, (old, new)) = (scratch.path().join("out"), versions());
        put(&out, &old);
        let (download, _) = partial(new.open(&out, updating_to(&new)));
        new.fetch_rest(&download);
        download.sync().expect("the disk works");
        download.exchange_and_die();
        drop(download);
        make(scratch.path());

        match new.open(&out, updating_to(&new)).unwrap_or_else(|error| panic!("{state}: {error}")) {
            Opened::Complete(_) => {}
            Opened::Partial(download, kept) => {
                assert!(kept.is_full(), "{state}: nothing is fetched twice");
                check_all(&download);
                download.finish().unwrap_or_else(|error| panic!("{state}: {error}"));
            }
        }
        new.assert_at(&out);
        let left = fs::read_dir(scratch.path()).expect("there").count();
        assert_eq!(left, 1, "{state}");
    }
}

#[test]
fn what_is_not_the_replaced_tree_stays() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let (out, (old, new)) = (scratch.path().join("out"), versions());
    put(&out, &old);
    let (download, _) = partial(new.open(&out, updating_to(&new)));
    new.fetch_rest(&download);
    download.exchange_and_die();
    drop(download);
    fs::rename(scratch.path().join("out.partial"), scratch.path().join("kept")).expect("writable");
    write_files(&scratch.path().join("out.partial"), [("theirs", &b"x"[..])]);
    assert!(matches!(new.open(&out, updating_to(&new)), Ok(Opened::Complete(_))));
    assert_eq!(read_files(&scratch.path().join("out.partial")).len(), 1);
    assert_eq!(read_files(&scratch.path().join("kept")).len(), old.len());
}

#[test]
fn an_updated_file_takes_chunks_at_the_same_place() {
    for (old_size, name) in [(10 * CHUNK, "longer"), (6 * CHUNK, "shorter"), (8 * CHUNK, "equal")] {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let out = scratch.path().join("out");
        let sample = Sample::of_size(8 * CHUNK);
        let mut old = sample.content.clone();
        old.resize(usize::try_from(old_size).expect("small"), 7);
        old[20_000] ^= 1; // in the second chunk
        fs::write(&out, &old).expect("writable");
        let opened =
            Download::open(&sample.info, &out, updating(), &tnet_fileinfo::scan::unwatched);
        let (download, kept) = partial(opened);
        let right = if old_size < 8 * CHUNK { 5 } else { 7 };
        assert_eq!(kept.count(), right, "{name}");
        assert_eq!(fs::read(&out).expect("there"), old, "until the end it is the old file");
        sample.write_all(&download);
        download.finish().expect("all is there");
        assert_eq!(fs::read(&out).expect("there"), sample.content);
        assert_eq!(fs::read_dir(scratch.path()).expect("there").count(), 1);
    }
}

#[test]
fn a_file_takes_chunks_of_another_one_that_was_named() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let sample = Sample::of_size(8 * CHUNK);
    let mut old = sample.content.clone();
    old[5] ^= 1;
    fs::write(scratch.path().join("old"), &old[..6 * MIN_CHUNK_SIZE as usize]).expect("writable");
    let reuse = vec![scratch.path().join("old")];
    let options = DownloadOptions { reuse, ..DownloadOptions::default() };
    let out = scratch.path().join("out");
    let opened = Download::open(&sample.info, &out, options, &tnet_fileinfo::scan::unwatched);
    let (download, kept) = partial(opened);
    assert_eq!(kept.count(), 5);
    sample.write_all(&download);
    download.finish().expect("all is there");
    assert_eq!(fs::read(&out).expect("there"), sample.content);
}

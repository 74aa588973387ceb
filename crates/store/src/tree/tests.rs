//! Trees of real directories, against plain hashing of the same bytes in memory.

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use tempfile::TempDir;
use tnet_fileinfo::scan::unwatched;
use tnet_fileinfo::tree::{EntryKind, Layout, Manifest};
use tnet_fileinfo::{ChunkSize, Explain, FileHash, Geometry, MIN_CHUNK_SIZE, scan_file};

use super::hashing::{Hashes, Work, places};
use super::*;
use crate::FileFingerprint;

fn hash_of(bytes: &[u8]) -> FileHash {
    FileHash::from_bytes(*blake3::hash(bytes).as_bytes())
}

fn bytes(len: usize, seed: usize) -> Vec<u8> {
    let period: Vec<u8> = (0..=250).collect();
    period.repeat(len / 251 + 2)[seed % 251..][..len].to_vec()
}

fn chunk_size(bytes: u32) -> ChunkSize {
    ChunkSize::new(bytes).expect("a power of two")
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn scan(root: &Path) -> Result<ScannedTree, TreeScanError> {
    scan_tree(root, TreeScanOptions::default(), &unwatched)
}

fn paths(manifest: &Manifest) -> Vec<&[u8]> {
    manifest.entries().map(|entry| entry.path).collect()
}

#[test]
fn a_tree_has_everything_that_is_in_the_directory() {
    let dir = directory();
    let root = dir.path();
    fs::create_dir_all(root.join("a/empty")).expect("writable");
    fs::write(root.join("a/run"), "#!").expect("writable");
    fs::set_permissions(root.join("a/run"), fs::Permissions::from_mode(0o744)).expect("ours");
    fs::write(root.join("a-b"), "x").expect("writable");
    fs::write(root.join(".hidden"), "").expect("writable");
    fs::write(root.join("x.partial"), "p").expect("writable");
    fs::hard_link(root.join("a-b"), root.join("b")).expect("one file system");
    symlink("a/run", root.join("link")).expect("a link");
    symlink("nowhere", root.join("a/broken")).expect("a link");

    let tree = scan(root).expect("nothing is wrong with it");
    let expected: [&[u8]; 9] =
        [b".hidden", b"a", b"a-b", b"a/broken", b"a/empty", b"a/run", b"b", b"link", b"x.partial"];
    assert_eq!(paths(&tree.manifest), expected);
    assert_eq!(
        tree.manifest.find(b"a/run").map(|entry| entry.kind),
        Some(EntryKind::File { size: 2, hash: hash_of(b"#!"), is_executable: true })
    );
    assert_eq!(
        tree.manifest.find(b"link").map(|entry| entry.kind),
        Some(EntryKind::Link { target: b"a/run" })
    );
    assert_eq!(tree.payload.hash(), hash_of(b"x#!xp"));
    assert_eq!(tree.manifest.payload_hash(), tree.payload.hash());
    assert_eq!(tree.manifest.payload(), tree.payload.geometry());
    let layout = Layout::new(tree.manifest);
    for (member, fingerprint) in layout.members().zip(&tree.fingerprints) {
        let path = walk::path_of(member.path);
        let metadata = fs::metadata(root.join(path)).expect("there");
        assert_eq!(*fingerprint, FileFingerprint::of(&metadata));
    }
    assert_eq!(tree.fingerprints.len(), 5);
}

#[test]
fn a_tree_without_bytes_is_a_tree() {
    let dir = directory();
    let tree = scan(dir.path()).expect("an empty directory");
    assert!(tree.manifest.is_empty() && tree.payload.size() == 0);
    fs::write(dir.path().join("empty"), "").expect("writable");
    let tree = scan(dir.path()).expect("an empty file");
    assert_eq!((tree.manifest.len(), tree.payload.hash()), (1, hash_of(b"")));
}

#[test]
fn what_has_no_content_is_refused_with_its_path() {
    let dir = directory();
    fs::create_dir(dir.path().join("sub")).expect("writable");
    let pipe = dir.path().join("sub/pi\npe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("there").success());
    let error = scan(dir.path()).expect_err("a pipe has no content");
    assert_eq!(error.to_string(), r#""sub/pi\npe" in the directory is a pipe, and has no content"#);
    assert!(error.hint().is_some());
    fs::remove_file(&pipe).expect("ours");

    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("s")).expect("short");
    let error = scan(dir.path()).expect_err("a socket has no content");
    assert!(matches!(error, TreeScanError::NoContent { kind: NoContent::Socket, .. }), "{error}");
}

#[test]
fn a_file_in_place_of_the_directory_and_nothing_there_are_told_apart() {
    let dir = directory();
    fs::write(dir.path().join("file"), "x").expect("writable");
    assert!(matches!(scan(&dir.path().join("file")), Err(TreeScanError::NotADirectory)));
    assert!(matches!(scan(&dir.path().join("nothing")), Err(TreeScanError::Open(_))));
    symlink(".", dir.path().join("link")).expect("a link");
    assert_eq!(scan(&dir.path().join("link")).expect("the user named it").manifest.len(), 2);
}

#[test]
fn links_that_may_lead_outside_are_taken_only_if_that_is_allowed() {
    let dir = directory();
    symlink("/etc/passwd", dir.path().join("out")).expect("a link");
    let error = scan(dir.path()).expect_err("leads outside");
    let TreeScanError::OutsideLink { path, target } = &error else { panic!("{error}") };
    assert_eq!((path.as_path(), target.to_str()), (Path::new("out"), Some("/etc/passwd")));
    let options = TreeScanOptions { allow_outside_links: true, ..Default::default() };
    let tree = scan_tree(dir.path(), options, &unwatched).expect("allowed");
    assert_eq!(tree.manifest.links_to_outside().count(), 1);
}

#[test]
fn a_directory_deeper_than_trees_are_is_refused() {
    let dir = directory();
    let deepest = ["d"; tnet_fileinfo::tree::MAX_DEPTH].join("/");
    fs::create_dir_all(dir.path().join(&deepest)).expect("writable");
    assert_eq!(scan(dir.path()).expect("just deep enough").manifest.len(), 256);
    fs::write(dir.path().join(deepest).join("f"), "").expect("writable");
    assert!(matches!(scan(dir.path()), Err(TreeScanError::TooDeep { .. })));
}

#[test]
fn a_file_that_changes_while_it_is_read_is_named() {
    type Change = fn(&Path);
    let changes: [Change; 5] = [
        |path| fs::write(path, bytes(300_000, 2)).expect("writable"),
        |path| fs::write(path, bytes(300_001, 1)).expect("writable"),
        |path| fs::write(path, "").expect("writable"),
        |path| fs::remove_file(path).expect("ours"),
        |path| {
            fs::remove_file(path).expect("ours");
            symlink("/etc/passwd", path).expect("a link");
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let dir = directory();
        fs::write(dir.path().join("a"), bytes(300_000, 0)).expect("writable");
        let path = dir.path().join("b");
        fs::write(&path, bytes(300_000, 1)).expect("writable");
        crate::wait_for_the_clock_of(dir.path());
        let once = std::sync::Once::new();
        let scanned = scan_tree(dir.path(), TreeScanOptions::default(), &|_| {
            once.call_once(|| change(&path));
            ControlFlow::Continue(())
        });
        // When the first bytes are reported, whoever reads `b` has more of it to read.
        match scanned {
            Err(TreeScanError::Changed { path }) => assert_eq!(path, Path::new("b")),
            other => panic!("{number}: {other:?}"),
        }
    }
}

#[test]
fn a_link_in_place_of_a_listed_directory_is_not_followed() {
    let dir = directory();
    let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
    fs::create_dir_all(root.join("d")).expect("writable");
    fs::write(root.join("d/file"), "inside").expect("writable");
    let listing = TreeListing::read(&root).expect("readable");
    // Even one that leads to the very same file.
    fs::rename(root.join("d"), &outside).expect("one file system");
    symlink(&outside, root.join("d")).expect("a link");
    let scanned = listing.scan(TreeScanOptions::default(), &unwatched);
    assert!(matches!(scanned, Err(TreeScanError::Changed { .. })), "{scanned:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn no_exchange_of_names_leads_the_scan_outside() {
    const EXCHANGES: u64 = 10_000;
    let dir = directory();
    let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
    for (path, content) in [(&root, "inside"), (&outside, "secret")] {
        fs::create_dir_all(path.join("d/e")).expect("writable");
        fs::write(path.join("d/e/file"), content).expect("writable");
    }
    symlink(outside.join("d"), dir.path().join("link")).expect("a link");
    let exchanged = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // A directory and a link to one outside take turns in having the name.
            let (name, other) = (root.join("d"), dir.path().join("link"));
            for _ in 0..EXCHANGES {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                let here = rustix::fs::CWD;
                rustix::fs::renameat_with(here, &name, here, &other, exchange).expect("exchanged");
                exchanged.fetch_add(1, Ordering::Relaxed);
            }
        });
        let options = TreeScanOptions { allow_outside_links: true, ..Default::default() };
        let secret = hash_of(b"secret");
        while exchanged.load(Ordering::Relaxed) < EXCHANGES {
            match scan_tree(&root, options, &unwatched) {
                Ok(tree) => assert!(Layout::new(tree.manifest).members().all(|m| m.hash != secret)),
                Err(TreeScanError::Changed { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    });
}

#[test]
fn a_scan_reports_every_byte_and_can_be_stopped() {
    let dir = directory();
    for number in 0..20 {
        let content = bytes(number * 10_000, number);
        fs::write(dir.path().join(format!("{number}")), content).expect("writable");
    }
    let done = AtomicU64::new(0);
    let listing = TreeListing::read(dir.path()).expect("readable");
    assert_eq!((listing.size(), listing.len()), (1_900_000, 20));
    let scanned = listing.scan(TreeScanOptions::default(), &|bytes| {
        done.fetch_add(bytes, Ordering::Relaxed);
        ControlFlow::Continue(())
    });
    assert_eq!(scanned.expect("readable").payload.size(), done.into_inner());
    let stopped = scan_tree(dir.path(), TreeScanOptions::default(), &|_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(TreeScanError::Cancelled)));
}

#[test]
fn a_file_whose_length_nobody_knows_is_refused() {
    let dir = Path::new("/proc/self/net");
    if !dir.join("tcp").exists() {
        return;
    }
    let listing = TreeListing::read(dir);
    let scanned = listing.and_then(|listing| listing.scan(TreeScanOptions::default(), &unwatched));
    // The system makes these files anew at each look, so that a slow machine sees them change.
    let is_refused = matches!(
        scanned,
        Err(TreeScanError::UnknownLength { .. }
            | TreeScanError::Read { .. }
            | TreeScanError::Changed { .. })
    );
    assert!(is_refused, "{scanned:?}");
}

/// Files of these sizes, in a unit of that length: hashes of files and payload as plainly hashed.
fn check(sizes: &[usize], chunk: u32, unit_len: u64, threads: usize) {
    let dir = directory();
    let mut all = Vec::new();
    let mut expected = Vec::new();
    for (number, size) in sizes.iter().enumerate() {
        let content = bytes(*size, number);
        fs::write(dir.path().join(format!("{number:03}")), &content).expect("writable");
        expected.push(hash_of(&content));
        all.extend(content);
    }
    let listing = TreeListing::read(dir.path()).expect("readable");
    let geometry = Geometry::new(all.len() as u64, chunk_size(chunk)).expect("few chunks");
    let work = Work::new(&listing, places(&listing), &geometry, unit_len, &unwatched);
    let Hashes { files, payload } = work.run(threads).expect("readable");
    assert_eq!(files, expected, "{sizes:?}");

    let file = dir.path().join("payload");
    fs::write(&file, &all).expect("writable");
    let described = scan_file(&file, Some(chunk_size(chunk)), &unwatched).expect("readable");
    assert_eq!(payload, described.with_name(None), "{sizes:?}");
}

#[test]
fn files_and_payload_are_hashed_right_at_every_boundary() {
    let (chunk, unit) = (MIN_CHUNK_SIZE as usize, u64::from(MIN_CHUNK_SIZE));
    let sizes: [&[usize]; 16] = [
        &[],
        &[0, 0],
        &[1],
        &[0, chunk, 0],
        &[chunk, chunk],
        &[chunk - 500, 700, 0, 300],
        &[chunk - 500, 500, 1, chunk],
        &[chunk + 1],
        &[4 * chunk],
        &[4 * chunk + 5],
        &[0, 4 * chunk, 1],
        &[5 * chunk, 5 * chunk + 1025],
        &[1, 8 * chunk],
        &[1023, 1024, 1025, 8 * chunk - 3 * 1024],
        &[chunk - 1, 1025, 3 * chunk - 1024, 200_000, 300_000],
        &[700_000, 1, 0, 700_000],
    ];
    for sizes in sizes {
        for (times, threads) in [(1, 1), (1, 3), (2, 2), (16, 2), (64, 1)] {
            for chunk in [MIN_CHUNK_SIZE, 4 * MIN_CHUNK_SIZE, 64 * MIN_CHUNK_SIZE] {
                check(sizes, chunk, unit * times, threads);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn files_and_payload_are_hashed_right(
        sizes in prop::collection::vec(
            prop_oneof![3 => 0..3000_usize, 2 => 0..40_000_usize, 1 => 0..300_000_usize],
            0..12,
        ),
        chunk in 14..19_u32,
        unit in 14..20_u32,
        threads in 1..4_usize,
    ) {
        check(&sizes, 1 << chunk, 1 << unit, threads);
    }
}

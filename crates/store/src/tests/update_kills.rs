//! A real process that updates a tree, killed before every single system call that changes a file.
//! Afterwards the output is the old or the new tree, and the same command ends it.
//!
//! The process is this test binary again, under `strace`; where that is missing or not allowed, the
//! test says so.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use super::skipped;
use super::tree_downloads::{TreeSample, bytes_of, read_files, write_files};
use crate::{DownloadOptions, Opened};

/// The directory that the child works in.
const CHILD_DIR: &str = "TNET_TEST_UPDATE_DIR";

/// All system calls by which a tree is changed.
const CALLS: [&str; 12] = [
    "openat2",
    "mkdirat",
    "symlinkat",
    "pwrite64",
    "fallocate",
    "fchmod",
    "ftruncate",
    "fdatasync",
    "fsync",
    "syncfs",
    "unlinkat",
    "renameat2",
];

/// More calls of a kind than the child makes.
const MOST_CALLS: u32 = 200;

fn old_files() -> Vec<(String, Vec<u8>)> {
    vec![
        ("d/e/was".to_owned(), bytes_of("renamed", 40_000)),
        ("gone/x".to_owned(), bytes_of("x", 10)),
        ("log".to_owned(), bytes_of("log", 40_000)),
    ]
}

fn new_tree() -> TreeSample {
    TreeSample::of(&[
        ("d/is", bytes_of("renamed", 40_000)),
        ("log", [bytes_of("log", 40_000), bytes_of("more", 10)].concat()),
        ("new", bytes_of("new", 10)),
    ])
}

/// What a download does, in short.
fn update(dir: &Path) {
    let (new, out) = (new_tree(), dir.join("out"));
    let options = DownloadOptions { update: true, ..new.options() };
    match new.open(&out, options).expect("nothing is in the way") {
        Opened::Complete(_) => {}
        Opened::Partial(download, _) => {
            new.fetch_rest(&download);
            download.sync().expect("the disk works");
            while !download.vouched().is_empty() {
                download.check_vouched(u64::MAX, Duration::from_secs(60));
            }
            download.finish().expect("all is there");
        }
    }
    new.assert_at(&out);
}

#[test]
#[ignore = "the other test here runs it, under strace"]
fn child() {
    match std::env::var_os(CHILD_DIR) {
        Some(dir) => update(Path::new(&dir)),
        None => skipped("no directory to work in was named"),
    }
}

/// Runs the child with that fault in `dir`; `None` where faults cannot be injected.
fn run_child(dir: &Path, inject: &str) -> Option<Output> {
    let name = module_path!().split_once("::").map_or("", |(_, module)| module);
    let output = Command::new("strace")
        .args(["-f", "-qq", "-o"])
        .arg(dir.join("trace"))
        .args(["-e", &format!("trace={}", CALLS.join(",")), "-e", &format!("inject={inject}")])
        .arg(std::env::current_exe().expect("this binary"))
        .args(["--ignored", "--exact", &format!("{name}::child"), "--test-threads=1"])
        .env(CHILD_DIR, dir)
        .output();
    match output {
        Ok(output) if fs::metadata(dir.join("trace")).is_ok_and(|trace| trace.len() > 0) => {
            Some(output)
        }
        _ => {
            skipped("strace is missing or not allowed here");
            None
        }
    }
}

/// The names in the directory, but for probes of what the file system can.
fn names(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).expect("there").map(|entry| entry.expect("listed").file_name());
    let names = names.map(|name| name.into_string().expect("plain"));
    names.filter(|name| !name.starts_with(".tnet-") && name != "trace").collect()
}

#[test]
fn after_a_kill_before_any_call_it_is_the_old_or_the_new_tree_and_the_same_command_ends_it() {
    let (old, new) = (old_files(), new_tree());
    let (mut kills, mut old_seen, mut new_seen) = (0, 0, 0);
    for call in CALLS {
        // The tracer counts each kind of call by itself.
        for number in 1.. {
            assert!(number < MOST_CALLS, "the child still calls {call} after {number} times");
            let dir = tempfile::tempdir().expect("a place for temporary files");
            let out = dir.path().join("out");
            write_files(&out, old.iter().map(|(path, bytes)| (&**path, &**bytes)));
            let fault = format!("{call}:signal=KILL:when={number}");
            let Some(output) = run_child(dir.path(), &fault) else { return };
            let found = read_files(&out);
            let is_new = found == new.files;
            assert!(is_new || found == old, "{fault}: neither the old nor the new tree");
            *(if is_new { &mut new_seen } else { &mut old_seen }) += 1;
            update(dir.path());
            assert_eq!(names(dir.path()), ["out"], "{fault}");
            if output.status.success() {
                break;
            }
            kills += 1;
        }
    }
    assert!(kills > 20 && old_seen > 10 && new_seen > 5, "{kills} {old_seen} {new_seen}");
}

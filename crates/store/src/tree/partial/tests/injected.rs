//! A real process that makes a tree, killed before every single system call that changes a file, or
//! lied to by one of them. Afterwards the same tree is finished by a second attempt, and each name
//! was on the disk before the first one said so.
//!
//! The process is this test binary again, under `strace`; where that is missing or not allowed, the
//! tests say so.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use super::*;
use crate::no_room::NoRoom;
use crate::tests::skipped;

/// The directory that the child works in.
const CHILD_DIR: &str = "TNET_TEST_TREE_DIR";

/// All system calls by which a tree is changed.
const CALLS: [&str; 11] = [
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
];

/// More calls of a kind than the child makes.
const MOST_CALLS: u32 = 200;

const ENTRIES: [(&str, Is<'_>); 7] = [
    ("a", Is::File(1500)),
    ("d", Is::Directory),
    ("d/e", Is::Directory),
    ("d/e/b", Is::Executable(700)),
    ("d/k", Is::Link("e/b")),
    ("none", Is::Directory),
    ("void", Is::File(0)),
];

fn prepared() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a place for temporary files");
    fs::create_dir(dir.path().join("out.partial")).expect("writable");
    dir
}

/// What a download does, in short: an error of a sync is made up for.
fn make_tree(dir: &Path) {
    let sample = Sample::within(dir.to_owned(), &ENTRIES);
    let tree = sample.begin();
    sample.mend(&tree);
    if tree.sync_data().is_err() {
        sample.write_all(&tree);
    }
    if tree.finish().is_err() {
        sample.mend(&tree);
        tree.finish().expect("only one call fails");
    }
    sample.assert_whole();
}

#[test]
#[ignore = "the other tests here run it, under strace"]
fn child() {
    match std::env::var_os(CHILD_DIR) {
        Some(dir) => make_tree(Path::new(&dir)),
        None => skipped("no directory to work in was named"),
    }
}

/// Runs the child with that fault in `dir`; `None` where faults cannot be injected.
fn run_child(dir: &Path, inject: &str) -> Option<Output> {
    let name = module_path!().split_once("::").map_or("", |(_, module)| module);
    let output = Command::new("strace")
        .args(["-f", "-y", "-qq", "-o"])
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

#[test]
fn after_a_kill_before_any_call_the_next_attempt_makes_exactly_the_tree() {
    let mut kills = 0;
    for call in CALLS {
        // The tracer counts each kind of call by itself.
        for number in 1.. {
            assert!(number < MOST_CALLS, "the child still calls {call} after {number} times");
            let dir = prepared();
            let fault = format!("{call}:signal=KILL:when={number}");
            let Some(output) = run_child(dir.path(), &fault) else { return };
            make_tree(dir.path());
            if output.status.success() {
                break;
            }
            kills += 1;
        }
    }
    // Two members in three pieces, four other entries, two syncs: fewer means that the faults
    // missed the tree.
    assert!(kills > 20, "{kills}");
}

#[test]
fn a_call_that_fails_once_costs_nothing_that_the_caller_cannot_make_up_for() {
    for fault in [
        "pwrite64:error=EIO",
        "fdatasync:error=EIO",
        "syncfs:error=EIO",
        "fsync:error=EIO",
        "openat2:error=EINTR",
        "openat2:error=ENOSYS",
        "openat2:error=EMFILE",
        "symlinkat:error=EIO",
    ] {
        for number in [2, 3, 4] {
            let dir = prepared();
            let fault = format!("{fault}:when={number}");
            let Some(output) = run_child(dir.path(), &fault) else { return };
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{fault}: {said}");
        }
    }
}

#[test]
fn a_full_disk_is_said_to_be_full_with_the_path() {
    let dir = prepared();
    let Some(output) = run_child(dir.path(), "openat2:error=ENOSPC:when=4+") else { return };
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("StorageFull") && said.contains("\"a\""), "{said}");
    let fault = TreeFault::Io { path: "a".into(), source: Errno::NOSPC.into() };
    assert_eq!(NoRoom::of(&fault.into()), Some(NoRoom::Space));
}

#[test]
fn every_name_and_byte_is_synced_before_the_tree_counts_as_finished() {
    let dir = prepared();
    if sys::is_in_memory(File::open(dir.path()).expect("there")) {
        skipped("nothing is synced in memory");
        return;
    }
    // A call that the child does not make.
    let Some(_) = run_child(dir.path(), "fallocate:error=EIO:when=100") else { return };
    let trace = fs::read_to_string(dir.path().join("trace")).expect("text");
    let top = dir.path().join("out.partial").to_str().expect("plain").to_owned();
    let (mut unsynced, mut made) = (BTreeSet::new(), 0);
    for line in trace.lines().filter(|line| !line.contains(" = -1 ")) {
        let Some((call, rest)) =
            line.split_once(' ').and_then(|(_, line)| line.trim_start().split_once('('))
        else {
            continue;
        };
        let named: Vec<&str> = rest.split(['<', '>']).skip(1).step_by(2).collect();
        let parent = |path: &str| path.rsplit_once('/').map_or("", |(parent, _)| parent).to_owned();
        match call {
            "openat2" if rest.contains("O_CREAT") && !rest.contains(".tnet-") => {
                unsynced.insert(parent(named.last().expect("opened")));
                made += 1;
            }
            "mkdirat" => {
                let inside = named.first().expect("a directory");
                unsynced.insert((*inside).to_owned());
                made += 1;
            }
            "symlinkat" => {
                unsynced.insert((*named.first().expect("a directory")).to_owned());
                made += 1;
            }
            "pwrite64" if named.first().is_some_and(|path| path.starts_with(&top)) => {
                unsynced.insert((*named.first().expect("a file")).to_owned());
            }
            "fdatasync" | "fsync" => {
                unsynced.remove(*named.first().expect("a file or a directory"));
            }
            "syncfs" => unsynced.clear(),
            _ => {}
        }
    }
    assert_eq!(made, ENTRIES.len(), "{trace}");
    assert_eq!(unsynced, BTreeSet::new(), "{trace}");
}

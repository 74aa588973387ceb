//! A real process that downloads, killed before every single system call that changes a file, or
//! lied to by one of them. Afterwards the output is whole or absent, no chunk that was stored is
//! missing, and a second attempt finishes.
//!
//! The process is this test binary again, under `strace`; where that is missing or not allowed, the
//! tests say so.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{CHUNK, Sample, check_all, names, partial, scratch, skipped};
use crate::{Download, FinishError, Opened, SyncError, WriteError};

/// The directory the child works in.
const CHILD_DIR: &str = "TNET_TEST_STORE_DIR";
/// All system calls by which the store changes files or reads their rights.
const CALLS: [&str; 8] =
    ["openat", "flock", "fallocate", "pwrite64", "fdatasync", "fsync", "renameat2", "unlinkat"];
/// More calls of a kind than a download makes; a child that is still killed here is not getting
/// anywhere.
const MOST_CALLS: u32 = 200;

fn sample() -> Sample {
    Sample::of_size(5 * CHUNK + 17)
}

fn out_in(dir: &Path) -> PathBuf {
    dir.join("files/out")
}

fn workplace() -> tempfile::TempDir {
    let dir = scratch();
    fs::create_dir(dir.path().join("files")).expect("writable");
    dir
}

/// What the engine does, in short. Every chunk that is stored is noted in a file that no fault is
/// aimed at.
fn download_noting_progress(dir: &Path) {
    let sample = sample();
    let (download, resumed) = match sample.open(&out_in(dir)).expect("the child may open") {
        Opened::Complete(_) => return,
        Opened::Partial(download, resumed) => (download, resumed),
    };
    let mut notes =
        fs::OpenOptions::new().append(true).create(true).open(dir.join("notes")).expect("writable");
    for chunk in resumed.missing() {
        store(&sample, &download, chunk.get());
        notes.write_all(&[u8::try_from(chunk.get()).expect("few chunks")]).expect("writable");
        // The last chunk is left to the end of the download.
        if chunk.get() % 2 == 1 && chunk.get() < 5 {
            settle(&sample, &download, download.sync().map(drop));
        }
    }
    assert_eq!(check_all(&download), [0; 0], "a kill harms no chunk that was synced");
    loop {
        match download.finish() {
            Ok(_) => return,
            Err(FinishError::Sync { source }) => settle(&sample, &download, Err(source)),
            Err(other) => panic!("{other:?}"),
        }
    }
}

fn store(sample: &Sample, download: &Download, index: u32) {
    let chunk = sample.chunk(index);
    match download.write_chunk(chunk, sample.bytes(chunk)) {
        Ok(()) => {}
        Err(WriteError::DiskFull { .. }) => {
            download.write_chunk(chunk, sample.bytes(chunk)).expect("full only once");
        }
        Err(other) => panic!("{other:?}"),
    }
}

/// Writes again what a failed sync lost.
fn settle(sample: &Sample, download: &Download, synced: Result<(), SyncError>) {
    let Err(error) = synced else { return };
    for chunk in error.lost() {
        store(sample, download, chunk.get());
    }
}

#[test]
#[ignore = "the other tests here run it, under strace"]
fn child() {
    match std::env::var_os(CHILD_DIR) {
        Some(dir) => download_noting_progress(Path::new(&dir)),
        None => skipped("no directory to work in was named"),
    }
}

/// Runs the child with that fault in `dir`; `None` where faults cannot be injected.
fn run_child(dir: &Path, inject: &str) -> Option<Output> {
    run_child_tracing(dir, &CALLS.join(","), inject)
}

fn run_child_tracing(dir: &Path, calls: &str, inject: &str) -> Option<Output> {
    // The path of this module as the test harness names it: without the crate.
    let name = module_path!().split_once("::").map_or("", |(_, module)| module);
    let output = Command::new("strace")
        .args(["-f", "-qq", "-o"])
        .arg(dir.join("trace"))
        .args(["-e", &format!("trace={calls}"), "-e", &format!("inject={inject}")])
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

/// The rules that hold after any interruption; then a second attempt, without faults, to the end.
fn check_and_finish(dir: &Path, fault: &str) {
    let sample = sample();
    let out = out_in(dir);
    if out.exists() {
        assert_eq!(
            fs::read(&out).expect("readable"),
            sample.content,
            "{fault}: the output is not whole"
        );
    }
    match sample.open(&out) {
        Ok(Opened::Complete(_)) => {}
        opened => {
            let (download, resumed) = partial(opened);
            let stored = fs::read(dir.join("notes")).unwrap_or_default();
            let lost = stored.iter().find(|&&index| !resumed.contains(sample.chunk(index.into())));
            assert_eq!(lost, None, "{fault}: a stored chunk is missing");
            assert_eq!(
                check_all(&download),
                [0; 0],
                "{fault}: the journal vouches for a wrong chunk"
            );
            sample.write_all(&download);
            download.finish().expect("no fault is due");
        }
    }
    assert_eq!(fs::read(&out).expect("readable"), sample.content, "{fault}");
    assert_eq!(names(&dir.join("files")), ["out"], "{fault}");
}

/// Kills the child before each call it makes in directories prepared that way; answers how many
/// calls there were, or `None` where faults cannot be injected.
fn kill_before_each_call(prepare: impl Fn(&Path)) -> Option<u32> {
    let mut kills = 0;
    for call in CALLS {
        // The tracer counts each kind of call by itself.
        for number in 1.. {
            assert!(number < MOST_CALLS, "the child still calls {call} after {number} times");
            let dir = workplace();
            prepare(dir.path());
            let fault = format!("{call}:signal=KILL:when={number}");
            let output = run_child(dir.path(), &fault)?;
            check_and_finish(dir.path(), &fault);
            if output.status.success() {
                break;
            }
            kills += 1;
        }
    }
    Some(kills)
}

#[test]
fn a_kill_before_any_call_of_a_download_leaves_the_old_state_or_the_new_one() {
    let Some(kills) = kill_before_each_call(|_| {}) else { return };
    // 6 chunks, 3 syncs of data and journal, the rename: fewer means that the faults missed the
    // download.
    assert!(kills > 30, "{kills}");
}

#[test]
fn a_kill_before_any_call_of_a_second_attempt_leaves_the_old_state_or_the_new_one() {
    let interrupt = |dir: &Path| {
        let sample = sample();
        let (download, _) = sample.begin(&out_in(dir));
        sample.write(&download, &[0, 3]);
        download.sync().expect("no fault is due");
        sample.write(&download, &[4]);
        fs::write(dir.join("notes"), [0, 3, 4]).expect("writable");
    };
    let Some(kills) = kill_before_each_call(interrupt) else { return };
    assert!(kills > 20, "{kills}");
}

#[test]
fn the_data_is_synced_before_it_gets_its_name_and_the_name_before_the_journal_goes() {
    let dir = workplace();
    let Some(_) = run_child(dir.path(), "linkat:error=EIO") else { return }; // which the child does not call
    let trace = fs::read_to_string(dir.path().join("trace")).expect("text");
    let calls: Vec<_> = trace
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1)?.split('(').next())
        .collect();
    let last = |call| calls.iter().rposition(|&made| made == call).expect(call);

    let order = ["pwrite64", "fdatasync", "renameat2", "fsync", "unlinkat"].map(last);

    assert!(order.is_sorted(), "{calls:?}");
}

#[test]
fn a_call_that_fails_once_or_is_interrupted_costs_no_chunk() {
    // From the second call of its kind on: the first makes the journal, and a disk that fails there
    // is not begun with.
    let faults = [
        ("pwrite64", "EIO"),
        ("pwrite64", "EINTR"),
        ("pwrite64", "ENOSPC"),
        ("fdatasync", "EIO"),
        ("fdatasync", "EINTR"),
    ];
    for (call, error) in faults {
        for number in 2..10 {
            let dir = workplace();
            let fault = format!("{call}:error={error}:when={number}");
            let Some(output) = run_child(dir.path(), &fault) else { return };
            assert!(
                output.status.success(),
                "{fault}: {}",
                String::from_utf8_lossy(&output.stdout)
            );
            check_and_finish(dir.path(), &fault);
        }
    }
}

/// Calls that a file system need not answer. Those after the first have to be traced too.
const OPTIONAL: [&str; 9] = [
    "flock",
    "flock,fcntl",
    "fallocate",
    "renameat2",
    "renameat2,linkat",
    "fsync",
    "lseek",
    "fadvise64",
    "fstatfs",
];

#[test]
fn missing_features_of_a_file_system_are_done_without() {
    for calls in OPTIONAL {
        for errno in ["ENOSYS", "EOPNOTSUPP", "EINVAL", "EIO", "ENOLCK", "EPERM", "EBADF"] {
            let dir = workplace();
            let fault = format!("{calls}:error={errno}");
            // With those of its own, std finds out whether a file was closed twice.
            if calls.contains("fcntl") && errno == "EBADF" {
                continue;
            }
            let Some(output) = run_child_tracing(dir.path(), calls, &fault) else { return };
            assert!(
                output.status.success(),
                "{fault}: {}",
                String::from_utf8_lossy(&output.stdout)
            );
            assert_eq!(
                fs::read(out_in(dir.path())).expect("finished"),
                sample().content,
                "{fault}"
            );
            assert_eq!(names(&dir.path().join("files")), ["out"], "{fault}");
        }
    }
}

#[test]
fn a_disk_that_always_fails_ends_the_download_and_leaves_no_wrong_file() {
    for fault in ["pwrite64:error=EIO", "fallocate:error=ENOSPC", "fdatasync:error=EIO"] {
        let dir = workplace();
        let Some(output) = run_child(dir.path(), fault) else { return };
        assert!(!output.status.success(), "{fault}");
        assert!(!out_in(dir.path()).exists(), "{fault}");
        check_and_finish(dir.path(), fault);
    }
}

//! What is remembered of files is right or forgotten.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{CHUNK, Sample, scratch};
use crate::ScanCache;

/// Later than any change that a test makes.
pub(super) const MUCH_LATER: Duration = Duration::from_secs(1 << 40);

const DAY: Duration = Duration::from_secs(86400);

fn written(path: PathBuf, size: u64) -> (PathBuf, Sample) {
    let sample = Sample::of_size(size);
    fs::write(&path, &sample.content).expect("writable");
    (path, sample)
}

pub(super) fn remember(log: &ScanCache, path: &Path, sample: &Sample) {
    log.remember(path, &fs::metadata(path).expect("there"), &sample.info, MUCH_LATER);
}

pub(super) fn knows(log: &ScanCache, path: &Path, sample: &Sample) -> bool {
    let file = File::open(path).expect("there");
    match log.recall(path, &file.metadata().expect("open"), &file) {
        None => false,
        Some(info) => {
            assert_eq!(info, sample.info.clone().with_name(info.name().cloned()), "another file");
            true
        }
    }
}

#[test]
fn a_restart_remembers_every_file_that_looks_as_it_did() {
    let dir = scratch();
    let log_path = dir.path().join("log");
    let files: Vec<_> =
        (0..20).map(|n| written(dir.path().join(n.to_string()), n * CHUNK / 3)).collect();
    let log = ScanCache::at(log_path.clone());
    for (path, sample) in &files {
        assert!(!knows(&log, path, sample));
        remember(&log, path, sample);
        assert!(knows(&log, path, sample));
    }
    drop(log);

    let log = ScanCache::at(log_path);
    for (path, sample) in &files {
        assert!(knows(&log, path, sample), "{path:?}");
    }
    let file = File::open(&files[3].0).expect("there");
    assert!(log.recall(Path::new("/elsewhere"), &file.metadata().expect("open"), &file).is_none());
}

#[test]
fn a_file_that_was_written_to_is_forgotten_even_if_its_times_are_set_back() {
    let dir = scratch();
    let (path, sample) = written(dir.path().join("file"), 2 * CHUNK);
    let log = ScanCache::at(dir.path().join("log"));
    remember(&log, &path, &sample);
    let modified = fs::metadata(&path).and_then(|metadata| metadata.modified()).expect("told");
    std::thread::sleep(Duration::from_millis(20));

    let mut file = OpenOptions::new().write(true).open(&path).expect("writable");
    file.write_all(b"other bytes, as many").expect("writable");
    file.set_modified(modified).expect("settable");

    assert!(!knows(&log, &path, &sample));
}

#[test]
fn a_file_that_was_changed_just_now_is_not_remembered() {
    let dir = scratch();
    let (path, sample) = written(dir.path().join("file"), CHUNK);
    let log = ScanCache::at(dir.path().join("log"));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let metadata = fs::metadata(&path).expect("there");

    log.remember(&path, &metadata, &sample.info, now);
    assert!(!knows(&log, &path, &sample));

    log.remember_own(&path, &metadata, &sample.info);
    assert!(knows(&log, &path, &sample));
}

#[test]
fn a_log_cut_or_damaged_at_any_byte_forgets_files_and_is_wrong_about_none() {
    let dir = scratch();
    let log_path = dir.path().join("log");
    let files: Vec<_> = (1..4).map(|n| written(dir.path().join(n.to_string()), n * 100)).collect();
    let log = ScanCache::at(log_path.clone());
    files.iter().for_each(|(path, sample)| remember(&log, path, sample));
    drop(log);
    let whole = fs::read(&log_path).expect("there");
    for at in 0..whole.len() {
        for is_cut in [true, false] {
            let mut bytes = whole.clone();
            if is_cut {
                bytes.truncate(at);
            } else {
                bytes[at] ^= 0x41;
            }
            fs::write(&log_path, bytes).expect("writable");
            let log = ScanCache::at(log_path.clone());
            let known = files.iter().filter(|(path, sample)| knows(&log, path, sample)).count();
            assert!(known < files.len(), "byte {at}, cut: {is_cut}");
            // It goes on from there.
            files.iter().for_each(|(path, sample)| remember(&log, path, sample));
            drop(log);
            let log = ScanCache::at(log_path.clone());
            assert!(
                files.iter().all(|(path, sample)| knows(&log, path, sample)),
                "byte {at}, cut: {is_cut}"
            );
        }
    }
}

#[test]
fn a_file_that_changes_again_and_again_is_known_as_it_is_now_and_costs_two_records() {
    let dir = scratch();
    let log_path = dir.path().join("log");
    let (path, sample) = written(dir.path().join("file"), 1000 * CHUNK);
    let log = ScanCache::at(log_path.clone());
    remember(&log, &path, &sample);
    let one = fs::metadata(&log_path).expect("there").len();
    for n in 1..40 {
        File::options()
            .write(true)
            .open(&path)
            .expect("there")
            .set_modified(UNIX_EPOCH + n * DAY)
            .expect("ours");
        assert!(!knows(&log, &path, &sample), "{n}");
        remember(&log, &path, &sample);
        assert!(knows(&log, &path, &sample), "{n}");
    }
    drop(log);

    assert!(knows(&ScanCache::at(log_path.clone()), &path, &sample), "after a restart");
    let after = fs::metadata(&log_path).expect("there").len();
    assert!(after <= 2 * one, "{after} bytes for two records of {one}");
}

#[test]
fn pending_entries_are_written_in_time_without_further_scans() {
    let dir = scratch();
    let log_path = dir.path().join("log");
    let (path, sample) = written(dir.path().join("file"), CHUNK);
    let log = ScanCache::at(log_path.clone());
    remember(&log, &path, &sample);
    File::options()
        .write(true)
        .open(&path)
        .and_then(|file| file.set_modified(UNIX_EPOCH))
        .expect("ours");
    remember(&log, &path, &sample);
    log.tidy_up();
    let copy = dir.path().join("copy");
    fs::copy(&log_path, &copy).expect("there");
    assert!(!knows(&ScanCache::at(copy.clone()), &path, &sample), "it may change again soon");
    log.write_waiting(Duration::ZERO);
    // As a power cut would leave it.
    fs::copy(&log_path, &copy).expect("there");
    assert!(knows(&ScanCache::at(copy), &path, &sample));
}

#[test]
fn a_log_that_cannot_be_written_anew_is_used_as_it_is_and_not_tried_for_each_file() {
    let dir = scratch();
    let log_path = dir.path().join("log");
    let new = log_path.with_extension("new");
    let (kept, sample) = written(dir.path().join("kept"), CHUNK);
    let brief = |log: &ScanCache, from: u32, to: u32| {
        for n in from..to {
            let path = dir.path().join(format!("brief {n}"));
            fs::write(&path, &sample.content).expect("writable");
            remember(log, &path, &sample);
            fs::remove_file(path).expect("ours");
        }
    };
    let log = ScanCache::at(log_path.clone());
    remember(&log, &kept, &sample);
    // Where a file should be made there is a directory.
    fs::create_dir(&new).expect("a name is free");
    brief(&log, 0, 2000);
    let long = fs::metadata(&log_path).expect("there").len();
    assert!(long > 200 * 1024 && knows(&log, &kept, &sample), "{long}");
    drop(log);
    let log = ScanCache::at(log_path.clone());
    assert!(knows(&log, &kept, &sample), "after a restart");
    // It can be written anew again, and is not before it is twice as long.
    fs::remove_dir(&new).expect("empty");
    brief(&log, 2000, 2010);
    assert!(fs::metadata(&log_path).expect("there").len() > long);
    brief(&log, 2010, 5000);
    let len = fs::metadata(&log_path).expect("there").len();
    assert!(len < long, "{len} of {long}");
    assert!(knows(&log, &kept, &sample) && !new.exists());
}

#[test]
fn a_small_file_is_remembered_in_little() {
    let dir = scratch();
    let log_path = dir.path().join("log");
    let log = ScanCache::at(log_path.clone());
    for n in 0..100 {
        let (path, sample) = written(dir.path().join(format!("{n:03}")), 1000);
        remember(&log, &path, &sample);
    }
    let path_len = dir.path().join("000").as_os_str().len() as u64;
    let len = fs::metadata(&log_path).expect("there").len();
    assert!(len <= 100 * (path_len + 128), "{len} bytes for 100 files");
}

#[test]
fn a_log_that_cannot_be_used_costs_reading_and_nothing_else() {
    let dir = scratch();
    let (path, sample) = written(dir.path().join("file"), CHUNK);
    let nowhere = ScanCache::at(dir.path().join("missing").join("log"));
    remember(&nowhere, &path, &sample);
    assert!(!knows(&nowhere, &path, &sample));

    let log = ScanCache::at(dir.path().join("log"));
    remember(&log, &path, &sample);
    let second = ScanCache::at(dir.path().join("log"));
    assert!(!knows(&second, &path, &sample), "two processes would write over each other");
    assert!(knows(&log, &path, &sample));
}

#[test]
fn a_file_whose_bytes_rotted_is_forgotten_for_good_and_the_others_are_not() {
    let dir = scratch();
    let log_path = dir.path().join("log");
    let (rotten, sample) = written(dir.path().join("rotten"), 2 * CHUNK);
    let (sound, other) = written(dir.path().join("sound"), 3 * CHUNK);
    let log = ScanCache::at(log_path.clone());
    remember(&log, &rotten, &sample);
    log.forget(&rotten);
    log.forget(Path::new("/never/seen"));
    remember(&log, &sound, &other);
    assert!(!knows(&log, &rotten, &sample) && knows(&log, &sound, &other));
    drop(log);
    let log = ScanCache::at(log_path.clone());
    assert!(!knows(&log, &rotten, &sample) && knows(&log, &sound, &other), "after a restart");
    remember(&log, &rotten, &sample);
    drop(log);
    assert!(knows(&ScanCache::at(log_path), &rotten, &sample), "read anew");
}

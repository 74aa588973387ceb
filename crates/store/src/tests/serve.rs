//! A change of a shared file is noticed before wrong bytes of it are served.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tnet_fileinfo::scan::unwatched;

use super::{CHUNK, Sample, scratch, wait_for_the_clock_of};
use crate::{
    ChunkVerdict, FdCache, FileState, FileStore, Flaw, ReadError, ScanCache, ShareError, WatchLink,
};

/// A sample on disk, shared. Its time of modification is long ago, so that any later one differs on
/// every file system.
fn shared(path: &Path) -> (Sample, FileStore) {
    let sample = Sample::of_size(3 * CHUNK + 10);
    fs::write(path, &sample.content).expect("writable");
    let file = File::options().write(true).open(path).expect("there");
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1)).expect("settable");
    let store = FileStore::open_shared(path, &sample.info).expect("a regular file");
    (sample, store)
}

#[test]
fn an_untouched_file_is_read_exactly_at_both_ends_of_every_chunk() {
    let dir = scratch();
    let (sample, store) = shared(&dir.path().join("file"));
    for chunk in sample.info.geometry().chunks() {
        let bytes = sample.bytes(chunk);
        let mut whole = vec![0; bytes.len()];
        store.read_chunk_part(chunk, 0, &mut whole).expect("untouched");
        assert_eq!(whole, bytes);

        let mut last = [0];
        let end = u32::try_from(bytes.len()).expect("a chunk");
        store.read_chunk_part(chunk, end - 1, &mut last).expect("untouched");
        assert_eq!(last[0], bytes[bytes.len() - 1]);
        let beyond = store.read_chunk_part(chunk, end, &mut last);
        assert!(matches!(beyond, Err(ReadError::OutOfRange { .. })));
        store.read_chunk_part(chunk, end, &mut []).expect("nothing, at the very end");
    }
    assert_eq!(store.state(), FileState::Unchanged);
}

#[test]
fn a_truncated_appended_or_rewritten_file_is_changed_for_every_read() {
    let meddlings: [&dyn Fn(&Path); 4] = [
        &|path| {
            OpenOptions::new()
                .write(true)
                .open(path)
                .and_then(|file| file.set_len(CHUNK))
                .expect("cut")
        },
        &|path| {
            OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(0)).expect("cut")
        },
        &|path| {
            OpenOptions::new()
                .append(true)
                .open(path)
                .and_then(|mut file| file.write_all(b"x"))
                .expect("longer")
        },
        &|path| {
            OpenOptions::new()
                .write(true)
                .open(path)
                .and_then(|mut file| file.write_all(b"x"))
                .expect("other")
        },
    ];
    for meddle in meddlings {
        let dir = scratch();
        let path = dir.path().join("file");
        let (sample, store) = shared(&path);

        meddle(&path);

        for chunk in sample.info.geometry().chunks() {
            let read = store.read_chunk_part(chunk, 0, &mut [0; 10]);
            assert!(matches!(read, Err(ReadError::Changed)), "{read:?}");
        }
        assert_eq!(store.state(), FileState::Changed);
    }
}

#[test]
fn a_deleted_or_replaced_file_is_gone() {
    let meddlings: [&dyn Fn(&Path); 2] =
        [&|path| fs::remove_file(path).expect("removable"), &|path| {
            let other = path.with_extension("new");
            fs::write(&other, fs::read(path).expect("there")).expect("writable");
            fs::rename(other, path).expect("replaced");
        }];
    for meddle in meddlings {
        let dir = scratch();
        let path = dir.path().join("file");
        let (sample, store) = shared(&path);

        meddle(&path);

        let read = store.read_chunk_part(sample.chunk(0), 0, &mut [0; 10]);
        assert!(matches!(read, Err(ReadError::Gone)), "{read:?}");
        assert_eq!(store.state(), FileState::Gone);
    }
}

#[test]
fn a_file_moved_elsewhere_is_gone_from_its_path_and_not_read_before_it_is_looked_at() {
    let dir = scratch();
    let path = dir.path().join("file");
    let (sample, store) = shared(&path);

    wait_for_the_clock_of(&path);
    fs::rename(&path, dir.path().join("elsewhere")).expect("movable");

    assert_eq!(store.state(), FileState::Gone);
    let read = store.read_chunk_part(sample.chunk(0), 0, &mut [0; 10]);
    assert!(matches!(read, Err(ReadError::Touched)), "{read:?}");
    let again = store.read_again(None, Duration::ZERO, &unwatched).expect_err("it is not there");
    assert!(!again.is_transient(), "{again}");
}

#[test]
fn only_a_regular_file_of_the_scanned_size_is_shared() {
    let dir = scratch();
    let sample = Sample::of_size(2 * CHUNK);
    let path = dir.path().join("file");
    fs::write(&path, b"shorter").expect("writable");

    let changed = FileStore::open_shared(&path, &sample.info);
    assert!(matches!(changed, Err(ShareError::Changed { found: 7, .. })));
    let directory = FileStore::open_shared(dir.path(), &sample.info);
    assert!(matches!(directory, Err(ShareError::NotAFile { .. })));
    let missing = FileStore::open_shared(&dir.path().join("no"), &sample.info);
    assert!(matches!(missing, Err(ShareError::Io { .. })));
}

/// Whether it is open: only then it is known what needs no disk.
fn is_open(store: &FileStore, sample: &Sample) -> bool {
    store.cached_part(sample.chunk(0), 0, 10).is_some()
}

/// Lets the file be closed as idle.
fn rested(store: FileStore) -> FileStore {
    let store = store.with_fd_cache(&FdCache::new(256));
    store.close_if_idle();
    store.close_if_idle();
    store
}

#[test]
fn an_unread_file_is_closed_and_opened_again_by_the_next_reader() {
    let dir = scratch();
    let (sample, store) = shared(&dir.path().join("file"));
    let store = store.with_fd_cache(&FdCache::new(256));
    store.close_if_idle();
    assert!(is_open(&store, &sample), "it was used just now");
    store.close_if_idle();
    store.close_if_idle();
    assert!(!is_open(&store, &sample));

    let mut read = [0; 10];
    store.read_chunk_part(sample.chunk(0), 0, &mut read).expect("untouched");

    assert_eq!(read, sample.content[..10]);
    assert!(is_open(&store, &sample));
}

#[test]
fn no_more_files_stay_open_than_may() {
    const FILES: usize = 300;
    let dir = scratch();
    let others = FdCache::new(256);
    let shares: Vec<(Sample, FileStore)> = (0..FILES)
        .map(|number| {
            let (sample, store) = shared(&dir.path().join(number.to_string()));
            (sample, store.with_fd_cache(&others))
        })
        .collect();
    for (sample, store) in &shares {
        store
            .read_chunk_part(sample.chunk(0), 0, &mut [0; 10])
            .expect("whether it stays open or not");
    }
    assert_eq!(shares.iter().filter(|(sample, store)| is_open(store, sample)).count(), 256);
    let last = shares.last().expect("many");
    assert!(!is_open(&last.1, &last.0));

    for (_, store) in &shares {
        store.close_if_idle();
        store.close_if_idle();
    }
    last.1.read_chunk_part(last.0.chunk(0), 0, &mut [0; 10]).expect("there is room again");
    assert!(is_open(&last.1, &last.0));
}

#[test]
fn a_change_of_a_closed_file_is_noticed() {
    let dir = scratch();
    let read = |store: &FileStore, sample: &Sample| {
        store.read_chunk_part(sample.chunk(0), 0, &mut [0; 10])
    };

    let path = dir.path().join("written");
    let (sample, store) = shared(&path);
    let store = rested(store);
    OpenOptions::new()
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(b"x"))
        .expect("longer");
    assert!(matches!(read(&store, &sample), Err(ReadError::Changed)));

    let path = dir.path().join("deleted");
    let (sample, store) = shared(&path);
    let store = rested(store);
    fs::remove_file(&path).expect("removable");
    assert!(matches!(read(&store, &sample), Err(ReadError::Gone)));

    let path = dir.path().join("replaced");
    let (sample, store) = shared(&path);
    let store = rested(store);
    let other = path.with_extension("new");
    fs::write(&other, &sample.content).expect("writable");
    fs::rename(other, &path).expect("replaced");
    assert!(matches!(read(&store, &sample), Err(ReadError::Gone)));
}

/// Writes a byte and sets the time of modification back.
fn write_unnoticed(path: &Path, at: u64, byte: u8) {
    wait_for_the_clock_of(path);
    let file = File::options().write(true).open(path).expect("there");
    let modified = file.metadata().and_then(|metadata| metadata.modified()).expect("told");
    file.write_all_at(&[byte], at).expect("writable");
    file.set_modified(modified).expect("settable");
}

#[test]
fn a_check_finds_wrong_bytes_under_an_unchanged_fingerprint() {
    let dir = scratch();
    let path = dir.path().join("file");
    let (sample, sound) = shared(&path);
    let (first, second) = (sample.chunk(0), sample.chunk(1));
    let mut buf = Vec::new();
    assert!(matches!(sound.inspect(second, &mut buf), ChunkVerdict::Right));
    write_unnoticed(&path, CHUNK + 7, !sample.bytes(second)[7]);
    // Opened with what it once was, as after bytes rotted.
    let store = FileStore::open_shared(&path, &sample.info).expect("it has the size");
    assert!(matches!(store.inspect(second, &mut buf), ChunkVerdict::Wrong));
    assert!(matches!(store.inspect(first, &mut buf), ChunkVerdict::Right));
    File::options().write(true).open(&path).and_then(|file| file.set_len(10)).expect("cut");
    assert!(matches!(store.inspect(second, &mut buf), ChunkVerdict::Failed(ReadError::Changed)));
}

#[test]
fn a_file_whose_time_of_modification_was_set_back_is_read_again_before_it_is_served() {
    let dir = scratch();
    let path = dir.path().join("file");
    let (sample, store) = shared(&path);
    let (second, log) = (sample.chunk(1), ScanCache::at(dir.path().join("log")));
    let right = sample.bytes(second)[7];
    for (byte, is_same) in [(right, true), (!right, false), (right, true)] {
        write_unnoticed(&path, CHUNK + 7, byte);
        let read = store.read_chunk_part(second, 0, &mut [0; 10]);
        assert!(matches!(read, Err(ReadError::Touched)), "{read:?}");
        assert!(store.cached_part(second, 0, 10).is_none());
        assert_eq!(store.state(), FileState::Touched);
        let again = store.read_again(Some(&log), Duration::MAX, &unwatched);
        assert_eq!(again.is_ok(), is_same);
        if let Ok(again) = again {
            again.read_chunk_part(second, 0, &mut [0; 10]).expect("it has the same content");
            assert_eq!(again.state(), FileState::Unchanged);
            let file = File::open(&path).expect("there");
            let known = log.recall(again.path(), &file.metadata().expect("open"), &file);
            assert_eq!(
                known.map(|info| info.hash()),
                Some(sample.info.hash()),
                "a restart need not read it"
            );
        }
    }
}

#[test]
fn a_deleted_file_is_open_in_vain_and_one_with_another_name_is_not() {
    let dir = scratch();
    let (path, link) = (dir.path().join("file"), dir.path().join("link"));
    fs::write(&path, "x").expect("writable");
    let (_, store) = shared(&path);
    let others = FdCache::new(1);
    let store = store.with_fd_cache(&others);
    assert_eq!((store.is_open_in_vain(), others.paths().len()), (Some(false), 1));
    fs::hard_link(&path, &link).expect("one file system");
    fs::remove_file(&path).expect("removable");
    assert_eq!(store.is_open_in_vain(), Some(false), "closing it would free nothing");
    fs::remove_file(&link).expect("removable");
    assert_eq!(store.is_open_in_vain(), Some(true));
    (0..2).for_each(|_| store.close_if_idle());
    assert_eq!((store.is_open_in_vain(), others.paths().len()), (None, 0));
}

#[test]
fn no_byte_of_a_chunk_with_a_flaw_is_read_in_any_way() {
    let dir = scratch();
    let (sample, store) = shared(&dir.path().join("file"));
    let (good, bad) = (sample.chunk(0), sample.chunk(1));
    store.flaws().set(store.info().geometry(), bad, Some(Flaw::Unreadable));
    let mut byte = [0];
    let withdrawn = |read: Result<(), ReadError>| matches!(read, Err(ReadError::Withdrawn { .. }));
    assert!(withdrawn(store.read_chunk_part(bad, 0, &mut byte)));
    assert!(store.read_chunk_part_at_once(bad, 0, &mut byte).is_some_and(withdrawn));
    assert!(store.cached_part(bad, 0, 1).is_none());
    assert!(store.cached_range(CHUNK - 1, 2).is_none(), "its first byte is in it");
    assert!(store.cached_range(2 * CHUNK - 1, 2).is_none(), "its last byte is in it");
    store.read_chunk_part(good, 0, &mut byte).expect("the others are served");
    store.flaws().set(store.info().geometry(), bad, None);
    store.read_chunk_part(bad, 0, &mut byte).expect("and it is when it has none");
}

#[test]
fn a_file_that_was_away_when_it_was_to_be_opened_is_reported_as_gone() {
    let dir = scratch();
    let (path, away) = (dir.path().join("file"), dir.path().join("away"));
    let (sample, store) = shared(&path);
    let watched = WatchLink::default();
    let store = rested(store).watched_by(&watched);
    let read = || store.read_chunk_part(sample.chunk(0), 0, &mut [0; 10]);

    fs::rename(&path, &away).expect("movable");
    assert!(matches!(read(), Err(ReadError::Gone)));
    assert!(watched.take_missed().into_iter().eq([std::sync::Arc::from(&*path)]));
    wait_for_the_clock_of(&away);
    fs::rename(&away, &path).expect("movable");
    assert!(matches!(read(), Err(ReadError::Touched)), "it is back, and may be another");
    assert!(watched.take_missed().is_empty(), "told once");
}

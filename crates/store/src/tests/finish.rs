//! The last step of a download: from `.partial` to its name, whole or not at all.

use std::fs::{self, OpenOptions};
use std::sync::Arc;

use super::{CHUNK, Sample, names, partial, scratch};
use crate::{FileState, FinishError, Opened, ReadError, WriteError, sys};

#[test]
fn a_finished_download_is_the_file_and_leaves_nothing_beside_it() {
    // Nothing; one byte; short of a chunk; exactly one; spill into a second; several.
    for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK] {
        let dir = scratch();
        let out = dir.path().join("out");
        let sample = Sample::of_size(size);
        let (download, _) = sample.begin(&out);
        sample.write_all(&download);

        let store = download.finish().expect("the disk works");

        assert_eq!(fs::read(&out).expect("there"), sample.content, "{size} bytes");
        assert_eq!(names(dir.path()), ["out"]);
        assert_eq!((&**store.path(), store.state()), (out.as_path(), FileState::Unchanged));
    }
}

#[test]
fn the_finished_file_is_served_from_the_file_that_was_written() {
    let dir = scratch();
    let sample = Sample::of_size(2 * CHUNK + 7);
    let (download, _) = sample.begin(&dir.path().join("out"));
    sample.write_all(&download);
    let store = download.finish().expect("the disk works");

    let mut tail = [0; 5];
    store.read_chunk_part(sample.chunk(2), 2, &mut tail).expect("unchanged since it was finished");

    assert_eq!(&tail, &sample.bytes(sample.chunk(2))[2..7]);
}

#[test]
fn a_download_that_lacks_a_chunk_does_not_finish() {
    let dir = scratch();
    let sample = Sample::of_size(3 * CHUNK);
    let (download, _) = sample.begin(&dir.path().join("out"));
    sample.write(&download, &[0, 2]);

    assert!(matches!(download.finish(), Err(FinishError::Incomplete { missing: 1 })));

    sample.write(&download, &[1]);
    download.finish().expect("whole now");
}

#[test]
fn an_output_that_appeared_meanwhile_is_kept_and_so_is_the_partial() {
    let dir = scratch();
    let out = dir.path().join("out");
    let sample = Sample::of_size(3 * CHUNK);
    let (download, _) = sample.begin(&out);
    sample.write_all(&download);
    fs::write(&out, b"precious").expect("writable");

    assert!(matches!(download.finish(), Err(FinishError::Exists { .. })));
    assert_eq!(fs::read(&out).expect("there"), b"precious");
    drop(download);

    let (download, resumed) = partial(sample.open_replacing(&out));
    assert!(resumed.is_full());
    download.finish().expect("it may be replaced now");
    assert_eq!(fs::read(&out).expect("there"), sample.content);
}

#[test]
fn a_partial_that_is_not_ours_any_more_never_gets_the_name() {
    let sample = Sample::of_size(3 * CHUNK);
    let finish_after = |meddle: &dyn Fn(&std::path::Path)| {
        let dir = scratch();
        let (download, _) = sample.begin(&dir.path().join("out"));
        sample.write_all(&download);
        meddle(&download.partial_path());
        let finished = download.finish();
        assert!(matches!(finished, Err(FinishError::Gone { .. })), "{finished:?}");
        assert!(!dir.path().join("out").exists());
        download.is_in_place()
    };

    assert!(!finish_after(&|partial| fs::remove_file(partial).expect("removable")));
    assert!(!finish_after(&|partial| {
        fs::remove_file(partial).expect("removable");
        fs::write(partial, vec![0; sample.content.len()]).expect("writable");
    }));
    assert!(finish_after(&|partial| {
        OpenOptions::new()
            .write(true)
            .open(partial)
            .expect("there")
            .set_len(CHUNK)
            .expect("truncates");
    }));
}

#[test]
fn a_moved_directory_takes_the_download_along_and_the_new_path_is_reported() {
    for meddle in ["renamed", "replaced", "an ancestor renamed"] {
        let dir = scratch();
        let (above, inside) = (dir.path().join("above"), dir.path().join("above/inside"));
        fs::create_dir_all(&inside).expect("writable");
        let sample = Sample::of_size(2 * CHUNK);
        let (download, _) = sample.begin(&inside.join("out"));
        sample.write_all(&download);
        let now = match meddle {
            "an ancestor renamed" => {
                fs::rename(&above, dir.path().join("elsewhere")).expect("movable");
                dir.path().join("elsewhere/inside")
            }
            _ => {
                fs::rename(&inside, above.join("other")).expect("movable");
                above.join("other")
            }
        };
        if meddle == "replaced" {
            fs::create_dir(&inside).expect("writable");
        }
        assert!(download.is_in_place(), "{meddle}");
        assert_eq!(download.partial_path(), now.join("out.partial"), "{meddle}");

        let store = download.finish().expect("the directory is there");

        assert_eq!(
            (&**store.path(), store.state()),
            (&*now.join("out"), FileState::Unchanged),
            "{meddle}"
        );
        assert_eq!(names(&now), ["out"], "{meddle}");
        assert!(meddle != "replaced" || names(&inside).is_empty());
    }
}

#[test]
fn a_directory_that_is_removed_ends_the_download_clearly() {
    let dir = scratch();
    let inside = dir.path().join("inside");
    fs::create_dir(&inside).expect("writable");
    let sample = Sample::of_size(2 * CHUNK);
    let (download, _) = sample.begin(&inside.join("out"));
    sample.write_all(&download);
    fs::remove_dir_all(&inside).expect("removable");
    fs::create_dir(&inside).expect("writable");
    assert!(!download.is_in_place());
    let finished = download.finish();
    assert!(
        matches!(&finished, Err(FinishError::Gone { path }) if *path == inside.join("out.partial"))
    );
    assert!(names(&inside).is_empty());
}

#[test]
#[cfg(target_os = "linux")]
fn nothing_is_open_when_it_is_removed_at_the_end() {
    let dir = scratch();
    let sample = Sample::of_size(2 * CHUNK);
    let (download, _) = sample.begin(&dir.path().join("out"));
    sample.write_all(&download);
    download.sync().expect("the disk works");
    download.finish().expect("the disk works");
    let open = fs::read_dir("/proc/self/fd").expect("there").flatten();
    let removed = open.filter_map(|fd| fs::read_link(fd.path()).ok());
    let removed: Vec<_> = removed
        .filter(|path| {
            path.starts_with(dir.path())
                && path.as_os_str().as_encoded_bytes().ends_with(b"(deleted)")
        })
        .collect();
    assert!(removed.is_empty(), "{removed:?}");
}

#[test]
fn a_late_duplicate_of_a_chunk_does_not_touch_the_finished_file() {
    let dir = scratch();
    let sample = Sample::of_size(2 * CHUNK);
    let (download, _) = sample.begin(&dir.path().join("out"));
    sample.write_all(&download);
    let store = download.finish().expect("the disk works");

    sample.write_all(&download);

    assert_eq!(store.state(), FileState::Unchanged);
    assert!(matches!(download.finish(), Err(FinishError::Closed)));
    assert!(download.sync().expect("nothing to do").is_empty());
}

#[test]
fn chunks_written_and_synced_from_many_threads_all_arrive() {
    let dir = scratch();
    let out = dir.path().join("out");
    let sample = Arc::new(Sample::of_size(200 * CHUNK + 1));
    let (download, _) = sample.begin(&out);
    let download = Arc::new(download);

    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (sample, download) = (&sample, &download);
            scope.spawn(move || {
                // Neighbouring workers overlap, as hedged requests do.
                for index in
                    (0..201).filter(|index| index % 4 == worker || index % 4 == (worker + 1) % 4)
                {
                    sample.write(download, &[index]);
                    if index % 32 == worker {
                        download.sync().expect("the disk works");
                    }
                }
            });
        }
    });

    let newly = download.sync().expect("the disk works");
    assert!(newly.count() < 201, "the syncs in between did nothing");
    download.finish().expect("whole");
    assert_eq!(fs::read(&out).expect("there"), sample.content);
}

#[test]
fn a_discarded_download_leaves_nothing() {
    let dir = scratch();
    let sample = Sample::of_size(2 * CHUNK);
    let (download, _) = sample.begin(&dir.path().join("out"));
    sample.write(&download, &[0]);

    download.discard().expect("removable");

    assert!(names(dir.path()).is_empty());
    let chunk = sample.chunk(1);
    assert!(matches!(download.write_chunk(chunk, sample.bytes(chunk)), Err(WriteError::Closed)));
}

#[test]
fn discarding_spares_a_partial_that_another_process_put_in_place_of_ours() {
    let dir = scratch();
    let sample = Sample::of_size(2 * CHUNK);
    let (download, _) = sample.begin(&dir.path().join("out"));
    fs::remove_file(download.partial_path()).expect("removable");
    fs::write(download.partial_path(), b"precious").expect("writable");

    download.discard().expect("nothing of ours is left");

    assert_eq!(names(dir.path()), ["out.partial"]);
}

#[test]
fn only_stored_chunks_are_read_from_a_download() {
    let dir = scratch();
    let sample = Sample::of_size(2 * CHUNK);
    let (download, _) = sample.begin(&dir.path().join("out"));
    sample.write(&download, &[1]);
    let mut buf = vec![0; 100];

    download.read_chunk_part(sample.chunk(1), 50, &mut buf).expect("stored");
    assert_eq!(buf, sample.bytes(sample.chunk(1))[50..150]);
    let missing = download.read_chunk_part(sample.chunk(0), 0, &mut buf);
    assert!(matches!(missing, Err(ReadError::NotStored { .. })));
    let beyond = download.read_chunk_part(sample.chunk(1), u32::MAX, &mut buf);
    assert!(matches!(beyond, Err(ReadError::OutOfRange { .. })));
}

#[test]
fn renaming_by_linking_does_not_replace_either() {
    let dir = scratch();
    let directory = sys::open_directory(dir.path()).expect("there");
    fs::write(dir.path().join("from"), b"new").expect("writable");
    fs::write(dir.path().join("taken"), b"precious").expect("writable");

    let taken = sys::link_new(&directory, "from".as_ref(), "taken".as_ref());
    assert_eq!(taken.expect_err("taken").kind(), std::io::ErrorKind::AlreadyExists);
    sys::link_new(&directory, "from".as_ref(), "to".as_ref()).expect("free");

    assert_eq!(names(dir.path()), ["taken", "to"]);
    assert_eq!(fs::read(dir.path().join("taken")).expect("there"), b"precious");
}

#[test]
fn a_finished_download_opened_again_is_complete() {
    let dir = scratch();
    let out = dir.path().join("out");
    let sample = Sample::of_size(2 * CHUNK);
    let (download, _) = sample.begin(&out);
    sample.write_all(&download);
    download.finish().expect("the disk works");

    assert!(matches!(sample.open(&out), Ok(Opened::Complete(_))));
}

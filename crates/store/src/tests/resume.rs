//! What a second attempt finds: everything right that the first one left, and nothing else, however
//! it ended.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use tnet_fileinfo::ChunkSet;

use super::{CHUNK, Sample, check_all, names, scratch};
use crate::journal::{HEADER_LEN, RECORD_LEN};
use crate::{FinishError, Opened};

/// Overwrites one byte with another.
fn flip(path: &Path, offset: u64) {
    let file = File::options().read(true).write(true).open(path).expect("there");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("inside the file");
    file.write_all_at(&[!byte[0]], offset).expect("writable");
}

fn companions(out: &Path) -> (PathBuf, PathBuf) {
    (out.with_extension("partial"), out.with_extension("partial.journal"))
}

#[test]
fn synced_chunks_are_resumed_without_reading_them() {
    let dir = scratch();
    let out = dir.path().join("out");
    let sample = Sample::of_size(8 * CHUNK + 1);
    let (download, _) = sample.begin(&out);
    sample.write(&download, &[0, 1, 2, 5, 8]);
    assert_eq!(download.sync().expect("the disk works"), sample.set(&[0, 1, 2, 5, 8]));
    drop(download);

    let (_, resumed, hashed) = sample.begin_counting(&out);

    assert_eq!(resumed, sample.set(&[0, 1, 2, 5, 8]));
    sample.assert_hashed(&out, hashed, 0, &[0, 1, 2, 5, 8]);
}

#[test]
fn unsynced_chunks_are_resumed_after_reading_only_them() {
    let dir = scratch();
    let out = dir.path().join("out");
    let sample = Sample::of_size(64 * CHUNK);
    let (download, _) = sample.begin(&out);
    sample.write(&download, &[3, 4]);
    download.sync().expect("the disk works");
    sample.write(&download, &[10, 40]);
    drop(download);

    let (download, resumed, hashed) = sample.begin_counting(&out);
    assert_eq!(resumed, sample.set(&[3, 4, 10, 40]));
    sample.assert_hashed(&out, hashed, 2 * CHUNK, &[3, 4]);
    drop(download);

    let (_, resumed, hashed) = sample.begin_counting(&out);
    assert_eq!(resumed, sample.set(&[3, 4, 10, 40]));
    sample.assert_hashed(&out, hashed, 0, &[3, 4, 10, 40]); // found once is found for good
}

#[test]
fn a_chunk_that_was_damaged_before_the_journal_heard_of_it_is_missing() {
    let dir = scratch();
    let out = dir.path().join("out");
    let (partial, _) = companions(&out);
    let sample = Sample::of_size(6 * CHUNK);
    let (download, _) = sample.begin(&out);
    sample.write(&download, &[0, 1, 2, 3]);
    drop(download);
    flip(&partial, 0);
    flip(&partial, 2 * CHUNK + CHUNK / 2);

    let (download, resumed) = sample.begin(&out);

    assert_eq!(resumed, sample.set(&[1, 3]));
    sample.write(&download, &[0, 2, 4, 5]);
    download.finish().expect("the disk works");
    assert_eq!(fs::read(&out).expect("there"), sample.content);
}

#[test]
fn a_journal_cut_or_damaged_at_any_byte_costs_reading_but_no_chunk() {
    let dir = scratch();
    let out = dir.path().join("out");
    let (partial, journal) = companions(&out);
    let sample = Sample::of_size(6 * CHUNK);
    let written = sample.set(&[0, 2, 3]);
    let (download, _) = sample.begin(&out);
    sample.write(&download, &[0]);
    download.sync().expect("the disk works");
    sample.write(&download, &[2, 3]);
    download.sync().expect("the disk works");
    drop(download);
    let records_end = HEADER_LEN + 2 * RECORD_LEN;
    let whole = fs::read(&journal).expect("there");
    let covered = |intact: usize| match intact.checked_sub(HEADER_LEN) {
        None => ChunkSet::empty(sample.info.geometry()),
        Some(bytes) if bytes < RECORD_LEN => ChunkSet::empty(sample.info.geometry()),
        Some(bytes) if bytes < 2 * RECORD_LEN => sample.set(&[0]),
        Some(_) => written.clone(),
    };
    // Bytes before the damage; the journal.
    let cuts = (0..=records_end).map(|cut| (cut, whole[..cut].to_vec()));
    let flips = (0..records_end).map(|at| {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        (at, damaged)
    });
    for (intact, damaged) in cuts.chain(flips) {
        // In place, so that the `.partial` stays the one the journal speaks of.
        fs::write(&journal, &damaged).expect("writable");

        let (download, resumed, hashed) = sample.begin_counting(&out);

        assert_eq!(resumed, written, "damaged at byte {intact}");
        assert_eq!(download.vouched(), covered(intact), "damaged at byte {intact}");
        assert_eq!(check_all(&download), [0; 0]);
        assert_eq!(download.stored(), written);
        let vouched = sample.info.geometry().bytes_in(&covered(intact));
        // What was written and is not vouched for must be read. Of the holes, reading ahead may
        // have cached some, and file systems take those for data.
        let range = 3 * CHUNK - vouched..=6 * CHUNK - vouched;
        assert!(
            range.contains(&hashed),
            "damaged at byte {intact}: {hashed} bytes read, not {range:?}"
        );
        drop(download);
    }
    assert!(partial.exists());
}

#[test]
fn a_journal_whose_partial_was_removed_is_not_believed() {
    let dir = scratch();
    let out = dir.path().join("out");
    let (partial, _) = companions(&out);
    let sample = Sample::of_size(4 * CHUNK);
    // Several times: file systems like to give the same inode to the next file.
    for _ in 0..4 {
        let (download, resumed) = sample.begin(&out);
        assert!(resumed.is_empty());
        sample.write(&download, &[0, 1, 2]);
        download.sync().expect("the disk works");
        drop(download);
        fs::remove_file(&partial).expect("removable");
    }
}

#[test]
fn a_journal_whose_partial_was_replaced_cut_or_lengthened_is_not_believed() {
    let zeroes = vec![0; Sample::of_size(4 * CHUNK).content.len()];
    // What is done to the `.partial`, and which chunks of 0, 1 and 3 are right afterwards.
    type Meddling<'a> = (&'a dyn Fn(&Path), &'a [u32]);
    let meddlings: [Meddling<'_>; 4] = [
        (
            &|partial| {
                fs::remove_file(partial).expect("removable");
                fs::write(partial, &zeroes).expect("writable");
            },
            &[],
        ),
        (
            &|partial| {
                let copy = partial.with_extension("copy");
                fs::copy(partial, &copy).expect("copied");
                fs::rename(copy, partial).expect("replaced");
            },
            &[0, 1, 3],
        ),
        (
            &|partial| {
                let file = OpenOptions::new().write(true).open(partial).expect("there");
                file.set_len(CHUNK + 5).expect("truncates");
            },
            &[0],
        ),
        (
            &|partial| {
                flip(partial, CHUNK);
                let file = OpenOptions::new().write(true).open(partial).expect("there");
                file.set_len(9 * CHUNK).expect("longer");
            },
            &[0, 3],
        ),
    ];
    for (number, (meddle, right)) in meddlings.into_iter().enumerate() {
        let dir = scratch();
        let out = dir.path().join("out");
        let (partial, _) = companions(&out);
        let sample = Sample::of_size(4 * CHUNK);
        let (download, _) = sample.begin(&out);
        sample.write(&download, &[0, 1, 3]);
        download.sync().expect("the disk works");
        drop(download);

        meddle(&partial);

        let (download, resumed) = sample.begin(&out);
        assert_eq!(resumed, sample.set(right), "meddling {number}");
        assert_eq!(fs::metadata(&partial).expect("there").len(), sample.info.size());
        sample.write_all(&download);
        download.finish().expect("the disk works");
        assert_eq!(fs::read(&out).expect("there"), sample.content);
    }
}

#[test]
fn a_partial_of_another_version_of_the_file_keeps_the_chunks_both_have() {
    let dir = scratch();
    let out = dir.path().join("out");
    let old = Sample::of_size(5 * CHUNK);
    let mut content = old.content.clone();
    content[usize::try_from(CHUNK).expect("small")] ^= 1;
    content.truncate(usize::try_from(4 * CHUNK).expect("small"));
    let new = Sample { info: super::describe(&content), content };
    let (download, _) = old.begin(&out);
    old.write(&download, &[0, 1, 2, 4]);
    download.sync().expect("the disk works");
    drop(download);

    let (download, resumed) = new.begin(&out);

    assert_eq!(resumed, new.set(&[0, 2]));
    new.write(&download, &[1, 3]);
    download.finish().expect("the disk works");
    assert_eq!(fs::read(&out).expect("there"), new.content);
}

#[test]
fn a_download_whose_every_chunk_was_synced_is_verified_and_finishes_after_a_crash() {
    let dir = scratch();
    let out = dir.path().join("out");
    let sample = Sample::of_size(3 * CHUNK + 3);
    let (download, _) = sample.begin(&out);
    sample.write_all(&download);
    download.sync().expect("the disk works");
    drop(download);

    let (download, resumed, hashed) = sample.begin_counting(&out);

    assert!(resumed.is_full());
    assert_eq!(hashed, 0);
    assert!(matches!(download.finish(), Err(FinishError::Incomplete { missing: 4 })));
    assert_eq!(check_all(&download), [0; 0]);
    download.finish().expect("the disk works");
    assert_eq!(fs::read(&out).expect("there"), sample.content);
}

/// Leaves an output as a crash after the rename does: the journal still there.
fn crashed_after_rename(out: &Path, sample: &Sample) {
    let (partial, _) = companions(out);
    let (download, _) = sample.begin(out);
    sample.write_all(&download);
    download.sync().expect("the disk works");
    drop(download);
    fs::rename(partial, out).expect("renamed");
}

#[test]
fn a_crash_between_rename_and_the_end_leaves_a_complete_file() {
    let dir = scratch();
    let out = dir.path().join("out");
    let sample = Sample::of_size(2 * CHUNK);
    crashed_after_rename(&out, &sample);

    assert!(matches!(sample.open(&out), Ok(Opened::Complete(_))));
    assert_eq!(names(dir.path()), ["out"]);
}

#[test]
fn a_crash_between_link_and_unlink_leaves_a_complete_file() {
    let dir = scratch();
    let out = dir.path().join("out");
    let (partial, _) = companions(&out);
    let sample = Sample::of_size(2 * CHUNK);
    crashed_after_rename(&out, &sample);
    fs::hard_link(&out, partial).expect("a second name");

    assert!(matches!(sample.open(&out), Ok(Opened::Complete(_))));
    assert_eq!(names(dir.path()), ["out"]);
}

#[test]
fn the_leftovers_of_another_download_are_not_cleaned_away() {
    let dir = scratch();
    let out = dir.path().join("out");
    let other = Sample::of_seed(2 * CHUNK, b"other");
    let sample = Sample::of_size(2 * CHUNK);
    let (download, _) = other.begin(&out);
    other.write(&download, &[1]);
    download.sync().expect("the disk works");
    fs::write(&out, &sample.content).expect("writable");

    assert!(matches!(sample.open(&out), Ok(Opened::Complete(_))));

    assert_eq!(names(dir.path()), ["out", "out.partial", "out.partial.journal"]);
}

#[test]
fn a_journal_left_after_the_finished_file_was_deleted_is_not_believed() {
    let dir = scratch();
    let out = dir.path().join("out");
    let sample = Sample::of_size(2 * CHUNK);
    crashed_after_rename(&out, &sample);
    fs::remove_file(&out).expect("removable");

    let (download, resumed) = sample.begin(&out);

    assert!(resumed.is_empty());
    sample.write_all(&download);
    download.finish().expect("the disk works");
    assert_eq!(fs::read(&out).expect("there"), sample.content);
}

#[test]
fn resuming_keeps_the_same_file_and_its_space() {
    let dir = scratch();
    let out = dir.path().join("out");
    let (partial, journal) = companions(&out);
    let sample = Sample::of_size(20 * CHUNK);
    let (download, _) = sample.begin(&out);
    sample.write(&download, &[7]);
    download.sync().expect("the disk works");
    drop(download);
    let inode = |path: &Path| fs::metadata(path).expect("there").ino();
    let before = (inode(&partial), inode(&journal));

    let _download = sample.begin(&out);

    assert_eq!((inode(&partial), inode(&journal)), before);
}

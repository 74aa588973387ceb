//! A journal saves fetching, never verifying: whatever happened to the `.partial` and the journal
//! between two attempts, no wrong byte is served or gets the final name.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use tnet_fileinfo::ChunkSet;

use super::{CHUNK, Sample, check_all, partial, scratch};
use crate::journal::{HEADER_LEN, RECORD_LEN};
use crate::{Download, FinishError, ReadError};

const CHUNKS: u64 = 12;

/// An interrupted download: these chunks were stored and synced, in this order.
fn interrupted(sample: &Sample, out: &Path, batches: &[&[u32]]) {
    let (download, _) = sample.begin(out);
    for batch in batches {
        sample.write(&download, batch);
        download.sync().expect("the disk works");
    }
}

fn paths(out: &Path) -> (PathBuf, PathBuf) {
    (out.with_extension("partial"), out.with_extension("partial.journal"))
}

fn writable(path: &Path) -> File {
    File::options().read(true).write(true).open(path).expect("there")
}

fn part(sample: &Sample, download: &Download, index: u32) -> Result<Vec<u8>, ReadError> {
    let mut bytes = vec![0; sample.bytes(sample.chunk(index)).len()];
    download.read_chunk_part(sample.chunk(index), 0, &mut bytes).map(|()| bytes)
}

#[test]
fn a_vouched_chunk_is_not_served_until_it_is_verified() {
    let dir = scratch();
    let out = dir.path().join("out");
    let sample = Sample::of_size(3 * CHUNK + 5);
    interrupted(&sample, &out, &[&[0, 3]]);

    let (download, kept) = sample.begin(&out);

    assert_eq!((kept, download.vouched()), (sample.set(&[0, 3]), sample.set(&[0, 3])));
    assert!(download.stored().is_empty());
    let chunk = sample.chunk(3);
    assert!(matches!(part(&sample, &download, 3), Err(ReadError::NotStored { .. })));
    assert!(matches!(
        download.read_chunk_part_at_once(chunk, 0, &mut [0]),
        Some(Err(ReadError::NotStored { .. }))
    ));
    assert!(download.cached_part(chunk, 0, 1).is_none());
    assert_eq!(
        download.check_vouched(1, Duration::MAX).right,
        [sample.chunk(0)],
        "one chunk at least"
    );
    assert_eq!(download.check_vouched(u64::MAX, Duration::MAX).right, [chunk]);
    assert!(part(&sample, &download, 3).expect("stored") == sample.bytes(chunk));
    assert!(download.check_vouched(u64::MAX, Duration::MAX).right.is_empty());
}

#[test]
fn a_damaged_chunk_is_missing_and_its_journal_does_not_grow_when_it_is_written_again() {
    let dir = scratch();
    let out = dir.path().join("out");
    let (partial, journal) = paths(&out);
    let sample = Sample::of_size(3 * CHUNK);
    interrupted(&sample, &out, &[&[0], &[1]]);
    writable(&partial).write_all_at(b"x", CHUNK + 7).expect("writable");
    let records = |journal: &Path| {
        let bytes = fs::read(journal).expect("there");
        let records = bytes[HEADER_LEN..].chunks(RECORD_LEN);
        records.filter(|record| record.iter().any(|byte| *byte != 0)).count()
    };
    for attempt in 0..3 {
        let (download, kept) = sample.begin(&out);
        assert_eq!(kept, sample.set(&[0, 1]));
        let damaged = check_all(&download);
        assert_eq!(damaged, if attempt == 0 { vec![1] } else { vec![] });
        sample.write(&download, &damaged);
        download.sync().expect("the disk works");
        assert_eq!(download.stored(), sample.set(&[0, 1]));
        assert_eq!(records(&journal), 2);
    }
}

#[test]
fn a_chunk_written_while_it_is_vouched_is_stored_whatever_was_on_the_disk() {
    let dir = scratch();
    let out = dir.path().join("out");
    let sample = Sample::of_size(2 * CHUNK);
    interrupted(&sample, &out, &[&[0, 1]]);
    writable(&paths(&out).0).write_all_at(&[0; 100], 0).expect("writable");
    let (download, _) = sample.begin(&out);

    sample.write(&download, &[0]);

    assert_eq!(download.stored(), sample.set(&[0]));
    assert_eq!(check_all(&download), [0; 0]);
    download.finish().expect("whole");
    assert!(fs::read(&out).expect("there") == sample.content);
}

#[test]
fn verification_ends_with_the_download_and_goes_on_for_serving_what_is_left() {
    let dir = scratch();
    let out = dir.path().join("out");
    let sample = Sample::of_size(4 * CHUNK);
    interrupted(&sample, &out, &[&[0, 1]]);
    let (download, _) = sample.begin(&out);
    download.abandon().expect("the disk works");

    assert_eq!(check_all(&download), [0; 0]);

    assert_eq!(download.stored(), sample.set(&[0, 1]));
    assert!(matches!(download.finish(), Err(FinishError::Closed)));
}

#[test]
fn a_chunk_that_ends_past_the_end_of_the_file_is_missing() {
    let dir = scratch();
    let out = dir.path().join("out");
    let sample = Sample::of_size(4 * CHUNK);
    interrupted(&sample, &out, &[&[0, 3]]);
    let (download, _) = sample.begin(&out);
    // After it was opened: before, it would not be vouched for.
    writable(&paths(&out).0).set_len(3 * CHUNK + 1).expect("truncates");

    let checked = download.check_vouched(u64::MAX, Duration::MAX);

    assert_eq!((checked.right, checked.wrong), (vec![sample.chunk(0)], vec![sample.chunk(3)]));
    assert!(checked.unreadable.is_some());
    sample.write_all(&download);
    download.finish().expect("whole again");
    assert!(fs::read(&out).expect("there") == sample.content);
}

/// What happens to the files between two attempts.
#[derive(Debug, Clone)]
enum Mutation {
    ZeroAll,
    Zero {
        from: u64,
        len: u64,
    },
    Flip {
        at: u64,
        bit: u8,
    },
    /// The `.partial` as it was after the first batch, in place.
    Restore,
    Swap(u32, u32),
    Resize(u64),
    /// Cut, and given its length back.
    CutAndGrow(u64),
    PunchHole {
        from: u64,
        len: u64,
    },
    OtherContent,
    FlipJournal {
        at: u64,
        bit: u8,
    },
    CutJournal(u64),
    /// That of another download of the same file, which had all.
    JournalOfAnother,
    /// Both files of another download of the same file.
    BothOfAnother,
    /// A record is repeated, or moved.
    CopyRecord(u64, u64),
    RemoveJournal,
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = 0..CHUNKS * CHUNK;
    let len = prop_oneof![1..64_u64, 1..3 * CHUNK];
    let chunk = 0..u32::try_from(CHUNKS).expect("few");
    let journal_at = 0..HEADER_LEN as u64 + 4 * RECORD_LEN as u64;
    prop_oneof![
        Just(Mutation::ZeroAll),
        (at.clone(), len.clone()).prop_map(|(from, len)| Mutation::Zero { from, len }),
        (at.clone(), 0..8_u8).prop_map(|(at, bit)| Mutation::Flip { at, bit }),
        Just(Mutation::Restore),
        (chunk.clone(), chunk).prop_map(|(a, b)| Mutation::Swap(a, b)),
        (0..2 * CHUNKS * CHUNK).prop_map(Mutation::Resize),
        at.clone().prop_map(Mutation::CutAndGrow),
        (at, len).prop_map(|(from, len)| Mutation::PunchHole { from, len }),
        Just(Mutation::OtherContent),
        (journal_at.clone(), 0..8_u8).prop_map(|(at, bit)| Mutation::FlipJournal { at, bit }),
        journal_at.prop_map(Mutation::CutJournal),
        Just(Mutation::JournalOfAnother),
        Just(Mutation::BothOfAnother),
        (0..4_u64, 0..5_u64).prop_map(|(from, to)| Mutation::CopyRecord(from, to)),
        Just(Mutation::RemoveJournal),
    ]
}

/// The files of the interrupted download, and what mutations take from elsewhere.
struct Scene<'a> {
    sample: &'a Sample,
    out: PathBuf,
    first_batch: Vec<u8>,
    another: PathBuf,
}

impl Scene<'_> {
    fn apply(&self, mutation: &Mutation) {
        let (partial, journal) = paths(&self.out);
        let (other_partial, other_journal) = paths(&self.another);
        let size = self.sample.info.size();
        let overwrite = |from: u64, bytes: &[u8]| {
            let file = writable(&partial);
            let len = file.metadata().expect("open").len();
            let room = usize::try_from(len.saturating_sub(from)).expect("small").min(bytes.len());
            file.write_all_at(&bytes[..room], from).expect("writable");
        };
        let zeroes = |len: u64| vec![0; usize::try_from(len).expect("small")];
        let flip = |path: &Path, at: u64, bit: u8| {
            let (file, mut byte) = (writable(path), [0]);
            if file.read_exact_at(&mut byte, at).is_ok() {
                file.write_all_at(&[byte[0] ^ (1 << bit)], at).expect("writable");
            }
        };
        // In place: the inode and its birth stay.
        let becomes = |path: &Path, bytes: &[u8]| {
            let file = writable(path);
            file.set_len(0).expect("truncates");
            file.write_all_at(bytes, 0).expect("writable");
        };
        match *mutation {
            Mutation::ZeroAll => overwrite(0, &zeroes(size)),
            Mutation::Zero { from, len } => overwrite(from, &zeroes(len)),
            Mutation::Flip { at, bit } => flip(&partial, at, bit),
            Mutation::Restore => becomes(&partial, &self.first_batch),
            Mutation::Swap(a, b) => {
                let chunk = |index| u64::from(index) * CHUNK;
                let bytes = fs::read(&partial).expect("there");
                let of = |index| bytes.iter().skip(usize::try_from(chunk(index)).expect("small"));
                let take = usize::try_from(CHUNK).expect("small");
                let (first, second): (Vec<u8>, Vec<u8>) =
                    (of(a).take(take).copied().collect(), of(b).take(take).copied().collect());
                overwrite(chunk(b), &first);
                overwrite(chunk(a), &second);
            }
            Mutation::Resize(len) => writable(&partial).set_len(len).expect("resizes"),
            Mutation::CutAndGrow(len) => {
                let file = writable(&partial);
                file.set_len(len).expect("resizes");
                file.set_len(size).expect("resizes");
            }
            Mutation::PunchHole { from, len } => punch_hole(&writable(&partial), from, len),
            Mutation::OtherContent => overwrite(0, &Sample::of_seed(size, b"other").content),
            Mutation::FlipJournal { at, bit } => flip(&journal, at, bit),
            Mutation::CutJournal(len) => writable(&journal).set_len(len).expect("resizes"),
            Mutation::JournalOfAnother => {
                becomes(&journal, &fs::read(&other_journal).expect("there"))
            }
            Mutation::BothOfAnother => {
                becomes(&journal, &fs::read(&other_journal).expect("there"));
                becomes(&partial, &fs::read(&other_partial).expect("there"));
            }
            Mutation::CopyRecord(from, to) => {
                let at = |record: u64| HEADER_LEN as u64 + record * RECORD_LEN as u64;
                let (file, mut record) = (writable(&journal), [0; RECORD_LEN]);
                if file.read_exact_at(&mut record, at(from)).is_ok() {
                    file.write_all_at(&record, at(to)).expect("writable");
                }
            }
            Mutation::RemoveJournal => {
                let _ = fs::remove_file(&journal);
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn punch_hole(file: &File, from: u64, len: u64) {
    use rustix::fs::{FallocateFlags, fallocate};
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    // A file system that cannot do it leaves the file as it was.
    let _ = fallocate(file, flags, from, len);
}

#[cfg(not(target_os = "linux"))]
fn punch_hole(_file: &File, _from: u64, _len: u64) {}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn whatever_becomes_of_the_files_the_output_is_right(mutations in prop::collection::vec(mutation(), 1..4)) {
        let dir = scratch();
        let sample = Sample::of_size(CHUNKS * CHUNK - 99);
        let (out, another) = (dir.path().join("out"), dir.path().join("another"));
        interrupted(&sample, &another, &[&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]]);
        interrupted(&sample, &out, &[&[0, 1, 5]]);
        let first_batch = fs::read(paths(&out).0).expect("there");
        let (download, _) = sample.begin(&out);
        sample.write(&download, &[2, 6, 7, 11]);
        download.sync().expect("the disk works");
        drop(download);
        let scene = Scene { sample: &sample, out: out.clone(), first_batch, another };
        for mutation in &mutations {
            // One that needs the journal after it was removed has nothing to do.
            if paths(&out).1.exists() || !format!("{mutation:?}").contains("ournal") && !matches!(mutation, Mutation::CopyRecord(..) | Mutation::BothOfAnother) {
                scene.apply(mutation);
            }
        }

        let (download, kept) = partial(sample.open(&out));

        for chunk in download.stored().iter() {
            prop_assert!(part(&sample, &download, chunk.get()).expect("stored") == sample.bytes(chunk));
        }
        let damaged = check_all(&download);
        let mut left: ChunkSet = kept.clone();
        for chunk in &damaged {
            left.remove(sample.chunk(*chunk));
        }
        prop_assert_eq!(&download.stored(), &left);
        for chunk in left.iter() {
            prop_assert!(part(&sample, &download, chunk.get()).expect("stored") == sample.bytes(chunk));
        }
        for chunk in left.missing() {
            download.write_chunk(chunk, sample.bytes(chunk)).expect("the disk works");
        }
        download.finish().expect("whole");
        prop_assert!(fs::read(&out).expect("there") == sample.content);
    }
}

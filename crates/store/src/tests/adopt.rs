//! Chunks that come into the file otherwise than by being written, and blocks shared with another
//! file.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;

use super::{CHUNK, Sample, scratch, skipped};
use crate::{FileStore, ReadError};

#[test]
fn a_chunk_in_the_file_is_adopted_if_it_is_the_right_one() {
    let dir = scratch();
    let sample = Sample::of_size(3 * CHUNK);
    let (download, _) = sample.begin(&dir.path().join("out"));
    let file = fs::File::options().write(true).open(download.partial_path()).expect("just made");
    file.write_all_at(sample.bytes(sample.chunk(0)), 0).expect("writable");
    file.write_all_at(b"something else", CHUNK).expect("writable");
    let mut buffer = Vec::new();

    let adopted: Result<Vec<bool>, ReadError> =
        (0..2).map(|chunk| download.adopt_chunk(sample.chunk(chunk), &mut buffer)).collect();

    assert_eq!(adopted.expect("readable"), [true, false]);
    assert_eq!(download.stored(), sample.set(&[0]));
    assert_eq!(
        download.sync().expect("the disk works"),
        sample.set(&[0]),
        "what was adopted is synced too"
    );
}

#[test]
fn a_file_that_shares_its_blocks_with_another_is_finished_without_writing() {
    let dir = scratch();
    let sample = Sample::of_size(4 * CHUNK + 5);
    let shared = dir.path().join("shared");
    fs::write(&shared, &sample.content).expect("writable");
    let whole = FileStore::open_shared(&shared, &sample.info).expect("just written");
    let out = dir.path().join("out");
    let (download, _) = sample.begin(&out);

    if !download.share_blocks(&whole) {
        let mut byte = [1];
        let partial = fs::File::open(download.partial_path()).expect("there");
        partial.read_exact_at(&mut byte, 0).expect("it has its length");
        assert_eq!(byte, [0], "it could not be done, and yet the file has changed");
        return skipped("this file system shares no blocks between files");
    }
    let mut buffer = Vec::new();
    for chunk in sample.info.geometry().chunks() {
        assert!(download.adopt_chunk(chunk, &mut buffer).expect("readable"));
    }
    download.finish().expect("whole");
    assert!(fs::read(&out).expect("finished") == sample.content);
    fs::write(&shared, b"another content").expect("writable");
    assert!(fs::read(&out).expect("finished") == sample.content, "the two are one file");
}

#[test]
fn a_download_with_chunks_of_its_own_keeps_them() {
    let dir = scratch();
    let (sample, other) = (Sample::of_size(3 * CHUNK), Sample::of_seed(3 * CHUNK, b"other"));
    let shared = dir.path().join("shared");
    fs::write(&shared, &other.content).expect("writable");
    let whole = FileStore::open_shared(&shared, &other.info).expect("just written");
    let (download, _) = sample.begin(&dir.path().join("out"));
    sample.write(&download, &[1]);

    assert!(!download.share_blocks(&whole));

    let mut bytes = sample.bytes(sample.chunk(0)).to_vec();
    let read: Result<(), ReadError> = download.read_chunk_part(sample.chunk(1), 0, &mut bytes);
    assert!(read.is_ok() && bytes == sample.bytes(sample.chunk(1)));
    let missing = download.read_chunk_part(sample.chunk(0), 0, &mut bytes);
    assert!(
        matches!(missing, Err(ReadError::NotStored { .. })),
        "{:?}",
        missing.map_err(io::Error::other)
    );
}

//! Files beyond four gigabytes, mostly hole: offsets do not wrap, and nothing reads what was never
//! written.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use tnet_fileinfo::scan::unwatched;
use tnet_fileinfo::{
    ChunkSize, ChunkSum, FileInfo, Geometry, MAX_CHUNK_SIZE, Tail, chunk_sum, root,
};

use super::{is_in_memory, scratch, skipped};
use crate::{Download, DownloadOptions, FileStore, OpenError, Opened};

const SIZE: u64 = (4 << 30) + 12_345; // spills past what 32 bits count
const LAST: [u8; 12_345] = [7; 12_345];

/// Four gigabytes of zeroes and [`LAST`]. All zero chunks get the sum of the first: the sums are
/// those of no file, but nothing here verifies a zero chunk, and hashing them all would be most of
/// the test.
fn describe() -> FileInfo {
    let chunk_size = ChunkSize::new(MAX_CHUNK_SIZE).expect("the largest size");
    let geometry = Geometry::new(SIZE, chunk_size).expect("few chunks");
    let zeroes = vec![0; MAX_CHUNK_SIZE as usize];
    let first = geometry.chunk(0).expect("not empty");
    let last = geometry.last_chunk().expect("not empty");
    let mut sums: Vec<ChunkSum> =
        vec![chunk_sum(&geometry, first, &zeroes); geometry.chunk_count() as usize - 1];
    sums.push(chunk_sum(&geometry, last, &LAST));
    let tail = Tail::of(&geometry, &LAST);
    let hash = root(&geometry, &sums);
    FileInfo::from_parts(None, geometry, sums, tail, hash).expect("consistent")
}

#[test]
fn a_chunk_past_four_gigabytes_is_written_found_and_read_where_it_belongs() -> io::Result<()> {
    let dir = scratch();
    if is_in_memory(dir.path()) {
        skipped("reserving four gigabytes would take them from the memory");
        return Ok(());
    }
    let out = dir.path().join("out");
    let info = describe();
    let last = info.geometry().last_chunk().expect("not empty");
    let begin = || Download::open(&info, &out, DownloadOptions::default(), &unwatched);
    let download = match begin() {
        Ok(Opened::Partial(download, _)) => download,
        Err(OpenError::DiskFull { needed, .. }) => {
            skipped(&format!("no room for {needed} bytes"));
            return Ok(());
        }
        other => panic!("{other:?}"),
    };
    download.write_chunk(last, &LAST).expect("reserved");
    drop(download);

    let read = std::sync::atomic::AtomicU64::new(0);
    let count = |bytes| {
        read.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        std::ops::ControlFlow::Continue(())
    };
    let resumed = Download::open(&info, &out, DownloadOptions::default(), &count);
    let Ok(Opened::Partial(download, resumed)) = resumed else { panic!("{resumed:?}") };

    assert_eq!(resumed.iter().collect::<Vec<_>>(), [last]);
    assert_eq!(read.into_inner(), LAST.len() as u64, "holes were read");
    let mut buf = [0; 100];
    download.read_chunk_part(last, 12_245, &mut buf).expect("stored");
    assert_eq!(buf, LAST[..100]);
    Ok(())
}

#[test]
fn a_sparse_file_is_served_past_four_gigabytes() -> io::Result<()> {
    let dir = scratch();
    let path = dir.path().join("file");
    let file = File::create(&path)?;
    file.set_len(SIZE)?;
    file.write_all_at(&LAST, SIZE - LAST.len() as u64)?;
    let info = describe();
    let store = FileStore::open_shared(&path, &info).expect("of the right size");

    let mut buf = vec![0; LAST.len()];
    store
        .read_chunk_part(info.geometry().last_chunk().expect("not empty"), 0, &mut buf)
        .expect("untouched");

    assert_eq!(buf, LAST);
    Ok(())
}

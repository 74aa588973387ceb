//! Helpers of the store's tests: files with known content, and ways to inspect a directory.

mod adopt;
mod begin;
mod check;
pub(super) mod disk_full;
mod finish;
mod injected;
mod replaced;
mod resume;
mod scan_cache;
mod scan_cache_size;
mod serve;
mod sparse;
mod tree_downloads;
mod update_kills;
mod updates;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use tnet_fileinfo::scan::unwatched;
use tnet_fileinfo::{
    ChunkIndex, ChunkSet, ChunkSize, FileInfo, Geometry, MIN_CHUNK_SIZE, Tail, chunk_sum, root,
};

use super::{Download, DownloadOptions, OnExisting, OpenError, Opened};

pub(super) const CHUNK: u64 = MIN_CHUNK_SIZE as u64;

/// A file that exists only in memory, in chunks of [`CHUNK`].
pub(super) struct Sample {
    pub(super) content: Vec<u8>,
    pub(super) info: FileInfo,
}

impl Sample {
    pub(super) fn of_size(size: u64) -> Self {
        Self::of_seed(size, b"sample")
    }

    pub(super) fn of_seed(size: u64, seed: &[u8]) -> Self {
        let mut content = vec![0; usize::try_from(size).expect("samples are small")];
        blake3::Hasher::new().update(seed).finalize_xof().fill(&mut content);
        Self { info: describe(&content), content }
    }

    pub(super) fn chunk(&self, index: u32) -> ChunkIndex {
        self.info.geometry().chunk(index).expect("a chunk of the sample")
    }

    pub(super) fn bytes(&self, chunk: ChunkIndex) -> &[u8] {
        let range = self.info.geometry().range(chunk);
        &self.content[usize::try_from(range.start).expect("small")
            ..usize::try_from(range.end).expect("small")]
    }

    pub(super) fn set(&self, indices: &[u32]) -> ChunkSet {
        let mut set = ChunkSet::empty(self.info.geometry());
        for &index in indices {
            set.insert(self.chunk(index));
        }
        set
    }

    pub(super) fn write(&self, download: &Download, indices: &[u32]) {
        for chunk in indices.iter().map(|&index| self.chunk(index)) {
            download.write_chunk(chunk, self.bytes(chunk)).expect("the disk works");
        }
    }

    pub(super) fn write_all(&self, download: &Download) {
        for chunk in self.info.geometry().chunks() {
            download.write_chunk(chunk, self.bytes(chunk)).expect("the disk works");
        }
    }

    pub(super) fn open(&self, out: &Path) -> Result<Opened, OpenError> {
        Download::open(&self.info, out, DownloadOptions::default(), &unwatched)
    }

    pub(super) fn open_replacing(&self, out: &Path) -> Result<Opened, OpenError> {
        let options =
            DownloadOptions { existing: OnExisting::Replace, ..DownloadOptions::default() };
        Download::open(&self.info, out, options, &unwatched)
    }

    pub(super) fn begin(&self, out: &Path) -> (Download, ChunkSet) {
        partial(self.open(out))
    }

    /// Opens the download and counts the bytes that were hashed for it.
    pub(super) fn begin_counting(&self, out: &Path) -> (Download, ChunkSet, u64) {
        let hashed = AtomicU64::new(0);
        let count = |bytes| {
            hashed.fetch_add(bytes, Ordering::Relaxed);
            ControlFlow::Continue(())
        };
        let (download, resumed) =
            partial(Download::open(&self.info, out, DownloadOptions::default(), &count));
        (download, resumed, hashed.into_inner())
    }

    /// That opening `out` hashed `unvouched` bytes and no byte of a chunk in `vouched`; nor of a
    /// hole, where those show.
    pub(super) fn assert_hashed(&self, out: &Path, hashed: u64, unvouched: u64, vouched: &[u32]) {
        let holes_show = !is_in_memory(out.parent().expect("in a directory"));
        let rest = self.info.size() - self.info.geometry().bytes_in(&self.set(vouched));
        let most = if holes_show { unvouched } else { rest };
        assert!(
            (unvouched..=most).contains(&hashed),
            "{hashed} bytes hashed, not {unvouched} to {most}"
        );
    }
}

/// The description of a file with this content, in chunks of [`CHUNK`].
fn describe(content: &[u8]) -> FileInfo {
    let chunk_size = ChunkSize::new(MIN_CHUNK_SIZE).expect("the smallest size");
    let geometry = Geometry::new(content.len() as u64, chunk_size).expect("samples are small");
    let pieces = || geometry.chunks().zip(content.chunks(MIN_CHUNK_SIZE as usize));
    let sums: Vec<_> = pieces().map(|(chunk, bytes)| chunk_sum(&geometry, chunk, bytes)).collect();
    let tail = Tail::of(&geometry, pieces().next_back().map_or(&[], |(_, bytes)| bytes));
    let hash = root(&geometry, &sums);
    FileInfo::from_parts(None, geometry, sums, tail, hash).expect("made of one file")
}

pub(super) fn partial(opened: Result<Opened, OpenError>) -> (Download, ChunkSet) {
    match opened.expect("the download begins") {
        Opened::Partial(download, resumed) => (download, resumed),
        Opened::Complete(store) => panic!("already complete: {:?}", store.path()),
    }
}

/// Verifies all that the journal vouches for, in pieces of one chunk; returns those that were
/// wrong.
pub(super) fn check_all(download: &Download) -> Vec<u32> {
    let mut wrong = Vec::new();
    while !download.vouched().is_empty() {
        wrong.extend(
            download
                .check_vouched(CHUNK, std::time::Duration::MAX)
                .wrong
                .iter()
                .map(|chunk| chunk.get()),
        );
    }
    wrong
}

/// The names in a directory, sorted.
pub(super) fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .expect("the directory of the test")
        .map(|entry| entry.expect("listed").file_name().into_string().expect("test names are text"))
        .collect();
    names.sort();
    names
}

pub(super) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a place for temporary files")
}

/// Whether the directory is on a memory file system, which hands out reserved space as data.
#[cfg(target_os = "linux")]
pub(super) fn is_in_memory(dir: &Path) -> bool {
    const TMPFS: i64 = 0x0102_1994;
    rustix::fs::statfs(dir).is_ok_and(|stat| i128::from(stat.f_type) == i128::from(TMPFS))
}

/// Not asked on other systems.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_in_memory(_dir: &Path) -> bool {
    false
}

/// Prints why a test had nothing to test on this machine.
#[allow(
    clippy::print_stderr,
    reason = "a test that was skipped must not look like one that passed"
)]
pub(super) fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}

/// Returns when changes from now on get another time of change than the file has.
pub(crate) fn wait_for_the_clock_of(path: &Path) {
    use std::os::unix::fs::MetadataExt;
    let probe = path.with_extension("probe");
    let changed = |path: &Path| {
        let metadata = std::fs::metadata(path).expect("there");
        (metadata.ctime(), metadata.ctime_nsec())
    };
    let before = changed(path);
    loop {
        std::fs::write(&probe, "x").expect("writable");
        let now = changed(&probe);
        std::fs::remove_file(&probe).expect("ours");
        if now > before {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

//! Downloads of trees: what stands in the way, and what an earlier attempt left.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tnet_fileinfo::scan::unwatched;
use tnet_fileinfo::tree::Layout;
use tnet_fileinfo::{ChunkSet, ChunkSize, FileInfo, MIN_CHUNK_SIZE};

use super::partial;
use crate::tree::{TreeScanOptions, scan_tree};
use crate::{Download, DownloadOptions, OpenError, Opened};

/// A tree with known bytes.
pub(super) struct TreeSample {
    pub(super) layout: Arc<Layout>,
    pub(super) info: FileInfo,
    pub(super) payload: Vec<u8>,
    /// Each file with its path.
    pub(super) files: Vec<(String, Vec<u8>)>,
}

impl TreeSample {
    /// Of files with these paths and contents.
    pub(super) fn of(files: &[(&str, Vec<u8>)]) -> Self {
        let scratch = tempfile::tempdir().expect("a place for temporary files");
        write_files(scratch.path(), files.iter().map(|(path, bytes)| (*path, &bytes[..])));
        let options = TreeScanOptions {
            chunk_size: ChunkSize::new(MIN_CHUNK_SIZE).ok(),
            ..TreeScanOptions::default()
        };
        let found = scan_tree(scratch.path(), options, &unwatched).expect("readable");
        let mut files: Vec<_> =
            files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.clone())).collect();
        files.sort();
        let payload = files.iter().flat_map(|(_, bytes)| bytes).copied().collect();
        Self { layout: Arc::new(Layout::new(found.manifest)), info: found.payload, payload, files }
    }

    pub(super) fn options(&self) -> DownloadOptions {
        DownloadOptions { tree: Some(Arc::clone(&self.layout)), ..DownloadOptions::default() }
    }

    pub(super) fn open(&self, out: &Path, options: DownloadOptions) -> Result<Opened, OpenError> {
        Download::open(&self.info, out, options, &unwatched)
    }

    pub(super) fn begin(&self, out: &Path) -> (Download, ChunkSet) {
        partial(self.open(out, self.options()))
    }

    /// Stores what is not stored; answers with how many bytes that were.
    pub(super) fn fetch_rest(&self, download: &Download) -> u64 {
        let mut fetched = 0;
        for chunk in download.stored().missing() {
            let range = self.info.geometry().range(chunk);
            let range = usize::try_from(range.start).expect("small")
                ..usize::try_from(range.end).expect("small");
            download.write_chunk(chunk, &self.payload[range.clone()]).expect("the disk works");
            fetched += range.len() as u64;
        }
        fetched
    }

    /// That a directory has exactly these files.
    pub(super) fn assert_at(&self, directory: &Path) {
        assert!(self.is_at(directory), "{directory:?} is not the tree");
    }

    pub(super) fn is_at(&self, directory: &Path) -> bool {
        read_files(directory) == self.files
    }
}

/// Makes files with their directories.
pub(super) fn write_files<'a>(top: &Path, files: impl IntoIterator<Item = (&'a str, &'a [u8])>) {
    for (path, bytes) in files {
        let path = top.join(path);
        fs::create_dir_all(path.parent().expect("in a directory")).expect("writable");
        fs::write(path, bytes).expect("writable");
    }
}

/// All files below a directory, sorted by path.
pub(super) fn read_files(top: &Path) -> Vec<(String, Vec<u8>)> {
    let (mut files, mut to_list) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(inner) = to_list.pop() {
        let Ok(entries) = fs::read_dir(top.join(&inner)) else { continue };
        for entry in entries {
            let entry = entry.expect("listed");
            let path = inner.join(entry.file_name());
            if entry.file_type().expect("known").is_dir() {
                to_list.push(path);
            } else {
                let bytes = fs::read(entry.path()).expect("readable");
                files.push((path.to_str().expect("plain").to_owned(), bytes));
            }
        }
    }
    files.sort();
    files
}

/// Bytes that only this seed has.
pub(super) fn bytes_of(seed: &str, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn sample() -> TreeSample {
    TreeSample::of(&[
        ("a", bytes_of("a", 200_000)),
        ("d/b", bytes_of("b", 70_000)),
        ("d/c", bytes_of("c", 10)),
    ])
}

#[test]
fn a_directory_that_no_download_left_is_not_touched() {
    let (scratch, sample) = (tempfile::tempdir().expect("a temporary directory"), sample());
    let out = scratch.path().join("out");
    let theirs = [("a", &b"theirs"[..]), ("inner/x", b"x")];
    write_files(&scratch.path().join("out.partial"), theirs);
    let refused = sample.open(&out, sample.options());
    assert!(matches!(refused, Err(OpenError::ForeignPartial { .. })), "{refused:?}");
    assert_eq!(read_files(&scratch.path().join("out.partial")).len(), 2);
    assert_eq!(fs::read_dir(scratch.path()).expect("there").count(), 1);
}

#[test]
fn an_empty_directory_is_taken() {
    let (scratch, sample) = (tempfile::tempdir().expect("a temporary directory"), sample());
    fs::create_dir(scratch.path().join("out.partial")).expect("writable");
    let (download, kept) = sample.begin(&scratch.path().join("out"));
    assert!(kept.is_empty());
    sample.fetch_rest(&download);
    download.finish().expect("all is there");
    sample.assert_at(&scratch.path().join("out"));
}

#[test]
fn what_another_tree_left_is_taken_over_with_its_journal() {
    let (scratch, sample) = (tempfile::tempdir().expect("a temporary directory"), sample());
    let out = scratch.path().join("out");
    let other = TreeSample::of(&[("a", bytes_of("a", 200_000)), ("e", bytes_of("e", 70_000))]);
    let (download, _) = other.begin(&out);
    other.fetch_rest(&download);
    download.abandon().expect("the disk works");
    drop(download);
    let (download, kept) = sample.begin(&out);
    assert_eq!(kept.count(), 12, "whole chunks of the first file");
    sample.fetch_rest(&download);
    download.finish().expect("all is there");
    sample.assert_at(&out);
    assert_eq!(fs::read_dir(scratch.path()).expect("there").count(), 1);
}

#[test]
fn a_journal_that_was_cut_off_still_says_whose_the_directory_is() {
    let (scratch, sample) = (tempfile::tempdir().expect("a temporary directory"), sample());
    let out = scratch.path().join("out");
    let (download, _) = sample.begin(&out);
    sample.fetch_rest(&download);
    drop(download);
    fs::write(scratch.path().join("out.partial.journal"), b"").expect("writable");
    let (download, kept) = sample.begin(&out);
    assert!(kept.is_full());
    download.finish().expect("all is there");
    sample.assert_at(&out);
}

#[test]
fn a_discarded_tree_leaves_nothing() {
    let (scratch, sample) = (tempfile::tempdir().expect("a temporary directory"), sample());
    let (download, _) = sample.begin(&scratch.path().join("out"));
    sample.fetch_rest(&download);
    download.sync().expect("the disk works");
    download.discard().expect("ours");
    assert_eq!(fs::read_dir(scratch.path()).expect("there").count(), 0);
}

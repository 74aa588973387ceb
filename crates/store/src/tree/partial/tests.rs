//! Helpers of the tests of partial trees: trees with known bytes, in directories of their own.

mod crash;
mod finish;
mod hostile;
mod injected;
mod payload;
mod speed;

use std::fs;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use tnet_fileinfo::tree::{Manifest, ManifestBuilder};
use tnet_fileinfo::{ChunkSize, FileHash, Geometry, MIN_CHUNK_SIZE};

use super::*;
use crate::block_file::write_all_at;
use crate::content_bytes::ContentBytes;

/// What an entry of a sample is to be.
#[derive(Debug, Clone, Copy)]
enum Is<'a> {
    Directory,
    File(usize),
    Executable(usize),
    Link(&'a str),
}

/// A tree with known bytes, and the directory of its download.
struct Sample {
    layout: Arc<Layout>,
    payload: Vec<u8>,
    /// Holds `out.partial`.
    root: PathBuf,
    _scratch: Option<tempfile::TempDir>,
}

impl Sample {
    fn new(entries: &[(&str, Is<'_>)]) -> Self {
        let scratch = tempfile::tempdir().expect("a place for temporary files");
        fs::create_dir(scratch.path().join("out.partial")).expect("writable");
        let mut sample = Self::within(scratch.path().to_owned(), entries);
        sample._scratch = Some(scratch);
        sample
    }

    /// A tree for the directory `out.partial` in `root`.
    fn within(root: PathBuf, entries: &[(&str, Is<'_>)]) -> Self {
        let mut sizes: Vec<(&str, usize)> = Vec::new();
        let mut builder = ManifestBuilder::default();
        for (path, is) in entries {
            match *is {
                Is::Directory => builder.directory(path.as_bytes()),
                Is::Link(target) => builder.link(path.as_bytes(), target.as_bytes()),
                Is::File(size) | Is::Executable(size) => {
                    let hash = *blake3::hash(&content_of(path, size)).as_bytes();
                    let is_executable = matches!(is, Is::Executable(_));
                    let hash = FileHash::from_bytes(hash);
                    builder.file(path.as_bytes(), size as u64, hash, is_executable);
                    sizes.push((path, size));
                }
            }
        }
        sizes.sort_unstable();
        let payload: Vec<u8> =
            sizes.iter().flat_map(|(path, size)| content_of(path, *size)).collect();
        let chunk_size = ChunkSize::new(MIN_CHUNK_SIZE).expect("the smallest");
        let geometry = Geometry::new(payload.len() as u64, chunk_size).expect("few chunks");
        let hash = FileHash::from_bytes(*blake3::hash(&payload).as_bytes());
        let manifest: Manifest = builder.finish(geometry, hash).expect("a valid tree");
        Self { layout: Arc::new(Layout::new(Arc::new(manifest))), payload, root, _scratch: None }
    }

    /// Another tree that is to be made in the same directory.
    fn followed_by(&self, entries: &[(&str, Is<'_>)]) -> Self {
        Self::within(self.root.clone(), entries)
    }

    fn top(&self) -> PathBuf {
        self.root.join("out.partial")
    }

    fn path(&self, inner: &str) -> PathBuf {
        self.top().join(inner)
    }

    fn open(&self) -> Result<PartialTree, TreeFault> {
        let directory = sys::open_directory(&self.top()).expect("there");
        PartialTree::open(Arc::clone(&self.layout), directory)
    }

    fn begin(&self) -> PartialTree {
        self.open().expect("nothing is in the way")
    }

    fn write(&self, tree: &PartialTree, range: Range<usize>) {
        write_all_at(tree, &self.payload[range.clone()], range.start as u64).expect("writable");
    }

    fn write_all(&self, tree: &PartialTree) {
        self.write(tree, 0..self.payload.len());
    }

    /// Writes what cannot be read right, as a resumed download does.
    fn mend(&self, tree: &PartialTree) {
        for start in (0..self.payload.len()).step_by(1000) {
            let range = start..self.payload.len().min(start + 1000);
            let mut found = vec![0; range.len()];
            let read = tree.read_exact_at(&mut found, start as u64);
            if read.is_err() || found != self.payload[range.clone()] {
                self.write(tree, range);
            }
        }
    }

    /// Which bytes of the payload this member has.
    fn range_of(&self, path: &str) -> Range<usize> {
        let member = self.layout.members().find(|member| member.path == path.as_bytes());
        let range = member.expect("in the tree").range;
        usize::try_from(range.start).expect("small")..usize::try_from(range.end).expect("small")
    }

    /// That the directory is exactly the tree, with modes.
    fn assert_whole(&self) {
        let mut there = listed(&self.top());
        let mut members = self.layout.members();
        for entry in self.layout.manifest().entries() {
            let path = Path::new(std::ffi::OsStr::from_bytes(entry.path)).to_owned();
            assert!(there.remove(&path), "{path:?} is missing");
            let full = self.top().join(&path);
            let metadata = fs::symlink_metadata(&full).expect("there");
            let mode = metadata.permissions().mode() & 0o100;
            match entry.kind {
                tnet_fileinfo::tree::EntryKind::Directory => {
                    assert!(metadata.is_dir() && mode != 0, "{path:?}");
                }
                tnet_fileinfo::tree::EntryKind::Link { target } => {
                    let text = fs::read_link(&full).expect("a link");
                    assert_eq!(text.as_os_str().as_bytes(), target);
                }
                tnet_fileinfo::tree::EntryKind::File { is_executable, .. } => {
                    let range = members.next().expect("a member").range;
                    let range = usize::try_from(range.start).expect("small")
                        ..usize::try_from(range.end).expect("small");
                    assert!(metadata.is_file() && (mode != 0) == is_executable, "{path:?}");
                    assert_eq!(fs::read(&full).expect("readable"), self.payload[range], "{path:?}");
                }
            }
        }
        assert!(there.is_empty(), "not of the tree: {there:?}");
    }
}

/// Bytes that only this path has.
fn content_of(path: &str, size: usize) -> Vec<u8> {
    let mut content = vec![0; size];
    blake3::Hasher::new().update(path.as_bytes()).finalize_xof().fill(&mut content);
    content
}

/// The paths of all that is below a directory.
fn listed(directory: &Path) -> std::collections::BTreeSet<PathBuf> {
    let mut paths = std::collections::BTreeSet::new();
    let mut to_list = vec![PathBuf::new()];
    while let Some(inner) = to_list.pop() {
        for entry in fs::read_dir(directory.join(&inner)).expect("readable") {
            let entry = entry.expect("listed");
            let path = inner.join(entry.file_name());
            if entry.file_type().expect("known").is_dir() {
                to_list.push(path.clone());
            }
            paths.insert(path);
        }
    }
    paths
}

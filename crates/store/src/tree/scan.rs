//! Makes a tree of a directory: its manifest, and the description of its payload.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use tnet_fileinfo::scan::ProgressFn;
use tnet_fileinfo::tree::{Entry, EntryKind, Manifest, ManifestBuilder};
use tnet_fileinfo::{ChunkSize, FileInfo, Geometry, root};

use super::error::TreeScanError;
use super::hashing::{self, Hashes};
use super::walk::{TreeListing, What, path_of};
use crate::FileFingerprint;

/// How a tree is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct TreeScanOptions {
    /// Bytes in a chunk of the payload; [`ChunkSize::default_for`] its size if `None`.
    pub chunk_size: Option<ChunkSize>,
    /// Takes links that may lead out of the tree as they are, instead of refusing them.
    pub allow_outside_links: bool,
}

/// A directory as a tree.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ScannedTree {
    /// What is in it.
    pub manifest: Arc<Manifest>,
    /// The description of the payload, without a name.
    pub payload: FileInfo,
    /// Of each regular file, in the order of the payload, which is that of
    /// [`Layout`](tnet_fileinfo::tree::Layout): a file that still has it was read as it is now.
    pub fingerprints: Vec<FileFingerprint>,
}

/// Lists the directory at `root`, reads all its files once and hashes them, with as many threads as
/// there are cores. `progress` is called with bytes; a [`TreeListing`] knows how many there are.
///
/// Memory: 300 bytes an entry, and some MiB.
///
/// # Errors
/// Something in the directory cannot be read, has no content, changed meanwhile, may lead out of
/// it, or it is larger than a tree may be.
pub fn scan_tree(
    root: &Path,
    options: TreeScanOptions,
    progress: ProgressFn<'_>,
) -> Result<ScannedTree, TreeScanError> {
    TreeListing::read(root)?.scan(options, progress)
}

impl TreeListing {
    /// Reads and hashes all files that are listed.
    ///
    /// # Errors
    /// As [`scan_tree`].
    pub fn scan(
        self,
        options: TreeScanOptions,
        progress: ProgressFn<'_>,
    ) -> Result<ScannedTree, TreeScanError> {
        if !options.allow_outside_links {
            refuse_outside_links(&self)?;
        }
        let chunk_size = options.chunk_size.unwrap_or_else(|| ChunkSize::default_for(self.size));
        let geometry = Geometry::new(self.size, chunk_size)?;
        let Hashes { files, payload } = hashing::hash(&self, &geometry, progress)?;

        let mut files = files.into_iter();
        let mut fingerprints = Vec::with_capacity(files.len());
        let mut builder = ManifestBuilder::default();
        for entry in self.entries {
            match entry.what {
                What::Directory => builder.directory(&entry.path),
                What::File { fingerprint, is_executable } => {
                    let hash = files.next().expect("each file was hashed");
                    builder.file(&entry.path, fingerprint.size, hash, is_executable);
                    fingerprints.push(fingerprint);
                }
                What::Link { target } => builder.link(&entry.path, &target),
            }
        }
        let manifest = builder.finish(geometry, payload.hash())?;
        Ok(ScannedTree { manifest: Arc::new(manifest), payload, fingerprints })
    }
}

/// Where a link leads depends on the directories and other links alone, so it is known before a
/// file is read.
fn refuse_outside_links(listing: &TreeListing) -> Result<(), TreeScanError> {
    if !listing.entries.iter().any(|entry| matches!(entry.what, What::Link { .. })) {
        return Ok(());
    }
    let mut builder = ManifestBuilder::default();
    for entry in &listing.entries {
        match &entry.what {
            What::Directory => builder.directory(&entry.path),
            What::Link { target } => builder.link(&entry.path, target),
            What::File { .. } => {}
        }
    }
    let no_bytes = Geometry::new(0, ChunkSize::default_for(0))?;
    let manifest = builder.finish(no_bytes, root(&no_bytes, &[]))?;
    match manifest.links_to_outside().next() {
        Some(Entry { path, kind: EntryKind::Link { target } }) => Err(TreeScanError::OutsideLink {
            path: path_of(path),
            target: OsStr::from_bytes(target).to_owned(),
        }),
        _ => Ok(()),
    }
}

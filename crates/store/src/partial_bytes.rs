//! The bytes of a download: those of `OUT.partial`, a file or the directory of a tree.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use tnet_fileinfo::tree::Layout;

use super::block_file::BlockFile;
use super::cached_part::CachedPart;
use super::content_bytes::ContentBytes;
use super::tree::PartialTree;

/// Clones share the files.
#[derive(Debug, Clone)]
pub(super) enum PartialBytes {
    File(Arc<File>),
    Tree(Arc<PartialTree>),
}

impl PartialBytes {
    /// The layout, if they are those of a tree.
    pub(super) fn layout(&self) -> Option<&Arc<Layout>> {
        match self {
            Self::File(_) => None,
            Self::Tree(tree) => Some(tree.layout()),
        }
    }

    /// Where some bytes are, for `sendfile`, if they lie in one file and are in memory.
    pub(super) fn cached_part(
        &self,
        position: u64,
        len: u32,
        is_in_memory: bool,
    ) -> Option<CachedPart> {
        match self {
            Self::File(file) => {
                let is_cached = |position| self.read_cached(&mut [0], position);
                let last = (position + u64::from(len)).checked_sub(1)?;
                (len > 0 && (is_in_memory || is_cached(position) && is_cached(last))).then(|| {
                    CachedPart { file: Arc::clone(file), position, seen: None, member: None }
                })
            }
            Self::Tree(tree) => {
                let (file, position) = tree.cached_part(position, len)?;
                Some(CachedPart { file, position, seen: None, member: None })
            }
        }
    }
}

impl ContentBytes for PartialBytes {
    fn read_exact_at(&self, buf: &mut [u8], position: u64) -> io::Result<()> {
        match self {
            Self::File(file) => ContentBytes::read_exact_at(&**file, buf, position),
            Self::Tree(tree) => tree.read_exact_at(buf, position),
        }
    }

    fn read_cached(&self, buf: &mut [u8], position: u64) -> bool {
        match self {
            Self::File(file) => file.read_cached(buf, position),
            Self::Tree(tree) => tree.read_cached(buf, position),
        }
    }

    fn drop_cached(&self, range: Range<u64>) {
        match self {
            Self::File(file) => file.drop_cached(range),
            Self::Tree(tree) => tree.drop_cached(range),
        }
    }
}

impl BlockFile for PartialBytes {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::File(file) => BlockFile::write_at(file, bytes, offset),
            Self::Tree(tree) => BlockFile::write_at(tree, bytes, offset),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        match self {
            Self::File(file) => BlockFile::sync_data(file),
            Self::Tree(tree) => BlockFile::sync_data(tree),
        }
    }
}

//! Reads a manifest. Every rule is checked here, for our own manifests too, so that there is no
//! [`Manifest`] that breaks one.
//!
//! The layout, with integers in little-endian order, is in `docs/protocol.md`:
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | `tnettree` |
//! | 4 | version, 1 |
//! | 4 | number of entries |
//! | 8 | bytes in the payload |
//! | 4 | chunk size of the payload |
//! | 32 | hash of the payload |
//!
//! and then each entry: its kind (1 byte), the length of its path (2) and the path; for a file or
//! an executable its size (8) and hash (32); for a link the length of its target (2) and the
//! target.

use std::cmp::Ordering;

use crate::chunk_size::ChunkSize;
use crate::geometry::Geometry;
use crate::hash::FileHash;
use crate::shown::shown_bytes;

use super::entry::{Entry, EntryKind, Reader, entry_at};
use super::error::{EntryFault, ManifestError};
use super::limits::{MAX_ENTRIES, MAX_MANIFEST_LEN};
use super::manifest::Manifest;
use super::path::{check_path, check_target, parent};

pub(super) const MAGIC: [u8; 8] = *b"tnettree";
pub(super) const VERSION: u32 = 1;
pub(super) const HEADER_LEN: usize = 60;

const _: () = assert!(HEADER_LEN < MAX_MANIFEST_LEN && MAX_MANIFEST_LEN < u32::MAX as usize);

/// Bytes of the shortest entry that can be read: a kind and the length of a path.
const SHORTEST_ENTRY: usize = 3;

/// Characters of a path that an error repeats.
const MAX_SHOWN: usize = 256;

impl Manifest {
    /// Whether these bytes begin as all manifests do, and nothing else is known to.
    pub fn is_begun_by(bytes: &[u8]) -> bool {
        bytes.starts_with(&MAGIC)
    }

    /// Reads untrusted bytes.
    ///
    /// # Errors
    /// They are not exactly the canonical form of a tree. Nothing is allocated for entries that
    /// the bytes cannot hold.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, ManifestError> {
        let (starts, payload, payload_hash) = check(&bytes)?;
        Ok(Self { bytes, starts, payload, payload_hash })
    }
}

fn check(bytes: &[u8]) -> Result<(Vec<u32>, Geometry, FileHash), ManifestError> {
    if bytes.len() > MAX_MANIFEST_LEN {
        return Err(ManifestError::TooLong { len: bytes.len() });
    }
    let mut rest = Reader(bytes);
    if rest.array() != Some(MAGIC) {
        return Err(ManifestError::NotManifest);
    }
    let cut_off = |entries| ManifestError::Truncated { entries };
    let version = rest.u32().ok_or(cut_off(0))?;
    if version != VERSION {
        return Err(ManifestError::Version { found: version, supported: VERSION });
    }
    let count = rest.u32().ok_or(cut_off(0))?;
    let size = rest.u64().ok_or(cut_off(0))?;
    let chunk_size = ChunkSize::new(rest.u32().ok_or(cut_off(0))?)?;
    let payload_hash = FileHash::from_bytes(rest.array().ok_or(cut_off(0))?);
    let payload = Geometry::new(size, chunk_size)?;
    if count > MAX_ENTRIES {
        return Err(ManifestError::TooManyEntries { count });
    }
    if (count as usize).saturating_mul(SHORTEST_ENTRY) > rest.0.len() {
        return Err(cut_off(0));
    }
    let mut checked = Checked::new(bytes, count as usize);
    for entries in 0..count {
        let start = bytes.len() - rest.0.len();
        match rest.entry().ok_or(cut_off(entries))? {
            Ok(entry) => checked.add(start, entry)?,
            Err((path, kind)) => return Err(fault(path, EntryFault::Kind(kind))),
        }
    }
    if !rest.0.is_empty() {
        return Err(ManifestError::TrailingBytes { len: rest.0.len() });
    }
    if checked.files != size {
        return Err(ManifestError::PayloadSize { files: checked.files, payload: size });
    }
    Ok((checked.starts, payload, payload_hash))
}

/// The entries that were read.
struct Checked<'a> {
    bytes: &'a [u8],
    starts: Vec<u32>,
    last: Option<&'a [u8]>,
    /// The directory of the last entry, which most often is that of the next one.
    directory: Option<&'a [u8]>,
    /// Bytes in all files.
    files: u64,
}

impl<'a> Checked<'a> {
    fn new(bytes: &'a [u8], count: usize) -> Self {
        let starts = Vec::with_capacity(count);
        Self { bytes, starts, last: None, directory: None, files: 0 }
    }

    fn add(&mut self, start: usize, entry: Entry<'a>) -> Result<(), ManifestError> {
        let files = self.check(entry).map_err(|broken| fault(entry.path, broken))?;
        self.files = files;
        self.last = Some(entry.path);
        self.starts.push(u32::try_from(start).expect("a manifest has at most 1 GiB"));
        Ok(())
    }

    /// Answers with the bytes in all files, this one included.
    fn check(&mut self, Entry { path, kind }: Entry<'a>) -> Result<u64, EntryFault> {
        check_path(path)?;
        match self.last.map_or(Ordering::Less, |last| last.cmp(path)) {
            Ordering::Less => {}
            Ordering::Equal => return Err(EntryFault::Twice),
            Ordering::Greater => return Err(EntryFault::NotSorted),
        }
        if let Some(directory) = parent(path)
            && self.directory != Some(directory)
        {
            if !self.has_directory(directory) {
                return Err(EntryFault::NoDirectory);
            }
            self.directory = Some(directory);
        }
        match kind {
            EntryKind::Directory => Ok(self.files),
            EntryKind::File { size, hash, .. } => {
                if size == 0 && hash.as_bytes() != blake3::hash(b"").as_bytes() {
                    return Err(EntryFault::EmptyFileHash);
                }
                self.files.checked_add(size).ok_or(EntryFault::SizeOverflow)
            }
            EntryKind::Link { target } => check_target(target).map(|()| self.files),
        }
    }

    /// Whether a directory with that path is among the entries so far; all that may hold the next
    /// one are, as they sort before it.
    fn has_directory(&self, path: &[u8]) -> bool {
        let by_path = |start: &u32| entry_at(self.bytes, *start).map(|entry| entry.path.cmp(path));
        let found = self.starts.binary_search_by(|start| by_path(start).unwrap_or(Ordering::Less));
        let start = found.ok().and_then(|at| self.starts.get(at));
        let entry = start.and_then(|start| entry_at(self.bytes, *start));
        entry.is_some_and(|entry| entry.kind == EntryKind::Directory)
    }
}

fn fault(path: &[u8], fault: EntryFault) -> ManifestError {
    let path = shown_bytes(path).to_string();
    let path = match path.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}...", path.split_at(end).0),
        None => path,
    };
    ManifestError::Entry { path, fault }
}

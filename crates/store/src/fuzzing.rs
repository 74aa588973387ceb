//! The journal and the names beside a download, for the fuzz targets.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tnet_fileinfo::{ChunkSet, FileHash, Geometry};

use super::OpenError;
use super::block_file::BlockFile;
use super::journal::{Format, HEADER_LEN, Journal, RECORD_LEN, Subject};
use super::target::Target;

/// The journals of one `.partial`.
#[derive(Debug)]
pub struct JournalOf(Format);

/// What a journal vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouched {
    /// The chunks.
    pub chunks: ChunkSet,
    /// Records read.
    pub records: u32,
}

impl JournalOf {
    /// Bytes before the first record.
    pub const HEADER_LEN: usize = HEADER_LEN;

    /// Bytes of a record.
    pub const RECORD_LEN: usize = RECORD_LEN;

    /// The file with that hash and geometry in a `.partial` with that inode and birth time.
    pub fn new(hash: FileHash, geometry: Geometry, inode: u64, born_ns: u64) -> Self {
        Self(Format::new(&Subject { hash, geometry, inode, born_ns }))
    }

    /// What the bytes vouch for; none if they speak of something else.
    pub fn parse(&self, bytes: &[u8]) -> Option<Vouched> {
        self.0.parse(bytes).map(|parsed| Vouched { chunks: parsed.chunks, records: parsed.records })
    }

    /// A new journal to which these sets were appended, one after the other.
    pub fn begin(&self, sets: &[ChunkSet]) -> Vec<u8> {
        let file = Arc::<InMemory>::default();
        let journal =
            Journal::begin(Arc::clone(&file), self.0.clone()).expect("memory does not fail");
        append_all(journal, &file, sets)
    }

    /// A journal found with `records` records that count, to which these sets were appended.
    pub fn resume(&self, found: Vec<u8>, records: u32, sets: &[ChunkSet]) -> Vec<u8> {
        let file = Arc::new(InMemory(Mutex::new(found)));
        append_all(Journal::resume(Arc::clone(&file), self.0.clone(), records), &file, sets)
    }
}

fn append_all(mut journal: Journal<Arc<InMemory>>, file: &InMemory, sets: &[ChunkSet]) -> Vec<u8> {
    sets.iter().for_each(|set| journal.append(set).expect("memory does not fail"));
    file.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

#[derive(Debug, Default)]
struct InMemory(Mutex<Vec<u8>>);

impl BlockFile for InMemory {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut content = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start + bytes.len();
        if content.len() < end {
            content.resize(end, 0);
        }
        content[start..end].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The names of a download to `path` in its directory: the file, the incomplete file, the journal.
///
/// # Errors
/// There cannot be a download to that path.
pub fn companions(path: &Path) -> Result<[OsString; 3], OpenError> {
    let target = Target::open(path, None)?;
    Ok([target.out(), target.partial(), target.journal()].map(OsString::from))
}

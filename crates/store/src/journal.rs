//! The journal beside a `.partial`: the chunks that are known to be on the disk. It may name fewer
//! chunks than are there, never more.
//!
//! A header that identifies the file and the `.partial`, then records of 16 bytes, each a run of
//! chunks:
//!
//! | header bytes | meaning (integers little-endian)    |   | record bytes | meaning                   |
//! |--------------|-------------------------------------|---|--------------|---------------------------|
//! | 0..8         | `tnetjrnl`                          |   | 0..4         | first chunk               |
//! | 8..12        | version, 1                          |   | 4..8         | number of chunks, not 0   |
//! | 12..16       | chunk size                          |   | 8..16        | check                     |
//! | 16..24       | size of the file                    |   |              |                           |
//! | 24..56       | hash of the file                    |   |              |                           |
//! | 56..72       | inode and birth time of `.partial`  |   |              |                           |
//! | 72..80       | check                               |   |              |                           |
//!
//! A record's check is keyed by the header and covers the record's number, so a record of another
//! file, of another `.partial`, or at another position is invalid. The first invalid record ends
//! the journal: what follows was torn by a crash. Records divide sectors evenly, so none can be
//! half on the disk without failing its check.

// Outside input must never be used as an index: use `get`.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

use std::io;

use tnet_fileinfo::{ChunkSet, FileHash, Geometry};

use super::block_file::{BlockFile, write_all_at};

const MAGIC: &[u8; 8] = b"tnetjrnl";
const VERSION: u32 = 1;
pub(super) const HEADER_LEN: usize = 80;
pub(super) const RECORD_LEN: usize = 16;
const CHECK_LEN: usize = 8;
const CHECK_AT: usize = HEADER_LEN - CHECK_LEN;
const _: () = assert!(HEADER_LEN.is_multiple_of(RECORD_LEN) && 512 % RECORD_LEN == 0);

/// The file and `.partial` that a journal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) hash: FileHash,
    pub(super) geometry: Geometry,
    /// Number of the `.partial` on its device. With [`born_ns`](Self::born_ns) it distinguishes a
    /// `.partial` from one that was removed and created again under the same name, whose content
    /// the journal does not vouch for.
    pub(super) inode: u64,
    /// When the `.partial` was created, in nanoseconds; zero where the file system does not keep
    /// it.
    pub(super) born_ns: u64,
}

/// The encoding of the journal of one subject.
#[derive(Debug, Clone)]
pub(super) struct Format {
    geometry: Geometry,
    header: [u8; HEADER_LEN],
    key: [u8; 32],
}

/// The content of a journal.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) chunks: ChunkSet,
    /// Number of valid records; the next one is appended after them.
    pub(super) records: u32,
}

impl Format {
    pub(super) fn new(subject: &Subject) -> Self {
        let mut header = [0; HEADER_LEN];
        header[0..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..16].copy_from_slice(&subject.geometry.chunk_size().get().to_le_bytes());
        header[16..24].copy_from_slice(&subject.geometry.size().to_le_bytes());
        header[24..56].copy_from_slice(subject.hash.as_bytes());
        header[56..64].copy_from_slice(&subject.inode.to_le_bytes());
        header[64..72].copy_from_slice(&subject.born_ns.to_le_bytes());
        let key = blake3::derive_key("tnet 2026 journal of stored chunks", &header[..CHECK_AT]);
        let check = blake3::keyed_hash(&key, &header[..CHECK_AT]);
        header[CHECK_AT..].copy_from_slice(&check.as_bytes()[..CHECK_LEN]);
        Self { geometry: subject.geometry, header, key }
    }

    pub(super) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    pub(super) fn header(&self) -> &[u8; HEADER_LEN] {
        &self.header
    }

    /// The longest this journal can become: no record repeats a chunk, so there are at most as many
    /// as chunks.
    pub(super) fn max_len(&self) -> u64 {
        record_offset(self.geometry.chunk_count())
    }

    /// Reads a journal, which may be damaged; `None` if it is about another subject, or has no
    /// valid header.
    pub(super) fn parse(&self, bytes: &[u8]) -> Option<Parsed> {
        let records = bytes.strip_prefix(&self.header)?;
        let mut parsed = Parsed { chunks: ChunkSet::empty(&self.geometry), records: 0 };
        for record in records.chunks_exact(RECORD_LEN) {
            let Some(run) = self.decode(parsed.records, record) else { break };
            for index in run.first..run.first + run.count {
                parsed.chunks.insert(self.geometry.chunk(index)?);
            }
            parsed.records += 1;
        }
        Some(parsed)
    }

    fn encode(&self, number: u32, run: Run) -> [u8; RECORD_LEN] {
        let mut record = [0; RECORD_LEN];
        record[0..4].copy_from_slice(&run.first.to_le_bytes());
        record[4..8].copy_from_slice(&run.count.to_le_bytes());
        let check = self.check(number, &record[..8]);
        record[8..].copy_from_slice(&check);
        record
    }

    fn decode(&self, number: u32, record: &[u8]) -> Option<Run> {
        let (first, rest) = record.split_first_chunk()?;
        let (count, check) = rest.split_first_chunk()?;
        let run = Run { first: u32::from_le_bytes(*first), count: u32::from_le_bytes(*count) };
        let fits = run.count > 0
            && run
                .first
                .checked_add(run.count)
                .is_some_and(|end| end <= self.geometry.chunk_count());
        let (what, _) = record.split_at_checked(RECORD_LEN - CHECK_LEN)?;
        (fits && self.check(number, what) == check).then_some(run)
    }

    fn check(&self, number: u32, run: &[u8]) -> [u8; CHECK_LEN] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&number.to_le_bytes()).update(run);
        let mut check = [0; CHECK_LEN];
        hasher.finalize_xof().fill(&mut check);
        check
    }
}

/// Offset of a record, in bytes from the start of the journal.
pub(super) fn record_offset(number: u32) -> u64 {
    HEADER_LEN as u64 + u64::from(number) * RECORD_LEN as u64
}

/// A run of consecutive chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    first: u32,
    count: u32,
}

/// The chunks of the set as the fewest runs.
fn runs_of(chunks: &ChunkSet) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for chunk in chunks.iter() {
        match runs.last_mut() {
            Some(run) if run.first + run.count == chunk.get() => run.count += 1,
            _ => runs.push(Run { first: chunk.get(), count: 1 }),
        }
    }
    runs
}

/// A journal open for appending.
#[derive(Debug)]
pub(super) struct Journal<F> {
    file: F,
    format: Format,
    records: u32,
}

impl<F: BlockFile> Journal<F> {
    /// Continues after the `records` that were read from the file.
    pub(super) fn resume(file: F, format: Format, records: u32) -> Self {
        Self { file, format, records }
    }

    /// Writes the header of a new journal into an empty file.
    pub(super) fn begin(file: F, format: Format) -> io::Result<Self> {
        write_all_at(&file, format.header(), 0).map_err(|error| error.source)?;
        file.sync_data()?;
        Ok(Self { file, format, records: 0 })
    }

    /// Appends the chunks, whose data is already durable, and returns once the records are durable
    /// too.
    ///
    /// After an error the next call overwrites what this one left: a record that reached the disk
    /// all the same is true, as its data was safe before.
    pub(super) fn append(&mut self, chunks: &ChunkSet) -> io::Result<()> {
        let mut number = self.records;
        let mut bytes = Vec::new();
        for run in runs_of(chunks) {
            bytes.extend_from_slice(&self.format.encode(number, run));
            number += 1;
        }
        if bytes.is_empty() {
            return Ok(());
        }
        write_all_at(&self.file, &bytes, record_offset(self.records))
            .map_err(|error| error.source)?;
        self.file.sync_data()?;
        self.records = number;
        Ok(())
    }
}

#[cfg(test)]
#[path = "tests/journal.rs"]
mod tests;

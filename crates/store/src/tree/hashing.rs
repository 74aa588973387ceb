//! Hashes the payload of a tree and each of its files in one pass over the bytes. Threads take
//! stretches of the payload, *units*, in ascending order; every byte is read once, but for less
//! than a leaf where a file goes on in the next unit.
//!
//! Every byte is hashed twice, at its place in the payload and at its place in its file: BLAKE3
//! mixes the position into each leaf. Reading costs more.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use blake3::hazmat::ChainingValue;
use tnet_fileinfo::scan::ProgressFn;
use tnet_fileinfo::{ChunkSum, FileHash, FileInfo, Geometry, MIN_CHUNK_SIZE, Tail, root};

use super::error::TreeScanError;
use super::subtrees::{Subtree, SubtreeMerge};
use super::unit::UnitReader;
use super::walk::{TreeListing, What};
use crate::FileFingerprint;

/// Most threads of one scan, as of a scan of one file.
const MAX_THREADS: usize = 64;

/// Units for each thread, where the payload is large enough: the last ones keep all threads busy.
const UNITS_PER_THREAD: u64 = 32;

/// Bytes of a unit: a file that goes on in another unit costs some small hashes more.
const UNIT_LEN: std::ops::RangeInclusive<u64> = 256 << 10..=4 << 20;

/// Units at most, because each file that goes on in another has up to a kilobyte of subtrees in
/// each.
const MAX_UNITS: u64 = 16 << 10;

/// Files of a unit, on average, at most: those that are small cost by their number.
const FILES_PER_UNIT: u64 = 1024;

/// A regular file in the payload.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) path: &'a [u8],
    pub(super) fingerprint: FileFingerprint,
    /// Where it begins in the payload.
    pub(super) offset: u64,
}

impl Place<'_> {
    pub(super) fn size(&self) -> u64 {
        self.fingerprint.size
    }

    pub(super) fn end(&self) -> u64 {
        self.offset + self.size()
    }
}

/// What hashing found.
pub(super) struct Hashes {
    /// Of each file, in the order of the payload.
    pub(super) files: Vec<FileHash>,
    pub(super) payload: FileInfo,
}

/// Reads and hashes all files of the listing.
pub(super) fn hash(
    listing: &TreeListing,
    geometry: &Geometry,
    progress: ProgressFn<'_>,
) -> Result<Hashes, TreeScanError> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS);
    let places = places(listing);
    let unit_len = unit_len(listing.size, places.len() as u64, cores as u64);
    Work::new(listing, places, geometry, unit_len, progress).run(cores)
}

/// What threads share.
pub(super) struct Work<'a> {
    pub(super) listing: &'a TreeListing,
    pub(super) places: Vec<Place<'a>>,
    pub(super) geometry: &'a Geometry,
    pub(super) progress: ProgressFn<'a>,
    /// A power of two.
    pub(super) unit_len: u64,
    /// The first unit that no thread has taken.
    next: AtomicU64,
    /// Set when one thread fails, so that the others end soon.
    stop: AtomicBool,
    found: Mutex<Found>,
}

/// What is known so far.
struct Found {
    files: Vec<FileHash>,
    /// Of each chunk, or of each unit if chunks are larger.
    payload: Vec<ChainingValue>,
    /// Of files in several units.
    parts: Vec<(u32, Vec<Subtree>)>,
    last_chunk: Vec<u8>,
}

/// What was found in one unit.
#[derive(Default)]
pub(super) struct UnitHashes {
    /// Subtrees of the payload, none larger than a chunk.
    pub(super) payload: Vec<Subtree>,
    /// Files that are wholly in it, by number.
    pub(super) files: Vec<(u32, FileHash)>,
    /// Subtrees of files that go on before or after it.
    pub(super) parts: Vec<(u32, Vec<Subtree>)>,
    /// A file that has the same subtrees as the payload, because it begins where that does.
    pub(super) as_payload: Option<u32>,
    /// What it has of the last chunk, and where that begins in the chunk.
    pub(super) last_chunk: (usize, Vec<u8>),
}

impl<'a> Work<'a> {
    pub(super) fn new(
        listing: &'a TreeListing,
        places: Vec<Place<'a>>,
        geometry: &'a Geometry,
        unit_len: u64,
        progress: ProgressFn<'a>,
    ) -> Self {
        let cell = unit_len.min(geometry.chunk_size().get().into());
        let last = geometry.last_chunk().map_or(0, |last| geometry.chunk_len(last));
        let found = Found {
            files: vec![FileHash::from_bytes([0; 32]); places.len()],
            payload: vec![[0; 32]; usize_of(geometry.size().div_ceil(cell))],
            parts: Vec::new(),
            last_chunk: vec![0; last as usize],
        };
        Self {
            listing,
            places,
            geometry,
            progress,
            unit_len,
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            found: Mutex::new(found),
        }
    }

    /// Bytes of one value of the payload.
    pub(super) fn cell(&self) -> u64 {
        self.unit_len.min(self.geometry.chunk_size().get().into())
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// At least one: a tree without bytes may have files.
    fn unit_count(&self) -> u64 {
        self.geometry.size().div_ceil(self.unit_len).max(1)
    }

    pub(super) fn run(self, threads: usize) -> Result<Hashes, TreeScanError> {
        let threads = self.unit_count().min(threads as u64);
        thread::scope(|scope| {
            // This thread works too, so a system that grants no more threads makes it slower,
            // nothing worse.
            let others: Vec<_> = (1..threads)
                .map_while(|_| {
                    thread::Builder::new()
                        .name("tnet-scan".into())
                        .spawn_scoped(scope, || self.take_units())
                        .ok()
                })
                .collect();
            let mut result = self.take_units();
            for other in others {
                let done = other.join().unwrap_or_else(|panic| resume_unwind(panic));
                result = first_error(result, done);
            }
            result
        })?;
        let (geometry, cell) = (self.geometry, self.cell());
        Ok(self.found.into_inner().unwrap_or_else(PoisonError::into_inner).hashes(geometry, cell))
    }

    fn take_units(&self) -> Result<(), TreeScanError> {
        let mut reader = UnitReader::new(self);
        while !self.is_stopped() {
            let unit = self.next.fetch_add(1, Ordering::Relaxed);
            if unit >= self.unit_count() {
                break;
            }
            let start = unit * self.unit_len;
            let end = self.geometry.size().min(start + self.unit_len);
            let hashes = reader
                .read(start..end)
                .inspect_err(|_| self.stop.store(true, Ordering::Relaxed))?;
            let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            found.add(hashes, self.cell());
        }
        Ok(())
    }
}

impl Found {
    fn add(&mut self, unit: UnitHashes, cell: u64) {
        for subtree in unit.payload {
            self.payload[usize_of(subtree.start / cell)] = subtree.value;
        }
        for (number, hash) in unit.files {
            self.files[number as usize] = hash;
        }
        self.parts.extend(unit.parts);
        let (start, bytes) = unit.last_chunk;
        self.last_chunk[start..start + bytes.len()].copy_from_slice(&bytes);
    }

    fn hashes(mut self, geometry: &Geometry, cell: u64) -> Hashes {
        self.parts.sort_unstable_by_key(|(number, subtrees)| {
            (*number, subtrees.first().map(|subtree| subtree.start))
        });
        for parts in self.parts.chunk_by(|(a, _), (b, _)| a == b) {
            let mut file = SubtreeMerge::default();
            parts.iter().flat_map(|(_, subtrees)| subtrees).for_each(|part| file.push(*part));
            let number = parts.first().map_or(0, |(number, _)| *number);
            self.files[number as usize] = FileHash::from_bytes(file.root());
        }
        let cells = usize_of(u64::from(geometry.chunk_size().get()) / cell);
        let sum = |cells: &[ChainingValue]| match cells {
            [value] => *value,
            values => {
                let mut chunk = SubtreeMerge::default();
                for (index, value) in values.iter().enumerate() {
                    chunk.push(Subtree { start: index as u64 * cell, value: *value });
                }
                if geometry.chunk_count() == 1 { chunk.root() } else { chunk.inner() }
            }
        };
        let sums: Vec<ChunkSum> =
            self.payload.chunks(cells).map(|cells| ChunkSum::from_bytes(sum(cells))).collect();
        let tail = Tail::of(geometry, &self.last_chunk);
        let hash = root(geometry, &sums);
        let payload = FileInfo::from_parts(None, *geometry, sums, tail, hash)
            .expect("sums and tail are of the same bytes, and the hash of the sums");
        Hashes { files: self.files, payload }
    }
}

/// The error that stopped the threads: the others only say that they were stopped.
fn first_error(
    one: Result<(), TreeScanError>,
    other: Result<(), TreeScanError>,
) -> Result<(), TreeScanError> {
    match (one, other) {
        (Ok(()) | Err(TreeScanError::Cancelled), Err(error)) => Err(error),
        (one, _) => one,
    }
}

/// The regular files one after the other.
pub(super) fn places(listing: &TreeListing) -> Vec<Place<'_>> {
    let mut offset = 0;
    let mut places = Vec::new();
    for entry in &listing.entries {
        if let What::File { fingerprint, .. } = entry.what {
            places.push(Place { path: &entry.path, fingerprint, offset });
            offset += fingerprint.size;
        }
    }
    places
}

fn unit_len(size: u64, files: u64, threads: u64) -> u64 {
    let by_threads = size / (threads * UNITS_PER_THREAD);
    let by_files = (size / files.max(1)).saturating_mul(FILES_PER_UNIT);
    by_threads
        .clamp(*UNIT_LEN.start(), *UNIT_LEN.end())
        .min(by_files)
        .max(MIN_CHUNK_SIZE.into())
        .max(size / MAX_UNITS)
        .next_power_of_two()
}

/// A count of what is in memory.
fn usize_of(count: u64) -> usize {
    usize::try_from(count).expect("fewer than a million chunks or units")
}

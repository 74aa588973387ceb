//! Sharing the hashing of chunks among threads. Threads take units in ascending order, so that the
//! disk reads forwards; every unit is hashed once.
//!
//! A unit is a chunk where chunks are many. Where they are few, a chunk is split into units, which
//! are subtrees of its tree, so that a file of one large chunk keeps all cores busy too.
//!
//! The threads are started for each call. The pool that the process shares for computing would be
//! blocked by their waiting for the disk, and one long scan would hold up all other work there.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use blake3::hazmat::ChainingValue;

use super::positioned::PositionedFile;
use super::{ProgressFn, ScanError};
use crate::chunk_size::MIN_CHUNK_SIZE;
use crate::geometry::{ChunkIndex, Geometry};
use crate::hash::ChunkSum;
use crate::hash_tree::{NodePosition, SubtreeHasher, merge_row};

/// Most threads of one scan. With [`READ_LEN`] it bounds a scan's buffers to about 8 MiB; it hashes
/// faster than disks read.
const MAX_THREADS: usize = 64;

/// Bytes read at once, into memory that stays in a core's own cache. With half of it, 4 GiB in the
/// page cache take 1 to 2 % longer.
const READ_LEN: usize = 128 * 1024;

/// Buffers begin at a page, as what is read does: copies to 16 bytes behind one, where the C
/// library puts large allocations, are slow on some processors.
const PAGE: usize = 4096;

/// With fewer chunks than this, chunks are split: enough for the slowest of [`MAX_THREADS`] threads
/// to matter little.
const FEW_CHUNKS: usize = 8 * MAX_THREADS;

/// What a chunk is split into, unless it is smaller itself.
const SPLIT_LEN: u32 = 256 * 1024;

// A unit is a subtree, so it must be a power of two of leaves, as chunks are.
const _: () = assert!(SPLIT_LEN.is_power_of_two() && SPLIT_LEN >= MIN_CHUNK_SIZE);

/// The sum of each of these chunks as the file has it, `None` where the file ends before the chunk
/// does.
pub(super) fn sums(
    reader: &PositionedFile<'_>,
    geometry: &Geometry,
    chunks: &[ChunkIndex],
    progress: ProgressFn<'_>,
) -> Result<Vec<Option<ChunkSum>>, ScanError> {
    let work = Work::new(reader, geometry, chunks, progress);
    let values = work.run()?;
    let place = NodePosition::of_chunk(geometry);
    let sum = |(index, &chunk): (usize, &ChunkIndex)| {
        let first = index * work.units_per_chunk;
        let units = geometry.chunk_len(chunk).div_ceil(work.unit_len) as usize;
        let units: Vec<ChainingValue> =
            values[first..first + units].iter().copied().collect::<Option<_>>()?;
        Some(ChunkSum::from_bytes(merge_row(units.into_iter(), place)))
    };
    Ok(chunks.iter().enumerate().map(sum).collect())
}

struct Work<'a> {
    reader: &'a PositionedFile<'a>,
    geometry: &'a Geometry,
    chunks: &'a [ChunkIndex],
    progress: ProgressFn<'a>,
    unit_len: u32,
    units_per_chunk: usize,
    /// The first unit that no thread has taken.
    next: AtomicUsize,
    /// Set when one thread fails, so that the others end soon.
    stop: AtomicBool,
}

/// The chaining value of each unit, `None` where the file is too short.
type UnitValues = Vec<Option<ChainingValue>>;

impl<'a> Work<'a> {
    fn new(
        reader: &'a PositionedFile<'a>,
        geometry: &'a Geometry,
        chunks: &'a [ChunkIndex],
        progress: ProgressFn<'a>,
    ) -> Self {
        let chunk_size = geometry.chunk_size().get();
        let unit_len =
            if chunks.len() < FEW_CHUNKS { chunk_size.min(SPLIT_LEN) } else { chunk_size };
        Self {
            reader,
            geometry,
            chunks,
            progress,
            unit_len,
            units_per_chunk: (chunk_size / unit_len) as usize,
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        }
    }

    /// A short last chunk counts as many units as any other; those past its end are empty.
    fn unit_count(&self) -> usize {
        self.chunks.len() * self.units_per_chunk
    }

    fn run(&self) -> Result<UnitValues, ScanError> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let threads = cores.min(MAX_THREADS).min(self.unit_count());
        let done = thread::scope(|scope| {
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
            let mut done = vec![self.take_units()];
            done.extend(
                others
                    .into_iter()
                    .map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic))),
            );
            done
        });
        let mut values = vec![None; self.unit_count()];
        for taken in done {
            for (unit, value) in taken? {
                values[unit] = value;
            }
        }
        Ok(values)
    }

    /// Hashes units until none is left.
    fn take_units(&self) -> Result<Vec<(usize, Option<ChainingValue>)>, ScanError> {
        let len = READ_LEN.min(self.unit_len as usize);
        let mut memory = vec![0; len + PAGE];
        let start = memory.as_ptr().addr().wrapping_neg() % PAGE;
        let buffer = &mut memory[start..start + len];
        let mut taken = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            let unit = self.next.fetch_add(1, Ordering::Relaxed);
            if unit >= self.unit_count() {
                break;
            }
            let value = self
                .hash(unit, buffer)
                .inspect_err(|_| self.stop.store(true, Ordering::Relaxed))?;
            taken.push((unit, value));
        }
        Ok(taken)
    }

    fn hash(&self, unit: usize, buffer: &mut [u8]) -> Result<Option<ChainingValue>, ScanError> {
        let chunk = self.geometry.range(self.chunks[unit / self.units_per_chunk]);
        let start = chunk.start + (unit % self.units_per_chunk) as u64 * u64::from(self.unit_len);
        let end = chunk.end.min(start + u64::from(self.unit_len));
        if start >= end {
            return Ok(None);
        }
        let is_whole_file = start == 0 && end == self.geometry.size();
        let mut hasher = SubtreeHasher::new(
            start,
            if is_whole_file { NodePosition::Root } else { NodePosition::Inner },
        );
        let mut at = start;
        while at < end {
            let left = end - at;
            let wanted = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            let piece = &mut buffer[..wanted];
            if self.reader.fill(piece, at)? < wanted {
                self.report(left)?;
                return Ok(None);
            }
            hasher.update(piece);
            self.report(wanted as u64)?;
            at += wanted as u64;
        }
        Ok(Some(hasher.finish()))
    }

    fn report(&self, bytes: u64) -> Result<(), ScanError> {
        if (self.progress)(bytes).is_break() { Err(ScanError::Cancelled) } else { Ok(()) }
    }
}

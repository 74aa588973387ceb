//! Fills the directory of a tree from files that are on this machine. What is read there is
//! compared with the sums of the payload before it is written, or where blocks are shared, in the
//! new file: so nothing that a file becomes meanwhile can end up in the tree.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tnet_fileinfo::scan::ProgressFn;
use tnet_fileinfo::tree::Span;
use tnet_fileinfo::{ChunkIndex, ChunkSet, FileInfo};

use super::block_file::write_all_at;
use super::content_bytes::ContentBytes;
use super::parallel;
use super::tree::reuse::{OldFile, Plan, plan, wanted_sizes};
use super::tree::{OldFiles, PartialTree};

/// Bytes of a member from which on it shares blocks. To read a smaller one back, which shares no
/// page in memory, costs more than its blocks.
const WORTH_SHARING: u64 = 128 * 1024;

/// Why nothing more is taken.
#[derive(Debug)]
pub(super) enum Stop {
    /// `progress` said stop.
    Cancelled,
    /// The tree cannot be written.
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What can be taken, and what takes no room.
pub(super) struct TreeReuse<'a> {
    tree: &'a PartialTree,
    info: &'a FileInfo,
    old: &'a OldFiles,
    files: Vec<OldFile<'a>>,
    plan: Plan,
    /// Members that share blocks.
    shared: Vec<AtomicBool>,
    progress: ProgressFn<'a>,
}

impl<'a> TreeReuse<'a> {
    /// Hashes old files and plans what of the tree they have, but for the chunks that are `kept`.
    pub(super) fn plan(
        tree: &'a PartialTree,
        info: &'a FileInfo,
        old: &'a mut OldFiles,
        kept: &ChunkSet,
        progress: ProgressFn<'a>,
    ) -> Result<Self, Stop> {
        let (layout, geometry) = (tree.layout(), info.geometry());
        if !old.hash(&wanted_sizes(layout, geometry, kept), progress) {
            return Err(Stop::Cancelled);
        }
        let old = &*old;
        let files = old.known();
        let plan = plan(layout, geometry, kept, &files);
        let shared = (0..layout.member_count()).map(|_| AtomicBool::new(false)).collect();
        Ok(Self { tree, info, old, files, plan, shared, progress })
    }

    /// Shares blocks, where the file system can; answers with the chunks that are right now and
    /// took no room.
    pub(super) fn share(&self, kept: &ChunkSet) -> Result<ChunkSet, Stop> {
        let geometry = self.info.geometry();
        let right = Mutex::new(ChunkSet::empty(geometry));
        let members: Vec<u32> = (0..)
            .zip(self.tree.layout().members())
            .filter(|(number, member)| {
                member.size() >= WORTH_SHARING && self.plan.origin(*number).is_some()
            })
            .map(|(number, _)| number)
            .collect();
        // Places of which no file shares blocks, mostly because they are on another file system.
        let apart = Mutex::new(Vec::new());
        parallel::for_each(&members, 0, |(): &mut (), number| self.share_member(*number, &apart))?;
        let chunks = self.chunks(|chunk| {
            !kept.contains(chunk) && self.spans(chunk).all(|(span, _)| self.is_shared(span.member))
        });
        parallel::for_each(&chunks, self.chunk_len(), |buf: &mut Vec<u8>, chunk| {
            self.go_on(*chunk)?;
            buf.resize(geometry.chunk_len(*chunk) as usize, 0);
            let is_read = self.tree.read_exact_at(buf, geometry.offset(*chunk)).is_ok();
            if is_read && self.info.verify(*chunk, buf) {
                unpoisoned(&right).insert(*chunk);
            } else {
                self.tree.punch_hole(geometry.range(*chunk));
            }
            Ok::<_, Stop>(())
        })?;
        Ok(right.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn share_member(&self, number: u32, apart: &Mutex<Vec<usize>>) -> Result<(), Stop> {
        let Some(origin) = self.plan.origin(number) else { return Ok(()) };
        let place = self.old.place(origin.file());
        if unpoisoned(apart).contains(&place) {
            return Ok(());
        }
        let Ok(from) = self.old.open(origin.file()) else { return Ok(()) };
        let is_shared = self.tree.share_blocks(number, &from).map_err(io::Error::from)?;
        self.shared[number as usize].store(is_shared, Ordering::Relaxed);
        if !is_shared {
            unpoisoned(apart).push(place);
        }
        Ok(())
    }

    /// Copies all other chunks whose bytes old files have; answers with those that are right now.
    pub(super) fn copy(&self, kept: &ChunkSet) -> Result<ChunkSet, Stop> {
        let geometry = self.info.geometry();
        let right = Mutex::new(ChunkSet::empty(geometry));
        let chunks = self.chunks(|chunk| {
            !kept.contains(chunk)
                && self.plan.covers(self.tree.layout(), geometry.range(chunk), &self.files)
                && !self.spans(chunk).all(|(span, _)| self.is_shared(span.member))
        });
        parallel::for_each(&chunks, self.chunk_len(), |state: &mut Copying, chunk| {
            self.go_on(*chunk)?;
            state.buf.resize(geometry.chunk_len(*chunk) as usize, 0);
            if self.read(*chunk, state).is_ok() && self.info.verify(*chunk, &state.buf) {
                self.write(*chunk, &state.buf)?;
                unpoisoned(&right).insert(*chunk);
            }
            Ok::<_, Stop>(())
        })?;
        Ok(right.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn read(&self, chunk: ChunkIndex, state: &mut Copying) -> io::Result<()> {
        for (span, position) in self.spans(chunk) {
            let part = part_of(position - self.info.geometry().offset(chunk), span.len());
            let part = state.buf.get_mut(part).ok_or(io::ErrorKind::UnexpectedEof)?;
            if self.is_shared(span.member) {
                self.tree.read_exact_at(part, position)?;
                continue;
            }
            let origin = self.plan.origin(span.member).ok_or(io::ErrorKind::NotFound)?.file();
            let file = match state.last.take().filter(|(number, _)| *number == origin) {
                Some((_, file)) => file,
                None => self.old.open(origin)?,
            };
            FileExt::read_exact_at(&file, part, span.within.start)?;
            state.last = Some((origin, file));
        }
        Ok(())
    }

    fn write(&self, chunk: ChunkIndex, bytes: &[u8]) -> io::Result<()> {
        let offset = self.info.geometry().offset(chunk);
        for (span, position) in self.spans(chunk).filter(|(span, _)| !self.is_shared(span.member)) {
            let part = bytes.get(part_of(position - offset, span.len()));
            let part = part.ok_or(io::ErrorKind::UnexpectedEof)?;
            write_all_at(self.tree, part, position).map_err(|error| error.source)?;
        }
        Ok(())
    }

    /// The spans of a chunk, each with its position in the payload.
    fn spans(&self, chunk: ChunkIndex) -> impl Iterator<Item = (Span, u64)> {
        let range = self.info.geometry().range(chunk);
        let mut at = range.start;
        self.tree.layout().spans(range).map(move |span| {
            at += span.len();
            let position = at - span.len();
            (span, position)
        })
    }

    fn chunks(&self, is_meant: impl Fn(ChunkIndex) -> bool) -> Vec<ChunkIndex> {
        if self.plan.is_empty() {
            return Vec::new();
        }
        self.info.geometry().chunks().filter(|chunk| is_meant(*chunk)).collect()
    }

    fn chunk_len(&self) -> usize {
        self.info.geometry().chunk_size().get() as usize
    }

    /// Whether the member shares blocks.
    pub(super) fn is_shared(&self, member: u32) -> bool {
        self.shared[member as usize].load(Ordering::Relaxed)
    }

    fn go_on(&self, chunk: ChunkIndex) -> Result<(), Stop> {
        let len = self.info.geometry().chunk_len(chunk);
        if (self.progress)(len.into()).is_break() { Err(Stop::Cancelled) } else { Ok(()) }
    }
}

/// What a thread keeps between two chunks.
#[derive(Default)]
struct Copying {
    buf: Vec<u8>,
    /// The old file that was read last.
    last: Option<(usize, File)>,
}

fn part_of(begin: u64, len: u64) -> std::ops::Range<usize> {
    // Within a chunk, which is in memory.
    let index = |at| usize::try_from(at).unwrap_or(usize::MAX);
    index(begin)..index(begin + len)
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

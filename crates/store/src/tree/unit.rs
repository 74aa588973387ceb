//! Reads one unit of a tree's payload: fills a window with the bytes of one file after the other,
//! and hashes them for their files and, when the window is full, for the payload.

use std::ops::Range;

use blake3::Hasher;
use tnet_fileinfo::FileHash;

use super::error::TreeScanError;
use super::hashing::{Place, UnitHashes, Work};
use super::member_file::MemberFile;
use super::subtrees::{LEAF_LEN, StretchHasher, Subtree, SubtreeMerge};

/// Bytes hashed at once, in memory that stays in a core's own cache.
const WINDOW_LEN: usize = 128 * 1024;

/// No subtree of a file needs a bound.
const ANY_LEN: u64 = 1 << 63;

const PAGE: usize = 4096;

/// Reads units, one after the other.
pub(super) struct UnitReader<'a> {
    work: &'a Work<'a>,
    /// A window, and the byte more that [`MemberFile::read`] takes.
    buffer: Vec<u8>,
    /// Where the window begins in it: at a page, as what is read does. Copies to 16 bytes behind
    /// one, where the C library puts large allocations, are slow on some processors.
    start: usize,
}

/// A file of which a window has only a part.
struct Reading<'a> {
    number: usize,
    file: MemberFile<'a>,
    /// Which of its bytes are hashed in this unit: from a leaf to a leaf or its end.
    hashed: Range<u64>,
    hasher: FileHasher,
}

enum FileHasher {
    Whole(Box<Hasher>),
    Part(Box<StretchHasher>),
    /// It begins where the payload does and is as long as the unit: its subtrees are those of the
    /// payload.
    AsPayload,
    /// Its last bytes were hashed with the leaf that began in the unit before.
    Nothing,
}

enum PayloadHasher {
    /// One chunk in one unit.
    Whole(Box<Hasher>),
    Part(Box<StretchHasher>),
    /// No bytes at all.
    Nothing,
}

impl<'a> UnitReader<'a> {
    pub(super) fn new(work: &'a Work<'a>) -> Self {
        let buffer = vec![0; WINDOW_LEN + 1 + PAGE];
        let start = buffer.as_ptr().addr().wrapping_neg() % PAGE;
        Self { work, buffer, start }
    }

    /// Reads and hashes these bytes of the payload.
    pub(super) fn read(&mut self, range: Range<u64>) -> Result<UnitHashes, TreeScanError> {
        let work = self.work;
        let mut unit = UnitHashes::default();
        let mut payload = self.payload_hasher(&range);
        let mut next = self.first_file(range.start);
        let mut reading: Option<Reading<'a>> = None;
        let mut at = range.start;
        while at < range.end {
            let len = up_to(WINDOW_LEN, range.end - at);
            let mut filled = 0;
            while filled < len {
                let number = reading.as_ref().map_or(next, |reading| reading.number);
                let place = &work.places[number];
                let position = at + filled as u64 - place.offset;
                let taken = up_to(len - filled, place.size() - position);
                if taken as u64 == place.size() {
                    unit.files.push((number_of(number), self.read_whole(place, filled)?));
                    next = number + 1;
                } else {
                    let mut file = match reading.take() {
                        Some(file) => file,
                        None => self.begin(number, &range)?,
                    };
                    file.file.read(&mut self.buffer[self.start + filled..], taken, position)?;
                    file.update(&self.window()[filled..filled + taken], position);
                    if position + taken as u64 == place.size() {
                        file.end(&mut unit)?;
                        next = number + 1;
                    } else {
                        reading = Some(file);
                    }
                }
                filled += taken;
            }
            payload.update(&self.window()[..len]);
            self.keep_last_chunk(at, len, &mut unit);
            at += len as u64;
            if work.is_stopped() || (work.progress)(len as u64).is_break() {
                return Err(TreeScanError::Cancelled);
            }
        }
        unit.payload = payload.finish();
        if let Some(mut file) = reading {
            file.read_rest_of_leaf(range.end - work.places[file.number].offset)?;
            file.end(&mut unit)?;
        }
        if let Some(number) = unit.as_payload {
            unit.parts.push((number, vec![merged(&unit.payload)]));
        }
        if range.end == work.geometry.size() {
            // What is left has no bytes.
            for number in next..work.places.len() {
                let hash = self.read_whole(&work.places[number], 0)?;
                unit.files.push((number_of(number), hash));
            }
        }
        Ok(unit)
    }

    fn window(&self) -> &[u8] {
        &self.buffer[self.start..self.start + WINDOW_LEN]
    }

    /// The first file that begins in the unit or has bytes in it.
    fn first_file(&self, start: u64) -> usize {
        let first = self.work.places.partition_point(|place| place.offset < start);
        match first.checked_sub(1) {
            Some(before) if self.work.places[before].end() > start => before,
            _ => first,
        }
    }

    /// Reads a file into the window and hashes it.
    fn read_whole(&mut self, place: &Place<'a>, filled: usize) -> Result<FileHash, TreeScanError> {
        let file = self.open(place)?;
        let len = up_to(WINDOW_LEN, place.size());
        file.read(&mut self.buffer[self.start + filled..], len, 0)?;
        file.check_unchanged()?;
        let bytes = &self.window()[filled..filled + len];
        Ok(FileHash::from_bytes(*blake3::hash(bytes).as_bytes()))
    }

    fn open(&self, place: &Place<'a>) -> Result<MemberFile<'a>, TreeScanError> {
        MemberFile::open(&self.work.listing.directory, place.path, place.fingerprint)
    }

    fn begin(&self, number: usize, unit: &Range<u64>) -> Result<Reading<'a>, TreeScanError> {
        let place = &self.work.places[number];
        let start = unit.start.saturating_sub(place.offset).next_multiple_of(LEAF_LEN as u64);
        let end = (unit.end - place.offset).next_multiple_of(LEAF_LEN as u64).min(place.size());
        let hasher = if start >= end {
            FileHasher::Nothing
        } else if start == 0 && end == place.size() {
            FileHasher::Whole(Box::default())
        } else if place.offset == 0 && place.end() >= unit.end {
            FileHasher::AsPayload
        } else {
            FileHasher::Part(Box::new(StretchHasher::new(start, end, place.size(), ANY_LEN)))
        };
        Ok(Reading { number, file: self.open(place)?, hashed: start..end, hasher })
    }

    fn payload_hasher(&self, unit: &Range<u64>) -> PayloadHasher {
        let geometry = self.work.geometry;
        if unit.is_empty() {
            PayloadHasher::Nothing
        } else if geometry.chunk_count() == 1 && *unit == (0..geometry.size()) {
            PayloadHasher::Whole(Box::default())
        } else {
            let (size, most) = (geometry.size(), self.work.cell());
            PayloadHasher::Part(Box::new(StretchHasher::new(unit.start, unit.end, size, most)))
        }
    }

    /// Remembers what the window has of the last chunk.
    fn keep_last_chunk(&self, at: u64, len: usize, unit: &mut UnitHashes) {
        let geometry = self.work.geometry;
        let Some(last) = geometry.last_chunk() else { return };
        let start = geometry.offset(last);
        let skipped = up_to(len, start.saturating_sub(at));
        if skipped < len {
            let (first, bytes) = &mut unit.last_chunk;
            if bytes.is_empty() {
                *first = up_to(usize::MAX, at + skipped as u64 - start);
            }
            bytes.extend_from_slice(&self.window()[skipped..len]);
        }
    }
}

impl Reading<'_> {
    /// Takes the bytes of the file from `position` on.
    fn update(&mut self, bytes: &[u8], position: u64) {
        let skipped = up_to(bytes.len(), self.hashed.start.saturating_sub(position));
        let bytes = &bytes[skipped..];
        match &mut self.hasher {
            FileHasher::Whole(hasher) => {
                hasher.update(bytes);
            }
            FileHasher::Part(hasher) => hasher.update(bytes),
            FileHasher::AsPayload | FileHasher::Nothing => {}
        }
    }

    /// The leaf that begins in this unit is hashed in it, though it ends in the next.
    fn read_rest_of_leaf(&mut self, position: u64) -> Result<(), TreeScanError> {
        let mut rest = [0; LEAF_LEN + 1];
        let len = up_to(LEAF_LEN, self.hashed.end.saturating_sub(position));
        if len > 0 {
            self.file.read(&mut rest, len, position)?;
            self.update(&rest[..len], position);
        }
        Ok(())
    }

    fn end(self, unit: &mut UnitHashes) -> Result<(), TreeScanError> {
        self.file.check_unchanged()?;
        let number = number_of(self.number);
        match self.hasher {
            FileHasher::Whole(hasher) => {
                unit.files.push((number, FileHash::from_bytes(*hasher.finalize().as_bytes())));
            }
            FileHasher::Part(hasher) => unit.parts.push((number, hasher.finish())),
            FileHasher::AsPayload => unit.as_payload = Some(number),
            FileHasher::Nothing => {}
        }
        Ok(())
    }
}

impl PayloadHasher {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Whole(hasher) => {
                hasher.update(bytes);
            }
            Self::Part(hasher) => hasher.update(bytes),
            Self::Nothing => {}
        }
    }

    fn finish(self) -> Vec<Subtree> {
        match self {
            Self::Whole(hasher) => {
                vec![Subtree { start: 0, value: *hasher.finalize().as_bytes() }]
            }
            Self::Part(hasher) => hasher.finish(),
            Self::Nothing => Vec::new(),
        }
    }
}

/// The subtrees of a unit as one.
fn merged(subtrees: &[Subtree]) -> Subtree {
    let start = subtrees.first().map_or(0, |first| first.start);
    let mut merge = SubtreeMerge::default();
    for subtree in subtrees {
        merge.push(Subtree { start: subtree.start - start, value: subtree.value });
    }
    Subtree { start, value: merge.inner() }
}

/// The smaller of a length in memory and one on the disk.
fn up_to(most: usize, len: u64) -> usize {
    usize::try_from(len).map_or(most, |len| len.min(most))
}

fn number_of(number: usize) -> u32 {
    u32::try_from(number).expect("at most ten million entries were listed")
}

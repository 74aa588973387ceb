//! Resumes an interrupted download. Only chunks that have the right sum when read from the disk
//! count as stored. The journal of this very `.partial` names chunks that need not be fetched; they
//! are verified while the rest is fetched.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::time::UNIX_EPOCH;

use tnet_fileinfo::{ChunkSet, FileInfo, Geometry, ProgressFn, ScanError, verify_file};

use super::error::OpenError;
use super::journal::{Format, Journal, Parsed, Subject, record_offset};
use super::no_room::NoRoom;
use super::reservation;
use super::sys;
use super::target::Target;

impl Subject {
    /// The subject of the journal beside the file with this metadata.
    pub(super) fn of(info: &FileInfo, metadata: &Metadata) -> Self {
        let born_ns = metadata
            .created()
            .ok()
            .and_then(|born| born.duration_since(UNIX_EPOCH).ok())
            .and_then(|born| u64::try_from(born.as_nanos()).ok())
            .unwrap_or(0);
        Self { hash: info.hash(), geometry: *info.geometry(), inode: metadata.ino(), born_ns }
    }
}

/// A journal that was read, open for continuing.
#[derive(Debug)]
pub(super) struct Vouched {
    file: File,
    parsed: Parsed,
}

/// Opens the journal beside the `.partial` of this owner, whatever is in it; `None` if there is
/// none that no other user could have written.
pub(super) fn find_journal(target: &Target, owner: u32) -> Option<File> {
    let file = sys::open_existing(target.directory(), target.journal()).ok()?;
    let metadata = file.metadata().ok()?;
    (metadata.is_file() && metadata.nlink() == 1 && metadata.uid() == owner).then_some(file)
}

/// Takes back all that the journal vouches for, durably; it stays where it is.
pub(super) fn empty_journal(target: &Target) -> io::Result<()> {
    match sys::open_existing(target.directory(), target.journal()) {
        Ok(file) => {
            file.set_len(0)?;
            file.sync_data()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Reads the journal beside the `.partial` of this owner; `None` if there is none that can be
/// believed, in which case the content alone decides.
pub(super) fn read_journal(target: &Target, format: &Format, owner: u32) -> Option<Vouched> {
    let mut file = find_journal(target, owner)?;
    let mut bytes = Vec::new();
    Read::by_ref(&mut file).take(format.max_len()).read_to_end(&mut bytes).ok()?;
    let parsed = format.parse(&bytes)?;
    Some(Vouched { file, parsed })
}

/// Opens the journal for appending, a new one if there is none to continue, in the file of a
/// `stale` one if there is one; answers what it vouches for.
pub(super) fn open_journal(
    target: &Target,
    format: Format,
    vouched: Option<Vouched>,
    stale: Option<File>,
) -> Result<(Journal<File>, ChunkSet), OpenError> {
    let max_len = format.max_len();
    let mut is_named = true;
    let opened = || -> io::Result<_> {
        match vouched {
            Some(Vouched { file, parsed }) => {
                // Cut off the torn end, so that nothing of it can be taken for a record later.
                file.set_len(record_offset(parsed.records))?;
                reservation::ahead(&file, max_len)?;
                Ok((Journal::resume(file, format, parsed.records), parsed.chunks))
            }
            None => {
                let file = match stale {
                    Some(file) => file,
                    None => {
                        is_named = false;
                        sys::create_new(target.directory(), target.journal(), None)?
                    }
                };
                is_named = true;
                // One that is of no use begins anew in its place: it stays beside its `.partial`.
                file.set_len(0)?;
                reservation::ahead(&file, max_len)?;
                let nothing = ChunkSet::empty(format.geometry());
                Ok((Journal::begin(file, format)?, nothing))
            }
        }
    };
    opened().map_err(|source| {
        let path = target.path(target.journal());
        let why = if is_named {
            NoRoom::of(&source)
        } else {
            NoRoom::of_creating(&source, target.directory())
        };
        match why {
            Some(why) => OpenError::DiskFull { path, needed: max_len, why },
            None => target.error(target.journal(), source),
        }
    })
}

/// The chunks that are right in the file though the journal does not vouch for them.
pub(super) fn verify_unvouched(
    target: &Target,
    file: &File,
    info: &FileInfo,
    journaled: &ChunkSet,
    progress: ProgressFn<'_>,
) -> Result<ChunkSet, OpenError> {
    let candidates = unvouched(file, info.geometry(), journaled)
        .map_err(|source| target.error(target.partial(), source))?;
    if candidates.is_empty() {
        return Ok(candidates);
    }
    // After a failed sync the cache may show pages that never reached the disk and never will.
    for chunk in candidates.iter() {
        sys::drop_cached(file, info.geometry().range(chunk));
    }
    verify(target, target.partial(), file, info, Some(&candidates), progress)
}

/// The chunks that hold data and that the journal does not vouch for. A chunk that was written is
/// no hole, save for one of zeroes on a file system that compresses those away: that one is fetched
/// again.
fn unvouched(file: &File, geometry: &Geometry, journaled: &ChunkSet) -> io::Result<ChunkSet> {
    let mut chunks = ChunkSet::empty(geometry);
    let chunk_size = u64::from(geometry.chunk_size().get());
    let index = |offset: u64| {
        u32::try_from(offset / chunk_size).ok().and_then(|index| geometry.chunk(index))
    };
    let mut from = 0;
    while let Some(data) = sys::next_data(file, from, geometry.size())? {
        let (Some(first), Some(last)) = (index(data.start), index(data.end - 1)) else { break };
        for chunk in (first.get()..=last.get()).filter_map(|index| geometry.chunk(index)) {
            if !journaled.contains(chunk) {
                chunks.insert(chunk);
            }
        }
        // Each round settles at least one chunk, however many pieces its data is in.
        from = geometry.range(last).end;
    }
    Ok(chunks)
}

/// Which of the candidates, or of all chunks, are right in the file.
pub(super) fn verify(
    target: &Target,
    name: &OsStr,
    file: &File,
    info: &FileInfo,
    candidates: Option<&ChunkSet>,
    progress: ProgressFn<'_>,
) -> Result<ChunkSet, OpenError> {
    verify_file(file, info, candidates, progress).map_err(|error| match error {
        ScanError::Cancelled => OpenError::Cancelled { path: target.path(name) },
        other => target.error(name, io::Error::other(other)),
    })
}

/// Removes what a crash at the very end of a download left beside the finished file: the journal of
/// that very file, and a second name where renaming was done by linking. Anything else there
/// belongs to another download.
pub(super) fn remove_leftovers(target: &Target, finished: &File, info: &FileInfo) {
    // Best effort: all of it is only litter.
    let Ok(metadata) = finished.metadata() else { return };
    let format = Format::new(&Subject::of(info, &metadata));
    if read_journal(target, &format, metadata.uid()).is_some() {
        let _ = sys::remove(target.directory(), target.journal());
    }
    if let Ok(Some(partial)) = sys::entry_at(target.directory(), target.partial())
        && sys::entry(finished).is_ok_and(|finished| finished.is_same_file(&partial))
    {
        let _ = sys::remove(target.directory(), target.partial());
    }
}

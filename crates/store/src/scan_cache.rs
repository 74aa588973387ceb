//! Remembers the descriptions of files, so that a restart need not read unchanged files again.
//!
//! The cache is a file of appended records. One record: `length: u32` of the body; the body; 16
//! bytes of its BLAKE3 sum. A body: `inode, size: u64`, `modified, changed: i64` in nanoseconds;
//! `path length: u32`, path; and unless the record only removes the path: `chunk size: u32`; `name
//! length: u16`, name, or 65535 for that in the path; hash; the sums of the chunks if there are
//! several; the path of the [`Tail`] without its leaf, which is read from the file. All numbers
//! little-endian. A later record of a path replaces an earlier one. The first torn or damaged
//! record ends the file: it is cut there, and the files of later records are read again.
//!
//! The file is never longer than twice its useful bytes when it was last rewritten, plus 64 KiB:
//! then it is rewritten without replaced records and deleted files. If that fails, the next attempt
//! is made when it is twice as long. A file that changes often is recorded only every 10 minutes.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use tnet_fileinfo::{
    ChunkSize, ChunkSum, FileHash, FileInfo, FileName, Geometry, MAX_FILEINFO_LEN, Tail, shown_path,
};

use super::fingerprint::FileFingerprint;
use super::sys::{self, LockOutcome};

const MAGIC: &[u8; 8] = b"tnetscn\x02";

/// Bytes of inode, size and both times.
const FINGERPRINT_LEN: usize = 32;
const SUM_LEN: usize = 16;
const HASH_LEN: usize = 32;

/// The length field for a name that is the last component of the path.
const NAME_OF_PATH: u16 = u16::MAX;

/// Bytes of the longest record that is read: any path that a system accepts, and any description.
const MAX_RECORD_LEN: usize = FINGERPRINT_LEN + 4 + 64 * 1024 + MAX_FILEINFO_LEN;

/// A file that was changed so recently may be changed once more without another time stamp.
const UNSETTLED: Duration = Duration::from_secs(2);

/// The file is rewritten when it is longer than twice its useful bytes plus this many.
const WORTH_REWRITING: u64 = 64 * 1024;

/// A new description of a known file is written after this time, or at the end: the file may change
/// again soon.
const WRITTEN_AFTER: Duration = Duration::from_secs(600);

/// Descriptions that wait at most. Further ones are written at once.
const WAITING_AT_MOST: usize = 1024;

/// Remembers descriptions in a file. Cheap to clone; the file is opened at the first use, which
/// blocks as all methods do.
#[derive(Debug, Clone)]
pub struct ScanCache(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// `None` inside: it cannot be used, which has been logged.
    log: OnceLock<Option<Mutex<LogFile>>>,
}

#[derive(Debug)]
struct LogFile {
    file: File,
    path: PathBuf,
    /// Bytes of records and the head.
    len: u64,
    /// Useful bytes when it was last rewritten or opened.
    used: u64,
    /// Its length when it could not be rewritten, in bytes.
    stuck: u64,
    /// Keyed by a hash of the path: a million paths would fill the memory.
    records: HashMap<Key, RecordSpan>,
    /// New values of records that are not written yet.
    waiting: HashMap<Key, Waiting>,
}

type Key = [u8; 16];

#[derive(Debug, Clone, Copy)]
struct RecordSpan {
    offset: u64,
    len: u32,
}

#[derive(Debug)]
struct Waiting {
    path: PathBuf,
    fingerprint: FileFingerprint,
    info: FileInfo,
    since: Instant,
}

impl ScanCache {
    /// A cache at `path`, which need not exist. If it cannot be used, every file is read, and that
    /// is logged once.
    pub fn at(path: PathBuf) -> Self {
        Self(Arc::new(Shared { path, log: OnceLock::new() }))
    }

    /// The remembered description of the open file at `path` (absolute), if its fingerprint has not
    /// changed since.
    pub fn recall(&self, path: &Path, metadata: &Metadata, file: &File) -> Option<FileInfo> {
        let fingerprint = FileFingerprint::of(metadata);
        let log = self.log()?;
        if let Some(waiting) = log.waiting.get(&key(path)) {
            return (waiting.fingerprint == fingerprint).then(|| waiting.info.clone());
        }
        let span = *log.records.get(&key(path))?;
        let body = log.read(span).ok()??;
        drop(log);
        let (known_fingerprint, known_path, known) = split_body(&body)?;
        let is_same = *known_fingerprint == to_bytes(fingerprint)
            && known_path == path.as_os_str().as_bytes();
        is_same.then(|| decode(known, path, metadata.len(), file)).flatten()
    }

    /// Remembers that the file at `path` (absolute) is `info` as long as it has this metadata;
    /// unless it was changed in the 2 s before `now`, the time since the Unix epoch.
    pub fn remember(&self, path: &Path, metadata: &Metadata, info: &FileInfo, now: Duration) {
        let fingerprint = FileFingerprint::of(metadata);
        let settled = i128::try_from(now.saturating_sub(UNSETTLED).as_nanos()).unwrap_or(i128::MAX);
        if i128::from(fingerprint.modified_ns.max(fingerprint.changed_ns)) <= settled {
            self.put(path, fingerprint, info);
        }
    }

    /// As [`remember`](Self::remember), for a file that this process has just written itself.
    pub fn remember_own(&self, path: &Path, metadata: &Metadata, info: &FileInfo) {
        self.put(path, FileFingerprint::of(metadata), info);
    }

    /// Forgets the file at `path` (absolute): its content changed and its metadata did not.
    pub fn forget(&self, path: &Path) {
        let Some(mut log) = self.log() else { return };
        if let Err(error) = log.forget(path) {
            tracing::warn!(path = %shown_path(&self.0.path), %error, "a wrong scan is still in the cache");
        }
    }

    /// Writes records that have waited long enough. Call it now and then.
    pub fn write_due(&self) {
        self.write_waiting(WRITTEN_AFTER);
    }

    pub(super) fn write_waiting(&self, so_long: Duration) {
        // A cache that was never used has nothing to write.
        let Some(log) = self.0.log.get().and_then(Option::as_ref) else { return };
        let written = log.lock().unwrap_or_else(PoisonError::into_inner).write_waiting(so_long);
        if let Err(error) = written {
            tracing::debug!(path = %shown_path(&self.0.path), %error, "scans are not cached");
        }
    }

    fn put(&self, path: &Path, fingerprint: FileFingerprint, info: &FileInfo) {
        let Some(mut log) = self.log() else { return };
        if let Err(error) = log.put(path, fingerprint, info) {
            tracing::debug!(path = %shown_path(&self.0.path), %error, "a scan is not cached");
        }
    }

    fn log(&self) -> Option<MutexGuard<'_, LogFile>> {
        let opened = self.0.log.get_or_init(|| match LogFile::open(&self.0.path) {
            Ok(log) => Some(Mutex::new(log)),
            Err(error) => {
                let path = shown_path(&self.0.path);
                tracing::warn!(%path, %error, "scans are not cached: a restart reads every file again");
                None
            }
        });
        Some(opened.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for LogFile {
    /// A child process that is being started shares our descriptors for a moment, and with them the
    /// lock: closing the file does not release it.
    fn drop(&mut self) {
        if let Err(error) = self.write_waiting(Duration::ZERO) {
            tracing::debug!(path = %shown_path(&self.path), %error, "scans are not cached");
        }
        // The lock ends with the last descriptor at the latest.
        let _ = sys::unlock(&self.file);
    }
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Self> {
        let file = open_log(path, false)?;
        let mut log = Self {
            file,
            path: path.to_owned(),
            len: 0,
            used: 0,
            stuck: 0,
            records: HashMap::new(),
            waiting: HashMap::new(),
        };
        log.load()?;
        log.used =
            MAGIC.len() as u64 + log.records.values().map(|span| u64::from(span.len)).sum::<u64>();
        log.rewrite_if_worth();
        Ok(log)
    }

    /// Indexes the records, and cuts the file after the last valid one.
    fn load(&mut self) -> io::Result<()> {
        let mut input = BufReader::new(&self.file);
        let mut magic = [0; MAGIC.len()];
        let is_ours = input.read_exact(&mut magic).is_ok() && magic == *MAGIC;
        self.len = MAGIC.len() as u64;
        if !is_ours {
            self.file.set_len(0)?;
            return self.file.write_all_at(MAGIC, 0);
        }
        while let Some(body) = next_record(&mut input)? {
            let span = RecordSpan { offset: self.len, len: record_len(&body) };
            match split_body(&body) {
                Some((_, path, [])) => drop(self.records.remove(&key_of(path))),
                Some((_, path, _)) => drop(self.records.insert(key_of(path), span)),
                None => {}
            }
            self.len += u64::from(span.len);
        }
        drop(input);
        self.file.set_len(self.len)
    }

    fn rewrite_if_worth(&mut self) {
        let is_worth = self.len > self.used.saturating_mul(2).saturating_add(WORTH_REWRITING);
        if !is_worth || self.len <= self.stuck.saturating_mul(2) {
            return;
        }
        let new = self.path.with_extension("new");
        self.stuck = 0;
        if let Err(error) = self.rewrite(&new) {
            tracing::debug!(path = %shown_path(&self.path), %error, "the cache of scans cannot be rewritten");
            self.stuck = self.len;
            // On a full disk an incomplete file would waste space. The file of another process must
            // not be removed.
            if error.kind() != io::ErrorKind::ResourceBusy {
                let _ = std::fs::remove_file(&new);
            }
        }
    }

    /// Writes a new file with the current records of files that exist.
    fn rewrite(&mut self, new: &Path) -> io::Result<()> {
        let file = open_log(new, true)?;
        let mut output = BufWriter::new(&file);
        output.write_all(MAGIC)?;
        let (mut len, mut records) = (MAGIC.len() as u64, HashMap::new());
        let mut in_order: Vec<(Key, RecordSpan)> =
            self.records.iter().map(|(key, span)| (*key, *span)).collect();
        in_order.sort_by_key(|(_, span)| span.offset);
        for (key, span) in in_order {
            let Some(body) = self.read(span)? else { continue };
            if split_body(&body).is_some_and(|(_, path, _)| is_there(path)) {
                output.write_all(&record(&body))?;
                records.insert(key, RecordSpan { offset: len, len: span.len });
                len += u64::from(span.len);
            }
        }
        output.flush()?;
        drop(output);
        file.sync_data()?;
        std::fs::rename(new, &self.path)?;
        let _ = sys::unlock(&self.file);
        (self.file, self.len, self.used, self.records) = (file, len, len, records);
        Ok(())
    }

    fn put(
        &mut self,
        path: &Path,
        fingerprint: FileFingerprint,
        info: &FileInfo,
    ) -> io::Result<()> {
        self.write_waiting(WRITTEN_AFTER)?;
        let key = key(path);
        if !self.records.contains_key(&key) {
            return self.write(path, fingerprint, Some(info));
        }
        let is_full = self.waiting.len() >= WAITING_AT_MOST;
        match self.waiting.get_mut(&key) {
            Some(waiting) => (waiting.fingerprint, waiting.info) = (fingerprint, info.clone()),
            None if is_full => return self.write(path, fingerprint, Some(info)),
            None => {
                let (path, info, since) = (path.to_owned(), info.clone(), Instant::now());
                self.waiting.insert(key, Waiting { path, fingerprint, info, since });
            }
        }
        Ok(())
    }

    /// Writes what has waited so long.
    fn write_waiting(&mut self, so_long: Duration) -> io::Result<()> {
        let due: Vec<Waiting> = self
            .waiting
            .extract_if(|_, waiting| waiting.since.elapsed() >= so_long)
            .map(|(_, due)| due)
            .collect();
        due.into_iter().try_for_each(|Waiting { path, fingerprint, info, .. }| {
            self.write(&path, fingerprint, Some(&info))
        })
    }

    /// A record without a description replaces the record of the path.
    fn forget(&mut self, path: &Path) -> io::Result<()> {
        let key = key(path);
        self.waiting.remove(&key);
        if self.records.contains_key(&key) {
            self.write(path, FileFingerprint::default(), None)?;
        }
        Ok(())
    }

    fn write(
        &mut self,
        path: &Path,
        fingerprint: FileFingerprint,
        info: Option<&FileInfo>,
    ) -> io::Result<()> {
        let path_bytes = path.as_os_str().as_bytes();
        let path_len = u32::try_from(path_bytes.len()).map_err(io::Error::other)?;
        let known = info.map(|info| encode(info, path)).unwrap_or_default();
        let body =
            [&to_bytes(fingerprint)[..], &path_len.to_le_bytes(), path_bytes, &known].concat();
        // No sync: a restart sees by the sum whether the record was written completely.
        self.file.write_all_at(&record(&body), self.len)?;
        let span = RecordSpan { offset: self.len, len: record_len(&body) };
        match info {
            Some(_) => drop(self.records.insert(key(path), span)),
            None => drop(self.records.remove(&key(path))),
        }
        self.len += u64::from(span.len);
        self.rewrite_if_worth();
        Ok(())
    }

    /// The body of a record; `None` if it was damaged meanwhile.
    fn read(&self, span: RecordSpan) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = vec![0; span.len as usize];
        self.file.read_exact_at(&mut bytes, span.offset)?;
        next_record(&mut bytes.as_slice())
    }
}

/// Opens and locks a cache file.
fn open_log(path: &Path, is_new: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(is_new).mode(0o600);
    // Another user may have put a link there while the directory was writable.
    options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    let file = options.open(path)?;
    if sys::lock_exclusive(&file)? != LockOutcome::Taken {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process uses it"));
    }
    Ok(file)
}

/// Whether something has that name; true also if that cannot be known.
fn is_there(path: &[u8]) -> bool {
    let looked = std::fs::symlink_metadata(Path::new(OsStr::from_bytes(path)));
    !looked.is_err_and(|error| {
        matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
    })
}

fn to_bytes(fingerprint: FileFingerprint) -> [u8; FINGERPRINT_LEN] {
    let FileFingerprint { inode, size, modified_ns, changed_ns } = fingerprint;
    let fields = [inode, size, modified_ns.cast_unsigned(), changed_ns.cast_unsigned()];
    let mut bytes = [0; FINGERPRINT_LEN];
    for (out, field) in bytes.chunks_exact_mut(8).zip(fields) {
        out.copy_from_slice(&field.to_le_bytes());
    }
    bytes
}

/// The fingerprint, the path and the description in a body.
fn split_body(body: &[u8]) -> Option<(&[u8; FINGERPRINT_LEN], &[u8], &[u8])> {
    let (fingerprint, body) = body.split_first_chunk::<FINGERPRINT_LEN>()?;
    let (len, body) = body.split_first_chunk::<4>()?;
    let (path, known) = body.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
    Some((fingerprint, path, known))
}

fn name_in(path: &Path) -> Option<FileName> {
    path.file_name().and_then(|name| FileName::from_os_str(name).ok())
}

fn encode(info: &FileInfo, path: &Path) -> Vec<u8> {
    let mut bytes = info.geometry().chunk_size().get().to_le_bytes().to_vec();
    if info.name() == name_in(path).as_ref() {
        bytes.extend_from_slice(&NAME_OF_PATH.to_le_bytes());
    } else {
        let name = info.name().map_or("", FileName::as_str);
        let len = u16::try_from(name.len()).expect("a file name is shorter");
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(name.as_bytes());
    }
    bytes.extend_from_slice(info.hash().as_bytes());
    // The sum of a single chunk is the hash.
    if info.sums().len() > 1 {
        info.sums().iter().for_each(|sum| bytes.extend_from_slice(sum.as_bytes()));
    }
    info.tail().path.iter().for_each(|value| bytes.extend_from_slice(value));
    bytes
}

/// Decodes the description of a file of that size and verifies it; the last bytes of the file are
/// read for that.
fn decode(known: &[u8], path: &Path, size: u64, file: &File) -> Option<FileInfo> {
    let (chunk_size, known) = known.split_first_chunk::<4>()?;
    let geometry =
        Geometry::new(size, ChunkSize::new(u32::from_le_bytes(*chunk_size)).ok()?).ok()?;
    let (name_len, known) = known.split_first_chunk::<2>()?;
    let (name, known) = match u16::from_le_bytes(*name_len) {
        NAME_OF_PATH => (name_in(path), known),
        0 => (None, known),
        len => {
            let (name, known) = known.split_at_checked(len.into())?;
            (Some(FileName::from_bytes(name).ok()?), known)
        }
    };
    let (hash, known) = known.split_first_chunk::<HASH_LEN>()?;
    let several = if geometry.chunk_count() > 1 { geometry.chunk_count() as usize } else { 0 };
    let (sums, tail_path) = known.split_at_checked(several.checked_mul(HASH_LEN)?)?;
    let (sums, _) = sums.as_chunks::<HASH_LEN>();
    let sums = match geometry.chunk_count() {
        1 => vec![ChunkSum::from_bytes(*hash)],
        _ => sums.iter().map(|sum| ChunkSum::from_bytes(*sum)).collect(),
    };
    let (tail_path, []) = tail_path.as_chunks::<HASH_LEN>() else { return None };
    let leaf_len = size.checked_sub(1).map_or(0, |last| last % Tail::MAX_LEAF_LEN as u64 + 1);
    let mut leaf = vec![0; usize::try_from(leaf_len).ok()?];
    file.read_exact_at(&mut leaf, size - leaf_len).ok()?;
    let tail = Tail { leaf, path: tail_path.to_vec() };
    FileInfo::from_parts(name, geometry, sums, tail, FileHash::from_bytes(*hash)).ok()
}

fn record(body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).expect("a description is shorter than 4 GiB");
    let mut bytes = [&len.to_le_bytes()[..], body].concat();
    bytes.extend_from_slice(&sum_of(body));
    bytes
}

fn record_len(body: &[u8]) -> u32 {
    u32::try_from(4 + body.len() + SUM_LEN).expect("a description is shorter than 4 GiB")
}

fn sum_of(body: &[u8]) -> [u8; SUM_LEN] {
    *blake3::hash(body).as_bytes().first_chunk().expect("a sum is longer")
}

/// The body of the next record; `None` if there is no valid one.
fn next_record(input: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut len = [0; 4];
    let len = match input.read_exact(&mut len) {
        Ok(()) => u32::from_le_bytes(len) as usize,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if len > MAX_RECORD_LEN {
        return Ok(None);
    }
    let mut body = Vec::new();
    input.by_ref().take((len + SUM_LEN) as u64).read_to_end(&mut body)?;
    let Some((_, sum)) = body.split_at_checked(len) else { return Ok(None) };
    let Ok(sum) = <[u8; SUM_LEN]>::try_from(sum) else { return Ok(None) };
    body.truncate(len);
    Ok((sum_of(&body) == sum).then_some(body))
}

fn key(path: &Path) -> Key {
    key_of(path.as_os_str().as_bytes())
}

fn key_of(path: &[u8]) -> Key {
    *blake3::hash(path).as_bytes().first_chunk().expect("a sum is longer")
}

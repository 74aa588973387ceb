//! What files were found to be, so that a restart need not read again what has not changed.
//!
//! A file of records, appended to. One record: `length: u32` of the body; the body; 16 bytes of its
//! BLAKE3 sum. A body: `inode, size: u64`, `modified, changed: i64` in nanoseconds; `path length:
//! u32`, path; and of a file of which something is known: `chunk size: u32`; `name length: u16`,
//! name, or 65535 for that in the path; hash; the sums of the chunks if there are several; the path
//! of the [`Tail`] without its leaf, which is read from the file. All numbers little-endian. A
//! later record of a path replaces an earlier one. What is torn or damaged ends the log: it is cut
//! there, and files behind it are read again.
//!
//! The log is never longer than twice what was of use when it was last written anew, and some KiB:
//! then it is written anew, without records that were replaced and files that are gone; where that
//! fails it stays as it is until it is twice as long. What becomes of a file that changes again and
//! again is written down once in a while.

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

use super::stamp::Stamp;
use super::sys::{self, Lock};

const MAGIC: &[u8; 8] = b"tnetscn\x02";

/// Bytes of inode, size and both times.
const STAMP_LEN: usize = 32;
const SUM_LEN: usize = 16;
const HASH_LEN: usize = 32;

/// The length of a name that is that of the file.
const NAME_OF_PATH: u16 = u16::MAX;

/// Bytes of the longest record that is read: a path of any length that a system takes, and any
/// description.
const MAX_RECORD_LEN: usize = STAMP_LEN + 4 + 64 * 1024 + MAX_FILEINFO_LEN;

/// A file that was changed so short a time before it was looked at may be changed once more without
/// looking different.
const UNSETTLED: Duration = Duration::from_secs(2);

/// A log is written anew when it is longer than twice what was of use, and this many bytes.
const WORTH_REWRITING: u64 = 64 * 1024;

/// What a file has become that was known before is written down after this, or at the end: it may
/// change again soon.
const WRITTEN_AFTER: Duration = Duration::from_secs(600);

/// Files of which that waits, at most. More are written down at once.
const WAITING_AT_MOST: usize = 1024;

/// Remembers scans in a file. Cheap to clone; it is opened at the first use, which blocks as all
/// others do.
#[derive(Debug, Clone)]
pub struct ScanLog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// None inside: it cannot be used, which has been said.
    book: OnceLock<Option<Mutex<Book>>>,
}

#[derive(Debug)]
struct Book {
    file: File,
    path: PathBuf,
    /// Bytes of records and the head.
    len: u64,
    /// Bytes that were of use when it was last written anew or opened.
    used: u64,
    /// How long it was when it could not be written anew.
    stuck: u64,
    /// By the sum of their paths: a million paths would fill the memory.
    places: HashMap<Key, Place>,
    /// What replaces a record and is not written down yet.
    waiting: HashMap<Key, Waiting>,
}

type Key = [u8; 16];

#[derive(Debug, Clone, Copy)]
struct Place {
    offset: u64,
    len: u32,
}

#[derive(Debug)]
struct Waiting {
    path: PathBuf,
    stamp: Stamp,
    info: FileInfo,
    since: Instant,
}

impl ScanLog {
    /// A log at `path`, which need not exist. If it cannot be used, every file is read, and that is
    /// said once.
    pub fn at(path: PathBuf) -> Self {
        Self(Arc::new(Shared { path, book: OnceLock::new() }))
    }

    /// What the open file at `path`, absolute, was found to be when it looked as it does now.
    pub fn recall(&self, path: &Path, metadata: &Metadata, file: &File) -> Option<FileInfo> {
        let stamp = Stamp::of(metadata);
        let book = self.book()?;
        if let Some(waiting) = book.waiting.get(&key(path)) {
            return (waiting.stamp == stamp).then(|| waiting.info.clone());
        }
        let place = *book.places.get(&key(path))?;
        let body = book.read(place).ok()??;
        drop(book);
        let (known_stamp, known_path, known) = split_body(&body)?;
        let is_same = *known_stamp == to_bytes(stamp) && known_path == path.as_os_str().as_bytes();
        is_same.then(|| decode(known, path, metadata.len(), file)).flatten()
    }

    /// From now on the file at `path`, absolute, is known to be `info` as long as it looks like
    /// this; unless it was changed just before `now`, the time since the Unix epoch.
    pub fn remember(&self, path: &Path, metadata: &Metadata, info: &FileInfo, now: Duration) {
        let stamp = Stamp::of(metadata);
        let settled = i128::try_from(now.saturating_sub(UNSETTLED).as_nanos()).unwrap_or(i128::MAX);
        if i128::from(stamp.modified_ns.max(stamp.changed_ns)) <= settled {
            self.put(path, stamp, info);
        }
    }

    /// The same for a file that this process has just written itself.
    pub fn remember_own(&self, path: &Path, metadata: &Metadata, info: &FileInfo) {
        self.put(path, Stamp::of(metadata), info);
    }

    /// From now on nothing is known of the file at `path`, absolute: its content changed without it
    /// looking different.
    pub fn forget(&self, path: &Path) {
        let Some(mut book) = self.book() else { return };
        if let Err(error) = book.forget(path) {
            tracing::warn!(path = %shown_path(&self.0.path), %error, "a scan that is wrong is still remembered");
        }
    }

    /// Writes down what has waited long enough. To be called once in a while.
    pub fn write_due(&self) {
        self.write_waiting(WRITTEN_AFTER);
    }

    pub(super) fn write_waiting(&self, so_long: Duration) {
        // One that nobody has used yet has nothing that waits.
        let Some(book) = self.0.book.get().and_then(Option::as_ref) else { return };
        let written = book.lock().unwrap_or_else(PoisonError::into_inner).write_waiting(so_long);
        if let Err(error) = written {
            tracing::debug!(path = %shown_path(&self.0.path), %error, "scans are not remembered");
        }
    }

    fn put(&self, path: &Path, stamp: Stamp, info: &FileInfo) {
        let Some(mut book) = self.book() else { return };
        if let Err(error) = book.put(path, stamp, info) {
            tracing::debug!(path = %shown_path(&self.0.path), %error, "a scan is not remembered");
        }
    }

    fn book(&self) -> Option<MutexGuard<'_, Book>> {
        let opened = self.0.book.get_or_init(|| match Book::open(&self.0.path) {
            Ok(book) => Some(Mutex::new(book)),
            Err(error) => {
                let path = shown_path(&self.0.path);
                tracing::warn!(%path, %error, "scans are not remembered: a restart reads every file again");
                None
            }
        });
        Some(opened.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Book {
    /// A child process that is being started has our descriptors for a moment, and with them the
    /// lock: closing the file does not end it.
    fn drop(&mut self) {
        if let Err(error) = self.write_waiting(Duration::ZERO) {
            tracing::debug!(path = %shown_path(&self.path), %error, "scans are not remembered");
        }
        // It ends with the last descriptor at the latest.
        let _ = sys::unlock(&self.file);
    }
}

impl Book {
    fn open(path: &Path) -> io::Result<Self> {
        let file = open_log(path, false)?;
        let mut book = Self {
            file,
            path: path.to_owned(),
            len: 0,
            used: 0,
            stuck: 0,
            places: HashMap::new(),
            waiting: HashMap::new(),
        };
        book.load()?;
        book.used = MAGIC.len() as u64
            + book.places.values().map(|place| u64::from(place.len)).sum::<u64>();
        book.rewrite_if_worth();
        Ok(book)
    }

    /// Finds the records, and cuts off what is none.
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
            let place = Place { offset: self.len, len: record_len(&body) };
            match split_body(&body) {
                Some((_, path, [])) => drop(self.places.remove(&key_of(path))),
                Some((_, path, _)) => drop(self.places.insert(key_of(path), place)),
                None => {}
            }
            self.len += u64::from(place.len);
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
            tracing::debug!(path = %shown_path(&self.path), %error, "scans are not written anew");
            self.stuck = self.len;
            // On a full disk a part of it would be in the way of everybody. Another process's is
            // not ours to remove.
            if error.kind() != io::ErrorKind::ResourceBusy {
                let _ = std::fs::remove_file(&new);
            }
        }
    }

    /// The same records without those that were replaced, and of files that are there.
    fn rewrite(&mut self, new: &Path) -> io::Result<()> {
        let file = open_log(new, true)?;
        let mut output = BufWriter::new(&file);
        output.write_all(MAGIC)?;
        let (mut len, mut places) = (MAGIC.len() as u64, HashMap::new());
        let mut in_order: Vec<(Key, Place)> =
            self.places.iter().map(|(key, place)| (*key, *place)).collect();
        in_order.sort_by_key(|(_, place)| place.offset);
        for (key, place) in in_order {
            let Some(body) = self.read(place)? else { continue };
            if split_body(&body).is_some_and(|(_, path, _)| is_there(path)) {
                output.write_all(&record(&body))?;
                places.insert(key, Place { offset: len, len: place.len });
                len += u64::from(place.len);
            }
        }
        output.flush()?;
        drop(output);
        file.sync_data()?;
        std::fs::rename(new, &self.path)?;
        let _ = sys::unlock(&self.file);
        (self.file, self.len, self.used, self.places) = (file, len, len, places);
        Ok(())
    }

    fn put(&mut self, path: &Path, stamp: Stamp, info: &FileInfo) -> io::Result<()> {
        self.write_waiting(WRITTEN_AFTER)?;
        let key = key(path);
        if !self.places.contains_key(&key) {
            return self.write(path, stamp, Some(info));
        }
        let is_full = self.waiting.len() >= WAITING_AT_MOST;
        match self.waiting.get_mut(&key) {
            Some(waiting) => (waiting.stamp, waiting.info) = (stamp, info.clone()),
            None if is_full => return self.write(path, stamp, Some(info)),
            None => {
                let (path, info, since) = (path.to_owned(), info.clone(), Instant::now());
                self.waiting.insert(key, Waiting { path, stamp, info, since });
            }
        }
        Ok(())
    }

    /// Writes down what has waited so long.
    fn write_waiting(&mut self, so_long: Duration) -> io::Result<()> {
        let due: Vec<Waiting> = self
            .waiting
            .extract_if(|_, waiting| waiting.since.elapsed() >= so_long)
            .map(|(_, due)| due)
            .collect();
        due.into_iter()
            .try_for_each(|Waiting { path, stamp, info, .. }| self.write(&path, stamp, Some(&info)))
    }

    /// A record without a description replaces what was known of the path.
    fn forget(&mut self, path: &Path) -> io::Result<()> {
        let key = key(path);
        self.waiting.remove(&key);
        if self.places.contains_key(&key) {
            self.write(path, Stamp::default(), None)?;
        }
        Ok(())
    }

    fn write(&mut self, path: &Path, stamp: Stamp, info: Option<&FileInfo>) -> io::Result<()> {
        let path_bytes = path.as_os_str().as_bytes();
        let path_len = u32::try_from(path_bytes.len()).map_err(io::Error::other)?;
        let known = info.map(|info| encode(info, path)).unwrap_or_default();
        let body = [&to_bytes(stamp)[..], &path_len.to_le_bytes(), path_bytes, &known].concat();
        // A restart sees by its sum whether all of it was written.
        self.file.write_all_at(&record(&body), self.len)?;
        let place = Place { offset: self.len, len: record_len(&body) };
        match info {
            Some(_) => drop(self.places.insert(key(path), place)),
            None => drop(self.places.remove(&key(path))),
        }
        self.len += u64::from(place.len);
        self.rewrite_if_worth();
        Ok(())
    }

    /// The body of a record; none if it was damaged meanwhile.
    fn read(&self, place: Place) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = vec![0; place.len as usize];
        self.file.read_exact_at(&mut bytes, place.offset)?;
        next_record(&mut bytes.as_slice())
    }
}

/// Opens and locks a log.
fn open_log(path: &Path, is_new: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(is_new).mode(0o600);
    // Others may have put a link there while they could.
    options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    let file = options.open(path)?;
    if sys::lock_exclusive(&file)? != Lock::Taken {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process uses it"));
    }
    Ok(file)
}

/// Whether something has that name; also where that cannot be known.
fn is_there(path: &[u8]) -> bool {
    let looked = std::fs::symlink_metadata(Path::new(OsStr::from_bytes(path)));
    !looked.is_err_and(|error| {
        matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
    })
}

fn to_bytes(stamp: Stamp) -> [u8; STAMP_LEN] {
    let Stamp { inode, size, modified_ns, changed_ns } = stamp;
    let fields = [inode, size, modified_ns.cast_unsigned(), changed_ns.cast_unsigned()];
    let mut bytes = [0; STAMP_LEN];
    for (place, field) in bytes.chunks_exact_mut(8).zip(fields) {
        place.copy_from_slice(&field.to_le_bytes());
    }
    bytes
}

/// The stamp, the path and the description in a body.
fn split_body(body: &[u8]) -> Option<(&[u8; STAMP_LEN], &[u8], &[u8])> {
    let (stamp, body) = body.split_first_chunk::<STAMP_LEN>()?;
    let (len, body) = body.split_first_chunk::<4>()?;
    let (path, known) = body.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
    Some((stamp, path, known))
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
    // The sum of an only chunk is the hash.
    if info.sums().len() > 1 {
        info.sums().iter().for_each(|sum| bytes.extend_from_slice(sum.as_bytes()));
    }
    info.tail().path.iter().for_each(|value| bytes.extend_from_slice(value));
    bytes
}

/// The description of a file of that size, which proves itself: its last bytes are read for that.
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

/// The body of the next record; none if there is none that can be believed.
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

//! What files were found to be, so that a restart need not read again what has not changed.
//!
//! A file of records, appended to. One record: `length: u32` of the rest without the sum; `device,
//! inode, size: u64`, `modified, changed: i64` in nanoseconds; `path length: u32`, path; the
//! `.fileinfo`; the BLAKE3 sum of all that, 32 bytes. All numbers little-endian. A later record of
//! a path replaces an earlier one. What is torn or damaged ends the log: it is cut there, and files
//! behind it are read again. A record without a description says that nothing is known of its path.
//! The time of change, which nobody can set, is in it beside that of modification, which a program
//! that copies a file may set to anything.

use std::collections::HashMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustix::fs::OFlags;
use tnet_fileinfo::{FileInfo, MAX_FILEINFO_LEN, shown_path};

use super::stamp::{Stamp, nanoseconds};
use super::sys::{self, Lock};

const MAGIC: &[u8; 8] = b"tnetscn\x01";

/// Bytes of device, inode, size and both times.
const STAMP_LEN: usize = 40;
const SUM_LEN: usize = 32;

/// Bytes of the longest record that is read: a path of any length that a system takes, and any description.
const MAX_RECORD_LEN: usize = STAMP_LEN + 4 + 64 * 1024 + MAX_FILEINFO_LEN;

/// A file that was changed so short a time before it was looked at may be changed once more without looking different.
const UNSETTLED: Duration = Duration::from_secs(2);

/// A log of which less than half is of use is written anew, if it is longer than this (bytes).
const WORTH_REWRITING: u64 = 1024 * 1024;

/// Remembers scans in a file. Cheap to clone; it is opened at the first use, which blocks as all others do.
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
    /// Bytes of records and the head.
    len: u64,
    /// By the sum of their paths: a million paths would fill the memory.
    places: HashMap<[u8; 16], Place>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    offset: u64,
    len: u32,
}

/// What tells that a file is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    stamp: Stamp,
    changed_ns: i64,
}

impl Look {
    fn of(metadata: &Metadata) -> Self {
        Self { stamp: Stamp::of(metadata), changed_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()) }
    }

    fn to_bytes(self) -> [u8; STAMP_LEN] {
        let Self { stamp: Stamp { device, inode, size, modified_ns }, changed_ns } = self;
        let fields = [device, inode, size, modified_ns.cast_unsigned(), changed_ns.cast_unsigned()];
        let mut bytes = [0; STAMP_LEN];
        for (place, field) in bytes.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }
}

impl ScanLog {
    /// A log at `path`, which need not exist. If it cannot be used, every file is read, and that is said once.
    pub fn at(path: PathBuf) -> Self {
        Self(Arc::new(Shared { path, book: OnceLock::new() }))
    }

    /// What the file at `path`, absolute, was found to be when it looked as it does now.
    pub fn recall(&self, path: &Path, metadata: &Metadata) -> Option<FileInfo> {
        let book = self.book()?;
        let place = *book.places.get(&key(path))?;
        let body = book.read(place).ok()??;
        drop(book);
        let (look, body) = body.split_at_checked(STAMP_LEN)?;
        let (path_len, body) = body.split_first_chunk::<4>()?;
        let (known, info) = body.split_at_checked(usize::try_from(u32::from_le_bytes(*path_len)).ok()?)?;
        let is_same = look == Look::of(metadata).to_bytes() && known == path.as_os_str().as_bytes();
        is_same.then(|| FileInfo::parse(info).ok()).flatten()
    }

    /// From now on the file at `path`, absolute, is known to be `info` as long as it looks like this; unless it was changed
    /// just before `now`, the time since the Unix epoch.
    pub fn remember(&self, path: &Path, metadata: &Metadata, info: &FileInfo, now: Duration) {
        let look = Look::of(metadata);
        let settled = i128::try_from(now.saturating_sub(UNSETTLED).as_nanos()).unwrap_or(i128::MAX);
        if i128::from(look.stamp.modified_ns.max(look.changed_ns)) <= settled {
            self.put(path, look, info);
        }
    }

    /// The same for a file that this process has just written itself.
    pub fn remember_own(&self, path: &Path, metadata: &Metadata, info: &FileInfo) {
        self.put(path, Look::of(metadata), info);
    }

    /// From now on nothing is known of the file at `path`, absolute: its content changed without it
    /// looking different.
    pub fn forget(&self, path: &Path) {
        let Some(mut book) = self.book() else { return };
        if let Err(error) = book.forget(path) {
            tracing::warn!(path = %shown_path(&self.0.path), %error, "a scan that is wrong is still remembered");
        }
    }

    fn put(&self, path: &Path, look: Look, info: &FileInfo) {
        let Some(mut book) = self.book() else { return };
        if let Err(error) = book.append(path, look, info) {
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
        // It ends with the last descriptor at the latest.
        let _ = sys::unlock(&self.file);
    }
}

impl Book {
    fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        // Others may have put a link there while they could.
        options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        let file = options.open(path)?;
        if sys::lock_exclusive(&file)? != Lock::Taken {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process uses it"));
        }
        let mut book = Self { file, len: 0, places: HashMap::new() };
        book.load()?;
        let used: u64 = book.places.values().map(|place| u64::from(place.len)).sum();
        if book.len > WORTH_REWRITING && used < book.len / 2 {
            book = book.rewritten(path)?;
        }
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
            if let Some(key) = key_in(&body) {
                self.places.insert(key, place);
            }
            self.len += u64::from(place.len);
        }
        drop(input);
        self.file.set_len(self.len)
    }

    /// The same records without those that were replaced.
    fn rewritten(self, path: &Path) -> io::Result<Self> {
        let new = path.with_extension("new");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let file = options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(&new)?;
        sys::lock_exclusive(&file)?;
        let mut output = BufWriter::new(&file);
        output.write_all(MAGIC)?;
        let (mut len, mut places) = (MAGIC.len() as u64, HashMap::new());
        for (key, place) in &self.places {
            if let Some(body) = self.read(*place)? {
                output.write_all(&record(&body))?;
                places.insert(*key, Place { offset: len, len: place.len });
                len += u64::from(place.len);
            }
        }
        output.flush()?;
        drop(output);
        std::fs::rename(&new, path)?;
        Ok(Self { file, len, places })
    }

    fn append(&mut self, path: &Path, look: Look, info: &FileInfo) -> io::Result<()> {
        self.write(path, &look.to_bytes(), info.to_json().as_bytes())
    }

    /// A record without a description replaces what was known of the path.
    fn forget(&mut self, path: &Path) -> io::Result<()> {
        if self.places.contains_key(&key(path)) {
            self.write(path, &[0; STAMP_LEN], &[])?;
            self.places.remove(&key(path));
        }
        Ok(())
    }

    fn write(&mut self, path: &Path, look: &[u8; STAMP_LEN], info: &[u8]) -> io::Result<()> {
        let path_bytes = path.as_os_str().as_bytes();
        let path_len = u32::try_from(path_bytes.len()).map_err(io::Error::other)?;
        let body = [&look[..], &path_len.to_le_bytes(), path_bytes, info].concat();
        // A restart sees by its sum whether all of it was written.
        self.file.write_all_at(&record(&body), self.len)?;
        let place = Place { offset: self.len, len: record_len(&body) };
        self.places.insert(key(path), place);
        self.len += u64::from(place.len);
        Ok(())
    }

    /// The body of a record; none if it was damaged meanwhile.
    fn read(&self, place: Place) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = vec![0; place.len as usize];
        self.file.read_exact_at(&mut bytes, place.offset)?;
        next_record(&mut bytes.as_slice())
    }
}

fn record(body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).expect("a description is shorter than 4 GiB");
    [&len.to_le_bytes()[..], body, blake3::hash(body).as_bytes()].concat()
}

fn record_len(body: &[u8]) -> u32 {
    u32::try_from(4 + body.len() + SUM_LEN).expect("a description is shorter than 4 GiB")
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
    Ok((blake3::hash(&body) == blake3::Hash::from_bytes(sum)).then_some(body))
}

fn key(path: &Path) -> [u8; 16] {
    key_of(path.as_os_str().as_bytes())
}

fn key_of(path: &[u8]) -> [u8; 16] {
    let mut key = [0; 16];
    key.copy_from_slice(blake3::hash(path).as_bytes().first_chunk::<16>().expect("a sum is longer"));
    key
}

fn key_in(body: &[u8]) -> Option<[u8; 16]> {
    let (_, body) = body.split_at_checked(STAMP_LEN)?;
    let (len, body) = body.split_first_chunk::<4>()?;
    Some(key_of(body.get(..usize::try_from(u32::from_le_bytes(*len)).ok()?)?))
}

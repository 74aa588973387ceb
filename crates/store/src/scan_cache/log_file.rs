//! The file of a scan cache, and the index of its records.
//!
//! It is rewritten when it is longer than twice its useful bytes plus 4 KiB, with the records of
//! files that are there. Useful is what it had when it was last rewritten, less what turned out to
//! be gone since: a record that was appended is not known to be of use for long. So its length is
//! bounded by what there was at the last rewrite, also over restarts, and rewriting costs no more
//! than the appended bytes. If it fails, the next attempt is made when the file is twice as long.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use tnet_fileinfo::{FileInfo, shown_path};

use super::presence::{Device, is_there, path_of};
use super::record::{self, Entry, Key, MAGIC, RecordSpan};
use crate::fingerprint::FileFingerprint;
use crate::sys::{self, LockOutcome};

/// The file is rewritten when it is longer than twice its useful bytes plus this many: so that a
/// short one is not rewritten for each file that changes.
const WORTH_REWRITING: u64 = 4 * 1024;

/// A new description of a known file is written after this time, or at the end: the file may change
/// again soon.
pub(super) const WRITTEN_AFTER: Duration = Duration::from_secs(600);

/// Descriptions that wait at most. Further ones are written at once.
const WAITING_AT_MOST: usize = 1024;

/// Records whose files are looked at in one step: less than a millisecond on a local disk.
const LOOKED_AT_ONCE: usize = 256;

#[derive(Debug)]
pub(super) struct LogFile {
    file: File,
    path: PathBuf,
    /// Bytes of records and the head.
    len: u64,
    /// Bytes of the records in `records` and the head.
    live: u64,
    /// The same when it was last rewritten, or less.
    used: u64,
    /// Its length when it could not be rewritten, in bytes.
    stuck: u64,
    records: HashMap<Key, Record>,
    /// New values of records that are not written yet.
    waiting: HashMap<Key, Waiting>,
    /// Where the next record is whose file is looked at.
    looked_until: u64,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    span: RecordSpan,
    /// What the directory of the file is on, if this process has seen the file.
    device: Option<Device>,
}

#[derive(Debug)]
struct Waiting {
    path: PathBuf,
    fingerprint: FileFingerprint,
    device: Option<Device>,
    info: FileInfo,
    since: Instant,
}

/// A file that was seen, and may be gone.
#[derive(Debug)]
pub(super) struct Seen {
    key: Key,
    span: RecordSpan,
    pub(super) path: PathBuf,
    pub(super) device: Device,
}

/// What becomes of the record of a file that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absent {
    /// It is kept: its disk may come back.
    Kept,
    Dropped,
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
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = open_log(path, false)?;
        let head = MAGIC.len() as u64;
        let mut log = Self {
            file,
            path: path.to_owned(),
            len: head,
            live: head,
            used: head,
            stuck: 0,
            records: HashMap::new(),
            waiting: HashMap::new(),
            looked_until: head,
        };
        log.load()?;
        log.rewrite_if_worth(Absent::Dropped);
        Ok(log)
    }

    /// Indexes the records, and cuts the file after the last valid one.
    fn load(&mut self) -> io::Result<()> {
        let file = self.file.try_clone()?;
        let mut input = BufReader::new(&file);
        let mut magic = [0; MAGIC.len()];
        let is_ours = input.read_exact(&mut magic).is_ok() && magic == *MAGIC;
        if !is_ours {
            self.file.set_len(0)?;
            return self.file.write_all_at(MAGIC, 0);
        }
        while let Some(body) = record::next_record(&mut input)? {
            let span = RecordSpan { offset: self.len, len: record::len_of(&body) };
            self.len = span.end();
            match Entry::of(&body) {
                Some(Entry::Described { path, .. }) => {
                    self.index(record::key_of(path), Record { span, device: None });
                }
                Some(Entry::Removed { path }) => self.unindex(&record::key_of(path)),
                Some(Entry::Rewritten) => self.used = self.live,
                None => {}
            }
        }
        self.used = self.used.min(self.live);
        self.file.set_len(self.len)
    }

    fn index(&mut self, key: Key, record: Record) {
        self.unindex(&key);
        self.live += u64::from(record.span.len);
        self.records.insert(key, record);
    }

    fn unindex(&mut self, key: &Key) {
        if let Some(record) = self.records.remove(key) {
            self.live -= u64::from(record.span.len);
        }
    }

    /// What waits to be written of a path.
    pub(super) fn waiting(&self, key: &Key) -> Option<(FileFingerprint, &FileInfo)> {
        self.waiting.get(key).map(|waiting| (waiting.fingerprint, &waiting.info))
    }

    /// The body of the record of a path, whose directory is on this device.
    pub(super) fn recall(&mut self, key: &Key, device: Option<Device>) -> Option<Vec<u8>> {
        let record = self.records.get_mut(key)?;
        record.device = device.or(record.device);
        let span = record.span;
        self.read(span).ok()?
    }

    pub(super) fn put(
        &mut self,
        path: &Path,
        device: Option<Device>,
        fingerprint: FileFingerprint,
        info: &FileInfo,
    ) -> io::Result<()> {
        self.write_waiting(WRITTEN_AFTER)?;
        let key = record::key(path);
        let is_full = self.waiting.len() >= WAITING_AT_MOST && !self.waiting.contains_key(&key);
        if is_full || !self.records.contains_key(&key) {
            // Its record may have been dropped while the file was away.
            self.waiting.remove(&key);
            return self.write(path, device, fingerprint, info);
        }
        let since = self.waiting.get(&key).map_or_else(Instant::now, |waiting| waiting.since);
        let (path, info) = (path.to_owned(), info.clone());
        self.waiting.insert(key, Waiting { path, fingerprint, device, info, since });
        Ok(())
    }

    /// Writes what has waited so long.
    pub(super) fn write_waiting(&mut self, so_long: Duration) -> io::Result<()> {
        let due: Vec<Waiting> = self
            .waiting
            .extract_if(|_, waiting| waiting.since.elapsed() >= so_long)
            .map(|(_, due)| due)
            .collect();
        due.into_iter().try_for_each(|Waiting { path, fingerprint, device, info, .. }| {
            self.write(&path, device, fingerprint, &info)
        })
    }

    /// A record without a description replaces the record of the path.
    pub(super) fn forget(&mut self, path: &Path) -> io::Result<()> {
        let key = record::key(path);
        self.waiting.remove(&key);
        if self.records.contains_key(&key) {
            self.append(&record::removed(path)?)?;
            self.unindex(&key);
            self.rewrite_if_worth(Absent::Dropped);
        }
        Ok(())
    }

    fn write(
        &mut self,
        path: &Path,
        device: Option<Device>,
        fingerprint: FileFingerprint,
        info: &FileInfo,
    ) -> io::Result<()> {
        let span = self.append(&record::described(path, fingerprint, info)?)?;
        self.index(record::key(path), Record { span, device });
        self.rewrite_if_worth(Absent::Dropped);
        Ok(())
    }

    fn append(&mut self, record: &[u8]) -> io::Result<RecordSpan> {
        let len = u32::try_from(record.len()).map_err(io::Error::other)?;
        // No sync: a restart sees by the sum whether the record was written completely.
        self.file.write_all_at(record, self.len)?;
        let span = RecordSpan { offset: self.len, len };
        self.len = span.end();
        Ok(span)
    }

    /// The next of the files that this process has seen, a few at a time and round and round; none
    /// while the file is so short that nothing would come of it.
    pub(super) fn next_seen(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        if self.len <= WORTH_REWRITING {
            return seen;
        }
        for _ in 0..LOOKED_AT_ONCE {
            let Ok(Some((len, path))) = record::front_at(&self.file, self.looked_until, self.len)
            else {
                self.looked_until = MAGIC.len() as u64;
                break;
            };
            let span = RecordSpan { offset: self.looked_until, len };
            self.looked_until = span.end();
            let key = record::key_of(&path);
            if let Some(Record { span: current, device: Some(device) }) = self.records.get(&key)
                && *current == span
            {
                seen.push(Seen { key, span, path: path_of(&path), device: *device });
            }
        }
        seen
    }

    /// These files are gone, and not with their disks.
    pub(super) fn drop_gone(&mut self, gone: &[Seen]) {
        for Seen { key, span, .. } in gone {
            if self.records.get(key).is_some_and(|record| record.span == *span) {
                self.unindex(key);
                self.waiting.remove(key);
            }
        }
        self.used = self.used.min(self.live);
        self.rewrite_if_worth(Absent::Kept);
    }

    fn rewrite_if_worth(&mut self, absent: Absent) {
        let is_worth = self.len > self.used.saturating_mul(2).saturating_add(WORTH_REWRITING);
        if !is_worth || self.len <= self.stuck.saturating_mul(2) {
            return;
        }
        let new = self.path.with_extension("new");
        self.stuck = 0;
        if let Err(error) = self.rewrite(&new, absent) {
            tracing::debug!(path = %shown_path(&self.path), %error, "the cache of scans cannot be rewritten");
            self.stuck = self.len;
            // On a full disk an incomplete file would waste space. The file of another process must
            // not be removed.
            if error.kind() != io::ErrorKind::ResourceBusy {
                let _ = std::fs::remove_file(&new);
            }
        }
    }

    /// Writes a new file with the current records.
    fn rewrite(&mut self, new: &Path, absent: Absent) -> io::Result<()> {
        let file = open_log(new, true)?;
        let mut output = BufWriter::new(&file);
        output.write_all(MAGIC)?;
        let (mut used, mut records) = (MAGIC.len() as u64, HashMap::new());
        let mut in_order: Vec<(Key, Record)> =
            self.records.iter().map(|(key, record)| (*key, *record)).collect();
        in_order.sort_by_key(|(_, record)| record.span.offset);
        for (key, record) in in_order {
            let Some(body) = self.read(record.span)? else { continue };
            let Some(Entry::Described { path, .. }) = Entry::of(&body) else { continue };
            if absent == Absent::Kept || is_there(&path_of(path)) {
                output.write_all(&record::sealed(&body)?)?;
                let span = RecordSpan { offset: used, len: record.span.len };
                used = span.end();
                records.insert(key, Record { span, ..record });
            }
        }
        let mark = record::rewritten()?;
        output.write_all(&mark)?;
        output.flush()?;
        drop(output);
        file.sync_data()?;
        std::fs::rename(new, &self.path)?;
        let _ = sys::unlock(&self.file);
        self.len = used + mark.len() as u64;
        (self.file, self.live, self.used, self.records) = (file, used, used, records);
        self.looked_until = MAGIC.len() as u64;
        Ok(())
    }

    /// The body of a record; `None` if it was damaged meanwhile.
    fn read(&self, span: RecordSpan) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = vec![0; span.len as usize];
        self.file.read_exact_at(&mut bytes, span.offset)?;
        record::next_record(&mut bytes.as_slice())
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

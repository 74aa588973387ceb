//! Remembers the descriptions of files, so that a restart need not read unchanged files again.
//!
//! What is remembered is in a file of records, which is rewritten when it is longer than what is
//! there warrants: files that are gone leave it within a few looks. A file that changes often is
//! recorded only every 10 minutes.

mod log_file;
mod presence;
mod record;

use std::fs::{File, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tnet_fileinfo::{FileInfo, shown_path};

use super::fingerprint::FileFingerprint;
use log_file::{LogFile, WRITTEN_AFTER};
use presence::{Device, is_gone};
use record::Entry;

/// A file that was changed so recently may be changed once more without another time stamp.
const UNSETTLED: Duration = Duration::from_secs(2);

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
        let (key, device) = (record::key(path), Device::of_directory(path));
        let mut log = self.log()?;
        if let Some((known, info)) = log.waiting(&key) {
            return (known == fingerprint).then(|| info.clone());
        }
        let body = log.recall(&key, device)?;
        drop(log);
        let Some(Entry::Described { path: known_path, fingerprint: known, description }) =
            Entry::of(&body)
        else {
            return None;
        };
        let is_same =
            *known == record::to_bytes(fingerprint) && known_path == path.as_os_str().as_bytes();
        is_same.then(|| record::decode(description, path, metadata.len(), file)).flatten()
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

    /// Writes records that have waited long enough, and looks at the next few files, of which those
    /// that are gone are forgotten. Call it now and then; one call takes about a millisecond.
    pub fn tidy_up(&self) {
        self.write_waiting(WRITTEN_AFTER);
        let Some(mut log) = self.log_in_use() else { return };
        let mut seen = log.next_seen();
        drop(log);
        // Not under the lock: a dead network file system would block all others.
        seen.retain(|file| is_gone(&file.path, file.device));
        if !seen.is_empty()
            && let Some(mut log) = self.log_in_use()
        {
            log.drop_gone(&seen);
        }
    }

    pub(super) fn write_waiting(&self, so_long: Duration) {
        let Some(mut log) = self.log_in_use() else { return };
        if let Err(error) = log.write_waiting(so_long) {
            tracing::debug!(path = %shown_path(&self.0.path), %error, "scans are not cached");
        }
    }

    fn put(&self, path: &Path, fingerprint: FileFingerprint, info: &FileInfo) {
        let device = Device::of_directory(path);
        let Some(mut log) = self.log() else { return };
        if let Err(error) = log.put(path, device, fingerprint, info) {
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

    /// A cache that was never used has nothing to write and nothing to forget.
    fn log_in_use(&self) -> Option<MutexGuard<'_, LogFile>> {
        let log = self.0.log.get()?.as_ref()?;
        Some(log.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

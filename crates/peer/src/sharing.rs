//! Describes a file that is to be shared. What is remembered of an earlier time is not read again.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tnet_fileinfo::{FileInfo, ScanError};
use tnet_net::wall_clock;
use tokio_util::sync::CancellationToken;

use crate::api::ShareError;
use crate::store::{Candidate, FileFingerprint, FileStore, ScanCache, SharedRoot};
use crate::thread_pool::{blocking, go_on_until};

/// After so many bytes it is looked whether the file is still what is to be described.
const LOOK_EVERY: u64 = 64 * 1024 * 1024;

/// What describing needs besides the file.
#[derive(Debug, Clone)]
pub(crate) struct Scanner {
    pub(crate) scans: Option<ScanCache>,
    pub(crate) stop: CancellationToken,
}

impl Scanner {
    /// The file at a path that the user named.
    pub(crate) async fn named(&self, path: PathBuf) -> Result<FileStore, ShareError> {
        let this = self.clone();
        blocking(move || this.describe(Candidate::named(&path)?)).await
    }

    /// The file that was `seen` at a path inside a shared directory.
    pub(crate) async fn inside(
        &self,
        root: Arc<SharedRoot>,
        path: PathBuf,
        seen: FileFingerprint,
    ) -> Result<FileStore, ShareError> {
        let this = self.clone();
        blocking(move || this.describe(Candidate::inside(&root, &path, seen)?)).await
    }

    fn describe(&self, candidate: Candidate) -> Result<FileStore, ShareError> {
        let now = wall_clock();
        let recall = |scans: &ScanCache| {
            scans.recall(candidate.path(), candidate.metadata(), candidate.file())
        };
        let known = self.scans.as_ref().and_then(recall);
        let is_new = known.is_none();
        let info = match known {
            Some(info) => info,
            None => self.scan(&candidate)?,
        };
        let metadata = candidate.metadata().clone();
        let store = candidate.into_store(&info)?;
        if let Some(scans) = self.scans.as_ref().filter(|_| is_new) {
            scans.remember(store.path(), &metadata, &info, now);
        }
        Ok(store)
    }

    /// Reads it, as long as that is of use: a file that is deleted meanwhile is to give its space
    /// back.
    fn scan(&self, candidate: &Candidate) -> Result<FileInfo, ScanError> {
        let unlooked = AtomicU64::new(0);
        let is_other = AtomicBool::new(false);
        let scanned = candidate.scan(&|bytes| {
            if unlooked.fetch_add(bytes, Ordering::Relaxed) + bytes >= LOOK_EVERY {
                unlooked.store(0, Ordering::Relaxed);
                if !candidate.is_as_it_was() {
                    is_other.store(true, Ordering::Relaxed);
                    return ControlFlow::Break(());
                }
            }
            go_on_until(&self.stop)
        });
        match scanned {
            Err(ScanError::Cancelled) if is_other.into_inner() => Err(ScanError::Changed),
            scanned => scanned,
        }
    }
}

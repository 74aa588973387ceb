//! Describes a file that is to be shared. What is remembered of an earlier time is not read again.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::api::ShareError;
use crate::dir_share::wall_clock;
use crate::peer::{blocking, go_on_until};
use crate::store::{Candidate, FileStore, ScanLog, SharedRoot, Stamp};

/// What describing needs besides the file.
#[derive(Debug, Clone)]
pub(crate) struct Scanner {
    pub(crate) scans: Option<ScanLog>,
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
        seen: Stamp,
    ) -> Result<FileStore, ShareError> {
        let this = self.clone();
        blocking(move || this.describe(Candidate::inside(&root, &path, seen)?)).await
    }

    fn describe(&self, candidate: Candidate) -> Result<FileStore, ShareError> {
        let now = wall_clock();
        let known =
            self.scans.as_ref().and_then(|scans| scans.recall(candidate.path(), candidate.metadata()));
        let is_new = known.is_none();
        let info = match known {
            Some(info) => info,
            None => candidate.scan(&|_| go_on_until(&self.stop))?,
        };
        let metadata = candidate.metadata().clone();
        let store = candidate.into_store(&info)?;
        if let Some(scans) = self.scans.as_ref().filter(|_| is_new) {
            scans.remember(store.path(), &metadata, &info, now);
        }
        Ok(store)
    }
}

//! Begins a download: opens its target, takes what is on this machine already, and hands the rest
//! to the engine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tnet_fileinfo::FileInfo;
use tnet_fileinfo::tree::Layout;
use tnet_swarm::Time;
use tokio_util::sync::CancellationToken;

use super::Peer;
use crate::adopt_local;
use crate::api::{DownloadError, PeerGone};
use crate::config::DownloadOptions;
use crate::download::Download;
use crate::engine::{Command, Finished, StartDownload};
use crate::store::{self, FileStore, Opened};
use crate::thread_pool::{blocking, go_on_until};

/// A target for which there is no descriptor is opened again after this, or when there are some.
const OPEN_AGAIN_AFTER: Duration = Duration::from_secs(10);

impl Peer {
    /// Downloads a file to `out`, with default options.
    ///
    /// # Errors
    /// See [`download_with`](Peer::download_with).
    pub async fn download(
        &self,
        info: FileInfo,
        out: impl AsRef<Path>,
    ) -> Result<Download, DownloadError> {
        self.download_with(info, out, DownloadOptions::default()).await
    }

    /// Downloads a file to `out`; until it is whole it lives in `OUT.partial`, and chunks that are
    /// there already are not fetched again. Goes on even if the handle is dropped, and serves the
    /// file when it is whole.
    ///
    /// # Errors
    /// The target cannot be written, or exists with another content and is not to be replaced.
    /// Later errors come from [`Download::finished`].
    pub async fn download_with(
        &self,
        info: FileInfo,
        out: impl AsRef<Path>,
        options: DownloadOptions,
    ) -> Result<Download, DownloadError> {
        self.download_until(info, out.as_ref(), options, &self.stop).await
    }

    /// The same, if it has begun before `stop`, a [token](Self::stop_token) of this peer, is
    /// cancelled. If not, the target is free when that is answered.
    pub async fn download_until(
        &self,
        info: FileInfo,
        out: &Path,
        options: DownloadOptions,
        stop: &CancellationToken,
    ) -> Result<Download, DownloadError> {
        self.begin(info, None, out, options, stop).await
    }

    /// The same for a file, or for the payload of the tree with this layout.
    pub(super) async fn begin(
        &self,
        info: FileInfo,
        tree: Option<Arc<Layout>>,
        out: &Path,
        options: DownloadOptions,
        stop: &CancellationToken,
    ) -> Result<Download, DownloadError> {
        let (hash, began) = (info.hash(), self.clock.now());
        if let Some(out) = self.ask(|done| Command::Running { hash, done }).await? {
            return Err(DownloadError::AlreadyRunning { hash, out });
        }
        let out = out.to_owned();
        let existing =
            if options.overwrite { store::OnExisting::Replace } else { store::OnExisting::Refuse };
        let target = || store::DownloadOptions {
            existing,
            directory: options.directory.clone(),
            mode: options.mode,
            disks: self.disks.clone(),
            tree: tree.clone(),
            update: options.update,
            reuse: options.reuse.clone(),
        };
        let open = || open_target(info.clone(), out.clone(), target(), stop.clone());
        let mut opened = open().await;
        while let Err(error) = &opened
            && self.descriptors.note_cause(error)
        {
            let patience = options
                .give_up_after
                .unwrap_or(Duration::MAX)
                .saturating_sub(self.clock.now() - began);
            if let Some(shortage) = self.descriptors.shortage().filter(|_| patience.is_zero()) {
                return Err(DownloadError::OutOfDescriptors(shortage));
            }
            let available = self.descriptors.available(patience.min(OPEN_AGAIN_AFTER));
            stop.run_until_cancelled(available).await.ok_or(DownloadError::Cancelled)?;
            opened = open().await;
        }
        let download = match opened? {
            Opened::Complete(file) => return self.share_download(file, info, out, began).await,
            Opened::Partial(download, _) => Arc::new(download),
        };
        // The content may be on this machine already, under another name.
        if let Some(source) = self.ask(|done| Command::Find { hash, done }).await?
            && let Some(file) = adopt_local::copy(source, Arc::clone(&download), stop.clone()).await
        {
            return self.share_download(file, info, out, began).await;
        }
        if stop.is_cancelled() {
            // What was copied is kept. What cannot be saved is copied again.
            let _ = blocking(move || Ok::<_, PeerGone>(download.abandon())).await;
            return Err(DownloadError::Cancelled);
        }
        let start = |done| {
            Command::Download(Box::new(StartDownload {
                info: info.clone(),
                store: download,
                options,
                done,
            }))
        };
        let handle = self.ask(start).await??;
        Ok(Download::new(info, out, handle, self.commands.clone()))
    }

    /// A download of a content that is here in full: it is shared.
    async fn share_download(
        &self,
        file: FileStore,
        info: FileInfo,
        out: PathBuf,
        began: Time,
    ) -> Result<Download, DownloadError> {
        let path = file.path().to_path_buf();
        let Finished { whole, manifest } =
            blocking(move || Ok::<_, DownloadError>(Finished::of(file))).await?;
        self.send(match manifest {
            None => Command::Share { file: whole },
            Some(manifest) => Command::ShareTree { payload: whole, manifest },
        })
        .await?;
        let elapsed = self.clock.now() - began;
        Ok(Download::complete(info, out, path, elapsed, self.commands.clone()))
    }
}

async fn open_target(
    info: FileInfo,
    out: PathBuf,
    options: store::DownloadOptions,
    stop: CancellationToken,
) -> Result<Opened, DownloadError> {
    blocking(move || Ok(store::Download::open(&info, &out, options, &|_| go_on_until(&stop))?))
        .await
}

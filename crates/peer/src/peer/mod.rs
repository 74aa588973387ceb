//! A running peer: the handle through which the process that embeds it uses the engine.

mod begin_download;
mod builder;
mod fetch_info;
mod trees;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tnet_fileinfo::{FileHash, FileInfo};
use tnet_infosearch::Askers;
use tnet_net::{Advertise, Clock, Descriptors};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::api::{
    FileChange, FileCursor, FilesPage, Limits, LimitsChange, PeerGone, ShareError, Status,
};
use crate::config::Config;
use crate::dir_share::{self, DirShare};
use crate::engine::Command;
use crate::share::WatchOptions;
use crate::sharing::Scanner;
use crate::store::{self, ScanCache};

pub use builder::PeerBuilder;
pub use trees::{SharedTree, WantedTree};

/// How long goodbyes may take.
const FAREWELL: Duration = Duration::from_millis(1500);

/// A running peer. Downloads and serves until it is shut down or dropped; then nothing of it is
/// left but the files.
///
/// Dropping it is like pulling the plug: connections break without a word, and what a download had
/// not synced is looked at again when it is resumed. [`shutdown`](Peer::shutdown) says goodbye and
/// saves.
#[derive(Debug)]
pub struct Peer {
    commands: mpsc::Sender<Command>,
    listen: SocketAddr,
    config: Config,
    scans: Option<ScanCache>,
    disks: store::Disks,
    askers: Askers,
    clock: Clock,
    descriptors: Descriptors,
    /// Sessions and the coordinator connection, which end by themselves after a goodbye.
    connections: TaskTracker,
    /// Everything else.
    services: TaskTracker,
    stop: CancellationToken,
    /// Ends calls, and connections without a hello; a child of `stop`.
    stop_calls: CancellationToken,
    _stop_on_drop: DropGuard,
}

impl Peer {
    /// Where its user says that others reach it.
    pub fn advertise(&self) -> Option<Advertise> {
        self.config.advertise
    }

    /// Where peers are accepted, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.listen
    }

    /// Reads a file, describes it, and serves it until it is changed or removed.
    ///
    /// # Errors
    /// The file cannot be read, or changed while it was.
    pub async fn share(&self, path: impl AsRef<Path>) -> Result<FileInfo, ShareError> {
        let store = self.scanner().named(path.as_ref().to_owned()).await?;
        let info = store.info().clone();
        self.send(Command::Share { file: Box::new(store) }).await?;
        Ok(info)
    }

    /// A token that is cancelled with the peer, and may be cancelled before it.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.child_token()
    }

    /// Serves every file in a directory, and keeps noticing new, changed and deleted ones until the
    /// peer ends.
    ///
    /// # Errors
    /// The directory is not there, cannot be read, or others could put files into it; or the peer
    /// has been shut down.
    pub async fn share_dir(
        &self,
        dir: impl AsRef<Path>,
        options: WatchOptions,
    ) -> Result<(), ShareError> {
        let most_files = options.max_files as u64;
        let watch = dir_share::open(dir.as_ref().to_owned(), options).await?;
        self.send(Command::SharesDir { most_files }).await?;
        let sharing = DirShare {
            watch,
            interval: self.config.share_interval,
            scanner: self.scanner(),
            commands: self.commands.clone(),
            descriptors: self.descriptors.clone(),
        };
        self.services.spawn(self.stop.clone().run_until_cancelled_owned(sharing.run()));
        Ok(())
    }

    /// Stops serving or downloading a content. The file stays where it is, or what of it arrived.
    /// Answers whether it was known.
    ///
    /// # Errors
    /// The peer has been shut down.
    pub async fn unshare(&self, hash: FileHash) -> Result<bool, PeerGone> {
        // When this is answered, what arrived is saved and its target is free.
        let was_running = self.ask(|done| Command::Running { hash, done }).await?.is_some();
        if was_running {
            self.ask(|done| Command::CancelDownload { hash, done }).await?;
        }
        Ok(self.ask(|done| Command::Unshare { hash, done }).await? || was_running)
    }

    /// New rates of the whole peer, from now on. Answers what they are then.
    ///
    /// # Errors
    /// The peer has been shut down.
    pub async fn limit(&self, change: LimitsChange) -> Result<Limits, PeerGone> {
        self.ask(|done| Command::Limit { change, done }).await
    }

    /// Changes the settings of a content: its rate limits, its priority, a pause. Answers whether
    /// it is known.
    ///
    /// # Errors
    /// The peer has been shut down.
    pub async fn update_file(&self, hash: FileHash, change: FileChange) -> Result<bool, PeerGone> {
        self.ask(|done| Command::UpdateFile { hash, change, done }).await
    }

    /// What time it is for deadlines.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// A picture of everything.
    ///
    /// # Errors
    /// The peer has been shut down.
    pub async fn status(&self) -> Result<Status, PeerGone> {
        self.status_of(usize::MAX).await
    }

    /// A picture of everything but the files, and at most so many of those: what is being
    /// downloaded, then what was sent or received last, then others. It takes no longer with more
    /// files, so it may be asked for again and again.
    ///
    /// # Errors
    /// The peer has been shut down.
    pub async fn status_of(&self, most_files: usize) -> Result<Status, PeerGone> {
        self.ask(|done| Command::Status { most_files, done }).await
    }

    /// At most `most` files, from the one after `after` on.
    ///
    /// # Errors
    /// The peer has been shut down.
    pub async fn files_page(
        &self,
        after: Option<FileCursor>,
        most: usize,
    ) -> Result<FilesPage, PeerGone> {
        let after = after.map(|cursor| cursor.0);
        self.ask(|done| Command::Files { after, most, done }).await
    }

    /// Until nothing can be asked of it any more: it ended by itself.
    pub async fn gone(&self) {
        self.commands.closed().await;
    }

    /// Saves downloads for resuming, says goodbye, and waits until nothing is left, for a bounded
    /// time.
    pub async fn shutdown(self) {
        let _ = self.ask(|done| Command::Shutdown { done }).await;
        self.stop_calls.cancel();
        self.connections.close();
        let _ = timeout(FAREWELL, self.connections.wait()).await;
        self.stop.cancel();
        self.services.close();
        let all = async {
            self.connections.wait().await;
            self.services.wait().await;
        };
        let _ = timeout(self.config.shutdown_within, all).await;
    }

    /// Has the engine end as by a fault of ours.
    #[cfg(any(test, feature = "testing"))]
    #[doc(hidden)]
    pub async fn panic(&self) {
        let _ = self.send(Command::Panic).await;
    }

    fn scanner(&self) -> Scanner {
        Scanner { scans: self.scans.clone(), stop: self.stop.clone() }
    }

    async fn send(&self, command: Command) -> Result<(), PeerGone> {
        self.commands.send(command).await.map_err(|_| PeerGone)
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, PeerGone> {
        let (done, answer) = oneshot::channel();
        self.send(command(done)).await?;
        answer.await.map_err(|_| PeerGone)
    }
}

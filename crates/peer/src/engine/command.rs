//! What the owner of a peer asks of its engine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tnet_fileinfo::{ChunkSet, FileHash, FileInfo};
use tokio::sync::oneshot;

use super::Engine;
use super::downloads::Followed;
use crate::api::{DownloadError, Status};
use crate::config::DownloadOptions;
use crate::source::Source;
use crate::store::{self, FileStore};

pub(crate) enum Command {
    /// Serve this whole file.
    Share {
        file: FileStore,
    },
    /// Serve the file at this path no longer.
    UnsharePath {
        path: PathBuf,
    },
    /// Serve or download this content no longer. Answers whether it was known.
    Unshare {
        hash: FileHash,
        done: oneshot::Sender<bool>,
    },
    /// Whether this content is here in full, and where it is.
    Find {
        hash: FileHash,
        done: oneshot::Sender<Option<Source>>,
    },
    /// Whether a download of this content is running, and where to.
    Running {
        hash: FileHash,
        done: oneshot::Sender<Option<PathBuf>>,
    },
    Download(Box<StartDownload>),
    CancelDownload {
        hash: FileHash,
        done: oneshot::Sender<()>,
    },
    /// Who holds this file, by the coordinator? Answered when it answers.
    FindHolders {
        hash: FileHash,
        done: oneshot::Sender<Vec<SocketAddr>>,
    },
    Status {
        done: oneshot::Sender<Status>,
    },
    Shutdown {
        done: oneshot::Sender<()>,
    },
}

/// A download whose target is open.
pub(crate) struct StartDownload {
    pub(crate) info: FileInfo,
    pub(crate) store: Arc<store::Download>,
    pub(crate) stored: ChunkSet,
    pub(crate) options: DownloadOptions,
    pub(crate) done: oneshot::Sender<Result<Followed, DownloadError>>,
}

impl Engine {
    /// An answer that nobody waits for any more is dropped.
    pub(super) fn on_command(&mut self, command: Command) {
        match command {
            Command::Share { file } => self.share(file),
            Command::UnsharePath { path } => self.unshare_path(&path),
            Command::Unshare { hash, done } => {
                let _ = done.send(self.unshare(&hash));
            }
            Command::Find { hash, done } => {
                let _ = done.send(self.whole_source(&hash));
            }
            Command::Running { hash, done } => {
                let _ = done.send(self.running(&hash));
            }
            Command::Download(start) => self.start_download(*start),
            Command::CancelDownload { hash, done } => self.cancel_download(&hash, Some(done)),
            Command::FindHolders { hash, done } => self.find_holders(hash, done),
            Command::Status { done } => {
                let _ = done.send(self.status());
            }
            Command::Shutdown { .. } => unreachable!("the engine's loop ends at a shutdown"),
        }
    }
}

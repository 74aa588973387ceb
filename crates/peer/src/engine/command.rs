//! What the owner of a peer asks of its engine.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tnet_fileinfo::{FileHash, FileInfo};
use tnet_infosearch::Found;
use tnet_store::ChunkSource;
use tnet_swarm::FileKey;
use tokio::sync::oneshot;

use super::Engine;
use super::downloads::DownloadHandle;
use super::patience::SearchEnd;
use crate::api::{DownloadError, FileChange, FilesPage, Limits, LimitsChange, Status};
use crate::config::DownloadOptions;
use crate::share::LeftOut;
use crate::store::{self, FileStore};

pub(crate) enum Command {
    /// Serve this whole file.
    Share {
        file: Box<FileStore>,
    },
    /// Serve this tree: its payload, and its manifest.
    ShareTree {
        payload: Box<FileStore>,
        manifest: Box<FileStore>,
    },
    /// Serve the file at this path no longer.
    UnsharePath {
        path: PathBuf,
    },
    /// Serve or download this content no longer; with the manifest of a tree, its payload neither.
    /// Answers whether it was known.
    Unshare {
        hash: FileHash,
        done: oneshot::Sender<bool>,
    },
    /// Whether this content is here in full, and where it is.
    Find {
        hash: FileHash,
        done: oneshot::Sender<Option<ChunkSource>>,
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
    /// New limits of the whole process; answers what they are then.
    Limit {
        change: LimitsChange,
        done: oneshot::Sender<Limits>,
    },
    /// Change the settings of this content. Answers whether it was known.
    UpdateFile {
        hash: FileHash,
        change: FileChange,
        done: oneshot::Sender<bool>,
    },
    /// Who holds this file, by the coordinator? Answered when it answers.
    FindHolders {
        hash: FileHash,
        done: oneshot::Sender<Found>,
    },
    /// Answered when a search for a description that begins now, and finds none, has lasted long
    /// enough. `asked` counts the peers that it asks.
    AwaitSearchEnd {
        within: Duration,
        asked: Arc<AtomicUsize>,
        done: oneshot::Sender<SearchEnd>,
    },
    /// A picture with at most so many files.
    Status {
        most_files: usize,
        done: oneshot::Sender<Status>,
    },
    /// At most so many files, from the one after this on.
    Files {
        after: Option<FileKey>,
        most: usize,
        done: oneshot::Sender<FilesPage>,
    },
    /// A shared directory gives at most so many files.
    SharesDir {
        most_files: u64,
    },
    /// In this shared directory, this is not shared.
    LeavesOut {
        dir: PathBuf,
        left_out: Vec<LeftOut>,
    },
    Shutdown {
        done: oneshot::Sender<()>,
    },
    /// End as by a fault of ours.
    #[cfg(any(test, feature = "testing"))]
    Panic,
}

/// A download whose target is open.
pub(crate) struct StartDownload {
    pub(crate) info: FileInfo,
    pub(crate) store: Arc<store::Download>,
    pub(crate) options: DownloadOptions,
    pub(crate) done: oneshot::Sender<Result<DownloadHandle, DownloadError>>,
}

impl Engine {
    /// An answer whose receiver is gone is dropped.
    pub(super) fn on_command(&mut self, command: Command) {
        match command {
            Command::Share { file } => self.share(*file),
            Command::ShareTree { payload, manifest } => self.share_tree(*payload, *manifest),
            Command::UnsharePath { path } => self.unshare_path(&path),
            Command::Unshare { hash, done } => {
                let _ = done.send(self.unshare_all(&hash));
            }
            Command::Find { hash, done } => {
                let _ = done.send(self.whole_source(&hash));
            }
            Command::Running { hash, done } => {
                let _ = done.send(self.running_target(&hash));
            }
            Command::Download(start) => self.start_download(*start),
            Command::CancelDownload { hash, done } => self.cancel_download(&hash, Some(done)),
            Command::Limit { change, done } => {
                let _ = done.send(self.limit(change));
            }
            Command::UpdateFile { hash, change, done } => {
                let _ = done.send(self.update_file(&hash, change));
            }
            Command::FindHolders { hash, done } => self.find_holders(hash, done),
            Command::AwaitSearchEnd { within, asked, done } => {
                self.await_search_end(within, asked, done)
            }
            Command::Status { most_files, done } => {
                let _ = done.send(self.status(most_files));
            }
            Command::Files { after, most, done } => {
                let _ = done.send(self.files_page(after, most));
            }
            Command::SharesDir { most_files } => {
                self.dir_files_most = self.dir_files_most.saturating_add(most_files);
            }
            Command::LeavesOut { dir, left_out } => drop(self.left_out.insert(dir, left_out)),
            #[cfg(any(test, feature = "testing"))]
            Command::Panic => panic!("asked for by a test"),
            Command::Shutdown { .. } => unreachable!("the engine's loop ends at a shutdown"),
        }
    }
}

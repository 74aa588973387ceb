//! The downloads that were handed to the server. Each has one task and any number of followers. A
//! content is downloaded once at a time: a download of it to another path waits, then copies it.

use std::collections::HashMap;
use std::future::pending;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tnet_fileinfo::tree::Manifest;
use tnet_fileinfo::{FileHash, FileInfo, shown_path};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::content_queue::{ContentQueue, OpenDirectories, QueueHead};
use super::download_state::DownloadState;
use super::error::{Fault, FaultKind};
use tnet_peer::{
    Download, DownloadError, DownloadOptions, Peer, Progress, Summary, TreeError, WantedTree,
};

/// Downloads at once. More are refused: each keeps a file open and its chunk states in memory.
const MAX_DOWNLOADS: usize = 1024;

/// How often followers are told the progress.
const NEWS_EVERY: Duration = Duration::from_millis(200);

/// How often the progress is logged.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// A download to be started.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) wanted: Wanted,
    pub(crate) out: PathBuf,
    pub(crate) options: DownloadOptions,
    /// The parent directory of `out`, if the client opened it.
    pub(crate) directory: Option<OwnedFd>,
}

/// Which file or tree, and what is known of it.
#[derive(Debug)]
pub(crate) enum Wanted {
    Described(FileInfo),
    Named(FileHash),
    Tree(WantedTree),
}

impl Wanted {
    pub(crate) fn hash(&self) -> FileHash {
        match self {
            Self::Described(info) => info.hash(),
            Self::Named(hash) => *hash,
            Self::Tree(wanted) => wanted.tree.manifest(),
        }
    }
}

/// All running downloads.
pub(crate) struct Downloads {
    peer: Arc<Peer>,
    running: HashMap<FileHash, Content>,
    directories: OpenDirectories,
    tasks: JoinSet<(FileHash, u64)>,
    /// Of the next one.
    number: u64,
}

/// A content that is downloaded, to one path after the other.
#[derive(Default)]
struct Content {
    queue: ContentQueue,
    /// In the order of the requests.
    targets: Vec<Target>,
}

struct Target {
    number: u64,
    out: PathBuf,
    /// `out` may lead elsewhere for other clients.
    directory: Option<Arc<OwnedFd>>,
    news: watch::Receiver<DownloadState>,
    forgotten: CancellationToken,
}

impl Target {
    /// Whether a download to that path is this one.
    fn is(&self, out: &Path, directory: Option<&Arc<OwnedFd>>) -> bool {
        let is_same_directory = match (&self.directory, directory) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => true,
        };
        self.out == out && is_same_directory && !self.forgotten.is_cancelled()
    }
}

impl Downloads {
    pub(crate) fn new(peer: Arc<Peer>) -> Self {
        let directories = OpenDirectories::default();
        Self { peer, running: HashMap::new(), directories, tasks: JoinSet::new(), number: 0 }
    }

    /// Starts the download, or finds it running already.
    pub(crate) fn start(
        &mut self,
        mut order: Order,
    ) -> Result<watch::Receiver<DownloadState>, Fault> {
        let hash = order.wanted.hash();
        let directory = order.directory.take().map(|directory| self.directories.only(directory));
        if let Some(content) = self.running.get(&hash)
            && let Some(target) =
                content.targets.iter().find(|target| target.is(&order.out, directory.as_ref()))
        {
            return Ok(target.news.clone());
        }
        if self.tasks.len() >= MAX_DOWNLOADS {
            let cause = format!("{MAX_DOWNLOADS} downloads are running");
            return Err(Fault::new(FaultKind::Other, cause).or_hint("wait for one to end"));
        }
        order.options.directory.clone_from(&directory);
        let (publish, news) = watch::channel(DownloadState::Started);
        self.number += 1;
        let (number, out, forgotten) = (self.number, order.out.clone(), self.peer.stop_token());
        let content = self.running.entry(hash).or_default();
        let queue = content.queue.clone();
        let target =
            Target { number, out, directory, news: news.clone(), forgotten: forgotten.clone() };
        content.targets.push(target);
        let peer = Arc::clone(&self.peer);
        self.tasks.spawn(async move {
            let last = match Box::pin(run(&peer, order, queue, &forgotten, &publish)).await {
                Ok(summary) => DownloadState::Done(summary),
                Err(fault) => DownloadState::Failed(fault),
            };
            publish.send_replace(last);
            (hash, number)
        });
        Ok(news)
    }

    /// Ends all downloads of this content. Returns their news channels, which close when the
    /// downloads have ended.
    pub(crate) fn forget(&mut self, hash: FileHash) -> Vec<watch::Receiver<DownloadState>> {
        let targets = self.running.get(&hash).map_or(&[][..], |content| &content.targets);
        targets.iter().for_each(|target| target.forgotten.cancel());
        targets.iter().map(|target| target.news.clone()).collect()
    }

    /// Waits until a download has ended, and forgets it. Waits forever while there is none.
    pub(crate) async fn ended(&mut self) {
        match self.tasks.join_next().await {
            None => pending().await,
            Some(Ok((hash, number))) => {
                self.keep(|of, target| *of != hash || target.number != number)
            }
            Some(Err(error)) => {
                warn!(%error, "a download's task failed");
                // Its news channel is closed.
                self.keep(|_, target| target.news.has_changed().is_ok());
            }
        }
    }

    fn keep(&mut self, is_kept: impl Fn(&FileHash, &Target) -> bool) {
        self.running.retain(|hash, content| {
            content.targets.retain(|target| is_kept(hash, target));
            !content.targets.is_empty()
        });
    }

    /// Ends all of them; what is there stays for the next attempt.
    pub(crate) async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn run(
    peer: &Peer,
    order: Order,
    queue: ContentQueue,
    forgotten: &CancellationToken,
    publish: &watch::Sender<DownloadState>,
) -> Result<Summary, Fault> {
    let Order { wanted, out, options, .. } = order;
    let hash = wanted.hash();
    debug!(file = %hash.short(), out = %shown_path(&out), "download requested");
    let begin = async {
        let head = queue.wait(hash, &out, options.give_up_after, peer.clock(), publish).await?;
        Ok((head, describe(peer, wanted, &out, &options, forgotten).await?))
    };
    let begun = forgotten.run_until_cancelled(begin).await.unwrap_or_else(|| {
        let cause = "taken off the server's list by `tnet rm` before it began";
        Err(Fault::new(FaultKind::Incomplete, cause).or_continue(&out))
    });
    let (head, described) = begun.inspect_err(|fault| refused(hash, &out, fault))?;
    let followed = Followed { hash, out: &out, head: &head, forgotten, publish };
    head.is_at_disk(true);
    let started = match described {
        Described::File(info) => peer
            .download_until(info, &out, options, forgotten)
            .await
            .map_err(|error| fault_of(&error, &out)),
        Described::Tree(manifest) => peer
            .download_payload(manifest, &out, options, forgotten)
            .await
            .map_err(|error| tree_fault_of(error, &out)),
    };
    head.is_at_disk(false);
    let download = started.inspect_err(|fault| refused(hash, &out, fault))?;
    followed.to_its_end(download).await
}

/// The fault for the followers. Only taking the content off the list cancels a download.
fn fault_of(error: &DownloadError, out: &Path) -> Fault {
    match error {
        DownloadError::Cancelled => {
            Fault::new(FaultKind::Incomplete, "taken off the server's list by `tnet rm`")
                .or_continue(out)
        }
        error => Fault::of_download(error, out),
    }
}

/// Logged here; once a download has started, the peer logs its end.
fn refused(hash: FileHash, out: &Path, fault: &Fault) {
    warn!(file = %hash.short(), out = %shown_path(&out), %fault, "download not started");
}

/// What is known when a download can begin.
enum Described {
    File(FileInfo),
    Tree(Arc<Manifest>),
}

async fn describe(
    peer: &Peer,
    wanted: Wanted,
    out: &Path,
    options: &DownloadOptions,
    forgotten: &CancellationToken,
) -> Result<Described, Fault> {
    match wanted {
        Wanted::Described(info) => Ok(Described::File(info)),
        Wanted::Named(hash) => {
            Ok(Described::File(peer.fetch_info(hash, options.give_up_after).await?))
        }
        Wanted::Tree(tree) => peer
            .fetch_manifest(tree, out, options.clone(), forgotten)
            .await
            .map(Described::Tree)
            .map_err(|error| tree_fault_of(error, out)),
    }
}

fn tree_fault_of(error: TreeError, out: &Path) -> Fault {
    match error {
        TreeError::Download(error) => fault_of(&error, out),
        error => error.into(),
    }
}

/// A download that has begun, and who follows it.
struct Followed<'a> {
    hash: FileHash,
    out: &'a Path,
    head: &'a QueueHead,
    forgotten: &'a CancellationToken,
    publish: &'a watch::Sender<DownloadState>,
}

impl Followed<'_> {
    async fn to_its_end(&self, mut download: Download) -> Result<Summary, Fault> {
        let fault = |error| fault_of(&error, self.out);
        let mut logged = Duration::ZERO;
        loop {
            tokio::select! {
                biased;
                result = download.finished() => return result.map_err(fault),
                () = self.forgotten.cancelled() => return download.end().await.map_err(fault),
                () = sleep(NEWS_EVERY) => {
                    let progress = download.progress();
                    if progress.elapsed >= logged + LOG_EVERY {
                        logged = progress.elapsed;
                        log(self.hash, &progress);
                    }
                    self.head.tell(&progress);
                    self.publish.send_replace(DownloadState::Progress(progress));
                }
            }
        }
    }
}

fn log(hash: FileHash, progress: &Progress) {
    info!(
        file = %hash.short(),
        done = progress.bytes_done,
        of = progress.bytes_total,
        peers = progress.peers,
        without_holder = progress.chunks_without_holder,
        "downloading"
    );
}

//! The downloads that were handed to the server. Each has one task that ends with it, and any number of followers that
//! come and go; a file is downloaded at most once at a time.

use std::collections::HashMap;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tnet_fileinfo::{FileHash, FileInfo, shown_path};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::fault::{Fault, FaultKind};
use crate::DownloadOptions;
use crate::Peer;
use crate::api::{Progress, Summary};

/// Downloads at once. More are refused: each keeps a file open and its chunks' states in memory.
const MAX_DOWNLOADS: usize = 1024;

/// How often followers hear of a download.
const NEWS_EVERY: Duration = Duration::from_millis(200);

/// How often the log does.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// How long the description of a file is looked for when the user sets no limit. Long enough to be none, short enough
/// to be added to any moment.
const UNLIMITED: Duration = Duration::from_secs(365 * 24 * 3600);

/// A download to be started.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) wanted: Wanted,
    pub(super) out: PathBuf,
    pub(super) options: DownloadOptions,
}

/// Which file, and what is known of it.
#[derive(Debug)]
pub(super) enum Wanted {
    Described(FileInfo),
    Named(FileHash),
}

impl Wanted {
    pub(super) fn hash(&self) -> FileHash {
        match self {
            Self::Described(info) => info.hash(),
            Self::Named(hash) => *hash,
        }
    }
}

/// The latest that is known of a download.
#[derive(Debug, Clone)]
pub(super) enum News {
    /// Nothing yet.
    Started,
    Progress(Progress),
    /// The last, as is the next.
    Done(Summary),
    Failed(Fault),
}

/// All running downloads.
pub(super) struct Downloads {
    peer: Arc<Peer>,
    running: HashMap<FileHash, Running>,
    tasks: JoinSet<FileHash>,
}

struct Running {
    out: PathBuf,
    news: watch::Receiver<News>,
}

impl Downloads {
    pub(super) fn new(peer: Arc<Peer>) -> Self {
        Self { peer, running: HashMap::new(), tasks: JoinSet::new() }
    }

    /// Starts the download, or finds it running already.
    pub(super) fn start(&mut self, order: Order) -> Result<watch::Receiver<News>, Fault> {
        let hash = order.wanted.hash();
        if let Some(running) = self.running.get(&hash) {
            return running.join(hash, &order.out);
        }
        if self.running.len() >= MAX_DOWNLOADS {
            let message = format!("{MAX_DOWNLOADS} downloads are running; wait for one to end");
            return Err(Fault::new(FaultKind::Other, message));
        }
        let (publish, news) = watch::channel(News::Started);
        self.running.insert(hash, Running { out: order.out.clone(), news: news.clone() });
        let peer = Arc::clone(&self.peer);
        self.tasks.spawn(async move {
            let last = match Box::pin(run(&peer, order, &publish)).await {
                Ok(summary) => News::Done(summary),
                Err(fault) => News::Failed(fault),
            };
            publish.send_replace(last);
            hash
        });
        Ok(news)
    }

    /// Waits until a download has ended, and forgets it. Waits for ever while there is none.
    pub(super) async fn ended(&mut self) {
        match self.tasks.join_next().await {
            None => pending().await,
            Some(Ok(hash)) => {
                self.running.remove(&hash);
            }
            Some(Err(error)) => {
                warn!(%error, "a download's task failed");
                // Which one is known by its news, whose sender is gone.
                self.running.retain(|_, running| running.news.has_changed().is_ok());
            }
        }
    }

    /// Ends all of them; what is there stays for the next attempt.
    pub(super) async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

impl Running {
    fn join(&self, hash: FileHash, out: &Path) -> Result<watch::Receiver<News>, Fault> {
        if self.out == out {
            return Ok(self.news.clone());
        }
        let message = format!(
            "{} is being downloaded already, to {:?}; wait for it, or name that path",
            hash.short(),
            self.out
        );
        Err(Fault::new(FaultKind::Exists, message))
    }
}

async fn run(peer: &Peer, order: Order, publish: &watch::Sender<News>) -> Result<Summary, Fault> {
    let Order { wanted, out, options } = order;
    let hash = wanted.hash();
    debug!(file = %hash.short(), out = %shown_path(&out), "download asked for");
    let info = describe(peer, wanted, &options).await.inspect_err(|fault| refused(hash, &out, fault))?;
    download(peer, info, &out, options, publish).await
}

/// From when it has started, the peer logs how it goes on.
fn refused(hash: FileHash, out: &Path, fault: &Fault) {
    warn!(file = %hash.short(), out = %shown_path(&out), %fault, "download not started");
}

async fn describe(peer: &Peer, wanted: Wanted, options: &DownloadOptions) -> Result<FileInfo, Fault> {
    match wanted {
        Wanted::Described(info) => Ok(info),
        Wanted::Named(hash) => Ok(peer.fetch_info(hash, options.give_up_after.unwrap_or(UNLIMITED)).await?),
    }
}

async fn download(
    peer: &Peer,
    info: FileInfo,
    out: &Path,
    options: DownloadOptions,
    publish: &watch::Sender<News>,
) -> Result<Summary, Fault> {
    let hash = info.hash();
    let started = peer.download_with(info, out, options).await.map_err(Fault::from);
    let mut download = started.inspect_err(|fault| refused(hash, out, fault))?;
    let mut logged = Duration::ZERO;
    loop {
        match timeout(NEWS_EVERY, download.finished()).await {
            Ok(result) => return Ok(result?),
            Err(_) => {
                let progress = download.progress();
                if progress.elapsed >= logged + LOG_EVERY {
                    logged = progress.elapsed;
                    log(hash, &progress);
                }
                publish.send_replace(News::Progress(progress));
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

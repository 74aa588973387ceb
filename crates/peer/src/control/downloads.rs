//! The downloads that were handed to the server. Each has one task that ends with it, and any number of followers that
//! come and go. A content is downloaded once at a time: whoever wants it under another name waits, and copies it then.

use std::collections::HashMap;
use std::future::pending;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tnet_fileinfo::{FileHash, FileInfo, shown_path};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::fault::{Fault, FaultKind};
use super::turn::{Ahead, Directories, Turn};
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
    /// The one that `out` is in, if the client opened it.
    pub(super) directory: Option<OwnedFd>,
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
    running: HashMap<FileHash, Content>,
    directories: Directories,
    tasks: JoinSet<(FileHash, PathBuf)>,
}

/// A content that is downloaded, under one name after the other.
#[derive(Default)]
struct Content {
    /// By whoever downloads it at this moment.
    turn: Arc<Mutex<()>>,
    /// In the order in which they came.
    targets: Vec<Target>,
}

struct Target {
    out: PathBuf,
    news: watch::Receiver<News>,
    forgotten: CancellationToken,
}

impl Downloads {
    pub(super) fn new(peer: Arc<Peer>) -> Self {
        let directories = Directories::default();
        Self { peer, running: HashMap::new(), directories, tasks: JoinSet::new() }
    }

    /// Starts the download, or finds it running already.
    pub(super) fn start(&mut self, mut order: Order) -> Result<watch::Receiver<News>, Fault> {
        let hash = order.wanted.hash();
        if let Some(content) = self.running.get(&hash)
            && let Some(target) = content.targets.iter().find(|target| target.out == order.out)
        {
            return Ok(target.news.clone());
        }
        if self.tasks.len() >= MAX_DOWNLOADS {
            let message = format!("{MAX_DOWNLOADS} downloads are running; wait for one to end");
            return Err(Fault::new(FaultKind::Other, message));
        }
        order.options.directory = order.directory.take().map(|directory| self.directories.only(directory));
        let (publish, news) = watch::channel(News::Started);
        let forgotten = CancellationToken::new();
        let content = self.running.entry(hash).or_default();
        let ahead = content
            .targets
            .first()
            .map(|target| Ahead { out: target.out.clone(), news: target.news.clone() });
        let turn = Turn { turn: Arc::clone(&content.turn), ahead, forgotten: forgotten.clone() };
        content.targets.push(Target { out: order.out.clone(), news: news.clone(), forgotten });
        let peer = Arc::clone(&self.peer);
        self.tasks.spawn(async move {
            let out = order.out.clone();
            let last = match Box::pin(run(&peer, order, turn, &publish)).await {
                Ok(summary) => News::Done(summary),
                Err(fault) => News::Failed(fault),
            };
            publish.send_replace(last);
            (hash, out)
        });
        Ok(news)
    }

    /// Ends those that wait for this content or look for its description; the one that is under way is the peer's.
    /// Answers whether there was any.
    pub(super) fn forget(&mut self, hash: FileHash) -> bool {
        let targets = self.running.get(&hash).map_or(&[][..], |content| &content.targets);
        targets.iter().for_each(|target| target.forgotten.cancel());
        !targets.is_empty()
    }

    /// Waits until a download has ended, and forgets it. Waits for ever while there is none.
    pub(super) async fn ended(&mut self) {
        match self.tasks.join_next().await {
            None => pending().await,
            Some(Ok((hash, out))) => self.keep(|of, target| *of != hash || target.out != out),
            Some(Err(error)) => {
                warn!(%error, "a download's task failed");
                // Which one is known by its news, whose sender is gone.
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
    pub(super) async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn run(peer: &Peer, order: Order, turn: Turn, publish: &watch::Sender<News>) -> Result<Summary, Fault> {
    let Order { wanted, out, options, .. } = order;
    let hash = wanted.hash();
    debug!(file = %hash.short(), out = %shown_path(&out), "download asked for");
    let forgotten = turn.forgotten.clone();
    let begin = async {
        let turn = turn.wait(hash, options.give_up_after, peer.clock(), publish).await?;
        Ok((turn, describe(peer, wanted, &options).await?))
    };
    let begun = forgotten.run_until_cancelled(begin).await.unwrap_or_else(|| {
        Err(Fault::new(FaultKind::Incomplete, "taken off the server's list by `tnet rm` before it began"))
    });
    let (_turn, info) = begun.inspect_err(|fault| refused(hash, &out, fault))?;
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

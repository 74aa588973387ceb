//! Downloads that wait for another download of the same content. When that one has ended, the
//! content is on this machine and is copied. A waiting download publishes the progress of the one
//! at the head of the queue, whichever that is by then, and applies its own timeout to it.

use std::collections::HashMap;
use std::future::pending;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tnet_fileinfo::FileHash;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};

use super::download_state::DownloadState;
use super::error::{Fault, FaultKind};
use tnet_peer::Clock;
use tnet_peer::{Phase, Progress, Waiting};
use tnet_store::FileId;

/// The downloads of one content, in the order in which they were asked for.
#[derive(Clone, Default)]
pub(crate) struct ContentQueue {
    lock: Arc<Mutex<()>>,
    head: Arc<watch::Sender<HeadState>>,
}

/// The download at the head, and how far it is.
#[derive(Debug, Clone, Default)]
struct HeadState {
    /// How many heads there have been.
    number: u64,
    out: PathBuf,
    is_at_disk: bool,
    progress: Option<Progress>,
}

/// The place at the head of the queue: its owner downloads. Dropping it lets the next one in.
pub(crate) struct QueueHead {
    state: Arc<watch::Sender<HeadState>>,
    _lock: OwnedMutexGuard<()>,
}

impl ContentQueue {
    /// Waits until no other download of this content runs. Publishes the progress of the head
    /// meanwhile.
    pub(crate) async fn wait(
        self,
        hash: FileHash,
        out: &Path,
        give_up_after: Option<Duration>,
        clock: &Clock,
        publish: &watch::Sender<DownloadState>,
    ) -> Result<QueueHead, Fault> {
        let Self { lock, head } = self;
        tokio::select! {
            biased;
            lock = lock.lock_owned() => {
                head.send_modify(|head| {
                    *head = HeadState {
                        number: head.number + 1,
                        out: out.to_owned(),
                        ..HeadState::default()
                    };
                });
                Ok(QueueHead { state: head, _lock: lock })
            }
            (out, waited) = stalled(head.subscribe(), give_up_after, clock, publish) => {
                let cause = format!(
                    "{} is being downloaded already, to {out:?}, and nothing of it arrived for \
                     {waited:.0?}",
                    hash.short()
                );
                Err(Fault::new(FaultKind::NoHolder, cause).or_hint("`tnet status` says why"))
            }
        }
    }
}

impl QueueHead {
    /// Tells whether local data is read: what an earlier attempt left, or another copy.
    pub(crate) fn is_at_disk(&self, is_at_disk: bool) {
        self.state.send_modify(|head| head.is_at_disk = is_at_disk);
    }

    pub(crate) fn tell(&self, progress: &Progress) {
        self.state.send_modify(|head| head.progress = Some(progress.clone()));
    }
}

impl HeadState {
    /// Changes whenever something of the content arrives or is verified.
    fn mark(&self) -> (u64, u64) {
        let bytes = |progress: &Progress| progress.bytes_done + progress.bytes_checked;
        (self.number, self.progress.as_ref().map_or(0, bytes))
    }

    /// Whether it stands still for a reason that does not count towards its own timeout.
    fn is_exempt(&self) -> bool {
        let is_exempt = |progress: &Progress| {
            matches!(progress.phase, Phase::Paused | Phase::Checking | Phase::Finishing)
                || matches!(progress.waiting, Some(Waiting::Limit))
        };
        self.is_at_disk || self.progress.as_ref().is_some_and(is_exempt)
    }
}

/// Returns when the head has made no progress for `give_up_after`.
async fn stalled(
    mut news: watch::Receiver<HeadState>,
    give_up_after: Option<Duration>,
    clock: &Clock,
    publish: &watch::Sender<DownloadState>,
) -> (PathBuf, Duration) {
    let (mut since, mut mark) = (clock.now(), (0, 0));
    loop {
        let head = news.borrow_and_update().clone();
        if head.mark() != mark || head.is_exempt() {
            (since, mark) = (clock.now(), head.mark());
        }
        if let Some(progress) = &head.progress {
            publish.send_replace(DownloadState::Progress(progress.clone()));
        }
        let left = give_up_after
            .filter(|_| !head.is_exempt())
            .map(|after| after.saturating_sub(clock.now() - since));
        tokio::select! {
            // The caller owns a clone of the sender, so this cannot fail.
            _ = news.changed() => {}
            () = sleep_or_forever(left, clock) => {
                return (head.out, give_up_after.unwrap_or_default());
            }
        }
    }
}

async fn sleep_or_forever(after: Option<Duration>, clock: &Clock) {
    match after {
        Some(after) => clock.sleep(after).await,
        None => pending().await,
    }
}

/// Output directories that clients opened. Each is kept open once, however many downloads go there.
#[derive(Default)]
pub(crate) struct OpenDirectories {
    open: HashMap<FileId, Weak<OwnedFd>>,
}

impl OpenDirectories {
    /// The descriptor that is already open for this directory, if there is one.
    pub(crate) fn only(&mut self, directory: OwnedFd) -> Arc<OwnedFd> {
        self.open.retain(|_, directory| directory.strong_count() > 0);
        // The system does not fail to say what is open; if it did, another descriptor would do.
        let Ok(id) = FileId::of(&directory) else { return Arc::new(directory) };
        let known = self.open.entry(id).or_default();
        known.upgrade().unwrap_or_else(|| {
            let directory = Arc::new(directory);
            *known = Arc::downgrade(&directory);
            directory
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;
    use tnet_peer::{CoordinatorState, TimeShares, Traffic};

    const HASH: FileHash = FileHash::from_bytes([7; 32]);
    const PATIENCE: Duration = Duration::from_secs(2);

    fn progress(phase: Phase, bytes_done: u64) -> Progress {
        Progress {
            phase,
            bytes_done,
            bytes_total: 1000,
            bytes_resumed: 0,
            bytes_to_check: 0,
            bytes_checked: 0,
            bytes_damaged: 0,
            chunks_done: 0,
            chunks_total: 1,
            peers: 1,
            full_peers: 1,
            chunks_without_holder: 0,
            coordinator: CoordinatorState::None,
            quiet: Duration::ZERO,
            waiting: None,
            elapsed: Duration::ZERO,
            time: TimeShares::default(),
            traffic: Traffic::default(),
            large_packets_lost: false,
            corrupt_peers: Vec::new(),
        }
    }

    async fn head(
        line: &ContentQueue,
        out: &str,
        patience: Option<Duration>,
    ) -> Result<QueueHead, Fault> {
        let publish = watch::Sender::new(DownloadState::Started);
        line.clone().wait(HASH, Path::new(out), patience, &Clock::new(), &publish).await
    }

    /// Repeats `tell` for ten times the patience of a waiting download.
    async fn for_long(tell: impl Fn(u64)) {
        for second in 0..10 * PATIENCE.as_secs() {
            tell(second);
            sleep(Duration::from_secs(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_download_that_waits_for_two_gives_up_on_neither_while_the_content_arrives() {
        let queue = ContentQueue::default();
        let first = head(&queue, "/a", None).await.expect("the queue is empty");
        let second = async {
            let head = head(&queue, "/b", None).await.expect("it waits");
            for_long(|second| head.tell(&progress(Phase::Downloading, second))).await;
        };
        let third = head(&queue, "/c", Some(PATIENCE));
        let ending = async {
            sleep(Duration::from_secs(1)).await;
            drop(first);
        };
        let (_, (), third) = tokio::join!(ending, second, third);
        third.expect("something arrived all the time");
    }

    #[tokio::test(start_paused = true)]
    async fn disk_work_and_a_pause_do_not_count_as_a_stall() {
        let queue = ContentQueue::default();
        let first = head(&queue, "/a", None).await.expect("the queue is empty");
        let ahead = async move {
            first.is_at_disk(true);
            for_long(|_| ()).await;
            first.is_at_disk(false);
            first.tell(&progress(Phase::Paused, 0));
            for_long(|_| ()).await;
        };
        let ((), waited) = tokio::join!(ahead, head(&queue, "/b", Some(PATIENCE)));
        waited.expect("it would not have given up itself");
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_download_gives_up_on_the_head_of_that_moment() {
        let queue = ContentQueue::default();
        let first = head(&queue, "/a", None).await.expect("the queue is empty");
        let second = async {
            let head = head(&queue, "/b", None).await.expect("it waits");
            for_long(|_| head.tell(&progress(Phase::Downloading, 0))).await;
        };
        let third = async {
            let began = Instant::now();
            let gave_up = head(&queue, "/c", Some(PATIENCE)).await.err().expect("nothing arrives");
            (gave_up.cause, began.elapsed().as_secs())
        };
        let ending = async {
            sleep(Duration::from_secs(1)).await;
            drop(first);
        };
        let (_, (), (message, waited)) = tokio::join!(ending, second, third);
        assert!(message.contains("/b"), "{message}");
        assert_eq!(waited, 1 + PATIENCE.as_secs());
    }
}

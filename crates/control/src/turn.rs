//! Downloads that wait for another of the same content: when that has ended, the content is on this
//! machine and is copied. Whoever waits sees how the one at the front goes on, whichever that is by
//! then, and gives up as if it were his own.

use std::collections::HashMap;
use std::future::pending;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tnet_fileinfo::FileHash;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};

use super::downloads::News;
use super::fault::{Fault, FaultKind};
use tnet_peer::Clock;
use tnet_peer::{Phase, Progress, Waiting};
use tnet_store::sys;

/// Those who want one content.
#[derive(Clone, Default)]
pub(crate) struct Line {
    turn: Arc<Mutex<()>>,
    front: Arc<watch::Sender<Front>>,
}

/// The one that downloads it at this moment, and how far it is.
#[derive(Debug, Clone, Default)]
struct Front {
    /// How many there have been.
    number: u64,
    out: PathBuf,
    is_at_disk: bool,
    progress: Option<Progress>,
}

/// Whoever has it downloads.
pub(crate) struct Turn {
    front: Arc<watch::Sender<Front>>,
    _turn: OwnedMutexGuard<()>,
}

impl Line {
    /// Until no other downloads this content. Tells meanwhile what is known of the one that does.
    pub(crate) async fn wait(
        self,
        hash: FileHash,
        out: &Path,
        give_up_after: Option<Duration>,
        clock: &Clock,
        publish: &watch::Sender<News>,
    ) -> Result<Turn, Fault> {
        let Self { turn, front } = self;
        tokio::select! {
            biased;
            turn = turn.lock_owned() => {
                front.send_modify(|front| {
                    *front = Front { number: front.number + 1, out: out.to_owned(), ..Front::default() };
                });
                Ok(Turn { front, _turn: turn })
            }
            (out, waited) = quiet(front.subscribe(), give_up_after, clock, publish) => {
                let message = format!(
                    "{} is being downloaded already, to {out:?}, and nothing of it arrived for {waited:.0?}; \
                     `tnet status` says why",
                    hash.short()
                );
                Err(Fault::new(FaultKind::NoHolder, message))
            }
        }
    }
}

impl Turn {
    /// Whether what was there is read, or another copy of the content.
    pub(crate) fn is_at_disk(&self, is_at_disk: bool) {
        self.front.send_modify(|front| front.is_at_disk = is_at_disk);
    }

    pub(crate) fn tell(&self, progress: &Progress) {
        self.front.send_modify(|front| front.progress = Some(progress.clone()));
    }
}

impl Front {
    /// Changes whenever something of the content arrives or is verified.
    fn mark(&self) -> (u64, u64) {
        let bytes = |progress: &Progress| progress.bytes_done + progress.bytes_checked;
        (self.number, self.progress.as_ref().map_or(0, bytes))
    }

    /// Whether it stands still for a reason that it would not give up for.
    fn is_meant(&self) -> bool {
        let is_meant = |progress: &Progress| {
            matches!(progress.phase, Phase::Paused | Phase::Checking | Phase::Finishing)
                || matches!(progress.waiting, Some(Waiting::Limit))
        };
        self.is_at_disk || self.progress.as_ref().is_some_and(is_meant)
    }
}

/// Returns when whoever is at the front has stood still for that long.
async fn quiet(
    mut news: watch::Receiver<Front>,
    give_up_after: Option<Duration>,
    clock: &Clock,
    publish: &watch::Sender<News>,
) -> (PathBuf, Duration) {
    let (mut since, mut mark) = (clock.now(), (0, 0));
    loop {
        let front = news.borrow_and_update().clone();
        if front.mark() != mark || front.is_meant() {
            (since, mark) = (clock.now(), front.mark());
        }
        if let Some(progress) = &front.progress {
            publish.send_replace(News::Progress(progress.clone()));
        }
        let left = give_up_after
            .filter(|_| !front.is_meant())
            .map(|after| after.saturating_sub(clock.now() - since));
        tokio::select! {
            // The sender is the line's, of which we are a part.
            _ = news.changed() => {}
            () = silence(left, clock) => return (front.out, give_up_after.unwrap_or_default()),
        }
    }
}

/// Returns after that long.
async fn silence(after: Option<Duration>, clock: &Clock) {
    match after {
        Some(after) => clock.sleep(after).await,
        None => pending().await,
    }
}

/// Directories that clients opened and downloads go to. Each is open once, however many downloads
/// there are.
#[derive(Default)]
pub(crate) struct Directories {
    open: HashMap<(u64, u64), Weak<OwnedFd>>,
}

impl Directories {
    /// This directory, as it is open already if it is.
    pub(crate) fn only(&mut self, directory: OwnedFd) -> Arc<OwnedFd> {
        self.open.retain(|_, directory| directory.strong_count() > 0);
        // The system does not fail to say what is open; if it did, another descriptor would do.
        let Ok(entry) = sys::entry(&directory) else { return Arc::new(directory) };
        let known = self.open.entry((entry.device, entry.stamp.inode)).or_default();
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

    async fn turn(line: &Line, out: &str, patience: Option<Duration>) -> Result<Turn, Fault> {
        let publish = watch::Sender::new(News::Started);
        line.clone().wait(HASH, Path::new(out), patience, &Clock::new(), &publish).await
    }

    /// The one at the front stands so for ten times the patience of who waits.
    async fn for_long(tell: impl Fn(u64)) {
        for second in 0..10 * PATIENCE.as_secs() {
            tell(second);
            sleep(Duration::from_secs(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_two_gives_up_on_neither_while_the_content_arrives() {
        let line = Line::default();
        let first = turn(&line, "/a", None).await.expect("nobody is there");
        let second = async {
            let turn = turn(&line, "/b", None).await.expect("it waits");
            for_long(|second| turn.tell(&progress(Phase::Downloading, second))).await;
        };
        let third = turn(&line, "/c", Some(PATIENCE));
        let ending = async {
            sleep(Duration::from_secs(1)).await;
            drop(first);
        };
        let (_, (), third) = tokio::join!(ending, second, third);
        third.expect("something arrived all the time");
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_and_a_pause_are_no_silence() {
        let line = Line::default();
        let first = turn(&line, "/a", None).await.expect("nobody is there");
        let ahead = async move {
            first.is_at_disk(true);
            for_long(|_| ()).await;
            first.is_at_disk(false);
            first.tell(&progress(Phase::Paused, 0));
            for_long(|_| ()).await;
        };
        let ((), waited) = tokio::join!(ahead, turn(&line, "/b", Some(PATIENCE)));
        waited.expect("it would not have given up itself");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gives_up_on_the_one_that_has_its_turn_by_then() {
        let line = Line::default();
        let first = turn(&line, "/a", None).await.expect("nobody is there");
        let second = async {
            let turn = turn(&line, "/b", None).await.expect("it waits");
            for_long(|_| turn.tell(&progress(Phase::Downloading, 0))).await;
        };
        let third = async {
            let began = Instant::now();
            let gave_up = turn(&line, "/c", Some(PATIENCE)).await.err().expect("nothing arrives");
            (gave_up.message, began.elapsed().as_secs())
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

//! Downloads that wait for another of the same content: when that has ended, the content is on this machine and is
//! copied. Whoever waits sees how the other one goes on, and gives up as if it were his own.

use std::collections::HashMap;
use std::future::pending;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tnet_fileinfo::FileHash;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio_util::sync::CancellationToken;

use super::downloads::News;
use super::fault::{Fault, FaultKind};
use crate::clock::Clock;
use crate::store::sys;

/// The turn of one download.
pub(super) struct Turn {
    /// Whoever has it downloads.
    pub(super) turn: Arc<Mutex<()>>,
    pub(super) ahead: Option<Ahead>,
    pub(super) forgotten: CancellationToken,
}

/// The download that has its turn.
pub(super) struct Ahead {
    pub(super) out: PathBuf,
    pub(super) news: watch::Receiver<News>,
}

impl Turn {
    /// Until no other downloads this content. Tells meanwhile what is known of the one ahead.
    pub(super) async fn wait(
        self,
        hash: FileHash,
        give_up_after: Option<Duration>,
        clock: &Clock,
        publish: &watch::Sender<News>,
    ) -> Result<OwnedMutexGuard<()>, Fault> {
        let mine = self.turn.lock_owned();
        let Some(Ahead { out, news }) = self.ahead else { return Ok(mine.await) };
        tokio::select! {
            biased;
            turn = mine => Ok(turn),
            waited = quiet(news, give_up_after, clock, publish) => {
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

/// Returns when the download ahead has stood still for that long.
async fn quiet(
    mut news: watch::Receiver<News>,
    give_up_after: Option<Duration>,
    clock: &Clock,
    publish: &watch::Sender<News>,
) -> Duration {
    let (mut since, mut bytes) = (clock.now(), 0);
    loop {
        if let News::Progress(progress) = &*news.borrow_and_update() {
            if progress.bytes_done + progress.bytes_checked != bytes {
                (since, bytes) = (clock.now(), progress.bytes_done + progress.bytes_checked);
            }
            publish.send_replace(News::Progress(progress.clone()));
        }
        let left = give_up_after.map(|after| after.saturating_sub(clock.now() - since));
        tokio::select! {
            changed = news.changed() => if changed.is_err() {
                // It has ended, and others are in front of us.
                return silence(give_up_after, clock).await;
            },
            _ = silence(left, clock) => return give_up_after.unwrap_or_default(),
        }
    }
}

/// Returns after that long.
async fn silence(give_up_after: Option<Duration>, clock: &Clock) -> Duration {
    match give_up_after {
        Some(after) => {
            clock.sleep(after).await;
            after
        }
        None => pending().await,
    }
}

/// Directories that clients opened and downloads go to. Each is open once, however many downloads there are.
#[derive(Default)]
pub(super) struct Directories {
    open: HashMap<(u64, u64), Weak<OwnedFd>>,
}

impl Directories {
    /// This directory, as it is open already if it is.
    pub(super) fn only(&mut self, directory: OwnedFd) -> Arc<OwnedFd> {
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

//! Keeps the peer's shares in step with a directory.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tnet_fileinfo::{ScanError, shown_path};
use tokio::sync::mpsc;

use crate::api::ShareError;
use crate::descriptors::Descriptors;
use crate::engine::Command;
use crate::share::{Change, DirWatch, ShareDirError, WatchOptions};
use crate::sharing::Scanner;
use crate::store::{self, SharedRoot, Stamp, Watched};

pub(crate) async fn open(dir: PathBuf, options: WatchOptions) -> Result<DirWatch, ShareDirError> {
    let shown = dir.clone();
    let opened = tokio::task::spawn_blocking(move || DirWatch::new(&dir, options)).await;
    opened.unwrap_or_else(|error| Err(ShareDirError::Io { dir: shown, source: std::io::Error::other(error) }))
}

/// A look that takes so long is followed by a pause this many times as long: looking at a large directory must not keep a
/// processor busy.
const PAUSE_PER_LOOK: u32 = 300;

/// The longest pause made for that reason. A new file in a directory of a million is noticed so late at most.
const PAUSE_AT_MOST: Duration = Duration::from_secs(30);

/// Where the system has word of changes, another look without any comes after this time: of some, as of a directory
/// further up that got another name, there is none.
const LOOK_ANYWAY: Duration = Duration::from_secs(300);

/// A file for which there is no descriptor is tried again after this, or when there are some.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// A directory whose files a peer shares.
pub(crate) struct DirShare {
    pub(crate) watch: DirWatch,
    pub(crate) interval: Duration,
    pub(crate) scanner: Scanner,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) descriptors: Descriptors,
}

impl DirShare {
    /// Looks again and again, and tells the engine. Files are read one after the other: each is read by all cores.
    pub(crate) async fn run(self) {
        let DirShare { mut watch, interval, scanner, commands, descriptors } = self;
        let watched = Watched::default();
        let follower = Follower { root: watch.root(), watched, scanner, commands, descriptors };
        loop {
            for path in follower.watched.take_missed() {
                watch.look_again_at(&path);
            }
            let looked = tokio::task::spawn_blocking(move || {
                let began = Instant::now();
                let changes = watch.poll(wall_clock());
                (watch, changes, began.elapsed())
            });
            let Ok((same, changes, took)) = looked.await else { return };
            watch = same;
            follower.watched.set(changes.is_ok() && watch.has_seen_all());
            let mut notices = watch.take_notices();
            match changes {
                Err(error) => {
                    tracing::warn!(%error, "shared directory");
                    let gone = if error.is_gone() { watch.take_reported() } else { Vec::new() };
                    for path in gone {
                        if follower.unshare(path).await.is_err() {
                            return;
                        }
                    }
                }
                Ok(changes) => {
                    for change in changes {
                        match follower.follow(change).await {
                            Ok(Followed::Done) => {}
                            Ok(Followed::LookAgain { path }) => {
                                watch.look_again_at(&path);
                                notices = None;
                            }
                            Err(Gone) => return,
                        }
                    }
                }
            }
            tokio::time::sleep(pause_after(took, interval)).await;
            if let Some(notices) = notices {
                let patience = took.saturating_mul(PAUSE_PER_LOOK).max(LOOK_ANYWAY);
                tokio::select! {
                    _ = tokio::time::timeout(patience, notices.heard()) => {}
                    // Whoever missed it has it forgotten first.
                    () = follower.watched.missed() => tokio::time::sleep(interval).await,
                }
            }
        }
    }
}

/// When to look again after a look that took so long.
pub(crate) fn pause_after(took: Duration, interval: Duration) -> Duration {
    took.saturating_mul(PAUSE_PER_LOOK).min(PAUSE_AT_MOST).max(interval)
}

/// The peer is gone.
struct Gone;

/// What became of a change.
enum Followed {
    Done,
    /// The name led to something else when the file was to be opened; it may not at the next look.
    LookAgain {
        path: PathBuf,
    },
}

/// Tells the engine of changes.
struct Follower {
    root: Arc<SharedRoot>,
    watched: Watched,
    scanner: Scanner,
    commands: mpsc::Sender<Command>,
    descriptors: Descriptors,
}

impl Follower {
    async fn follow(&self, change: Change) -> Result<Followed, Gone> {
        match change {
            Change::Appeared { path, stamp } => return self.share(path, stamp).await,
            Change::Changed { path, stamp } => {
                self.unshare(path.clone()).await?;
                return self.share(path, stamp).await;
            }
            Change::Deleted { path } => self.unshare(path).await?,
            Change::Unreadable { path, kind } => {
                tracing::warn!(path = %shown_path(&path), %kind, "not shared: cannot be read");
            }
            Change::Planted { path } => {
                tracing::warn!(
                    path = %shown_path(&path),
                    "not shared: it has another name, is private, and others may put names into its directory"
                );
            }
            Change::TooDeep { path } => {
                tracing::warn!(path = %shown_path(&path), "not shared: too many directories inside one another");
            }
            Change::TooMany { limit } => {
                tracing::warn!(limit, "not everything is shared: too many files");
            }
        }
        Ok(Followed::Done)
    }

    async fn share(&self, path: PathBuf, seen: Stamp) -> Result<Followed, Gone> {
        let scan = || self.scanner.inside(Arc::clone(&self.root), path.clone(), seen);
        let mut scanned = scan().await;
        // What could not be opened for that reason would not be looked at again before it changes.
        while let Err(error) = &scanned
            && self.descriptors.note_cause(error)
        {
            self.descriptors.available(AGAIN_AFTER).await;
            scanned = scan().await;
        }
        match scanned {
            Ok(file) => {
                let file = file.watched_by(&self.watched);
                self.commands.send(Command::Share { file }).await.map_err(|_| Gone)?;
                Ok(Followed::Done)
            }
            Err(error) => {
                tracing::warn!(path = %shown_path(&path), %error, "not shared");
                let passes = match &error {
                    ShareError::Scan(error) => matches!(error, ScanError::Changed),
                    ShareError::Store(error) => store::is_passing(error),
                    ShareError::PeerGone(_) => false,
                };
                Ok(if passes { Followed::LookAgain { path } } else { Followed::Done })
            }
        }
    }

    async fn unshare(&self, path: PathBuf) -> Result<(), Gone> {
        self.commands.send(Command::UnsharePath { path }).await.map_err(|_| Gone)
    }
}

/// Time since the Unix epoch.
pub(crate) fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_directories_are_looked_at_as_often_as_asked_and_large_ones_less_often() {
        let interval = Duration::from_secs(2);
        for (took_ms, pause_s) in [(0, 2), (6, 2), (40, 12), (5000, 30)] {
            let pause = pause_after(Duration::from_millis(took_ms), interval);
            assert_eq!(pause, Duration::from_secs(pause_s), "after a look of {took_ms} ms");
        }
        assert_eq!(pause_after(Duration::from_secs(5), Duration::from_secs(60)), Duration::from_secs(60));
    }
}

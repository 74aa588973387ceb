//! Keeps the peer's shares in step with a directory.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::engine::Command;
use crate::peer::scan_and_open;
use crate::share::{Change, DirWatch, ShareDirError, WatchOptions};
use crate::store::{ScanLog, Watched};

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

/// A directory whose files a peer shares.
pub(crate) struct DirShare {
    pub(crate) watch: DirWatch,
    pub(crate) interval: Duration,
    pub(crate) scans: Option<ScanLog>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) stop: CancellationToken,
}

impl DirShare {
    /// Looks again and again, and tells the engine. Files are read one after the other: each is read by all cores.
    pub(crate) async fn run(self) {
        let DirShare { mut watch, interval, scans, commands, stop } = self;
        let watched = Watched::default();
        loop {
            let looked = tokio::task::spawn_blocking(move || {
                let began = Instant::now();
                let changes = watch.poll(wall_clock());
                (watch, changes, began.elapsed())
            });
            let Ok((same, changes, took)) = looked.await else { return };
            watch = same;
            watched.set(changes.is_ok() && watch.has_seen_all());
            let notices = watch.take_notices();
            match changes {
                Err(error) => tracing::warn!(%error, "shared directory"),
                Ok(changes) => {
                    for change in changes {
                        if follow(change, &watched, scans.as_ref(), &commands, &stop).await.is_err() {
                            return;
                        }
                    }
                }
            }
            tokio::time::sleep(pause_after(took, interval)).await;
            if let Some(notices) = notices {
                let patience = took.saturating_mul(PAUSE_PER_LOOK).max(LOOK_ANYWAY);
                let _ = tokio::time::timeout(patience, notices.heard()).await;
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

async fn follow(
    change: Change,
    watched: &Watched,
    scans: Option<&ScanLog>,
    commands: &mpsc::Sender<Command>,
    stop: &CancellationToken,
) -> Result<(), Gone> {
    match change {
        Change::Appeared { path, .. } => share(path, watched, scans, commands, stop).await,
        Change::Changed { path, .. } => {
            unshare(path.clone(), commands).await?;
            share(path, watched, scans, commands, stop).await
        }
        Change::Deleted { path } => unshare(path, commands).await,
        Change::Unreadable { path, kind } => {
            tracing::warn!(path = %path.display(), %kind, "not shared: cannot be read");
            Ok(())
        }
        Change::TooDeep { path } => {
            tracing::warn!(path = %path.display(), "not shared: too many directories inside one another");
            Ok(())
        }
        Change::TooMany { limit } => {
            tracing::warn!(limit, "not everything is shared: too many files");
            Ok(())
        }
    }
}

async fn share(
    path: PathBuf,
    watched: &Watched,
    scans: Option<&ScanLog>,
    commands: &mpsc::Sender<Command>,
    stop: &CancellationToken,
) -> Result<(), Gone> {
    match scan_and_open(path.clone(), scans.cloned(), stop.clone()).await {
        Ok(file) => {
            let file = file.watched_by(watched);
            commands.send(Command::Share { file }).await.map_err(|_| Gone)
        }
        Err(error) => {
            // If it changed, the next look but one tells of it again.
            tracing::warn!(path = %path.display(), %error, "not shared");
            Ok(())
        }
    }
}

async fn unshare(path: PathBuf, commands: &mpsc::Sender<Command>) -> Result<(), Gone> {
    commands.send(Command::UnsharePath { path }).await.map_err(|_| Gone)
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

//! Keeps the peer's shares in step with a directory.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::engine::Command;
use crate::peer::scan_and_open;
use crate::share::{Change, DirWatch, ShareDirError, WatchOptions};

pub(crate) async fn open(dir: PathBuf, options: WatchOptions) -> Result<DirWatch, ShareDirError> {
    let shown = dir.clone();
    let opened = tokio::task::spawn_blocking(move || DirWatch::new(&dir, options)).await;
    opened.unwrap_or_else(|error| Err(ShareDirError::Io { dir: shown, source: std::io::Error::other(error) }))
}

/// Looks again and again, and tells the engine. Files are read one after the other: each is read by all cores.
pub(crate) async fn run(
    mut watch: DirWatch,
    interval: Duration,
    commands: mpsc::Sender<Command>,
    stop: CancellationToken,
) {
    loop {
        let looked = tokio::task::spawn_blocking(move || {
            let changes = watch.poll(wall_clock());
            (watch, changes)
        });
        let Ok((same, changes)) = looked.await else { return };
        watch = same;
        match changes {
            Err(error) => tracing::warn!(%error, "shared directory"),
            Ok(changes) => {
                for change in changes {
                    if follow(change, &commands, &stop).await.is_err() {
                        return;
                    }
                }
            }
        }
        tokio::time::sleep(interval).await;
    }
}

/// The peer is gone.
struct Gone;

async fn follow(
    change: Change,
    commands: &mpsc::Sender<Command>,
    stop: &CancellationToken,
) -> Result<(), Gone> {
    match change {
        Change::Appeared { path, .. } => share(path, commands, stop).await,
        Change::Changed { path, .. } => {
            unshare(path.clone(), commands).await?;
            share(path, commands, stop).await
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
    commands: &mpsc::Sender<Command>,
    stop: &CancellationToken,
) -> Result<(), Gone> {
    match scan_and_open(path.clone(), stop.clone()).await {
        Ok(file) => commands.send(Command::Share { file }).await.map_err(|_| Gone),
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

fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

//! A download, as its owner sees it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tnet_fileinfo::FileInfo;
use tokio::sync::{mpsc, oneshot, watch};

use crate::api::{
    DownloadError, FileChange, PeerGone, Phase, Progress, Summary, TimeShares, Traffic,
};
use crate::engine::{Command, DownloadHandle};

/// A download that is running or done. Dropping this changes nothing: the peer goes on with it.
#[derive(Debug)]
pub struct Download {
    info: FileInfo,
    out: PathBuf,
    progress: watch::Receiver<Progress>,
    swarm_done: watch::Receiver<bool>,
    outcome: Outcome,
    commands: mpsc::Sender<Command>,
}

#[derive(Debug)]
enum Outcome {
    Awaited(oneshot::Receiver<Result<Summary, DownloadError>>),
    Finished(Box<Summary>),
    /// The error was handed out.
    Failed,
}

impl Download {
    pub(crate) fn new(
        info: FileInfo,
        out: PathBuf,
        handle: DownloadHandle,
        commands: mpsc::Sender<Command>,
    ) -> Download {
        let DownloadHandle { progress, swarm_done, outcome } = handle;
        Download { info, out, progress, swarm_done, outcome: Outcome::Awaited(outcome), commands }
    }

    /// The file was there already, or a copy of it. All of the time counts for verification: what
    /// was there was hashed, and how long writing a copy took is not told apart.
    pub(crate) fn complete(
        info: FileInfo,
        out: PathBuf,
        path: PathBuf,
        elapsed: Duration,
        commands: mpsc::Sender<Command>,
    ) -> Download {
        let (size, chunks) = (info.size(), info.geometry().chunk_count());
        let time = TimeShares { verification: elapsed, ..TimeShares::default() };
        let progress =
            Progress { elapsed, time, ..Progress::begun(Phase::Complete, &info, size, chunks) };
        let summary = Summary {
            path,
            bytes_total: size,
            bytes_resumed: size,
            bytes_damaged: 0,
            elapsed,
            time,
            verify_busy: elapsed,
            traffic: Traffic::default(),
            sources: Vec::new(),
            corrupt_peers: Vec::new(),
            notes: Vec::new(),
        };
        let (progress, swarm_done) = (watch::channel(progress).1, watch::channel(true).1);
        Download {
            info,
            out,
            progress,
            swarm_done,
            outcome: Outcome::Finished(Box::new(summary)),
            commands,
        }
    }

    /// What is downloaded.
    pub fn info(&self) -> &FileInfo {
        &self.info
    }

    /// Where to, as it was given.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// How it is going, at most a tenth of a second ago.
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Waits until there is something new to see. Returns at once, again and again, when the
    /// download is over.
    pub async fn changed(&mut self) {
        // An error means that no news can come any more.
        let _ = self.progress.changed().await;
    }

    /// Waits for the end. Cancel-safe; may be asked again after success.
    ///
    /// # Errors
    /// Why the file is not there. What arrived is kept in `OUT.partial` for the next attempt.
    pub async fn finished(&mut self) -> Result<Summary, DownloadError> {
        let result = match &mut self.outcome {
            Outcome::Finished(summary) => return Ok((**summary).clone()),
            Outcome::Failed => return Err(PeerGone.into()),
            Outcome::Awaited(outcome) => outcome.await.unwrap_or(Err(PeerGone.into())),
        };
        self.outcome = match &result {
            Ok(summary) => Outcome::Finished(Box::new(summary.clone())),
            Err(_) => Outcome::Failed,
        };
        result
    }

    /// Waits until the file is whole and so is that of every peer of its swarm that we know.
    pub async fn swarm_done(&self) {
        let mut done = self.swarm_done.clone();
        // An error: the peer is gone and serves no more.
        let _ = done.wait_for(|done| *done).await;
    }

    /// Changes the settings of the file: its rate limits, its priority, a pause. Changes nothing
    /// when the peer is gone.
    pub async fn update(&self, change: FileChange) {
        let (done, updated) = oneshot::channel();
        if self
            .commands
            .send(Command::UpdateFile { hash: self.info.hash(), change, done })
            .await
            .is_ok()
        {
            let _ = updated.await;
        }
    }

    /// As `cancel`, and answers how it ended.
    pub async fn end(&mut self) -> Result<Summary, DownloadError> {
        let (done, cancelled) = oneshot::channel();
        if self
            .commands
            .send(Command::CancelDownload { hash: self.info.hash(), done })
            .await
            .is_ok()
        {
            let _ = cancelled.await;
        }
        self.finished().await
    }

    /// Ends the download and waits until it has ended. What arrived is kept in `OUT.partial` for
    /// the next attempt. A finished download stays finished, and one that is being given its name
    /// becomes so: its summary is returned.
    pub async fn cancel(mut self) -> Option<Summary> {
        self.end().await.ok()
    }
}

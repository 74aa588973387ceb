//! A running coordinator, as its owner sees it. When the handle is gone, so are the tasks and the
//! sockets.

use std::net::SocketAddr;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use tnet_fileinfo::FileHash;

use crate::registry::stats::Stats;
use crate::registry::table::{FileSummary, Handout, SwarmSize};
use crate::server::message::{Event, Question};

/// Files that one listing names at most: the answer is a copy, made while peers wait.
pub const MAX_FILES_LISTED: usize = 10_000;

/// The coordinator has stopped and answers no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the coordinator has stopped")]
pub struct Stopped;

/// A coordinator that runs on tasks of its own. Dropping the handle ends it at once; [`shutdown`]
/// lets it say goodbye.
///
/// [`shutdown`]: CoordinatorHandle::shutdown
#[derive(Debug)]
pub struct CoordinatorHandle {
    local_addr: SocketAddr,
    registrar: mpsc::Sender<Event>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl CoordinatorHandle {
    pub(crate) fn new(
        local_addr: SocketAddr,
        registrar: mpsc::Sender<Event>,
        stop: CancellationToken,
        task: JoinHandle<()>,
    ) -> CoordinatorHandle {
        CoordinatorHandle { local_addr, registrar, stop, task }
    }

    /// Where peers connect, with the port that was really taken.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Figures of this moment.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn stats(&self) -> Result<Stats, Stopped> {
        self.ask(Question::Stats).await
    }

    /// How many live peers hold a file; nothing if nobody does.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn swarm(&self, hash: FileHash) -> Result<Option<SwarmSize>, Stopped> {
        self.ask(|answer| Question::Swarm(hash, answer)).await
    }

    /// Random holders of a file, as a peer that holds nothing would be told.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn holders(&self, hash: FileHash) -> Result<Handout, Stopped> {
        self.ask(|answer| Question::Holders(hash, answer)).await
    }

    /// The files in the table, at most [`MAX_FILES_LISTED`], in no particular order.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn files(&self) -> Result<Vec<FileSummary>, Stopped> {
        self.ask(|answer| Question::Files(MAX_FILES_LISTED, answer)).await
    }

    /// Says goodbye to every peer, waits for them no longer than `Config::shutdown_grace`, and
    /// frees the port.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.task).await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }

    async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Question,
    ) -> Result<T, Stopped> {
        let (sender, answer) = oneshot::channel();
        self.registrar.send(Event::Question(question(sender))).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }
}

impl Drop for CoordinatorHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

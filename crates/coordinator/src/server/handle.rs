//! The handle of a running coordinator. Dropping it ends all tasks and closes all sockets.

use std::net::SocketAddr;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use tnet_fileinfo::FileHash;

use crate::registry::stats::Stats;
use crate::registry::table::{FileSummary, Handout, SwarmSize};
use crate::server::message::{RegistrarEvent, StateQuery};

/// Files in one listing at most: the answer is copied while peers wait.
pub const MAX_FILES_LISTED: usize = 10_000;

/// The coordinator has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the coordinator has stopped")]
pub struct Stopped;

/// A coordinator that runs on tasks of its own. Dropping the handle ends it at once; [`shutdown`]
/// lets it send `Bye` first.
///
/// [`shutdown`]: CoordinatorHandle::shutdown
#[derive(Debug)]
pub struct CoordinatorHandle {
    local_addr: SocketAddr,
    registrar: mpsc::Sender<RegistrarEvent>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl CoordinatorHandle {
    pub(crate) fn new(
        local_addr: SocketAddr,
        registrar: mpsc::Sender<RegistrarEvent>,
        stop: CancellationToken,
        task: JoinHandle<()>,
    ) -> CoordinatorHandle {
        CoordinatorHandle { local_addr, registrar, stop, task }
    }

    /// Where peers connect, with the actual port.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Current counters and sizes.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn stats(&self) -> Result<Stats, Stopped> {
        self.ask(StateQuery::Stats).await
    }

    /// How many live peers hold a file; `None` if there are none.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn swarm(&self, hash: FileHash) -> Result<Option<SwarmSize>, Stopped> {
        self.ask(|answer| StateQuery::Swarm(hash, answer)).await
    }

    /// Random holders of a file, as for a peer that holds nothing.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn holders(&self, hash: FileHash) -> Result<Handout, Stopped> {
        self.ask(|answer| StateQuery::Holders(hash, answer)).await
    }

    /// The files in the table, at most [`MAX_FILES_LISTED`], in no particular order.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn files(&self) -> Result<Vec<FileSummary>, Stopped> {
        self.ask(|answer| StateQuery::Files(MAX_FILES_LISTED, answer)).await
    }

    /// Sends `Bye` to every peer, waits at most `Config::shutdown_grace` for them to close, and
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
        query: impl FnOnce(oneshot::Sender<T>) -> StateQuery,
    ) -> Result<T, Stopped> {
        let (sender, answer) = oneshot::channel();
        self.registrar
            .send(RegistrarEvent::StateQuery(query(sender)))
            .await
            .map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }
}

impl Drop for CoordinatorHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

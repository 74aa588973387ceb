//! A coordinator from binding to goodbye. Every task of it is in a set that its own future owns, so
//! none outlives that future.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::select;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::config::Config;

mod acceptor;
mod admission;
mod connection;
mod handle;
mod line;
mod listener;
mod message;
mod registrar;

pub use handle::{CoordinatorHandle, MAX_FILES_LISTED, Stopped};
pub use listener::BindError;

use acceptor::Acceptor;
use listener::listen;
use message::{Event, INBOX_EVENTS};
use registrar::Registrar;

/// A coordinator that listens but does not serve yet.
#[derive(Debug)]
pub struct Coordinator {
    config: Config,
    listener: TcpListener,
    local_addr: SocketAddr,
    registrar: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
}

impl Coordinator {
    /// Takes the address. Peers may connect from here on; they are served once it runs.
    ///
    /// # Errors
    /// See [`BindError`].
    ///
    /// # Panics
    /// Outside of a tokio runtime with IO and time.
    pub fn bind(config: Config) -> Result<Coordinator, BindError> {
        let listener = listen(config.listen)?;
        let local_addr = listener
            .local_addr()
            .map_err(|source| BindError::Io { address: config.listen, source })?;
        let (registrar, events) = mpsc::channel(INBOX_EVENTS);
        Ok(Coordinator { config, listener, local_addr, registrar, events })
    }

    /// Where peers connect, with the port that was really taken.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `stop` is cancelled, then says goodbye to every peer and waits for them at most
    /// [`Config::shutdown_grace`]. Dropping the future ends everything at once.
    ///
    /// # Panics
    /// If an invariant of the coordinator itself is broken.
    pub async fn run(self, stop: CancellationToken) {
        let Coordinator { config, listener, local_addr, registrar, events } = self;
        info!(address = %local_addr, "coordinator listens");
        let mut owner = JoinSet::new();
        owner.spawn(Registrar::new(&config, events).run(stop.clone()));
        let grace = config.shutdown_grace;
        let mut acceptor = Acceptor::new(config, registrar, stop.clone());
        select! {
            biased;
            () = stop.cancelled() => {}
            Some(ended) = owner.join_next() => propagate(ended),
            () = acceptor.welcome(&listener) => {}
        }
        drop(listener);
        let goodbye = async {
            if let Some(ended) = owner.join_next().await {
                propagate(ended);
            }
            acceptor.empty().await;
        };
        if timeout(grace, goodbye).await.is_err() {
            debug!("some connections did not take their goodbye in time");
        }
    }

    /// Runs on tasks of the current runtime, until the handle is shut down or dropped.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn spawn(self) -> CoordinatorHandle {
        let (local_addr, registrar, stop) =
            (self.local_addr, self.registrar.clone(), CancellationToken::new());
        let task = tokio::spawn(self.run(stop.clone()));
        CoordinatorHandle::new(local_addr, registrar, stop, task)
    }
}

/// The registrar ends only when it is told to. If it panicked, the table is gone, and so is the
/// coordinator.
fn propagate(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}

//! The life of a coordinator from binding to shutdown. Its future owns all its tasks, so none
//! outlives the future.

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
mod listener;
mod message;
mod message_stream;
mod registrar;

pub use handle::{CoordinatorHandle, MAX_FILES_LISTED, Stopped};
pub use listener::BindError;

use acceptor::Acceptor;
use listener::listen;
use message::{INBOX_EVENTS, RegistrarEvent};
use registrar::Registrar;

/// A coordinator that is bound to its address and does not serve yet.
#[derive(Debug)]
pub struct Coordinator {
    config: Config,
    listener: TcpListener,
    local_addr: SocketAddr,
    registrar: mpsc::Sender<RegistrarEvent>,
    events: mpsc::Receiver<RegistrarEvent>,
}

impl Coordinator {
    /// Binds the address. Peers may connect from now on; they are served once it runs.
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

    /// Where peers connect, with the actual port.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `stop` is cancelled, then sends `Bye` to every peer and waits at most
    /// [`Config::shutdown_grace`] for them to close. Dropping the future ends everything at once.
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
            () = acceptor.accept_connections(&listener) => {}
        }
        drop(listener);
        let goodbye = async {
            if let Some(ended) = owner.join_next().await {
                propagate(ended);
            }
            acceptor.drain().await;
        };
        if timeout(grace, goodbye).await.is_err() {
            debug!("connections still open after the shutdown grace");
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

/// The registrar ends only when it is told to. If it panicked, the table is lost, and the
/// coordinator ends with the same panic.
fn propagate(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}

//! Connections on which descriptions were asked for, kept for the next question. A thousand files
//! of one holder are not a thousand connections: each would leave a port of ours in use for a
//! minute, of which there are 28 000.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::RngExt;
use tnet_net::{Clock, Connector};
use tnet_proto::{Hello, PeerId};
use tnet_session::handshake;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::asking::{InfoError, Places, Wire};

/// Connections kept; more are closed after their answer.
const KEPT: usize = 16;

/// One that is this old is not used any more: the other side ends a connection without a common
/// file after 30 s.
const OLD_AFTER: Duration = Duration::from_secs(20);

/// One that was not used for this long is closed.
const UNUSED_AT_MOST: Duration = Duration::from_secs(2);

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Askers {
    connector: Connector,
    idle: Arc<Mutex<Idle>>,
    /// For what all searches take in.
    pub(super) places: Places,
    pub(super) clock: Clock,
    tasks: TaskTracker,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct Idle {
    connections: Vec<Asker>,
    is_swept: bool,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Asker {
    address: SocketAddr,
    pub(super) wire: Wire<OwnedReadHalf, OwnedWriteHalf>,
    began: Instant,
    used: Instant,
}

impl Asker {
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Askers {
    /// None yet; what is kept ends with `stop`.
    pub fn new(
        connector: Connector,
        clock: Clock,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Askers {
        Askers { connector, idle: Arc::default(), places: Places::new(), clock, tasks, stop }
    }

    /// One on which the peer at this address answered before, if there is one.
    pub(super) fn take(&self, address: SocketAddr) -> Option<Asker> {
        let mut idle = self.idle();
        idle.connections.retain(|asker| asker.began.elapsed() < OLD_AFTER);
        let at = idle.connections.iter().position(|asker| asker.address == address)?;
        Some(idle.connections.swap_remove(at))
    }

    /// A new one.
    pub(super) async fn call(&self, address: SocketAddr) -> Result<Asker, InfoError> {
        let connection = self.connector.connect(address).await.map_err(InfoError::Unreachable)?;
        let (input, output) = connection.stream.into_split();
        // An id of its own: this connection takes no part in any swarm, and must not replace one
        // that does.
        let hello =
            Hello { peer_id: PeerId(rand::rng().random()), listen_port: 0, capabilities: 0 };
        let greeted = handshake(input, output, &hello, &self.clock).await?;
        let now = Instant::now();
        let wire =
            Wire { input: greeted.input, output: greeted.output, buffered: greeted.buffered };
        Ok(Asker { address, wire, began: now, used: now })
    }

    /// A peer was reached, and said nothing.
    pub(super) fn note_silent(&self, address: SocketAddr) {
        self.connector.paths().fell_silent(address.ip(), false);
    }

    /// Keeps a connection for the next question. The last one must have its answer.
    pub(super) fn keep(&self, mut asker: Asker) {
        asker.used = Instant::now();
        let mut idle = self.idle();
        if idle.connections.len() < KEPT {
            idle.connections.push(asker);
        }
        if !std::mem::replace(&mut idle.is_swept, true) {
            let sweeping = self.clone().sweep();
            self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(sweeping));
        }
    }

    /// Closes unused connections, until none is left.
    async fn sweep(self) {
        loop {
            tokio::time::sleep(UNUSED_AT_MOST / 2).await;
            let mut idle = self.idle();
            idle.connections.retain(|asker| asker.used.elapsed() < UNUSED_AT_MOST);
            if idle.connections.is_empty() {
                idle.is_swept = false;
                return;
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

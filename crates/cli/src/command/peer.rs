//! Starting and ending the peer of this process, for the server and for downloads in the
//! foreground.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tnet_peer::{Limits, Peer, SpawnError};
use tokio::time::timeout;

use crate::args::{Bounds, Global};
use crate::exit::Failure;
use crate::memory;
use crate::settings::{self, DEFAULT_LISTEN};

/// How long a peer may take to say goodbye and to write down what it has. It bounds that itself;
/// this bounds a mistake.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(30);

/// What to do when somebody listens already where we want to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnTaken {
    Fail,
    /// Any free port: nobody has to know ours, since the coordinator tells it.
    AnyPort,
}

/// Starts a peer where the user said, or on the default port. `scans` is where it remembers what
/// shared files are.
pub(crate) async fn start(
    global: &Global,
    on_taken: OnTaken,
    bounds: &Bounds,
    scans: Option<PathBuf>,
) -> Result<Peer, Failure> {
    let coordinator = settings::coordinator(global)?;
    let listen = global.listen.unwrap_or(DEFAULT_LISTEN);
    let spawn = |listen: SocketAddr| {
        let builder = Peer::builder().coordinator(coordinator.clone()).listen(listen);
        let limits = Limits { up: bounds.limit_up.flatten(), down: bounds.limit_down.flatten() };
        let configured = builder.configure(|config| {
            config.scans = scans.clone();
            config.advertise = global.advertise;
            // Several of them on one machine are several to each other.
            config.loopback_from = Some(listen.ip()).filter(IpAddr::is_loopback);
            config.demo_delay = global.demo_delay.unwrap_or_default();
            config.limits = limits;
            if let Some(share) = memory::fair_share() {
                config.keep_within(share);
            }
            if let Some(most) = bounds.max_peers {
                config.swarm.max_peers = most.into();
            }
        });
        configured.spawn()
    };
    let peer = match spawn(listen).await {
        Err(SpawnError::AddressInUse { .. }) if on_taken == OnTaken::AnyPort => {
            spawn(SocketAddr::new(listen.ip(), 0)).await
        }
        other => other,
    };
    peer.map_err(|error| Failure::from(error).or_hint("choose another address with --listen"))
}

/// Ends a peer cleanly, in bounded time.
pub(crate) async fn end(peer: Arc<Peer>) {
    // Whatever else held it has ended before; if not, dropping the last of them ends it too,
    // without a goodbye.
    if let Some(peer) = Arc::into_inner(peer) {
        let _ = timeout(SHUTDOWN_DEADLINE, peer.shutdown()).await;
    }
}

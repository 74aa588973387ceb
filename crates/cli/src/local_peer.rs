//! Starts and ends the peer of this process, for the server and for downloads in the foreground.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tnet_peer::{Limits, Peer, SpawnError};
use tokio::time::timeout;

use crate::config::typed::PeerLimits;
use crate::config::{Config, DEFAULT_LISTEN};
use crate::failure::Failure;
use crate::memory;

/// How long a peer may take to shut down and save its downloads. The peer has its own deadline;
/// this one bounds a bug.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(30);

/// What to do when the port to listen on is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PortConflict {
    Fail,
    /// Take any free port. Others learn it from the coordinator.
    UseAnyPort,
}

/// Starts a peer at the address that the user named, or at the default port. `scans` is the path of
/// its scan cache.
pub(crate) fn start(
    config: &Config,
    on_conflict: PortConflict,
    scans: Option<PathBuf>,
) -> Result<Peer, Failure> {
    let coordinator = config.coordinator()?;
    let listen = config.listen.unwrap_or(DEFAULT_LISTEN);
    let spawn = |listen: SocketAddr| {
        let builder = Peer::builder().coordinator(coordinator.clone()).listen(listen);
        let PeerLimits { limit_up, limit_down, max_peers } = config.peer_limits;
        let limits = Limits { up: limit_up.flatten(), down: limit_down.flatten() };
        let configured = builder.configure(|settings| {
            settings.scans = scans.clone();
            settings.advertise = config.advertise;
            // Several peers on one machine count as different sources.
            settings.loopback_from = Some(listen.ip()).filter(IpAddr::is_loopback);
            settings.demo_delay = config.demo_delay.unwrap_or_default();
            settings.limits = limits;
            if let Some(share) = memory::fair_share() {
                settings.keep_within(share);
            }
            if let Some(most) = max_peers {
                settings.swarm.max_peers = most.into();
            }
        });
        configured.spawn()
    };
    let peer = match spawn(listen) {
        Err(SpawnError::AddressInUse { .. }) if on_conflict == PortConflict::UseAnyPort => {
            spawn(SocketAddr::new(listen.ip(), 0))
        }
        other => other,
    };
    peer.map_err(|error| Failure::from(error).or_hint("choose another address with --listen"))
}

/// Ends a peer cleanly, in bounded time.
pub(crate) async fn end(peer: Arc<Peer>) {
    // All other holders have ended before; if not, dropping the last one ends the peer too, without
    // a clean shutdown.
    if let Some(peer) = Arc::into_inner(peer) {
        let _ = timeout(SHUTDOWN_DEADLINE, peer.shutdown()).await;
    }
}

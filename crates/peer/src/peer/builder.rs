//! Makes a [`Peer`]: its sockets, its tasks and the channels between them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rand::RngExt;
use tnet_infosearch::Askers;
use tnet_net::{
    Clock, ConnectionLimits, Connector, CoordinatorAddress, Descriptors, NarrowPaths, OwnReach,
    Resolver, listen,
};
use tnet_proto::PeerId;
use tnet_session::SessionContext;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Peer;
use crate::api::SpawnError;
use crate::config::Config;
use crate::coordinator_client::CoordinatorClient;
use crate::dialer::Dialer;
use crate::engine::{ENGINE_QUEUE, Engine, Inbox, Parts};
use crate::listener::Listener;
use crate::store::{self, ScanCache};

/// Without any pause between two looks there would be no time for anything else.
const LEAST_REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// Prepares a [`Peer`].
#[derive(Debug, Clone, Default)]
pub struct PeerBuilder {
    config: Config,
}

impl PeerBuilder {
    /// The coordinator to report to and to ask for holders. Without one, files come only from peers
    /// that call.
    #[must_use]
    pub fn coordinator(mut self, address: impl Into<CoordinatorAddress>) -> Self {
        self.config.coordinator = Some(address.into());
        self
    }

    /// Where to accept peers; port 0 takes any free one. Default: `[::]:7401`, over IPv4 and IPv6.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.config.listen = address;
        self
    }

    /// How often to report to the coordinator. Default: 10 s; at least 100 ms.
    #[must_use]
    pub fn report_interval(mut self, interval: Duration) -> Self {
        self.config.report_interval = interval;
        self
    }

    /// All other settings.
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Starts the peer on the current tokio runtime.
    ///
    /// # Errors
    /// It cannot listen where it should.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn spawn(self) -> Result<Peer, SpawnError> {
        Peer::spawn(self.config)
    }
}

impl Peer {
    /// A peer with default settings, to be adjusted.
    pub fn builder() -> PeerBuilder {
        PeerBuilder::default()
    }

    fn spawn(mut config: Config) -> Result<Peer, SpawnError> {
        let limits =
            ConnectionLimits::within_descriptors(config.swarm.max_peers, config.max_strangers);
        config.swarm.max_peers = limits.peers;
        config.max_strangers = limits.strangers;
        config.report_interval = config.report_interval.max(LEAST_REPORT_INTERVAL);
        let socket =
            listen(config.listen, None).map_err(|source| listen_error(config.listen, source))?;
        let listen = socket.local_addr().map_err(|source| listen_error(config.listen, source))?;
        let (stop, connections, services) =
            (CancellationToken::new(), TaskTracker::new(), TaskTracker::new());

        let descriptors = Descriptors::new();
        let looking_after = descriptors.clone().look_after();
        services.spawn(stop.clone().run_until_cancelled_owned(looking_after));
        let (commands, command_queue) = mpsc::channel(ENGINE_QUEUE);
        let (session_events, session_queue) = mpsc::channel(ENGINE_QUEUE);
        let (dialed, dialed_queue) = mpsc::channel(ENGINE_QUEUE);
        let (coordinator_events, coordinator_queue) = mpsc::channel(ENGINE_QUEUE);
        let (work, work_queue) = Inbox::work_channel();
        let inbox = Inbox {
            commands: command_queue,
            sessions: session_queue,
            dialed: dialed_queue,
            coordinator: coordinator_queue,
            work: work_queue,
        };

        let mut random = rand::rng();
        let peer_id = PeerId(random.random());
        let reach = OwnReach::new(listen, config.advertise);
        let clock = Clock::new();
        let connector = Connector::new(NarrowPaths::default(), descriptors.clone())
            .with_timeout(config.connect_within)
            .with_loopback_from(config.loopback_from);
        let context = SessionContext::new(
            session_events,
            config.chunk_memory,
            clock.clone(),
            connections.clone(),
            stop.clone(),
        )
        .with_lingering(limits.farewells)
        .with_demo_delay(config.demo_delay);
        let stop_calls = stop.child_token();
        let dialer = Dialer {
            peer_id,
            reach,
            connector: connector.clone(),
            results: dialed,
            next: Arc::new(AtomicU64::new(0)),
            context: context.clone(),
            stop: stop_calls.clone(),
        };
        let listener = Listener {
            socket,
            dialer: dialer.clone(),
            max_strangers: config.max_strangers,
            descriptors: descriptors.clone(),
        };
        services.spawn(stop.clone().run_until_cancelled_owned(listener.run()));
        let hurry = Arc::new(Notify::new());
        if let Some(address) = config.coordinator.clone() {
            let client = CoordinatorClient {
                address,
                resolver: Resolver::default(),
                connector: connector.clone(),
                secret_id: PeerId(random.random()),
                reach,
                declares_reach: false,
                report_interval: config.report_interval,
                events: coordinator_events,
                clock: clock.clone(),
                hurry: Arc::clone(&hurry),
            };
            connections.spawn(stop.clone().run_until_cancelled_owned(client.run()));
        }
        let seed = random.random();
        let scans = config.scans.clone().map(ScanCache::at);
        let engine = Engine::new(Parts {
            config: config.clone(),
            scans: scans.clone(),
            hurry,
            descriptors: descriptors.clone(),
            peer_id,
            seed,
            listen,
            context,
            dialer,
            work,
        });
        services.spawn(engine.run(inbox));
        let _stop_on_drop = stop.clone().drop_guard();
        let askers = Askers::new(connector, clock.clone(), services.clone(), stop.clone());
        Ok(Peer {
            commands,
            listen,
            config,
            scans,
            disks: store::Disks::default(),
            askers,
            clock,
            descriptors,
            connections,
            services,
            stop,
            stop_calls,
            _stop_on_drop,
        })
    }
}

fn listen_error(address: SocketAddr, source: std::io::Error) -> SpawnError {
    match source.kind() {
        std::io::ErrorKind::AddrInUse => SpawnError::AddressInUse { address },
        std::io::ErrorKind::AddrNotAvailable => SpawnError::AddressNotHere { address },
        _ => SpawnError::Listen { address, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reports_without_a_pause_are_none() {
        let at = SocketAddr::from(([127, 0, 0, 1], 0));
        let peer = Peer::builder()
            .listen(at)
            .report_interval(Duration::ZERO)
            .spawn()
            .expect("a free port");
        assert_eq!(peer.config.report_interval, LEAST_REPORT_INTERVAL);
        peer.shutdown().await;
    }
}

//! A coordinator and named peers on loopback, in this process, on ports and in directories of their
//! own. Everything ends, and every file goes, when it is dropped.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tnet_coordinator::{Coordinator, CoordinatorHandle};
use tnet_fileinfo::FileHash;
use tnet_peer::Peer;
use tnet_proto::{Availability, ReportEntry};

use crate::cli::Cli;
use crate::content::Content;
use crate::fake_reporter::FakeReporter;
use crate::node::Node;
use crate::raw::{RawPeer, RawPeerBuilder};
use crate::relay::Relay;
use crate::wait::{SOON, eventually, is};

/// How often peers report. Three of these are a lease: long enough for a busy machine, short enough
/// to wait for.
const REPORT_INTERVAL: Duration = Duration::from_millis(500);

/// How often shared files and directories are looked at.
const SHARE_INTERVAL: Duration = Duration::from_millis(100);

/// A whole network.
#[derive(Debug)]
pub struct Network {
    nodes: BTreeMap<String, Node>,
    coordinator: Option<CoordinatorHandle>,
    cable: Relay,
    plan: NetworkBuilder,
    dir: TempDir,
}

/// What a [`Network`] is to be.
#[derive(Debug, Clone)]
pub struct NetworkBuilder {
    peers: Vec<String>,
    ip: IpAddr,
    report_interval: Duration,
    config: tnet_peer::Config,
    coordinator: tnet_coordinator::Config,
}

impl Network {
    /// A network with a coordinator and no peers yet.
    pub fn builder() -> NetworkBuilder {
        let mut config =
            tnet_peer::Config { share_interval: SHARE_INTERVAL, ..tnet_peer::Config::default() };
        // What in the field takes seconds because it may take seconds, in tests takes no longer
        // than it must.
        config.swarm.reconnect_after = Duration::from_millis(50);
        config.swarm.reconnect_at_most = Duration::from_millis(500);
        config.swarm.lookup_after = Duration::from_millis(200);
        config.swarm.lookup_at_most = Duration::from_millis(500);
        NetworkBuilder {
            peers: Vec::new(),
            ip: Ipv4Addr::LOCALHOST.into(),
            report_interval: REPORT_INTERVAL,
            config,
            coordinator: tnet_coordinator::Config::default(),
        }
    }

    /// The peer of that name.
    ///
    /// # Panics
    /// If there is none, or none any more.
    pub fn peer(&self, name: &str) -> &Node {
        self.nodes.get(name).unwrap_or_else(|| panic!("no peer is called {name}"))
    }

    /// All peers that run, by name.
    pub fn peers(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// Where peers reach the coordinator, also after it was restarted.
    pub fn coordinator(&self) -> SocketAddr {
        self.cable.address()
    }

    /// The cable between the coordinator and all peers.
    pub fn cable(&self) -> &Relay {
        &self.cable
    }

    /// A user of the command, with a home of that name, who knows the coordinator.
    ///
    /// # Panics
    /// If the home cannot be made.
    pub fn user(&self, name: &str) -> Cli {
        let home = self.dir.path().join("users").join(name);
        std::fs::create_dir_all(&home).expect("a directory of our own is writable");
        Cli::at(&home).with_coordinator(self.coordinator())
    }

    /// The same, who has the description of a content as `a.fileinfo`.
    ///
    /// # Panics
    /// If the home cannot be made or written.
    pub fn user_with_info(&self, name: &str, content: &Content) -> Cli {
        let cli = self.user(name);
        content.write_info(&cli.path("a.fileinfo"));
        cli
    }

    /// A directory for the test's own files; it goes with the network.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts one more peer; or one that was killed or stopped, in the directory that it left.
    ///
    /// # Panics
    /// If a peer of that name runs, or it cannot be started.
    pub async fn start_peer(&mut self, name: &str) -> &Node {
        let config = tnet_peer::Config {
            coordinator: Some(self.coordinator().into()),
            ..self.plan.peer_config()
        };
        self.start_peer_with(name, config).await
    }

    /// The same, with settings of its own.
    ///
    /// # Panics
    /// If a peer of that name runs, or it cannot be started.
    pub async fn start_peer_with(&mut self, name: &str, config: tnet_peer::Config) -> &Node {
        assert!(!self.nodes.contains_key(name), "{name} runs already");
        let dir = self.peer_dir(name);
        std::fs::create_dir_all(&dir).expect("a directory of our own is writable");
        let peer = Peer::builder().configure(|settings| *settings = config).spawn();
        let peer = peer.unwrap_or_else(|error| panic!("starting {name}: {error}"));
        let node = Node::new(name.to_owned(), dir, peer);
        self.nodes.entry(name.to_owned()).or_insert(node)
    }

    /// The settings of this network's peers, to change some for
    /// [`start_peer_with`](Self::start_peer_with).
    pub fn peer_config(&self) -> tnet_peer::Config {
        tnet_peer::Config {
            coordinator: Some(self.coordinator().into()),
            ..self.plan.peer_config()
        }
    }

    /// Where a peer of that name has, had or will have its files.
    pub fn peer_dir(&self, name: &str) -> PathBuf {
        self.dir.path().join("peers").join(name)
    }

    /// Ends a peer as a crash would: no goodbye, nothing flushed. Its files stay.
    ///
    /// # Panics
    /// If there is none of that name.
    pub fn kill(&mut self, name: &str) {
        drop(self.take(name));
    }

    /// Ends a peer in an orderly way. Its files stay.
    ///
    /// # Panics
    /// If there is none of that name.
    pub async fn stop(&mut self, name: &str) {
        self.take(name).into_peer().shutdown().await;
    }

    fn take(&mut self, name: &str) -> Node {
        self.nodes.remove(name).unwrap_or_else(|| panic!("no peer is called {name}"))
    }

    /// Ends the coordinator as a crash would. Calls to it are reset until it is started again.
    pub fn kill_coordinator(&mut self) {
        self.cable.cut();
        self.coordinator = None;
    }

    /// Starts a coordinator that knows nothing, where the last one was.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start_coordinator(&mut self) {
        let coordinator = self.plan.start_coordinator();
        self.cable.retarget(coordinator.local_addr());
        self.cable.pass();
        self.coordinator = Some(coordinator);
    }

    /// The coordinator itself.
    ///
    /// # Panics
    /// If it does not run.
    pub fn coordinator_handle(&self) -> &CoordinatorHandle {
        self.coordinator.as_ref().expect("the test has not killed the coordinator")
    }

    /// How many peers hold the whole file and a part of it, as the coordinator has it.
    ///
    /// # Panics
    /// If the coordinator does not run.
    pub async fn swarm(&self, hash: FileHash) -> (u32, u32) {
        let swarm = self.coordinator_handle().swarm(hash).await.expect("the coordinator runs");
        swarm.map_or((0, 0), |swarm| (swarm.full, swarm.partial))
    }

    /// Waits until the coordinator counts so many whole and partial holders.
    ///
    /// # Panics
    /// If it does not soon.
    pub async fn coordinator_counts(&self, hash: FileHash, full: u32, partial: u32) {
        let what = format!("the coordinator counts {full} whole and {partial} partial holders");
        eventually(&what, SOON, async || is(self.swarm(hash).await, (full, partial))).await;
    }

    /// Starts a raw peer and has it reported to the coordinator as a full holder, in its table when
    /// this returns.
    ///
    /// # Panics
    /// If it cannot be started, or the coordinator does not take it.
    pub async fn raw(&self, builder: RawPeerBuilder) -> RawPeer {
        let mut raw = builder.on(self.plan.ip).start().await.expect("there are free ports");
        raw.report_to(self.coordinator(), self.plan.report_interval).await;
        raw
    }

    /// Reports to the coordinator that the peer behind this port of ours holds the content, for
    /// as long as the reporter lives. With a relay's port, a peer that has no coordinator itself is
    /// reached through that relay only.
    ///
    /// # Panics
    /// If the coordinator does not take it.
    pub async fn announce(&self, port: u16, content: &Content) -> FakeReporter {
        let (hash, size) = (*content.hash().as_bytes(), content.info().size());
        let entry = ReportEntry { hash, size, availability: Availability::Full };
        FakeReporter::announce(self.coordinator(), port, self.plan.report_interval, vec![entry])
            .await
    }

    /// A seed of that name that others reach through a relay, and only through that, for as long as
    /// the reporter lives.
    ///
    /// # Panics
    /// If it cannot be started, or the coordinator does not take it.
    pub async fn distant_seed(&mut self, name: &str, content: &Content) -> (Relay, FakeReporter) {
        let config = tnet_peer::Config { coordinator: None, ..self.peer_config() };
        let seed = self.start_peer_with(name, config).await;
        seed.shares(content).await;
        let relay = Relay::to(seed.local_addr()).await.expect("there are free ports");
        let reporter = self.announce(relay.address().port(), content).await;
        (relay, reporter)
    }

    /// A raw peer that holds `content`, honest and generous, reported to the coordinator.
    ///
    /// # Panics
    /// If it cannot be started, or the coordinator does not take it.
    pub async fn raw_seed(&self, content: &Content) -> RawPeer {
        self.raw(content.raw_peer()).await
    }
}

impl NetworkBuilder {
    /// One more peer.
    #[must_use]
    pub fn peer(mut self, name: &str) -> Self {
        self.peers.push(name.to_owned());
        self
    }

    /// So many more, named `prefix0`, `prefix1` and so on.
    #[must_use]
    pub fn peers(mut self, prefix: &str, count: usize) -> Self {
        self.peers.extend((0..count).map(|number| format!("{prefix}{number}")));
        self
    }

    /// On `::1` instead of `127.0.0.1`.
    #[must_use]
    pub fn ipv6(mut self) -> Self {
        self.ip = Ipv6Addr::LOCALHOST.into();
        self
    }

    /// On this address instead of `127.0.0.1`. It must be one of this machine, or of the network
    /// namespace.
    #[must_use]
    pub fn on(mut self, ip: IpAddr) -> Self {
        self.ip = ip;
        self
    }

    /// Peers report this often; a third of the time after which a silent one is forgotten.
    #[must_use]
    pub fn report_interval(mut self, interval: Duration) -> Self {
        self.report_interval = interval;
        self
    }

    /// Changes the settings of all peers. Coordinator, address and report interval are the
    /// network's own.
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut tnet_peer::Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Changes the settings of the coordinator. Its address is the network's own.
    #[must_use]
    pub fn configure_coordinator(
        mut self,
        change: impl FnOnce(&mut tnet_coordinator::Config),
    ) -> Self {
        change(&mut self.coordinator);
        self
    }

    /// Starts the coordinator and the peers.
    ///
    /// # Panics
    /// If something cannot be started.
    pub async fn start(self) -> Network {
        show_logs();
        let coordinator = self.start_coordinator();
        let cable = Relay::to(coordinator.local_addr()).await.expect("there are free ports");
        let dir = tempfile::tempdir().expect("the system's temporary directory is writable");
        let mut network = Network {
            nodes: BTreeMap::new(),
            coordinator: Some(coordinator),
            cable,
            plan: self.clone(),
            dir,
        };
        for name in &self.peers {
            network.start_peer(name).await;
        }
        network
    }

    fn start_coordinator(&self) -> CoordinatorHandle {
        let listen = SocketAddr::new(self.ip, 0);
        let config = tnet_coordinator::Config { listen, ..self.coordinator.clone() };
        Coordinator::bind(config).expect("there are free ports").spawn()
    }

    fn peer_config(&self) -> tnet_peer::Config {
        tnet_peer::Config {
            listen: SocketAddr::new(self.ip, 0),
            loopback_from: Some(self.ip),
            report_interval: self.report_interval,
            ..self.config.clone()
        }
    }
}

/// All logs go to the test's output, as far as `RUST_LOG` asks for them.
fn show_logs() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    // Fails for all networks of a process but the first, which is as it should be.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
}

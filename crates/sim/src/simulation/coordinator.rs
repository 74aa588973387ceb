//! The coordinator of a world: the shipped registry, on virtual time, and which host is on which
//! connection.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tnet_coordinator::registry::{Hello, Input, Output, Registry};
use tnet_coordinator::{Config, Epoch, SweepStatus, Table, TableLimits};
use tnet_proto::{COORDINATOR_PORT, Families, PeerId, Reach};

use super::coordinator_connection::InFlight;
use crate::units::{HostId, Nanos, duration};

/// Where hosts reach the coordinator, and the port that they call from. No host has this address.
const COORDINATOR: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), COORDINATOR_PORT);
const CALLING_PORT: u16 = 50_000;

#[derive(Debug)]
pub(super) struct Coordinator {
    registry: Registry,
    config: Config,
    hosts: BTreeMap<Epoch, HostId>,
    rng: StdRng,
}

impl Coordinator {
    pub(super) fn new(hosts: usize, mut rng: StdRng) -> Coordinator {
        let defaults = Config::default();
        // A world may be larger than what one server is configured for.
        let most = u32::try_from(hosts).unwrap_or(u32::MAX).saturating_mul(2);
        let table = TableLimits { max_peers: most.max(defaults.table.max_peers), ..defaults.table };
        let config = Config { table, ..defaults };
        let registry = Registry::new(&config, StdRng::seed_from_u64(rng.random()));
        Coordinator { registry, config, hosts: BTreeMap::new(), rng }
    }

    pub(super) fn table(&self) -> &Table {
        self.registry.table()
    }

    /// The lease of a host with this report interval.
    pub(super) fn lease(&self, report_interval: Nanos) -> Nanos {
        duration(self.config.table.lease(Duration::from_nanos(report_interval)))
    }

    /// A new process replaces it, with an empty table.
    pub(super) fn restart(&mut self) {
        self.registry = Registry::new(&self.config, StdRng::seed_from_u64(self.rng.random()));
        self.hosts.clear();
    }

    /// The hello of a peer that accepts connections at `address`, as the coordinator lists it.
    pub(super) fn hello(
        &self,
        id: PeerId,
        address: SocketAddr,
        report_interval: Duration,
    ) -> Hello {
        let remote = SocketAddr::new(address.ip(), CALLING_PORT);
        let reach = Reach::Everywhere { port: address.port(), families: Families::V4 };
        let allowed = &self.config.allow_advertise;
        Hello::new(id, reach, report_interval, remote, COORDINATOR, allowed)
    }

    pub(super) fn connected(&mut self, epoch: Epoch, host: HostId) {
        self.hosts.insert(epoch, host);
    }

    pub(super) fn handle_input(&mut self, now: Nanos, epoch: Epoch, input: Input) {
        if let Input::Ended { .. } = input {
            self.hosts.remove(&epoch);
        }
        self.registry.handle_input(Duration::from_nanos(now), input);
    }

    /// When to call `on_timeout` next.
    pub(super) fn next_timeout(&self) -> Option<Nanos> {
        self.registry.next_timeout().map(duration)
    }

    pub(super) fn on_timeout(&mut self, now: Nanos) {
        while self.registry.handle_timeout(Duration::from_nanos(now)) == SweepStatus::More {}
    }

    /// The next message to a host.
    pub(super) fn poll_message(&mut self) -> Option<InFlight> {
        while let Some(output) = self.registry.poll_output() {
            let message = match output {
                Output::Answer { reply: None, .. } => None,
                Output::Answer { epoch, reply: Some(reply) }
                | Output::Push { epoch, reply }
                | Output::Notify { epoch, reply } => {
                    self.hosts.get(&epoch).map(|host| InFlight::Reply { host: *host, epoch, reply })
                }
                Output::Close { epoch } => {
                    self.hosts.remove(&epoch).map(|host| InFlight::Closed { host, epoch })
                }
            };
            if message.is_some() {
                return message;
            }
        }
        None
    }
}

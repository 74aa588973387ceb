//! The coordinator of a world: the shipped registry, on virtual time, and which host is on which
//! connection.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tnet_coordinator::registry::{Ending, Hello, Input, Output, Registry, Request};
use tnet_coordinator::{Arrival, Config, Epoch, Sweep, Table, TableLimits};
use tnet_proto::{CoordinatorReply, CoordinatorRequest, Listed};

use crate::units::{HostId, Nanos};

/// What the coordinator does to a host's connection.
#[derive(Debug)]
pub(super) enum Letter {
    Reply { host: HostId, epoch: Epoch, reply: CoordinatorReply },
    Close { host: HostId, epoch: Epoch },
}

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

    /// How long after its last sign of life a host is still in the table.
    pub(super) fn lease(&self, report_interval: Nanos) -> Nanos {
        report_interval * u64::from(self.config.table.lease_multiplier)
    }

    /// A new process takes over, with nothing.
    pub(super) fn restart(&mut self) {
        self.registry = Registry::new(&self.config, StdRng::seed_from_u64(self.rng.random()));
        self.hosts.clear();
    }

    pub(super) fn on_hello(
        &mut self,
        now: Nanos,
        (host, observed): (HostId, SocketAddr),
        epoch: Epoch,
        arrival: Arrival,
    ) {
        let listed = Listed::At { address: observed };
        self.hosts.insert(epoch, host);
        let hello = Hello { arrival, observed, listed };
        self.registry.handle_input(Duration::from_nanos(now), Input::Hello { epoch, hello });
    }

    pub(super) fn on_request(&mut self, now: Nanos, epoch: Epoch, request: CoordinatorRequest) {
        if let Ok(request) = Request::try_from(request) {
            self.registry
                .handle_input(Duration::from_nanos(now), Input::Request { epoch, request });
        }
    }

    /// A connection is gone.
    pub(super) fn on_ended(&mut self, now: Nanos, epoch: Epoch) {
        self.hosts.remove(&epoch);
        let input = Input::Ended { epoch, ending: Ending::Lost };
        self.registry.handle_input(Duration::from_nanos(now), input);
    }

    /// When to call `on_timeout` next.
    pub(super) fn next_timeout(&self) -> Option<Nanos> {
        self.registry.next_timeout().map(|at| u64::try_from(at.as_nanos()).unwrap_or(Nanos::MAX))
    }

    pub(super) fn on_timeout(&mut self, now: Nanos) {
        while self.registry.handle_timeout(Duration::from_nanos(now)) == Sweep::More {}
    }

    /// The next thing to send.
    pub(super) fn poll_letter(&mut self) -> Option<Letter> {
        while let Some(output) = self.registry.poll_output() {
            let letter = match output {
                Output::Answer { reply: None, .. } => None,
                Output::Answer { epoch, reply: Some(reply) }
                | Output::Push { epoch, reply }
                | Output::Notify { epoch, reply } => {
                    self.hosts.get(&epoch).map(|host| Letter::Reply { host: *host, epoch, reply })
                }
                Output::Close { epoch } => {
                    self.hosts.remove(&epoch).map(|host| Letter::Close { host, epoch })
                }
            };
            if letter.is_some() {
                return letter;
            }
        }
        None
    }
}

//! A run: hosts with the shipped core, the network between them, the coordinator, and one queue of
//! events.
//!
//! Everything follows from the world and its seed. Each event is processed completely, with
//! everything it causes at once, before the next: no core is called from within a core.

mod coordinator;
mod coordinator_connection;
mod life;
mod perform;
mod result;
mod sampling;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tnet_fileinfo::{ChunkIndex, ChunkSet, Geometry, GeometryError};
use tnet_proto::PeerMessage;
use tnet_swarm::{FileKey, Input, PeerKey};

use crate::check::{Breach, Safety};
use crate::event::SimEvent;
use crate::host::{ChunkBody, Host};
use crate::idle::Idleness;
use crate::net::{Network, Parcel, PipeId};
use crate::outcome::Outcome;
use crate::queue::Queue;
use crate::trace::Trace;
use crate::units::{HostId, Nanos, moment, nanos, number};
use crate::world::{Holds, World};
use coordinator::Coordinator;
use coordinator_connection::Messages;

/// The only file of a world, as every core numbers it.
const FILE: FileKey = FileKey(1);

/// A world in motion.
#[derive(Debug)]
pub struct Simulation {
    world: World,
    geometry: Geometry,
    queue: Queue<SimEvent>,
    network: Network,
    hosts: Vec<Host>,
    coordinator: Coordinator,
    messages: Messages,
    rng: StdRng,
    /// Hosts that must finish and have not.
    awaited: u32,
    inputs: u64,
    events: u64,
    safety: Safety,
    idleness: Idleness,
    trace: Trace,
}

impl Simulation {
    /// A world at rest.
    ///
    /// # Errors
    /// The file has more chunks than a file may have.
    pub fn new(world: World, trace: Trace) -> Result<Simulation, GeometryError> {
        let geometry = world.geometry()?;
        let mut rng = StdRng::seed_from_u64(world.seed);
        let mut network = Network::new(world.network.clone(), StdRng::seed_from_u64(rng.random()));
        let coordinator = Coordinator::new(world.hosts.len(), StdRng::seed_from_u64(rng.random()));
        let mut hosts = Vec::with_capacity(world.hosts.len());
        for plan in &world.hosts {
            network.add_port(plan.up, plan.down);
            let disk = match plan.holds {
                Holds::Everything => ChunkSet::full(&geometry),
                Holds::Nothing => ChunkSet::empty(&geometry),
            };
            hosts.push(Host::new(plan.clone(), disk));
        }
        let awaited = number(world.hosts.iter().filter(|plan| plan.must_finish()).count());
        let idleness = Idleness::new(world.bound());
        let mut simulation = Simulation {
            geometry,
            queue: Queue::default(),
            network,
            hosts,
            coordinator,
            messages: Messages::default(),
            rng,
            awaited,
            inputs: 0,
            events: 0,
            safety: Safety::default(),
            idleness,
            trace,
            world,
        };
        simulation.plan();
        Ok(simulation)
    }

    /// Runs until every host that must finish has, or the deadline.
    pub fn run(mut self) -> Outcome {
        let watch = crate::process::Watch::start();
        let deadline = self.world.deadline;
        self.run_until(deadline, |simulation| simulation.awaited == 0);
        let ended_at = self.queue.now();
        let table = self.world.checks.table.then(|| self.settle()).flatten();
        self.result(ended_at, watch, table)
    }

    /// Runs until no host joins, leaves or finishes, and a lease longer; then the table must agree.
    fn settle(&mut self) -> Option<Breach> {
        let last_change =
            self.world.hosts.iter().flat_map(|plan| plan.changes.iter()).map(|(at, _)| *at).max();
        let quiet_from = self.queue.now().max(last_change.unwrap_or(0));
        let lease = self.coordinator.lease(self.world.report_interval);
        self.run_until(quiet_from + lease + self.world.report_interval * 2, |_| false);
        self.table_breach()
    }

    fn run_until(&mut self, end: Nanos, is_done: impl Fn(&Simulation) -> bool) {
        while !is_done(self) {
            let Some((at, event)) = self.queue.pop() else { return };
            if at > end {
                return;
            }
            self.events += 1;
            self.happen(event);
        }
    }

    fn happen(&mut self, event: SimEvent) {
        if let Some(host) = self.concerns(event)
            && self.hosts[host as usize].is_frozen
        {
            self.hosts[host as usize].postponed.push(event);
            return;
        }
        self.network.now = self.queue.now();
        match event {
            SimEvent::Tick(host) => self.on_tick(host),
            SimEvent::Report(host) => self.on_report_due(host),
            SimEvent::Stored { host, life } => self.on_stored(host, life),
            SimEvent::Read { host, life } => self.on_read(host, life),
            SimEvent::UplinkFree(host) => self.network.on_uplink_free(&mut self.queue, host),
            SimEvent::TurnsLate(host) => self.network.on_turns_late(&mut self.queue, host),
            SimEvent::DownlinkRoom(host) => self.network.on_downlink_room(&mut self.queue, host),
            SimEvent::Delivered { pipe, bytes } => self.on_delivered(pipe, bytes),
            SimEvent::Greeted(pipe) => self.on_greeted(pipe),
            SimEvent::CallFailed { host, life, called } => self.on_call_failed(host, life, called),
            SimEvent::Lost(pipe) => self.on_lost(pipe),
            SimEvent::Resume(pipe) => self.network.on_resume(&mut self.queue, pipe),
            SimEvent::Drip(host) => self.on_drip(host),
            SimEvent::Life { host, change } => self.on_life(host, change),
            SimEvent::LeaveDone { host, life } => self.on_leave_done(host, life),
            SimEvent::Silent { host, life } => self.on_silent(host, life),
            SimEvent::CallCoordinator { host, life } => self.call_coordinator(host, life),
            SimEvent::CoordinatorMessage(message) => self.on_coordinator_message(message),
            SimEvent::CoordinatorTimeout => self.on_coordinator_timeout(),
            SimEvent::CoordinatorTurns => self.on_coordinator_turns(),
            SimEvent::PartitionTurns => self.on_partition_turns(),
            SimEvent::PartitionSilence => self.network.silence_over_partition(&mut self.queue),
            SimEvent::Sample => self.sample(),
        }
        self.report_ended_uploads();
    }

    /// The host whose process handles this event; if it is frozen, the event is postponed.
    fn concerns(&self, event: SimEvent) -> Option<HostId> {
        match event {
            SimEvent::Tick(host) | SimEvent::Report(host) | SimEvent::Drip(host) => Some(host),
            SimEvent::Stored { host, .. }
            | SimEvent::Read { host, .. }
            | SimEvent::CallFailed { host, .. } => Some(host),
            SimEvent::LeaveDone { host, .. } | SimEvent::CallCoordinator { host, .. } => Some(host),
            SimEvent::Greeted(pipe) | SimEvent::Lost(pipe) => Some(self.network.from(pipe)),
            // Postponed like the beginning and the end of its connection, so that they stay in
            // order.
            SimEvent::Delivered { pipe, .. } => Some(self.network.to(pipe)),
            SimEvent::CoordinatorMessage(message) => self.messages.receiver(message),
            _ => None,
        }
    }

    /// Gives a core an input, and performs its outputs.
    fn feed(&mut self, host: HostId, input: Input<ChunkBody>) {
        let now = moment(self.queue.now());
        let Some(core) = self.hosts[host as usize].core.as_mut() else { return };
        core.swarm.handle_input(now, input);
        self.inputs += 1;
        if self.world.checks.books_every > 0
            && self.inputs.is_multiple_of(self.world.checks.books_every)
        {
            core.swarm.check();
        }
        while let Some(output) =
            self.hosts[host as usize].core.as_mut().and_then(|core| core.swarm.poll_output())
        {
            if self.trace.is_on() {
                self.trace.record(self.queue.now(), host, &output);
            }
            self.perform(host, output);
        }
        self.plan_tick(host);
        self.send_reports(host);
    }

    fn plan_tick(&mut self, host: HostId) {
        let Some(core) = self.hosts[host as usize].core.as_mut() else { return };
        let Some(due) = core.swarm.next_timeout() else { return };
        let due = nanos(due).max(self.queue.now());
        if core.tick_at.is_none_or(|planned| due < planned) {
            core.tick_at = Some(due);
            self.queue.push(due, SimEvent::Tick(host));
        }
    }

    fn on_tick(&mut self, host: HostId) {
        let now = self.queue.now();
        let Some(core) = self.hosts[host as usize].core.as_mut() else { return };
        // An earlier tick was planned after this one and has been handled.
        if core.tick_at.is_none_or(|planned| planned > now) {
            return;
        }
        core.tick_at = None;
        if core.swarm.next_timeout().is_some_and(|due| due <= moment(now)) {
            self.feed(host, Input::Tick);
        } else {
            self.plan_tick(host);
        }
    }

    fn on_delivered(&mut self, pipe: PipeId, bytes: u32) {
        self.network.on_delivered(&mut self.queue, pipe, bytes);
        let (host, own) = (self.network.to(pipe), pipe.back());
        while let Some(parcel) = self.network.next_parcel(pipe) {
            if !self.network.is_open(own) {
                continue;
            }
            match parcel {
                Parcel::Message(PeerMessage::Ping { nonce }) => {
                    // The session answers it, not the core.
                    self.network.send_message(&mut self.queue, own, PeerMessage::Pong { nonce });
                }
                Parcel::Message(message) => {
                    self.feed(host, Input::Message { peer: key(own), message })
                }
                Parcel::Part { chunk, len, is_last, taint } => {
                    self.feed(host, Input::DataReceived { peer: key(own), bytes: len });
                    if is_last {
                        let (peer, handle) = (key(own), FILE.handle());
                        let body = ChunkBody { from: own, taint };
                        self.feed(host, Input::ChunkArrived { peer, handle, chunk, body });
                    }
                }
                Parcel::Close => self.lose(own),
            }
        }
    }

    fn on_greeted(&mut self, pipe: PipeId) {
        if !self.network.greet(pipe) {
            return;
        }
        let (host, other) = (self.network.from(pipe), self.network.to(pipe));
        let direction = match is_caller(pipe) {
            true => tnet_swarm::Direction::Outbound,
            false => tnet_swarm::Direction::Inbound,
        };
        let address = self.address(other);
        let (id, source, address) = (self.peer_id(other), address.ip(), Some(address));
        self.feed(
            host,
            Input::PeerConnected { peer: key(pipe), id, source, local: None, address, direction },
        );
    }

    fn on_lost(&mut self, pipe: PipeId) {
        if self.network.greet(pipe) {
            self.network.abandon(pipe);
            if is_caller(pipe) {
                let address = self.address(self.network.to(pipe));
                self.feed(self.network.from(pipe), Input::ConnectFailed { address });
            }
        } else if self.network.is_open(pipe) {
            self.lose(pipe);
        }
    }

    /// The host learns that a connection is gone.
    fn lose(&mut self, own: PipeId) {
        self.network.abandon(own);
        self.feed(self.network.from(own), Input::PeerLost { peer: key(own) });
    }

    fn on_call_failed(&mut self, host: HostId, life: u32, called: HostId) {
        if self.hosts[host as usize].life == life {
            self.feed(host, Input::ConnectFailed { address: self.address(called) });
        }
    }

    /// The address at which a host accepts connections.
    fn address(&self, host: HostId) -> std::net::SocketAddr {
        crate::host::address(host, self.hosts[host as usize].plan.source)
    }

    fn report_ended_uploads(&mut self) {
        self.network.call_up(&mut self.queue);
        while !self.network.ended.is_empty() {
            for ended in std::mem::take(&mut self.network.ended) {
                let host = self.network.from(ended.pipe);
                let Some(core) = self.hosts[host as usize].core.as_mut() else { continue };
                core.uploading = core.uploading.saturating_sub(1);
                let (peer, chunk) = (key(ended.pipe), self.chunk(ended.chunk));
                self.feed(host, Input::UploadEnded { peer, file: FILE, chunk, end: ended.end });
            }
            self.network.call_up(&mut self.queue);
        }
    }

    fn chunk(&self, index: u32) -> ChunkIndex {
        self.geometry
            .chunk(index)
            .expect("parcels carry chunks that a core of this very file named")
    }
}

/// The core's key for the connection of which this is its own pipe.
fn key(own: PipeId) -> PeerKey {
    PeerKey(u64::from(own.0))
}

/// Whether the sender of the pipe opened the connection.
fn is_caller(pipe: PipeId) -> bool {
    pipe.0.is_multiple_of(2)
}

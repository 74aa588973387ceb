//! The hosts' connections to the coordinator: carries the messages of each session and the
//! coordinator's replies. They do not compete with chunks for the links.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt;
use tnet_coordinator::Epoch;
use tnet_coordinator::registry::{Ending, Hello, Input as RegistryInput, Request};
use tnet_proto::{CoordinatorReply, CoordinatorRequest, WireMessage};
use tnet_swarm::{Input, ReconnectPause};

use super::{FILE, Simulation};
use crate::check::{Breach, table_differs};
use crate::event::SimEvent;
use crate::host::{ConnectionState, Core};
use crate::tally::Count;
use crate::units::{HostId, Nanos, duration, moment, nanos, number};
use crate::wire::encoded_len;

/// Messages in flight, and counters of all messages.
#[derive(Debug, Default)]
pub(super) struct Messages {
    in_flight: Vec<Option<InFlight>>,
    /// Unused indices of `in_flight`.
    free: Vec<u32>,
    last_epoch: u64,
    timeout_at: Option<Nanos>,
    /// By the name of the message.
    pub(super) traffic: BTreeMap<&'static str, Count>,
}

#[derive(Debug)]
pub(super) enum InFlight {
    Hello { host: HostId, epoch: Epoch, hello: Hello },
    Request { epoch: Epoch, request: CoordinatorRequest },
    Ended { epoch: Epoch },
    Reply { host: HostId, epoch: Epoch, reply: CoordinatorReply },
    Closed { host: HostId, epoch: Epoch },
}

impl Messages {
    /// The host that a message is for, if it is not the coordinator.
    pub(super) fn receiver(&self, message: u32) -> Option<HostId> {
        match self.in_flight.get(message as usize)?.as_ref()? {
            InFlight::Reply { host, .. } | InFlight::Closed { host, .. } => Some(*host),
            InFlight::Hello { .. } | InFlight::Request { .. } | InFlight::Ended { .. } => None,
        }
    }

    fn put(&mut self, message: InFlight) -> u32 {
        match &message {
            InFlight::Request { request, .. } => self.count(request),
            InFlight::Reply { reply, .. } => self.count(reply),
            InFlight::Hello { .. } | InFlight::Ended { .. } | InFlight::Closed { .. } => {}
        }
        match self.free.pop() {
            Some(index) => {
                self.in_flight[index as usize] = Some(message);
                index
            }
            None => {
                self.in_flight.push(Some(message));
                number(self.in_flight.len() - 1)
            }
        }
    }

    fn count<M: WireMessage>(&mut self, message: &M) {
        let count = self.traffic.entry(message.name()).or_default();
        count.messages += 1;
        count.bytes += encoded_len(message);
    }

    fn take(&mut self, message: u32) -> Option<InFlight> {
        self.free.push(message);
        self.in_flight[message as usize].take()
    }
}

impl Simulation {
    fn is_coordinator_up(&self) -> bool {
        let now = self.queue.now();
        !self.world.outages.iter().any(|(down, up)| (*down..*up).contains(&now))
    }

    pub(super) fn call_coordinator(&mut self, host: HostId, life: u32) {
        let is_up = self.is_coordinator_up();
        let state = &mut self.hosts[host as usize];
        let is_down = |core: &mut Core| core.coordinator.connection == ConnectionState::Down;
        if state.life != life || !state.core.as_mut().is_some_and(is_down) {
            return;
        }
        if !is_up {
            return self.call_again(host, 0);
        }
        self.messages.last_epoch += 1;
        let epoch = Epoch(self.messages.last_epoch);
        let hello = self.coordinator.hello(
            self.peer_id(host),
            self.address(host),
            Duration::from_nanos(self.world.report_interval),
        );
        if let Some(core) = self.hosts[host as usize].core.as_mut() {
            core.coordinator.connection = ConnectionState::Calling(epoch);
        }
        // Three packets of TCP, the last one with the hello.
        self.send(3 * self.world.coordinator_delay, InFlight::Hello { host, epoch, hello });
    }

    /// Plans the next attempt to connect, a pause after `delay`.
    fn call_again(&mut self, host: HostId, delay: Nanos) {
        let factor = self.rng.random_range(ReconnectPause::FACTOR_PER_MILLE);
        let state = &mut self.hosts[host as usize];
        let Some(core) = state.core.as_mut() else { return };
        let (least, rest) = core.coordinator.pause.split(factor);
        core.coordinator.pause.lengthen();
        let at = self.queue.now() + delay + duration(least + rest);
        self.queue.push(at, SimEvent::CallCoordinator { host, life: state.life });
    }

    pub(super) fn on_coordinator_message(&mut self, message: u32) {
        let Some(message) = self.messages.take(message) else { return };
        let now = self.queue.now();
        let (epoch, input) = match message {
            InFlight::Reply { host, epoch, reply } => return self.on_reply(host, epoch, reply),
            InFlight::Closed { host, epoch } => return self.on_closed(host, epoch),
            _ if !self.is_coordinator_up() => return self.after_coordinator(),
            InFlight::Hello { host, epoch, hello } => {
                self.coordinator.connected(epoch, host);
                (epoch, RegistryInput::Hello { epoch, hello })
            }
            InFlight::Request { epoch, request } => match Request::try_from(request) {
                Ok(request) => (epoch, RegistryInput::Request { epoch, request }),
                Err(_) => return,
            },
            InFlight::Ended { epoch } => {
                (epoch, RegistryInput::Ended { epoch, ending: Ending::Lost })
            }
        };
        self.coordinator.handle_input(now, epoch, input);
        self.after_coordinator();
    }

    pub(super) fn on_coordinator_timeout(&mut self) {
        self.messages.timeout_at = None;
        if self.is_coordinator_up() {
            self.coordinator.on_timeout(self.queue.now());
            self.after_coordinator();
        }
    }

    fn after_coordinator(&mut self) {
        while let Some(message) = self.coordinator.poll_message() {
            self.send(self.world.coordinator_delay, message);
        }
        let Some(due) = self.coordinator.next_timeout() else { return };
        let due = due.max(self.queue.now());
        if self.messages.timeout_at.is_none_or(|planned| due < planned) {
            self.messages.timeout_at = Some(due);
            self.queue.push(due, SimEvent::CoordinatorTimeout);
        }
    }

    /// The coordinator goes down, or is back with an empty table.
    pub(super) fn on_coordinator_turns(&mut self) {
        self.coordinator.restart();
        if self.is_coordinator_up() {
            return;
        }
        for host in 0..number(self.hosts.len()) {
            self.lose_coordinator(host);
        }
    }

    fn on_closed(&mut self, host: HostId, epoch: Epoch) {
        let connection =
            self.hosts[host as usize].core.as_ref().map(|core| core.coordinator.connection);
        if connection == Some(ConnectionState::Up(epoch)) {
            self.lose_coordinator(host);
        }
    }

    fn lose_coordinator(&mut self, host: HostId) {
        let core = self.hosts[host as usize].core.as_mut();
        let Some(core) = core.filter(|core| core.coordinator.connection != ConnectionState::Down)
        else {
            return;
        };
        core.coordinator.connection = ConnectionState::Down;
        core.session.on_disconnect();
        self.call_again(host, self.world.coordinator_delay);
    }

    fn on_reply(&mut self, host: HostId, epoch: Epoch, reply: CoordinatorReply) {
        let now = moment(self.queue.now());
        let Some(core) = self.hosts[host as usize].core.as_mut() else { return };
        match (&reply, core.coordinator.connection) {
            (
                CoordinatorReply::Welcome { lease_ms, digest, .. },
                ConnectionState::Calling(called),
            ) if called == epoch => {
                core.coordinator.connection = ConnectionState::Up(epoch);
                core.coordinator.pause.reset();
                core.session.on_welcome(now, Duration::from_millis(u64::from(*lease_ms)), *digest);
            }
            (_, ConnectionState::Up(up)) if up == epoch => core.session.on_reply(&reply),
            _ => return,
        }
        core.coordinator.may_send = true;
        if let CoordinatorReply::Holders { holders, .. } = reply {
            let addresses = holders.iter().map(|holder| holder.address).collect();
            self.feed(host, Input::Holders { file: FILE, addresses });
            self.unwatch_if_settled(host);
        }
        self.send_reports(host);
    }

    /// Ends the watch of a host that needs no more neighbours.
    pub(super) fn unwatch_if_settled(&mut self, host: HostId) {
        let hash = self.world.hash();
        let state = &mut self.hosts[host as usize];
        if let Some(core) = state.core.as_mut().filter(|core| !core.swarm.needs_holders(FILE)) {
            core.session.unwatch(hash);
        }
    }

    pub(super) fn on_report_due(&mut self, host: HostId) {
        if let Some(core) = self.hosts[host as usize].core.as_mut() {
            core.report_at = None;
            core.coordinator.may_send = true;
            self.send_reports(host);
        }
    }

    /// Sends the messages that are due.
    pub(super) fn send_reports(&mut self, host: HostId) {
        let now = moment(self.queue.now());
        let state = &mut self.hosts[host as usize];
        let Some(core) = state.core.as_mut() else { return };
        if !std::mem::take(&mut core.coordinator.may_send) {
            return;
        }
        let ConnectionState::Up(epoch) = core.coordinator.connection else { return };
        let is_watched = core.swarm.needs_holders(FILE);
        let requests: Vec<_> =
            std::iter::from_fn(|| core.session.poll(now, |_| is_watched)).collect();
        if let Some(due) = core.session.next_timeout().map(nanos)
            && core.report_at.is_none_or(|planned| due < planned)
        {
            core.report_at = Some(due);
            self.queue.push(due, SimEvent::Report(host));
        }
        for request in requests {
            self.request(epoch, request);
        }
    }

    fn request(&mut self, epoch: Epoch, request: CoordinatorRequest) {
        self.send(self.world.coordinator_delay, InFlight::Request { epoch, request });
    }

    pub(super) fn say_bye_to_coordinator(&mut self, host: HostId) {
        let connection =
            self.hosts[host as usize].core.as_ref().map(|core| core.coordinator.connection);
        if let Some(ConnectionState::Up(epoch)) = connection {
            self.request(epoch, CoordinatorRequest::Bye);
        }
    }

    /// The host's process is gone without a `Bye`.
    pub(super) fn drop_coordinator(&mut self, host: HostId, notice: Nanos) {
        let connection = self.hosts[host as usize].last_connection;
        if let ConnectionState::Up(epoch) | ConnectionState::Calling(epoch) = connection {
            self.send(self.world.coordinator_delay + notice, InFlight::Ended { epoch });
        }
    }

    fn send(&mut self, after: Nanos, message: InFlight) {
        let message = self.messages.put(message);
        self.queue.push(self.queue.now() + after, SimEvent::CoordinatorMessage(message));
    }

    /// The breach, if the table does not list exactly the live hosts.
    pub(super) fn table_breach(&self) -> Option<Breach> {
        self.coordinator.table().check();
        let table = self.coordinator.table().swarm(&self.world.hash()).unwrap_or_default();
        let alive = || self.hosts.iter().filter(|host| host.is_up());
        let full = number(alive().filter(|host| host.disk.is_full()).count());
        let partial = number(alive().filter(|host| !host.disk.is_full()).count());
        table_differs(table, full, partial)
    }
}

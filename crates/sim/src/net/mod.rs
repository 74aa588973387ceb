//! The network between the hosts: connections as pairs of pipes, each host with an uplink and a
//! downlink.
//!
//! Bytes go in batches. A batch occupies the sender's uplink, then, a delay later and starting
//! while it still arrives, the receiver's downlink. Each connection has at most a turn's worth of
//! bytes in the queue of the sender's interface, which is served in order; the rest waits in its
//! socket, and what the socket does not take waits in the application. The downlink is first come,
//! first served, and when the queue in front of it is full, senders wait instead of losing packets.
//! So a message is behind what its connection has written already and behind one turn of each other
//! connection, not behind chunks that wait in the application.

mod chain;
mod model;
mod partition;
mod pipe;
mod port;
mod turns;
mod uplink;
mod writer;

use rand::RngExt;
use rand::rngs::StdRng;
use tnet_proto::{ByeReason, CONNECT_TIMEOUT, PeerMessage, UploadEnd};

pub use model::NetworkModel;
pub(crate) use pipe::{Parcel, PipeId, Taint};
pub(crate) use port::PortUse;

use crate::event::SimEvent;
use crate::queue::Queue;
use crate::tally::Traffic;
use crate::units::{HostId, MILLISECOND, Nanos, Rate, duration, number};
use crate::wire::GREETING_LEN;
use chain::Chains;
pub(crate) use partition::Partition;
use pipe::{EndState, Pipe, QueuedUpload, Waits, Wrapped};
use port::Port;

/// TCP waits at least this long for an acknowledgement before it sends again.
const RETRANSMISSION: Nanos = 200 * MILLISECOND;

/// The end of an upload, for the sender's core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UploadEnded {
    pub(crate) pipe: PipeId,
    pub(crate) chunk: u32,
    pub(crate) end: UploadEnd,
}

/// All links and everything on them.
#[derive(Debug)]
pub(crate) struct Network {
    model: NetworkModel,
    rng: StdRng,
    ports: Vec<Port>,
    pipes: Vec<Pipe>,
    parcels: Chains<Wrapped>,
    messages: Chains<PeerMessage>,
    uploads: Chains<QueuedUpload>,
    partition: Option<Partition>,
    /// The time of the current event.
    pub(crate) now: Nanos,
    /// Hosts where a waiting connection may write now.
    freed: Vec<HostId>,
    /// Hosts where a connection has begun to wait for a turn.
    crowded: Vec<HostId>,
    pub(crate) traffic: Traffic,
    /// For the cores.
    pub(crate) ended: Vec<UploadEnded>,
}

impl Network {
    pub(crate) fn new(model: NetworkModel, rng: StdRng) -> Network {
        Network {
            model,
            rng,
            ports: Vec::new(),
            pipes: Vec::new(),
            parcels: Chains::default(),
            messages: Chains::default(),
            uploads: Chains::default(),
            partition: None,
            now: 0,
            freed: Vec::new(),
            crowded: Vec::new(),
            traffic: Traffic::default(),
            ended: Vec::new(),
        }
    }

    pub(crate) fn add_port(&mut self, up: Rate, down: Rate) {
        self.ports.push(Port::new(up, down));
    }

    pub(crate) fn port_use(&self, host: HostId) -> PortUse {
        self.port(host).used
    }

    pub(crate) fn is_uplink_busy(&self, host: HostId) -> bool {
        self.port(host).is_sending()
    }

    pub(crate) fn is_downlink_busy(&self, host: HostId, now: Nanos) -> bool {
        self.port(host).down_backlog(now) > 0
    }

    /// Whether a connection of this host waits for its window or for another host's downlink.
    pub(crate) fn is_held_up(&self, host: HostId) -> bool {
        let waits = |pipe: &PipeId| self.pipes[pipe.index()].waits;
        self.port(host)
            .open
            .iter()
            .any(|pipe| matches!(waits(pipe), Waits::Window | Waits::DownlinkState))
    }

    pub(crate) fn from(&self, pipe: PipeId) -> HostId {
        self.pipes[pipe.index()].from
    }

    pub(crate) fn to(&self, pipe: PipeId) -> HostId {
        self.pipes[pipe.index()].to
    }

    /// Open connections of the host, by its own pipes.
    pub(crate) fn open_pipes(&self, host: HostId) -> impl Iterator<Item = PipeId> + '_ {
        self.port(host).open.iter().copied().filter(|pipe| self.is_open(*pipe))
    }

    /// Whether the sender of the pipe has completed the handshake and not closed the connection.
    pub(crate) fn is_open(&self, pipe: PipeId) -> bool {
        self.pipes[pipe.index()].end == EndState::Open
    }

    /// A host connects to another that accepts connections. Both get an event.
    pub(crate) fn connect(&mut self, queue: &mut Queue<SimEvent>, caller: HostId, called: HostId) {
        let pipe = PipeId(number(self.pipes.len()));
        self.pipes.push(Pipe::new(caller, called));
        self.pipes.push(Pipe::new(called, caller));
        self.port_mut(caller).open.push(pipe);
        self.port_mut(called).open.push(pipe.back());
        self.traffic.greetings += 2;
        self.traffic.greeting_bytes += 2 * GREETING_LEN;
        let now = queue.now();
        let (there, back) = (self.way(now, caller, called), self.way(now, called, caller));
        // Three packets of TCP, the last one with the hello.
        let called_knows = now + there + back + there;
        let caller_knows = called_knows + back;
        self.pipes[pipe.back().index()].last_arrival = caller_knows;
        queue.push(called_knows, SimEvent::Greeted(pipe.back()));
        queue.push(caller_knows, SimEvent::Greeted(pipe));
    }

    /// How long until a connection attempt to a host without a process fails.
    pub(crate) fn refusal_time(
        &self,
        now: Nanos,
        caller: HostId,
        called: HostId,
        is_there: bool,
    ) -> Nanos {
        match is_there && !self.is_parted(caller, called) {
            true => self.way(now, caller, called) + self.way(now, called, caller),
            false => duration(CONNECT_TIMEOUT),
        }
    }

    /// The handshake is complete; false if the connection was closed before.
    pub(crate) fn greet(&mut self, pipe: PipeId) -> bool {
        let state = &mut self.pipes[pipe.index()];
        let is_new = state.end == EndState::Greeting;
        if is_new {
            state.end = EndState::Open;
        }
        is_new
    }

    /// The latency of a small packet now.
    fn way(&self, now: Nanos, from: HostId, to: HostId) -> Nanos {
        let (sender, receiver) = (self.port(from), self.port(to));
        let ahead = sender
            .up
            .time_for(self.turn(sender) * sender.ring.len() as u64)
            .min(self.model.uplink_queue);
        sender.up_free.saturating_sub(now) + ahead + self.model.delay + receiver.down_backlog(now)
    }

    /// Bytes came out of a pipe.
    pub(crate) fn on_delivered(&mut self, queue: &mut Queue<SimEvent>, pipe: PipeId, bytes: u32) {
        let receiver = self.to(pipe);
        let acknowledgement = self.model.headers.acknowledgement();
        self.port_mut(receiver).acknowledgements += acknowledgement;
        let state = &mut self.pipes[pipe.index()];
        state.delivered += u64::from(bytes);
        if state.waits == Waits::Window {
            self.await_turn(queue, pipe);
        }
    }

    /// The next parcel that has arrived in full.
    pub(crate) fn next_parcel(&mut self, pipe: PipeId) -> Option<Parcel> {
        let state = &mut self.pipes[pipe.index()];
        let first = self.parcels.front(state.stream)?;
        if first.ends_at > state.delivered {
            return None;
        }
        self.parcels.pop(&mut state.stream).map(|wrapped| wrapped.parcel)
    }

    /// The sender has learned that the connection is gone, or drops it without a `Bye`.
    pub(crate) fn abandon(&mut self, pipe: PipeId) {
        let state = &mut self.pipes[pipe.index()];
        state.end = EndState::Closed;
        state.finishing = None;
        (state.sent, state.queued) = (state.written, 0);
        self.messages.clear(&mut state.messages);
        self.uploads.clear(&mut state.uploads);
        let from = state.from;
        self.leave_line(pipe);
        self.forget_open(from, pipe);
    }

    /// The sender sends `Bye` and reads no more.
    pub(crate) fn close(&mut self, queue: &mut Queue<SimEvent>, pipe: PipeId, reason: ByeReason) {
        let state = &mut self.pipes[pipe.index()];
        if state.end != EndState::Open {
            return;
        }
        self.uploads.clear(&mut state.uploads);
        state.finishing = None;
        state.end = EndState::Closing;
        let from = state.from;
        self.forget_open(from, pipe);
        self.send_message(queue, pipe, PeerMessage::Bye { reason });
    }

    /// The process of a host ends without a `Bye`: the other sides learn it after `notice`.
    pub(crate) fn crash(&mut self, queue: &mut Queue<SimEvent>, host: HostId, notice: Nanos) {
        let now = queue.now();
        for pipe in std::mem::take(&mut self.port_mut(host).open) {
            let state = &mut self.pipes[pipe.index()];
            let at = state.last_arrival.max(now + self.model.delay + notice);
            state.end = EndState::Closed;
            state.finishing = None;
            (state.sent, state.queued) = (state.written, 0);
            self.messages.clear(&mut state.messages);
            self.uploads.clear(&mut state.uploads);
            state.is_leaving = false;
            queue.push(at, SimEvent::Lost(pipe.back()));
        }
        let port = self.port_mut(host);
        port.is_frozen = false;
        port.turns.clear();
        port.line.clear();
    }

    pub(crate) fn freeze(&mut self, host: HostId) {
        self.port_mut(host).is_frozen = true;
    }

    pub(crate) fn thaw(&mut self, queue: &mut Queue<SimEvent>, host: HostId) {
        self.port_mut(host).is_frozen = false;
        self.serve(queue, host);
    }

    /// The other sides of a host's connections time out.
    pub(crate) fn silence(&mut self, queue: &mut Queue<SimEvent>, host: HostId) {
        for pipe in &self.port(host).open {
            queue.push(queue.now(), SimEvent::Lost(pipe.back()));
            // The silent side learns it when it sends.
            queue.push(queue.now() + self.model.delay, SimEvent::Lost(*pipe));
        }
    }

    fn forget_open(&mut self, host: HostId, pipe: PipeId) {
        self.port_mut(host).open.retain(|open| *open != pipe);
    }

    fn port(&self, host: HostId) -> &Port {
        &self.ports[host as usize]
    }

    fn port_mut(&mut self, host: HostId) -> &mut Port {
        &mut self.ports[host as usize]
    }

    /// Random delay of a batch of this many bytes: jitter and loss.
    fn random_delay(&mut self, bytes: u64) -> Nanos {
        let model = &self.model;
        let jitter = if model.jitter > 0 { self.rng.random_range(0..model.jitter) } else { 0 };
        if model.loss_ppm == 0 {
            return jitter;
        }
        let packets = bytes.div_ceil(crate::wire::SEGMENT_LEN);
        let lost = u64::from(model.loss_ppm).saturating_mul(packets).min(1_000_000);
        if self.rng.random_range(0..1_000_000) >= lost {
            return jitter;
        }
        // Later packets reveal the loss; without any, only the retransmission timer does.
        let is_noticed = packets > 3;
        jitter
            + if is_noticed { 2 * model.delay + model.downlink_queue / 2 } else { RETRANSMISSION }
    }
}

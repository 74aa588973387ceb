//! Turns at a host's uplink, and the way through the receiver's downlink.

use super::Network;
use super::pipe::{PipeId, Waits};
use super::port::Port;
use crate::event::SimEvent;
use crate::queue::Queue;
use crate::units::{HostId, Nanos};
use crate::wire::SEGMENT_LEN;

impl Network {
    /// A pipe with something to send puts about one turn's worth of it into the interface's queue
    /// and waits there.
    pub(super) fn await_turn(&mut self, queue: &mut Queue<SimEvent>, pipe: PipeId) {
        let from = self.pipes[pipe.index()].from;
        if self.join_queue(pipe) {
            self.serve(queue, from);
        }
    }

    /// Moves bytes from the socket to the interface; what the socket has room for then is written.
    fn join_queue(&mut self, id: PipeId) -> bool {
        let pipe = &self.pipes[id.index()];
        if !matches!(pipe.waits, Waits::Nowhere | Waits::Window) || pipe.unsent() + pipe.queued == 0
        {
            return false;
        }
        if pipe.queued == 0 {
            let (sender, receiver) =
                (&self.ports[pipe.from as usize], &self.ports[pipe.to as usize]);
            let window = self.model.window_bytes
                + sender.up.min(receiver.down).bytes_in(2 * self.model.delay);
            let bytes =
                pipe.unsent().min(self.turn(sender)).min(window.saturating_sub(pipe.in_flight()));
            let pipe = &mut self.pipes[id.index()];
            (pipe.queued, pipe.waits) = (bytes, Waits::Window);
            pipe.sent += bytes;
            if bytes == 0 {
                return false;
            }
            self.write(id);
        }
        let pipe = &mut self.pipes[id.index()];
        pipe.waits = Waits::Turn;
        let from = pipe.from;
        self.port_mut(from).ring.push_back(id);
        true
    }

    pub(crate) fn on_uplink_free(&mut self, queue: &mut Queue<SimEvent>, host: HostId) {
        let mut sent = std::mem::take(&mut self.port_mut(host).sending);
        for pipe in sent.drain(..) {
            self.pipes[pipe.index()].waits = Waits::Nowhere;
            self.join_queue(pipe);
        }
        // Keep its allocation.
        self.port_mut(host).sending = sent;
        self.serve(queue, host);
    }

    pub(crate) fn on_downlink_room(&mut self, queue: &mut Queue<SimEvent>, host: HostId) {
        let now = queue.now();
        let (limit, turn) = (self.model.downlink_queue, self.model.turn_bytes);
        let port = self.port_mut(host);
        port.room_is_due = false;
        let mut room = port.down.bytes_in(limit.saturating_sub(port.down_backlog(now)));
        let mut woken = Vec::new();
        while room > 0
            && let Some(pipe) = port.crowd.pop_front()
        {
            room = room.saturating_sub(turn);
            woken.push(pipe);
        }
        for pipe in woken {
            self.pipes[pipe.index()].waits = Waits::Nowhere;
            self.await_turn(queue, pipe);
        }
        self.look_for_room(queue, host);
    }

    /// Bytes of one turn: fewer when so many wait that the queue would be too long.
    pub(super) fn turn(&self, port: &Port) -> u64 {
        let fair = port.up.bytes_in(self.model.uplink_queue) / (port.ring.len() as u64 + 1);
        let turn = fair.min(self.model.turn_bytes) / SEGMENT_LEN * SEGMENT_LEN;
        turn.max(SEGMENT_LEN)
    }

    /// Begins to send what is in line, about one turn's worth of bytes, if nothing is being sent.
    pub(super) fn serve(&mut self, queue: &mut Queue<SimEvent>, host: HostId) {
        let port = &mut self.ports[host as usize];
        if port.is_sending() || port.is_frozen || port.ring.is_empty() {
            return;
        }
        let begin = queue.now();
        let acknowledgements = std::mem::take(&mut port.acknowledgements);
        port.used.up_bytes += acknowledgements;
        let mut at = begin + port.up.time_for(acknowledgements);
        let mut left = self.turn(&self.ports[host as usize]);
        while left > 0
            && let Some(pipe) = self.ports[host as usize].ring.pop_front()
        {
            left = left.saturating_sub(self.send_batch(queue, pipe, &mut at));
        }
        let port = &mut self.ports[host as usize];
        if port.is_sending() {
            port.up_free = at;
            port.used.up_busy += at - begin;
            queue.push(at, SimEvent::UplinkFree(host));
        }
    }

    /// Sends what a pipe has in the queue, starting at `at`, which moves to the end of it. Returns
    /// the number of bytes.
    fn send_batch(&mut self, queue: &mut Queue<SimEvent>, id: PipeId, at: &mut Nanos) -> u64 {
        let pipe = &mut self.pipes[id.index()];
        pipe.waits = Waits::Nowhere;
        let (from, to, bytes) = (pipe.from, pipe.to, pipe.queued);
        if bytes == 0 {
            return 0;
        }
        if self.is_parted(from, to) {
            self.await_healing(queue, id);
            return 0;
        }
        if self.ports[to as usize].down_backlog(*at) > self.model.downlink_queue {
            self.pipes[id.index()].waits = Waits::DownlinkState;
            self.port_mut(to).crowd.push_back(id);
            self.look_for_room(queue, to);
            return 0;
        }
        self.pipes[id.index()].queued = 0;
        self.pipes[id.index()].waits = Waits::Sending;
        let wire = self.model.headers.wire_len(bytes);
        let begin = *at;
        let sender = &mut self.ports[from as usize];
        *at += sender.up.time_for(wire);
        sender.used.up_bytes += wire;
        sender.sending.push(id);
        let arrival = self.pass_downlink(to, wire, begin, *at) + self.random_delay(bytes);
        let pipe = &mut self.pipes[id.index()];
        pipe.last_arrival = pipe.last_arrival.max(arrival);
        let bytes_delivered = u32::try_from(bytes).expect("a turn is far below 4 GiB");
        queue.push(pipe.last_arrival, SimEvent::Delivered { pipe: id, bytes: bytes_delivered });
        bytes
    }

    /// When bytes that were sent from `begin` to `end` have come through the receiver's downlink.
    fn pass_downlink(&mut self, host: HostId, wire: u64, begin: Nanos, end: Nanos) -> Nanos {
        let delay = self.model.delay;
        let port = self.port_mut(host);
        let starts = (begin + delay).max(port.down_free);
        port.down_free = (end + delay).max(starts + port.down.time_for(wire));
        port.used.down_bytes += wire;
        port.down_free
    }

    /// Plans the event that wakes the pipes which wait for this downlink.
    fn look_for_room(&mut self, queue: &mut Queue<SimEvent>, host: HostId) {
        let limit = self.model.downlink_queue;
        let port = self.port_mut(host);
        if port.crowd.is_empty() || port.room_is_due {
            return;
        }
        port.room_is_due = true;
        // A little later than at once, so that there is room for more than a packet.
        let at = port.down_free.saturating_sub(limit) + port.down.time_for(SEGMENT_LEN);
        queue.push(at, SimEvent::DownlinkRoom(host));
    }
}

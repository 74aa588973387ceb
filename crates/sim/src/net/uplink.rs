//! Turns at a host's uplink, and the way through the receiver's downlink.

use super::Network;
use super::pipe::{PipeId, Waits};
use super::port::Port;
use crate::event::Event;
use crate::queue::Queue;
use crate::units::{HostId, Nanos};
use crate::wire::SEGMENT_LEN;

impl Network {
    /// Whoever has something to send gets in line, once.
    pub(super) fn await_turn(&mut self, queue: &mut Queue<Event>, pipe: PipeId) {
        let state = &mut self.pipes[pipe.index()];
        let may_wait = matches!(state.waits, Waits::Nowhere | Waits::Window) && state.unsent() > 0;
        let from = state.from;
        if !may_wait {
            return;
        }
        state.waits = Waits::Turn;
        self.port_mut(from).ring.push_back(pipe);
        self.serve(queue, from);
    }

    pub(crate) fn on_uplink_free(&mut self, queue: &mut Queue<Event>, host: HostId) {
        let mut sent = std::mem::take(&mut self.port_mut(host).sending);
        for pipe in sent.drain(..) {
            self.write(pipe);
            let state = &mut self.pipes[pipe.index()];
            state.waits = Waits::Nowhere;
            if state.unsent() > 0 {
                state.waits = Waits::Turn;
                self.port_mut(host).ring.push_back(pipe);
            }
        }
        // Keeps its memory.
        self.port_mut(host).sending = sent;
        self.serve(queue, host);
    }

    pub(crate) fn on_downlink_room(&mut self, queue: &mut Queue<Event>, host: HostId) {
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
    pub(super) fn serve(&mut self, queue: &mut Queue<Event>, host: HostId) {
        let port = &mut self.ports[host as usize];
        if port.is_sending() || port.frozen.is_some() || port.ring.is_empty() {
            return;
        }
        let begin = queue.now();
        let acknowledgements = std::mem::take(&mut port.acknowledgements);
        port.used.up_bytes += acknowledgements;
        let mut at = begin + port.up.time_for(acknowledgements);
        let turn = self.turn(&self.ports[host as usize]);
        let mut left = turn;
        while left > 0
            && let Some(pipe) = self.ports[host as usize].ring.pop_front()
        {
            let sent = self.send_batch(queue, pipe, turn, &mut at);
            left = left.saturating_sub(sent);
        }
        let port = &mut self.ports[host as usize];
        if port.is_sending() {
            port.up_free = at;
            port.used.up_busy += at - begin;
            queue.push(at, Event::UplinkFree(host));
        }
    }

    /// Sends up to `most` bytes of a pipe from `at` on, which moves to the end of that. Answers how many.
    fn send_batch(&mut self, queue: &mut Queue<Event>, id: PipeId, most: u64, at: &mut Nanos) -> u64 {
        let pipe = &mut self.pipes[id.index()];
        pipe.waits = Waits::Nowhere;
        let (from, to) = (pipe.from, pipe.to);
        let bandwidth = self.ports[from as usize].up.min(self.ports[to as usize].down);
        let window = self.model.window_bytes + bandwidth.bytes_in(2 * self.model.delay);
        let bytes = pipe.unsent().min(most).min(window.saturating_sub(pipe.in_flight()));
        if bytes == 0 {
            if pipe.unsent() > 0 {
                pipe.waits = Waits::Window;
            }
            return 0;
        }
        if self.is_parted(from, to) {
            self.await_healing(queue, id);
            return 0;
        }
        if self.ports[to as usize].down_backlog(*at) > self.model.downlink_queue {
            self.pipes[id.index()].waits = Waits::Downlink;
            self.port_mut(to).crowd.push_back(id);
            self.look_for_room(queue, to);
            return 0;
        }
        self.pipes[id.index()].sent += bytes;
        self.pipes[id.index()].waits = Waits::Sending;
        let wire = self.model.headers.wire_len(bytes);
        let begin = *at;
        let sender = &mut self.ports[from as usize];
        *at += sender.up.time_for(wire);
        sender.used.up_bytes += wire;
        sender.sending.push(id);
        let arrival = self.pass_downlink(to, wire, begin, *at) + self.misfortune(bytes);
        let pipe = &mut self.pipes[id.index()];
        pipe.last_arrival = pipe.last_arrival.max(arrival);
        let bytes_delivered = u32::try_from(bytes).expect("a turn is far below 4 GiB");
        queue.push(pipe.last_arrival, Event::Delivered { pipe: id, bytes: bytes_delivered });
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

    /// Whoever waits for this downlink is woken when there is room.
    fn look_for_room(&mut self, queue: &mut Queue<Event>, host: HostId) {
        let limit = self.model.downlink_queue;
        let port = self.port_mut(host);
        if port.crowd.is_empty() || port.room_is_due {
            return;
        }
        port.room_is_due = true;
        // A little later than at once, so that there is room for more than a packet.
        let at = port.down_free.saturating_sub(limit) + port.down.time_for(SEGMENT_LEN);
        queue.push(at, Event::DownlinkRoom(host));
    }
}

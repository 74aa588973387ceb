//! Which of a host's connections write chunks: a few at a time, first come, first served.

use super::Network;
use super::pipe::PipeId;
use crate::event::SimEvent;
use crate::queue::Queue;
use crate::units::HostId;

impl Network {
    /// Unsent bytes at which a connection of this host stops writing.
    pub(super) fn unsent_at_most(&self, host: HostId) -> u64 {
        let own_rate =
            self.port(host).up.bytes_in(self.model.unsent_ahead) / self.model.turns.max(1) as u64;
        own_rate.max(self.model.unsent_bytes)
    }

    /// Whether the pipe may write a part now; if not, it is queued.
    pub(super) fn take_turn(&mut self, pipe: PipeId) -> bool {
        let now = self.now;
        let most = self.model.turns;
        let port = self.port_mut(self.from(pipe));
        let is_free = port.turns.len() < most;
        if is_free {
            port.turns.push((pipe, now));
        } else if !port.line.contains(&pipe) {
            port.line.push_back(pipe);
            let host = self.from(pipe);
            self.crowded.push(host);
        }
        is_free
    }

    /// Everything that the pipe has written is sent.
    pub(super) fn end_turn(&mut self, pipe: PipeId) {
        let state = &mut self.pipes[pipe.index()];
        if std::mem::take(&mut state.is_leaving) {
            let host = state.from;
            self.free_turn(host, pipe);
        }
    }

    /// The pipe writes no more.
    pub(super) fn leave_line(&mut self, pipe: PipeId) {
        let host = self.from(pipe);
        self.port_mut(host).line.retain(|other| *other != pipe);
        self.end_turn(pipe);
    }

    fn free_turn(&mut self, host: HostId, pipe: PipeId) {
        let port = self.port_mut(host);
        port.turns.retain(|(other, _)| *other != pipe);
        if !port.line.is_empty() {
            self.freed.push(host);
        }
    }

    /// Grants free turns to waiting pipes, and plans the event for turns that take long.
    pub(crate) fn call_up(&mut self, queue: &mut Queue<SimEvent>) {
        while let Some(host) = self.freed.pop() {
            while self.port(host).turns.len() < self.model.turns
                && let Some(next) = self.port_mut(host).line.pop_front()
            {
                self.write(next);
                self.await_turn(queue, next);
            }
        }
        let most = self.model.turn_at_most;
        while let Some(host) = self.crowded.pop() {
            let port = self.port_mut(host);
            if let Some((_, oldest)) =
                port.turns.first().filter(|_| !port.is_watched && !port.line.is_empty())
            {
                let at = (*oldest + most).max(queue.now());
                port.is_watched = true;
                queue.push(at, SimEvent::TurnsLate(host));
            }
        }
    }

    /// A part that takes longer gives its turn to others.
    pub(crate) fn on_turns_late(&mut self, queue: &mut Queue<SimEvent>, host: HostId) {
        let (now, most) = (queue.now(), self.model.turn_at_most);
        let port = self.port_mut(host);
        port.is_watched = false;
        let late: Vec<PipeId> = port
            .turns
            .iter()
            .take_while(|(_, since)| since + most <= now)
            .map(|(pipe, _)| *pipe)
            .collect();
        for pipe in late {
            self.free_turn(host, pipe);
        }
        self.crowded.push(host);
    }
}

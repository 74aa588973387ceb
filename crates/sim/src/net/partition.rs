//! A network in two halves for a time. What was in flight arrives; what is sent waits, and after
//! the healing TCP sends again at its next retransmission time.

use super::pipe::{PipeId, Waits};
use super::{Network, RETRANSMISSION};
use crate::event::SimEvent;
use crate::queue::Queue;
use crate::units::{HostId, Nanos, number};

/// Hosts below the border cannot reach the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Partition {
    pub(crate) border: HostId,
    pub(crate) heals_at: Nanos,
}

impl Network {
    pub(crate) fn part(&mut self, partition: Option<Partition>) {
        self.partition = partition;
    }

    pub(crate) fn is_parted(&self, one: HostId, other: HostId) -> bool {
        self.partition
            .is_some_and(|partition| (one < partition.border) != (other < partition.border))
    }

    /// Connections over the partition have been silent for too long, on both sides.
    pub(crate) fn silence_over_partition(&mut self, queue: &mut Queue<SimEvent>) {
        for index in 0..self.pipes.len() {
            let pipe = &self.pipes[index];
            if self.is_parted(pipe.from, pipe.to) && self.is_open(PipeId(number(index))) {
                queue.push(queue.now(), SimEvent::Lost(PipeId(number(index))));
            }
        }
    }

    /// TCP doubles its timeout with each retransmission, so after a long partition it is late.
    pub(super) fn await_healing(&mut self, queue: &mut Queue<SimEvent>, pipe: PipeId) {
        let Some(partition) = self.partition else { return };
        self.pipes[pipe.index()].waits = Waits::Partition;
        let (mut attempt, mut pause) = (queue.now(), RETRANSMISSION);
        while attempt < partition.heals_at {
            attempt += pause;
            pause = pause.saturating_mul(2);
        }
        queue.push(attempt, SimEvent::Resume(pipe));
    }

    pub(crate) fn on_resume(&mut self, queue: &mut Queue<SimEvent>, pipe: PipeId) {
        let state = &mut self.pipes[pipe.index()];
        if state.waits == Waits::Partition {
            state.waits = Waits::Nowhere;
            self.await_turn(queue, pipe);
        }
    }
}

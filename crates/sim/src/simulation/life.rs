//! Hosts start, freeze, crash, leave and come back; the network is partitioned and heals.

use std::collections::VecDeque;
use std::time::Duration;

use rand::RngExt;
use tnet_fileinfo::ChunkSet;
use tnet_proto::{Availability, ByeReason, SILENCE_TIMEOUT};
use tnet_swarm::{CoordinatorSession, Goal, Input, Swarm};

use super::{FILE, Simulation};
use crate::event::SimEvent;
use crate::host::{ConnectionState, CoordinatorEnd, Core, sum};
use crate::net::{Partition, PipeId};
use crate::units::{HostId, SECOND, duration, moment, number};
use crate::world::{Character, HostChange, WhenDone};

/// How often a host that is done checks whether its whole swarm is.
pub(super) const LOOK_AROUND: u64 = SECOND / 4;

/// A host's first start, as a change in its life.
const JOIN: u32 = u32::MAX;

impl Simulation {
    /// Queues all planned events.
    pub(super) fn plan(&mut self) {
        for (host, plan) in self.world.hosts.iter().enumerate() {
            let host = number(host);
            self.queue.push(plan.joins, SimEvent::Life { host, change: JOIN });
            for (change, (at, _)) in plan.changes.iter().enumerate() {
                self.queue.push(*at, SimEvent::Life { host, change: number(change) });
            }
        }
        for (down, up) in &self.world.outages {
            self.queue.push(*down, SimEvent::CoordinatorTurns);
            self.queue.push(*up, SimEvent::CoordinatorTurns);
        }
        if let Some((parts, heals, _)) = self.world.partition {
            self.queue.push(parts, SimEvent::PartitionTurns);
            self.queue.push(heals, SimEvent::PartitionTurns);
            if parts + duration(SILENCE_TIMEOUT) < heals {
                self.queue.push(parts + duration(SILENCE_TIMEOUT), SimEvent::PartitionSilence);
            }
        }
        self.queue.push(crate::world::START, SimEvent::Sample);
    }

    pub(super) fn on_life(&mut self, host: HostId, change: u32) {
        if change == JOIN {
            return self.start(host);
        }
        let (_, change) = self.hosts[host as usize].plan.changes[change as usize];
        if self.trace.is_on() {
            self.trace.record(self.queue.now(), host, &change);
        }
        match change {
            HostChange::Crash => self.stop(host, 0),
            HostChange::Vanish => self.stop(host, duration(SILENCE_TIMEOUT)),
            HostChange::Leave => self.leave(host),
            HostChange::Rejoin => self.start(host),
            HostChange::Freeze { lasts } => self.freeze(host, lasts),
            HostChange::Thaw => self.thaw(host),
        }
    }

    fn start(&mut self, host: HostId) {
        if self.hosts[host as usize].is_up() {
            return;
        }
        let seed = self.rng.random();
        let state = &mut self.hosts[host as usize];
        state.life += 1;
        let life = state.life;
        let id = self.peer_id(host);
        let core = Core {
            swarm: Swarm::new(self.world.swarm.clone(), id, seed),
            session: CoordinatorSession::new(Duration::from_nanos(self.world.report_interval)),
            coordinator: CoordinatorEnd::new(),
            tick_at: None,
            report_at: None,
            writing: VecDeque::new(),
            disk_free: 0,
            unverified: VecDeque::new(),
            uploading: 0,
            drips: Vec::new(),
        };
        let state = &mut self.hosts[host as usize];
        let (nothing, here) = (ChunkSet::empty(&self.geometry), state.disk.clone());
        // A shared file was verified before; a partial one is verified while the rest arrives.
        let (goal, availability, stored, vouched) = match here.is_full() {
            true => (Goal::Seed, Availability::Full, here, nothing),
            false => (Goal::Download, Availability::Partial, nothing, here),
        };
        let core = state.core.insert(core);
        for chunk in vouched.iter() {
            let is_right = self.rng.random_range(0..1000) >= self.world.damaged_per_mille;
            if !is_right {
                state.disk.remove(chunk);
            }
            core.unverified.push_back((chunk.get(), is_right));
        }
        core.session.set(self.world.hash(), self.world.file_len(), availability);
        self.queue.push(self.queue.now(), SimEvent::CallCoordinator { host, life });
        let (hash, geometry) = (self.world.hash(), self.geometry);
        self.feed(host, Input::AddFile { file: FILE, hash, geometry, stored, vouched, goal });
        self.read_next(host);
    }

    /// The process dies; others learn it after `notice`.
    fn stop(&mut self, host: HostId, notice: u64) {
        self.end(host);
        self.network.crash(&mut self.queue, host, notice);
        self.drop_coordinator(host, notice);
    }

    /// The process shuts down.
    fn leave(&mut self, host: HostId) {
        self.say_bye_to_coordinator(host);
        let open: Vec<PipeId> = self.network.open_pipes(host).collect();
        for pipe in open {
            self.network.close(&mut self.queue, pipe, ByeReason::SHUTDOWN);
        }
        self.end(host);
        // Handshakes in progress.
        self.network.crash(&mut self.queue, host, 0);
    }

    fn end(&mut self, host: HostId) {
        let status = self.status(host);
        let state = &mut self.hosts[host as usize];
        if let Some(status) = status {
            state.past = sum(state.past, status.stats);
            if state.plan.character == Character::Honest
                && state
                    .core
                    .as_ref()
                    .is_some_and(|core| core.writing.is_empty() && core.unverified.is_empty())
            {
                self.safety.believes(host, status.stored, &state.disk);
            }
        }
        let state = &mut self.hosts[host as usize];
        let core = state.core.take();
        state.last_connection =
            core.map_or(ConnectionState::Down, |core| core.coordinator.connection);
        state.is_frozen = false;
        state.postponed.clear();
    }

    pub(super) fn status(&self, host: HostId) -> Option<tnet_swarm::FileSnapshot> {
        let core = self.hosts[host as usize].core.as_ref()?;
        core.swarm.file_status(FILE, moment(self.queue.now()))
    }

    pub(super) fn on_leave_done(&mut self, host: HostId, life: u32) {
        let state = &self.hosts[host as usize];
        if state.life != life {
            return;
        }
        let (Some(core), WhenDone::Linger { at_most }) = (&state.core, state.plan.when_done) else {
            return;
        };
        let now = self.queue.now();
        let is_late = state.done_at.is_some_and(|done| now >= done + at_most);
        if is_late || core.swarm.is_swarm_done(FILE) {
            self.leave(host);
        } else {
            self.queue.push(now + LOOK_AROUND, SimEvent::LeaveDone { host, life });
        }
    }

    fn freeze(&mut self, host: HostId, lasts: u64) {
        let state = &mut self.hosts[host as usize];
        if !state.is_up() {
            return;
        }
        state.is_frozen = true;
        let life = state.life;
        self.network.freeze(host);
        if lasts > duration(SILENCE_TIMEOUT) {
            self.queue.push(
                self.queue.now() + duration(SILENCE_TIMEOUT),
                SimEvent::Silent { host, life },
            );
        }
    }

    fn thaw(&mut self, host: HostId) {
        let state = &mut self.hosts[host as usize];
        if !std::mem::take(&mut state.is_frozen) {
            return;
        }
        let now = self.queue.now();
        for event in std::mem::take(&mut state.postponed) {
            self.queue.push(now, event);
        }
        self.network.thaw(&mut self.queue, host);
    }

    pub(super) fn on_silent(&mut self, host: HostId, life: u32) {
        let state = &self.hosts[host as usize];
        if state.life == life && state.is_frozen {
            self.network.silence(&mut self.queue, host);
        }
    }

    pub(super) fn on_partition_turns(&mut self) {
        let Some((parts, heals_at, border)) = self.world.partition else { return };
        let is_parted = (parts..heals_at).contains(&self.queue.now());
        self.network.part(is_parted.then_some(Partition { border, heals_at }));
    }
}

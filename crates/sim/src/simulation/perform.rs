//! Performs the outputs of a core, as the engine of a peer does, or as a misbehaving peer would.

use rand::RngExt;
use tnet_fileinfo::ChunkIndex;
use tnet_proto::{Availability, PeerMessage};
use tnet_swarm::{Event, Input, Output, PeerKey, UploadEnd};

use super::life::LOOK_AROUND;
use super::{FILE, Simulation, key};
use crate::event::SimEvent;
use crate::host::{ChunkBody, Writing, host_at};
use crate::net::{PipeId, Taint, UploadEnded};
use crate::units::{HostId, SECOND};
use crate::world::{Character, Defect, WhenDone};

/// How often a dripping host sends something.
const DRIP_EVERY: u64 = SECOND;

impl Simulation {
    pub(super) fn perform(&mut self, host: HostId, output: Output<ChunkBody>) {
        match output {
            Output::Connect { address } => self.connect(host, host_at(address)),
            Output::Send { peer, message } => {
                self.network.send_message(&mut self.queue, pipe(peer), message)
            }
            Output::Upload { peer, chunk, .. } => self.upload(host, pipe(peer), chunk),
            Output::StopUpload { peer, chunk, .. } => self.stop_upload(host, pipe(peer), chunk),
            Output::Store { chunk, body, .. } => self.store(host, chunk, body),
            Output::Disconnect { peer, reason } => {
                self.network.close(&mut self.queue, pipe(peer), reason)
            }
            Output::Lookup { .. } => {
                let core = self.hosts[host as usize].core.as_mut();
                let core = core.expect("its output is being performed");
                core.session.look_up(self.world.hash());
                core.coordinator.may_send = true;
            }
            Output::Event(event) => self.on_core_event(host, &event),
        }
    }

    fn connect(&mut self, host: HostId, called: Option<HostId>) {
        let called = called.expect("only addresses of hosts are ever named");
        let other = &self.hosts[called as usize];
        let now = self.queue.now();
        if other.is_up()
            && !other.is_frozen
            && called != host
            && !self.network.is_parted(host, called)
        {
            return self.network.connect(&mut self.queue, host, called);
        }
        // Without a process the machine refuses at once; without power there is no answer.
        let is_there = !other.is_up() && !self.has_vanished(called);
        let failure = self.network.refusal_time(now, host, called, is_there || called == host);
        let life = self.hosts[host as usize].life;
        self.queue.push(now + failure, SimEvent::CallFailed { host, life, called });
    }

    fn upload(&mut self, host: HostId, to: PipeId, chunk: ChunkIndex) {
        let state = &mut self.hosts[host as usize];
        let core = state.core.as_mut().expect("its output is being performed");
        core.uploading += 1;
        let taint = match state.plan.character {
            Character::Honest => Taint::Genuine,
            Character::Poisonous { per_mille } if self.rng.random_range(0..1000) < per_mille => {
                Taint::Forged
            }
            Character::Poisonous { .. } => Taint::Genuine,
            Character::Boaster => {
                let refusal = PeerMessage::Refused { file: FILE.handle(), chunk: chunk.get() };
                self.network.send_message(&mut self.queue, to, refusal);
                return self.end_upload(to, chunk, UploadEnd::Stopped);
            }
            Character::Mute => return,
            Character::Dripping | Character::Trickling => {
                if core.drips.is_empty() {
                    self.queue.push(self.queue.now() + DRIP_EVERY, SimEvent::Drip(host));
                }
                core.drips.push((to, chunk.get(), 0));
                return;
            }
        };
        if state.plan.defect == Some(Defect::SendsNothing) {
            return self.end_upload(to, chunk, UploadEnd::Sent);
        }
        state.forged += u64::from(taint == Taint::Forged);
        self.safety.serves(host, chunk.get(), state.disk.contains(chunk));
        let len = self.geometry.chunk_len(chunk);
        if !self.network.upload(&mut self.queue, to, chunk.get(), len, taint) {
            self.end_upload(to, chunk, UploadEnd::Stopped);
        }
    }

    fn end_upload(&mut self, to: PipeId, chunk: ChunkIndex, end: UploadEnd) {
        self.network.ended.push(UploadEnded { pipe: to, chunk: chunk.get(), end });
    }

    fn stop_upload(&mut self, host: HostId, to: PipeId, chunk: ChunkIndex) {
        match self.hosts[host as usize].plan.character {
            // A mute host never answers.
            Character::Mute => {}
            Character::Dripping | Character::Trickling => {
                if let Some(core) = self.hosts[host as usize].core.as_mut() {
                    core.drips
                        .retain(|(pipe, dripping, _)| (*pipe, *dripping) != (to, chunk.get()));
                }
                let stopped = PeerMessage::Stopped { file: FILE.handle(), chunk: chunk.get() };
                self.network.send_message(&mut self.queue, to, stopped);
                self.end_upload(to, chunk, UploadEnd::Stopped);
            }
            Character::Honest | Character::Poisonous { .. } | Character::Boaster => {
                self.network.stop_upload(&mut self.queue, to, chunk.get(), FILE.handle());
            }
        }
    }

    pub(super) fn on_drip(&mut self, host: HostId) {
        let Some(drip) = self.hosts[host as usize].plan.character.drip() else { return };
        let Some(core) = self.hosts[host as usize].core.as_mut() else { return };
        // A chunk is never finished: the last byte is never sent.
        let most = self.geometry.chunk_size().get() - 1;
        core.drips.retain(|(to, ..)| self.network.is_open(*to));
        let mut in_parts = std::collections::BTreeSet::new();
        for (to, chunk, sent) in &mut core.drips {
            let len = drip.min(most - *sent);
            // The parts of two chunks are never mixed on one connection.
            if len > 0 && in_parts.insert(*to) {
                *sent += len;
                self.network.drip(&mut self.queue, *to, *chunk, len);
            }
        }
        if !core.drips.is_empty() {
            self.queue.push(self.queue.now() + DRIP_EVERY, SimEvent::Drip(host));
        }
    }

    fn store(&mut self, host: HostId, chunk: ChunkIndex, body: ChunkBody) {
        let state = &mut self.hosts[host as usize];
        self.safety.fetched(host, chunk.get(), state.disk.contains(chunk));
        let core = state.core.as_mut().expect("its output is being performed");
        let (disk, len) = (state.plan.disk, u64::from(self.geometry.chunk_len(chunk)));
        core.disk_free =
            core.disk_free.max(self.queue.now()) + disk.latency + disk.rate.time_for(len);
        core.writing.push_back(Writing { chunk: chunk.get(), body });
        self.queue.push(core.disk_free, SimEvent::Stored { host, life: state.life });
    }

    pub(super) fn on_stored(&mut self, host: HostId, life: u32) {
        if self.hosts[host as usize].life != life {
            return;
        }
        let state = &mut self.hosts[host as usize];
        let Some(core) = state.core.as_mut() else { return };
        let Writing { chunk, body: ChunkBody { from, taint } } =
            core.writing.pop_front().expect("one is written for each event");
        let chunk = self.geometry.chunk(chunk).expect("it was stored by this very index");
        let defect = state.plan.defect;
        let input = match taint {
            Taint::Forged if defect != Some(Defect::TrustsEverybody) => {
                Input::ChunkCorrupt { file: FILE, chunk, peer: key(from) }
            }
            Taint::Genuine | Taint::Forged => {
                if defect != Some(Defect::LosesWrites) {
                    state.disk.insert(chunk);
                }
                self.safety.stored(host, chunk.get(), taint);
                Input::ChunkStored { file: FILE, chunk }
            }
        };
        self.feed(host, input);
    }

    /// The disk reads the next chunk left by an earlier run, if there is one.
    pub(super) fn read_next(&mut self, host: HostId) {
        let state = &mut self.hosts[host as usize];
        let (disk, life) = (state.plan.disk, state.life);
        let Some(core) = state.core.as_mut().filter(|core| !core.unverified.is_empty()) else {
            return;
        };
        let len = u64::from(self.geometry.chunk_size().get());
        core.disk_free =
            core.disk_free.max(self.queue.now()) + disk.latency + disk.rate.time_for(len);
        self.queue.push(core.disk_free, SimEvent::Read { host, life });
    }

    pub(super) fn on_read(&mut self, host: HostId, life: u32) {
        let state = &mut self.hosts[host as usize];
        if state.life != life {
            return;
        }
        let Some(core) = state.core.as_mut() else { return };
        let Some((chunk, is_right)) = core.unverified.pop_front() else { return };
        let chunks = vec![self.geometry.chunk(chunk).expect("it was on the disk")];
        let input = match is_right || state.plan.defect == Some(Defect::TrustsItsDisk) {
            true => Input::ChunksVerified { file: FILE, chunks },
            false => Input::ChunksLost { file: FILE, chunks },
        };
        self.feed(host, input);
        self.read_next(host);
    }

    fn on_core_event(&mut self, host: HostId, event: &Event) {
        match event {
            Event::Complete { .. } => self.on_complete(host),
            Event::CorruptChunk { address, .. } => self.on_blame(host, *address, "a corrupt chunk"),
            // Disks here lose nothing: receivers detect forged chunks.
            Event::Doubted { .. } => {}
            // For the owner of the sockets; nothing to do here.
            Event::FellSilent { .. } => {}
            Event::Banned { address } => self.on_blame(host, *address, "banned"),
            Event::Cut { address, .. } => self.on_blame(host, *address, "cut"),
        }
    }

    fn on_blame(&mut self, by: HostId, address: Option<std::net::SocketAddr>, what: &'static str) {
        let Some(blamed) = address.and_then(host_at) else { return };
        let character = self.hosts[blamed as usize].plan.character;
        self.safety.blames(by, blamed, character, what);
    }

    fn on_complete(&mut self, host: HostId) {
        let (hash, size) = (self.world.hash(), self.world.file_len());
        let state = &mut self.hosts[host as usize];
        self.safety.done(host, &state.disk);
        if state.done_at.is_none() {
            state.done_at = Some(self.queue.now());
            self.awaited -= u32::from(state.plan.must_finish());
        }
        let core = state.core.as_mut().expect("its output is being performed");
        if state.plan.defect != Some(Defect::KeepsCompletionSecret) {
            core.session.set(hash, size, Availability::Full);
            core.coordinator.may_send = true;
        }
        self.unwatch_if_settled(host);
        let state = &self.hosts[host as usize];
        if let WhenDone::Linger { .. } = state.plan.when_done {
            self.queue.push(
                self.queue.now() + LOOK_AROUND,
                SimEvent::LeaveDone { host, life: state.life },
            );
        }
    }

    pub(super) fn peer_id(&self, host: HostId) -> tnet_proto::PeerId {
        let mut id = [0; 16];
        let life = self.hosts[host as usize].life;
        // Mixed, so that either of two hosts may have the smaller id.
        let mixed = (u64::from(host) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.world.seed;
        id[..8].copy_from_slice(&mixed.to_be_bytes());
        id[8..12].copy_from_slice(&host.to_be_bytes());
        id[12..].copy_from_slice(&life.to_be_bytes());
        tnet_proto::PeerId(id)
    }

    fn has_vanished(&self, host: HostId) -> bool {
        let now = self.queue.now();
        let changes = &self.hosts[host as usize].plan.changes;
        let last = changes.iter().rev().find(|(at, _)| *at <= now);
        last.is_some_and(|(_, change)| *change == crate::world::HostChange::Vanish)
    }
}

/// The core's own pipe of the connection with this key.
fn pipe(peer: PeerKey) -> PipeId {
    PipeId(u32::try_from(peer.0).expect("keys of connections are made from pipes"))
}

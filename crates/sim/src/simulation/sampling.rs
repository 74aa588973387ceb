//! Samples links at regular intervals: which are idle, and why.

use tnet_swarm::FileSnapshot;

use super::{FILE, Simulation};
use crate::event::SimEvent;
use crate::idle::{DownlinkState, UplinkState};
use crate::units::{HostId, number};
use crate::world::Holds;

/// Receivers sampled; in larger worlds every n-th.
const MAX_SAMPLED_HOSTS: usize = 32;

impl Simulation {
    pub(super) fn sample(&mut self) {
        let now = self.queue.now();
        let stride = (self.hosts.len() / MAX_SAMPLED_HOSTS).max(1);
        let receivers = self.hosts.iter().position(|host| host.plan.holds == Holds::Nothing);
        let receivers = receivers.unwrap_or(self.hosts.len());
        for host in 0..receivers.min(MAX_SAMPLED_HOSTS) {
            let host = number(host);
            if let Some(status) = self.status(host) {
                let seen = self.uplink(host, &status);
                self.idleness.note_seed(now, seen);
            }
        }
        for host in (receivers..self.hosts.len()).step_by(stride) {
            let host = number(host);
            if let Some(status) = self.status(host) {
                let (up, down) = (self.uplink(host, &status), self.downlink(host, &status));
                self.idleness.note_receiver(now, up, down);
            }
        }
        if let Some(next) = self.idleness.next_look(now) {
            self.queue.push(next, SimEvent::Sample);
        }
    }

    fn uplink(&self, host: HostId, status: &FileSnapshot) -> UplinkState {
        let state = &self.hosts[host as usize];
        let Some(core) = &state.core else { return UplinkState::Useless };
        if self.network.is_uplink_busy(host) {
            return UplinkState::Sending;
        }
        if self.network.is_held_up(host) {
            return UplinkState::HeldUp;
        }
        if core.swarm.slot_status().uploads > core.uploading {
            return UplinkState::Kept;
        }
        let lacks = |pipe| {
            let other = &self.hosts[self.network.to(pipe) as usize];
            other.is_up() && state.disk.difference_count(&other.disk) > 0
        };
        match status.stored > 0 && self.network.open_pipes(host).any(lacks) {
            true => UplinkState::Unasked,
            false => UplinkState::Useless,
        }
    }

    fn downlink(&self, host: HostId, status: &FileSnapshot) -> DownlinkState {
        if self.network.is_downlink_busy(host, self.queue.now()) {
            return DownlinkState::Receiving;
        }
        let missing =
            status.chunks - status.stored - status.vouched - status.requested - status.storing;
        if status.requested > 0 {
            DownlinkState::Waiting
        } else if missing == 0 {
            DownlinkState::Done
        } else if status.busy_peers > 0 {
            DownlinkState::AllBusy
        } else {
            DownlinkState::NothingAsked
        }
    }

    /// Connections of a host in the file's swarm.
    pub(super) fn neighbours(&self, host: HostId) -> usize {
        self.hosts[host as usize].core.as_ref().map_or(0, |core| core.swarm.neighbours(FILE))
    }
}

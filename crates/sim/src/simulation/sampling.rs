//! Looks at links at regular moments: who is idle, and why.

use tnet_swarm::FileStatus;

use super::{FILE, Simulation};
use crate::event::Event;
use crate::idle::{Downlink, Uplink};
use crate::units::{HostId, number};
use crate::world::Holds;

/// Receivers looked at; in larger worlds every so manieth.
const LOOKED_AT: usize = 32;

impl Simulation {
    pub(super) fn sample(&mut self) {
        let now = self.queue.now();
        let stride = (self.hosts.len() / LOOKED_AT).max(1);
        let receivers = self.hosts.iter().position(|host| host.plan.holds == Holds::Nothing);
        let receivers = receivers.unwrap_or(self.hosts.len());
        for host in 0..receivers.min(LOOKED_AT) {
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
            self.queue.push(next, Event::Sample);
        }
    }

    fn uplink(&self, host: HostId, status: &FileStatus) -> Uplink {
        let state = &self.hosts[host as usize];
        let Some(core) = &state.core else { return Uplink::Useless };
        if self.network.is_uplink_busy(host) {
            return Uplink::Sending;
        }
        if self.network.is_held_up(host) {
            return Uplink::HeldUp;
        }
        if core.swarm.slot_status().uploads > core.uploading {
            return Uplink::Kept;
        }
        let lacks = |pipe| {
            let other = &self.hosts[self.network.to(pipe) as usize];
            other.is_up() && state.disk.difference_count(&other.disk) > 0
        };
        match status.stored > 0 && self.network.open_pipes(host).any(lacks) {
            true => Uplink::Unasked,
            false => Uplink::Useless,
        }
    }

    fn downlink(&self, host: HostId, status: &FileStatus) -> Downlink {
        if self.network.is_downlink_busy(host, self.queue.now()) {
            return Downlink::Receiving;
        }
        let missing =
            status.chunks - status.stored - status.vouched - status.requested - status.storing;
        if status.requested > 0 {
            Downlink::Waiting
        } else if missing == 0 {
            Downlink::Done
        } else if status.busy_peers > 0 {
            Downlink::AllBusy
        } else {
            Downlink::NothingAsked
        }
    }

    /// Connections of a host in the file's swarm.
    pub(super) fn neighbours(&self, host: HostId) -> usize {
        self.hosts[host as usize].core.as_ref().map_or(0, |core| core.swarm.neighbours(FILE))
    }
}

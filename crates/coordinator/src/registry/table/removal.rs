//! Removal of peers: from every index at once, their entries in bounded steps.

use std::mem;

use super::peer::{PeerSlot, PeerState};
use super::{FileSlot, SweepStatus, Table};

impl Table {
    /// Removes at most `TableLimits::sweep_entries` entries of peers that left.
    pub fn sweep(&mut self) -> SweepStatus {
        if let Some(slot) = self.retired.pop() {
            self.strip(slot, self.limits.sweep_entries.max(1) as usize);
        }
        match self.retired.is_empty() {
            true => SweepStatus::Done,
            false => SweepStatus::More,
        }
    }

    /// Whether [`Table::sweep`] has something to do.
    pub fn has_leftovers(&self) -> bool {
        !self.retired.is_empty()
    }

    /// Removes a peer from every index. From now on no lookup finds it and no handout names it.
    pub(super) fn retire(&mut self, slot: PeerSlot) {
        let peer = self.peers.at_mut(slot);
        if peer.state == PeerState::Connected {
            self.by_epoch.remove(&peer.epoch);
        }
        let (key, queued, site) = (peer.key, peer.queued, peer.location.site());
        if peer.state == PeerState::Away && self.away.get(&key) == Some(&slot) {
            self.away.remove(&key);
        }
        self.peers.at_mut(slot).state = PeerState::Retired;
        self.leases.remove(queued, slot);
        let ip =
            self.by_ip.get_mut(&key.ip()).expect("admit made an entry, strip removes the last");
        ip.peers -= 1;
        ip.retired += 1;
        self.leave_site(site);
        self.strip(slot, self.limits.sweep_entries.max(1) as usize);
    }

    /// Removes some entries of a retired peer, and the peer with the last of them.
    pub(super) fn strip(&mut self, slot: PeerSlot, step: usize) {
        // Taking the map out is sound: removing this peer from a file moves only other peers of
        // that file.
        let mut files = mem::take(&mut self.peers.at_mut(slot).files);
        for (file, position) in files.extract_if(|_, _| true).take(step) {
            self.withdraw(file, position);
            self.count_entry_out(slot);
        }
        self.peers.at_mut(slot).files = files;
        self.contest(slot);
        if self.peers.at(slot).files.is_empty() {
            self.forget(slot);
        } else {
            self.retired.push(slot);
        }
    }

    /// Removes the holder at `position`, and the file with its last holder.
    pub(super) fn withdraw(&mut self, file: FileSlot, position: u32) {
        let first_before = self.files.at(file).holders.first();
        self.unlist(file, position);
        let Table { files, peers, .. } = self;
        let holders = &mut files.at_mut(file).holders;
        holders.remove(position, |moved, to| {
            peers.at_mut(moved).files.insert(file, to);
        });
        self.charge_bytes(file, first_before);
        if self.files.at(file).holders.is_empty() {
            let Table { files, index, .. } = self;
            let hash = files.at(file).hash;
            index.remove(&hash, file, |id| &files.at(id).hash);
            files.remove(file);
        }
    }

    /// Decrements the number of entries, in total and of the peer's IP.
    pub(super) fn count_entry_out(&mut self, slot: PeerSlot) {
        self.entries -= 1;
        let ip = self.peers.at(slot).key.ip();
        self.by_ip.get_mut(&ip).expect("an IP with entries has a record").entries -= 1;
    }

    fn forget(&mut self, slot: PeerSlot) {
        let ip = self.peers.remove(slot).key.ip();
        let of_ip = self.by_ip.get_mut(&ip).expect("an IP with peers has a record");
        of_ip.retired -= 1;
        if of_ip.peers == 0 && of_ip.retired == 0 {
            self.by_ip.remove(&ip);
        }
    }
}

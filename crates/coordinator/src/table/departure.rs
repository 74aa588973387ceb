//! How peers leave the table: out of every index at once, their entries in bounded steps.

use std::mem;

use super::peer::{PeerSlot, Standing};
use super::{FileId, Sweep, Table};

impl Table {
    /// Removes at most `TableLimits::sweep_entries` entries of peers that left.
    pub fn sweep(&mut self) -> Sweep {
        if let Some(slot) = self.retired.pop() {
            self.strip(slot);
        }
        match self.retired.is_empty() {
            true => Sweep::Done,
            false => Sweep::More,
        }
    }

    /// Whether [`Table::sweep`] has something to do.
    pub fn has_leftovers(&self) -> bool {
        !self.retired.is_empty()
    }

    /// Takes a peer out of the table. From here on nobody finds it, and nobody is given its address.
    pub(super) fn retire(&mut self, slot: PeerSlot) {
        let peer = self.peers.at_mut(slot);
        if peer.standing == Standing::Connected {
            self.by_epoch.remove(&peer.epoch);
        }
        peer.standing = Standing::Retired;
        self.by_key.remove(&peer.key);
        self.leases.remove(peer.queued, slot);
        let ip = self.by_ip.get_mut(&peer.key.ip()).expect("admit made an entry, strip removes the last");
        ip.peers -= 1;
        ip.retired += 1;
        self.strip(slot);
    }

    /// Removes some entries of a retired peer, and the peer with the last of them.
    fn strip(&mut self, slot: PeerSlot) {
        let step = self.limits.sweep_entries.max(1) as usize;
        // Taking the map out is sound: removing this peer from a file moves only other peers of that file.
        let mut files = mem::take(&mut self.peers.at_mut(slot).files);
        for (file, place) in files.extract_if(|_, _| true).take(step) {
            self.withdraw(file, place);
            self.count_entry_out(slot);
        }
        if files.is_empty() {
            self.forget(slot);
        } else {
            self.peers.at_mut(slot).files = files;
            self.retired.push(slot);
        }
    }

    /// Removes the holder at `place`, and the file with its last holder.
    pub(super) fn withdraw(&mut self, file: FileId, place: u32) {
        let Table { files, peers, .. } = self;
        let holders = &mut files.at_mut(file).holders;
        holders.remove(place, |moved, to| {
            peers.at_mut(moved).files.insert(file, to);
        });
        if holders.is_empty() {
            let gone = self.files.remove(file);
            self.by_hash.remove(&gone.hash);
        }
    }

    /// Counts one entry less in total and for the peer's IP.
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

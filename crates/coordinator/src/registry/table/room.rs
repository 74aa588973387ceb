//! The memory limits of the table: how many bytes things count, what is refused at the limit, and
//! what is evicted.
//!
//! Each thing counts the most that it can take, including growth of the maps, so the count is never
//! below the memory in use. Entries that arrive while there is room are settled. Entries that
//! arrive when room is short are contested: of these, entries of the source with most are evicted
//! for sources with fewer. A quarter of the table is always contested, so a patient source cannot
//! fill it for ever.

use std::net::IpAddr;
use std::time::Duration;

use tnet_fileinfo::FileHash;
use tnet_proto::Limit;
use tnet_sources::SourceNetwork;

use super::peer::{PeerIdentity, PeerRecord, PeerSlot, PeerState};
use super::slab::Slab;
use super::{Epoch, FileIndex, FileRecord, FileSlot, LimitExceeded, Table};

/// Per entry: at most 31 in the map of its peer while that grows, 5 among the holders, 5 in the
/// index by source.
const ENTRY_BYTES: u64 = 44;

/// Per cell of a file, used or not.
const CELL_BYTES: u64 =
    (Slab::<FileSlot, FileRecord>::CELL_BYTES + FileIndex::BYTES_PER_FILE) as u64;

/// Per file, for the allocation of its holders.
const HOLDERS_BYTES: u64 = 32;

const FILE_BYTES: u64 = CELL_BYTES + HOLDERS_BYTES;

/// Entries of retired peers that are removed when an entry finds no room, before it is refused.
const SWEPT_FOR_ONE: usize = 64;

/// Evictions for the entries of one report at most, so that no event takes long.
const EVICTIONS_PER_REPORT: u32 = 64;

/// Entries of a peer that are examined per eviction, in search of files without another holder.
const LOOKED_AT_FOR_ONE: usize = 4;

/// Peers without a connection that are compared for an eviction.
const COMPARED: usize = 16;

/// A lookup settles entries of files with at most this many holders.
const FEW: u32 = 4;

impl Table {
    /// Bytes that count for the limit now. Empty cells count until their memory is given back.
    pub(super) fn bytes(&self) -> u64 {
        self.files.cells() as u64 * CELL_BYTES
            + self.files.len() as u64 * HOLDERS_BYTES
            + u64::from(self.entries) * ENTRY_BYTES
    }

    /// Makes room for one more entry of the peer, for `file` or for a file that is not in the
    /// table.
    ///
    /// # Errors
    /// The limit that was reached.
    pub(super) fn make_room_for_entry(
        &mut self,
        slot: PeerSlot,
        file: Option<FileSlot>,
    ) -> Result<(), LimitExceeded> {
        if self.room_for_entry(slot, file).is_ok() {
            return Ok(());
        }
        // Entries of retired peers count until they are swept.
        if let Some(left) = self.retired.pop() {
            self.strip(left, SWEPT_FOR_ONE);
        }
        loop {
            let Err(hit) = self.room_for_entry(slot, file) else { return Ok(()) };
            if hit.limit != Limit::EntriesTotal || self.evictions_left == 0 {
                return Err(hit);
            }
            self.evictions_left -= 1;
            if !self.evict_for(slot, hit) {
                // The next entry of this report would find nothing to evict either.
                self.evictions_left = 0;
            }
        }
    }

    /// Allows the evictions of one report.
    pub(super) fn allow_evictions(&mut self) {
        self.evictions_left = EVICTIONS_PER_REPORT;
    }

    fn room_for_entry(&self, slot: PeerSlot, file: Option<FileSlot>) -> Result<(), LimitExceeded> {
        let limits = &self.limits;
        let peer = self.peers.at(slot);
        if peer.files.len() >= limits.max_entries_per_peer as usize {
            return Err(LimitExceeded::new(Limit::EntriesPerPeer, limits.max_entries_per_peer));
        }
        let of_ip = self.by_ip.get(&peer.key.ip());
        if of_ip.map_or(0, |of_ip| of_ip.entries) >= limits.max_entries_per_ip {
            // The protocol has no separate limit for it; the value tells which of the two it was.
            return Err(LimitExceeded::new(Limit::EntriesPerPeer, limits.max_entries_per_ip));
        }
        let (of_file, of_table) = match file {
            Some(_) => (0, 0),
            None => (FILE_BYTES, HOLDERS_BYTES + self.files.next_cells() as u64 * CELL_BYTES),
        };
        let bytes_of_ip = of_ip.map_or(0, |of_ip| {
            u64::from(of_ip.entries) * ENTRY_BYTES + u64::from(of_ip.files) * FILE_BYTES
        });
        if bytes_of_ip + ENTRY_BYTES + of_file > limits.max_bytes_per_ip {
            return Err(LimitExceeded::of_bytes(Limit::EntriesPerPeer, limits.max_bytes_per_ip));
        }
        if self.entries >= limits.max_entries {
            return Err(LimitExceeded::new(Limit::EntriesTotal, limits.max_entries));
        }
        if self.bytes() + ENTRY_BYTES + of_table > limits.max_bytes {
            return Err(LimitExceeded::of_bytes(Limit::EntriesTotal, limits.max_bytes));
        }
        Ok(())
    }

    /// Makes room for one more peer by evicting a peer without a connection.
    ///
    /// # Errors
    /// The limit that was reached.
    pub(super) fn make_room_for_peer(&mut self, ip: IpAddr) -> Result<(), LimitExceeded> {
        let limits = self.limits;
        let of_ip = self.by_ip.get(&ip).map_or(0, |of_ip| of_ip.peers);
        if of_ip >= limits.max_peers_per_ip {
            let away = self
                .away
                .range(PeerIdentity::first_of(ip)..)
                .next()
                .filter(|(key, _)| key.ip() == ip);
            let hit = LimitExceeded::new(Limit::ConnectionsPerIp, limits.max_peers_per_ip);
            let (_, slot) = away.ok_or(hit)?;
            self.retire(*slot);
        }
        if self.live_peers() >= limits.max_peers as usize {
            let hit = LimitExceeded::new(Limit::ConnectionsTotal, limits.max_peers);
            let first = PeerIdentity::first_of(ip);
            // The peers next to the newcomer and the first ones: a cheap sample is enough.
            let some =
                self.away.range(first..).take(COMPARED).chain(self.away.iter().take(COMPARED));
            let peers_at =
                |key: &PeerIdentity| self.by_ip.get(&key.ip()).map_or(0, |of_ip| of_ip.peers);
            let (_, slot) = some.max_by_key(|(key, _)| peers_at(key)).ok_or(hit)?;
            self.retire(*slot);
        }
        Ok(())
    }

    /// A peer looks a file up. Entries that other networks ask for become settled, as long as
    /// enough others stay contested.
    pub fn asked_for(&mut self, hash: &FileHash, asker: Epoch) {
        let Some(file) = self.file_of(hash) else { return };
        let Some(asker) = self.by_epoch.get(&asker) else { return };
        let of_asker = SourceNetwork::of(self.peers.at(*asker).key.ip());
        let contested = self.contested.total() * (ENTRY_BYTES + FILE_BYTES);
        if self.files.at(file).holders.len() > FEW
            || self.live_bytes().saturating_sub(contested) > self.calm_bytes()
        {
            return;
        }
        let holders: Vec<PeerSlot> =
            self.files.at(file).holders.iter().map(|(_, slot)| slot).collect();
        for slot in holders {
            let peer = self.peers.at_mut(slot);
            if peer.contested > 0 && SourceNetwork::of(peer.key.ip()) != of_asker {
                peer.settled += 1;
                self.contest(slot);
            }
        }
    }

    /// Counts a new entry of the peer as settled or contested.
    pub(super) fn settle_or_contest(&mut self, slot: PeerSlot) {
        let is_calm = self.is_calm();
        let peer = self.peers.at_mut(slot);
        if is_calm && peer.contested == 0 {
            peer.settled = peer.settled.max(peer.files.len());
        } else {
            self.contest(slot);
        }
    }

    /// Recounts the contested entries of the peer.
    pub(super) fn contest(&mut self, slot: PeerSlot) {
        let peer = self.peers.at_mut(slot);
        let (before, ip) = (peer.contested, peer.key.ip());
        let now = match peer.state {
            PeerState::Retired => 0,
            PeerState::Connected | PeerState::Away => peer.files.len().saturating_sub(peer.settled),
        };
        if now == before {
            return;
        }
        peer.contested = now;
        self.contested.count(ip, before, now);
        if before == 0 {
            peer.contested_position = self.contested.enter(slot);
        } else if now == 0 {
            let position = peer.contested_position;
            if let Some(moved) = self.contested.leave(position) {
                self.peers.at_mut(moved).contested_position = position;
            }
        }
    }

    /// The bytes of a file count for its first holder. Called after a change of the holders, with
    /// the first holder before it.
    pub(super) fn charge_bytes(&mut self, file: FileSlot, before: Option<PeerSlot>) {
        let now = self.files.at(file).holders.first();
        if now == before {
            return;
        }
        for (slot, pays) in [(before, false), (now, true)] {
            let Some(slot) = slot else { continue };
            let ip = self.peers.at(slot).key.ip();
            let of_ip = self.by_ip.get_mut(&ip).expect("an IP with entries has a record");
            of_ip.files = if pays { of_ip.files + 1 } else { of_ip.files - 1 };
        }
    }

    /// Whether a peer whose report was truncated may report again, and there is room for more of
    /// its entries.
    pub(super) fn has_room_again(&self, now: Duration, slot: PeerSlot) -> bool {
        self.peers.at(slot).quiet_until <= now
            && self.is_calm()
            && self.room_for_entry(slot, None).is_ok()
    }

    /// Whether room is not short.
    pub(super) fn is_calm(&self) -> bool {
        self.live_bytes() <= self.calm_bytes()
    }

    /// Up to this number of bytes room is not short.
    fn calm_bytes(&self) -> u64 {
        self.limits.max_bytes / 4 * 3
    }

    /// Bytes of files and entries, without empty cells.
    fn live_bytes(&self) -> u64 {
        self.files.len() as u64 * FILE_BYTES + u64::from(self.entries) * ENTRY_BYTES
    }

    /// Evicts some entries of the source that has most. False if that is the newcomer's own.
    fn evict_for(&mut self, newcomer: PeerSlot, hit: LimitExceeded) -> bool {
        let Table { contested, peers, .. } = self;
        let ip_of = |slot| peers.at(slot).key.ip();
        let Some((greatest, amount)) = contested.pick_victim(ip_of(newcomer), ip_of) else {
            return false;
        };
        if greatest == newcomer {
            return false;
        }
        self.evict(greatest, amount, hit);
        true
    }

    /// Evicts entries of a peer, preferring files without another holder among a few examined.
    fn evict(&mut self, slot: PeerSlot, amount: usize, hit: LimitExceeded) {
        let amount = amount.min(self.peers.at(slot).contested);
        // Taking the map out is sound: removing this peer from a file moves only other peers of
        // that file.
        let mut files = std::mem::take(&mut self.peers.at_mut(slot).files);
        let is_unique = |file: FileSlot| self.files.at(file).holders.len() == 1;
        let looked_at = files
            .iter()
            .map(|(file, position)| (*file, *position))
            .take(amount * LOOKED_AT_FOR_ONE);
        let (mut taken, others): (Vec<_>, Vec<_>) =
            looked_at.partition(|(file, _)| is_unique(*file));
        taken.extend(others);
        taken.truncate(amount);
        for (file, _) in &taken {
            files.remove(file);
        }
        let entries: Vec<_> =
            taken.iter().map(|(file, position)| self.entry(slot, *file, *position)).collect();
        self.evicted += taken.len() as u64;
        for (file, position) in &taken {
            self.withdraw(*file, *position);
            self.count_entry_out(slot);
        }
        let now = self.latest;
        let peer: &mut PeerRecord = self.peers.at_mut(slot);
        entries.iter().for_each(|entry| peer.digest.toggle(entry));
        for (file, _) in &taken {
            peer.odd_sizes.remove(file);
        }
        peer.files = files;
        peer.shrink();
        peer.note_truncation(now, hit);
        self.contest(slot);
    }
}

#[cfg(test)]
mod tests;

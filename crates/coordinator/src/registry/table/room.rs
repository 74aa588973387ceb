//! The table's memory: what things count in bytes, what is refused when the bytes are used up, and
//! who gives way.
//!
//! Each thing counts as much as it can take whatever happened before, growth of the maps included,
//! so the count is never below what the table really has. While there is room, entries are settled.
//! What comes when room is short is contested: of that the source with most gives way to those with
//! less. A quarter is always contested, so patience does not fill the table for ever.

use std::net::IpAddr;
use std::time::Duration;

use tnet_fileinfo::FileHash;
use tnet_proto::{Limit, SourceNetwork};

use super::peer::{Peer, PeerKey, PeerSlot, Standing};
use super::slab::Slab;
use super::{Epoch, File, FileId, FileIndex, LimitExceeded, Table};

/// An entry: at most 31 in the map of its peer while that grows, 5 among the holders, 5 by source.
const ENTRY_BYTES: u64 = 44;

/// A file's place, used or not.
const PLACE_BYTES: u64 = (Slab::<FileId, File>::PLACE_BYTES + FileIndex::BYTES_PER_FILE) as u64;

/// The holders of a file, in an allocation of their own.
const HOLDERS_BYTES: u64 = 32;

const FILE_BYTES: u64 = PLACE_BYTES + HOLDERS_BYTES;

/// Entries of peers that left, removed by one that finds no room before it is refused.
const SWEPT_FOR_ONE: usize = 64;

/// How often others give way to the entries of one report. No event may take long.
const TURNS_OF_A_REPORT: u32 = 64;

/// Entries of a peer that are looked at to find one that nobody else has.
const LOOKED_AT_FOR_ONE: usize = 4;

/// Peers without a connection that are compared when one has to make room.
const COMPARED: usize = 16;

/// Who holds a file that was asked for is looked up for so many holders.
const FEW: u32 = 4;

impl Table {
    /// Bytes that count for the limit now. Places that files have left count until their memory is
    /// given back.
    pub(super) fn bytes(&self) -> u64 {
        self.files.places() as u64 * PLACE_BYTES
            + self.files.len() as u64 * HOLDERS_BYTES
            + u64::from(self.entries) * ENTRY_BYTES
    }

    /// Makes room for one more entry of the peer, of a file that is in the table or not.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn make_room_for_entry(
        &mut self,
        slot: PeerSlot,
        file: Option<FileId>,
    ) -> Result<(), LimitExceeded> {
        if self.room_for_entry(slot, file).is_ok() {
            return Ok(());
        }
        // What left counts until it is swept.
        if let Some(left) = self.retired.pop() {
            self.strip(left, SWEPT_FOR_ONE);
        }
        loop {
            let Err(hit) = self.room_for_entry(slot, file) else { return Ok(()) };
            if hit.limit != Limit::EntriesTotal || self.turns_left == 0 {
                return Err(hit);
            }
            self.turns_left -= 1;
            if !self.give_way(slot, hit) {
                // Nor would anybody for the next entry.
                self.turns_left = 0;
            }
        }
    }

    /// A report begins.
    pub(super) fn begin_turns(&mut self) {
        self.turns_left = TURNS_OF_A_REPORT;
    }

    fn room_for_entry(&self, slot: PeerSlot, file: Option<FileId>) -> Result<(), LimitExceeded> {
        let limits = &self.limits;
        let peer = self.peers.at(slot);
        if peer.files.len() >= limits.max_entries_per_peer as usize {
            return Err(LimitExceeded::new(Limit::EntriesPerPeer, limits.max_entries_per_peer));
        }
        let of_ip = self.by_ip.get(&peer.key.ip());
        if of_ip.map_or(0, |of_ip| of_ip.entries) >= limits.max_entries_per_ip {
            // The protocol has no limit of its own for it; the value tells which of the two it was.
            return Err(LimitExceeded::new(Limit::EntriesPerPeer, limits.max_entries_per_ip));
        }
        let (of_file, of_table) = match file {
            Some(_) => (0, 0),
            None => (FILE_BYTES, HOLDERS_BYTES + self.files.next_places() as u64 * PLACE_BYTES),
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

    /// Makes room for one more peer: who has no connection gives way.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn make_room_for_peer(&mut self, ip: IpAddr) -> Result<(), LimitExceeded> {
        let limits = self.limits;
        let of_ip = self.by_ip.get(&ip).map_or(0, |of_ip| of_ip.peers);
        if of_ip >= limits.max_peers_per_ip {
            let away =
                self.away.range(PeerKey::first_of(ip)..).next().filter(|(key, _)| key.ip() == ip);
            let hit = LimitExceeded::new(Limit::ConnectionsPerIp, limits.max_peers_per_ip);
            let (_, slot) = away.ok_or(hit)?;
            self.retire(*slot);
        }
        if self.live_peers() >= limits.max_peers as usize {
            let hit = LimitExceeded::new(Limit::ConnectionsTotal, limits.max_peers);
            let first = PeerKey::first_of(ip);
            // Those next to the newcomer and those at the far end: any choice that costs little
            // will do.
            let some =
                self.away.range(first..).take(COMPARED).chain(self.away.iter().take(COMPARED));
            let peers_at = |key: &PeerKey| self.by_ip.get(&key.ip()).map_or(0, |of_ip| of_ip.peers);
            let (_, slot) = some.max_by_key(|(key, _)| peers_at(key)).ok_or(hit)?;
            self.retire(*slot);
        }
        Ok(())
    }

    /// Somebody asks for a file. What others want is settled, as long as enough stays contested.
    pub fn asked_for(&mut self, hash: &FileHash, asker: Epoch) {
        let Some(file) = self.file_of(hash) else { return };
        let Some(asker) = self.by_epoch.get(&asker) else { return };
        let of_asker = SourceNetwork::of(self.peers.at(*asker).key.ip());
        let contested = self.contested.total() * (ENTRY_BYTES + FILE_BYTES);
        if self.files.at(file).holders.len() > FEW
            || self.live_bytes().saturating_sub(contested) > self.calm()
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

    /// The peer has one more entry.
    pub(super) fn settle_or_contest(&mut self, slot: PeerSlot) {
        let is_calm = self.is_calm();
        let peer = self.peers.at_mut(slot);
        if is_calm && peer.contested == 0 {
            peer.settled = peer.settled.max(peer.files.len());
        } else {
            self.contest(slot);
        }
    }

    /// Counts anew how much of what the peer holds is contested.
    pub(super) fn contest(&mut self, slot: PeerSlot) {
        let peer = self.peers.at_mut(slot);
        let (before, ip) = (peer.contested, peer.key.ip());
        let now = match peer.standing {
            Standing::Retired => 0,
            Standing::Connected | Standing::Away => peer.files.len().saturating_sub(peer.settled),
        };
        if now == before {
            return;
        }
        peer.contested = now;
        self.contested.count(ip, before, now);
        if before == 0 {
            peer.contested_place = self.contested.enter(slot);
        } else if now == 0 {
            let place = peer.contested_place;
            if let Some(moved) = self.contested.leave(place) {
                self.peers.at_mut(moved).contested_place = place;
            }
        }
    }

    /// The first holder of a file pays for it. Called after a change of the holders, with who was
    /// first before.
    pub(super) fn pay(&mut self, file: FileId, before: Option<PeerSlot>) {
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

    /// Whether a peer that was cut may try again, and would get more in now.
    pub(super) fn has_room_again(&self, now: Duration, slot: PeerSlot) -> bool {
        self.peers.at(slot).quiet_until <= now
            && self.is_calm()
            && self.room_for_entry(slot, None).is_ok()
    }

    /// Whether there is room for everybody.
    pub(super) fn is_calm(&self) -> bool {
        self.live_bytes() <= self.calm()
    }

    /// Up to here there is room for everybody.
    fn calm(&self) -> u64 {
        self.limits.max_bytes / 4 * 3
    }

    /// Bytes of what is there, without the places that files have left.
    fn live_bytes(&self) -> u64 {
        self.files.len() as u64 * FILE_BYTES + u64::from(self.entries) * ENTRY_BYTES
    }

    /// Takes some entries from the source that has most. False if that is the newcomer's own.
    fn give_way(&mut self, newcomer: PeerSlot, hit: LimitExceeded) -> bool {
        let Table { contested, peers, .. } = self;
        let ip_of = |slot| peers.at(slot).key.ip();
        let Some((greatest, amount)) = contested.who_gives_way(ip_of(newcomer), ip_of) else {
            return false;
        };
        if greatest == newcomer {
            return false;
        }
        self.take(greatest, amount, hit);
        true
    }

    /// Takes entries from a peer: of some of them those first that nobody else has.
    fn take(&mut self, slot: PeerSlot, amount: usize, hit: LimitExceeded) {
        let amount = amount.min(self.peers.at(slot).contested);
        // Taking the map out is sound: removing this peer from a file moves only other peers of
        // that file.
        let mut files = std::mem::take(&mut self.peers.at_mut(slot).files);
        let is_unique = |file: FileId| self.files.at(file).holders.len() == 1;
        let looked_at =
            files.iter().map(|(file, place)| (*file, *place)).take(amount * LOOKED_AT_FOR_ONE);
        let (mut taken, others): (Vec<_>, Vec<_>) =
            looked_at.partition(|(file, _)| is_unique(*file));
        taken.extend(others);
        taken.truncate(amount);
        for (file, _) in &taken {
            files.remove(file);
        }
        let entries: Vec<_> =
            taken.iter().map(|(file, place)| self.entry(slot, *file, *place)).collect();
        self.gave_way += taken.len() as u64;
        for (file, place) in &taken {
            self.withdraw(*file, *place);
            self.count_entry_out(slot);
        }
        let now = self.latest;
        let peer: &mut Peer = self.peers.at_mut(slot);
        entries.iter().for_each(|entry| peer.digest.toggle(entry));
        for (file, _) in &taken {
            peer.odd_sizes.remove(file);
        }
        peer.files = files;
        peer.shrink();
        peer.leave_out(now, hit);
        self.contest(slot);
    }
}

#[cfg(test)]
mod tests;

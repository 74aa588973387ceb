//! Reports and heartbeats. Only the newest connection of a peer is heard, and of its reports only those in order.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::time::Duration;

use tnet_fileinfo::FileHash;
use tnet_proto::{Limit, ReportDigest, ReportEntry};

use super::holders::{Group, Holders, Holding};
use super::peer::{Listing, Peer, PeerSlot, Standing};
use super::{Epoch, File, FileId, LimitHit, Table};

/// What a peer reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report<'a> {
    /// Rises by one with every report on a connection, from 1.
    pub seq: u64,
    /// What the entries stand for.
    pub scope: Scope,
    /// The entries, at most `MAX_REPORT_ENTRIES`.
    pub entries: &'a [ReportEntry],
}

/// What the entries of a report stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All the peer holds, or the first part of it: forget what was reported before.
    Everything,
    /// What has changed, or a further part.
    Changes,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportOutcome {
    /// It is in the table.
    Accepted,
    /// It is in the table but for the entries that a limit left out.
    Cut(LimitHit),
    /// Its number was seen before, or a later one.
    Repeated,
    /// Reports before it are missing. Only a full report helps.
    Gap,
    /// This connection does not speak for a peer, or no longer.
    NotHeard,
}

/// What became of a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// The table has the same digest; the lease runs anew.
    Renewed,
    /// The table has something else; the lease goes on to its end unless a report comes.
    Resync,
    /// The digests differ because a limit left entries out. What is there is renewed: another full report would
    /// run into the same limit.
    Cut(LimitHit),
    /// This connection does not speak for a peer, or no longer.
    NotHeard,
}

impl Table {
    /// Takes a report. `appeared` is told each file that a peer which accepts connections newly holds, with the
    /// peer's address.
    pub fn report(
        &mut self,
        now: Duration,
        epoch: Epoch,
        report: Report<'_>,
        mut appeared: impl FnMut(FileHash, SocketAddr),
    ) -> ReportOutcome {
        let Some(mut slot) = self.by_epoch.get(&epoch).copied() else { return ReportOutcome::NotHeard };
        let last_seq = self.peers.at(slot).last_seq;
        if report.seq <= last_seq {
            return ReportOutcome::Repeated;
        }
        match report.scope {
            // It stands on nothing before it, so a gap does no harm.
            Scope::Everything => slot = self.start_over(slot),
            Scope::Changes if report.seq - last_seq > 1 => return ReportOutcome::Gap,
            Scope::Changes => {}
        }
        let peer = self.peers.at_mut(slot);
        peer.last_seq = report.seq;
        peer.renew(now);

        let mut cut = None;
        for entry in report.entries {
            match self.set(slot, entry) {
                Ok(Change::Appeared) => {
                    appeared(FileHash::from_bytes(entry.hash), self.peers.at(slot).key.address())
                }
                Ok(Change::Other) => {}
                Err(hit) => cut = Some(hit),
            }
        }
        let peer = self.peers.at_mut(slot);
        match cut {
            Some(hit) => {
                peer.cut = Some(hit);
                ReportOutcome::Cut(hit)
            }
            None => ReportOutcome::Accepted,
        }
    }

    /// The peer says that nothing has changed.
    pub fn heartbeat(&mut self, now: Duration, epoch: Epoch, digest: ReportDigest) -> Beat {
        let Some(slot) = self.by_epoch.get(&epoch).copied() else { return Beat::NotHeard };
        let peer = self.peers.at_mut(slot);
        if peer.digest == digest {
            peer.cut = None;
            peer.renew(now);
            return Beat::Renewed;
        }
        match peer.cut {
            Some(hit) => {
                peer.renew(now);
                Beat::Cut(hit)
            }
            None => Beat::Resync,
        }
    }

    /// A full report begins: the peer gets a new slot without entries, the old one retires with those it had.
    fn start_over(&mut self, slot: PeerSlot) -> PeerSlot {
        let peer = self.peers.at_mut(slot);
        if peer.files.is_empty() {
            peer.cut = None;
            return slot;
        }
        let fresh = Peer {
            standing: Standing::Connected,
            digest: ReportDigest::default(),
            cut: None,
            files: HashMap::new(),
            odd_sizes: HashMap::new(),
            ..*peer
        };
        self.retire(slot);
        let Peer { key, epoch, queued, .. } = fresh;
        let slot = self.peers.insert(fresh);
        self.by_key.insert(key, slot);
        self.by_epoch.insert(epoch, slot);
        self.by_ip.entry(key.ip()).or_default().peers += 1;
        self.leases.insert(queued, slot);
        slot
    }

    /// Makes the table say of this peer and file what `entry` says.
    fn set(&mut self, slot: PeerSlot, entry: &ReportEntry) -> Result<Change, LimitHit> {
        let known = self.by_hash.get(&FileHash::from_bytes(entry.hash)).copied();
        let place = known.and_then(|file| Some((file, *self.peers.at(slot).files.get(&file)?)));
        match (place, Holding::from_availability(entry.availability)) {
            (None, None) => Ok(Change::Other),
            (None, Some(holding)) => self.add(slot, entry, holding),
            (Some((file, place)), None) => {
                self.remove(slot, file, place);
                Ok(Change::Other)
            }
            (Some((file, place)), Some(holding)) => {
                self.replace(slot, file, place, entry, holding);
                Ok(Change::Other)
            }
        }
    }

    fn add(&mut self, slot: PeerSlot, entry: &ReportEntry, holding: Holding) -> Result<Change, LimitHit> {
        self.room_for_entry(slot)?;
        let hash = FileHash::from_bytes(entry.hash);
        let file = match self.by_hash.entry(hash) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(vacant) => {
                let file = File { hash, size: entry.size, holders: Holders::default() };
                *vacant.insert(self.files.insert(file))
            }
        };
        let listing = self.peers.at(slot).key.listing();
        self.place(slot, file, holding);
        self.note_size(slot, file, entry.size);
        self.peers.at_mut(slot).digest.toggle(entry);
        self.entries += 1;
        let ip = self.peers.at(slot).key.ip();
        self.by_ip.get_mut(&ip).expect("admit made an entry for the peer's IP").entries += 1;
        Ok(match listing {
            Listing::Listed => Change::Appeared,
            Listing::Unlisted => Change::Other,
        })
    }

    fn remove(&mut self, slot: PeerSlot, file: FileId, place: u32) {
        let old = self.entry(slot, file, place);
        let peer = self.peers.at_mut(slot);
        peer.digest.toggle(&old);
        peer.forget_file(file);
        self.withdraw(file, place);
        self.count_entry_out(slot);
    }

    fn replace(&mut self, slot: PeerSlot, file: FileId, place: u32, entry: &ReportEntry, holding: Holding) {
        let old = self.entry(slot, file, place);
        if old == *entry {
            return;
        }
        let peer = self.peers.at_mut(slot);
        peer.digest.toggle(&old);
        peer.digest.toggle(entry);
        if old.size != entry.size {
            peer.odd_sizes.remove(&file);
            self.note_size(slot, file, entry.size);
        }
        if old.availability != entry.availability {
            let Table { files, peers, .. } = self;
            files.at_mut(file).holders.remove(place, |moved, to| {
                peers.at_mut(moved).files.insert(file, to);
            });
            self.place(slot, file, holding);
        }
    }

    /// Puts the peer among the holders of the file.
    fn place(&mut self, slot: PeerSlot, file: FileId, holding: Holding) {
        let Table { files, peers, .. } = self;
        let group = Group::of(peers.at(slot).key.listing(), holding);
        let place = files.at_mut(file).holders.insert(slot, group, |moved, to| {
            peers.at_mut(moved).files.insert(file, to);
        });
        peers.at_mut(slot).files.insert(file, place);
    }

    /// The hash alone names a file, and only one size can be right for it. Which one, the table cannot know: the
    /// first reporter may be the liar. So a deviating peer is counted, not left out.
    fn note_size(&mut self, slot: PeerSlot, file: FileId, size: u64) {
        if self.files.at(file).size != size {
            self.peers.at_mut(slot).odd_sizes.insert(file, size);
            self.size_conflicts += 1;
        }
    }

    /// The entry as the peer reported it.
    pub(super) fn entry(&self, slot: PeerSlot, file: FileId, place: u32) -> ReportEntry {
        let (peer, file_record) = (self.peers.at(slot), self.files.at(file));
        ReportEntry {
            hash: *file_record.hash.as_bytes(),
            size: peer.odd_sizes.get(&file).copied().unwrap_or(file_record.size),
            availability: file_record.holders.group(place).holding().availability(),
        }
    }

    fn room_for_entry(&self, slot: PeerSlot) -> Result<(), LimitHit> {
        let limits = &self.limits;
        let peer = self.peers.at(slot);
        if peer.files.len() >= limits.max_entries_per_peer as usize {
            return Err(LimitHit::new(Limit::EntriesPerPeer, limits.max_entries_per_peer));
        }
        let of_ip = self.by_ip.get(&peer.key.ip()).map_or(0, |of_ip| of_ip.entries);
        if of_ip >= limits.max_entries_per_ip {
            // The protocol has no limit of its own for it; the value tells which of the two it was.
            return Err(LimitHit::new(Limit::EntriesPerPeer, limits.max_entries_per_ip));
        }
        if self.entries >= limits.max_entries {
            return Err(LimitHit::new(Limit::EntriesTotal, limits.max_entries));
        }
        Ok(())
    }
}

/// What an entry changed, as far as watchers care.
enum Change {
    /// Somebody who can be asked now holds the file.
    Appeared,
    Other,
}

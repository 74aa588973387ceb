//! Reports and heartbeats. A connection speaks for one peer, and of its reports only those in order
//! are heard.

use std::collections::HashMap;
use std::time::Duration;

use tnet_fileinfo::FileHash;
use tnet_proto::{ReportDigest, ReportEntry};

use super::holders::{Group, Holders, Holding};
use super::peer::{Listing, Peer, PeerSlot, Standing};
use super::{Epoch, File, FileId, LimitExceeded, Table};

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
    Cut(LimitExceeded),
    /// Its number was seen before, or a later one.
    Repeated,
    /// Reports before it are missing. Only a full report helps.
    Gap,
    /// This connection does not speak for a peer: it has said no hello, or its peer is gone.
    NotHeard,
}

/// What became of a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// The table has the same digest; the lease runs anew.
    Renewed,
    /// The table has something else; the lease goes on to its end unless a report comes.
    Resync,
    /// The digests differ because a limit left entries out. What is there is renewed: another full
    /// report would run into the same limit.
    Cut(LimitExceeded),
    /// This connection does not speak for a peer: it has said no hello, or its peer is gone.
    NotHeard,
}

impl Table {
    /// Takes a report. `appeared` is told each file that a peer which accepts connections newly
    /// holds.
    pub fn report(
        &mut self,
        now: Duration,
        epoch: Epoch,
        report: Report<'_>,
        mut appeared: impl FnMut(FileHash),
    ) -> ReportOutcome {
        self.latest = self.latest.max(now);
        let Some(mut slot) = self.by_epoch.get(&epoch).copied() else {
            return ReportOutcome::NotHeard;
        };
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

        self.begin_turns();
        let mut cut = None;
        for entry in report.entries {
            match self.set(slot, entry) {
                Ok(Change::Appeared) => appeared(FileHash::from_bytes(entry.hash)),
                Ok(Change::Other) => {}
                Err(hit) => cut = Some(hit),
            }
        }
        let peer = self.peers.at_mut(slot);
        match cut {
            Some(hit) => {
                peer.leave_out(now, hit);
                ReportOutcome::Cut(hit)
            }
            None => ReportOutcome::Accepted,
        }
    }

    /// The peer says that nothing has changed.
    pub fn heartbeat(&mut self, now: Duration, epoch: Epoch, digest: ReportDigest) -> Beat {
        self.latest = self.latest.max(now);
        let Some(slot) = self.by_epoch.get(&epoch).copied() else { return Beat::NotHeard };
        let is_calm = self.is_calm();
        let peer = self.peers.at_mut(slot);
        let beat = peer.beat(now, digest);
        if is_calm {
            // There is room for everybody, so what it holds is settled.
            peer.settled = peer.files.len();
            if peer.contested > 0 {
                self.contest(slot);
            }
        }
        match beat {
            Beat::Cut(hit) if self.has_room_again(now, slot) => {
                self.peers.at_mut(slot).leave_out(now, hit);
                Beat::Resync
            }
            _ => beat,
        }
    }

    /// A full report begins: the peer gets a new slot without entries, the old one retires with
    /// those it had.
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
            contested: 0,
            files: HashMap::new(),
            odd_sizes: HashMap::new(),
            ..*peer
        };
        let site = fresh.place.site();
        let calls = site.and_then(|site| self.sites.get_mut(&site)?.calls.take());
        self.retire(slot);
        let slot = self.peers.insert(fresh);
        self.enter(slot);
        if let Some(at) = site.and_then(|site| self.sites.get_mut(&site)) {
            at.calls = calls;
        }
        slot
    }

    /// Makes the table say of this peer and file what `entry` says.
    fn set(&mut self, slot: PeerSlot, entry: &ReportEntry) -> Result<Change, LimitExceeded> {
        let known = self.file_of(&FileHash::from_bytes(entry.hash));
        let place = known.and_then(|file| Some((file, *self.peers.at(slot).files.get(&file)?)));
        match (place, Holding::from_availability(entry.availability)) {
            (None, None) => Ok(Change::Other),
            (None, Some(holding)) => self.add(slot, known, entry, holding),
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

    fn add(
        &mut self,
        slot: PeerSlot,
        known: Option<FileId>,
        entry: &ReportEntry,
        holding: Holding,
    ) -> Result<Change, LimitExceeded> {
        self.make_room_for_entry(slot, known)?;
        // What gave way may have been the last holder of this file.
        let known = known.and_then(|_| self.file_of(&FileHash::from_bytes(entry.hash)));
        let file = known.unwrap_or_else(|| self.add_file(entry));
        let listing = self.peers.at(slot).key.listing();
        self.place(slot, file, holding);
        self.list(file, slot);
        self.note_size(slot, file, entry.size);
        self.peers.at_mut(slot).digest.toggle(entry);
        self.entries += 1;
        let ip = self.peers.at(slot).key.ip();
        self.by_ip.get_mut(&ip).expect("admit made an entry for the peer's IP").entries += 1;
        self.settle_or_contest(slot);
        Ok(match listing {
            Listing::Listed => Change::Appeared,
            Listing::Unlisted => Change::Other,
        })
    }

    fn add_file(&mut self, entry: &ReportEntry) -> FileId {
        let hash = FileHash::from_bytes(entry.hash);
        let file = File { hash, size: entry.size, holders: Holders::default(), by_source: None };
        let Table { files, index, .. } = self;
        let id = files.insert(file);
        index.insert(&hash, id, |id| &files.at(id).hash);
        id
    }

    fn remove(&mut self, slot: PeerSlot, file: FileId, place: u32) {
        let old = self.entry(slot, file, place);
        let peer = self.peers.at_mut(slot);
        peer.digest.toggle(&old);
        peer.forget_file(file);
        self.withdraw(file, place);
        self.count_entry_out(slot);
        self.contest(slot);
    }

    fn replace(
        &mut self,
        slot: PeerSlot,
        file: FileId,
        place: u32,
        entry: &ReportEntry,
        holding: Holding,
    ) {
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
            let payer = self.files.at(file).holders.first();
            let Table { files, peers, .. } = self;
            files.at_mut(file).holders.remove(place, |moved, to| {
                peers.at_mut(moved).files.insert(file, to);
            });
            self.pay(file, payer);
            self.place(slot, file, holding);
        }
    }

    /// Puts the peer among the holders of the file.
    fn place(&mut self, slot: PeerSlot, file: FileId, holding: Holding) {
        let payer = self.files.at(file).holders.first();
        let Table { files, peers, .. } = self;
        let group = Group::of(peers.at(slot).key.listing(), holding);
        let place = files.at_mut(file).holders.insert(slot, group, |moved, to| {
            peers.at_mut(moved).files.insert(file, to);
        });
        peers.at_mut(slot).files.insert(file, place);
        self.pay(file, payer);
    }

    /// The hash alone names a file, and only one size can be right for it. Which one, the table
    /// cannot know: the first reporter may be the liar. So a deviating peer is counted, not left
    /// out.
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
}

/// What an entry changed, as far as watchers care.
enum Change {
    /// Somebody who can be asked now holds the file.
    Appeared,
    Other,
}

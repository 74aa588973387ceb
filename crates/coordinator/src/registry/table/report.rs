//! Reports and heartbeats. A connection belongs to one peer, and its reports are accepted only in
//! order.

use std::collections::HashMap;
use std::time::Duration;

use tnet_fileinfo::FileHash;
use tnet_proto::{ReportDigest, ReportEntry};

use super::holders::{Group, Holders, Holding};
use super::peer::{PeerRecord, PeerSlot, PeerState, Visibility};
use super::{Epoch, FileRecord, FileSlot, LimitExceeded, Table};

/// A report of a peer. Exhaustive: the caller gives all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report<'a> {
    /// Number of the report on its connection: 1, 2, 3 and so on.
    pub seq: u64,
    /// Whether the entries replace earlier reports.
    pub scope: Scope,
    /// The entries, at most `MAX_REPORT_ENTRIES`.
    pub entries: &'a [ReportEntry],
}

/// Whether the entries of a report replace earlier reports. Exhaustive: the two forms on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// They are everything the peer holds, or the first part of it: earlier entries are dropped.
    Everything,
    /// They are changes, or a further part.
    Changes,
}

/// Result of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReportOutcome {
    /// All entries are in the table.
    Accepted,
    /// A limit left out some entries; the others are in the table.
    Truncated(LimitExceeded),
    /// A report with this number or a higher one was accepted before.
    Repeated,
    /// Earlier reports are missing. Only a full report helps.
    Gap,
    /// This connection does not speak for a peer: it has said no hello, or its peer is gone.
    UnknownConnection,
}

/// Result of a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeartbeatOutcome {
    /// The digests are equal; the lease is renewed.
    Renewed,
    /// The digests differ; the lease is not renewed, and a full report is needed.
    Resync,
    /// The digests differ because a limit left entries out. The lease is renewed: another full
    /// report would exceed the same limit.
    Truncated(LimitExceeded),
    /// This connection does not speak for a peer: it has said no hello, or its peer is gone.
    UnknownConnection,
}

impl Table {
    /// Processes a report. `appeared` is called with each file of which this peer is a new holder,
    /// if it accepts connections.
    pub fn report(
        &mut self,
        now: Duration,
        epoch: Epoch,
        report: Report<'_>,
        mut appeared: impl FnMut(FileHash),
    ) -> ReportOutcome {
        self.latest = self.latest.max(now);
        let Some(mut slot) = self.by_epoch.get(&epoch).copied() else {
            return ReportOutcome::UnknownConnection;
        };
        let last_seq = self.peers.at(slot).last_seq;
        if report.seq <= last_seq {
            return ReportOutcome::Repeated;
        }
        match report.scope {
            // It does not depend on earlier reports, so a gap is harmless.
            Scope::Everything => slot = self.start_over(slot),
            Scope::Changes if report.seq - last_seq > 1 => return ReportOutcome::Gap,
            Scope::Changes => {}
        }
        let peer = self.peers.at_mut(slot);
        peer.last_seq = report.seq;
        peer.renew(now);

        self.allow_evictions();
        let mut truncated_by = None;
        for entry in report.entries {
            match self.set(slot, entry) {
                Ok(EntryChange::Appeared) => appeared(FileHash::from_bytes(entry.hash)),
                Ok(EntryChange::Other) => {}
                Err(hit) => truncated_by = Some(hit),
            }
        }
        let peer = self.peers.at_mut(slot);
        match truncated_by {
            Some(hit) => {
                peer.note_truncation(now, hit);
                ReportOutcome::Truncated(hit)
            }
            None => ReportOutcome::Accepted,
        }
    }

    /// The peer sends a sign of life with the digest of its entries.
    pub fn heartbeat(
        &mut self,
        now: Duration,
        epoch: Epoch,
        digest: ReportDigest,
    ) -> HeartbeatOutcome {
        self.latest = self.latest.max(now);
        let Some(slot) = self.by_epoch.get(&epoch).copied() else {
            return HeartbeatOutcome::UnknownConnection;
        };
        let is_calm = self.is_calm();
        let peer = self.peers.at_mut(slot);
        let beat = peer.heartbeat(now, digest);
        if is_calm {
            // Room is not short, so all its entries are settled.
            peer.settled = peer.files.len();
            if peer.contested > 0 {
                self.contest(slot);
            }
        }
        match beat {
            HeartbeatOutcome::Truncated(hit) if self.has_room_again(now, slot) => {
                self.peers.at_mut(slot).note_truncation(now, hit);
                HeartbeatOutcome::Resync
            }
            _ => beat,
        }
    }

    /// A full report begins: the peer gets a new slot without entries, and the old slot is retired
    /// with the old entries.
    fn start_over(&mut self, slot: PeerSlot) -> PeerSlot {
        let peer = self.peers.at_mut(slot);
        if peer.files.is_empty() {
            peer.truncated_by = None;
            return slot;
        }
        let fresh = PeerRecord {
            state: PeerState::Connected,
            digest: ReportDigest::default(),
            truncated_by: None,
            contested: 0,
            files: HashMap::new(),
            odd_sizes: HashMap::new(),
            ..*peer
        };
        let site = fresh.location.site();
        let calls = site.and_then(|site| self.sites.get_mut(&site)?.calls.take());
        self.retire(slot);
        let slot = self.peers.insert(fresh);
        self.enter(slot);
        if let Some(at) = site.and_then(|site| self.sites.get_mut(&site)) {
            at.calls = calls;
        }
        slot
    }

    /// Applies one entry of a report.
    fn set(&mut self, slot: PeerSlot, entry: &ReportEntry) -> Result<EntryChange, LimitExceeded> {
        let known = self.file_of(&FileHash::from_bytes(entry.hash));
        let position = known.and_then(|file| Some((file, *self.peers.at(slot).files.get(&file)?)));
        match (position, Holding::from_availability(entry.availability)) {
            (None, None) => Ok(EntryChange::Other),
            (None, Some(holding)) => self.add(slot, known, entry, holding),
            (Some((file, position)), None) => {
                self.remove(slot, file, position);
                Ok(EntryChange::Other)
            }
            (Some((file, position)), Some(holding)) => {
                self.replace(slot, file, position, entry, holding);
                Ok(EntryChange::Other)
            }
        }
    }

    fn add(
        &mut self,
        slot: PeerSlot,
        known: Option<FileSlot>,
        entry: &ReportEntry,
        holding: Holding,
    ) -> Result<EntryChange, LimitExceeded> {
        self.make_room_for_entry(slot, known)?;
        // The eviction may have removed the last holder of this file.
        let known = known.and_then(|_| self.file_of(&FileHash::from_bytes(entry.hash)));
        let file = known.unwrap_or_else(|| self.add_file(entry));
        let visibility = self.peers.at(slot).key.visibility();
        self.insert_holder(slot, file, holding);
        self.list(file, slot);
        self.note_size(slot, file, entry.size);
        self.peers.at_mut(slot).digest.toggle(entry);
        self.entries += 1;
        let ip = self.peers.at(slot).key.ip();
        self.by_ip.get_mut(&ip).expect("admit made an entry for the peer's IP").entries += 1;
        self.settle_or_contest(slot);
        Ok(match visibility {
            Visibility::Listed => EntryChange::Appeared,
            Visibility::Unlisted => EntryChange::Other,
        })
    }

    fn add_file(&mut self, entry: &ReportEntry) -> FileSlot {
        let hash = FileHash::from_bytes(entry.hash);
        let file =
            FileRecord { hash, size: entry.size, holders: Holders::default(), by_source: None };
        let Table { files, index, .. } = self;
        let id = files.insert(file);
        index.insert(&hash, id, |id| &files.at(id).hash);
        id
    }

    fn remove(&mut self, slot: PeerSlot, file: FileSlot, position: u32) {
        let old = self.entry(slot, file, position);
        let peer = self.peers.at_mut(slot);
        peer.digest.toggle(&old);
        peer.forget_file(file);
        self.withdraw(file, position);
        self.count_entry_out(slot);
        self.contest(slot);
    }

    fn replace(
        &mut self,
        slot: PeerSlot,
        file: FileSlot,
        position: u32,
        entry: &ReportEntry,
        holding: Holding,
    ) {
        let old = self.entry(slot, file, position);
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
            let first_before = self.files.at(file).holders.first();
            let Table { files, peers, .. } = self;
            files.at_mut(file).holders.remove(position, |moved, to| {
                peers.at_mut(moved).files.insert(file, to);
            });
            self.charge_bytes(file, first_before);
            self.insert_holder(slot, file, holding);
        }
    }

    /// Adds the peer to the holders of the file.
    fn insert_holder(&mut self, slot: PeerSlot, file: FileSlot, holding: Holding) {
        let first_before = self.files.at(file).holders.first();
        let Table { files, peers, .. } = self;
        let group = Group::of(peers.at(slot).key.visibility(), holding);
        let position = files.at_mut(file).holders.insert(slot, group, |moved, to| {
            peers.at_mut(moved).files.insert(file, to);
        });
        peers.at_mut(slot).files.insert(file, position);
        self.charge_bytes(file, first_before);
    }

    /// A hash identifies a file, so only one size can be right. The table cannot know which: the
    /// first report may be the wrong one. So a deviating peer is counted, not left out.
    fn note_size(&mut self, slot: PeerSlot, file: FileSlot, size: u64) {
        if self.files.at(file).size != size {
            self.peers.at_mut(slot).odd_sizes.insert(file, size);
            self.size_conflicts += 1;
        }
    }

    /// The entry as the peer reported it.
    pub(super) fn entry(&self, slot: PeerSlot, file: FileSlot, position: u32) -> ReportEntry {
        let (peer, file_record) = (self.peers.at(slot), self.files.at(file));
        ReportEntry {
            hash: *file_record.hash.as_bytes(),
            size: peer.odd_sizes.get(&file).copied().unwrap_or(file_record.size),
            availability: file_record.holders.group(position).holding().availability(),
        }
    }
}

/// What an entry changed for watchers.
enum EntryChange {
    /// A peer that accepts connections is a new holder.
    Appeared,
    Other,
}

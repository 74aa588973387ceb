//! Which live peers hold which file. Pure: time comes in as an argument, nothing is read or sent.
//!
//! A peer is an address (observed IP and declared port). Whoever connected last from there speaks for it; what an
//! older connection says afterwards is ignored. Entries are soft state: a lost connection leaves them, silence
//! past the lease removes them.
//!
//! What holds after every call, and what [`Table::check`] recounts: each entry stands once among the holders of
//! its file and once in the files of its peer, each side knowing the other; the digest of a peer is that of its
//! entries; no file is without holders; every count is the number of what it counts.

mod check;
mod departure;
mod holders;
mod lease;
mod lookup;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod model;
mod peer;
mod report;
mod slab;
mod terms;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tnet_fileinfo::FileHash;
use tnet_proto::{Limit, ReportDigest};

pub use check::Footprint;
pub use lookup::Handout;
pub use report::{Beat, Report, ReportOutcome, Scope};
pub use terms::{
    Admitted, Arrival, Epoch, Expired, FileSummary, LimitHit, Refusal, SwarmSize, Sweep, TableLimits,
    TableSize,
};

use holders::Holders;
use lease::LeaseQueue;
use peer::{Peer, PeerKey, PeerSlot, Standing};
use slab::Slab;

/// Number of a file inside the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct FileId(u32);

impl From<u32> for FileId {
    fn from(number: u32) -> FileId {
        FileId(number)
    }
}

impl From<FileId> for u32 {
    fn from(id: FileId) -> u32 {
        id.0
    }
}

/// A file with at least one holder.
#[derive(Debug)]
struct File {
    hash: FileHash,
    /// As its first holder reported it.
    size: u64,
    holders: Holders,
}

/// What comes from one IP address.
#[derive(Debug, Default)]
struct IpUse {
    peers: u32,
    /// Peers that left and whose entries are still being removed.
    retired: u32,
    entries: u32,
}

/// The availability table.
#[derive(Debug)]
pub struct Table {
    limits: TableLimits,
    peers: Slab<PeerSlot, Peer>,
    files: Slab<FileId, File>,
    /// Keyed hashing (the standard hasher): hashes of files are chosen outside.
    by_hash: HashMap<FileHash, FileId>,
    by_key: HashMap<PeerKey, PeerSlot>,
    by_epoch: HashMap<Epoch, PeerSlot>,
    by_ip: HashMap<IpAddr, IpUse>,
    leases: LeaseQueue,
    /// Peers that left with more entries than one sweep removes.
    retired: Vec<PeerSlot>,
    entries: u32,
    size_conflicts: u64,
}

impl Table {
    /// An empty table.
    pub fn new(limits: TableLimits) -> Table {
        Table {
            limits,
            peers: Slab::new(),
            files: Slab::new(),
            by_hash: HashMap::new(),
            by_key: HashMap::new(),
            by_epoch: HashMap::new(),
            by_ip: HashMap::new(),
            leases: LeaseQueue::default(),
            retired: Vec::new(),
            entries: 0,
            size_conflicts: 0,
        }
    }

    /// A peer introduces itself on connection `epoch`.
    ///
    /// A peer that comes back before its lease has ended, with the same id, keeps its entries. Another id at the
    /// same address is another peer, which starts with nothing.
    ///
    /// # Errors
    /// [`Refusal::Superseded`] if a newer connection already speaks for this address, [`Refusal::Limit`] if there
    /// is no room for one more peer.
    pub fn hello(&mut self, now: Duration, epoch: Epoch, arrival: &Arrival) -> Result<Admitted, Refusal> {
        let key = PeerKey::new(arrival.ip, arrival.listen_port, arrival.peer_id);
        let Some(slot) = self.by_key.get(&key).copied() else {
            return self.admit(now, epoch, key, arrival, None);
        };
        let known = self.peers.at(slot);
        if known.epoch >= epoch {
            return Err(Refusal::Superseded);
        }
        let superseded = (known.standing == Standing::Connected).then_some(known.epoch);
        if known.peer_id != arrival.peer_id {
            self.retire(slot);
            return self.admit(now, epoch, key, arrival, superseded);
        }
        Ok(self.welcome_back(now, epoch, slot, arrival, superseded))
    }

    /// The connection is gone. Its peer's entries stay until the lease ends.
    pub fn disconnected(&mut self, epoch: Epoch) {
        let Some(slot) = self.by_epoch.remove(&epoch) else { return };
        let peer = self.peers.at_mut(slot);
        peer.standing = Standing::Away;
        // Nothing to keep: coming back, it would start with nothing either way.
        if peer.files.is_empty() {
            self.retire(slot);
        }
    }

    /// The peer leaves: its entries go at once.
    pub fn bye(&mut self, epoch: Epoch) {
        if let Some(slot) = self.by_epoch.get(&epoch).copied() {
            self.retire(slot);
        }
    }

    /// Removes one peer whose lease has ended. To be repeated until it answers nothing.
    pub fn expire(&mut self, now: Duration) -> Option<Expired> {
        while let Some(slot) = self.leases.pop_due(now) {
            let peer = self.peers.at_mut(slot);
            if peer.lease_ends > now {
                peer.queued = peer.lease_ends;
                self.leases.insert(peer.queued, slot);
                continue;
            }
            let connection = (peer.standing == Standing::Connected).then_some(peer.epoch);
            let address = peer.key.address();
            self.retire(slot);
            return Some(Expired { address, connection });
        }
        None
    }

    /// No lease ends before this moment; there may be none at it either.
    pub fn next_expiry(&self) -> Option<Duration> {
        self.leases.next_deadline()
    }

    /// The address of the peer that a connection speaks for; the port is 0 if it accepts nobody.
    pub(crate) fn address(&self, epoch: Epoch) -> Option<SocketAddr> {
        Some(self.peers.at(*self.by_epoch.get(&epoch)?).key.address())
    }

    /// How much is in the table. Entries of peers that left count until they are swept.
    pub fn size(&self) -> TableSize {
        let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        TableSize {
            peers: count(self.by_key.len()),
            files: count(self.files.len()),
            entries: self.entries,
            size_conflicts: self.size_conflicts,
        }
    }

    fn welcome_back(
        &mut self,
        now: Duration,
        epoch: Epoch,
        slot: PeerSlot,
        arrival: &Arrival,
        superseded: Option<Epoch>,
    ) -> Admitted {
        if let Some(older) = superseded {
            self.by_epoch.remove(&older);
        }
        self.by_epoch.insert(epoch, slot);
        let peer = self.peers.at_mut(slot);
        peer.epoch = epoch;
        peer.standing = Standing::Connected;
        peer.last_seq = 0;
        peer.lease = self.limits.lease(arrival.report_interval);
        peer.renew(now);
        // The new lease may be shorter than the old one, so the queue must look sooner.
        self.leases.remove(peer.queued, slot);
        peer.queued = peer.lease_ends;
        self.leases.insert(peer.queued, slot);
        Admitted { observed: peer.key.address(), lease: peer.lease, digest: peer.digest, superseded }
    }

    fn admit(
        &mut self,
        now: Duration,
        epoch: Epoch,
        key: PeerKey,
        arrival: &Arrival,
        superseded: Option<Epoch>,
    ) -> Result<Admitted, Refusal> {
        self.room_for_peer(key.ip())?;
        let lease = self.limits.lease(arrival.report_interval);
        let lease_ends = now.saturating_add(lease);
        let slot = self.peers.insert(Peer {
            key,
            peer_id: arrival.peer_id,
            epoch,
            standing: Standing::Connected,
            last_seq: 0,
            lease,
            lease_ends,
            queued: lease_ends,
            digest: ReportDigest::default(),
            cut: None,
            files: HashMap::new(),
            odd_sizes: HashMap::new(),
        });
        self.by_key.insert(key, slot);
        self.by_epoch.insert(epoch, slot);
        self.by_ip.entry(key.ip()).or_default().peers += 1;
        self.leases.insert(lease_ends, slot);
        Ok(Admitted { observed: key.address(), lease, digest: ReportDigest::default(), superseded })
    }

    fn room_for_peer(&self, ip: IpAddr) -> Result<(), Refusal> {
        let limits = &self.limits;
        if self.by_key.len() >= limits.max_peers as usize {
            return Err(Refusal::Limit(LimitHit::new(Limit::ConnectionsTotal, limits.max_peers)));
        }
        let of_ip = self.by_ip.get(&ip).map_or(0, |of_ip| of_ip.peers);
        if of_ip >= limits.max_peers_per_ip {
            return Err(Refusal::Limit(LimitHit::new(Limit::ConnectionsPerIp, limits.max_peers_per_ip)));
        }
        Ok(())
    }

    /// The listed peer at `address`, if there is one.
    fn listed(&self, address: SocketAddr) -> Option<PeerSlot> {
        self.by_key.get(&PeerKey::Listening(address)).copied()
    }
}

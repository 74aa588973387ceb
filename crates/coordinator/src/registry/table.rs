//! Which live peers hold which file. Pure: time is an argument, nothing is read or sent.
//!
//! A peer is a connection and has an address: mostly its observed IP and its declared port. Several
//! peers may claim the same address, as hosts behind one NAT do. Each has its own entries and takes
//! none from the others; a handout names an address once. Entries are soft state: they survive a
//! lost connection, and the end of the lease removes them.
//!
//! Invariants after every call, which [`Table::check`] recounts: each entry is once among the
//! holders of its file and once in the files of its peer, each side referring to the other; the
//! digest of a peer is that of its entries; every file has a holder; every counter equals the
//! number of things that it counts.

mod by_source;
mod calls;
mod check;
mod compact_vec;
mod contested;
mod draw;
mod epoch;
mod file_index;
mod holders;
mod lease;
mod lookup;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod model;
mod peer;
mod removal;
mod report;
mod room;
mod slab;
mod types;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tnet_fileinfo::FileHash;
use tnet_proto::ReportDigest;

pub use check::Footprint;
pub use epoch::Epoch;
pub(crate) use epoch::{EpochMap, EpochSet};
pub use lookup::Handout;
pub use report::{HeartbeatOutcome, Report, ReportOutcome, Scope};
pub use types::{
    Admitted, Expired, FileSummary, Introduction, LimitExceeded, SwarmSize, SweepStatus,
    TableLimits, TableSize,
};

use by_source::BySource;
use calls::Calls;
use contested::Contested;
use file_index::FileIndex;
use holders::Holders;
use lease::LeaseQueue;
use peer::{PeerIdentity, PeerRecord, PeerSlot, PeerState};
use slab::Slab;

use crate::registry::location::Site;

/// Number of a file inside the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct FileSlot(u32);

impl From<u32> for FileSlot {
    fn from(number: u32) -> FileSlot {
        FileSlot(number)
    }
}

impl From<FileSlot> for u32 {
    fn from(id: FileSlot) -> u32 {
        id.0
    }
}

/// A file with at least one holder.
#[derive(Debug)]
struct FileRecord {
    hash: FileHash,
    /// As its first holder reported it.
    size: u64,
    holders: Holders,
    /// The listed holders ordered by source, if they are more than a handout names.
    by_source: Option<Box<BySource>>,
}

/// What the peers of one IP address use.
#[derive(Debug, Default)]
struct IpUsage {
    peers: u32,
    /// Peers that left and whose entries are still being removed.
    retired: u32,
    entries: u32,
    /// Files whose first holder is one of them: the bytes of a file are counted once.
    files: u32,
}

/// Peers that claim the same listening socket.
#[derive(Debug, Default)]
struct AtSite {
    peers: u32,
    /// Results of connection attempts to it.
    calls: Option<Box<Calls>>,
}

/// The availability table.
#[derive(Debug)]
pub struct Table {
    limits: TableLimits,
    peers: Slab<PeerSlot, PeerRecord>,
    files: Slab<FileSlot, FileRecord>,
    index: FileIndex,
    /// Peers without a connection, which may come back.
    away: BTreeMap<PeerIdentity, PeerSlot>,
    by_epoch: EpochMap<PeerSlot>,
    by_ip: HashMap<IpAddr, IpUsage>,
    /// Listening sockets of the live peers that accept connections.
    sites: HashMap<Site, AtSite>,
    /// Peers beyond the first at their site; usually none.
    at_shared_sites: u32,
    contested: Contested,
    leases: LeaseQueue,
    /// Peers that left with more entries than one sweep removes.
    retired: Vec<PeerSlot>,
    entries: u32,
    size_conflicts: u64,
    evicted: u64,
    /// Evictions still allowed for the report that is being processed.
    evictions_left: u32,
    /// The latest `now` of all calls.
    latest: Duration,
    /// Until then at least one site may be doubtful.
    doubts_until: Duration,
}

impl Table {
    /// An empty table.
    pub fn new(limits: TableLimits) -> Table {
        Table {
            limits,
            peers: Slab::new(),
            files: Slab::new(),
            index: FileIndex::new(),
            away: BTreeMap::new(),
            by_epoch: EpochMap::default(),
            by_ip: HashMap::new(),
            sites: HashMap::new(),
            at_shared_sites: 0,
            contested: Contested::default(),
            leases: LeaseQueue::default(),
            retired: Vec::new(),
            entries: 0,
            size_conflicts: 0,
            evicted: 0,
            evictions_left: 0,
            latest: Duration::ZERO,
            doubts_until: Duration::ZERO,
        }
    }

    /// A peer introduces itself on connection `epoch`.
    ///
    /// A peer that has lost its connection and comes back before its lease ends, from the same
    /// address and with the same id, keeps its entries. Every other peer starts without entries,
    /// and takes none from a connected peer.
    ///
    /// # Errors
    /// The limit of peers is reached.
    pub fn hello(
        &mut self,
        now: Duration,
        epoch: Epoch,
        introduction: &Introduction,
    ) -> Result<Admitted, LimitExceeded> {
        self.latest = self.latest.max(now);
        let key = PeerIdentity::new(
            introduction.ip,
            introduction.location.listed(),
            introduction.peer_id,
        );
        match self.away.remove(&key) {
            Some(slot) => Ok(self.welcome_back(now, epoch, slot, introduction)),
            None => self.admit(now, epoch, key, introduction),
        }
    }

    /// The connection ended. The entries of its peer stay until the lease ends.
    pub fn disconnected(&mut self, epoch: Epoch) {
        let Some(slot) = self.by_epoch.remove(&epoch) else { return };
        let peer = self.peers.at_mut(slot);
        peer.state = PeerState::Away;
        let key = peer.key;
        // It has nothing to keep for a later connection.
        if peer.files.is_empty() {
            return self.retire(slot);
        }
        // Of two peers with the same key, the one that disconnected last is more likely to come
        // back.
        if let Some(other) = self.away.insert(key, slot) {
            self.retire(other);
        }
    }

    /// The peer leaves: its entries are removed at once.
    pub fn bye(&mut self, epoch: Epoch) {
        if let Some(slot) = self.by_epoch.get(&epoch).copied() {
            self.retire(slot);
        }
    }

    /// Removes one peer whose lease has ended. Repeat until it returns `None`.
    pub fn expire(&mut self, now: Duration) -> Option<Expired> {
        self.latest = self.latest.max(now);
        while let Some(slot) = self.leases.pop_due(now) {
            let peer = self.peers.at_mut(slot);
            if peer.lease_ends > now {
                peer.queued = peer.lease_ends;
                self.leases.insert(peer.queued, slot);
                continue;
            }
            let connection = (peer.state == PeerState::Connected).then_some(peer.epoch);
            let address = peer.key.address();
            self.retire(slot);
            return Some(Expired { address, connection });
        }
        None
    }

    /// Renews every lease: this process did not receive anything for a while.
    pub fn renew_all(&mut self, now: Duration) {
        self.latest = self.latest.max(now);
        self.peers.iter_mut().for_each(|peer| peer.renew(now));
    }

    /// A lower bound for the end of the next lease.
    pub fn next_expiry(&self) -> Option<Duration> {
        self.leases.next_deadline()
    }

    /// The address of the peer on a connection; port 0 if it accepts no connections.
    pub(crate) fn address(&self, epoch: Epoch) -> Option<SocketAddr> {
        Some(self.peers.at(*self.by_epoch.get(&epoch)?).key.address())
    }

    /// The remote IP address of a connection.
    pub(crate) fn ip(&self, epoch: Epoch) -> Option<IpAddr> {
        Some(self.peers.at(*self.by_epoch.get(&epoch)?).key.ip())
    }

    /// Limit of the bytes of files and entries.
    pub fn max_bytes(&self) -> u64 {
        self.limits.max_bytes
    }

    /// Size of the table. Entries of peers that left count until they are swept.
    pub fn size(&self) -> TableSize {
        let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        TableSize {
            peers: count(self.live_peers()),
            files: count(self.files.len()),
            entries: self.entries,
            bytes: self.bytes(),
            evicted: self.evicted,
            size_conflicts: self.size_conflicts,
        }
    }

    fn welcome_back(
        &mut self,
        now: Duration,
        epoch: Epoch,
        slot: PeerSlot,
        introduction: &Introduction,
    ) -> Admitted {
        self.by_epoch.insert(epoch, slot);
        let peer = self.peers.at_mut(slot);
        peer.epoch = epoch;
        peer.state = PeerState::Connected;
        peer.last_seq = 0;
        let before = std::mem::replace(&mut peer.location, introduction.location).site();
        if before != introduction.location.site() {
            self.leave_site(before);
            self.enter_site(introduction.location.site());
        }
        let peer = self.peers.at_mut(slot);
        peer.lease = self.limits.lease(introduction.report_interval);
        peer.renew(now);
        // The new lease may be shorter than the old one, so the queue must look sooner.
        self.leases.remove(peer.queued, slot);
        peer.queued = peer.lease_ends;
        self.leases.insert(peer.queued, slot);
        Admitted { address: peer.key.address(), lease: peer.lease, digest: peer.digest }
    }

    fn admit(
        &mut self,
        now: Duration,
        epoch: Epoch,
        key: PeerIdentity,
        introduction: &Introduction,
    ) -> Result<Admitted, LimitExceeded> {
        self.make_room_for_peer(key.ip())?;
        let lease = self.limits.lease(introduction.report_interval);
        let lease_ends = now.saturating_add(lease);
        let slot = self.peers.insert(PeerRecord {
            key,
            epoch,
            state: PeerState::Connected,
            location: introduction.location,
            shares_ip: false,
            last_seq: 0,
            lease,
            lease_ends,
            queued: lease_ends,
            digest: ReportDigest::default(),
            truncated_by: None,
            quiet_until: Duration::ZERO,
            settled: 0,
            contested: 0,
            contested_position: 0,
            files: HashMap::new(),
            odd_sizes: HashMap::new(),
        });
        self.enter(slot);
        Ok(Admitted { address: key.address(), lease, digest: ReportDigest::default() })
    }

    /// Adds a connected peer to every index.
    fn enter(&mut self, slot: PeerSlot) {
        let PeerRecord { key, epoch, queued, location, .. } = *self.peers.at(slot);
        self.by_epoch.insert(epoch, slot);
        let of_ip = self.by_ip.entry(key.ip()).or_default();
        of_ip.peers += 1;
        self.peers.at_mut(slot).shares_ip = of_ip.peers > 1 || key.address().ip() != key.ip();
        self.enter_site(location.site());
        self.leases.insert(queued, slot);
    }

    fn enter_site(&mut self, site: Option<Site>) {
        if let Some(site) = site {
            let at = self.sites.entry(site).or_default();
            at.peers += 1;
            self.at_shared_sites += u32::from(at.peers > 1);
        }
    }

    /// The call results of a site are dropped with its last peer.
    fn leave_site(&mut self, site: Option<Site>) {
        if let Some(site) = site
            && let Some(at) = self.sites.get_mut(&site)
        {
            at.peers -= 1;
            self.at_shared_sites -= u32::from(at.peers > 0);
            if at.peers == 0 {
                self.sites.remove(&site);
            }
        }
    }

    /// Live peers, connected or not.
    fn live_peers(&self) -> usize {
        self.peers.len() - self.retired.len()
    }

    fn file_of(&self, hash: &FileHash) -> Option<FileSlot> {
        self.index.find(hash, |id| &self.files.at(id).hash)
    }
}

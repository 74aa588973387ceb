//! Which live peers hold which file. Pure: time comes in as an argument, nothing is read or sent.
//!
//! A peer is a connection, and has an address: mostly its observed IP and its declared port.
//! Several peers may claim the same address, as hosts behind one NAT do. Each has entries of its
//! own and takes none from the others; who asks is told of an address once. Entries are soft state:
//! a lost connection leaves them, silence past the lease removes them.
//!
//! What holds after every call, and what [`Table::check`] recounts: each entry stands once among
//! the holders of its file and once in the files of its peer, each side knowing the other; the
//! digest of a peer is that of its entries; no file is without holders; every count is the number
//! of what it counts.

mod by_source;
mod calls;
mod check;
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
pub use report::{Beat, Report, ReportOutcome, Scope};
pub use types::{
    Admitted, Arrival, Expired, FileSummary, LimitExceeded, SwarmSize, Sweep, TableLimits,
    TableSize,
};

use by_source::BySource;
use calls::Calls;
use contested::Contested;
use file_index::FileIndex;
use holders::Holders;
use lease::LeaseQueue;
use peer::{Peer, PeerKey, PeerSlot, Standing};
use slab::Slab;

use crate::registry::place::Site;

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
    /// The listed ones among them by source, if they are more than a handout names.
    by_source: Option<Box<BySource>>,
}

/// What comes from one IP address.
#[derive(Debug, Default)]
struct IpUse {
    peers: u32,
    /// Peers that left and whose entries are still being removed.
    retired: u32,
    entries: u32,
    /// Files whose first holder is one of them: what a file takes is counted once.
    files: u32,
}

/// Peers that claim the same socket.
#[derive(Debug, Default)]
struct AtSite {
    peers: u32,
    /// What came of calls to it.
    calls: Option<Box<Calls>>,
}

/// The availability table.
#[derive(Debug)]
pub struct Table {
    limits: TableLimits,
    peers: Slab<PeerSlot, Peer>,
    files: Slab<FileId, File>,
    index: FileIndex,
    /// Peers without a connection, which may come back.
    away: BTreeMap<PeerKey, PeerSlot>,
    by_epoch: EpochMap<PeerSlot>,
    by_ip: HashMap<IpAddr, IpUse>,
    /// Of the live peers that accept connections.
    sites: HashMap<Site, AtSite>,
    /// Peers beyond the first at their site. Mostly there are none.
    at_shared_sites: u32,
    contested: Contested,
    leases: LeaseQueue,
    /// Peers that left with more entries than one sweep removes.
    retired: Vec<PeerSlot>,
    entries: u32,
    size_conflicts: u64,
    gave_way: u64,
    /// How often others may still give way to the report that is being taken.
    turns_left: u32,
    /// The latest moment that the table was told of.
    latest: Duration,
    /// Until then some address is doubtful.
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
            gave_way: 0,
            turns_left: 0,
            latest: Duration::ZERO,
            doubts_until: Duration::ZERO,
        }
    }

    /// A peer introduces itself on connection `epoch`.
    ///
    /// A peer whose connection is gone and that comes back before its lease has ended, from the
    /// same address and with the same id, keeps its entries. Everybody else starts with nothing,
    /// and takes nothing from a peer that is there.
    ///
    /// # Errors
    /// There is no room for one more peer.
    pub fn hello(
        &mut self,
        now: Duration,
        epoch: Epoch,
        arrival: &Arrival,
    ) -> Result<Admitted, LimitExceeded> {
        self.latest = self.latest.max(now);
        let key = PeerKey::new(arrival.ip, arrival.place.listed(), arrival.peer_id);
        match self.away.remove(&key) {
            Some(slot) => Ok(self.welcome_back(now, epoch, slot, arrival)),
            None => self.admit(now, epoch, key, arrival),
        }
    }

    /// The connection is gone. Its peer's entries stay until the lease ends.
    pub fn disconnected(&mut self, epoch: Epoch) {
        let Some(slot) = self.by_epoch.remove(&epoch) else { return };
        let peer = self.peers.at_mut(slot);
        peer.standing = Standing::Away;
        let key = peer.key;
        // Nothing to keep: coming back, it would start with nothing either way.
        if peer.files.is_empty() {
            return self.retire(slot);
        }
        // Of two with the same key the one that was heard last is more likely to come back.
        if let Some(other) = self.away.insert(key, slot) {
            self.retire(other);
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
        self.latest = self.latest.max(now);
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

    /// Nobody could be heard for a while, and it was our fault: everybody has a whole lease again.
    pub fn renew_all(&mut self, now: Duration) {
        self.latest = self.latest.max(now);
        self.peers.iter_mut().for_each(|peer| peer.renew(now));
    }

    /// No lease ends before this moment; there may be none at it either.
    pub fn next_expiry(&self) -> Option<Duration> {
        self.leases.next_deadline()
    }

    /// The address of the peer that a connection speaks for; the port is 0 if it accepts nobody.
    pub(crate) fn address(&self, epoch: Epoch) -> Option<SocketAddr> {
        Some(self.peers.at(*self.by_epoch.get(&epoch)?).key.address())
    }

    /// The IP address that a connection comes from.
    pub(crate) fn ip(&self, epoch: Epoch) -> Option<IpAddr> {
        Some(self.peers.at(*self.by_epoch.get(&epoch)?).key.ip())
    }

    /// Bytes that files and entries may have.
    pub fn max_bytes(&self) -> u64 {
        self.limits.max_bytes
    }

    /// How much is in the table. Entries of peers that left count until they are swept.
    pub fn size(&self) -> TableSize {
        let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        TableSize {
            peers: count(self.live_peers()),
            files: count(self.files.len()),
            entries: self.entries,
            bytes: self.bytes(),
            gave_way: self.gave_way,
            size_conflicts: self.size_conflicts,
        }
    }

    fn welcome_back(
        &mut self,
        now: Duration,
        epoch: Epoch,
        slot: PeerSlot,
        arrival: &Arrival,
    ) -> Admitted {
        self.by_epoch.insert(epoch, slot);
        let peer = self.peers.at_mut(slot);
        peer.epoch = epoch;
        peer.standing = Standing::Connected;
        peer.last_seq = 0;
        let before = std::mem::replace(&mut peer.place, arrival.place).site();
        if before != arrival.place.site() {
            self.leave_site(before);
            self.enter_site(arrival.place.site());
        }
        let peer = self.peers.at_mut(slot);
        peer.lease = self.limits.lease(arrival.report_interval);
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
        key: PeerKey,
        arrival: &Arrival,
    ) -> Result<Admitted, LimitExceeded> {
        self.make_room_for_peer(key.ip())?;
        let lease = self.limits.lease(arrival.report_interval);
        let lease_ends = now.saturating_add(lease);
        let slot = self.peers.insert(Peer {
            key,
            epoch,
            standing: Standing::Connected,
            place: arrival.place,
            shares_ip: false,
            last_seq: 0,
            lease,
            lease_ends,
            queued: lease_ends,
            digest: ReportDigest::default(),
            cut: None,
            quiet_until: Duration::ZERO,
            settled: 0,
            contested: 0,
            contested_place: 0,
            files: HashMap::new(),
            odd_sizes: HashMap::new(),
        });
        self.enter(slot);
        Ok(Admitted { address: key.address(), lease, digest: ReportDigest::default() })
    }

    /// Puts a connected peer into every index.
    fn enter(&mut self, slot: PeerSlot) {
        let Peer { key, epoch, queued, place, .. } = *self.peers.at(slot);
        self.by_epoch.insert(epoch, slot);
        let of_ip = self.by_ip.entry(key.ip()).or_default();
        of_ip.peers += 1;
        self.peers.at_mut(slot).shares_ip = of_ip.peers > 1 || key.address().ip() != key.ip();
        self.enter_site(place.site());
        self.leases.insert(queued, slot);
    }

    fn enter_site(&mut self, site: Option<Site>) {
        if let Some(site) = site {
            let at = self.sites.entry(site).or_default();
            at.peers += 1;
            self.at_shared_sites += u32::from(at.peers > 1);
        }
    }

    /// What came of calls to it goes with the last one.
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

    fn file_of(&self, hash: &FileHash) -> Option<FileId> {
        self.index.find(hash, |id| &self.files.at(id).hash)
    }
}

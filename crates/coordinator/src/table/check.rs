//! The table counted anew from its entries, and the memory it reserves. For tests, simulators and measurements.

use std::collections::BTreeMap;
use std::net::IpAddr;
#[cfg(any(test, feature = "fuzzing"))]
use std::{collections::BTreeSet, net::SocketAddr};

use tnet_fileinfo::FileHash;
use tnet_proto::ReportDigest;

use super::peer::{PeerKey, PeerSlot, Standing, map_bytes};
use super::{Epoch, FileId, IpUse, Table};

/// Bytes the table has reserved, computed from the capacities of its collections; what the allocator adds is not
/// in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// What grows with the entries: a number among the holders of a file, a pair in the map of a peer.
    pub entries: usize,
    /// What grows with the number of files.
    pub files: usize,
    /// What grows with the number of peers.
    pub peers: usize,
}

impl Table {
    /// How much memory is reserved now.
    #[doc(hidden)]
    pub fn footprint(&self) -> Footprint {
        let holders: usize = self.files.iter().map(|(_, file)| file.holders.reserved_bytes()).sum();
        let maps: usize = self.peers.iter().map(|(_, peer)| peer.reserved_bytes()).sum();
        Footprint {
            entries: holders + maps,
            files: self.files.reserved_bytes() + map_bytes::<FileHash, FileId>(self.by_hash.capacity()),
            peers: self.peers.reserved_bytes()
                + map_bytes::<PeerKey, PeerSlot>(self.by_key.capacity())
                + map_bytes::<Epoch, PeerSlot>(self.by_epoch.capacity())
                + map_bytes::<IpAddr, IpUse>(self.by_ip.capacity()),
        }
    }

    /// Recounts everything.
    ///
    /// # Panics
    /// If anything the table keeps twice differs.
    #[doc(hidden)]
    pub fn check(&self) {
        self.check_files();
        self.check_peers();
        self.check_counts();
    }

    fn check_files(&self) {
        assert_eq!(self.by_hash.len(), self.files.len(), "one name per file");
        for (id, file) in self.files.iter() {
            assert_eq!(self.by_hash.get(&file.hash), Some(&id), "{} leads elsewhere", file.hash);
            assert!(!file.holders.is_empty(), "{} is held by nobody", file.hash);
            for (place, slot) in file.holders.iter() {
                let peer = self.peers.at(slot);
                assert_eq!(peer.files.get(&id), Some(&place), "{} misses {:?}", file.hash, peer.key);
                let group = file.holders.group(place);
                let expected = super::holders::Group::of(peer.key.listing(), group.holding());
                assert_eq!(group, expected, "{:?} stands among the wrong kind", peer.key);
            }
        }
    }

    fn check_peers(&self) {
        for (slot, peer) in self.peers.iter() {
            for (file, place) in &peer.files {
                assert_eq!(
                    self.files.at(*file).holders.slot(*place),
                    slot,
                    "{:?} is somewhere else",
                    peer.key
                );
            }
            let live = peer.standing != Standing::Retired;
            assert_eq!(self.by_key.get(&peer.key) == Some(&slot), live, "{:?}", peer.key);
            assert_eq!(self.leases.contains(peer.queued, slot), live, "{:?}", peer.key);
            assert_eq!(self.retired.contains(&slot), !live, "{:?}", peer.key);
            let connected = peer.standing == Standing::Connected;
            assert_eq!(self.by_epoch.get(&peer.epoch) == Some(&slot), connected, "{:?}", peer.key);
            if !live {
                continue;
            }
            assert!(peer.queued <= peer.lease_ends, "{:?} would overstay its lease", peer.key);
            assert!(connected || !peer.files.is_empty(), "{:?} is kept for nothing", peer.key);
            assert!(peer.odd_sizes.keys().all(|file| peer.files.contains_key(file)), "{:?}", peer.key);
            let mut digest = ReportDigest::default();
            peer.files.iter().for_each(|(file, place)| digest.toggle(&self.entry(slot, *file, *place)));
            assert_eq!(digest, peer.digest, "{:?}", peer.key);
        }
    }

    fn check_counts(&self) {
        let entries: usize = self.peers.iter().map(|(_, peer)| peer.files.len()).sum();
        assert_eq!(entries, self.entries as usize);
        let held: usize = self.files.iter().map(|(_, file)| file.holders.len() as usize).sum();
        assert_eq!(held, entries, "both sides have the same entries");
        assert_eq!(self.leases.len(), self.by_key.len());
        assert_eq!(self.by_key.len() + self.retired.len(), self.peers.len());
        assert!(self.by_epoch.len() <= self.by_key.len());

        let mut by_ip: BTreeMap<IpAddr, (u32, u32, usize)> = BTreeMap::new();
        for (_, peer) in self.peers.iter() {
            let of_ip = by_ip.entry(peer.key.ip()).or_default();
            match peer.standing {
                Standing::Retired => of_ip.1 += 1,
                Standing::Connected | Standing::Away => of_ip.0 += 1,
            }
            of_ip.2 += peer.files.len();
        }
        let counted = self.by_ip.iter().map(|(ip, of)| (*ip, (of.peers, of.retired, of.entries as usize)));
        assert_eq!(by_ip, counted.collect());
    }

    /// Addresses of all live peers that accept connections and hold the file. For comparison with a model.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn listed_holders(&self, hash: &FileHash) -> BTreeSet<SocketAddr> {
        let Some(file) = self.by_hash.get(hash) else { return BTreeSet::new() };
        let holders = self.files.at(*file).holders.iter();
        let live =
            holders.map(|(_, slot)| self.peers.at(slot)).filter(|peer| peer.standing != Standing::Retired);
        live.map(|peer| peer.key.address()).filter(|address| address.port() != 0).collect()
    }
}

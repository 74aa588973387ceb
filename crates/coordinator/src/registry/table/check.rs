//! Recounts the table from its entries, and computes the memory it has reserved. For tests,
//! simulators and measurements.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
#[cfg(any(test, feature = "fuzzing"))]
use std::net::SocketAddr;

#[cfg(any(test, feature = "fuzzing"))]
use tnet_fileinfo::FileHash;
use tnet_proto::ReportDigest;

use super::peer::{PeerSlot, PeerState, Visibility, map_bytes};
use super::{AtSite, Epoch, FileRecord, IpUsage, Table};
use crate::registry::location::Site;

/// Bytes the table has reserved, computed from the capacities of its collections; allocator
/// overhead not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Footprint {
    /// What grows with the number of entries: a number among the holders of a file, a pair in the
    /// map of a peer.
    pub entries: usize,
    /// What grows with the number of files.
    pub files: usize,
    /// What grows with the number of peers.
    pub peers: usize,
}

impl Table {
    /// Memory reserved now, in bytes.
    #[doc(hidden)]
    pub fn footprint(&self) -> Footprint {
        let by_source =
            |file: &FileRecord| file.by_source.as_ref().map_or(0, |index| index.reserved_bytes());
        let of_file = |file: &FileRecord| file.holders.reserved_bytes() + by_source(file);
        let holders: usize = self.files.iter().map(|(_, file)| of_file(file)).sum();
        let maps: usize = self.peers.iter().map(|(_, peer)| peer.reserved_bytes()).sum();
        Footprint {
            entries: holders + maps,
            files: self.files.reserved_bytes() + self.index.reserved_bytes(),
            peers: self.peers.reserved_bytes()
                + map_bytes::<Site, AtSite>(self.sites.capacity())
                + map_bytes::<Epoch, PeerSlot>(self.by_epoch.capacity())
                + map_bytes::<IpAddr, IpUsage>(self.by_ip.capacity()),
        }
    }

    /// Recounts everything.
    ///
    /// # Panics
    /// If two records of the same fact differ.
    #[doc(hidden)]
    pub fn check(&self) {
        self.check_files();
        self.check_peers();
        self.check_counts();
    }

    fn check_files(&self) {
        assert_eq!(self.index.len(), self.files.len(), "one name per file");
        let mut paid: BTreeMap<IpAddr, u32> = BTreeMap::new();
        for (id, file) in self.files.iter() {
            assert_eq!(self.file_of(&file.hash), Some(id), "{} leads elsewhere", file.hash);
            assert!(!file.holders.is_empty(), "{} has no holder", file.hash);
            for (position, slot) in file.holders.iter() {
                let peer = self.peers.at(slot);
                assert_eq!(
                    peer.files.get(&id),
                    Some(&position),
                    "{} misses {:?}",
                    file.hash,
                    peer.key
                );
                let group = file.holders.group(position);
                let expected = super::holders::Group::of(peer.key.visibility(), group.holding());
                assert_eq!(group, expected, "{:?} stands among the wrong kind", peer.key);
            }
            if let Some(by_source) = &file.by_source {
                let listed =
                    |slot: &PeerSlot| self.peers.at(*slot).key.visibility() == Visibility::Listed;
                let mut holders: Vec<PeerSlot> =
                    file.holders.iter().map(|(_, slot)| slot).filter(listed).collect();
                let mut indexed: Vec<PeerSlot> = by_source.iter().collect();
                holders.sort_unstable();
                indexed.sort_unstable();
                assert_eq!(indexed, holders, "{} by source", file.hash);
            }
            let payer = file.holders.first().expect("just seen to have holders");
            *paid.entry(self.peers.at(payer).key.ip()).or_default() += 1;
        }
        let counted = self.by_ip.iter().map(|(ip, of_ip)| (*ip, of_ip.files));
        assert_eq!(
            paid,
            counted.filter(|(_, files)| *files > 0).collect(),
            "the peers that pay for files"
        );
    }

    fn check_peers(&self) {
        for (slot, peer) in self.peers.iter() {
            for (file, position) in &peer.files {
                assert_eq!(
                    self.files.at(*file).holders.slot(*position),
                    slot,
                    "{:?} is somewhere else",
                    peer.key
                );
            }
            let live = peer.state != PeerState::Retired;
            let away = peer.state == PeerState::Away;
            assert_eq!(self.away.get(&peer.key) == Some(&slot), away, "{:?}", peer.key);
            let expected = if live { peer.files.len().saturating_sub(peer.settled) } else { 0 };
            assert_eq!(peer.contested, expected, "{:?}", peer.key);
            let stands = self.contested.slot(peer.contested_position) == Some(slot);
            assert!(stands || peer.contested == 0, "{:?} is not among the contested", peer.key);
            assert_eq!(self.leases.contains(peer.queued, slot), live, "{:?}", peer.key);
            assert_eq!(self.retired.contains(&slot), !live, "{:?}", peer.key);
            let connected = peer.state == PeerState::Connected;
            assert_eq!(self.by_epoch.get(&peer.epoch) == Some(&slot), connected, "{:?}", peer.key);
            if !live {
                continue;
            }
            assert!(peer.queued <= peer.lease_ends, "{:?} would overstay its lease", peer.key);
            assert!(connected || !peer.files.is_empty(), "{:?} is kept for nothing", peer.key);
            assert!(
                peer.odd_sizes.keys().all(|file| peer.files.contains_key(file)),
                "{:?}",
                peer.key
            );
            let mut digest = ReportDigest::default();
            peer.files
                .iter()
                .for_each(|(file, position)| digest.toggle(&self.entry(slot, *file, *position)));
            assert_eq!(digest, peer.digest, "{:?}", peer.key);
        }
    }

    fn check_counts(&self) {
        let entries: usize = self.peers.iter().map(|(_, peer)| peer.files.len()).sum();
        assert_eq!(entries, self.entries as usize);
        let held: usize = self.files.iter().map(|(_, file)| file.holders.len() as usize).sum();
        assert_eq!(held, entries, "both sides have the same entries");
        assert_eq!(self.leases.len(), self.live_peers());
        assert_eq!(self.by_epoch.len() + self.away.len(), self.live_peers());
        let contested: usize = self.peers.iter().map(|(_, peer)| peer.contested).sum();
        assert_eq!(contested as u64, self.contested.total());
        let some = self.peers.iter().filter(|(_, peer)| peer.contested > 0).count();
        assert_eq!(some, self.contested.len());
        let mut at_site: BTreeMap<Site, u32> = BTreeMap::new();
        for (_, peer) in self.peers.iter().filter(|(_, peer)| peer.state != PeerState::Retired) {
            assert_eq!(peer.location.site().is_some(), peer.key.visibility() == Visibility::Listed);
            peer.location
                .site()
                .into_iter()
                .for_each(|site| *at_site.entry(site).or_default() += 1);
        }
        assert_eq!(at_site, self.sites.iter().map(|(site, at)| (*site, at.peers)).collect());
        let beyond_first: u32 = at_site.values().map(|peers| peers - 1).sum();
        assert_eq!(self.at_shared_sites, beyond_first, "peers at shared sites");

        let mut by_ip: BTreeMap<IpAddr, (u32, u32, usize)> = BTreeMap::new();
        for (_, peer) in self.peers.iter() {
            let of_ip = by_ip.entry(peer.key.ip()).or_default();
            match peer.state {
                PeerState::Retired => of_ip.1 += 1,
                PeerState::Connected | PeerState::Away => of_ip.0 += 1,
            }
            of_ip.2 += peer.files.len();
        }
        let live = self.peers.iter().filter(|(_, peer)| peer.state != PeerState::Retired);
        let mut alone = BTreeSet::new();
        for (_, peer) in live.filter(|(_, peer)| !peer.shares_ip) {
            assert!(alone.insert(peer.key.ip()), "{:?} shares its IP address", peer.key);
        }
        let counted =
            self.by_ip.iter().map(|(ip, of)| (*ip, (of.peers, of.retired, of.entries as usize)));
        assert_eq!(by_ip, counted.collect());
    }

    /// Addresses of all live peers that accept connections and hold the file. For comparison with a
    /// model.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn listed_holders(&self, hash: &FileHash) -> BTreeSet<SocketAddr> {
        let Some(file) = self.file_of(hash) else { return BTreeSet::new() };
        let holders = self.files.at(file).holders.iter();
        let live = holders
            .map(|(_, slot)| self.peers.at(slot))
            .filter(|peer| peer.state != PeerState::Retired);
        live.map(|peer| peer.key.address()).filter(|address| address.port() != 0).collect()
    }
}

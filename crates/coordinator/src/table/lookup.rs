//! Questions to the table. None of them changes it, and none looks at more of a swarm than it answers with.

use std::net::SocketAddr;

use rand::Rng;
use tnet_fileinfo::FileHash;
use tnet_proto::{Holder, MAX_HOLDERS};

use super::holders::Group;
use super::peer::{Listing, Standing};
use super::{Epoch, File, FileSummary, SwarmSize, Table};
use crate::handout::Candidates;

/// Whom a peer should ask for a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Handout {
    /// The whole swarm.
    pub swarm: SwarmSize,
    /// At most `MAX_HOLDERS` of those that accept connections, chosen at random, the asker left out.
    pub holders: Vec<Holder>,
}

impl Table {
    /// How many hold the file; nothing if nobody does.
    pub fn swarm(&self, hash: &FileHash) -> Option<SwarmSize> {
        let file = self.by_hash.get(hash)?;
        Some(swarm_size(self.files.at(*file)))
    }

    /// At most `limit` files, in no particular order.
    pub fn files(&self, limit: usize) -> Vec<FileSummary> {
        let summary = |file: &File| FileSummary { hash: file.hash, size: file.size, swarm: swarm_size(file) };
        self.files.iter().take(limit).map(|(_, file)| summary(file)).collect()
    }

    /// Random holders of the file for the peer that asks on connection `asker`.
    pub fn handout(&self, hash: &FileHash, asker: Option<Epoch>, rng: &mut impl Rng) -> Handout {
        self.handout_with(hash, asker, &[], rng)
    }

    /// Like [`Table::handout`], but the peers at the addresses `first` come first, as far as they still hold the
    /// file and are not the asker. Chance fills the rest.
    pub fn handout_with(
        &self,
        hash: &FileHash,
        asker: Option<Epoch>,
        first: &[SocketAddr],
        rng: &mut impl Rng,
    ) -> Handout {
        let Some(id) = self.by_hash.get(hash).copied() else { return Handout::default() };
        let file = self.files.at(id);
        let place_of = |slot| self.peers.at(slot).files.get(&id).copied();
        let asker = asker.and_then(|epoch| place_of(*self.by_epoch.get(&epoch)?));

        let mut places: Vec<u32> =
            first.iter().filter_map(|address| place_of(self.listed(*address)?)).collect();
        places.retain(|place| Some(*place) != asker);
        places.truncate(MAX_HOLDERS);
        let named = places.len();

        let candidates = Candidates {
            full: file.holders.count(Group::ListedFull),
            partial: file.holders.count(Group::ListedPartial),
            asker,
        };
        let wanted = u32::try_from(MAX_HOLDERS).expect("a small constant");
        for place in candidates.choose(wanted, rng) {
            if places.len() == MAX_HOLDERS {
                break;
            }
            if !places[..named].contains(&place) {
                places.push(place);
            }
        }
        let holders = places.into_iter().filter_map(|place| self.holder(file, place)).collect();
        Handout { swarm: swarm_size(file), holders }
    }

    /// Whether anyone of `addresses` but the asker still holds the file.
    pub fn any_holds(&self, hash: &FileHash, addresses: &[SocketAddr], asker: Epoch) -> bool {
        let Some(file) = self.by_hash.get(hash) else { return false };
        let asker = self.by_epoch.get(&asker).copied();
        let others =
            addresses.iter().filter_map(|address| self.listed(*address)).filter(|slot| Some(*slot) != asker);
        others.into_iter().any(|slot| self.peers.at(slot).files.contains_key(file))
    }

    /// Nothing for a peer that left and is still being swept out.
    fn holder(&self, file: &File, place: u32) -> Option<Holder> {
        let peer = self.peers.at(file.holders.slot(place));
        debug_assert_eq!(peer.key.listing(), Listing::Listed);
        let availability = file.holders.group(place).holding().availability();
        (peer.standing != Standing::Retired).then(|| Holder { address: peer.key.address(), availability })
    }
}

fn swarm_size(file: &File) -> SwarmSize {
    let both = |listed, unlisted| file.holders.count(listed) + file.holders.count(unlisted);
    SwarmSize {
        full: both(Group::ListedFull, Group::UnlistedFull),
        partial: both(Group::ListedPartial, Group::UnlistedPartial),
    }
}

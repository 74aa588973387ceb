//! Questions to the table. None of them changes it, and none looks at more of a swarm than it answers with.

use rand::Rng;
use tnet_fileinfo::FileHash;
use tnet_proto::Holder;

use super::holders::Group;
use super::peer::{Listing, PeerSlot};
use super::{Epoch, File, FileId, FileSummary, SwarmSize, Table};

/// Whom a peer should ask for a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Handout {
    /// The whole swarm.
    pub swarm: SwarmSize,
    /// At most `MAX_HOLDERS` of those that accept connections, drawn by source, the asker left out.
    pub holders: Vec<Holder>,
}

impl Table {
    /// How many hold the file; nothing if nobody does.
    pub fn swarm(&self, hash: &FileHash) -> Option<SwarmSize> {
        Some(swarm_size(self.files.at(self.file_of(hash)?)))
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

    /// Like [`Table::handout`], but the peers on the connections `first` come first, as far as they still hold the
    /// file and are not the asker. Chance fills the rest.
    pub fn handout_with(
        &self,
        hash: &FileHash,
        asker: Option<Epoch>,
        first: &[Epoch],
        rng: &mut impl Rng,
    ) -> Handout {
        let Some(id) = self.file_of(hash) else { return Handout::default() };
        let file = self.files.at(id);
        let place_of = |slot| self.peers.at(slot).files.get(&id).copied();
        let asker = asker.and_then(|epoch| self.by_epoch.get(&epoch).copied());
        let asker_place = asker.and_then(place_of);
        let is_listed = |slot: &PeerSlot| self.peers.at(*slot).key.listing() == Listing::Listed;
        let first: Vec<PeerSlot> = self.holding_on(id, first).filter(is_listed).collect();
        let holders = self.draw(file, asker, asker_place, &first, rng).into_iter().filter_map(|slot| {
            let availability = self.holding(file, Some(id), slot)?.availability();
            Some(Holder { address: self.peers.at(slot).key.address(), availability })
        });
        Handout { swarm: swarm_size(file), holders: holders.collect() }
    }

    /// Whether anyone on `connections` but the asker still holds the file.
    pub fn any_holds(&self, hash: &FileHash, connections: &[Epoch], asker: Epoch) -> bool {
        let Some(file) = self.file_of(hash) else { return false };
        let asker = self.by_epoch.get(&asker).copied();
        self.holding_on(file, connections).any(|slot| Some(slot) != asker)
    }

    fn holding_on(&self, file: FileId, connections: &[Epoch]) -> impl Iterator<Item = PeerSlot> {
        let slots = connections.iter().filter_map(|epoch| self.by_epoch.get(epoch).copied());
        slots.filter(move |slot| self.peers.at(*slot).files.contains_key(&file))
    }
}

fn swarm_size(file: &File) -> SwarmSize {
    let both = |listed, unlisted| file.holders.count(listed) + file.holders.count(unlisted);
    SwarmSize {
        full: both(Group::ListedFull, Group::UnlistedFull),
        partial: both(Group::ListedPartial, Group::UnlistedPartial),
    }
}

//! Queries of the table. None of them changes it, and none examines more of a swarm than it
//! returns.

use rand::Rng;
use tnet_fileinfo::FileHash;
use tnet_proto::{Holder, MAX_HOLDERS};

use super::holders::Group;
use super::peer::PeerSlot;
use super::{Epoch, FileRecord, FileSlot, FileSummary, SwarmSize, Table};

/// Holders that a peer is told of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Handout {
    /// The whole swarm, without other peers at the asker's site: usually its own entries from
    /// before a restart.
    pub swarm: SwarmSize,
    /// At most `MAX_HOLDERS` of the holders that accept connections, drawn by source, without the
    /// asker.
    pub holders: Vec<Holder>,
}

impl Table {
    /// How many peers hold the file; `None` if there are none.
    pub fn swarm(&self, hash: &FileHash) -> Option<SwarmSize> {
        Some(swarm_size(self.files.at(self.file_of(hash)?)))
    }

    /// At most `limit` files, in no particular order.
    pub fn files(&self, limit: usize) -> Vec<FileSummary> {
        let summary = |file: &FileRecord| FileSummary {
            hash: file.hash,
            size: file.size,
            swarm: swarm_size(file),
        };
        self.files.iter().take(limit).map(|(_, file)| summary(file)).collect()
    }

    /// Random holders of the file for the peer that asks on connection `asker`.
    pub fn handout(&self, hash: &FileHash, asker: Option<Epoch>, rng: &mut impl Rng) -> Handout {
        self.handout_with(hash, asker, &[], rng)
    }

    /// Like [`Table::handout`], but names the peers on the connections `first` before the others,
    /// if they still hold the file and are not the asker. The rest is random.
    pub fn handout_with(
        &self,
        hash: &FileHash,
        asker: Option<Epoch>,
        first: &[Epoch],
        rng: &mut impl Rng,
    ) -> Handout {
        let Some(id) = self.file_of(hash) else { return Handout::default() };
        let file = self.files.at(id);
        let asker = asker.and_then(|epoch| self.by_epoch.get(&epoch).copied());
        let listed = 0..file.holders.range(Group::ListedPartial).end;
        let first = self.holding_on(id, first).map(|(_, position)| position);
        let first: Vec<u32> = first.filter(|position| listed.contains(position)).collect();
        let swarm = self.swarm_without(file, asker);
        Handout { swarm, holders: self.draw(id, asker, &first, rng) }
    }

    /// The swarm without other peers at the asker's site. Not computed for large swarms, where it
    /// costs more than it is worth.
    fn swarm_without(&self, file: &FileRecord, asker: Option<PeerSlot>) -> SwarmSize {
        let mut swarm = swarm_size(file);
        if self.at_shared_sites == 0 {
            return swarm;
        }
        let site_of = |slot: PeerSlot| self.peers.at(slot).location.site();
        let Some(site) = asker.and_then(site_of) else { return swarm };
        if self.sites.get(&site).is_none_or(|at| at.peers <= 1) {
            return swarm;
        }
        let listed =
            [(Group::ListedFull, &mut swarm.full), (Group::ListedPartial, &mut swarm.partial)];
        for (group, count) in listed
            .into_iter()
            .filter(|(group, _)| file.holders.count(*group) as usize <= MAX_HOLDERS)
        {
            let others = file.holders.range(group).map(|position| file.holders.slot(position));
            let at_site =
                others.filter(|slot| Some(*slot) != asker && site_of(*slot) == Some(site)).count();
            *count -= u32::try_from(at_site).expect("a part of the count");
        }
        swarm
    }

    /// Whether a peer on `connections` other than the asker still holds the file.
    pub fn any_holds(&self, hash: &FileHash, connections: &[Epoch], asker: Epoch) -> bool {
        let Some(file) = self.file_of(hash) else { return false };
        let asker = self.by_epoch.get(&asker).copied();
        self.holding_on(file, connections).any(|(slot, _)| Some(slot) != asker)
    }

    /// The peers on `connections` that hold the file, with their positions among the holders.
    fn holding_on(
        &self,
        file: FileSlot,
        connections: &[Epoch],
    ) -> impl Iterator<Item = (PeerSlot, u32)> {
        let slots = connections.iter().filter_map(|epoch| self.by_epoch.get(epoch).copied());
        slots.filter_map(move |slot| Some((slot, *self.peers.at(slot).files.get(&file)?)))
    }
}

fn swarm_size(file: &FileRecord) -> SwarmSize {
    let both = |listed, unlisted| file.holders.count(listed) + file.holders.count(unlisted);
    SwarmSize {
        full: both(Group::ListedFull, Group::UnlistedFull),
        partial: both(Group::ListedPartial, Group::UnlistedPartial),
    }
}

//! Whom a handout names, by chance. While there is room all are named. Otherwise sources are drawn first, then a port of
//! each: thousands of ports of one host weigh as much as one of another. At most three of one source are named while
//! others are to be had, and a few places are for networks. Where there is no competition, a swarm behind one address
//! included, the draw is even. The cost depends on how many are wanted, not on how many there are.

use std::net::{IpAddr, SocketAddr};

use rand::Rng;
use rand::RngExt;
use rand::seq::SliceRandom;
use tnet_proto::{MAX_HOLDERS, SourceNetwork};

use super::by_source::BySource;
use super::holders::{Group, Holding};
use super::peer::{Listing, PeerSlot, Standing};
use super::{File, FileId, Table};
use crate::handout::{Candidates, MIN_OF_EACH};

/// Holders of one source in a handout, while others are to be had.
const OF_ONE_SOURCE: usize = 3;

/// Places that are drawn by network first.
const BY_NETWORK: usize = 10;

/// Doubtful holders that are named even if there are enough others.
const DOUBTFUL: usize = 5;

/// Sources that are listed to draw from; of more than that, holders are drawn until sources differ.
const MOST_SOURCES: usize = 256;

/// Draws until enough sources differ.
const DRAWS: usize = 600;

/// The index by source is there from more holders than are ever named, and goes at fewer than this.
const KEEP_INDEX: usize = MAX_HOLDERS / 2;

/// A handout in the making.
struct Draw<'a> {
    table: &'a Table,
    /// Whose address is not named.
    asker: Option<SocketAddr>,
    chosen: Vec<(PeerSlot, SocketAddr)>,
    /// Those that askers could not reach.
    doubtful: Vec<(PeerSlot, SocketAddr)>,
}

impl Draw<'_> {
    fn is_done(&self) -> bool {
        self.chosen.len() >= MAX_HOLDERS
    }

    /// Whether nobody more has a chance to be named.
    fn is_over(&self) -> bool {
        self.is_done() && (!self.table.has_doubts() || self.doubtful.len() >= DOUBTFUL)
    }

    /// Names the holder unless its address is named, or the asker's, or `most` of its source are named. False if so.
    fn offer(&mut self, slot: PeerSlot, most: usize) -> bool {
        if self.is_over() {
            return false;
        }
        let peer = self.table.peers.at(slot);
        let address = peer.key.address();
        if peer.standing == Standing::Retired || Some(address) == self.asker {
            return false;
        }
        let list = if self.table.is_doubtful(address) { &mut self.doubtful } else { &mut self.chosen };
        let mut of_source = 0;
        for (_, other) in list.iter() {
            if *other == address {
                return false;
            }
            of_source += usize::from(other.ip() == address.ip());
        }
        if of_source >= most || list.len() >= MAX_HOLDERS {
            return false;
        }
        list.push((slot, address));
        true
    }

    fn offer_all(&mut self, slots: &[PeerSlot], most: usize) {
        for slot in slots {
            self.offer(*slot, most);
        }
    }

    /// The doubtful come last. A few of them come in any case.
    fn end(mut self) -> Vec<PeerSlot> {
        let kept = MAX_HOLDERS - self.doubtful.len().min(DOUBTFUL);
        self.chosen.truncate(kept);
        self.doubtful.truncate(MAX_HOLDERS - self.chosen.len());
        self.chosen.into_iter().chain(self.doubtful).map(|(slot, _)| slot).collect()
    }
}

impl Table {
    /// Up to [`MAX_HOLDERS`] holders of the file for a handout, those of `first` before others.
    pub(super) fn draw(
        &self,
        file: &File,
        asker: Option<PeerSlot>,
        asker_place: Option<u32>,
        first: &[PeerSlot],
        rng: &mut impl Rng,
    ) -> Vec<PeerSlot> {
        let asker = asker.map(|slot| self.peers.at(slot).key).filter(|key| key.listing() == Listing::Listed);
        let asker = asker.map(|key| key.address());
        let mut draw = Draw { table: self, asker, chosen: Vec::new(), doubtful: Vec::new() };
        let candidates = Candidates {
            full: file.holders.count(Group::ListedFull),
            partial: file.holders.count(Group::ListedPartial),
            asker: asker_place,
        };
        let wanted = u32::try_from(MAX_HOLDERS).expect("a small constant");
        let sample: Vec<PeerSlot> =
            candidates.choose(wanted, rng).into_iter().map(|place| file.holders.slot(place)).collect();
        draw.offer_all(first, OF_ONE_SOURCE);
        if let Some(by_source) = file.by_source.as_deref().filter(|all| self.is_contested(all, &sample)) {
            self.offer_some_of_each_kind(file, &sample, &mut draw);
            self.offer_by_source(by_source, &mut draw, rng);
        } else {
            draw.offer_all(&sample, OF_ONE_SOURCE);
        }
        draw.offer_all(first, usize::MAX);
        draw.offer_all(&sample, usize::MAX);
        if let Some(all) = &file.by_source
            && !draw.is_over()
        {
            for _ in 0..DRAWS {
                draw.offer(all.slot(rng.random_range(0..all.len())), usize::MAX);
            }
        }
        draw.end()
    }

    /// Whether an even draw would not do: there are several sources, and some of them have more than others.
    fn is_contested(&self, all: &BySource, sample: &[PeerSlot]) -> bool {
        if self.has_doubts() {
            return true;
        }
        if !all.has_several(|slot| self.ip_of(slot)) {
            return false;
        }
        let has_networks = all.has_several(|slot| self.network_of(slot));
        let mut sources: Vec<(SourceNetwork, IpAddr)> =
            sample.iter().map(|slot| (self.network_of(*slot), self.ip_of(*slot))).collect();
        sources.sort_unstable();
        sources.windows(2).any(|pair| pair[0].1 == pair[1].1 || has_networks && pair[0].0 == pair[1].0)
    }

    /// Whole holders among incomplete ones, and the other way round.
    fn offer_some_of_each_kind(&self, file: &File, sample: &[PeerSlot], draw: &mut Draw<'_>) {
        let full = file.holders.count(Group::ListedFull);
        let (fewer, rare) = match full <= file.holders.count(Group::ListedPartial) {
            true => (full, Holding::Full),
            false => (file.holders.count(Group::ListedPartial), Holding::Partial),
        };
        if fewer == 0 {
            return;
        }
        let id = self.file_of(&file.hash);
        let is_rare = |slot: &&PeerSlot| self.holding(file, id, **slot) == Some(rare);
        for slot in sample.iter().filter(is_rare).take(MIN_OF_EACH as usize) {
            draw.offer(*slot, OF_ONE_SOURCE);
        }
    }

    fn offer_by_source(&self, all: &BySource, draw: &mut Draw<'_>, rng: &mut impl Rng) {
        if let Some(networks) = all.sources(MOST_SOURCES, |slot| self.network_of(slot))
            && networks.len() > 1
        {
            let mut networks = networks;
            networks.shuffle(rng);
            for network in networks.into_iter().take(BY_NETWORK) {
                draw.offer(all.slot(rng.random_range(network)), OF_ONE_SOURCE);
            }
        }
        if let Some(mut sources) = all.sources(MOST_SOURCES, |slot| self.ip_of(slot)) {
            sources.shuffle(rng);
            for round in 1..=OF_ONE_SOURCE {
                for source in &sources {
                    let start = rng.random_range(source.clone());
                    // The one that is drawn may be named already, or the asker, or doubtful.
                    for at in (start..source.end).chain(source.start..start).take(2 * OF_ONE_SOURCE) {
                        if draw.offer(all.slot(at), round) {
                            break;
                        }
                    }
                }
            }
        } else {
            for number in 0..DRAWS {
                let most = if number < DRAWS / 2 { 1 } else { OF_ONE_SOURCE };
                draw.offer(all.slot(rng.random_range(0..all.len())), most);
                if draw.is_over() {
                    break;
                }
            }
        }
    }

    /// A peer holds the file now: it goes into the index by source, which is made when it is worth it.
    pub(super) fn list(&mut self, file: FileId, slot: PeerSlot) {
        let Table { files, peers, .. } = self;
        if peers.at(slot).key.listing() == Listing::Unlisted {
            return;
        }
        let ip_of = |slot| peers.at(slot).key.ip();
        let file = files.at_mut(file);
        let listed = file.holders.count(Group::ListedFull) + file.holders.count(Group::ListedPartial);
        if let Some(by_source) = &mut file.by_source {
            by_source.insert(slot, ip_of);
        } else if listed as usize > MAX_HOLDERS {
            let slots = file.holders.iter().take(listed as usize).map(|(_, slot)| slot).collect();
            file.by_source = Some(Box::new(BySource::new(slots, ip_of)));
        }
    }

    /// The holder at `place` is about to go.
    pub(super) fn unlist(&mut self, file: FileId, place: u32) {
        let Table { files, peers, .. } = self;
        let file = files.at_mut(file);
        let slot = file.holders.slot(place);
        if let Some(by_source) = &mut file.by_source {
            by_source.remove(slot, |slot| peers.at(slot).key.ip());
            if by_source.len() < KEEP_INDEX {
                file.by_source = None;
            }
        }
    }

    fn ip_of(&self, slot: PeerSlot) -> IpAddr {
        self.peers.at(slot).key.ip()
    }

    fn network_of(&self, slot: PeerSlot) -> SourceNetwork {
        SourceNetwork::of(self.ip_of(slot))
    }

    pub(super) fn holding(&self, file: &File, id: Option<FileId>, slot: PeerSlot) -> Option<Holding> {
        let place = self.peers.at(slot).files.get(&id?)?;
        Some(file.holders.group(*place).holding())
    }
}

#[cfg(test)]
mod tests;

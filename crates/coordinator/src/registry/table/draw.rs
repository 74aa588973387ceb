//! Draws the holders that a handout names. If all fit, all are named. Otherwise sources are drawn
//! first, then one holder of each: thousands of ports of one host weigh as much as one port of
//! another. At most three holders of one source are named while there are others, and a few slots
//! are drawn by network. Without competition between sources, for example in a swarm behind one
//! address, every holder is equally likely. The cost depends on the number of named holders, not on
//! the number of all.

use std::net::{IpAddr, SocketAddr};

use rand::Rng;
use rand::RngExt;
use rand::seq::SliceRandom;
use tnet_proto::{Holder, MAX_HOLDERS};
use tnet_sources::SourceNetwork;

use super::by_source::BySource;
use super::holders::{Group, Holders};
use super::peer::{PeerRecord, PeerSlot, PeerState, Visibility};
use super::{FileRecord, FileSlot, Table};
use crate::registry::handout::{Candidates, MIN_OF_EACH};
use crate::registry::location::{Site, Viewpoint};

/// Holders of one source in a handout, while there are other sources.
const PER_SOURCE: usize = 3;

/// Holders that are drawn by network first, and as many by wider network.
const BY_NETWORK: usize = 10;

/// Doubtful holders that are named even if there are enough others (see `calls.rs`).
const DOUBTFUL: usize = 5;

/// Holders that are examined in search of doubtful ones once the handout is full. Most files have
/// none.
const EXAMINED_FOR_DOUBTFUL: usize = 64;

/// Sources that are listed to draw from. With more sources, holders are drawn instead, with
/// rejection so that a source with many is not preferred.
const MOST_SOURCES: usize = 256;

/// Upper bound of such draws.
const MAX_DRAWS: usize = 600;

/// The index by source is built when there are more holders than are ever named, and dropped below
/// this number.
const MIN_INDEXED: usize = MAX_HOLDERS / 2;

/// A handout in the making.
struct Draw<'a> {
    table: &'a Table,
    id: FileSlot,
    holders: &'a Holders,
    /// The asker's own site, which is not named, and the viewpoint that addresses must be valid
    /// for.
    asker: Option<Site>,
    viewpoint: Option<Viewpoint>,
    has_doubts: bool,
    chosen: Named,
    /// Holders that askers could not reach.
    doubtful: Named,
    /// Holders examined for doubtful ones since the handout was full.
    examined_when_full: usize,
    /// Whether the next candidate may be named already, or share its IP address with a named one or
    /// the asker.
    may_repeat: bool,
}

impl Draw<'_> {
    fn is_done(&self) -> bool {
        self.chosen.len() >= MAX_HOLDERS
    }

    /// Whether no further candidate can be named.
    fn is_over(&self) -> bool {
        self.is_done()
            && (!self.has_doubts
                || self.doubtful.len() >= DOUBTFUL
                || self.examined_when_full >= EXAMINED_FOR_DOUBTFUL)
    }

    /// Offers the holders at these positions.
    fn offer_all(&mut self, positions: &[u32], most: usize) {
        for position in positions {
            self.offer(self.holders.slot(*position), Some(*position), most);
        }
    }

    /// Names the holder unless its address is the asker's or already named, or `most` of its source
    /// are named. Returns whether it did. Its position is looked up if it is not given.
    fn offer(&mut self, slot: PeerSlot, position: Option<u32>, most: usize) -> bool {
        if self.is_over() {
            return false;
        }
        let peer = self.table.peers.at(slot);
        let address = peer.key.address();
        self.may_repeat |= peer.shares_ip;
        let is_plain = peer.location.is_plain();
        let may_be_asker = self.asker.is_some() && (self.may_repeat || !is_plain);
        if peer.state == PeerState::Retired || may_be_asker && peer.location.site() == self.asker {
            return false;
        }
        let seen_at = if is_plain {
            address
        } else {
            let Some(seen_at) = peer.location.address_for(self.viewpoint) else { return false };
            seen_at
        };
        let is_doubtful = self.has_doubts && self.table.is_doubtful(peer.location.site());
        let is_full = self.is_done();
        let list = if is_doubtful { &mut self.doubtful } else { &mut self.chosen };
        self.examined_when_full += usize::from(is_full && !is_doubtful);
        let source = peer.key.ip();
        if list.len() >= MAX_HOLDERS || self.may_repeat && !list.has_room_for(seen_at, source, most)
        {
            return false;
        }
        let Some(position) = position.or_else(|| peer.files.get(&self.id).copied()) else {
            return false;
        };
        let availability = self.holders.group(position).holding().availability();
        list.push(Holder { address: seen_at, availability }, source);
        true
    }

    /// Some full holders among partial ones, and the other way round.
    fn offer_some_of_each_kind(&mut self, sample: &[u32]) {
        let (full, partial) =
            (self.holders.range(Group::ListedFull), self.holders.range(Group::ListedPartial));
        let fewer = if full.len() <= partial.len() { full } else { partial };
        let of_fewer = sample.iter().filter(|position| fewer.contains(position));
        for position in of_fewer.take(MIN_OF_EACH as usize) {
            self.offer(self.holders.slot(*position), Some(*position), PER_SOURCE);
        }
    }

    /// Doubtful holders come last; a few of them are always included.
    fn end(self) -> Vec<Holder> {
        let kept = MAX_HOLDERS - self.doubtful.len().min(DOUBTFUL);
        let (mut chosen, mut doubtful) = (self.chosen.holders, self.doubtful.holders);
        chosen.truncate(kept);
        doubtful.truncate(MAX_HOLDERS - chosen.len());
        chosen.append(&mut doubtful);
        chosen
    }
}

/// Holders, each with the IP address that it was observed at.
#[derive(Debug, Default)]
struct Named {
    holders: Vec<Holder>,
    /// Observed addresses of the holders that are named at another one.
    elsewhere: Vec<(SocketAddr, IpAddr)>,
}

impl Named {
    fn with_capacity(holders: usize) -> Named {
        Named { holders: Vec::with_capacity(holders), elsewhere: Vec::new() }
    }

    fn len(&self) -> usize {
        self.holders.len()
    }

    fn push(&mut self, holder: Holder, source: IpAddr) {
        if holder.address.ip() != source {
            self.elsewhere.push((holder.address, source));
        }
        self.holders.push(holder);
    }

    /// Whether the address is not named yet, and fewer than `most` of its source are.
    fn has_room_for(&self, address: SocketAddr, source: IpAddr, most: usize) -> bool {
        let mut of_source = 0;
        for other in self.holders.iter().map(|holder| holder.address) {
            if other == address {
                return false;
            }
            of_source += usize::from(other.ip() == source);
        }
        for (other, other_source) in &self.elsewhere {
            of_source += usize::from(*other_source == source);
            of_source -= usize::from(other.ip() == source);
        }
        of_source < most
    }
}

impl Table {
    /// Up to [`MAX_HOLDERS`] holders of the file for a handout, those at the positions `first`
    /// before the others.
    pub(super) fn draw(
        &self,
        id: FileSlot,
        asker: Option<PeerSlot>,
        first: &[u32],
        rng: &mut impl Rng,
    ) -> Vec<Holder> {
        let FileRecord { holders, by_source, .. } = self.files.at(id);
        let asker = asker.map(|slot| self.peers.at(slot));
        let candidates = Candidates {
            full: holders.count(Group::ListedFull),
            partial: holders.count(Group::ListedPartial),
            asker: asker.and_then(|peer| peer.files.get(&id).copied()),
        };
        let wanted = u32::try_from(MAX_HOLDERS).expect("a small constant");
        let sample = candidates.choose(wanted, rng);
        let mut draw = Draw {
            table: self,
            id,
            holders,
            asker: asker.and_then(|peer| peer.location.site()),
            viewpoint: asker.map(|peer| peer.location.viewpoint()),
            has_doubts: self.has_doubts(),
            chosen: Named::with_capacity(MAX_HOLDERS),
            doubtful: Named::default(),
            examined_when_full: 0,
            may_repeat: !first.is_empty() || asker.is_some_and(|peer| peer.shares_ip),
        };
        draw.offer_all(first, PER_SOURCE);
        if let Some(by_source) =
            by_source.as_deref().filter(|all| self.is_contested(all, holders, &sample))
        {
            draw.may_repeat = true;
            draw.offer_some_of_each_kind(&sample);
            self.offer_by_source(by_source, &mut draw, rng);
        } else {
            draw.offer_all(&sample, PER_SOURCE);
        }
        if draw.may_repeat {
            draw.offer_all(first, usize::MAX);
            draw.offer_all(&sample, usize::MAX);
        }
        if let Some(all) = by_source
            && !draw.is_done()
        {
            draw.may_repeat = true;
            for _ in 0..MAX_DRAWS {
                if draw.is_over() {
                    break;
                }
                draw.offer(all.slot(rng.random_range(0..all.len())), None, usize::MAX);
            }
        }
        draw.end()
    }

    /// Whether an even draw would be unfair: there are several sources, and some have more holders
    /// than others.
    fn is_contested(&self, all: &BySource, holders: &Holders, sample: &[u32]) -> bool {
        if self.has_doubts() {
            return true;
        }
        let peers = || sample.iter().map(|position| self.peers.at(holders.slot(*position)));
        let ips = || peers().map(|peer| peer.key.ip());
        let shares = |peer: &PeerRecord| peer.shares_ip || peer.key.ip().is_ipv6();
        if !peers().any(shares) || !all.has_several(|slot| self.ip_of(slot)) {
            return false;
        }
        let site_of = |ip| SourceNetwork::of(ip).wider();
        has_twice(ips())
            || all.has_several(|slot| self.network_of(slot))
                && has_twice(ips().map(SourceNetwork::of))
            || all.has_several(|slot| site_of(self.ip_of(slot))) && has_twice(ips().map(site_of))
    }

    /// From the widest kind of source to the narrowest: a few by wider network, a few by network,
    /// the rest by address.
    fn offer_by_source(&self, all: &BySource, draw: &mut Draw<'_>, rng: &mut impl Rng) {
        self.offer_of_each(all, |slot| self.network_of(slot).wider(), draw, rng);
        self.offer_of_each(all, |slot| self.network_of(slot), draw, rng);
        if let Some(mut sources) = all.sources(MOST_SOURCES, |slot| self.ip_of(slot)) {
            sources.shuffle(rng);
            for round in 1..=PER_SOURCE {
                for source in &sources {
                    if draw.is_over() {
                        return;
                    }
                    let start = rng.random_range(source.clone());
                    // The drawn holder may be named already, or the asker, or doubtful.
                    for at in (start..source.end).chain(source.start..start).take(2 * PER_SOURCE) {
                        if draw.offer(all.slot(at), None, round) {
                            break;
                        }
                    }
                }
            }
        } else {
            for most in [1, PER_SOURCE] {
                for _ in 0..MAX_DRAWS / 2 {
                    if draw.is_over() {
                        return;
                    }
                    let source = draw_fair(all, |slot| self.ip_of(slot), rng);
                    source.map(|slot| draw.offer(slot, None, most));
                }
            }
        }
    }

    /// A few holders, if there are several sources of this kind; every source is equally likely.
    fn offer_of_each<S: PartialEq>(
        &self,
        all: &BySource,
        source_of: impl Fn(PeerSlot) -> S,
        draw: &mut Draw<'_>,
        rng: &mut impl Rng,
    ) {
        if !all.has_several(&source_of) {
            return;
        }
        if let Some(mut sources) = all.sources(MOST_SOURCES, &source_of) {
            sources.shuffle(rng);
            for source in sources.into_iter().take(BY_NETWORK) {
                draw.offer(all.slot(rng.random_range(source)), None, PER_SOURCE);
            }
            return;
        }
        let drawn: Vec<PeerSlot> = (0..MAX_DRAWS / 2)
            .filter_map(|_| draw_fair(all, &source_of, rng))
            .take(BY_NETWORK)
            .collect();
        for slot in drawn {
            draw.offer(slot, None, PER_SOURCE);
        }
    }

    /// Adds a new holder to the index by source, and builds the index when there are enough
    /// holders.
    pub(super) fn list(&mut self, file: FileSlot, slot: PeerSlot) {
        let Table { files, peers, .. } = self;
        if peers.at(slot).key.visibility() == Visibility::Unlisted {
            return;
        }
        let ip_of = |slot| peers.at(slot).key.ip();
        let file = files.at_mut(file);
        let listed =
            file.holders.count(Group::ListedFull) + file.holders.count(Group::ListedPartial);
        if let Some(by_source) = &mut file.by_source {
            by_source.insert(slot, ip_of);
        } else if listed as usize > MAX_HOLDERS {
            let slots = file.holders.iter().take(listed as usize).map(|(_, slot)| slot).collect();
            file.by_source = Some(Box::new(BySource::new(slots, ip_of)));
        }
    }

    /// Removes the holder at `position`, which is about to leave, from the index by source.
    pub(super) fn unlist(&mut self, file: FileSlot, position: u32) {
        let Table { files, peers, .. } = self;
        let file = files.at_mut(file);
        let slot = file.holders.slot(position);
        if let Some(by_source) = &mut file.by_source {
            by_source.remove(slot, |slot| peers.at(slot).key.ip());
            if by_source.len() < MIN_INDEXED {
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
}

/// A random holder such that each source is equally likely, by rejection: often `None`, the more so
/// the more holders the source has.
fn draw_fair<S: PartialEq>(
    all: &BySource,
    source_of: impl Fn(PeerSlot) -> S,
    rng: &mut impl Rng,
) -> Option<PeerSlot> {
    let at = rng.random_range(0..all.len());
    let source = all.source_at(at, source_of);
    (rng.random_range(source) == at).then(|| all.slot(at))
}

fn has_twice<K: Ord>(keys: impl Iterator<Item = K>) -> bool {
    let mut keys: Vec<K> = keys.collect();
    keys.sort_unstable();
    keys.windows(2).any(|pair| pair[0] == pair[1])
}

#[cfg(test)]
mod tests;

//! Whom a handout names, by chance. While there is room all are named. Otherwise sources are drawn
//! first, then a port of each: thousands of ports of one host weigh as much as one of another. At
//! most three of one source are named while others are to be had, and a few places are for
//! networks. Where there is no competition, a swarm behind one address included, the draw is even.
//! The cost depends on how many are wanted, not on how many there are.

use std::net::{IpAddr, SocketAddr};

use rand::Rng;
use rand::RngExt;
use rand::seq::SliceRandom;
use tnet_proto::{Holder, MAX_HOLDERS, SourceNetwork};

use super::by_source::BySource;
use super::holders::{Group, Holders};
use super::peer::{Listing, Peer, PeerSlot, Standing};
use super::{File, FileId, Table};
use crate::registry::handout::{Candidates, MIN_OF_EACH};
use crate::registry::place::{Site, Viewpoint};

/// Holders of one source in a handout, while others are to be had.
const OF_ONE_SOURCE: usize = 3;

/// Places that are drawn by network first, and as many by networks of networks.
const BY_NETWORK: usize = 10;

/// Doubtful holders that are named even if there are enough others.
const DOUBTFUL: usize = 5;

/// Holders that are looked at for doubtful ones when the others have taken all places. Most files
/// have none.
const LOOKS_FOR_DOUBTFUL: usize = 64;

/// Sources that are listed to draw from; of more than that, holders are drawn, those of a source
/// that has many with less chance.
const MOST_SOURCES: usize = 256;

/// Draws until enough sources differ.
const DRAWS: usize = 600;

/// The index by source is there from more holders than are ever named, and goes at fewer than this.
const KEEP_INDEX: usize = MAX_HOLDERS / 2;

/// A handout in the making.
struct Draw<'a> {
    table: &'a Table,
    id: FileId,
    holders: &'a Holders,
    /// Who is not named, by whatever address, and from where others are seen.
    asker: Option<Site>,
    viewpoint: Option<Viewpoint>,
    has_doubts: bool,
    chosen: Named,
    /// Those that askers could not reach.
    doubtful: Named,
    /// Looks for a doubtful one when all places were taken.
    in_vain: usize,
    /// Whether the next that is offered may be named already, or be of the IP address of one that
    /// is or of the asker.
    may_repeat: bool,
}

impl Draw<'_> {
    fn is_done(&self) -> bool {
        self.chosen.len() >= MAX_HOLDERS
    }

    /// Whether nobody more has a chance to be named.
    fn is_over(&self) -> bool {
        self.is_done()
            && (!self.has_doubts
                || self.doubtful.len() >= DOUBTFUL
                || self.in_vain >= LOOKS_FOR_DOUBTFUL)
    }

    /// Offers those at these places.
    fn offer_all(&mut self, places: &[u32], most: usize) {
        for place in places {
            self.offer(self.holders.slot(*place), Some(*place), most);
        }
    }

    /// Names the holder unless its address is named, or the asker's, or `most` of its source are
    /// named. False if so. Its place is looked up if it is not known.
    fn offer(&mut self, slot: PeerSlot, place: Option<u32>, most: usize) -> bool {
        if self.is_over() {
            return false;
        }
        let peer = self.table.peers.at(slot);
        let address = peer.key.address();
        self.may_repeat |= peer.shares_ip;
        let is_plain = peer.place.is_plain();
        let may_be_asker = self.asker.is_some() && (self.may_repeat || !is_plain);
        if peer.standing == Standing::Retired || may_be_asker && peer.place.site() == self.asker {
            return false;
        }
        let seen_at = if is_plain {
            address
        } else {
            let Some(seen_at) = peer.place.address_for(self.viewpoint) else { return false };
            seen_at
        };
        let is_doubtful = self.has_doubts && self.table.is_doubtful(peer.place.site());
        let is_full = self.is_done();
        let list = if is_doubtful { &mut self.doubtful } else { &mut self.chosen };
        self.in_vain += usize::from(is_full && !is_doubtful);
        let source = peer.key.ip();
        if list.len() >= MAX_HOLDERS || self.may_repeat && !list.has_room_for(seen_at, source, most)
        {
            return false;
        }
        let Some(place) = place.or_else(|| peer.files.get(&self.id).copied()) else { return false };
        let availability = self.holders.group(place).holding().availability();
        list.push(Holder { address: seen_at, availability }, source);
        true
    }

    /// Whole holders among incomplete ones, and the other way round.
    fn offer_some_of_each_kind(&mut self, sample: &[u32]) {
        let (full, partial) =
            (self.holders.range(Group::ListedFull), self.holders.range(Group::ListedPartial));
        let fewer = if full.len() <= partial.len() { full } else { partial };
        let of_fewer = sample.iter().filter(|place| fewer.contains(place));
        for place in of_fewer.take(MIN_OF_EACH as usize) {
            self.offer(self.holders.slot(*place), Some(*place), OF_ONE_SOURCE);
        }
    }

    /// The doubtful come last. A few of them come in any case.
    fn end(self) -> Vec<Holder> {
        let kept = MAX_HOLDERS - self.doubtful.len().min(DOUBTFUL);
        let (mut chosen, mut doubtful) = (self.chosen.holders, self.doubtful.holders);
        chosen.truncate(kept);
        doubtful.truncate(MAX_HOLDERS - chosen.len());
        chosen.append(&mut doubtful);
        chosen
    }
}

/// Holders, and who answers for each: the IP address that it was observed at.
#[derive(Debug, Default)]
struct Named {
    holders: Vec<Holder>,
    /// Of those who are named at another one.
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

    /// Whether the address is not named, and fewer than `most` of its source are.
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
    /// Up to [`MAX_HOLDERS`] holders of the file for a handout, those at the places `first` before
    /// others.
    pub(super) fn draw(
        &self,
        id: FileId,
        asker: Option<PeerSlot>,
        first: &[u32],
        rng: &mut impl Rng,
    ) -> Vec<Holder> {
        let File { holders, by_source, .. } = self.files.at(id);
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
            asker: asker.and_then(|peer| peer.place.site()),
            viewpoint: asker.map(|peer| peer.place.viewpoint()),
            has_doubts: self.has_doubts(),
            chosen: Named::with_capacity(MAX_HOLDERS),
            doubtful: Named::default(),
            in_vain: 0,
            may_repeat: !first.is_empty() || asker.is_some_and(|peer| peer.shares_ip),
        };
        draw.offer_all(first, OF_ONE_SOURCE);
        if let Some(by_source) =
            by_source.as_deref().filter(|all| self.is_contested(all, holders, &sample))
        {
            draw.may_repeat = true;
            draw.offer_some_of_each_kind(&sample);
            self.offer_by_source(by_source, &mut draw, rng);
        } else {
            draw.offer_all(&sample, OF_ONE_SOURCE);
        }
        if draw.may_repeat {
            draw.offer_all(first, usize::MAX);
            draw.offer_all(&sample, usize::MAX);
        }
        if let Some(all) = by_source
            && !draw.is_done()
        {
            draw.may_repeat = true;
            for _ in 0..DRAWS {
                if draw.is_over() {
                    break;
                }
                draw.offer(all.slot(rng.random_range(0..all.len())), None, usize::MAX);
            }
        }
        draw.end()
    }

    /// Whether an even draw would not do: there are several sources, and some of them have more
    /// than others.
    fn is_contested(&self, all: &BySource, holders: &Holders, sample: &[u32]) -> bool {
        if self.has_doubts() {
            return true;
        }
        let peers = || sample.iter().map(|place| self.peers.at(holders.slot(*place)));
        let ips = || peers().map(|peer| peer.key.ip());
        let shares = |peer: &Peer| peer.shares_ip || peer.key.ip().is_ipv6();
        if !peers().any(shares) || !all.has_several(|slot| self.ip_of(slot)) {
            return false;
        }
        let site_of = |ip| SourceNetwork::of(ip).wider();
        has_twice(ips())
            || all.has_several(|slot| self.network_of(slot))
                && has_twice(ips().map(SourceNetwork::of))
            || all.has_several(|slot| site_of(self.ip_of(slot))) && has_twice(ips().map(site_of))
    }

    /// By the widest kind of source first: a few of networks of networks, a few of networks, the
    /// rest by address.
    fn offer_by_source(&self, all: &BySource, draw: &mut Draw<'_>, rng: &mut impl Rng) {
        self.offer_of_each(all, |slot| self.network_of(slot).wider(), draw, rng);
        self.offer_of_each(all, |slot| self.network_of(slot), draw, rng);
        if let Some(mut sources) = all.sources(MOST_SOURCES, |slot| self.ip_of(slot)) {
            sources.shuffle(rng);
            for round in 1..=OF_ONE_SOURCE {
                for source in &sources {
                    if draw.is_over() {
                        return;
                    }
                    let start = rng.random_range(source.clone());
                    // The one that is drawn may be named already, or the asker, or doubtful.
                    for at in (start..source.end).chain(source.start..start).take(2 * OF_ONE_SOURCE)
                    {
                        if draw.offer(all.slot(at), None, round) {
                            break;
                        }
                    }
                }
            }
        } else {
            for most in [1, OF_ONE_SOURCE] {
                for _ in 0..DRAWS / 2 {
                    if draw.is_over() {
                        return;
                    }
                    let source = one_evenly(all, |slot| self.ip_of(slot), rng);
                    source.map(|slot| draw.offer(slot, None, most));
                }
            }
        }
    }

    /// A few, if there are several sources of this kind: sources evenly, whatever each of them has.
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
                draw.offer(all.slot(rng.random_range(source)), None, OF_ONE_SOURCE);
            }
            return;
        }
        let drawn: Vec<PeerSlot> = (0..DRAWS / 2)
            .filter_map(|_| one_evenly(all, &source_of, rng))
            .take(BY_NETWORK)
            .collect();
        for slot in drawn {
            draw.offer(slot, None, OF_ONE_SOURCE);
        }
    }

    /// A peer holds the file now: it goes into the index by source, which is made when it is worth
    /// it.
    pub(super) fn list(&mut self, file: FileId, slot: PeerSlot) {
        let Table { files, peers, .. } = self;
        if peers.at(slot).key.listing() == Listing::Unlisted {
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
}

/// A holder by chance, each source as likely as another one; often nobody, the more a source has.
fn one_evenly<S: PartialEq>(
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

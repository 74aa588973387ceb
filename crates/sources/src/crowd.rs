//! Unproven callers that hold places, by source, and which of them makes room first.
//!
//! The order is that of [`SourceRank`]: first the source whose address holds most, among equal
//! addresses the one whose network holds most, and of one source the caller that has been there
//! longest. A newcomer never makes a source with fewer places than its own give one up. Each
//! operation takes a time that grows with the logarithm of their number.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::rank::{SourceNetwork, SourceRank};

/// Unproven callers, each known by a key of type `K` and there since a moment of type `T`.
#[derive(Debug, Clone)]
pub struct Crowd<K, T> {
    /// So many places of one address weigh no more than one: hosts that share an IPv4 address are
    /// not outweighed by a host that has an IPv6 address for each of its connections.
    free: u64,
    places: BTreeMap<K, (IpAddr, T)>,
    networks: BTreeMap<SourceNetwork, Network<K, T>>,
    /// The network whose heaviest address is the first to make room comes last.
    order: BTreeSet<(SourceRank, Reverse<T>, SourceNetwork)>,
}

#[derive(Debug, Clone)]
struct Network<K, T> {
    hosts: BTreeMap<IpAddr, BTreeSet<(T, K)>>,
    /// The first to make room comes last.
    order: BTreeSet<(u64, Reverse<T>, IpAddr)>,
    total: u64,
}

/// A caller that may have to make room.
struct Candidate<K, T> {
    key: K,
    ip: IpAddr,
    since: T,
    rank: SourceRank,
}

impl<K: Copy + Ord, T: Copy + Ord> Crowd<K, T> {
    /// An empty one, in which `free` places of one address weigh no more than one.
    pub fn new(free: u64) -> Crowd<K, T> {
        Crowd {
            free: free.max(1),
            places: BTreeMap::new(),
            networks: BTreeMap::new(),
            order: BTreeSet::new(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether this one is in it.
    pub fn contains(&self, key: K) -> bool {
        self.places.contains_key(&key)
    }

    /// One more, or the same one as of another moment.
    pub fn insert(&mut self, key: K, ip: IpAddr, since: T) {
        let ip = ip.to_canonical();
        self.remove(key);
        self.places.insert(key, (ip, since));
        self.change(ip, |members| members.insert((since, key)));
    }

    /// One less. Answers with its address and since when it was there.
    pub fn remove(&mut self, key: K) -> Option<(IpAddr, T)> {
        let (ip, since) = self.places.remove(&key)?;
        self.change(ip, |members| members.remove(&(since, key)));
        Some((ip, since))
    }

    /// The caller that is to make room for a newcomer from this address. Without waiting, one of a
    /// source that keeps more than the newcomer's will have; else one that is there since `ripe` or
    /// longer, `ripe_of_own` at the newcomer's own address, if that leaves no source with less than
    /// the newcomer's has. None: no caller has been there long enough.
    pub fn makes_room_for(
        &self,
        newcomer: IpAddr,
        ripe: Option<T>,
        ripe_of_own: Option<T>,
    ) -> Option<K> {
        let newcomer = newcomer.to_canonical();
        let own = SourceNetwork::of(newcomer);
        let (host, network) = self.networks.get(&own).map_or((0, 0), |network| {
            (network.hosts.get(&newcomer).map_or(0, |members| members.len() as u64), network.total)
        });
        let heaviest = self.heaviest()?;
        let wanted = SourceRank { host: self.weight(host + 1), network: network + 1 };
        if wanted < heaviest.rank {
            return Some(heaviest.key);
        }
        // A place that changes hands within a network leaves the network as it was.
        let fits = |candidate: &Candidate<K, T>| {
            let is_even = if candidate.ip == newcomer {
                true
            } else if SourceNetwork::of(candidate.ip) == own {
                wanted.host <= candidate.rank.host
            } else {
                wanted <= candidate.rank
            };
            let ripe = if candidate.ip == newcomer { ripe_of_own } else { ripe };
            is_even && ripe.is_some_and(|ripe| candidate.since <= ripe)
        };
        let candidates = [Some(heaviest), self.heaviest_of(own), self.oldest_at(newcomer)];
        candidates.into_iter().flatten().find(fits).map(|candidate| candidate.key)
    }

    fn weight(&self, places: u64) -> u64 {
        places.max(self.free)
    }

    fn heaviest(&self) -> Option<Candidate<K, T>> {
        let (.., network) = self.order.last()?;
        self.heaviest_of(*network)
    }

    fn heaviest_of(&self, network: SourceNetwork) -> Option<Candidate<K, T>> {
        let (.., ip) = self.networks.get(&network)?.order.last()?;
        self.oldest_at(*ip)
    }

    fn oldest_at(&self, ip: IpAddr) -> Option<Candidate<K, T>> {
        let network = self.networks.get(&SourceNetwork::of(ip))?;
        let members = network.hosts.get(&ip)?;
        let (since, key) = *members.first()?;
        let rank = SourceRank { host: self.weight(members.len() as u64), network: network.total };
        Some(Candidate { key, ip, since, rank })
    }

    /// Changes the callers at an address, and keeps the orders.
    fn change(&mut self, ip: IpAddr, change: impl FnOnce(&mut BTreeSet<(T, K)>) -> bool) {
        let (name, free) = (SourceNetwork::of(ip), self.free);
        let network = self.networks.entry(name).or_insert_with(|| Network {
            hosts: BTreeMap::new(),
            order: BTreeSet::new(),
            total: 0,
        });
        if let Some(known) = network.place_in_order() {
            self.order.remove(&(known.0, known.1, name));
        }
        let members = network.hosts.entry(ip).or_default();
        if let Some((since, _)) = members.first() {
            network.order.remove(&((members.len() as u64).max(free), Reverse(*since), ip));
        }
        let before = members.len() as u64;
        change(members);
        network.total = network.total - before + members.len() as u64;
        match members.first() {
            Some((since, _)) => {
                network.order.insert(((members.len() as u64).max(free), Reverse(*since), ip));
            }
            None => {
                network.hosts.remove(&ip);
            }
        }
        match network.place_in_order() {
            Some(place) => {
                self.order.insert((place.0, place.1, name));
            }
            None => {
                self.networks.remove(&name);
            }
        }
    }
}

impl<K: Copy + Ord, T: Copy + Ord> Network<K, T> {
    fn place_in_order(&self) -> Option<(SourceRank, Reverse<T>)> {
        let (host, since, _) = self.order.last()?;
        Some((SourceRank { host: *host, network: self.total }, *since))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn crowd(free: u64, members: &[(u32, &str, u64)]) -> Crowd<u32, u64> {
        let mut crowd = Crowd::new(free);
        members.iter().for_each(|(key, at, since)| crowd.insert(*key, ip(at), *since));
        crowd
    }

    #[test]
    fn the_heaviest_source_makes_room_at_once_with_the_one_that_was_there_longest() {
        let crowd = crowd(1, &[(1, "10.0.0.1", 0), (2, "10.0.0.2", 5), (3, "10.0.0.2", 4)]);
        assert_eq!(crowd.makes_room_for(ip("10.0.0.3"), Some(0), Some(0)), Some(3));
    }

    #[test]
    fn a_source_with_as_many_gets_only_a_ripe_place_of_its_own() {
        let crowd = crowd(
            1,
            &[(1, "10.0.0.1", 3), (2, "10.0.0.1", 4), (3, "10.0.0.2", 3), (4, "10.0.0.2", 4)],
        );
        assert_eq!(crowd.makes_room_for(ip("10.0.0.2"), Some(2), Some(2)), None);
        assert_eq!(crowd.makes_room_for(ip("10.0.0.2"), Some(3), Some(3)), Some(3));
    }

    #[test]
    fn a_heavy_source_never_gets_a_place_of_a_lighter_one() {
        let crowd = crowd(1, &[(1, "10.0.0.1", 9), (2, "10.0.0.1", 9), (3, "10.0.0.2", 0)]);
        assert_eq!(crowd.makes_room_for(ip("10.0.0.1"), Some(5), Some(5)), None);
    }

    #[test]
    fn among_single_addresses_the_longest_there_makes_room_when_it_is_ripe() {
        let crowd = crowd(1, &[(1, "10.0.0.1", 2), (2, "10.0.0.2", 1)]);
        assert_eq!(crowd.makes_room_for(ip("10.0.0.3"), Some(0), Some(0)), None);
        assert_eq!(crowd.makes_room_for(ip("10.0.0.3"), Some(1), Some(1)), Some(2));
    }

    #[test]
    fn in_a_prefix_with_an_address_each_a_caller_from_elsewhere_gets_a_place_at_once_and_a_neighbour_a_ripe_one()
     {
        let crowd = crowd(1, &[(1, "2001:db8::1", 2), (2, "2001:db8::2", 1), (3, "10.0.0.1", 0)]);
        assert_eq!(crowd.makes_room_for(ip("10.0.0.9"), Some(0), Some(0)), Some(2));
        assert_eq!(crowd.makes_room_for(ip("2001:db8::9"), Some(0), Some(0)), None);
        assert_eq!(crowd.makes_room_for(ip("2001:db8::9"), Some(1), Some(1)), Some(2));
    }

    #[test]
    fn hosts_behind_one_address_do_not_make_room_for_a_prefix_with_an_address_each() {
        let mut crowd = crowd(16, &[]);
        for key in 0..16 {
            crowd.insert(key, ip("10.0.0.1"), 0);
        }
        for key in 16..40 {
            crowd.insert(key, ip(&format!("2001:db8::{key:x}")), u64::from(key));
        }
        // The oldest of the prefix, not one of the hosts that share an address.
        assert_eq!(crowd.makes_room_for(ip("2001:db8::99"), Some(20), Some(20)), Some(16));
    }

    proptest! {
        /// Places change hands, and never from a source to one that had as many or more, except a
        /// ripe one to an equal.
        #[test]
        fn the_one_that_makes_room_is_what_a_scan_says(
            ops in prop::collection::vec((0u32..12, 0u8..3, 0u8..3, 0u64..6, any::<bool>()), 1..60),
            (prefix, host, ripe) in (0u8..4, 0u8..4, 0u64..6),
        ) {
            let mut crowd = Crowd::new(1);
            let mut plain: BTreeMap<u32, (IpAddr, u64)> = BTreeMap::new();
            let at = |prefix: u8, host: u8| match prefix {
                0 => ip(&format!("10.0.0.{host}")),
                _ => ip(&format!("2001:db8:0:{prefix}::{host}")),
            };
            for (key, prefix, host, since, adds) in ops {
                if adds {
                    crowd.insert(key, at(prefix, host), since);
                    plain.insert(key, (at(prefix, host), since));
                } else {
                    prop_assert_eq!(crowd.remove(key), plain.remove(&key));
                }
            }
            prop_assert_eq!(crowd.len(), plain.len());
            let rank = |ip: IpAddr| {
                let of_host = plain.values().filter(|(other, _)| *other == ip).count() as u64;
                let network = SourceNetwork::of(ip);
                let of_network = plain.values().filter(|(other, _)| SourceNetwork::of(*other) == network);
                SourceRank { host: of_host, network: of_network.count() as u64 }
            };
            let newcomer = at(prefix, host);
            let has = rank(newcomer);
            let room = crowd.makes_room_for(newcomer, Some(ripe), Some(ripe));
            let strict = plain.values().any(|(other, _)| rank(*other).gives_way_to(has, 1));
            let heaviest = plain.values().map(|(other, _)| rank(*other)).max();
            match room {
                Some(key) => {
                    let (from, since) = plain[&key];
                    if strict {
                        prop_assert_eq!(Some(rank(from)), heaviest);
                        let oldest = plain.values().filter(|(other, _)| *other == from).map(|(_, since)| *since);
                        prop_assert_eq!(Some(since), oldest.min());
                    } else {
                        prop_assert!(since <= ripe);
                        prop_assert!(from == newcomer || has.host < rank(from).host, "{has:?}, {:?}", rank(from));
                    }
                }
                None => {
                    prop_assert!(!strict);
                    let own = plain.values().filter(|(other, _)| *other == newcomer);
                    prop_assert!(own.map(|(_, since)| *since).all(|since| since > ripe));
                }
            }
        }
    }
}

//! The sources that compete for a scarce resource: connections, memory, slots, mentions.
//!
//! A source is what a host cannot multiply at no cost. For IPv4 that is the address. IPv6 has no
//! such boundary: one host may own all addresses of a /64, and yet on a LAN all honest hosts share
//! one. So sources are compared in steps, first by what each address has and, only among equal
//! addresses, by what its network has. A /64 is never taken for one host.
//!
//! Rules by source are for unproven peers that compete. A caller first exempts peers that have
//! proven themselves, and applies no rule while there is enough for all.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// The range of addresses that the owner of one of them gets for free: an IPv4 address alone, or an
/// IPv6 prefix of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceNetwork {
    /// A single IPv4 address.
    V4(Ipv4Addr),
    /// The first 64 bits of an IPv6 address.
    V6(u64),
}

impl SourceNetwork {
    /// The network that the address is in. An IPv4 address within IPv6 counts as IPv4.
    pub fn of(ip: IpAddr) -> SourceNetwork {
        match ip.to_canonical() {
            IpAddr::V4(ip) => SourceNetwork::V4(ip),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                let prefix =
                    [a, b, c, d].into_iter().fold(0, |prefix, part| prefix << 16 | u64::from(part));
                SourceNetwork::V6(prefix)
            }
        }
    }

    /// The addresses that one site usually has: the first 48 bits of IPv6, the single address of
    /// IPv4.
    #[must_use]
    pub fn wider(self) -> SourceNetwork {
        match self {
            SourceNetwork::V4(ip) => SourceNetwork::V4(ip),
            SourceNetwork::V6(prefix) => SourceNetwork::V6(prefix >> 16 << 16),
        }
    }
}

/// How much a source has: what its address has, and among equal addresses what its network has. The
/// source with the highest rank is the first to give something up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceRank {
    /// The amount of the address.
    pub host: u64,
    /// The amount of its network.
    pub network: u64,
}

impl SourceRank {
    /// Whether a source of this rank gives way to one of rank `other` that wants `more`: only if
    /// the other one then still has less, so that two sources never take turns in driving each
    /// other out.
    pub fn gives_way_to(self, other: SourceRank, more: u64) -> bool {
        let wanted = SourceRank { host: other.host + more, network: other.network + more };
        wanted.host < self.host || wanted.host == self.host && wanted.network < self.network
    }
}

/// How much each source has, in any unit. Holds an entry for each source that has something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceCounts {
    hosts: BTreeMap<IpAddr, u64>,
    networks: BTreeMap<SourceNetwork, u64>,
    total: u64,
}

impl SourceCounts {
    /// No source holds anything.
    pub fn new() -> SourceCounts {
        SourceCounts::default()
    }

    /// Adds `amount` to the source.
    pub fn add(&mut self, ip: IpAddr, amount: u64) {
        if amount > 0 {
            *self.hosts.entry(ip.to_canonical()).or_insert(0) += amount;
            *self.networks.entry(SourceNetwork::of(ip)).or_insert(0) += amount;
            self.total += amount;
        }
    }

    /// Takes `amount` from the source, but not more than it has.
    pub fn remove(&mut self, ip: IpAddr, amount: u64) {
        let ip = ip.to_canonical();
        let Some(host) = self.hosts.get_mut(&ip) else { return };
        let amount = amount.min(*host);
        *host -= amount;
        if *host == 0 {
            self.hosts.remove(&ip);
        }
        self.total -= amount;
        let network = SourceNetwork::of(ip);
        if let Some(left) = self.networks.get_mut(&network) {
            *left -= amount;
            if *left == 0 {
                self.networks.remove(&network);
            }
        }
    }

    /// How much a source has.
    pub fn rank(&self, ip: IpAddr) -> SourceRank {
        let host = self.hosts.get(&ip.to_canonical()).copied().unwrap_or(0);
        let network = self.networks.get(&SourceNetwork::of(ip)).copied().unwrap_or(0);
        SourceRank { host, network }
    }

    /// The rank of a source when one of many has to give way; the highest gives way. Amounts of an
    /// address below `grain` are not significant, so addresses with few are compared by what their
    /// networks have.
    pub fn coarse_rank(&self, ip: IpAddr, grain: u64) -> (u64, u64, u64) {
        let rank = self.rank(ip);
        (rank.host / grain, rank.network, rank.host)
    }

    /// By how much a source has more than one that wants one more, by the first step that tells
    /// them apart. To take at most half of it, and nothing of 1, lets two sources never take turns
    /// in driving each other out.
    pub fn surplus(&self, has: IpAddr, wants: IpAddr, grain: u64) -> u64 {
        let is_neighbour = SourceNetwork::of(has) == SourceNetwork::of(wants);
        let (has, wants) = (self.rank(has), self.rank(wants));
        let (of_one, of_other) = (has.host / grain, (wants.host + 1) / grain);
        if is_neighbour || of_one > of_other {
            has.host.saturating_sub(wants.host)
        } else if of_one == of_other {
            has.network.saturating_sub(wants.network)
        } else {
            0
        }
    }

    /// The sum over all sources.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The number of addresses that have something.
    pub fn sources(&self) -> usize {
        self.hosts.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_ipv4_address_within_ipv6_is_the_same_source() {
        assert_eq!(
            SourceNetwork::of(address("::ffff:10.0.0.1")),
            SourceNetwork::of(address("10.0.0.1"))
        );
    }

    #[test]
    fn hosts_of_one_prefix_are_told_apart_and_counted_together() {
        let mut counts = SourceCounts::new();
        counts.add(address("2001:db8::1"), 3);
        counts.add(address("2001:db8::2"), 1);
        assert_eq!(counts.rank(address("2001:db8::1")), SourceRank { host: 3, network: 4 });
        assert_eq!(counts.rank(address("2001:db8:0:1::1")), SourceRank::default());
    }

    #[test]
    fn many_in_one_prefix_give_way_to_one_from_elsewhere_but_not_one_by_one_to_each_other() {
        let mut counts = SourceCounts::new();
        for host in 1..=9 {
            counts.add(address(&format!("2001:db8::{host}")), 1);
        }
        let crowd = counts.rank(address("2001:db8::1"));
        assert!(crowd.gives_way_to(counts.rank(address("10.0.0.1")), 1));
        assert!(!crowd.gives_way_to(counts.rank(address("2001:db8::77")), 1));
    }

    proptest! {
        #[test]
        fn two_sources_never_drive_each_other_out_in_turn(a in 0u64..20, b in 0u64..20, more in 1u64..5) {
            let rank = |host: u64| SourceRank { host, network: host };
            if rank(a).gives_way_to(rank(b), more) {
                let (a, b) = (a.saturating_sub(more), b + more);
                prop_assert!(!rank(b).gives_way_to(rank(a), more));
            }
        }

        #[test]
        fn counts_are_those_of_a_plain_list(ops in prop::collection::vec((0u8..3, 0u8..4, 0u64..5, any::<bool>()), 0..60)) {
            let mut counts = SourceCounts::new();
            let mut plain: BTreeMap<IpAddr, u64> = BTreeMap::new();
            for (prefix, host, amount, adds) in ops {
                let ip = address(&format!("2001:db8:0:{prefix}::{host}"));
                let has = plain.entry(ip).or_insert(0);
                if adds {
                    counts.add(ip, amount);
                    *has += amount;
                } else {
                    counts.remove(ip, amount);
                    *has = has.saturating_sub(amount);
                }
            }
            for (ip, has) in &plain {
                let network = plain.iter().filter(|(other, _)| SourceNetwork::of(**other) == SourceNetwork::of(*ip));
                let expected = SourceRank { host: *has, network: network.map(|(_, has)| has).sum() };
                prop_assert_eq!(counts.rank(*ip), expected);
            }
            prop_assert_eq!(counts.total(), plain.values().sum::<u64>());
            prop_assert_eq!(counts.sources(), plain.values().filter(|has| **has > 0).count());
        }
    }
}

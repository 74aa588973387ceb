//! IP networks such as `10.0.0.0/8`, and in which of them a coordinator accepts an address that a
//! peer declares.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network: its address and how many bits of it are fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpNetwork {
    ip: IpAddr,
    bits: u32,
}

/// The text is not a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write it like 10.0.0.0/8, fd00::/8 or 192.0.2.7")]
pub struct ParseNetworkError;

impl IpNetwork {
    const fn v4(a: u8, b: u8, bits: u32) -> IpNetwork {
        IpNetwork { ip: IpAddr::V4(Ipv4Addr::new(a, b, 0, 0)), bits }
    }

    /// Whether the address is in it. An IPv4-mapped IPv6 address counts as IPv4.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.ip, ip.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                let shift = 32 - self.bits;
                network.to_bits().checked_shr(shift) == ip.to_bits().checked_shr(shift)
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                let shift = 128 - self.bits;
                network.to_bits().checked_shr(shift) == ip.to_bits().checked_shr(shift)
            }
            _ => false,
        }
    }
}

impl FromStr for IpNetwork {
    type Err = ParseNetworkError;

    fn from_str(text: &str) -> Result<IpNetwork, ParseNetworkError> {
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip, Some(bits.parse().map_err(|_| ParseNetworkError)?)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| ParseNetworkError)?;
        let all = if ip.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(all);
        if bits <= all { Ok(IpNetwork { ip, bits }) } else { Err(ParseNetworkError) }
    }
}

/// Networks that are not routed between sites: RFC 1918, RFC 6598 and RFC 4193.
const PRIVATE: [IpNetwork; 5] = [
    IpNetwork::v4(10, 0, 8),
    IpNetwork::v4(172, 16, 12),
    IpNetwork::v4(192, 168, 16),
    IpNetwork::v4(100, 64, 10),
    IpNetwork { ip: IpAddr::V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0)), bits: 7 },
];

/// Whether the address is of a private network.
pub(crate) fn is_private(ip: IpAddr) -> bool {
    PRIVATE.iter().any(|network| network.contains(ip))
}

/// In which networks a declared address is accepted that is not the observed one. Handouts send
/// other peers there. Exhaustive: callers write both fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowAdvertise {
    /// Private networks, for a peer that reached the coordinator at a private address or on its own
    /// machine. Default: yes.
    pub private: bool,
    /// Further networks, for every peer. Default: none.
    pub networks: Vec<IpNetwork>,
}

impl Default for AllowAdvertise {
    fn default() -> AllowAdvertise {
        AllowAdvertise { private: true, networks: Vec::new() }
    }
}

impl AllowAdvertise {
    /// Whether a peer that reached the coordinator at `ours` may declare `ip`.
    pub(crate) fn includes(&self, ip: IpAddr, ours: IpAddr) -> bool {
        let is_among_private =
            self.private && is_private(ip) && (is_private(ours) || ours.is_loopback());
        is_among_private || self.networks.iter().any(|network| network.contains(ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_network_has_what_begins_as_it_does() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.1.2.3/8", "10.9.9.9", "fd00::1"), // bits behind the prefix say nothing
            ("172.16.0.0/12", "172.31.255.255", "172.32.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.0/24", "::ffff:192.0.2.9", "::ffff:192.0.3.9"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("::1", "::1", "::2"),
        ] {
            let network: IpNetwork = network.parse().expect("a network");
            assert!(network.contains(ip(inside)) && !network.contains(ip(outside)), "{network:?}");
        }
        for (all, inside) in [("0.0.0.0/0", "255.1.2.3"), ("::/0", "ffff::1")] {
            assert!(all.parse::<IpNetwork>().expect("all of them").contains(ip(inside)));
        }
    }

    #[test]
    fn a_text_that_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "10/8", "lan", "10.0.0.0/-1"] {
            assert_eq!(text.parse::<IpNetwork>(), Err(ParseNetworkError), "{text:?}");
        }
    }

    #[test]
    fn private_addresses_are_taken_where_the_coordinator_is_private_and_named_ones_everywhere() {
        let private = AllowAdvertise::default();
        for (declared, ours, taken) in [
            ("10.9.0.1", "192.168.1.5", true),
            ("fd00::1", "192.168.1.5", true),
            ("10.9.0.1", "127.0.0.1", true),
            ("203.0.113.9", "192.168.1.5", false),
            ("10.9.0.1", "203.0.113.1", false),
        ] {
            assert_eq!(private.includes(ip(declared), ip(ours)), taken, "{declared} at {ours}");
        }
    }

    #[test]
    fn to_name_a_network_takes_nothing_from_the_private_ones() {
        let networks = vec!["203.0.113.0/24".parse().expect("a network")];
        let more = AllowAdvertise { networks, ..AllowAdvertise::default() };
        assert!(more.includes(ip("203.0.113.9"), ip("198.51.100.1")));
        assert!(more.includes(ip("10.0.0.1"), ip("10.0.0.2")));
        assert!(!more.includes(ip("10.0.0.1"), ip("198.51.100.1")));
        let only = AllowAdvertise { private: false, ..more };
        assert!(only.includes(ip("203.0.113.9"), ip("198.51.100.1")));
        assert!(!only.includes(ip("10.0.0.1"), ip("10.0.0.2")));
    }
}

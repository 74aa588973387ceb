//! Both ends of the connection to the coordinator, and what the addresses that come over it mean here: a link-local one is on
//! the link of that connection, and one of this machine is only taken from a coordinator that is on it.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tnet_proto::CoordinatorReply;
use tokio::net::TcpStream;

use crate::network::canonical;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    /// Ours.
    pub(crate) here: SocketAddr,
    there: SocketAddr,
}

impl Ends {
    pub(crate) fn of(stream: &TcpStream) -> io::Result<Ends> {
        Ok(Ends { here: stream.local_addr()?, there: canonical(stream.peer_addr()?) })
    }

    /// The coordinator's.
    pub(crate) fn there(&self) -> SocketAddr {
        self.there
    }

    /// The address with the interface that it needs.
    pub(crate) fn located(&self, address: SocketAddr) -> SocketAddr {
        match (canonical(address), self.there) {
            (SocketAddr::V6(mut v6), SocketAddr::V6(there)) if v6.ip().is_unicast_link_local() => {
                v6.set_scope_id(there.scope_id());
                v6.into()
            }
            (address, _) => address,
        }
    }

    /// The reply with the holders that mean somebody here.
    pub(crate) fn meant_for_us(&self, mut reply: CoordinatorReply) -> CoordinatorReply {
        if let CoordinatorReply::Holders { holders, .. } = &mut reply {
            holders.iter_mut().for_each(|holder| holder.address = self.located(holder.address));
            holders.retain(|holder| self.is_meant_for_us(holder.address));
        }
        reply
    }

    fn is_meant_for_us(&self, address: SocketAddr) -> bool {
        let there = self.there.ip();
        if address.ip().is_loopback() {
            return there.is_loopback() || there == self.here.ip().to_canonical();
        }
        !is_link_local(address.ip()) || is_link_local(there)
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use tnet_proto::{Availability, Holder};

    use super::*;

    fn ends(here: &str, there: &str) -> Ends {
        let address = |text: &str| canonical(text.parse().expect("an address"));
        Ends { here: address(here), there: address(there) }
    }

    fn taken(ends: Ends, named: &[&str]) -> Vec<String> {
        let holder = |text: &&str| Holder {
            address: text.parse().expect("an address"),
            availability: Availability::Full,
        };
        let holders = named.iter().map(holder).collect();
        let reply = CoordinatorReply::Holders { hash: [7; 32], full: 1, partial: 0, holders };
        let CoordinatorReply::Holders { holders, .. } = ends.meant_for_us(reply) else { return Vec::new() };
        holders.iter().map(|holder| holder.address.to_string()).collect()
    }

    #[test]
    fn a_loopback_address_is_only_taken_from_a_coordinator_on_this_machine() {
        let named = ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "10.0.0.9:1"];
        assert_eq!(taken(ends("10.0.0.2:5", "10.0.0.1:7400"), &named), ["10.0.0.9:1"]);
        for (here, there) in [("127.0.0.1:5", "127.0.0.1:7400"), ("10.0.0.1:5", "10.0.0.1:7400")] {
            assert_eq!(taken(ends(here, there), &named).len(), 4);
        }
    }

    #[test]
    fn a_link_local_address_is_on_the_link_to_the_coordinator() {
        let named = ["[fe80::2]:1", "[fe80::2%9]:1", "[fd00::2]:1"];
        let linked = ends("[fe80::5%3]:5", "[fe80::1%3]:7400");
        assert_eq!(taken(linked, &named), ["[fe80::2%3]:1", "[fe80::2%3]:1", "[fd00::2]:1"]);
        assert_eq!(taken(ends("[fd00::5]:5", "[fd00::1]:7400"), &named), ["[fd00::2]:1"]);
    }
}

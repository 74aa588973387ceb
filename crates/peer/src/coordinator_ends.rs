//! Both ends of the connection to the coordinator, and what the addresses that come over it mean
//! here: a link-local one is on the link of that connection, and one of this machine is only taken
//! from a coordinator that is on it.

use std::io;
use std::net::SocketAddr;

use tnet_proto::canonical;
use tnet_proto::{CoordinatorReply, Vicinity};
use tokio::net::TcpStream;

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

    #[cfg(test)]
    pub(crate) fn between(here: SocketAddr, there: SocketAddr) -> Ends {
        Ends { here: canonical(here), there: canonical(there) }
    }

    /// The coordinator's.
    pub(crate) fn there(&self) -> SocketAddr {
        self.there
    }

    /// Whether the coordinator, or something that passes everything on to it, is on this machine.
    pub(crate) fn is_on_this_machine(&self) -> bool {
        self.there.ip().is_loopback() || self.there.ip() == self.here.ip().to_canonical()
    }

    /// Whether nothing is between us and a coordinator that sees us at `observed`.
    pub(crate) fn is_direct(&self, observed: SocketAddr) -> bool {
        let plain = |address: SocketAddr| (address.ip().to_canonical(), address.port());
        plain(self.here) == plain(observed)
    }

    /// What an address that the coordinator names is here, with the interface that it needs.
    pub(crate) fn located(&self, address: SocketAddr) -> Option<SocketAddr> {
        Vicinity::of(self.there, self.is_on_this_machine()).located(address)
    }

    /// The reply with the holders whose addresses are valid here.
    pub(crate) fn meant_for_us(&self, mut reply: CoordinatorReply) -> CoordinatorReply {
        if let CoordinatorReply::Holders { holders, .. } = &mut reply {
            holders.retain_mut(|holder| {
                let located = self.located(holder.address);
                holder.address = located.unwrap_or(holder.address);
                located.is_some()
            });
        }
        reply
    }
}

#[cfg(test)]
mod tests {
    use tnet_proto::{Availability, Holder};

    use super::*;

    fn ends(here: &str, there: &str) -> Ends {
        Ends::between(here.parse().expect("an address"), there.parse().expect("an address"))
    }

    fn taken(ends: Ends, named: &[&str]) -> Vec<String> {
        let holder = |text: &&str| Holder {
            address: text.parse().expect("an address"),
            availability: Availability::Full,
        };
        let holders = named.iter().map(holder).collect();
        let reply = CoordinatorReply::Holders { hash: [7; 32], full: 1, partial: 0, holders };
        let CoordinatorReply::Holders { holders, .. } = ends.meant_for_us(reply) else {
            return Vec::new();
        };
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

    #[test]
    fn a_coordinator_on_this_machine_may_name_those_on_its_links_over_ipv4() {
        let named = ["169.254.7.2:1", "[fe80::2]:1"];
        for there in ["127.0.0.1:7400", "[::1]:7400", "169.254.7.1:7400"] {
            assert_eq!(taken(ends(there, there), &named), ["169.254.7.2:1"], "{there}");
        }
        assert_eq!(taken(ends("10.0.0.2:5", "10.0.0.1:7400"), &named), Vec::<String>::new());
    }

    #[test]
    fn what_is_between_us_and_the_coordinator_is_seen_by_our_port() {
        let ends = ends("10.0.0.2:5", "10.0.0.1:7400");
        for (observed, is_direct) in [
            ("10.0.0.2:5", true),
            ("[::ffff:10.0.0.2]:5", true),
            ("10.0.0.2:6", false),
            ("127.0.0.1:5", false),
        ] {
            assert_eq!(
                ends.is_direct(observed.parse().expect("an address")),
                is_direct,
                "{observed}"
            );
        }
    }
}

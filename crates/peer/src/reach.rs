//! Where others reach us, and what is said of that to whom. What is declared belongs to the socket
//! on which we accept: where nobody accepts, nothing is declared.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use tnet_proto::{Families, Listed, Reach, Refusal};

use crate::address::Advertise;
use crate::api::Listing;
use crate::coordinator_ends::Ends;
use crate::network::{self, canonical};

/// See the module's documentation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnReach {
    /// With the real port.
    listen: SocketAddr,
    /// What the user says instead.
    advertise: Option<SocketAddr>,
}

impl OwnReach {
    pub(crate) fn new(listen: SocketAddr, advertise: Option<Advertise>) -> OwnReach {
        let listen = canonical(listen);
        let address =
            |said: Advertise| SocketAddr::new(said.ip, said.port.unwrap_or(listen.port()));
        OwnReach { listen, advertise: advertise.map(address) }
    }

    /// Whether this machine has the one address at which we accept, if it is one.
    pub(crate) fn is_here(&self) -> bool {
        self.families().is_some() || network::is_here(self.listen)
    }

    /// What the coordinator is told.
    pub(crate) fn declared(&self) -> Reach {
        match (self.advertise, self.families()) {
            (Some(address), _) => Reach::At { address },
            (None, Some(families)) => Reach::Everywhere { port: self.listen.port(), families },
            (None, None) => Reach::At { address: self.listen },
        }
    }

    /// The port that a peer is told on a connection whose end here is this: he puts it to the
    /// address that he sees.
    pub(crate) fn port_seen_from(&self, here: IpAddr) -> u16 {
        let here = here.to_canonical();
        let is_accepted = match self.families() {
            Some(families) => families.include(here),
            None => self.listen.ip() == here,
        };
        let listening = if is_accepted { self.listen.port() } else { 0 };
        match self.advertise {
            None => listening,
            Some(address) if address.ip() == here => address.port(),
            // Another port goes with that address. Whether he sees it or this one is not known
            // here.
            Some(address) if address.port() == self.listen.port() => listening,
            Some(_) => 0,
        }
    }

    /// Where a coordinator sends others that took what we declared.
    pub(crate) fn listing(&self, listed: Listed, observed: SocketAddr, ends: Ends) -> Listing {
        match listed {
            Listed::Nowhere if !self.is_here() => Listing::Refused(self.explain_gone()),
            Listed::Nowhere => Listing::Nowhere,
            Listed::Refused { refusal } => Listing::Refused(self.explain(refusal, observed)),
            Listed::At { address } => self.listing_at(address, observed, ends),
        }
    }

    fn listing_at(&self, address: SocketAddr, observed: SocketAddr, ends: Ends) -> Listing {
        let is_everywhere = self.advertise.is_none() && self.families().is_some();
        let ip = address.ip().to_canonical();
        match () {
            () if is_everywhere && ends.is_direct(observed) && ends.is_on_this_machine() => {
                Listing::Beside { port: address.port() }
            }
            () if is_everywhere && ip.is_loopback() => Listing::Refused(format!(
                "the coordinator sees us at {ip}, as if we were on its machine: the connection to it is passed on there; give \
                 --advertise the address at which others reach this machine"
            )),
            () => Listing::At(ends.located(address).unwrap_or(address)),
        }
    }

    fn explain_gone(&self) -> String {
        let (ip, port) = (self.listen.ip(), self.listen.port());
        format!(
            "we accept at {ip} only, which is not an address of this machine any more; use --listen {port}"
        )
    }

    /// What is wrong and how to cure it, when the coordinator does not list us.
    pub(crate) fn explain(&self, refusal: Refusal, observed: SocketAddr) -> String {
        let (seen, listen) = (observed.ip(), self.listen);
        match (refusal, self.advertise) {
            (Refusal::OutsideNetworks, declared) => {
                let ip = declared.unwrap_or(listen).ip();
                format!(
                    "the coordinator sees us at {seen} and does not send others to {ip}, which is in no network that it \
                     was told; start it with --allow-advertise {ip}, or leave out {}",
                    if declared.is_some() { "--advertise" } else { "the address in --listen" }
                )
            }
            (Refusal::Meaningless, Some(declared)) => format!(
                "{} means another machine to others, so the coordinator sends nobody to it; give --advertise an address \
                 at which they reach this one",
                declared.ip()
            ),
            (Refusal::Meaningless, None) => format!(
                "we accept at {} only, where others on the network do not reach us; use --listen {}",
                listen.ip(),
                listen.port()
            ),
            (Refusal::OtherFamily, _) => format!(
                "we accept at {} only, and the coordinator sees us at {seen}; use --listen {}, or name the coordinator by \
                 an address of the other kind",
                listen.ip(),
                listen.port()
            ),
        }
    }

    /// Of the addresses that we accept at, if those are all that this machine has.
    fn families(&self) -> Option<Families> {
        match self.listen.ip() {
            IpAddr::V4(ip) => ip.is_unspecified().then_some(Families::V4),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Some(Families::Both),
            IpAddr::V6(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(listen: &str, advertise: Option<&str>) -> OwnReach {
        let advertise = advertise.map(|text| text.parse().expect("an address"));
        OwnReach::new(listen.parse().expect("an address"), advertise)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn what_is_declared_is_where_we_accept_unless_the_user_says_otherwise() {
        let at = |text: &str| Reach::At { address: text.parse().expect("an address") };
        let everywhere = |families| Reach::Everywhere { port: 7401, families };
        for (listen, advertise, declared) in [
            ("[::]:7401", None, everywhere(Families::Both)),
            ("0.0.0.0:7401", None, everywhere(Families::V4)),
            ("10.0.0.5:7401", None, at("10.0.0.5:7401")),
            ("[fd00::5]:7401", None, at("[fd00::5]:7401")),
            ("[::]:7401", Some("10.0.0.9"), at("10.0.0.9:7401")),
            ("[::]:7401", Some("10.0.0.9:80"), at("10.0.0.9:80")),
        ] {
            assert_eq!(reach(listen, advertise).declared(), declared, "{listen}");
        }
    }

    #[test]
    fn a_peer_is_told_no_port_at_which_nobody_accepts() {
        for (listen, advertise, here, port) in [
            ("[::]:7401", None, "10.0.0.5", 7401),
            ("[::]:7401", None, "fd00::5", 7401),
            ("0.0.0.0:7401", None, "10.0.0.5", 7401),
            ("0.0.0.0:7401", None, "::ffff:10.0.0.5", 7401),
            ("0.0.0.0:7401", None, "fd00::5", 0),
            ("10.0.0.5:7401", None, "10.0.0.5", 7401),
            ("10.0.0.5:7401", None, "10.92.0.5", 0),
            ("[::]:7401", Some("10.0.0.9:80"), "10.0.0.9", 80),
            ("[::]:7401", Some("10.0.0.9:7401"), "172.17.0.2", 7401),
            ("[::]:7401", Some("10.0.0.9"), "172.17.0.2", 7401),
            // Who is on the same bridge sees us there, and nobody accepts at that port; from
            // outside it is another address.
            ("[::]:7401", Some("10.0.0.9:80"), "172.17.0.2", 0),
            ("0.0.0.0:7401", Some("10.0.0.9"), "fd00::5", 0),
        ] {
            assert_eq!(
                reach(listen, advertise).port_seen_from(ip(here)),
                port,
                "{listen} from {here}"
            );
        }
    }

    #[test]
    fn beside_the_coordinator_others_are_sent_where_they_reach_that() {
        let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let beside = Listing::Beside { port: 7401 };
        for (listen, advertise, here, there, observed, listed, expected) in [
            (
                "[::]:7401",
                None,
                "127.0.0.1:5",
                "127.0.0.1:7400",
                "127.0.0.1:5",
                "127.0.0.1:7401",
                beside.clone(),
            ),
            (
                "[::]:7401",
                None,
                "10.0.0.5:5",
                "10.0.0.5:7400",
                "10.0.0.5:5",
                "10.0.0.5:7401",
                beside.clone(),
            ),
            ("0.0.0.0:7401", None, "[::1]:5", "[::1]:7400", "[::1]:5", "127.0.0.1:7401", beside),
            // For those on this machine alone, as its user says.
            (
                "127.0.0.1:7401",
                None,
                "127.0.0.1:5",
                "127.0.0.1:7400",
                "127.0.0.1:5",
                "127.0.0.1:7401",
                Listing::At(at("127.0.0.1:7401")),
            ),
            // In a container whose port this machine passes on: it sees another machine.
            (
                "[::]:7401",
                None,
                "127.0.0.1:5",
                "127.0.0.1:7400",
                "172.17.0.1:6",
                "172.17.0.1:7401",
                Listing::At(at("172.17.0.1:7401")),
            ),
            (
                "[::]:7401",
                None,
                "10.0.0.5:5",
                "10.0.0.1:7400",
                "10.0.0.5:5",
                "10.0.0.5:7401",
                Listing::At(at("10.0.0.5:7401")),
            ),
        ] {
            let listed = Listed::At { address: at(listed) };
            let ends = Ends::between(at(here), at(there));
            assert_eq!(
                reach(listen, advertise).listing(listed, at(observed), ends),
                expected,
                "{here}"
            );
        }
        // Through a tunnel that ends on the coordinator's machine, whichever end of it is told to
        // us as the coordinator.
        for there in ["10.0.0.1:7400", "127.0.0.1:7400"] {
            let (here, observed) = (at(there), at("127.0.0.1:6"));
            let here = SocketAddr::new(
                if here.ip().is_loopback() { here.ip() } else { ip("10.0.0.5") },
                5,
            );
            let ends = Ends::between(here, at(there));
            let listed = Listed::At { address: at("127.0.0.1:7401") };
            let listing = reach("[::]:7401", None).listing(listed, observed, ends);
            assert!(
                matches!(&listing, Listing::Refused(why) if why.contains("--advertise")),
                "{listing:?}"
            );
        }
    }

    #[test]
    fn a_refusal_names_its_cure() {
        let observed = SocketAddr::new(ip("198.51.100.2"), 50_000);
        for (listen, advertise, refusal, cure) in [
            ("[::]:7401", Some("10.0.0.9"), Refusal::OutsideNetworks, "--allow-advertise 10.0.0.9"),
            ("10.0.0.9:7401", None, Refusal::OutsideNetworks, "--allow-advertise 10.0.0.9"),
            ("127.0.0.1:7401", None, Refusal::Meaningless, "--listen 7401"),
            ("[::]:7401", Some("169.254.7.2"), Refusal::Meaningless, "--advertise"),
            ("0.0.0.0:7401", None, Refusal::OtherFamily, "--listen 7401"),
        ] {
            let said = reach(listen, advertise).explain(refusal, observed);
            assert!(said.contains(cure), "{said}");
        }
    }
}

//! Where others reach us, and what is said of that to whom. What is declared belongs to the socket on which we accept: where
//! nobody accepts, nothing is declared.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use tnet_proto::{Families, Reach, Refusal};

use crate::address::Advertise;
use crate::network::canonical;

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
        let address = |said: Advertise| SocketAddr::new(said.ip, said.port.unwrap_or(listen.port()));
        OwnReach { listen, advertise: advertise.map(address) }
    }

    /// What the coordinator is told.
    pub(crate) fn declared(&self) -> Reach {
        match (self.advertise, self.families()) {
            (Some(address), _) => Reach::At { address },
            (None, Some(families)) => Reach::Everywhere { port: self.listen.port(), families },
            (None, None) => Reach::At { address: self.listen },
        }
    }

    /// The port that a peer is told on a connection whose end here is this: he puts it to the address that he sees.
    pub(crate) fn port_seen_from(&self, here: IpAddr) -> u16 {
        match (self.advertise, self.families()) {
            // Who is behind an address of another kind is seen at that from outside.
            (Some(address), _) => address.port(),
            (None, Some(families)) if families.include(here) => self.listen.port(),
            (None, None) if self.listen.ip() == here.to_canonical() => self.listen.port(),
            (None, _) => 0,
        }
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
            ("[::]:7401", Some("10.0.0.9:80"), "172.17.0.2", 80),
        ] {
            assert_eq!(reach(listen, advertise).port_seen_from(ip(here)), port, "{listen} from {here}");
        }
    }

    #[test]
    fn a_refusal_names_its_cure() {
        let observed = SocketAddr::new(ip("198.51.100.2"), 50_000);
        for (listen, advertise, refusal, cure) in [
            ("[::]:7401", Some("10.0.0.9"), Refusal::OutsideNetworks, "--allow-advertise 10.0.0.9"),
            ("10.0.0.9:7401", None, Refusal::OutsideNetworks, "--allow-advertise 10.0.0.9"),
            ("127.0.0.1:7401", None, Refusal::Meaningless, "--listen 7401"),
            ("[::]:7401", Some("127.0.0.1"), Refusal::Meaningless, "--advertise"),
            ("0.0.0.0:7401", None, Refusal::OtherFamily, "--listen 7401"),
        ] {
            let said = reach(listen, advertise).explain(refusal, observed);
            assert!(said.contains(cure), "{said}");
        }
    }
}

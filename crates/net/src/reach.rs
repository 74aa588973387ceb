//! Where other machines reach this process, and what is declared to whom. What is declared belongs
//! to the socket that accepts connections: where nothing listens, nothing is declared.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use tnet_proto::{Families, Reach, canonical};

use crate::address::Advertise;
use crate::socket::is_here;

/// The address of the listening socket, and the one that the user says instead.
#[derive(Debug, Clone, Copy)]
pub struct OwnReach {
    /// With the real port.
    listen: SocketAddr,
    advertise: Option<SocketAddr>,
}

impl OwnReach {
    /// `listen` is the address of the bound socket, with its real port.
    pub fn new(listen: SocketAddr, advertise: Option<Advertise>) -> OwnReach {
        let listen = canonical(listen);
        let address =
            |said: Advertise| SocketAddr::new(said.ip, said.port.unwrap_or(listen.port()));
        OwnReach { listen, advertise: advertise.map(address) }
    }

    /// The address of the listening socket.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// What the user says instead, with a port.
    pub fn advertise(&self) -> Option<SocketAddr> {
        self.advertise
    }

    /// Whether this machine has the address of the listening socket. Always true for a socket that
    /// listens at every address.
    pub fn is_here(&self) -> bool {
        self.families().is_some() || is_here(self.listen)
    }

    /// What to tell a coordinator.
    pub fn declared(&self) -> Reach {
        match (self.advertise, self.families()) {
            (Some(address), _) => Reach::At { address },
            (None, Some(families)) => Reach::Everywhere { port: self.listen.port(), families },
            (None, None) => Reach::At { address: self.listen },
        }
    }

    /// The port to tell a peer on a connection whose local address is `here`; zero for none. The
    /// peer combines it with the address that it sees.
    pub fn port_seen_from(&self, here: IpAddr) -> u16 {
        let here = here.to_canonical();
        let is_accepted = match self.families() {
            Some(families) => families.include(here),
            None => self.listen.ip() == here,
        };
        let listening = if is_accepted { self.listen.port() } else { 0 };
        match self.advertise {
            None => listening,
            Some(address) if address.ip() == here => address.port(),
            // A different port is only right together with the advertised address, and whether the
            // peer sees that address or `here` is not known.
            Some(address) if address.port() == self.listen.port() => listening,
            Some(_) => 0,
        }
    }

    /// The families of addresses that the socket accepts at, if it listens at every address of the
    /// machine.
    pub fn families(&self) -> Option<Families> {
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
    fn what_is_declared_is_where_we_listen_unless_the_user_says_otherwise() {
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
    fn a_peer_is_told_no_port_at_which_nothing_listens() {
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
            // A peer on the same bridge sees us there, where nothing listens at that port; from
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
}

//! Addresses as people write them: a port alone, a host name, a link-local address with its
//! interface.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use tnet_proto::{COORDINATOR_PORT, canonical};

use crate::socket;

/// Why a text is not an address that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It does not have the form of one; the field shows the form that is expected.
    #[error("write it like {0}")]
    Malformed(&'static str),
    /// A link-local address, which exists on each link, without the interface.
    #[error("{ip} is a link-local address: name the interface too, as in {ip}%eth0")]
    NoInterface {
        /// The address.
        ip: Ipv6Addr,
    },
    /// This machine has no such interface.
    #[error("there is no network interface {name:?} on this machine")]
    UnknownInterface {
        /// As it was written.
        name: String,
    },
    /// A link-local address to advertise: others are not told the interface.
    #[error(
        "others are told {ip} without the interface, which is another one at each of them: name an address that is not \
         link-local, or none, since those on the link find this peer without"
    )]
    OnEachLink {
        /// The address.
        ip: Ipv6Addr,
    },
    /// A loopback address to advertise: it is another machine to each that reads it.
    #[error(
        "{ip} is each machine itself to those on it: name an address at which others reach this one"
    )]
    EachItself {
        /// The address.
        ip: IpAddr,
    },
    /// An interface is named for an address that is not link-local.
    #[error("{ip} is not link-local and needs no interface: leave out %{zone}")]
    NeedlessInterface {
        /// The address.
        ip: IpAddr,
        /// As it was written.
        zone: String,
    },
    /// An unspecified or multicast address.
    #[error("{ip} is not the address of one machine")]
    NotOneMachine {
        /// The address.
        ip: IpAddr,
    },
}

/// Where a coordinator is. Exhaustive: callers resolve each kind in its own way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CoordinatorAddress {
    /// At an address.
    Ip(SocketAddr),
    /// A host name, resolved again before each call.
    Name {
        /// The name.
        host: String,
        /// TCP port.
        port: u16,
    },
}

impl From<SocketAddr> for CoordinatorAddress {
    fn from(address: SocketAddr) -> CoordinatorAddress {
        CoordinatorAddress::Ip(canonical(address))
    }
}

impl From<CoordinatorAddress> for String {
    fn from(address: CoordinatorAddress) -> String {
        address.to_string()
    }
}

impl TryFrom<String> for CoordinatorAddress {
    type Error = AddressError;

    fn try_from(text: String) -> Result<CoordinatorAddress, AddressError> {
        text.parse()
    }
}

impl fmt::Display for CoordinatorAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CoordinatorAddress::Ip(address) => address.fmt(f),
            CoordinatorAddress::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// An address or a host name, with a port or without one.
impl FromStr for CoordinatorAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<CoordinatorAddress, AddressError> {
        if let Some(found) = literal(text) {
            let (ip, zone, port) = found?;
            return Ok(CoordinatorAddress::Ip(with_zone(
                ip,
                zone,
                port.unwrap_or(COORDINATOR_PORT),
            )?));
        }
        let malformed = AddressError::Malformed("192.168.1.5:7400 or host.lan");
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| malformed.clone())?),
            None => (text, COORDINATOR_PORT),
        };
        let is_strange = |c: char| matches!(c, ':' | '/' | '%' | '[' | ']') || c.is_whitespace();
        if host.is_empty() || host.contains(is_strange) || port == 0 {
            return Err(malformed);
        }
        Ok(CoordinatorAddress::Name { host: host.to_owned(), port })
    }
}

/// Where to accept connections: an address with a port, or a port alone, which is that port of
/// every address.
///
/// # Errors
/// See [`AddressError`].
pub fn parse_listen(text: &str) -> Result<SocketAddr, AddressError> {
    if let Ok(port) = text.parse() {
        return Ok(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
    }
    match literal(text).transpose()? {
        Some((ip, zone, Some(port))) => with_zone(ip, zone, port),
        _ => Err(AddressError::Malformed("0.0.0.0:7401, [::]:7401 or 7401")),
    }
}

/// Where others reach a peer, as its user says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Advertise {
    /// The address.
    pub ip: IpAddr,
    /// TCP port. None: the port that it listens on.
    pub port: Option<u16>,
}

impl FromStr for Advertise {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Advertise, AddressError> {
        let malformed = AddressError::Malformed("10.0.0.5, 10.0.0.5:7401 or [fd00::5]:7401");
        let (ip, zone, port) = literal(text).ok_or_else(|| malformed.clone())??;
        let ip = ip.to_canonical();
        if ip.is_unspecified() || ip.is_multicast() {
            return Err(AddressError::NotOneMachine { ip });
        }
        match (ip, zone, port) {
            (_, _, Some(0)) => Err(malformed),
            (IpAddr::V6(ip), _, _) if ip.is_unicast_link_local() => {
                Err(AddressError::OnEachLink { ip })
            }
            _ if ip.is_loopback() => Err(AddressError::EachItself { ip }),
            (_, Some(zone), _) => {
                Err(AddressError::NeedlessInterface { ip, zone: zone.to_owned() })
            }
            (_, None, port) => Ok(Advertise { ip, port }),
        }
    }
}

/// As it is written where one is expected.
impl fmt::Display for Advertise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.ip, port).fmt(f),
            None => self.ip.fmt(f),
        }
    }
}

type Literal<'a> = (IpAddr, Option<&'a str>, Option<u16>);

/// An address, its interface and its port, as far as they are there. None: it is something else,
/// like a name.
fn literal(text: &str) -> Option<Result<Literal<'_>, AddressError>> {
    let (inner, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (inner, port) = rest.split_once(']')?;
            let port =
                if port.is_empty() { None } else { Some(port.strip_prefix(':')?.parse().ok()?) };
            (inner, port)
        }
        None => match text.parse() {
            Ok(SocketAddr::V4(v4)) => {
                return Some(Ok((IpAddr::V4(*v4.ip()), None, Some(v4.port()))));
            }
            _ => (text, None),
        },
    };
    match inner.split_once('%') {
        None => Some(Ok((inner.parse().ok()?, None, port))),
        Some((ip, zone)) => Some(Ok((IpAddr::V6(ip.parse().ok()?), Some(zone), port))),
    }
}

fn with_zone(ip: IpAddr, zone: Option<&str>, port: u16) -> Result<SocketAddr, AddressError> {
    let IpAddr::V6(v6) = ip else { return Ok(SocketAddr::new(ip, port)) };
    match zone {
        None if v6.is_unicast_link_local() => Err(AddressError::NoInterface { ip: v6 }),
        None => Ok(canonical(SocketAddr::new(ip, port))),
        Some(zone) => {
            let unknown = || AddressError::UnknownInterface { name: zone.to_owned() };
            let index = match zone.parse() {
                Ok(index) => index,
                Err(_) => socket::interface(zone).ok_or_else(unknown)?,
            };
            Ok(SocketAddrV6::new(v6, port, 0, index).into())
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn coordinator(text: &str) -> Result<String, AddressError> {
        text.parse().map(|address: CoordinatorAddress| address.to_string())
    }

    #[test]
    fn a_coordinator_is_an_address_or_a_name_with_a_port_or_without() {
        for (text, shown) in [
            ("10.0.0.1", "10.0.0.1:7400"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("::1", "[::1]:7400"),
            ("[::1]", "[::1]:7400"),
            ("[::1]:80", "[::1]:80"),
            ("::ffff:10.0.0.1", "10.0.0.1:7400"),
            ("[::ffff:10.0.0.1]:80", "10.0.0.1:80"),
            ("host.lan", "host.lan:7400"),
            ("host.lan:80", "host.lan:80"),
            ("fe80::1%1", "[fe80::1%1]:7400"),
            ("[fe80::1%1]:80", "[fe80::1%1]:80"),
        ] {
            assert_eq!(coordinator(text).as_deref(), Ok(shown), "{text}");
            assert_eq!(coordinator(shown).as_deref(), Ok(shown), "what is shown can be written");
        }
    }

    #[test]
    fn what_is_neither_is_refused_with_the_reason() {
        // Nothing; no host; no port after all; not a port; not a host.
        for text in
            ["", ":80", "host:", "host:http", "host:0", "http://host:80", "a b", "[::1", "[::1]80"]
        {
            assert!(matches!(coordinator(text), Err(AddressError::Malformed(_))), "{text:?}");
        }
        let error = coordinator("fe80::1").unwrap_err().to_string();
        assert!(error.contains("fe80::1%eth0"), "{error}");
        for text in ["fe80::1%nothere0", "[fe80::1%nothere0]:7400"] {
            let error = coordinator(text).unwrap_err().to_string();
            assert!(error.contains("no network interface \"nothere0\""), "{error}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_interface_may_be_named() {
        assert_eq!(coordinator("fe80::1%lo").as_deref(), Ok("[fe80::1%1]:7400"));
        assert_eq!(parse_listen("[fe80::1%lo]:7401").unwrap().to_string(), "[fe80::1%1]:7401");
    }

    #[test]
    fn a_port_alone_is_that_port_of_every_address() {
        assert_eq!(parse_listen("7401"), Ok(([0; 16], 7401).into()));
        assert_eq!(parse_listen("0.0.0.0:7401"), Ok(([0, 0, 0, 0], 7401).into()));
        assert_eq!(parse_listen("127.0.0.1:0"), Ok(([127, 0, 0, 1], 0).into()));
        assert!(parse_listen("[::1]:7401").is_ok_and(|address| address.is_ipv6()));
        for text in ["", "localhost", "127.0.0.1", "70000", ":7401", "[::]"] {
            assert!(matches!(parse_listen(text), Err(AddressError::Malformed(_))), "{text:?}");
        }
        assert!(matches!(parse_listen("[fe80::1]:1"), Err(AddressError::NoInterface { .. })));
    }

    #[test]
    fn an_address_to_advertise_is_that_of_one_machine() {
        for (text, shown) in [
            ("10.0.0.5", "10.0.0.5"),
            ("10.0.0.5:80", "10.0.0.5:80"),
            ("fd00::5", "fd00::5"),
            ("[fd00::5]:80", "[fd00::5]:80"),
            ("::ffff:10.0.0.5", "10.0.0.5"),
        ] {
            assert_eq!(
                text.parse().map(|address: Advertise| address.to_string()).as_deref(),
                Ok(shown)
            );
        }
        for text in
            ["", "host.lan", "0.0.0.0", "[::]:7401", "224.0.0.1", "10.0.0.5:0", "10.0.0.5:x"]
        {
            assert!(text.parse::<Advertise>().is_err(), "{text:?}");
        }
        for (text, reason) in [
            ("fe80::1%eth0", "without the interface"),
            ("[fe80::1%nothere0]:7401", "without the interface"),
            ("fe80::1", "not link-local"),
            ("127.0.0.1", "at which others reach this one"),
            ("[::1]:7401", "at which others reach this one"),
            ("::ffff:127.0.0.1", "at which others reach this one"),
            ("fd00::5%eth0", "leave out %eth0"),
        ] {
            let error = text.parse::<Advertise>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}

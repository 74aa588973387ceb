//! For which peers an address means the same. A loopback address has a meaning only on its own
//! machine, a link-local address only on its own link; so such an address is passed on only to
//! peers there, and accepted only from peers there. The rule is the same for the coordinator and
//! for peers. Addresses travel without an interface: the receiver of a link-local IPv6 address adds
//! the interface of the connection.

use std::net::{IpAddr, SocketAddr};

/// What the two ends of a connection have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vicinity {
    on_one_machine: bool,
    link: Option<NetworkLink>,
}

/// The link that both ends are on, as this end knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NetworkLink {
    /// A link with link-local IPv4 addresses, which do not tell which one.
    V4,
    /// The number of this end's interface.
    V6(u32),
}

impl Vicinity {
    /// The vicinity of a connection whose other end is at `remote`, with the interface if it is
    /// link-local.
    pub fn of(remote: SocketAddr, on_one_machine: bool) -> Vicinity {
        let link = match (remote.ip().to_canonical(), remote) {
            (IpAddr::V4(ip), _) if ip.is_link_local() => Some(NetworkLink::V4),
            (IpAddr::V6(ip), SocketAddr::V6(v6)) if ip.is_unicast_link_local() => {
                Some(NetworkLink::V6(v6.scope_id()))
            }
            _ => None,
        };
        Vicinity { on_one_machine, link }
    }

    /// The vicinity of a connection whose ends share neither machine nor link.
    pub fn none() -> Vicinity {
        Vicinity { on_one_machine: false, link: None }
    }

    /// Whether both ends are on one machine.
    pub fn is_on_one_machine(self) -> bool {
        self.on_one_machine
    }

    /// Whether an address means the same to both ends.
    pub fn shares(self, address: SocketAddr) -> bool {
        self.located(address).is_some_and(|located| scope_of(located) == scope_of(address))
    }

    /// Translates an address that the other end names to one of this end, with the interface that
    /// it needs; `None` if it means something else here.
    pub fn located(self, address: SocketAddr) -> Option<SocketAddr> {
        let ip = address.ip().to_canonical();
        let plain = SocketAddr::new(ip, address.port());
        match (ip, self.link) {
            _ if ip.is_loopback() => self.on_one_machine.then_some(plain),
            // The kernel of this machine finds the link.
            (IpAddr::V4(v4), link) if v4.is_link_local() => {
                (self.on_one_machine || link == Some(NetworkLink::V4)).then_some(plain)
            }
            (IpAddr::V6(v6), Some(NetworkLink::V6(interface))) if v6.is_unicast_link_local() => {
                let mut located = plain;
                if let SocketAddr::V6(located) = &mut located {
                    located.set_scope_id(interface);
                }
                Some(located)
            }
            (IpAddr::V6(v6), _) if v6.is_unicast_link_local() => None,
            _ => Some(plain),
        }
    }
}

/// The address with an IPv4 address in its plain form, not mapped into IPv6. Of IPv6 addresses only
/// link-local ones keep their interface.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => address,
        ip => SocketAddr::new(ip, address.port()),
    }
}

/// The same, but every IPv6 address stays as it is, with its interface.
pub fn unmapped(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

/// The interface of a link-local IPv6 address; `None` for all others.
fn scope_of(address: SocketAddr) -> Option<u32> {
    match address {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => Some(v6.scope_id()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    const ON_ONE_MACHINE: bool = true;
    const APART: bool = false;

    #[test]
    fn an_address_is_located_where_it_means_the_same_and_nowhere_else() {
        for (remote, machine, named, located) in [
            ("10.0.0.1:1", APART, "10.0.0.9:1", Some("10.0.0.9:1")),
            ("10.0.0.1:1", APART, "[::ffff:10.0.0.9]:1", Some("10.0.0.9:1")),
            ("10.0.0.1:1", APART, "[fd00::9]:1", Some("[fd00::9]:1")),
            ("10.0.0.1:1", APART, "127.0.0.1:1", None),
            ("10.0.0.1:1", APART, "[::1]:1", None),
            ("127.0.0.1:1", ON_ONE_MACHINE, "[::ffff:127.0.0.1]:1", Some("127.0.0.1:1")),
            ("10.0.0.1:1", ON_ONE_MACHINE, "[::1]:1", Some("[::1]:1")),
            ("10.0.0.1:1", APART, "169.254.7.2:1", None),
            ("169.254.7.1:1", APART, "169.254.7.2:1", Some("169.254.7.2:1")),
            ("127.0.0.1:1", ON_ONE_MACHINE, "169.254.7.2:1", Some("169.254.7.2:1")),
            ("[fe80::1%3]:1", APART, "169.254.7.2:1", None),
            ("[fe80::1%3]:1", APART, "[fe80::2]:1", Some("[fe80::2%3]:1")),
            ("[fe80::1%3]:1", APART, "[fe80::2%9]:1", Some("[fe80::2%3]:1")),
            ("169.254.7.1:1", APART, "[fe80::2]:1", None),
            ("[fd00::1]:1", APART, "[fe80::2]:1", None),
            ("[::1]:1", ON_ONE_MACHINE, "[fe80::2]:1", None), // on which of its links?
        ] {
            let vicinity = Vicinity::of(at(remote), machine);
            assert_eq!(vicinity.located(at(named)), located.map(at), "{named} by {remote}");
        }
    }

    #[test]
    fn a_link_is_shared_by_those_on_it_alone() {
        let on = |remote| Vicinity::of(at(remote), APART);
        assert!(on("[fe80::1%3]:1").shares(at("[fe80::2%3]:1")));
        for (remote, named) in [
            ("[fe80::1%3]:1", "[fe80::2%2]:1"),
            ("[fe80::1%3]:1", "[fe80::2]:1"),
            ("[fd00::1]:1", "[fe80::2%3]:1"),
            ("[fe80::1%3]:1", "169.254.7.2:1"),
            ("10.0.0.1:1", "127.0.0.1:1"),
        ] {
            assert!(!on(remote).shares(at(named)), "{named} to {remote}");
        }
        for (remote, named) in [
            ("10.0.0.1:1", "[fd00::2]:1"),
            ("[fe80::1%3]:1", "10.0.0.2:1"),
            ("[::ffff:169.254.7.1]:1", "169.254.7.2:1"),
        ] {
            assert!(on(remote).shares(at(named)), "{named} to {remote}");
        }
    }
}

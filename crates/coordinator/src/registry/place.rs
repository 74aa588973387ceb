//! Where a peer is, and what its address means to whom. Pure.
//!
//! What holds: nobody is handed an address that means another machine to him. A loopback address is
//! for those on the coordinator's own machine, a link-local one for those on that link; and who
//! accepts everywhere on the coordinator's own machine is reached where that is, at the address at
//! which whoever asks has reached it. Nobody is sent to an address on the word of a peer alone,
//! unless it is in a network that the coordinator was told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tnet_proto::{Families, Listed, Reach, Refusal, Vicinity};

use crate::registry::networks::AllowAdvertise;

/// Both ends of a connection, IPv4 never mapped into IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) remote: SocketAddr,
    pub(crate) local: SocketAddr,
}

impl Ends {
    pub(crate) fn new(remote: SocketAddr, local: SocketAddr) -> Ends {
        Ends { remote: canonical(remote), local: canonical(local) }
    }

    /// Whether the other end is on our machine.
    fn is_here(&self) -> bool {
        self.remote.ip().is_loopback() || self.remote.ip() == self.local.ip()
    }

    fn vicinity(&self) -> Vicinity {
        Vicinity::of(self.remote, self.is_here())
    }
}

/// Where a peer is, as far as others are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Where others are sent; nothing if to nobody.
    listed: Option<SocketAddr>,
    meaning: Meaning,
    viewpoint: Viewpoint,
}

/// To whom an address means the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// To everybody.
    Same,
    /// The peer accepts everywhere on our own machine: to everybody, at the address of ours that he
    /// has reached.
    Here(Families),
    /// To those on our own machine, or on that link.
    Near,
}

/// A socket that peers accept at, by whatever address they are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Site {
    At(SocketAddr),
    /// This port of every address of our own machine.
    Here(u16),
}

/// From where a peer sees others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Viewpoint {
    /// Our address that it has reached; nothing where there is no connection.
    ours: Option<IpAddr>,
    vicinity: Vicinity,
}

impl Place {
    /// A peer that is seen at this address by everybody; at port 0 by nobody.
    pub fn seen_at(address: SocketAddr) -> Place {
        let viewpoint = Viewpoint { ours: None, vicinity: Vicinity::none() };
        Place {
            listed: Some(address).filter(|address| address.port() != 0),
            meaning: Meaning::Same,
            viewpoint,
        }
    }

    /// What becomes of what a peer declares on this connection, and what it is told.
    pub(crate) fn of(reach: Reach, ends: Ends, allowed: &AllowAdvertise) -> (Place, Listed) {
        let viewpoint = Viewpoint { ours: Some(ends.local.ip()), vicinity: ends.vicinity() };
        let at = |address, meaning| {
            let listed = Listed::At { address };
            (Place { listed: Some(address), meaning, viewpoint }, listed)
        };
        let nowhere = |listed| (Place { listed: None, meaning: Meaning::Same, viewpoint }, listed);
        let found = match reach {
            Reach::Nowhere | Reach::Everywhere { port: 0, .. } => return nowhere(Listed::Nowhere),
            Reach::At { address } if address.port() == 0 => return nowhere(Listed::Nowhere),
            Reach::Everywhere { port, families } => everywhere(port, families, ends),
            Reach::At { address } => declared(canonical(address), ends, allowed),
        };
        match found {
            Ok((address, meaning)) => at(address, meaning),
            Err(refusal) => nowhere(Listed::Refused { refusal }),
        }
    }

    /// Where others are sent.
    pub(crate) fn listed(&self) -> Option<SocketAddr> {
        self.listed
    }

    /// Where it accepts, if anybody is sent there.
    pub(crate) fn site(&self) -> Option<Site> {
        let listed = self.listed?;
        Some(if let Meaning::Here(_) = self.meaning {
            Site::Here(listed.port())
        } else {
            Site::At(listed)
        })
    }

    pub(crate) fn viewpoint(&self) -> Viewpoint {
        self.viewpoint
    }

    /// Whether its address is as it is for everybody.
    pub(crate) fn is_plain(&self) -> bool {
        self.meaning == Meaning::Same
    }

    /// Its address for whoever asks from there, if there is one; for nobody in particular, where it
    /// is listed.
    pub(crate) fn address_for(&self, asker: Option<Viewpoint>) -> Option<SocketAddr> {
        let (listed, Some(asker)) = (self.listed?, asker) else { return self.listed };
        match self.meaning {
            Meaning::Same => Some(listed),
            Meaning::Near => asker.vicinity.shares(listed).then_some(listed),
            // Of the many addresses of this machine the one that it was seen at: nobody is named
            // another's.
            Meaning::Here(_) if asker.is_at_loopback_like(listed.ip()) => Some(listed),
            Meaning::Here(families) => match asker.ours.filter(|ours| families.include(*ours)) {
                Some(ours) => Some(SocketAddr::new(ours, listed.port())),
                None => asker.vicinity.shares(listed).then_some(listed),
            },
        }
    }
}

impl Viewpoint {
    /// Whether it came to us within this machine, and by the same family as this address of
    /// loopback.
    fn is_at_loopback_like(self, ip: IpAddr) -> bool {
        let is_like = |ours: IpAddr| ours.is_loopback() && ours.is_ipv4() == ip.is_ipv4();
        ip.is_loopback() && self.ours.is_some_and(is_like)
    }

    /// The sites of the one who is named here as `address`, the likelier one first.
    pub(crate) fn sites_of(self, address: SocketAddr) -> impl Iterator<Item = Site> {
        let is_ours = self.ours == Some(address.ip())
            || address.ip().is_loopback() && self.vicinity.is_on_one_machine();
        let ours = is_ours.then(|| Site::Here(address.port()));
        ours.into_iter().chain(self.vicinity.located(address).map(Site::At))
    }
}

/// A peer that accepts at all addresses of its machine.
fn everywhere(port: u16, families: Families, ends: Ends) -> Result<(SocketAddr, Meaning), Refusal> {
    let observed = at_port(ends.remote, port);
    let is_accepted = families.include(observed.ip());
    match () {
        () if ends.is_here() && is_accepted => Ok((observed, Meaning::Here(families))),
        () if ends.is_here() => {
            let is_v4 = families.include(Ipv4Addr::LOCALHOST.into());
            let ip: IpAddr =
                if is_v4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
            Ok((SocketAddr::new(ip, port), Meaning::Here(families)))
        }
        () if !is_accepted => Err(Refusal::OtherFamily),
        () if is_link_local(observed.ip()) => Ok((observed, Meaning::Near)),
        () => Ok((observed, Meaning::Same)),
    }
}

/// A peer that says where it is reached.
fn declared(
    address: SocketAddr,
    ends: Ends,
    allowed: &AllowAdvertise,
) -> Result<(SocketAddr, Meaning), Refusal> {
    let (ip, is_observed) = (address.ip(), address.ip() == ends.remote.ip());
    match () {
        () if ip.is_loopback() => {
            if ends.is_here() {
                Ok((address, Meaning::Near))
            } else {
                Err(Refusal::Meaningless)
            }
        }
        () if is_link_local(ip) => match is_observed {
            true => Ok((at_port(ends.remote, address.port()), Meaning::Near)),
            false => Err(Refusal::Meaningless),
        },
        () if !is_one_host(ip) => Err(Refusal::Meaningless),
        () if is_observed || allowed.includes(ip, ends.local.ip()) => Ok((address, Meaning::Same)),
        () => Err(Refusal::OutsideNetworks),
    }
}

/// IPv4 in its plain form. The interface of a link-local address stays.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        ip @ IpAddr::V6(_) if !is_link_local(ip) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

fn at_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn is_one_host(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.octets()[0] != 0 && !v4.is_broadcast() && !v4.is_multicast(),
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast(),
    }
}

#[cfg(test)]
mod tests;

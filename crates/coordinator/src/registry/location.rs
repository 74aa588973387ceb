//! Where a peer is reached, and which peers an address is valid for. Pure.
//!
//! Invariant: no peer is handed an address that denotes another machine for it. A loopback address
//! is for peers on the coordinator's own machine, a link-local one for peers on that link. A peer
//! on the coordinator's machine that accepts on all addresses is named at the address at which the
//! asker has reached the coordinator. An address that a peer only declares is handed out only
//! within the networks that the coordinator is configured for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tnet_proto::{Families, Listed, Reach, Refusal, Vicinity, canonical};

use crate::registry::networks::AllowAdvertise;

/// Both endpoints of a connection, IPv4 never mapped into IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Endpoints {
    pub(crate) remote: SocketAddr,
    pub(crate) local: SocketAddr,
}

impl Endpoints {
    pub(crate) fn new(remote: SocketAddr, local: SocketAddr) -> Endpoints {
        Endpoints { remote: canonical(remote), local: canonical(local) }
    }

    /// Whether the remote end is on the coordinator's machine.
    fn is_here(&self) -> bool {
        self.remote.ip().is_loopback() || self.remote.ip() == self.local.ip()
    }

    fn vicinity(&self) -> Vicinity {
        Vicinity::of(self.remote, self.is_here())
    }
}

/// Where other peers reach a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerLocation {
    /// Where others are sent; `None` if it is not listed.
    listed: Option<SocketAddr>,
    audience: Audience,
    viewpoint: Viewpoint,
}

/// For which askers an address is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Audience {
    /// For every asker.
    Everyone,
    /// The peer accepts on all addresses of the coordinator's machine: valid for every asker, at
    /// the coordinator's address that the asker has reached.
    EveryoneViaUs(Families),
    /// For askers on the coordinator's machine, or on that link.
    Nearby,
}

/// A listening socket of a peer, independent of the address under which it is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Site {
    At(SocketAddr),
    /// This port on every address of the coordinator's machine.
    OnCoordinator(u16),
}

/// The position in the network from which a peer asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Viewpoint {
    /// The coordinator's address that it has reached; `None` without a connection.
    ours: Option<IpAddr>,
    vicinity: Vicinity,
}

impl PeerLocation {
    /// A peer at this address for every asker; with port 0 it is not listed.
    pub fn seen_at(address: SocketAddr) -> PeerLocation {
        let viewpoint = Viewpoint { ours: None, vicinity: Vicinity::none() };
        PeerLocation {
            listed: Some(address).filter(|address| address.port() != 0),
            audience: Audience::Everyone,
            viewpoint,
        }
    }

    /// Decides where a peer is listed that declares `reach` on this connection, and the reply to
    /// it.
    pub(crate) fn of(
        reach: Reach,
        endpoints: Endpoints,
        allowed: &AllowAdvertise,
    ) -> (PeerLocation, Listed) {
        let viewpoint =
            Viewpoint { ours: Some(endpoints.local.ip()), vicinity: endpoints.vicinity() };
        let at = |address, audience| {
            let listed = Listed::At { address };
            (PeerLocation { listed: Some(address), audience, viewpoint }, listed)
        };
        let nowhere = |listed| {
            (PeerLocation { listed: None, audience: Audience::Everyone, viewpoint }, listed)
        };
        let found = match reach {
            Reach::Nowhere | Reach::Everywhere { port: 0, .. } => return nowhere(Listed::Nowhere),
            Reach::At { address } if address.port() == 0 => return nowhere(Listed::Nowhere),
            Reach::Everywhere { port, families } => everywhere(port, families, endpoints),
            Reach::At { address } => declared(canonical(address), endpoints, allowed),
        };
        match found {
            Ok((address, audience)) => at(address, audience),
            Err(refusal) => nowhere(Listed::Refused { refusal }),
        }
    }

    /// Where others are sent.
    pub(crate) fn listed(&self) -> Option<SocketAddr> {
        self.listed
    }

    /// Its listening socket, if it is listed.
    pub(crate) fn site(&self) -> Option<Site> {
        let listed = self.listed?;
        Some(if let Audience::EveryoneViaUs(_) = self.audience {
            Site::OnCoordinator(listed.port())
        } else {
            Site::At(listed)
        })
    }

    pub(crate) fn viewpoint(&self) -> Viewpoint {
        self.viewpoint
    }

    /// Whether its listed address is valid for every asker.
    pub(crate) fn is_plain(&self) -> bool {
        self.audience == Audience::Everyone
    }

    /// Its address for this asker, if there is a valid one; without an asker, its listed address.
    pub(crate) fn address_for(&self, asker: Option<Viewpoint>) -> Option<SocketAddr> {
        let (listed, Some(asker)) = (self.listed?, asker) else { return self.listed };
        match self.audience {
            Audience::Everyone => Some(listed),
            Audience::Nearby => asker.vicinity.shares(listed).then_some(listed),
            // Keep the loopback address that it was observed at: other addresses may be another
            // peer's.
            Audience::EveryoneViaUs(_) if asker.is_at_loopback_like(listed.ip()) => Some(listed),
            Audience::EveryoneViaUs(families) => {
                match asker.ours.filter(|ours| families.include(*ours)) {
                    Some(ours) => Some(SocketAddr::new(ours, listed.port())),
                    None => asker.vicinity.shares(listed).then_some(listed),
                }
            }
        }
    }
}

impl Viewpoint {
    /// Whether the asker connected over loopback, by the same family as this loopback address.
    fn is_at_loopback_like(self, ip: IpAddr) -> bool {
        let is_like = |ours: IpAddr| ours.is_loopback() && ours.is_ipv4() == ip.is_ipv4();
        ip.is_loopback() && self.ours.is_some_and(is_like)
    }

    /// The sites that `address` may denote for this peer, the more likely one first.
    pub(crate) fn sites_of(self, address: SocketAddr) -> impl Iterator<Item = Site> {
        let is_ours = self.ours == Some(address.ip())
            || address.ip().is_loopback() && self.vicinity.is_on_one_machine();
        let ours = is_ours.then(|| Site::OnCoordinator(address.port()));
        ours.into_iter().chain(self.vicinity.located(address).map(Site::At))
    }
}

/// A peer that accepts on all addresses of its machine.
fn everywhere(
    port: u16,
    families: Families,
    endpoints: Endpoints,
) -> Result<(SocketAddr, Audience), Refusal> {
    let observed = at_port(endpoints.remote, port);
    let is_accepted = families.include(observed.ip());
    match () {
        () if endpoints.is_here() && is_accepted => {
            Ok((observed, Audience::EveryoneViaUs(families)))
        }
        () if endpoints.is_here() => {
            let is_v4 = families.include(Ipv4Addr::LOCALHOST.into());
            let ip: IpAddr =
                if is_v4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
            Ok((SocketAddr::new(ip, port), Audience::EveryoneViaUs(families)))
        }
        () if !is_accepted => Err(Refusal::OtherFamily),
        () if is_link_local(observed.ip()) => Ok((observed, Audience::Nearby)),
        () => Ok((observed, Audience::Everyone)),
    }
}

/// A peer that declares its address.
fn declared(
    address: SocketAddr,
    endpoints: Endpoints,
    allowed: &AllowAdvertise,
) -> Result<(SocketAddr, Audience), Refusal> {
    let (ip, is_observed) = (address.ip(), address.ip() == endpoints.remote.ip());
    match () {
        () if ip.is_loopback() => {
            if endpoints.is_here() {
                Ok((address, Audience::Nearby))
            } else {
                Err(Refusal::Meaningless)
            }
        }
        () if is_link_local(ip) => match is_observed {
            true => Ok((at_port(endpoints.remote, address.port()), Audience::Nearby)),
            false => Err(Refusal::Meaningless),
        },
        () if !is_one_host(ip) => Err(Refusal::Meaningless),
        () if is_observed || allowed.includes(ip, endpoints.local.ip()) => {
            Ok((address, Audience::Everyone))
        }
        () => Err(Refusal::OutsideNetworks),
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

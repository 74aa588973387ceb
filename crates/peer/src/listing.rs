//! What a coordinator's answer about our reach means: where it sends other peers, or why nowhere.

use std::net::SocketAddr;

use tnet_net::OwnReach;
use tnet_proto::{Listed, Refusal};

use crate::api::{Listing, ListingProblem};
use crate::coordinator_ends::Ends;

/// Where the coordinator sends other peers, by its answer to what we declared.
pub(crate) fn listing(
    reach: OwnReach,
    listed: Listed,
    observed: SocketAddr,
    ends: Ends,
) -> Listing {
    match listed {
        Listed::Nowhere if !reach.is_here() => {
            let (ip, port) = (reach.listen().ip(), reach.listen().port());
            Listing::Refused(ListingProblem::AddressGone { ip, port })
        }
        Listed::Nowhere => Listing::Nowhere,
        Listed::Refused { refusal } => Listing::Refused(problem(reach, refusal, observed)),
        Listed::At { address } => listing_at(reach, address, observed, ends),
    }
}

fn listing_at(reach: OwnReach, address: SocketAddr, observed: SocketAddr, ends: Ends) -> Listing {
    let is_everywhere = reach.advertise().is_none() && reach.families().is_some();
    let ip = address.ip().to_canonical();
    if is_everywhere && ends.is_direct(observed) && ends.is_on_this_machine() {
        Listing::SameMachine { port: address.port() }
    } else if is_everywhere && ip.is_loopback() {
        Listing::Refused(ListingProblem::Forwarded { seen: ip })
    } else {
        Listing::At(ends.located(address).unwrap_or(address))
    }
}

/// Why the coordinator does not list us.
fn problem(reach: OwnReach, refusal: Refusal, observed: SocketAddr) -> ListingProblem {
    let (seen, listen) = (observed.ip(), reach.listen());
    let (ip, port) = (listen.ip(), listen.port());
    match (refusal, reach.advertise()) {
        (Refusal::OutsideNetworks, Some(declared)) => {
            ListingProblem::OutsideNetworks { ip: declared.ip(), seen, is_advertised: true }
        }
        (Refusal::OutsideNetworks, None) => {
            ListingProblem::OutsideNetworks { ip, seen, is_advertised: false }
        }
        (Refusal::Meaningless, Some(declared)) => {
            ListingProblem::AdvertisesLocal { ip: declared.ip() }
        }
        (Refusal::Meaningless, None) => ListingProblem::ListensLocally { ip, port },
        (Refusal::OtherFamily, _) => ListingProblem::OtherFamily { ip, port, seen },
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn reach(listen: &str, advertise: Option<&str>) -> OwnReach {
        let advertise = advertise.map(|text| text.parse().expect("an address"));
        OwnReach::new(listen.parse().expect("an address"), advertise)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn beside_the_coordinator_others_are_sent_where_they_reach_that() {
        let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let beside = Listing::SameMachine { port: 7401 };
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
                listing(reach(listen, advertise), listed, at(observed), ends),
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
            let listing = listing(reach("[::]:7401", None), listed, observed, ends);
            let seen = ip("127.0.0.1");
            assert_eq!(listing, Listing::Refused(ListingProblem::Forwarded { seen }));
        }
    }

    #[test]
    fn a_refusal_is_told_by_what_was_declared() {
        let seen = ip("198.51.100.2");
        let outside = |is_advertised| {
            let ip = ip("10.0.0.9");
            ListingProblem::OutsideNetworks { ip, seen, is_advertised }
        };
        let local = ListingProblem::ListensLocally { ip: ip("127.0.0.1"), port: 7401 };
        let other = ListingProblem::OtherFamily { ip: ip("0.0.0.0"), port: 7401, seen };
        let link_local = ListingProblem::AdvertisesLocal { ip: ip("169.254.7.2") };
        for (listen, advertise, refusal, expected) in [
            ("[::]:7401", Some("10.0.0.9"), Refusal::OutsideNetworks, outside(true)),
            ("10.0.0.9:7401", None, Refusal::OutsideNetworks, outside(false)),
            ("127.0.0.1:7401", None, Refusal::Meaningless, local),
            ("[::]:7401", Some("169.254.7.2"), Refusal::Meaningless, link_local),
            ("0.0.0.0:7401", None, Refusal::OtherFamily, other),
        ] {
            let observed = SocketAddr::new(seen, 50_000);
            assert_eq!(problem(reach(listen, advertise), refusal, observed), expected);
        }
    }
}

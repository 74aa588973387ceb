//! What a coordinator's answer about our reach means, in words for the user: where it sends other
//! peers, or why nowhere and how to cure it.

use std::net::SocketAddr;

use tnet_net::OwnReach;
use tnet_proto::{Listed, Refusal};

use crate::api::Listing;
use crate::coordinator_ends::Ends;

/// Where the coordinator sends other peers, by its answer to what we declared.
pub(crate) fn listing(
    reach: OwnReach,
    listed: Listed,
    observed: SocketAddr,
    ends: Ends,
) -> Listing {
    match listed {
        Listed::Nowhere if !reach.is_here() => Listing::Refused(explain_gone(reach)),
        Listed::Nowhere => Listing::Nowhere,
        Listed::Refused { refusal } => Listing::Refused(explain(reach, refusal, observed)),
        Listed::At { address } => listing_at(reach, address, observed, ends),
    }
}

fn listing_at(reach: OwnReach, address: SocketAddr, observed: SocketAddr, ends: Ends) -> Listing {
    let is_everywhere = reach.advertise().is_none() && reach.families().is_some();
    let ip = address.ip().to_canonical();
    if is_everywhere && ends.is_direct(observed) && ends.is_on_this_machine() {
        Listing::SameMachine { port: address.port() }
    } else if is_everywhere && ip.is_loopback() {
        Listing::Refused(format!(
            "the coordinator sees us at {ip}, as if we were on its machine: the connection to it is passed on there; give \
             --advertise the address at which others reach this machine"
        ))
    } else {
        Listing::At(ends.located(address).unwrap_or(address))
    }
}

fn explain_gone(reach: OwnReach) -> String {
    let (ip, port) = (reach.listen().ip(), reach.listen().port());
    format!(
        "we accept at {ip} only, which is not an address of this machine any more; use --listen {port}"
    )
}

/// Why the coordinator does not list us, and how to cure it.
fn explain(reach: OwnReach, refusal: Refusal, observed: SocketAddr) -> String {
    let (seen, listen) = (observed.ip(), reach.listen());
    match (refusal, reach.advertise()) {
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
            let said = explain(reach(listen, advertise), refusal, observed);
            assert!(said.contains(cure), "{said}");
        }
    }
}

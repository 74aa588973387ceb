//! Where peers are listed, and what askers are told.

use super::*;

const PORT: u16 = 7401;
const BOTH: Reach = Reach::Everywhere { port: PORT, families: Families::Both };

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// A connection between a peer and us.
fn endpoints(remote: &str, local: &str) -> Endpoints {
    let with_port = |text: &str, port| match text.contains(':') {
        true => address(&format!("[{text}]:{port}")),
        false => address(&format!("{text}:{port}")),
    };
    Endpoints::new(with_port(remote, 50_000), with_port(local, 7400))
}

fn of(reach: Reach, remote: &str, local: &str) -> (PeerLocation, Listed) {
    PeerLocation::of(reach, endpoints(remote, local), &AllowAdvertise::default())
}

fn at(text: &str) -> Reach {
    Reach::At { address: address(text) }
}

/// The address that an asker at `asker`, which has reached the coordinator at `local`, is told.
fn told(location: &PeerLocation, asker: &str, local: &str) -> Option<String> {
    let asker = of(Reach::Nowhere, asker, local).0.viewpoint();
    location.address_for(Some(asker)).map(|address| address.to_string())
}

fn refused(refusal: Refusal) -> Listed {
    Listed::Refused { refusal }
}

#[test]
fn a_peer_that_accepts_everywhere_is_where_it_is_observed() {
    for (remote, local, listed) in [
        ("10.0.0.2", "10.0.0.1", "10.0.0.2:7401"),
        ("::ffff:10.0.0.2", "::ffff:10.0.0.1", "10.0.0.2:7401"),
        ("fd00::2", "fd00::1", "[fd00::2]:7401"),
        ("203.0.113.2", "203.0.113.1", "203.0.113.2:7401"),
    ] {
        let (location, said) = of(BOTH, remote, local);
        assert_eq!(said, Listed::At { address: address(listed) });
        assert_eq!(told(&location, "198.51.100.9", local).as_deref(), Some(listed));
    }
}

#[test]
fn a_family_on_which_it_does_not_accept_is_not_listed() {
    for (families, remote, local) in
        [(Families::V4, "fd00::2", "fd00::1"), (Families::V6, "10.0.0.2", "10.0.0.1")]
    {
        let (location, said) = of(Reach::Everywhere { port: PORT, families }, remote, local);
        assert_eq!((location.listed(), said), (None, refused(Refusal::OtherFamily)));
    }
}

#[test]
fn a_peer_that_accepts_no_connections_is_nowhere() {
    for reach in [
        Reach::Nowhere,
        Reach::Everywhere { port: 0, families: Families::Both },
        at("10.0.0.2:0"),
        at("203.0.113.9:0"),
    ] {
        let (location, said) = of(reach, "10.0.0.2", "10.0.0.1");
        assert_eq!((location.listed(), said), (None, Listed::Nowhere));
    }
}

#[test]
fn a_peer_on_our_machine_is_listed_at_the_address_that_the_asker_reached() {
    for remote in ["127.0.0.1", "::1", "10.0.0.1", "fe80::1%2"] {
        let (location, _) =
            of(BOTH, remote, if remote.contains('1') { remote } else { "10.0.0.1" });
        for (asker, local, expected) in [
            ("10.0.0.2", "10.0.0.1", "10.0.0.1:7401"),
            ("192.168.5.2", "192.168.5.1", "192.168.5.1:7401"), // another network of ours
            ("fd00::2", "fd00::1", "[fd00::1]:7401"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.1:7401"),
        ] {
            assert_eq!(told(&location, asker, local).as_deref(), Some(expected), "{remote}");
        }
    }
}

#[test]
fn of_the_addresses_of_loopback_one_is_told_that_it_was_seen_at() {
    let (location, _) = of(BOTH, "127.0.0.66", "127.0.0.1");
    assert_eq!(told(&location, "127.0.0.1", "127.0.0.1").as_deref(), Some("127.0.0.66:7401"));
    assert_eq!(told(&location, "::1", "::1").as_deref(), Some("[::1]:7401"));
    assert_eq!(told(&location, "10.0.0.2", "10.0.0.1").as_deref(), Some("10.0.0.1:7401"));
}

#[test]
fn a_peer_on_our_machine_with_one_family_is_named_to_askers_that_can_use_it() {
    let v4 = Reach::Everywhere { port: PORT, families: Families::V4 };
    let (location, said) = of(v4, "::1", "::1");
    assert_eq!(said, Listed::At { address: address("127.0.0.1:7401") });
    assert_eq!(told(&location, "10.0.0.2", "10.0.0.1").as_deref(), Some("10.0.0.1:7401"));
    assert_eq!(told(&location, "fd00::2", "fd00::1"), None);
    assert_eq!(told(&location, "::1", "::1").as_deref(), Some("127.0.0.1:7401"));
    let (location, _) = of(v4, "10.0.0.1", "10.0.0.1");
    assert_eq!(told(&location, "fd00::2", "fd00::1").as_deref(), Some("10.0.0.1:7401"));
}

#[test]
fn a_peer_on_loopback_alone_is_for_askers_on_our_machine() {
    for (remote, local) in [("127.0.0.1", "127.0.0.1"), ("10.0.0.1", "10.0.0.1")] {
        let (location, said) = of(at("127.0.0.1:7401"), remote, local);
        assert_eq!(said, Listed::At { address: address("127.0.0.1:7401") });
        assert_eq!(told(&location, "10.0.0.2", "10.0.0.1"), None);
        assert_eq!(told(&location, "10.0.0.1", "10.0.0.1").as_deref(), Some("127.0.0.1:7401"));
        assert_eq!(told(&location, "127.0.0.1", "127.0.0.1").as_deref(), Some("127.0.0.1:7401"));
    }
}

#[test]
fn link_local_addresses_are_for_those_on_the_link() {
    for reach in [BOTH, at("[fe80::2]:7401")] {
        let (location, _) = of(reach, "fe80::2%3", "fe80::1%3");
        assert_eq!(told(&location, "fe80::9%3", "fe80::1%3").as_deref(), Some("[fe80::2%3]:7401"));
        for (asker, local) in [
            ("fe80::9%4", "fe80::1%4"),
            ("fd00::9", "fd00::1"),
            ("10.0.0.9", "10.0.0.1"),
            ("::1", "::1"),
        ] {
            assert_eq!(told(&location, asker, local), None, "{asker}");
        }
    }
    let (location, _) = of(BOTH, "169.254.7.2", "169.254.7.1");
    assert_eq!(told(&location, "169.254.7.3", "169.254.7.1").as_deref(), Some("169.254.7.2:7401"));
    assert_eq!(told(&location, "10.0.0.9", "10.0.0.1"), None);
    assert_eq!(told(&location, "fe80::9%3", "fe80::1%3"), None);
}

#[test]
fn a_peer_on_our_machine_finds_those_on_its_links_over_ipv4() {
    let (location, _) = of(BOTH, "169.254.7.2", "169.254.7.1");
    for asker in ["127.0.0.1", "169.254.7.1", "10.0.0.1", "::1"] {
        assert_eq!(told(&location, asker, asker).as_deref(), Some("169.254.7.2:7401"), "{asker}");
    }
    // Of IPv6 it would have to know on which link, which no message says.
    let (location, _) = of(BOTH, "fe80::2%3", "fe80::1%3");
    assert_eq!(told(&location, "127.0.0.1", "127.0.0.1"), None);
}

#[test]
fn one_family_of_a_peer_on_our_machine_is_for_askers_that_can_use_it() {
    let v6 = Reach::Everywhere { port: PORT, families: Families::V6 };
    let (location, _) = of(v6, "fe80::1%2", "fe80::1%2");
    assert_eq!(told(&location, "fd00::9", "fd00::1").as_deref(), Some("[fd00::1]:7401"));
    assert_eq!(told(&location, "fe80::9%2", "fe80::1%2").as_deref(), Some("[fe80::1]:7401"));
    for (asker, ours) in
        [("169.254.7.2", "169.254.7.1"), ("10.0.0.9", "10.0.0.1"), ("127.0.0.1", "127.0.0.1")]
    {
        assert_eq!(told(&location, asker, ours), None, "{asker}");
    }
    let (location, said) = of(v6, "127.0.0.1", "127.0.0.1");
    assert_eq!(said, Listed::At { address: address("[::1]:7401") });
    assert_eq!(told(&location, "10.0.0.9", "10.0.0.1"), None);
}

#[test]
fn what_is_named_is_found_again_by_the_socket_that_it_means() {
    for (reach, remote, local, asker, ours) in [
        (BOTH, "10.0.0.2", "10.0.0.1", "10.0.0.9", "10.0.0.1"),
        (BOTH, "fe80::2%3", "fe80::1%3", "fe80::9%3", "fe80::1%3"),
        (BOTH, "127.0.0.1", "127.0.0.1", "10.0.0.9", "10.0.0.1"),
        (BOTH, "10.0.0.1", "10.0.0.1", "192.168.5.2", "192.168.5.1"), // listed at one of our addresses, named at another
        (BOTH, "127.0.0.66", "127.0.0.1", "127.0.0.1", "127.0.0.1"),
        (at("10.92.0.2:7401"), "10.91.0.2", "10.91.0.1", "10.91.0.9", "10.91.0.1"),
    ] {
        let (location, _) = of(reach, remote, local);
        let mut named = address(&told(&location, asker, ours).expect("it is named"));
        if let SocketAddr::V6(v6) = &mut named {
            v6.set_scope_id(0); // as on the wire
        }
        let asker = of(Reach::Nowhere, asker, ours).0.viewpoint();
        let site = location.site().expect("it is listed");
        assert!(asker.sites_of(named).any(|found| found == site), "{named}");
    }
}

#[test]
fn the_observed_address_with_another_port_is_always_taken() {
    for (remote, local) in [("203.0.113.2", "203.0.113.1"), ("10.0.0.2", "203.0.113.1")] {
        let declared = SocketAddr::new(address(&format!("{remote}:1")).ip(), 9000);
        let (location, said) = of(Reach::At { address: declared }, remote, local);
        assert_eq!((location.listed(), said), (Some(declared), Listed::At { address: declared }));
    }
}

#[test]
fn another_address_is_taken_within_the_networks_that_we_were_told() {
    let private = AllowAdvertise::default();
    let networks = vec!["203.0.113.0/24".parse().expect("a network")];
    let networks = AllowAdvertise { private: false, networks };
    for (declared, local, allowed, taken) in [
        ("10.92.0.2:7401", "10.91.0.1", &private, true),
        ("10.92.0.2:7401", "198.51.100.1", &private, false),
        ("203.0.113.9:7401", "10.91.0.1", &private, false),
        ("203.0.113.9:7401", "10.91.0.1", &networks, true),
        ("[::ffff:203.0.113.9]:7401", "10.91.0.1", &networks, true),
        ("10.92.0.2:7401", "10.91.0.1", &networks, false),
    ] {
        let (location, said) =
            PeerLocation::of(at(declared), endpoints("10.91.0.2", local), allowed);
        let expected = canonical(address(declared));
        match taken {
            true => assert_eq!(
                (location.listed(), said),
                (Some(expected), Listed::At { address: expected })
            ),
            false => {
                assert_eq!(
                    (location.listed(), said),
                    (None, refused(Refusal::OutsideNetworks)),
                    "{declared}"
                );
            }
        }
    }
}

#[test]
fn an_address_that_means_another_machine_to_others_is_never_accepted() {
    let networks = ["0.0.0.0/0", "::/0"].map(|all| all.parse().expect("all")).to_vec();
    let all = AllowAdvertise { networks, ..AllowAdvertise::default() };
    for declared in [
        "127.0.0.1:7401",
        "[::1]:7401",
        "[::ffff:127.0.0.1]:7401",
        "0.0.0.0:7401",
        "[::]:7401",
        "224.0.0.1:7401",
        "[ff02::1]:7401",
        "255.255.255.255:7401",
        "169.254.1.1:7401",
        "[fe80::9]:7401",
    ] {
        let (location, said) =
            PeerLocation::of(at(declared), endpoints("10.91.0.2", "10.91.0.1"), &all);
        assert_eq!((location.listed(), said), (None, refused(Refusal::Meaningless)), "{declared}");
    }
}

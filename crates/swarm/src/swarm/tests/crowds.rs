//! Many connections of one source, as sentences: what one of them does counts for all that have not
//! proven themselves.

use std::net::SocketAddr;

use tnet_proto::{Holdings, PeerId, PeerMessage};

use super::desk::*;
use crate::{Direction, Output, PeerKey};

/// A full holder at that address. Its port is its number.
fn holder(desk: &mut Desk, ip: &str, number: u16) -> (PeerKey, Vec<Output>) {
    holder_at(desk, SocketAddr::new(ip.parse().unwrap(), number))
}

/// The number of the peer is that of its port.
fn holder_at(desk: &mut Desk, address: SocketAddr) -> (PeerKey, Vec<Output>) {
    let peer = PeerKey(u64::from(address.port()));
    let mut id = [1; 16];
    id[..2].copy_from_slice(&address.port().to_le_bytes());
    desk.connected(peer, PeerId(id), Some(address), Direction::Inbound);
    let open = desk.open_message(FILE, THEIRS, Holdings::Full);
    let outputs = desk.say(peer, open);
    (peer, outputs)
}

/// Sends and stores all that was asked of this peer, until nothing more is; answers with how many
/// chunks that were.
fn delivers(desk: &mut Desk, peer: PeerKey, outputs: &[Output]) -> usize {
    let mut asked_for: Vec<u32> =
        asked(outputs).iter().filter(|ask| ask.0 == peer).map(|ask| ask.1).collect();
    let mut count = 0;
    while let Some(chunk) = asked_for.pop() {
        let mut outputs = desk.arrive(peer, chunk);
        outputs.extend(desk.store(chunk));
        asked_for.extend(asked(&outputs).iter().filter(|ask| ask.0 == peer).map(|ask| ask.1));
        count += 1;
    }
    count
}

#[test]
fn a_silent_crowd_does_not_keep_a_download_from_going_on() {
    for sources in [1, 16] {
        for v6 in [false, true] {
            let ip = |n: u16| if v6 { format!("2001:db8::{n:x}") } else { format!("10.0.1.{n}") };
            let mut desk = Desk::downloading(100, with_slots(10));
            for number in 1..=60 {
                holder(&mut desk, &ip(1 + number % sources), number);
            }
            desk.wait(millis(600));
            let (seed, mut outputs) = holder(&mut desk, "10.0.9.9", 1000);
            outputs.extend(desk.wait(millis(600)));
            let count = delivers(&mut desk, seed, &outputs);
            assert!(count > 70, "{count} of 100 chunks from the seed, {sources} sources, {v6}");
        }
    }
}

/// Each of them sends as much as keeps it from counting as stalled, for ever.
#[test]
fn dripping_connections_with_all_slots_give_way_to_one_that_was_never_asked() {
    for ip in ["10.0.1.", "2001:db8::"] {
        let mut desk = Desk::downloading(100, with_slots(4));
        let crowd: Vec<PeerKey> = (1..=48)
            .map(|number| holder(&mut desk, &format!("{ip}{}", 1 + number % 16), number).0)
            .collect();
        let drip = |desk: &mut Desk| {
            let mut outputs = Vec::new();
            for peer in &crowd {
                let is_asked = desk.swarm.requests.has_open_at(*peer);
                if is_asked {
                    outputs.extend(
                        desk.input(crate::Input::DataReceived { peer: *peer, bytes: 1500 }),
                    );
                }
            }
            outputs.extend(desk.wait(millis(500)));
            outputs
        };
        (0..20).for_each(|_| drop(drip(&mut desk)));
        let (seed, mut outputs) = holder(&mut desk, &format!("{ip}99"), 1000);
        (0..6).for_each(|_| outputs.extend(drip(&mut desk)));
        let count = delivers(&mut desk, seed, &outputs);
        assert!(count > 50, "{count} of 100 chunks from the seed, {ip}");
    }
}

#[test]
fn what_failed_goes_to_one_that_has_proven_itself() {
    let mut desk = Desk::downloading(100, with_slots(4));
    let (seed, outputs) = holder(&mut desk, "10.0.9.9", 1000);
    let (_, chunk) = asked(&outputs)[0];
    desk.arrive(seed, chunk);
    desk.store(chunk);
    let (corrupt, _) = holder(&mut desk, "10.0.1.1", 1);
    for number in 2..=50 {
        holder(&mut desk, "10.0.1.1", number);
    }
    let mut wrong = 0;
    for _ in 0..20 {
        // Whatever is open at the crowd arrives wrong.
        for peer in (1..=50).map(PeerKey) {
            for chunk in desk.open_at(peer) {
                wrong += 1;
                desk.arrive(peer, chunk);
                let again = asked(&desk.corrupt(peer, chunk));
                assert!(again.iter().all(|ask| ask.1 != chunk || ask.0 == seed), "{again:?}");
            }
        }
        desk.input(crate::Input::DataReceived { peer: seed, bytes: 4000 });
        desk.wait(millis(100));
    }
    assert!(wrong <= 4, "{wrong} chunks were asked of {corrupt:?} and its like");
}

#[test]
fn a_corrupt_peer_behind_the_address_of_others_does_not_stop_those_that_have_proven_themselves() {
    let mut desk = Desk::downloading(100, with_slots(4));
    let (honest, outputs) = holder(&mut desk, "10.0.1.1", 1000);
    let (_, chunk) = asked(&outputs)[0];
    desk.arrive(honest, chunk);
    desk.store(chunk);
    for _ in 0..2 {
        desk.swarm.offend(desk.now, [10, 0, 1, 1].into(), tnet_sources::Offence::Corrupt);
    }
    let (_, next) = asked(&outputs)[1];
    let outputs = desk.arrive(honest, next);
    assert_eq!(asked(&outputs).len(), 1);
    // Who comes now is not asked for a while, unless it is the only one left.
    let (newcomer, outputs) = holder(&mut desk, "10.0.1.1", 1001);
    assert_eq!(asked(&outputs), []);
    let outputs = desk.input(crate::Input::PeerLost { peer: honest });
    assert_eq!(asked(&outputs), []);
    assert_eq!(asked(&desk.wait(secs(9))).first().map(|ask| ask.0), Some(newcomer));
}

#[test]
fn one_that_proves_itself_has_half_of_the_slots_whichever_source_holds_them() {
    let mut desk = Desk::downloading(100, with_slots(4));
    // Alone at first it is asked for all four, and keeps us waiting.
    holder(&mut desk, "10.0.1.1", 1);
    for number in 2..=4 {
        holder(&mut desk, &format!("10.0.1.{number}"), number);
    }
    let (seed, _) = holder(&mut desk, "10.0.9.9", 1000);
    let outputs = desk.wait(millis(300));
    let asks = asked(&outputs);
    assert_eq!(asks.len(), 4, "one of each");
    let (_, chunk) = *asks.iter().find(|ask| ask.0 == seed).expect("it is one of four");
    let outputs = [desk.arrive(seed, chunk), desk.store(chunk)].concat();
    let asks = asked(&outputs);
    assert_eq!(
        asks.iter().map(|ask| ask.0).collect::<Vec<_>>(),
        [seed, seed],
        "three are held by others"
    );
}

#[test]
fn what_is_being_verified_counts_as_under_way() {
    let mut desk = Desk::downloading(100, with_slots(16));
    holder(&mut desk, "10.0.2.1", 100);
    let mut asks = Vec::new();
    for number in 1..=20 {
        asks.extend(asked(&holder(&mut desk, "10.0.1.1", number).1));
    }
    // All that is asked of the crowd arrives at once, and none of it is verified yet.
    let mut count = 0;
    while let Some((peer, chunk)) = asks.pop() {
        count += usize::from(peer != PeerKey(100));
        asks.extend(asked(&desk.arrive(peer, chunk)));
    }
    assert!(count <= 2, "{count} chunks of one source");
}

/// They send just enough to be kept: none of them is let go, and whoever was not tried yet is
/// called beside them.
#[test]
fn a_dripping_crowd_with_all_neighbours_does_not_keep_us_from_calling_others() {
    let config = crate::Config { neighbours: 8, ..with_slots(4) };
    let mut desk = Desk::downloading(10, config);
    let crowd: Vec<PeerKey> =
        (1..=8).map(|number| holder(&mut desk, &format!("10.0.1.{number}"), number).0).collect();
    let others: Vec<SocketAddr> =
        (1..=9).map(|host| SocketAddr::from(([10, 0, 2, host], 7401))).collect();
    let mut calls =
        called(&desk.input(crate::Input::Holders { file: FILE, addresses: others.clone() }));
    assert_eq!(calls, []);
    for _ in 0..180 {
        for peer in &crowd {
            desk.input(crate::Input::DataReceived { peer: *peer, bytes: 5000 });
        }
        let outputs = desk.wait(secs(1));
        let let_go = disconnected(&outputs);
        assert!(let_go.iter().all(|(peer, _)| !crowd.contains(peer)), "{let_go:?}");
        for address in called(&outputs).into_iter().filter(|address| others.contains(address)) {
            calls.push(address);
            let number = u8::try_from(calls.len()).unwrap();
            let key = PeerKey(100 + u64::from(number));
            desk.connected(key, PeerId([number; 16]), Some(address), Direction::Outbound);
            let open = desk.open_message(FILE, THEIRS, Holdings::Full);
            desk.say(key, open);
        }
    }
    assert_eq!(sorted(calls), others);
}

#[test]
fn loopback_and_own_addresses_are_taken_only_from_there() {
    let named: Vec<SocketAddr> = [
        "127.0.0.1:22",
        "[::1]:22",
        "[::ffff:127.0.0.1]:22",
        "169.254.1.1:80",
        "0.0.0.1:80",
        "10.0.0.77:80",
    ]
    .iter()
    .map(|text| text.parse().unwrap())
    .collect();
    let calls = |ip: &str| {
        let mut desk = Desk::downloading(10, with_slots(4));
        desk.swarm.note_own([10, 0, 0, 77].into());
        let (namer, _) = holder(&mut desk, ip, 1000);
        called(&desk.say(namer, PeerMessage::Peers { file: THEIRS, peers: named.clone() })).len()
    };
    assert_eq!(calls("10.0.0.5"), 0);
    assert_eq!(calls("169.254.7.7"), 1);
    // 127.0.0.1, which is one address however it is written, ::1, our own address, and one that
    // this machine finds as well as the namer, who is on it.
    assert_eq!(calls("127.0.0.5"), 4);
}

#[test]
fn what_only_this_machine_or_this_link_can_reach_is_named_only_there() {
    let here = ["127.0.0.1:1", "169.254.7.7:2", "[fe80::7%2]:3", "[fe80::7%3]:4"];
    let named_to = |ip: &str| {
        let mut desk = Desk::downloading(10, with_slots(4));
        for address in here.iter().chain(&["10.0.0.9:5"]) {
            holder_at(&mut desk, address.parse().unwrap());
        }
        let (asker, outputs) = holder_at(&mut desk, ip.parse().unwrap());
        let outputs: Vec<_> = outputs.into_iter().chain(desk.wait(secs(180))).collect();
        let named = told(&outputs, asker).into_iter().flat_map(|message| match message {
            PeerMessage::Peers { peers, .. } => peers,
            _ => Vec::new(),
        });
        named.collect::<std::collections::BTreeSet<_>>()
    };
    let of = |all: &[&str]| all.iter().map(|text| text.parse::<SocketAddr>().unwrap()).collect();
    assert_eq!(named_to("10.0.0.5:100"), of(&["10.0.0.9:5"]));
    assert_eq!(named_to("127.0.0.5:100"), of(&["10.0.0.9:5", "127.0.0.1:1", "169.254.7.7:2"]));
    assert_eq!(named_to("169.254.1.5:100"), of(&["10.0.0.9:5", "169.254.7.7:2"]));
    assert_eq!(named_to("[fe80::5%3]:100"), of(&["10.0.0.9:5", "[fe80::7%3]:4"]));
}

#[test]
fn a_link_local_address_is_called_on_the_link_of_its_namer() {
    let mut desk = Desk::downloading(10, with_slots(4));
    let namer = PeerKey(1);
    let address: SocketAddr = "[fe80::1%3]:7401".parse().unwrap();
    desk.connected(namer, PeerId([1; 16]), Some(address), Direction::Outbound);
    let open = desk.open_message(FILE, THEIRS, Holdings::Full);
    desk.say(namer, open);
    let peers = vec!["[fe80::2]:7401".parse().unwrap()];
    let calls = called(&desk.say(namer, PeerMessage::Peers { file: THEIRS, peers }));
    assert_eq!(calls, ["[fe80::2%3]:7401".parse::<SocketAddr>().unwrap()]);
}

#[test]
fn the_link_of_a_namer_that_accepts_no_peers_is_that_of_its_connection() {
    let named = |remote: &str, local: &str| {
        let mut desk = Desk::downloading(10, with_slots(4));
        let namer = PeerKey(1);
        desk.called_from(namer, remote.parse().unwrap(), local.parse().unwrap());
        let open = desk.open_message(FILE, THEIRS, Holdings::Full);
        desk.say(namer, open);
        let peers = vec!["[fe80::2]:7401".parse().unwrap()];
        called(&desk.say(namer, PeerMessage::Peers { file: THEIRS, peers }))
    };
    let on_link = named("[fe80::1%3]:50000", "[fe80::9%3]:7401");
    assert_eq!(on_link, ["[fe80::2%3]:7401".parse::<SocketAddr>().unwrap()]);
    assert_eq!(
        named("169.254.7.1:50000", "169.254.7.2:7401"),
        [],
        "of IPv4 the interface is not known"
    );
    assert_eq!(named("10.0.0.1:50000", "10.0.0.2:7401"), []);
}

//! The address book against its bounds: `check` compares the index with a scan after each step.

use proptest::prelude::*;
use rand::SeedableRng;

use super::*;

const MAX: usize = 8;
const PAUSE: Pause = Pause { first: Duration::from_millis(500), most: Duration::from_secs(30) };

fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 7401))
}

fn file(n: u8) -> FileKey {
    FileKey(u32::from(n))
}

/// The source that names addresses in most of these tests.
const NAMER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 0, 1));

fn learn(book: &mut AddressBook, n: u8, by: NamedBy) {
    match by {
        NamedBy::Coordinator => book.learn(address(n), file(1)),
        NamedBy::Peer => book.learn_from(NAMER, address(n), file(1), Time::ZERO),
    };
}

fn book_of(addresses: u8, by: NamedBy) -> AddressBook {
    let mut book = AddressBook::new(MAX);
    for n in 0..addresses {
        learn(&mut book, n, by);
    }
    book
}

/// Addresses of the property: forty ports at each of three hosts.
const ADDRESSES: u8 = 120;

fn port_of_three(n: u8) -> SocketAddr {
    at([10, 0, 0, 1 + n % 3], 1 + u16::from(n / 3))
}

/// Named by the coordinator, a stranger, another stranger, or a peer at the address itself.
fn namer(by: u8, address: SocketAddr) -> Option<IpAddr> {
    match by {
        0 => None,
        1 | 2 => Some([10, 1, 0, by].into()),
        _ => Some(address.ip()),
    }
}

#[derive(Debug, Clone)]
enum Step {
    Learn(u8, u8, u8),
    Unlearn(u8, u8),
    ForgetFile(u8),
    /// Those that are chosen.
    Call(u8, usize),
    /// A call, if one is under way.
    Answer(u8, u64),
    Fail(u8),
    Declare(u8, u64),
    /// Callers say that they are there, open a file and are gone: ten, one after another.
    ComeAndGo(u8, u8),
    Confirm(u8, u64),
    Full(u8),
    Lose(u8, u64),
    Avoid(u8),
    Strike(u8),
    Deafen(u8),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (n, f) = (0..ADDRESSES, 0..3u8);
    prop_oneof![
        9 => (n.clone(), f.clone(), 0..5u8).prop_map(|(n, f, by)| Step::Learn(n, f, by)),
        1 => (n.clone(), f.clone()).prop_map(|(n, f)| Step::Unlearn(n, f)),
        1 => f.clone().prop_map(Step::ForgetFile),
        3 => (f.clone(), 0..4usize).prop_map(|(f, wanted)| Step::Call(f, wanted)),
        2 => (n.clone(), 0..4u64).prop_map(|(n, peer)| Step::Answer(n, peer)),
        3 => n.clone().prop_map(Step::Fail),
        2 => (n.clone(), 0..4u64).prop_map(|(n, peer)| Step::Declare(n, peer)),
        3 => (n.clone(), f).prop_map(|(n, f)| Step::ComeAndGo(n, f)),
        1 => (n.clone(), 0..4u64).prop_map(|(n, peer)| Step::Confirm(n, peer)),
        1 => n.clone().prop_map(Step::Full),
        2 => (n.clone(), 0..4u64).prop_map(|(n, peer)| Step::Lose(n, peer)),
        1 => n.clone().prop_map(Step::Avoid),
        1 => n.clone().prop_map(Step::Strike),
        1 => n.prop_map(Step::Deafen),
        1 => (0..50_000u64).prop_map(Step::Wait),
    ]
}

/// One of the calls under way, the n-th in a circle.
fn call_under_way(book: &AddressBook, n: u8) -> Option<SocketAddr> {
    let calling =
        |n: u8| Some(port_of_three(n)).filter(|at| book.contact(*at) == Some(Contact::Calling));
    (0..ADDRESSES).find_map(|k| calling((n + k) % ADDRESSES))
}

fn take(book: &mut AddressBook, step: Step, now: &mut Time, rng: &mut StdRng) {
    let address = port_of_three;
    match step {
        Step::Learn(n, f, by) => {
            match namer(by, address(n)) {
                None => book.learn(address(n), file(f)),
                Some(namer) => book.learn_from(namer, address(n), file(f), *now),
            };
        }
        Step::Unlearn(n, f) => book.unlearn(address(n), file(f)),
        Step::ForgetFile(f) => book.forget_file(file(f)),
        Step::Call(f, wanted) => {
            for address in book.choose(file(f), *now, wanted, rng) {
                book.set_calling(address);
            }
        }
        Step::Answer(n, peer) => {
            if let Some(address) = call_under_way(book, n) {
                book.set_reached(address, PeerKey(peer));
            }
        }
        Step::Fail(n) => {
            if let Some(address) = call_under_way(book, n) {
                book.set_failed(address, *now, PAUSE);
            }
        }
        Step::Declare(n, peer) => book.declare(address(n), PeerKey(peer), *now),
        Step::ComeAndGo(n, f) => {
            for address in (0..10).map(|k| address((n + 3 * k) % ADDRESSES)) {
                book.declare(address, PeerKey(9), *now);
                book.learn_from(address.ip(), address, file(f), *now);
                book.set_lost(address, PeerKey(9), *now, PAUSE);
            }
        }
        Step::Confirm(n, peer) => book.confirm(address(n), PeerKey(peer), *now),
        Step::Full(n) => book.note_full(address(n)),
        Step::Lose(n, peer) => book.set_lost(address(n), PeerKey(peer), *now, PAUSE),
        Step::Avoid(n) => {
            book.avoid(address(n), *now + Duration::from_secs(10), ByeReason::VIOLATION)
        }
        Step::Strike(n) => drop(book.strike(address(n))),
        Step::Deafen(n) => book.forget_hearsay(|namer| namer == address(n).ip()),
        Step::Wait(milliseconds) => *now = *now + Duration::from_millis(milliseconds),
    }
}

proptest! {
    #[test]
    fn the_book_is_indexed_and_bounded_whatever_happens(steps in prop::collection::vec(step(), 0..120)) {
        let mut book = AddressBook::new(80);
        let mut rng = StdRng::seed_from_u64(1);
        let mut now = Time::ZERO;
        for step in steps {
            take(&mut book, step, &mut now, &mut rng);
            book.check();
            for f in 0..3 {
                let chosen = book.choose(file(f), now, 3, &mut rng);
                let due = book.next_callable(file(f)).is_some_and(|at| at <= now);
                prop_assert!(due || chosen.is_empty());
                prop_assert!(!due || !chosen.is_empty() || book.calling() > 0);
                prop_assert!(chosen.iter().all(|address| book.files(*address).any(|known| known == file(f))));
            }
            for host in 0..3 {
                let ports = (0..ADDRESSES / 3).map(|port| port_of_three(port * 3 + host));
                let unproven = ports.filter_map(|address| book.entries.get(&address));
                let unproven = unproven.filter(|entry| entry.is_unproven() && entry.contact == Contact::Calling);
                prop_assert!(unproven.count() <= 1, "calls to one host for hearsay");
            }
        }
    }
}

#[test]
fn what_peers_name_does_not_displace_anything_that_may_be_good() {
    let mut book = book_of(8, NamedBy::Coordinator);
    learn(&mut book, 100, NamedBy::Peer);
    assert_eq!((book.known(file(1)), book.contact(address(100))), (8, None));
}

#[test]
fn what_the_coordinator_names_displaces_what_peers_named() {
    let mut book = book_of(8, NamedBy::Peer);
    learn(&mut book, 100, NamedBy::Coordinator);
    assert_eq!(book.known(file(1)), 8);
    assert!(book.contact(address(100)).is_some());
}

#[test]
fn an_address_that_failed_makes_room_for_a_new_one() {
    let mut book = book_of(8, NamedBy::Peer);
    book.set_calling(address(3));
    book.set_failed(address(3), Time::ZERO, PAUSE);
    learn(&mut book, 100, NamedBy::Peer);
    assert_eq!(book.contact(address(3)), None);
    assert!(book.contact(address(100)).is_some());
}

#[test]
fn addresses_of_the_coordinator_are_called_before_those_of_peers() {
    let mut book = book_of(4, NamedBy::Peer);
    learn(&mut book, 100, NamedBy::Coordinator);
    let chosen = book.choose(file(1), Time::ZERO, 1, &mut StdRng::seed_from_u64(1));
    assert_eq!(chosen, [address(100)]);
}

#[test]
fn pauses_double_up_to_the_longest_and_start_anew_after_a_chunk() {
    let mut book = book_of(1, NamedBy::Coordinator);
    let pause_after_failure = |book: &mut AddressBook| {
        book.set_calling(address(0));
        book.set_failed(address(0), Time::ZERO, PAUSE);
        book.next_callable(file(1)).unwrap().elapsed().as_millis()
    };
    let pauses: Vec<u128> = (0..9).map(|_| pause_after_failure(&mut book)).collect();
    assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
    book.set_calling(address(0));
    book.set_reached(address(0), PeerKey(1));
    book.confirm(address(0), PeerKey(1), Time::ZERO);
    assert_eq!(book.entries[&address(0)].failures, 0);
}

#[test]
fn avoided_addresses_cannot_fill_the_book() {
    let mut book = book_of(4, NamedBy::Coordinator);
    for n in 50..150 {
        book.avoid(address(n), Time::ZERO + Duration::from_secs(u64::from(n)), ByeReason::BANNED);
        book.check();
    }
    // The longest are kept.
    assert_eq!(book.avoided(address(149), Time::ZERO), Some(ByeReason::BANNED));
    assert_eq!(book.avoided(address(50), Time::ZERO), None);
    assert_eq!(book.known(file(1)), 4);
}

fn at(ip: [u8; 4], port: u16) -> SocketAddr {
    SocketAddr::from((ip, port))
}

/// Calls what may be called, until nothing may be or so many calls have failed; answers with the
/// calls.
fn calls_that_fail(book: &mut AddressBook, now: Time, most: usize) -> Vec<SocketAddr> {
    let mut rng = StdRng::seed_from_u64(1);
    let mut calls = Vec::new();
    while calls.len() < most {
        let chosen = book.choose(file(1), now, 50, &mut rng);
        if chosen.is_empty() {
            break;
        }
        for address in chosen {
            book.set_calling(address);
            book.set_failed(address, now, PAUSE);
            calls.push(address);
        }
        book.check();
    }
    calls
}

#[test]
fn of_a_host_that_was_named_one_port_is_called_at_a_time_and_two_until_the_pause_is_over() {
    let mut book = AddressBook::new(4096);
    for port in 1..=20 {
        book.learn_from(NAMER, at([10, 0, 0, 9], port), file(1), Time::ZERO);
    }
    let chosen = book.choose(file(1), Time::ZERO, 50, &mut StdRng::seed_from_u64(1));
    assert_eq!(chosen.len(), 1);
    assert_eq!(calls_that_fail(&mut book, Time::ZERO, 99).len(), 2);
    // Naming others does not help, nor naming them in the name of another file or host of the same
    // network.
    for port in 100..=120 {
        book.learn_from(NAMER, at([10, 0, 0, 9], port), file(2), Time::ZERO);
    }
    assert_eq!(calls_that_fail(&mut book, Time::ZERO + Duration::from_secs(29), 99), []);
}

#[test]
fn hearsay_about_a_host_that_came_to_nothing_does_not_count_against_another_source() {
    let mut book = AddressBook::new(4096);
    book.learn_from(NAMER, at([10, 0, 0, 9], 1), file(1), Time::ZERO);
    book.learn_from(NAMER, at([10, 0, 0, 9], 2), file(1), Time::ZERO);
    assert_eq!(calls_that_fail(&mut book, Time::ZERO, 99).len(), 2);
    let good = at([10, 0, 0, 9], 7401);
    book.learn_from([10, 1, 0, 2].into(), good, file(1), Time::ZERO);
    assert_eq!(calls_that_fail(&mut book, Time::ZERO, 99), [good]);
}

#[test]
fn a_source_may_name_so_many_however_many_files_it_is_for() {
    let mut book = AddressBook::new(4096);
    for n in 0..200 {
        book.learn_from(NAMER, at([10, 2, 0, n], 7401), file(n % 20), Time::ZERO);
    }
    assert_eq!(book.known_in_all(), 32);
    // One that is known by now, or that the coordinator names, is none of them.
    book.set_reached(at([10, 2, 0, 0], 7401), PeerKey(1));
    book.learn(at([10, 2, 0, 1], 7401), file(1));
    for n in 100..200 {
        book.learn_from(NAMER, at([10, 2, 0, n], 7401), file(1), Time::ZERO);
    }
    book.check();
    assert_eq!(book.known_in_all(), 34);
}

#[test]
fn peers_behind_one_address_are_all_called_when_the_calls_are_answered() {
    for by in [NamedBy::Coordinator, NamedBy::Peer] {
        let mut book = AddressBook::new(4096);
        for port in 1..=16 {
            let address = at([10, 0, 0, 9], port);
            match by {
                NamedBy::Coordinator => book.learn(address, file(1)),
                NamedBy::Peer => book.learn_from(NAMER, address, file(1), Time::ZERO),
            };
        }
        let (mut rng, mut connected) = (StdRng::seed_from_u64(1), 0);
        loop {
            let chosen = book.choose(file(1), Time::ZERO, 50, &mut rng);
            if chosen.is_empty() {
                break;
            }
            for address in chosen {
                connected += 1;
                book.set_calling(address);
                book.set_reached(address, PeerKey(connected));
            }
        }
        assert_eq!(connected, 16, "{by:?}");
    }
}

#[test]
fn a_port_that_was_squatted_is_called_for_the_next_source_that_names_it_and_only_once() {
    let mut book = AddressBook::new(4096);
    for port in 1..=5 {
        book.learn_from(NAMER, at([10, 0, 0, 9], port), file(1), Time::ZERO);
    }
    let calls = calls_that_fail(&mut book, Time::ZERO, 99);
    let left = (1..=5)
        .map(|port| at([10, 0, 0, 9], port))
        .find(|address| !calls.contains(address))
        .unwrap();
    book.learn_from([10, 1, 0, 2].into(), left, file(1), Time::ZERO);
    assert_eq!(calls_that_fail(&mut book, Time::ZERO, 99), [left]);
    // It does not go on: another port for it, and it has had its two.
    for port in 1..=5 {
        book.learn_from([10, 1, 0, 2].into(), at([10, 0, 0, 9], port), file(1), Time::ZERO);
    }
    assert_eq!(calls_that_fail(&mut book, Time::ZERO, 99).len(), 1);
}

#[test]
fn hosts_of_one_prefix_have_few_calls_to_one_host_made_together() {
    let mut book = AddressBook::new(4096);
    for n in 1..=40u16 {
        let namer: IpAddr = format!("2001:db8::{n:x}").parse().unwrap();
        for port in 1..=3 {
            book.learn_from(namer, at([10, 0, 0, 9], n * 3 + port), file(1), Time::ZERO);
        }
    }
    assert_eq!(calls_that_fail(&mut book, Time::ZERO, 99).len(), 8);
}

#[test]
fn a_declared_port_is_no_proof_until_a_chunk_of_its_peer_verified() {
    let mut book = book_of(1, NamedBy::Peer);
    book.declare(address(0), PeerKey(1), Time::ZERO);
    assert!(book.entries[&address(0)].is_unproven());
    book.confirm(address(0), PeerKey(2), Time::ZERO);
    assert!(book.entries[&address(0)].is_unproven());
    book.confirm(address(0), PeerKey(1), Time::ZERO);
    assert!(!book.entries[&address(0)].is_unproven());
    assert!(matches!(book.contact(address(0)), Some(Contact::Declared { .. })));
}

#[test]
fn each_host_has_its_turn_before_one_has_a_second_one() {
    let mut book = AddressBook::new(100);
    for port in 1..=60 {
        book.learn(SocketAddr::from(([10, 0, 0, 1], port)), file(1));
    }
    let lonely = SocketAddr::from(([10, 0, 0, 2], 7401));
    book.learn(lonely, file(1));
    for seed in 0..20 {
        let chosen = book.choose(file(1), Time::ZERO, 2, &mut StdRng::seed_from_u64(seed));
        assert!(chosen.contains(&lonely), "{chosen:?}");
    }
}

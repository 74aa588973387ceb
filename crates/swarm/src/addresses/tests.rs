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

/// Who names addresses in these tests.
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

#[derive(Debug, Clone)]
enum Step {
    Learn(u8, u8, bool),
    Unlearn(u8, u8),
    ForgetFile(u8),
    Call(u8),
    Connect(u8, u64),
    Claim(u8, u64),
    Confirm(u8, u64),
    Full(u8),
    Lose(u8, u64),
    Fail(u8),
    Avoid(u8),
    Deliver(u8),
    Strike(u8),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (n, f) = (0..20u8, 0..3u8);
    prop_oneof![
        6 => (n.clone(), f.clone(), any::<bool>()).prop_map(|(n, f, by)| Step::Learn(n, f, by)),
        1 => (n.clone(), f.clone()).prop_map(|(n, f)| Step::Unlearn(n, f)),
        1 => f.prop_map(Step::ForgetFile),
        3 => n.clone().prop_map(Step::Call),
        2 => (n.clone(), 0..4u64).prop_map(|(n, peer)| Step::Connect(n, peer)),
        2 => (n.clone(), 0..4u64).prop_map(|(n, peer)| Step::Claim(n, peer)),
        1 => (n.clone(), 0..4u64).prop_map(|(n, peer)| Step::Confirm(n, peer)),
        1 => n.clone().prop_map(Step::Full),
        2 => (n.clone(), 0..4u64).prop_map(|(n, peer)| Step::Lose(n, peer)),
        2 => n.clone().prop_map(Step::Fail),
        1 => n.clone().prop_map(Step::Avoid),
        1 => n.clone().prop_map(Step::Deliver),
        1 => n.prop_map(Step::Strike),
        1 => (0..5000u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn the_book_is_indexed_and_bounded_whatever_happens(steps in prop::collection::vec(step(), 0..120)) {
        let mut book = AddressBook::new(MAX);
        let mut rng = StdRng::seed_from_u64(1);
        let mut now = Time::ZERO;
        for step in steps {
            match step {
                Step::Learn(n, f, true) => drop(book.learn(address(n), file(f))),
                Step::Learn(n, f, false) => drop(book.learn_from(NAMER, address(n), file(f), now)),
                Step::Unlearn(n, f) => book.unlearn(address(n), file(f)),
                Step::ForgetFile(f) => book.forget_file(file(f)),
                Step::Call(n) => book.set_calling(address(n)),
                Step::Connect(n, peer) => drop(book.set_reached(address(n), PeerKey(peer))),
                Step::Claim(n, peer) => book.claim(address(n), PeerKey(peer), now),
                Step::Confirm(n, peer) => book.confirm(address(n), PeerKey(peer)),
                Step::Full(n) => book.note_full(address(n)),
                Step::Lose(n, peer) => book.set_lost(address(n), PeerKey(peer), now, PAUSE),
                Step::Fail(n) => drop(book.set_failed(address(n), now, PAUSE)),
                Step::Avoid(n) => book.avoid(address(n), now + Duration::from_secs(10), ByeReason::VIOLATION),
                Step::Deliver(n) => book.delivered(address(n)),
                Step::Strike(n) => drop(book.strike(address(n))),
                Step::Wait(milliseconds) => now = now + Duration::from_millis(milliseconds),
            }
            book.check();
            for f in 0..3 {
                let chosen = book.choose(file(f), now, 3, &mut rng);
                let due = book.next_callable(file(f)).is_some_and(|at| at <= now);
                prop_assert_eq!(due, !chosen.is_empty());
                prop_assert!(chosen.iter().all(|address| book.files(*address).any(|known| known == file(f))));
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
    book.delivered(address(0));
    assert_eq!(pause_after_failure(&mut book), 500);
}

#[test]
fn who_is_avoided_cannot_fill_the_book() {
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

/// Calls what may be called, until nothing may be or so many calls have failed; answers with the calls.
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
fn of_a_host_that_was_claimed_one_port_is_called_at_a_time_and_two_until_the_pause_is_over() {
    let mut book = AddressBook::new(4096);
    for port in 1..=20 {
        book.learn_from(NAMER, at([10, 0, 0, 9], port), file(1), Time::ZERO);
    }
    let chosen = book.choose(file(1), Time::ZERO, 50, &mut StdRng::seed_from_u64(1));
    assert_eq!(chosen.len(), 1);
    assert_eq!(calls_that_fail(&mut book, Time::ZERO, 99).len(), 2);
    // Naming others does not help, nor naming them in the name of another file or host of the same network.
    for port in 100..=120 {
        book.learn_from(NAMER, at([10, 0, 0, 9], port), file(2), Time::ZERO);
    }
    assert_eq!(calls_that_fail(&mut book, Time::ZERO + Duration::from_secs(29), 99), []);
}

#[test]
fn claims_about_a_host_that_come_to_nothing_give_way_to_those_of_another_source() {
    let mut book = AddressBook::new(4096);
    book.learn_from(NAMER, at([10, 0, 0, 9], 1), file(1), Time::ZERO);
    book.learn_from(NAMER, at([10, 0, 0, 9], 2), file(1), Time::ZERO);
    assert_eq!(calls_that_fail(&mut book, Time::ZERO, 99).len(), 2);
    let good = at([10, 0, 0, 9], 7401);
    book.learn_from([10, 1, 0, 2].into(), good, file(1), Time::ZERO);
    assert_eq!(calls_that_fail(&mut book, Time::ZERO, 99), [good]);
}

#[test]
fn a_source_may_claim_so_much_however_many_files_it_is_for() {
    let mut book = AddressBook::new(4096);
    for n in 0..200 {
        book.learn_from(NAMER, at([10, 2, 0, n], 7401), file(n % 20), Time::ZERO);
    }
    assert_eq!(book.len(), 32);
    // One that is known by now, or that the coordinator names, is none of them.
    book.set_reached(at([10, 2, 0, 0], 7401), PeerKey(1));
    book.learn(at([10, 2, 0, 1], 7401), file(1));
    for n in 100..200 {
        book.learn_from(NAMER, at([10, 2, 0, n], 7401), file(1), Time::ZERO);
    }
    book.check();
    assert_eq!(book.len(), 34);
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

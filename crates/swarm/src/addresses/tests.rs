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

fn book_of(addresses: u8, by: NamedBy) -> AddressBook {
    let mut book = AddressBook::new(MAX);
    for n in 0..addresses {
        book.learn(address(n), file(1), by);
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
                Step::Learn(n, f, true) => drop(book.learn(address(n), file(f), NamedBy::Coordinator)),
                Step::Learn(n, f, false) => drop(book.learn(address(n), file(f), NamedBy::Peer)),
                Step::Unlearn(n, f) => book.unlearn(address(n), file(f)),
                Step::ForgetFile(f) => book.forget_file(file(f)),
                Step::Call(n) => book.set_calling(address(n)),
                Step::Connect(n, peer) => book.set_connected(address(n), PeerKey(peer)),
                Step::Lose(n, peer) => book.set_lost(address(n), PeerKey(peer), now, PAUSE),
                Step::Fail(n) => book.set_failed(address(n), now, PAUSE),
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
    book.learn(address(100), file(1), NamedBy::Peer);
    assert_eq!((book.known(file(1)), book.contact(address(100))), (8, None));
}

#[test]
fn what_the_coordinator_names_displaces_what_peers_named() {
    let mut book = book_of(8, NamedBy::Peer);
    book.learn(address(100), file(1), NamedBy::Coordinator);
    assert_eq!(book.known(file(1)), 8);
    assert!(book.contact(address(100)).is_some());
}

#[test]
fn an_address_that_failed_makes_room_for_a_new_one() {
    let mut book = book_of(8, NamedBy::Peer);
    book.set_calling(address(3));
    book.set_failed(address(3), Time::ZERO, PAUSE);
    book.learn(address(100), file(1), NamedBy::Peer);
    assert_eq!(book.contact(address(3)), None);
    assert!(book.contact(address(100)).is_some());
}

#[test]
fn addresses_of_the_coordinator_are_called_before_those_of_peers() {
    let mut book = book_of(4, NamedBy::Peer);
    book.learn(address(100), file(1), NamedBy::Coordinator);
    let chosen = book.choose(file(1), Time::ZERO, 1, &mut StdRng::seed_from_u64(1));
    assert_eq!(chosen, [address(100)]);
}

#[test]
fn pauses_double_up_to_the_longest_and_start_anew_after_a_chunk() {
    let mut book = book_of(1, NamedBy::Peer);
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

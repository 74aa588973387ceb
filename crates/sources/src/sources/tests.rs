//! What a source that names addresses loses by it, and what it may make up for.

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// The host is connected and names so many addresses where no peer is. Whether it, or its network,
/// has lost the right to name any.
fn names_falsely(sources: &mut Sources, host: &str, times: u32) -> bool {
    sources.connected(ip(host));
    (0..times)
        .map(|_| sources.named_falsely(Time::ZERO, ip(host)))
        .fold(false, |any, deaf| any | deaf)
}

#[test]
fn a_good_name_makes_up_for_a_false_one_once_for_each_host() {
    let mut sources = Sources::default();
    assert!(!names_falsely(&mut sources, "10.0.0.1", 7));
    for _ in 0..25 {
        sources.named_well(ip("10.0.0.1"), ip("10.0.0.1"));
    }
    assert!(!names_falsely(&mut sources, "10.0.0.1", 1));
    assert!(names_falsely(&mut sources, "10.0.0.1", 1));
    let mut sources = Sources::default();
    names_falsely(&mut sources, "10.0.0.1", 7);
    for n in 0..7 {
        sources.named_well(ip("10.0.0.1"), [10, 0, 1, n].into());
    }
    assert!(!names_falsely(&mut sources, "10.0.0.1", 7));
}

#[test]
fn one_that_names_falsely_does_not_take_the_right_from_others_of_its_prefix() {
    let mut sources = Sources::default();
    let (evil, good, newcomer) = (ip("2001:db8::1"), ip("2001:db8::2"), ip("2001:db8::3"));
    sources.connected(good);
    sources.connected(newcomer);
    sources.named_well(good, ip("10.0.0.1"));
    assert!(names_falsely(&mut sources, "2001:db8::1", 8));
    assert!(!sources.may_name(Time::ZERO, evil));
    assert!(sources.may_name(Time::ZERO, newcomer), "eight are not enough for a network");
    for n in 0..40 {
        names_falsely(&mut sources, &format!("2001:db8::5:{n:x}"), 1);
    }
    assert!(!sources.may_name(Time::ZERO, newcomer));
    assert!(sources.may_name(Time::ZERO, good), "it has named a peer that was there");
}

#[test]
fn rides_are_remembered_of_few_files_and_for_a_while() {
    let mut sources = Sources::default();
    let free_rider = ip("10.0.0.1");
    sources.connected(free_rider);
    for file in 0..100u32 {
        let now = Time::after_start(Duration::from_secs(file.into()));
        sources.note_free_rides(now, free_rider, FileKey(file), 5);
    }
    let now = Time::after_start(Duration::from_secs(100));
    assert_eq!(sources.free_rides(now, free_rider, FileKey(99)), 5);
    assert_eq!(sources.free_rides(now, free_rider, FileKey(83)), 0);
    sources.disconnected(now, free_rider);
    assert_eq!(sources.free_rides(now, free_rider, FileKey(99)), 5);
    assert_eq!(sources.free_rides(now + FORGIVEN_AFTER, free_rider, FileKey(99)), 0);
}

#[test]
fn a_source_that_sends_corrupt_chunks_again_rests_longer() {
    let mut sources = Sources::default();
    let corrupt = ip("10.0.0.1");
    sources.connected(corrupt);
    let mut now = Time::ZERO;
    let mut rests = Vec::new();
    for _ in 0..6 {
        sources.offend(now, corrupt, Offence::Corrupt);
        let until = sources.next_rest(now);
        assert_eq!(sources.is_resting(now, corrupt), until.is_some());
        rests.push(until.map_or(0, |until| (until - now).as_secs()));
        now = until.unwrap_or(now);
        assert!(!sources.is_resting(now, corrupt));
    }
    assert_eq!(rests, [0, 8, 16, 32, 32, 32], "one may be chance");
}

#[test]
fn the_rest_of_one_that_is_gone_is_watched() {
    let mut sources = Sources::default();
    let corrupt = ip("10.0.0.1");
    sources.connected(corrupt);
    sources.offend(Time::ZERO, corrupt, Offence::Corrupt);
    sources.disconnected(Time::ZERO, corrupt);
    sources.offend(Time::ZERO, corrupt, Offence::Corrupt);
    assert_eq!(sources.next_rest(Time::ZERO), Some(Time::ZERO + FIRST_REST));
}

//! The registry as its caller sees it: each request answered once, pushes in time, nothing after a
//! close.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::SeedableRng;
use tnet_proto::{Availability, PeerId};

use super::table::{Introduction, Scope};
use super::*;

const FILE: FileHash = FileHash::from_bytes([7; 32]);
const INTERVAL: Duration = Duration::from_secs(10);

fn registry() -> Registry {
    Registry::new(&Config::default(), StdRng::seed_from_u64(1))
}

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn hello(number: u8) -> Hello {
    let observed = ([10, 0, 0, number], 7401).into();
    let introduction = Introduction::seen_at(observed, PeerId([number; 16]), INTERVAL);
    Hello { introduction, observed, listed: Listed::At { address: observed } }
}

fn report(seq: u64, availability: Availability) -> Request {
    let entries = vec![ReportEntry { hash: *FILE.as_bytes(), size: 1, availability }];
    Request::Report { seq, scope: Scope::Changes, entries }
}

fn ask(registry: &mut Registry, now: Duration, epoch: u64, request: Request) {
    registry.handle_input(now, Input::Request { epoch: Epoch(epoch), request });
}

fn outputs(registry: &mut Registry) -> Vec<Output> {
    std::iter::from_fn(|| registry.poll_output()).collect()
}

/// Does what is due, and counts the holders that each connection is told of.
fn holders_told(registry: &mut Registry, now: Duration) -> Vec<(u64, usize)> {
    while registry.handle_timeout(now) == SweepStatus::More {}
    let told = outputs(registry).into_iter().filter_map(|output| match output {
        Output::Answer { epoch, reply: Some(CoordinatorReply::Holders { holders, .. }) }
        | Output::Push { epoch, reply: CoordinatorReply::Holders { holders, .. } } => {
            Some((epoch.0, holders.len()))
        }
        _ => None,
    });
    told.collect()
}

#[test]
fn a_watcher_hears_of_new_holders_at_once_and_then_once_a_second() {
    let mut registry = registry();
    for number in 1..=3 {
        let input = Input::Hello { epoch: Epoch(u64::from(number)), hello: hello(number) };
        registry.handle_input(at(0), input);
    }
    ask(&mut registry, at(0), 1, Request::Watch(FILE));
    assert_eq!(holders_told(&mut registry, at(0)), [(1, 0)]);

    ask(&mut registry, at(5), 2, report(1, Availability::Full));
    assert_eq!(holders_told(&mut registry, at(5)), [(1, 1)]);

    ask(&mut registry, at(6), 3, report(1, Availability::Full));
    assert_eq!(holders_told(&mut registry, at(6)), []);
    assert_eq!(registry.next_timeout(), Some(at(1005)));
    assert_eq!(holders_told(&mut registry, at(1005)), [(1, 2)]);
}

#[test]
fn a_watcher_is_not_pushed_the_news_of_itself() {
    let mut registry = registry();
    registry.handle_input(at(0), Input::Hello { epoch: Epoch(1), hello: hello(1) });
    ask(&mut registry, at(0), 1, Request::Watch(FILE));
    ask(&mut registry, at(0), 1, report(1, Availability::Partial));
    outputs(&mut registry);
    assert_eq!(holders_told(&mut registry, at(0)), []);
}

#[test]
fn a_refused_peer_gets_the_reason_and_is_closed() {
    let table = table::TableLimits { max_peers: 1, ..Config::default().table };
    let config = Config { table, ..Config::default() };
    let mut registry = Registry::new(&config, StdRng::seed_from_u64(1));
    registry.handle_input(at(0), Input::Hello { epoch: Epoch(1), hello: hello(1) });
    outputs(&mut registry);
    registry.handle_input(at(0), Input::Hello { epoch: Epoch(2), hello: hello(2) });
    let epoch = Epoch(2);
    let reply = Some(CoordinatorReply::LimitReached { limit: Limit::ConnectionsTotal, value: 1 });
    assert_eq!(outputs(&mut registry), [Output::Answer { epoch, reply }, Output::Close { epoch }]);
    ask(&mut registry, at(1), 2, Request::Lookup(FILE));
    assert_eq!(outputs(&mut registry), []);
    assert_eq!(registry.stats().connections, 1);
}

#[test]
fn a_silent_peer_is_closed_when_its_lease_ends_and_a_pause_of_ours_is_not_its_silence() {
    let mut registry = registry();
    registry.handle_input(at(0), Input::Hello { epoch: Epoch(1), hello: hello(1) });
    outputs(&mut registry);
    let lease = registry.next_timeout().expect("a lease");
    registry.handle_pause(lease);
    registry.handle_timeout(lease);
    assert_eq!(outputs(&mut registry), []);
    let renewed = registry.next_timeout().expect("another lease");
    assert_eq!(renewed, lease * 2);
    registry.handle_timeout(renewed);
    assert_eq!(outputs(&mut registry), [Output::Close { epoch: Epoch(1) }]);
    assert_eq!(registry.stats().expired, 1);
}

#[derive(Debug, Clone)]
enum Step {
    Hello,
    Ask(u8, u8),
    End(u8),
    Wait(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        Just(Step::Hello),
        (any::<u8>(), 0..6_u8).prop_map(|(who, what)| Step::Ask(who, what)),
        any::<u8>().prop_map(Step::End),
        (0..40_000_u16).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #[test]
    fn each_request_of_an_open_connection_has_one_answer_and_nothing_follows_a_close(steps in steps()) {
        let mut registry = registry();
        let (mut now, mut last) = (at(0), 0_u8);
        // Of each connection that was ever there: whether it is open, and requests without an
        // answer.
        let mut connections: BTreeMap<u64, (bool, i32)> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Hello if last < 200 => {
                    last += 1;
                    connections.insert(last.into(), (true, 1));
                    let input = Input::Hello { epoch: Epoch(last.into()), hello: hello(last) };
                    registry.handle_input(now, input);
                }
                Step::Hello => {}
                Step::Ask(who, what) => {
                    let who = u64::from(who % last.max(1)) + 1;
                    let request = match what {
                        0 => Request::Lookup(FILE),
                        1 => Request::Watch(FILE),
                        2 => Request::Unwatch(FILE),
                        3 => report(1, Availability::Full),
                        4 => Request::Heartbeat(ReportDigest::default()),
                        _ => Request::Bye,
                    };
                    if let Some((true, unanswered)) = connections.get_mut(&who) {
                        *unanswered += 1;
                    }
                    ask(&mut registry, now, who, request);
                }
                Step::End(who) => {
                    let who = u64::from(who % last.max(1)) + 1;
                    let (epoch, ending) = (Epoch(who), Ending::Lost);
                    registry.handle_input(now, Input::Ended { epoch, ending });
                }
                Step::Wait(ms) => {
                    now += at(ms.into());
                    while registry.handle_timeout(now) == SweepStatus::More {}
                }
            }
            for output in outputs(&mut registry) {
                match output {
                    Output::Answer { epoch, .. } => {
                        let (open, unanswered) = connections.get_mut(&epoch.0).expect("it said hello");
                        prop_assert!(*open && *unanswered == 1);
                        *unanswered = 0;
                    }
                    Output::Push { epoch, .. } | Output::Notify { epoch, .. } => {
                        prop_assert!(connections[&epoch.0].0);
                    }
                    Output::Close { epoch } => {
                        let (open, _) = connections.get_mut(&epoch.0).expect("it said hello");
                        prop_assert!(std::mem::replace(open, false));
                    }
                }
            }
            prop_assert!(connections.values().all(|(open, unanswered)| !open || *unanswered == 0));
            let open = connections.values().filter(|(open, _)| *open).count();
            prop_assert_eq!(registry.stats().connections as usize, open);
            registry.table().check();
        }
    }
}

//! The reporter, as sentences and against a coordinator that keeps a table by the rules.

use proptest::prelude::*;

use super::*;

const INTERVAL: Duration = Duration::from_secs(10);

fn hash(n: u8) -> FileHash {
    FileHash::from_bytes([n; 32])
}

fn drain(reporter: &mut Reporter, now: Time) -> Vec<CoordinatorRequest> {
    std::iter::from_fn(|| reporter.poll(now)).collect()
}

fn connected() -> Reporter {
    let mut reporter = Reporter::new(INTERVAL);
    reporter.on_welcome(Time::ZERO, ReportDigest::default());
    reporter
}

#[test]
fn a_change_is_reported_at_once_and_once() {
    let mut reporter = connected();
    reporter.set(hash(1), 5, Availability::Partial);
    reporter.set(hash(1), 5, Availability::Partial);
    let sent = drain(&mut reporter, Time::ZERO);
    let entries = vec![ReportEntry { hash: [1; 32], size: 5, availability: Availability::Partial }];
    assert_eq!(sent, [CoordinatorRequest::Report { seq: 1, replace: false, entries }]);
    assert_eq!(drain(&mut reporter, Time::ZERO), []);
}

#[test]
fn silence_is_broken_by_a_heartbeat_each_interval() {
    let mut reporter = connected();
    assert_eq!(reporter.next_timeout(), Some(Time::ZERO + INTERVAL));
    let sent = drain(&mut reporter, Time::ZERO + INTERVAL);
    assert_eq!(sent, [CoordinatorRequest::Heartbeat { digest: ReportDigest::default() }]);
    assert_eq!(reporter.next_timeout(), Some(Time::ZERO + INTERVAL + INTERVAL));
}

#[test]
fn a_lease_below_three_intervals_is_kept() {
    let mut reporter = Reporter::new(Duration::from_secs(600));
    reporter.on_lease(Duration::from_secs(120));
    reporter.on_welcome(Time::ZERO, ReportDigest::default());
    let beat = Duration::from_secs(40);
    assert_eq!(reporter.next_timeout(), Some(Time::ZERO + beat));
    assert!(matches!(
        drain(&mut reporter, Time::ZERO + beat)[..],
        [CoordinatorRequest::Heartbeat { .. }]
    ));
    assert_eq!(reporter.next_timeout(), Some(Time::ZERO + beat + beat));
}

#[test]
fn a_coordinator_that_remembers_us_is_told_nothing_twice() {
    let mut reporter = connected();
    reporter.set(hash(1), 5, Availability::Full);
    drain(&mut reporter, Time::ZERO);
    reporter.on_disconnect();
    let digest = reporter.digest;
    reporter.on_welcome(Time::ZERO, digest);
    assert_eq!(drain(&mut reporter, Time::ZERO), []);
}

#[test]
fn a_coordinator_that_lost_its_table_gets_everything() {
    let mut reporter = connected();
    reporter.set(hash(1), 5, Availability::Full);
    drain(&mut reporter, Time::ZERO);
    reporter.on_reply(&CoordinatorReply::Accepted { seq: 1 });
    reporter.on_reply(&CoordinatorReply::Resync);
    let sent = drain(&mut reporter, Time::ZERO);
    assert!(
        matches!(&sent[..], [CoordinatorRequest::Report { seq: 2, replace: true, entries }] if entries.len() == 1)
    );
}

#[test]
fn changes_made_while_disconnected_are_not_lost() {
    let mut reporter = connected();
    reporter.set(hash(1), 5, Availability::Full);
    drain(&mut reporter, Time::ZERO);
    let digest = reporter.digest;
    reporter.on_disconnect();
    reporter.set(hash(1), 5, Availability::None);
    reporter.on_welcome(Time::ZERO, digest);
    let sent = drain(&mut reporter, Time::ZERO);
    assert!(
        matches!(&sent[..], [CoordinatorRequest::Report { replace: true, entries, .. }] if entries.is_empty())
    );
}

#[test]
fn a_large_share_is_reported_in_parts_of_which_only_the_first_replaces() {
    let mut reporter = Reporter::new(INTERVAL);
    let files = MAX_REPORT_ENTRIES + 1;
    for n in 0..files {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        reporter.set(FileHash::from_bytes(bytes), 1, Availability::Full);
    }
    reporter.on_welcome(Time::ZERO, ReportDigest::default());
    let parts: Vec<(u64, bool, usize)> = drain(&mut reporter, Time::ZERO)
        .into_iter()
        .map(|request| match request {
            CoordinatorRequest::Report { seq, replace, entries } => (seq, replace, entries.len()),
            other => panic!("unexpected {other:?}"),
        })
        .collect();
    assert_eq!(parts, [(1, true, MAX_REPORT_ENTRIES), (2, false, 1)]);
}

#[test]
fn a_resync_that_crossed_a_report_is_left_to_the_next_heartbeat() {
    let mut reporter = connected();
    reporter.set(hash(1), 5, Availability::Full);
    drain(&mut reporter, Time::ZERO);
    reporter.on_reply(&CoordinatorReply::Resync);
    assert_eq!(drain(&mut reporter, Time::ZERO), []);
}

#[test]
fn a_resync_is_heeded_once_the_report_before_its_heartbeat_is_accepted() {
    let mut reporter = connected();
    reporter.set(hash(1), 5, Availability::Full);
    drain(&mut reporter, Time::ZERO);
    let later = Time::ZERO + INTERVAL;
    assert!(matches!(drain(&mut reporter, later)[..], [CoordinatorRequest::Heartbeat { .. }]));
    reporter.on_reply(&CoordinatorReply::Accepted { seq: 1 });
    reporter.on_reply(&CoordinatorReply::Resync);
    assert!(matches!(
        drain(&mut reporter, later)[..],
        [CoordinatorRequest::Report { replace: true, .. }]
    ));
}

#[test]
fn a_report_that_met_a_limit_does_not_keep_us_from_heeding_a_resync() {
    let mut reporter = connected();
    reporter.set(hash(1), 5, Availability::Full);
    drain(&mut reporter, Time::ZERO);
    reporter.on_reply(&CoordinatorReply::LimitReached { limit: Limit::EntriesPerPeer, value: 0 });
    drain(&mut reporter, Time::ZERO + INTERVAL);
    reporter.on_reply(&CoordinatorReply::Resync);
    let sent = drain(&mut reporter, Time::ZERO + INTERVAL);
    assert!(matches!(sent[..], [CoordinatorRequest::Report { seq: 2, replace: true, .. }]));
}

#[test]
fn the_limit_of_a_watch_answers_no_report() {
    let mut reporter = connected();
    reporter.set(hash(1), 5, Availability::Full);
    drain(&mut reporter, Time::ZERO);
    reporter.on_reply(&CoordinatorReply::LimitReached { limit: Limit::WatchesPerPeer, value: 0 });
    reporter.on_reply(&CoordinatorReply::Resync);
    assert_eq!(drain(&mut reporter, Time::ZERO), []);
}

#[test]
fn a_coordinator_that_never_answers_costs_bounded_memory() {
    let mut reporter = connected();
    for n in 1..5000 {
        drain(&mut reporter, Time::ZERO + INTERVAL * n);
    }
    assert!(reporter.session.unwrap().sent.len() <= MAX_SENT);
}

/// What a coordinator makes of one peer.
#[derive(Debug, Default)]
struct Table {
    entries: BTreeMap<[u8; 32], ReportEntry>,
    seq: u64,
}

impl Table {
    fn digest(&self) -> ReportDigest {
        let mut digest = ReportDigest::default();
        self.entries.values().for_each(|entry| digest.toggle(entry));
        digest
    }

    fn answer(&mut self, request: CoordinatorRequest) -> CoordinatorReply {
        match request {
            CoordinatorRequest::Report { seq, replace, entries } => {
                assert_eq!(seq, self.seq + 1, "numbers rise by one");
                self.seq = seq;
                if replace {
                    self.entries.clear();
                }
                for entry in entries {
                    match entry.availability {
                        Availability::None => self.entries.remove(&entry.hash),
                        _ => self.entries.insert(entry.hash, entry),
                    };
                }
                CoordinatorReply::Accepted { seq }
            }
            CoordinatorRequest::Heartbeat { digest } if digest == self.digest() => {
                CoordinatorReply::Renewed
            }
            CoordinatorRequest::Heartbeat { .. } => CoordinatorReply::Resync,
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Set(u8, Availability),
    Poll,
    /// The coordinator answers some of what it has got.
    Answer(usize),
    Wait,
    Reconnect,
    /// The coordinator is another one, which knows nothing.
    Forget,
    /// The lease of one entry ran out.
    Expire(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let availability = prop_oneof![
        Just(Availability::None),
        Just(Availability::Partial),
        Just(Availability::Full)
    ];
    prop_oneof![
        4 => (0..5u8, availability).prop_map(|(file, availability)| Step::Set(file, availability)),
        4 => Just(Step::Poll),
        4 => (1..4usize).prop_map(Step::Answer),
        2 => Just(Step::Wait),
        1 => Just(Step::Reconnect),
        1 => Just(Step::Forget),
        1 => (0..5u8).prop_map(Step::Expire),
    ]
}

proptest! {
    #[test]
    fn once_everything_is_answered_the_table_is_what_we_hold(steps in prop::collection::vec(step(), 0..80)) {
        let mut reporter = Reporter::new(INTERVAL);
        let mut now = Time::ZERO;
        let (mut table, mut under_way) = (Table::default(), VecDeque::new());
        let mut held = BTreeMap::new();
        reporter.on_welcome(now, table.digest());
        for step in steps {
            match step {
                Step::Set(file, availability) => {
                    reporter.set(hash(file), u64::from(file), availability);
                    held.insert(file, availability);
                }
                Step::Poll => under_way.extend(drain(&mut reporter, now)),
                Step::Answer(some) => {
                    for request in under_way.drain(..some.min(under_way.len())) {
                        reporter.on_reply(&table.answer(request));
                    }
                }
                Step::Wait => now = now + INTERVAL,
                Step::Reconnect | Step::Forget => {
                    under_way.clear();
                    reporter.on_disconnect();
                    let forgets = matches!(step, Step::Forget);
                    table = Table { entries: if forgets { BTreeMap::new() } else { table.entries }, seq: 0 };
                    reporter.on_welcome(now, table.digest());
                }
                Step::Expire(file) => {
                    table.entries.remove(&[file; 32]);
                }
            }
        }
        // A heartbeat finds what is wrong, a report mends it, and the next heartbeat finds nothing.
        for _ in 0..3 {
            under_way.extend(drain(&mut reporter, now));
            for request in under_way.drain(..) {
                reporter.on_reply(&table.answer(request));
            }
            now = now + INTERVAL;
        }
        let shared = held.into_iter().filter(|(_, availability)| *availability != Availability::None);
        let expected: Vec<_> = shared.map(|(file, availability)| ([file; 32], availability)).collect();
        let found: Vec<_> = table.entries.values().map(|entry| (entry.hash, entry.availability)).collect();
        prop_assert_eq!(found, expected);
    }
}

//! Random histories, some of them under limits that are met all the time.

use proptest::prelude::*;

use super::*;

fn entry() -> impl Strategy<Value = ReportEntry> {
    let availability = prop_oneof![
        Just(Availability::None),
        Just(Availability::Partial),
        Just(Availability::Full)
    ];
    let size = prop_oneof![9 => Just(1000u64), 1 => Just(7u64)];
    (0..FILES, size, availability).prop_map(|(file, size, availability)| ReportEntry {
        hash: [file; 32],
        size,
        availability,
    })
}

fn op() -> impl Strategy<Value = Op> {
    let scope = prop_oneof![Just(Scope::Everything), Just(Scope::Changes)];
    let step = prop_oneof![1 => Just(0u64), 8 => Just(1u64), 1 => Just(2u64)];
    prop_oneof![
        4 => (0u8..2, 0u16..3, 0u8..3, 50u64..400, prop::bool::weighted(0.1))
            .prop_map(|(ip, port, id, interval_ms, late)| Op::Hello { ip, port, id, interval_ms, late }),
        8 => (any::<usize>(), step, scope, prop::collection::vec(entry(), 0..8))
            .prop_map(|(connection, step, scope, entries)| Op::Report { connection, step, scope, entries }),
        3 => (any::<usize>(), prop::bool::weighted(0.7))
            .prop_map(|(connection, honest)| Op::Heartbeat { connection, honest }),
        1 => any::<usize>().prop_map(|connection| Op::Bye { connection }),
        1 => any::<usize>().prop_map(|connection| Op::Disconnect { connection }),
        2 => (0u64..500).prop_map(|ms| Op::Pass { ms }),
        2 => Just(Op::Sweep),
    ]
}

fn run(limits: TableLimits, ops: &[Op]) {
    let mut rig = Rig::new(limits);
    for op in ops {
        rig.step(op);
    }
}

proptest! {
    /// Two entries a sweep, so that peers leave in several steps between other operations.
    #[test]
    fn the_table_answers_like_plain_maps(ops in prop::collection::vec(op(), 1..120)) {
        run(TableLimits { sweep_entries: 2, ..TableLimits::default() }, &ops);
    }

    /// Limits small enough to be met all the time.
    #[test]
    fn limits_leave_out_what_the_model_leaves_out(ops in prop::collection::vec(op(), 1..120)) {
        let limits = TableLimits {
            lease_multiplier: 2,
            max_peers: 4,
            max_peers_per_ip: 3,
            max_entries: 9,
            max_entries_per_ip: 7,
            max_entries_per_peer: 4,
            ..TableLimits::default()
        };
        run(limits, &ops);
    }
}

/// Once there is room again and a minute has passed, a peer whose report was truncated is asked for
/// all it has; then not for another minute.
#[test]
fn a_cut_peer_is_asked_again_when_there_is_room() {
    let entry = |file, availability| ReportEntry { hash: [file; 32], size: 1000, availability };
    let changes = |entries| Op::Report { connection: 0, step: 1, scope: Scope::Changes, entries };
    let guess = Op::Heartbeat { connection: 0, honest: false };
    run(
        TableLimits { max_entries_per_peer: 1, lease_multiplier: 2, ..TableLimits::default() },
        &[
            Op::Hello { ip: 0, port: 1, id: 0, interval_ms: 60_000, late: false },
            changes(vec![entry(0, Availability::Full), entry(1, Availability::Full)]),
            changes(vec![entry(0, Availability::None)]),
            guess.clone(),
            Op::Pass { ms: 60_000 },
            guess.clone(),
            guess,
        ],
    );
}

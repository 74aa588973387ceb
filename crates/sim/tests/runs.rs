//! Whole runs: the same seed gives the same run, every world keeps the rules, and the links obey
//! arithmetic.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use clap::ValueEnum;
use tnet_sim::{
    Breach, Character, Checks, Defect, Headers, HostChange, MILLISECOND, NetworkChanges, Outcome,
    Parameters, Rate, SECOND, START, Scenario, Simulation, Trace, World, drawn,
};

/// All checks, often.
const THOROUGH: Checks = Checks { books_every: 101, table: true };

fn run(world: World) -> Outcome {
    Simulation::new(world, Trace::Off).expect("a small file").run()
}

fn small(seed: u64) -> Parameters {
    Parameters { receivers: 10, chunks: 32, seed, checks: THOROUGH, ..Parameters::default() }
}

/// Lines that can be read after the run.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("one thread").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    let trace_of = |scenario: Scenario, seed| {
        let lines = Lines::default();
        let trace = Trace::Lines(Box::new(lines.clone()));
        Simulation::new(scenario.world(&small(seed)), trace).expect("a small file").run();
        lines.0.lock().map(|lines| lines.clone()).expect("one thread")
    };
    for scenario in [Scenario::Lab, Scenario::CrashPoisonSlow, Scenario::Partition, Scenario::Liars]
    {
        let (once, again) = (trace_of(scenario, 5), trace_of(scenario, 5));
        let differ = once.iter().zip(&again).position(|(a, b)| a != b);
        assert!(once == again, "{scenario:?} differs at byte {differ:?} of {}", once.len());
        assert!(once.len() > 10_000, "{scenario:?}: {} bytes are no trace of a run", once.len());
        assert!(once != trace_of(scenario, 6), "{scenario:?}: the seed decides nothing");
    }
}

/// The breaches of a run in which one receiver's program, among honest ones, has this fault.
fn breaches_with(defect: Defect) -> Vec<Breach> {
    let mut world = Scenario::Equal.world(&small(1));
    world.hosts[1].defect = Some(defect);
    // A host whose forged chunks a program that verifies nothing stores.
    world.hosts[2].character = Character::Poisonous { per_mille: 500 };
    world.checks = Checks { books_every: 0, table: true };
    world.deadline = 100 * SECOND;
    run(world).breaches
}

#[test]
fn a_program_that_verifies_nothing_is_found_by_the_safety_checker() {
    let breaches = breaches_with(Defect::TrustsEverybody);
    assert!(
        breaches.iter().any(|b| matches!(b, Breach::StoredForged { host: 1, .. })),
        "{breaches:?}"
    );
}

#[test]
fn a_program_that_loses_writes_is_found_by_the_safety_checker() {
    let breaches = breaches_with(Defect::LosesWrites);
    assert!(
        breaches.iter().any(|b| matches!(b, Breach::DoneTooEarly { host: 1, .. })),
        "{breaches:?}"
    );
    assert!(
        breaches.iter().any(|b| matches!(b, Breach::ServedWithoutHaving { host: 1, .. })),
        "{breaches:?}"
    );
}

/// The crashes of a world in which some of what a crashed host had is damaged when it comes back.
fn damaged(seed: u64) -> World {
    // Chunks take long enough for hosts to have some when they crash.
    let parameters = Parameters { damaged_per_mille: 300, mbit: 10.0, chunks: 64, ..small(seed) };
    Scenario::Crash.world(&Parameters { slow: Some(5), ..parameters })
}

#[test]
fn what_was_damaged_while_a_host_was_down_is_fetched_again_and_nothing_else() {
    for seed in 1..=8 {
        let outcome = run(damaged(seed));
        assert!(outcome.is_right(), "seed {seed}: {:#?}", outcome.breaches);
        assert_eq!(outcome.finished, outcome.receivers, "seed {seed}");
    }
}

#[test]
fn a_program_that_trusts_its_disk_is_found_by_the_safety_checker() {
    let mut world = damaged(1);
    world.hosts.iter_mut().for_each(|plan| plan.defect = Some(Defect::TrustsItsDisk));
    let breaches = run(world).breaches;
    assert!(breaches.iter().any(|b| matches!(b, Breach::DoneTooEarly { .. })), "{breaches:?}");
    assert!(
        breaches.iter().any(|b| matches!(b, Breach::ServedWithoutHaving { .. })),
        "{breaches:?}"
    );
}

#[test]
fn a_completion_that_is_kept_secret_is_found_by_the_checker_of_the_table() {
    let breaches = breaches_with(Defect::KeepsCompletionSecret);
    assert!(breaches.iter().any(|b| matches!(b, Breach::TableDiffers { .. })), "{breaches:?}");
}

#[test]
fn a_seed_that_sends_nothing_is_found_by_the_checker_of_liveness() {
    let mut world = Scenario::Equal.world(&small(1));
    world.hosts[0].defect = Some(Defect::SendsNothing);
    world.deadline = 60 * SECOND;
    let breaches = run(world).breaches;
    let late = breaches.iter().filter(|breach| matches!(breach, Breach::Unfinished { .. }));
    assert_eq!(late.count(), 10, "{breaches:?}");
}

#[test]
fn without_a_planted_fault_nothing_is_found() {
    let mut world = Scenario::Equal.world(&small(1));
    world.hosts[2].character = Character::Poisonous { per_mille: 500 };
    world.checks.table = true;
    assert_eq!(run(world).breaches, []);
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_one_another() {
    let hash = |seed| {
        let parameters = Parameters { seed, ..small(seed) };
        let world = Scenario::CrashPoisonSlow.world(&parameters);
        let outcome = Simulation::new(world, Trace::hashed()).expect("a small file").run();
        (outcome.trace_hash, outcome.events, outcome.ratio.to_bits())
    };
    assert_eq!(hash(3), hash(3));
    assert_ne!(hash(3).0, hash(4).0);
}

#[test]
fn every_world_keeps_the_rules_for_a_handful_of_seeds() {
    for scenario in Scenario::value_variants() {
        for seed in 1..=3 {
            let outcome = run(scenario.world(&small(seed)));
            assert!(outcome.is_right(), "{scenario:?} with seed {seed}: {:#?}", outcome.breaches);
            assert_eq!(outcome.finished, outcome.receivers, "{scenario:?} with seed {seed}");
        }
    }
}

/// Where chunks pass so fast that there are more slots than were set.
#[test]
fn every_world_keeps_the_rules_on_fast_links() {
    for scenario in Scenario::value_variants() {
        let parameters = Parameters { chunks: 1024, mbit: 10_000.0, ..small(7) };
        let outcome = run(scenario.world(&parameters));
        assert!(outcome.is_right(), "{scenario:?}: {:#?}", outcome.breaches);
        assert_eq!(outcome.finished, outcome.receivers, "{scenario:?}");
    }
}

#[test]
fn losses_and_jitter_delay_and_break_nothing() {
    let network = NetworkChanges {
        jitter: Some(2 * MILLISECOND),
        loss_ppm: Some(10_000),
        ..NetworkChanges::default()
    };
    let clean = run(Scenario::Equal.world(&small(1)));
    let lossy = run(Scenario::Equal.world(&Parameters { network, ..small(1) }));
    assert!(lossy.is_right(), "{:#?}", lossy.breaches);
    assert!(lossy.last > clean.last, "{} s with losses, {} s without", lossy.last, clean.last);
}

#[test]
fn one_receiver_of_one_seed_takes_what_the_wire_takes() {
    let parameters = Parameters { receivers: 1, chunks: 512, spread: 0, ..Parameters::default() };
    let outcome = run(Scenario::Equal.world(&parameters));
    // A few round trips of 0.2 ms, the first chunk's way and the last chunk's way to the disk.
    let latency = 0.005;
    assert!(
        outcome.last >= outcome.bound,
        "{} s is less than the bound of {} s",
        outcome.last,
        outcome.bound
    );
    let most = outcome.bound * 1.02 + latency;
    assert!(outcome.last <= most, "{} s instead of at most {most} s", outcome.last);
}

#[test]
fn headers_cost_what_ethernet_takes() {
    let network = NetworkChanges { headers: Some(Headers::Counted), ..NetworkChanges::default() };
    let parameters =
        Parameters { receivers: 1, chunks: 512, spread: 0, network, ..Parameters::default() };
    let outcome = run(Scenario::Equal.world(&parameters));
    // 1514 bytes carry 1448.
    assert!((1.045..1.07).contains(&outcome.ratio), "{} instead of about 1.05", outcome.ratio);
}

#[test]
fn twice_the_rates_take_half_the_time() {
    // Everything but the delay and the disk scales with the rates, so these are next to nothing
    // here.
    let at = |mbit| {
        let mut parameters =
            Parameters { mbit, receivers: 1, chunks: 256, spread: 0, ..Parameters::default() };
        parameters.delay = Some(1000);
        run(Scenario::Equal.world(&parameters)).last
    };
    let (slow, fast) = (at(100.0), at(200.0));
    assert!((slow / fast - 2.0).abs() < 0.02, "{slow} s and {fast} s");
}

#[test]
fn no_host_finishes_before_the_fluid_bound() {
    for seed in 1..=8 {
        let outcome = run(Scenario::Equal.world(&Parameters { spread: 0, ..small(seed) }));
        assert!(
            outcome.first >= outcome.bound,
            "seed {seed}: {} s of {} s",
            outcome.first,
            outcome.bound
        );
    }
}

#[test]
fn a_world_whose_only_seed_leaves_at_once_is_not_finished_and_not_blamed() {
    let mut world = Scenario::Equal.world(&small(1));
    world.hosts[0].changes.push((START + 100 * MILLISECOND, HostChange::Leave));
    world.deadline = 100 * SECOND;
    let outcome = run(world);
    assert_eq!(outcome.finished, 0);
    assert!(outcome.is_right(), "{:#?}", outcome.breaches);
}

#[test]
fn a_run_that_cannot_end_in_time_breaks_the_rule_of_liveness() {
    let mut world = Scenario::Equal.world(&small(1));
    world.hosts[0].up = Rate::new(1);
    world.deadline = 20 * SECOND;
    let outcome = run(world);
    assert_eq!(outcome.breaches.len(), 10, "{:#?}", outcome.breaches);
}

#[test]
fn a_hundred_hosts_all_finish() {
    let parameters = Parameters { receivers: 100, chunks: 8, ..Parameters::default() };
    let outcome = run(Scenario::Equal.world(&parameters));
    assert_eq!(outcome.finished, 100);
    assert!(outcome.is_right(), "{:#?}", outcome.breaches);
}

/// A host froze during a handshake. What arrived meanwhile was delivered before the end of the
/// handshake, so it missed `Bye`s, and treated honest peers as dead or misbehaving.
#[test]
fn a_host_that_thaws_hears_everything_in_the_order_it_was_sent() {
    for seed in [5780, 6204, 8575] {
        let (scenario, parameters) = drawn(seed, &Parameters::default());
        let outcome = run(scenario.world(&parameters));
        assert!(outcome.is_right(), "{outcome}");
    }
}

/// Two links of one content between two hosts ended one after the other with the same chunk
/// requested on each, and its source answered both times. Only one answer was expected, and the
/// other cost an honest host its connection.
#[test]
fn what_was_asked_for_and_abandoned_twice_may_be_answered_twice() {
    let (scenario, parameters) = drawn(895_052_274, &Parameters::default());
    let outcome = run(scenario.world(&parameters));
    assert!(outcome.is_right(), "{outcome}");
}

/// A receiver that had all its neighbours in a silent crowd behind few addresses reached the one
/// honest holder only by chance. A slow member of a crowd was sent the hedged requests, too, and
/// after a forged chunk the chunk was delayed instead of its source, when the honest holder had
/// connected.
#[test]
fn the_one_honest_holder_is_found_within_a_crowd() {
    for seed in [1913, 2059, 4018, 5469, 9098, 9419, 777_139] {
        let (scenario, parameters) = drawn(seed, &Parameters::default());
        let outcome = run(scenario.world(&parameters));
        assert!(outcome.is_right(), "{outcome}");
    }
}

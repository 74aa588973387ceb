//! Whole runs: the same seed gives the same run, every world keeps the rules, and the wires obey arithmetic.

use clap::ValueEnum;
use tnet_sim::{
    Change, Checks, Headers, MILLISECOND, NetworkChanges, Outcome, Parameters, Rate, SECOND, START, Scenario,
    Simulation, Trace, World,
};

/// Checks everything that can be checked, often.
const THOROUGH: Checks = Checks { books_every: 101, table: true };

fn run(world: World) -> Outcome {
    Simulation::new(world, Trace::Off).expect("a small file").run()
}

fn small(seed: u64) -> Parameters {
    Parameters { receivers: 10, chunks: 32, seed, checks: THOROUGH, ..Parameters::default() }
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

#[test]
fn losses_and_jitter_delay_and_break_nothing() {
    let network =
        NetworkChanges { jitter: Some(2 * MILLISECOND), loss_ppm: Some(10_000), ..NetworkChanges::default() };
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
    let parameters = Parameters { receivers: 1, chunks: 512, spread: 0, network, ..Parameters::default() };
    let outcome = run(Scenario::Equal.world(&parameters));
    // 1514 bytes carry 1448.
    assert!((1.045..1.07).contains(&outcome.ratio), "{} instead of about 1.05", outcome.ratio);
}

#[test]
fn twice_the_rates_take_half_the_time() {
    // Everything but the delay and the disk scales with the rates, so these are next to nothing here.
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
fn nobody_finishes_before_the_fluid_bound() {
    for seed in 1..=8 {
        let outcome = run(Scenario::Equal.world(&Parameters { spread: 0, ..small(seed) }));
        assert!(outcome.first >= outcome.bound, "seed {seed}: {} s of {} s", outcome.first, outcome.bound);
    }
}

#[test]
fn a_world_whose_only_seed_leaves_at_once_is_not_finished_and_not_blamed() {
    let mut world = Scenario::Equal.world(&small(1));
    world.hosts[0].changes.push((START + 100 * MILLISECOND, Change::Leave));
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

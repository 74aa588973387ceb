//! Whatever happens, as long as one honest node that has everything stays, every honest node gets
//! everything in time.

use std::num::NonZeroU64;
use std::time::Duration;

use proptest::prelude::*;

use super::network::{Character, Network};
use crate::{Config, Input, Priority, RateLimits, Time};

/// The honest full holder that stays.
const ROCK: usize = 0;

/// Virtual time after the last fault within which everybody must be complete. Stalls, bans and
/// pauses double up to some tens of seconds; then a lookup is due at the latest every 37 s.
const PATIENCE: Duration = Duration::from_secs(400);

#[derive(Debug, Clone)]
enum Fault {
    Crash,
    Restart,
    Pause(Duration),
    /// Drops the file, or takes it up again.
    Toggle(u32),
    /// Chunks that were stored are lost again.
    LoseChunks(u32),
    /// The user pauses a file, or resumes it.
    Rest(u32),
    /// The user sets a rate for the process, in KiB per second, and for a file.
    Limit(u32, u64),
    /// The user puts a file before or after others.
    Prioritise(u32, Priority),
}

#[derive(Debug, Clone)]
struct Scenario {
    seed: u64,
    chunks: u32,
    files: u32,
    delay: Duration,
    rate: u64,
    neighbours: usize,
    /// Who wants, or at first has, the files besides the rock.
    nodes: Vec<(Character, bool)>,
    faults: Vec<(Duration, usize, Fault)>,
}

fn character() -> impl Strategy<Value = Character> {
    prop_oneof![
        6 => Just(Character::Honest),
        1 => Just(Character::Corrupt),
        1 => Just(Character::Mute),
        1 => Just(Character::Refuser),
        1 => Just(Character::Busybody),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        2 => Just(Fault::Crash),
        2 => Just(Fault::Restart),
        2 => (10..20_000u64).prop_map(|milliseconds| Fault::Pause(Duration::from_millis(milliseconds))),
        2 => (1..4u32).prop_map(Fault::Toggle),
        1 => (1..4u32).prop_map(Fault::LoseChunks),
        2 => (1..4u32).prop_map(Fault::Rest),
        1 => (1..4u32, 16..2000u64).prop_map(|(file, rate)| Fault::Limit(file, rate)),
        1 => (1..4u32, prop_oneof![Just(Priority::Low), Just(Priority::High)])
            .prop_map(|(file, priority)| Fault::Prioritise(file, priority)),
    ]
}

fn scenario() -> impl Strategy<Value = Scenario> {
    let times =
        (any::<u64>(), 1..60u32, 1..4u32, 100..20_000u64, 200_000..12_500_000u64, 2..8usize);
    let nodes = prop::collection::vec((character(), prop::bool::weighted(0.2)), 2..8);
    let faults = prop::collection::vec((0..8000u64, any::<prop::sample::Index>(), fault()), 0..12);
    (times, nodes, faults).prop_map(
        |((seed, chunks, files, delay, rate, neighbours), nodes, faults)| {
            let mut faults: Vec<(Duration, usize, Fault)> = faults
                .into_iter()
                .map(|(at, node, fault)| {
                    (Duration::from_millis(at), node.index(nodes.len()) + 1, fault)
                })
                .collect();
            faults.sort_by_key(|(at, ..)| *at);
            Scenario {
                seed,
                chunks,
                files,
                delay: Duration::from_micros(delay),
                rate,
                neighbours,
                nodes,
                faults,
            }
        },
    )
}

fn play(scenario: &Scenario) -> Network {
    let config = Config { neighbours: scenario.neighbours, ..Config::default() };
    let mut network = Network::new(scenario.seed, scenario.chunks, config);
    (network.delay, network.rate) = (scenario.delay, scenario.rate);
    network.check_every = 3;
    network.add_node(Character::Honest);
    for file in 1..=scenario.files {
        network.seed(ROCK, file);
    }
    for (character, has_it) in &scenario.nodes {
        let node = network.add_node(*character);
        for file in 1..=scenario.files {
            // A corrupt or mute peer or a refuser with nothing does no harm: they claim to have
            // everything.
            if *has_it || *character != Character::Honest {
                network.seed(node, file);
            } else {
                network.download(node, file);
            }
        }
    }
    for (at, node, fault) in &scenario.faults {
        let until = Time::after_start(*at);
        network.run_for(until - network.now);
        strike(&mut network, *node, fault, scenario.files);
    }
    network.resume_all();
    network
}

fn strike(network: &mut Network, node: usize, fault: &Fault, files: u32) {
    match fault {
        Fault::Crash => network.crash(node),
        Fault::Restart if !network.nodes[node].is_alive => network.restart(node),
        Fault::Restart => {}
        Fault::Pause(duration) => network.pause(node, *duration),
        _ if !network.nodes[node].is_alive => {}
        Fault::Toggle(file) if *file <= files && network.takes_part(node, *file) => {
            network.remove_file(node, *file)
        }
        Fault::Toggle(file) if *file <= files => network.download(node, *file),
        Fault::LoseChunks(file) if network.takes_part(node, *file) => {
            let stored = network.nodes[node].disk.get_mut(file).unwrap();
            let chunks: Vec<_> = stored.iter().step_by(3).collect();
            chunks.iter().for_each(|chunk| {
                stored.remove(*chunk);
            });
            network.nodes[node].complete_at.remove(file);
            let file = network.key(node, *file);
            network.input(node, Input::ChunksLost { file, chunks });
        }
        Fault::Rest(file) if network.takes_part(node, *file) => {
            let file = network.key(node, *file);
            let input = match network.nodes[node].swarm.files[&file].is_paused {
                true => Input::Resume { file },
                false => Input::Pause { file },
            };
            network.input(node, input);
        }
        Fault::Limit(file, rate) if network.takes_part(node, *file) => {
            let (file, rate) = (network.key(node, *file), NonZeroU64::new(rate * 1024));
            network.input(
                node,
                Input::Limit { file: None, limits: RateLimits { up: rate, down: rate } },
            );
            network.input(
                node,
                Input::Limit { file: Some(file), limits: RateLimits { up: None, down: rate } },
            );
        }
        Fault::Prioritise(file, priority) if network.takes_part(node, *file) => {
            let file = network.key(node, *file);
            network.input(node, Input::Prioritise { file, priority: *priority });
        }
        Fault::Toggle(_)
        | Fault::LoseChunks(_)
        | Fault::Rest(_)
        | Fault::Limit(..)
        | Fault::Prioritise(..) => {}
    }
}

/// Honest nodes that are alive and want a file that they lack.
fn unserved(network: &Network, files: u32) -> Vec<(usize, u32)> {
    let nodes = network.nodes.iter().enumerate();
    let honest = nodes.filter(|(_, node)| node.is_alive && node.character == Character::Honest);
    let wanted = honest.flat_map(|(node, _)| (1..=files).map(move |file| (node, file)));
    wanted
        .filter(|(node, file)| {
            network.takes_part(*node, *file) && !is_served(network, *node, *file)
        })
        .collect()
}

fn is_served(network: &Network, node: usize, file: u32) -> bool {
    network.is_complete(node, file)
        && network.nodes[node]
            .swarm
            .file_status(network.key(node, file), network.now)
            .is_some_and(|status| status.stored == status.chunks)
}

fn assert_all_are_served(scenario: &Scenario) {
    let mut network = play(scenario);
    let is_done = network.run(PATIENCE, |network| unserved(network, scenario.files).is_empty());
    assert!(
        is_done,
        "not served after {PATIENCE:?}: {:?} of {scenario:?}",
        unserved(&network, scenario.files)
    );
    for node in network.nodes.iter().filter(|node| node.is_alive) {
        node.swarm.check();
    }
}

proptest! {
    #[test]
    fn every_honest_node_gets_everything_while_one_honest_holder_stays(scenario in scenario()) {
        assert_all_are_served(&scenario);
    }
}
const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn a_suggestion_that_is_not_wanted_does_not_go_back_and_forth_for_ever() {
    use Character::{Honest, Refuser};
    assert_all_are_served(&Scenario {
        seed: 2273245007327556,
        chunks: 26,
        files: 3,
        delay: Duration::from_micros(13797),
        rate: 12264907,
        neighbours: 2,
        nodes: vec![(Refuser, false), (Honest, false), (Honest, true), (Refuser, true)],
        faults: vec![
            (ms(37), 1, Fault::LoseChunks(3)),
            (ms(215), 3, Fault::Crash),
            (ms(1190), 3, Fault::Pause(ms(15860))),
            (ms(1631), 2, Fault::Toggle(1)),
            (ms(3208), 3, Fault::Crash),
            (ms(4190), 4, Fault::LoseChunks(2)),
            (ms(4543), 2, Fault::Toggle(3)),
            (ms(5619), 2, Fault::Toggle(1)),
            (ms(6739), 3, Fault::Pause(ms(13689))),
            (ms(7094), 2, Fault::Toggle(3)),
        ],
    });
}

#[test]
fn neighbours_that_claim_everything_and_send_nothing_make_room_for_others() {
    use Character::{Honest, Mute};
    assert_all_are_served(&Scenario {
        seed: 3802161944879495531,
        chunks: 5,
        files: 2,
        delay: Duration::from_micros(100),
        rate: 200_000,
        neighbours: 2,
        nodes: vec![
            (Mute, false),
            (Honest, false),
            (Honest, false),
            (Honest, false),
            (Mute, false),
            (Honest, false),
            (Honest, false),
        ],
        faults: vec![],
    });
}

#[test]
fn an_answer_that_crossed_a_close_and_a_new_open_is_no_fault_of_the_peer() {
    use Character::Honest;
    assert_all_are_served(&Scenario {
        seed: 16630136951943120130,
        chunks: 21,
        files: 2,
        delay: Duration::from_micros(4490),
        rate: 971595,
        neighbours: 4,
        nodes: vec![
            (Honest, false),
            (Honest, false),
            (Honest, true),
            (Honest, false),
            (Honest, false),
            (Honest, false),
        ],
        faults: vec![
            (ms(171), 1, Fault::Pause(ms(17601))),
            (ms(5237), 6, Fault::LoseChunks(2)),
            (ms(5256), 4, Fault::Crash),
        ],
    });
}

#[test]
fn an_answer_to_a_request_of_a_file_that_was_removed_and_added_again_is_no_fault_of_the_peer() {
    use Character::{Corrupt, Honest};
    assert_all_are_served(&Scenario {
        seed: 12354017714755301537,
        chunks: 9,
        files: 2,
        delay: Duration::from_micros(100),
        rate: 200_000,
        neighbours: 3,
        nodes: vec![(Honest, false), (Corrupt, false), (Honest, false)],
        faults: vec![
            (ms(103), 3, Fault::Pause(ms(4988))),
            (ms(1001), 1, Fault::Toggle(1)),
            (ms(1001), 1, Fault::Toggle(1)),
            (ms(1001), 3, Fault::LoseChunks(1)),
        ],
    });
}

#[test]
fn a_new_open_under_another_number_after_a_close_that_was_not_answered_is_no_fault_of_the_peer() {
    use Character::Honest;
    assert_all_are_served(&Scenario {
        seed: 11709575449826981697,
        chunks: 11,
        files: 3,
        delay: Duration::from_micros(17382),
        rate: 2344256,
        neighbours: 2,
        nodes: vec![(Honest, false), (Honest, false)],
        faults: vec![
            (ms(70), 2, Fault::Pause(ms(5739))),
            (ms(70), 2, Fault::Toggle(1)),
            (ms(70), 2, Fault::Toggle(1)),
            (ms(88), 1, Fault::Toggle(1)),
            (ms(1761), 1, Fault::Toggle(1)),
        ],
    });
}

#[test]
fn an_answer_under_a_new_number_to_a_request_from_before_a_close_is_no_fault_of_the_peer() {
    use Character::Honest;
    assert_all_are_served(&Scenario {
        seed: 628444083174122527,
        chunks: 13,
        files: 2,
        delay: Duration::from_micros(1001),
        rate: 245407,
        neighbours: 2,
        nodes: vec![
            (Honest, false),
            (Honest, false),
            (Honest, false),
            (Honest, false),
            (Honest, false),
        ],
        faults: vec![
            (ms(0), 1, Fault::Pause(ms(7693))),
            (ms(1690), 2, Fault::Toggle(2)),
            (ms(1690), 2, Fault::Toggle(2)),
        ],
    });
}

//! What the user sets, as sentences.

use std::num::NonZeroU64;
use std::time::Duration;

use tnet_fileinfo::MIN_CHUNK_SIZE;

use super::network::{Character, Network};
use crate::{Config, Input, Priority, RateLimits};

const FILE: u32 = 1;

/// Bytes in a second: sixteen chunks.
const RATE: u64 = 16 * MIN_CHUNK_SIZE as u64;

/// Time in which that rate brings `chunks`.
fn time_of(chunks: u64) -> Duration {
    Duration::from_millis(chunks * 1000 / 16)
}

fn limit(
    network: &mut Network,
    node: usize,
    file: Option<u32>,
    up: Option<u64>,
    down: Option<u64>,
) {
    let file = file.map(|file| network.key(node, file));
    let limits =
        RateLimits { up: up.and_then(NonZeroU64::new), down: down.and_then(NonZeroU64::new) };
    network.input(node, Input::Limit { file, limits });
}

/// A seed and two receivers of 160 chunks.
fn network() -> Network {
    let mut network = Network::new(1, 160, Config::default());
    network.add_seed(Character::Honest, FILE);
    network.add_receiver(Character::Honest, FILE);
    network.add_receiver(Character::Honest, FILE);
    network
}

fn has(network: &Network, node: usize) -> u64 {
    network.nodes[node].disk[&FILE].count().into()
}

#[test]
fn a_seed_sends_no_faster_than_it_may_and_not_much_slower() {
    for file in [None, Some(FILE)] {
        let mut network = network();
        limit(&mut network, 0, file, Some(RATE), None);
        network.run_for(time_of(80));
        let sent = network.nodes[0].sent;
        assert!((70..=83).contains(&sent), "{sent} chunks, limit of {file:?}");
        let complete =
            |network: &Network| network.is_complete(1, FILE) && network.is_complete(2, FILE);
        assert!(
            network.run(time_of(120), complete),
            "{} and {}",
            has(&network, 1),
            has(&network, 2)
        );
    }
}

#[test]
fn a_receiver_asks_for_no_more_than_it_may_and_the_others_do_not_mind() {
    for file in [None, Some(FILE)] {
        let mut network = network();
        limit(&mut network, 1, file, None, Some(RATE));
        assert!(
            network.run(time_of(40), |network| network.is_complete(2, FILE)),
            "it has no limit"
        );
        network.run_for(time_of(80) - network.now.elapsed());
        let got = has(&network, 1);
        assert!((70..=83).contains(&got), "{got} chunks, limit of {file:?}");
        limit(&mut network, 1, file, None, None);
        assert!(
            network.run(time_of(20), |network| network.is_complete(1, FILE)),
            "the limit is gone"
        );
    }
}

#[test]
fn what_is_paused_moves_in_no_direction_and_goes_on_where_it_was() {
    let mut network = network();
    limit(&mut network, 0, None, Some(RATE), None);
    network.run_for(time_of(40));
    let file = network.key(1, FILE);
    network.input(1, Input::Pause { file });
    // What was under way has arrived.
    network.run_for(time_of(8));
    let (got, sent) = (has(&network, 1), network.nodes[1].sent);
    network.run_for(time_of(40));
    assert_eq!((has(&network, 1), network.nodes[1].sent), (got, sent));
    assert!(has(&network, 2) > got, "the other one gets on");
    network.input(1, Input::Resume { file });
    assert!(network.run(Duration::from_secs(60), |network| network.is_complete(1, FILE)));
}

#[test]
fn a_paused_seed_gives_nothing_until_it_is_resumed() {
    let mut network = network();
    let file = network.key(0, FILE);
    network.input(0, Input::Pause { file });
    network.run_for(Duration::from_secs(20));
    assert_eq!((has(&network, 1), has(&network, 2)), (0, 0));
    network.input(0, Input::Resume { file });
    let complete = |network: &Network| network.is_complete(1, FILE) && network.is_complete(2, FILE);
    assert!(network.run(Duration::from_secs(60), complete));
}

#[test]
fn the_file_that_comes_first_is_whole_before_the_other_is_half() {
    let mut network = Network::new(3, 160, Config::default());
    network.add_seed(Character::Honest, 1);
    network.seed(0, 2);
    let receiver = network.add_receiver(Character::Honest, 1);
    network.download(receiver, 2);
    let file = network.key(receiver, 2);
    network.input(receiver, Input::Prioritise { file, priority: Priority::High });
    limit(&mut network, receiver, None, None, Some(RATE));
    assert!(network.run(time_of(200), |network| network.is_complete(receiver, 2)));
    let other = network.nodes[receiver].disk[&1].count();
    assert!(other < 40, "{other} chunks of the other one");
    assert!(network.run(time_of(200), |network| network.is_complete(receiver, 1)));
}

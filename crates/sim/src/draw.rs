//! A world drawn from a seed alone: any scenario, any size from tiny to medium, so that thousands
//! of seeds reach combinations that no test names.

use clap::ValueEnum;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tnet_fileinfo::ChunkSize;

use crate::scenario::{Parameters, Scenario};
use crate::units::MILLISECOND;
use crate::world::Checks;

/// Inputs between two checks of a core's invariants: a prime, so that it does not fall in step with
/// a pattern of inputs.
const BOOKS_EVERY: u64 = 101;

/// The scenario and the parameters of this seed. Drawn parameters replace those of `base`.
pub fn drawn(seed: u64, base: &Parameters) -> (Scenario, Parameters) {
    // A different stream than the simulation's, which starts from the same seed.
    let mut random = StdRng::seed_from_u64(seed ^ 0x6472_6177);
    let scenarios = Scenario::value_variants();
    let scenario = scenarios[random.random_range(0..scenarios.len())];
    let small = ChunkSize::new((16 * 1024) << random.random_range(0..4_u32))
        .expect("a power of two in range");
    let mut parameters = Parameters {
        receivers: random.random_range(1..=24),
        chunks: random.random_range(1..=160),
        chunk_size: small,
        mbit: [10.0, 50.0, 100.0, 1000.0][random.random_range(0..4)],
        delay: random.random_bool(0.5).then(|| random.random_range(0..60) * MILLISECOND),
        spread: random.random_range(0..2000) * MILLISECOND,
        seed,
        checks: Checks { books_every: BOOKS_EVERY, table: true },
        ..base.clone()
    };
    if random.random_bool(0.3) {
        parameters.network.loss_ppm = Some(random.random_range(0..20_000));
    }
    if random.random_bool(0.3) {
        parameters.network.jitter = Some(random.random_range(0..20) * MILLISECOND);
    }
    if random.random_bool(0.3) {
        parameters.swarm.neighbours = random.random_range(4..50);
    }
    if random.random_bool(0.3) {
        parameters.damaged_per_mille = random.random_range(1..500);
    }
    (scenario, parameters)
}

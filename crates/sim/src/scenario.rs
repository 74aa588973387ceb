//! Worlds by name. Each is a small function from a few parameters to a whole world.

use clap::ValueEnum;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tnet_fileinfo::ChunkSize;
use tnet_proto::REPORT_INTERVAL;
use tnet_swarm::Config;

use crate::net::NetworkModel;
use crate::units::{MILLISECOND, Nanos, Rate, SECOND, duration, number};
use crate::wire::Headers;
use crate::world::{
    Character, Checks, DiskModel, Holds, HostChange, HostPlan, START, WhenDone, World,
};

/// What the lab's token buckets hold.
const LAB_BUCKET_BYTES: u64 = 128 * 1024;

/// Misbehaving hosts in a crowd.
const CROWD: usize = 60;

/// How long a receiver seeds by default while others of its swarm are not done.
const LINGER_AT_MOST: Nanos = 60 * SECOND;

/// A world by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// One seed and N receivers with equal links, all starting at once.
    Equal,
    /// The same, as a shaped network of network namespaces does it: headers count, queues are long.
    Lab,
    /// The same when all are behind one address.
    OneAddress,
    /// The seed's uplink is a quarter of the others'.
    SlowSeed,
    /// Some receivers have a tenth of the uplink.
    SlowUplinks,
    /// One receiver more each second.
    Staggered,
    /// Receivers leave when they and all their neighbours are done, after a minute in any case.
    LeaveWhenDone,
    /// Four seeds.
    SeveralSeeds,
    /// A tenth of the receivers crash and come back.
    Crash,
    /// A twentieth of the receivers forge half of the chunks that they send.
    Poison,
    /// A tenth of the hosts crash and come back, a twentieth send forged chunks, a tenth have slow
    /// disks and links.
    CrashPoisonSlow,
    /// The network is in two halves for a while.
    Partition,
    /// The coordinator dies in the middle and comes back with nothing.
    CoordinatorDies,
    /// The seed starts when all receivers have been waiting for a while.
    LateSeed,
    /// Some hosts claim chunks and have none, accept requests and send nothing, drip, or freeze for
    /// a while.
    Liars,
    /// Many hosts that claim every chunk, behind one address or behind 16: silent, trickling,
    /// forging, or some of each.
    Crowd,
    /// The seed's machine loses power when there is at least one copy, and comes back much later.
    SeedVanishes,
}

/// Parameters of any world.
#[derive(Debug, Clone)]
pub struct Parameters {
    /// Receivers.
    pub receivers: usize,
    /// Chunks of the file.
    pub chunks: u32,
    /// Bytes in each.
    pub chunk_size: ChunkSize,
    /// Links of receivers, in Mbit/s.
    pub mbit: f64,
    /// Links of seeds; `None`: the same.
    pub seed_mbit: Option<f64>,
    /// From host to host; `None`: as in the scenario.
    pub delay: Option<Nanos>,
    /// Receivers start within so much time.
    pub spread: Nanos,
    /// Hosts that are slow, where a scenario has some.
    pub slow: Option<usize>,
    /// Chunks in a thousand that are damaged on the disk of a host that comes back.
    pub damaged_per_mille: u32,
    /// Decides every random choice.
    pub seed: u64,
    /// Settings of every core.
    pub swarm: Config,
    /// Changes to the network of the scenario.
    pub network: NetworkChanges,
    /// What is checked.
    pub checks: Checks,
}

/// Parameters of the network that differ from the scenario's.
#[derive(Debug, Clone, Copy, Default)]
pub struct NetworkChanges {
    /// Whether headers count.
    pub headers: Option<Headers>,
    /// Bytes of a turn at an uplink.
    pub turn_bytes: Option<u64>,
    /// Bytes written and not sent, at which the application waits.
    pub unsent_bytes: Option<u64>,
    /// See [`NetworkModel::turns`].
    pub turns: Option<usize>,
    /// Bytes of a chunk that are written at once.
    pub part_bytes: Option<u32>,
    /// Longest queue in front of a downlink, and at an uplink.
    pub queue: Option<Nanos>,
    /// Random delay.
    pub jitter: Option<Nanos>,
    /// Packets lost in a million.
    pub loss_ppm: Option<u32>,
}

impl Default for Parameters {
    fn default() -> Parameters {
        Parameters {
            receivers: 16,
            chunks: 256,
            chunk_size: ChunkSize::new(128 * 1024).expect("a power of two in range"),
            mbit: 100.0,
            seed_mbit: None,
            delay: None,
            spread: 20 * MILLISECOND,
            slow: None,
            damaged_per_mille: 0,
            seed: 1,
            swarm: Config::default(),
            network: NetworkChanges::default(),
            checks: Checks::default(),
        }
    }
}

impl Scenario {
    /// The world of this name with these parameters.
    pub fn world(self, parameters: &Parameters) -> World {
        let world = equal(parameters);
        match self {
            Scenario::Equal => world,
            Scenario::Lab => lab(world, parameters),
            Scenario::OneAddress => one_address(lab(world, parameters)),
            Scenario::SlowSeed => slow_seed(world, parameters),
            Scenario::SlowUplinks => slow_uplinks(world, parameters),
            Scenario::Staggered => staggered(world),
            Scenario::LeaveWhenDone => leave_when_done(world),
            Scenario::SeveralSeeds => several_seeds(world, parameters),
            Scenario::Crash => crash(world, parameters),
            Scenario::Poison => poison(world, parameters),
            Scenario::CrashPoisonSlow => crash_poison_slow(world, parameters),
            Scenario::Partition => partition(world),
            Scenario::CoordinatorDies => coordinator_dies(world),
            Scenario::LateSeed => late_seed(world),
            Scenario::Liars => liars(world, parameters),
            Scenario::Crowd => crowd(world, parameters),
            Scenario::SeedVanishes => seed_vanishes(world),
        }
    }
}

/// One seed and N receivers with equal links.
fn equal(parameters: &Parameters) -> World {
    let mut rng = StdRng::seed_from_u64(parameters.seed ^ 0x5eed);
    let rate = Rate::mbit(parameters.mbit);
    let seed_rate = parameters.seed_mbit.map_or(rate, Rate::mbit);
    let seed = HostPlan::honest(0, Holds::Everything, seed_rate);
    let mut receiver = || {
        let late = if parameters.spread > 0 { rng.random_range(0..parameters.spread) } else { 0 };
        HostPlan::honest(START + late, Holds::Nothing, rate)
    };
    let hosts =
        std::iter::once(seed).chain((0..parameters.receivers).map(|_| receiver())).collect();
    let mut network = NetworkModel::default();
    apply(&mut network, parameters);
    let mut world = World {
        name: "equal",
        seed: parameters.seed,
        damaged_per_mille: parameters.damaged_per_mille,
        chunks: parameters.chunks,
        chunk_size: parameters.chunk_size,
        swarm: parameters.swarm.clone(),
        network,
        hosts,
        report_interval: duration(REPORT_INTERVAL),
        coordinator_delay: MILLISECOND / 10,
        outages: Vec::new(),
        partition: None,
        deadline: 0,
        checks: parameters.checks,
    };
    set_deadline(&mut world);
    world
}

fn apply(network: &mut NetworkModel, parameters: &Parameters) {
    let NetworkChanges {
        headers,
        turn_bytes,
        unsent_bytes,
        turns,
        part_bytes,
        queue,
        jitter,
        loss_ppm,
    } = parameters.network;
    network.delay = parameters.delay.unwrap_or(network.delay);
    network.headers = headers.unwrap_or(network.headers);
    network.turn_bytes = turn_bytes.unwrap_or(network.turn_bytes);
    network.turns = turns.unwrap_or(network.turns).max(1);
    network.unsent_bytes = unsent_bytes.unwrap_or(network.unsent_bytes);
    network.part_bytes = part_bytes.unwrap_or(network.part_bytes);
    network.uplink_queue = queue.unwrap_or(network.uplink_queue);
    network.downlink_queue = queue.unwrap_or(network.downlink_queue);
    network.jitter = jitter.unwrap_or(network.jitter);
    network.loss_ppm = loss_ppm.unwrap_or(network.loss_ppm);
}

/// Generous: it only distinguishes runs that never end from slow ones.
fn set_deadline(world: &mut World) {
    let last_change = world
        .hosts
        .iter()
        .flat_map(|plan| plan.changes.iter().map(|(at, _)| *at).chain([plan.joins]));
    let quiet_from =
        last_change.max().unwrap_or(0).max(world.partition.map_or(0, |(_, heals, _)| heals));
    world.deadline = quiet_from + START + 10 * world.bound() + 300 * SECOND;
}

fn lab(mut world: World, parameters: &Parameters) -> World {
    world.name = "lab";
    world.network.headers = Headers::Counted;
    world.network.delay = MILLISECOND / 20;
    // The shaper's limit is this time at its rate and its bucket on top.
    let bucket = Rate::mbit(parameters.mbit).time_for(LAB_BUCKET_BYTES);
    world.network.uplink_queue += bucket;
    world.network.downlink_queue += bucket;
    apply(&mut world.network, parameters);
    world
}

fn one_address(mut world: World) -> World {
    world.name = "one-address";
    world.hosts.iter_mut().for_each(|plan| plan.source = Some(0));
    world
}

fn slow_seed(mut world: World, parameters: &Parameters) -> World {
    world.name = "slow-seed";
    if parameters.seed_mbit.is_none() {
        world.hosts[0].up = world.hosts[0].up.divided_by(4);
    }
    set_deadline(&mut world);
    world
}

fn slow_uplinks(mut world: World, parameters: &Parameters) -> World {
    world.name = "slow-uplinks";
    let slow = parameters.slow.unwrap_or(parameters.receivers / 10);
    for plan in world.hosts.iter_mut().skip(1).take(slow) {
        plan.up = plan.up.divided_by(10);
    }
    set_deadline(&mut world);
    world
}

fn staggered(mut world: World) -> World {
    world.name = "staggered";
    for (late, plan) in world.hosts.iter_mut().skip(1).enumerate() {
        plan.joins = START + SECOND * late as u64;
    }
    set_deadline(&mut world);
    world
}

fn leave_when_done(mut world: World) -> World {
    world.name = "leave-when-done";
    for plan in world.hosts.iter_mut().skip(1) {
        plan.when_done = WhenDone::Linger { at_most: LINGER_AT_MOST };
    }
    world
}

fn several_seeds(mut world: World, parameters: &Parameters) -> World {
    world.name = "several-seeds";
    let more = parameters.slow.unwrap_or(4).max(1) - 1;
    let seed = world.hosts[0].clone();
    world.hosts.splice(1..1, std::iter::repeat_n(seed, more));
    set_deadline(&mut world);
    world
}

fn crash(mut world: World, parameters: &Parameters) -> World {
    world.name = "crash";
    let bound = world.bound();
    let crashing = parameters.slow.unwrap_or(parameters.receivers.div_ceil(10));
    crash_first(&mut world.hosts[1..], crashing, bound, parameters.seed);
    set_deadline(&mut world);
    world
}

fn poison(mut world: World, parameters: &Parameters) -> World {
    world.name = "poison";
    let poisonous = parameters.slow.unwrap_or(parameters.receivers.div_ceil(20));
    poison_first(&mut world.hosts[1..], poisonous);
    set_deadline(&mut world);
    world
}

fn crash_poison_slow(mut world: World, parameters: &Parameters) -> World {
    world.name = "crash-poison-slow";
    let bound = world.bound();
    let receivers = parameters.receivers;
    let slow = parameters.slow.unwrap_or(receivers.div_ceil(10));
    // Disjoint sets: a host is not both.
    let plans = crash_first(&mut world.hosts[1..], receivers.div_ceil(10), bound, parameters.seed);
    let plans = poison_first(plans, receivers.div_ceil(20));
    for plan in plans.iter_mut().take(slow) {
        plan.up = plan.up.divided_by(10);
        plan.disk = DiskModel { rate: plan.up, latency: 10 * MILLISECOND };
    }
    set_deadline(&mut world);
    world
}

/// The first hosts crash at some time while all are busy, and come back soon. Returns the others.
fn crash_first(
    plans: &mut [HostPlan],
    crashing: usize,
    bound: Nanos,
    seed: u64,
) -> &mut [HostPlan] {
    let mut rng = StdRng::seed_from_u64(seed ^ 0xc4a5);
    let (first, others) = plans.split_at_mut(crashing.min(plans.len()));
    for plan in first {
        let at = START + rng.random_range(bound / 10..bound.max(10));
        let back = at + rng.random_range(SECOND / 10..5 * SECOND);
        plan.changes = vec![(at, HostChange::Crash), (back, HostChange::Rejoin)];
    }
    others
}

/// The first hosts forge half of what they send. Returns the others.
fn poison_first(plans: &mut [HostPlan], poisonous: usize) -> &mut [HostPlan] {
    let (first, others) = plans.split_at_mut(poisonous.min(plans.len()));
    first.iter_mut().for_each(|plan| plan.character = Character::Poisonous { per_mille: 500 });
    others
}

fn partition(mut world: World) -> World {
    world.name = "partition";
    let parts = START + world.bound() / 3;
    world.partition = Some((parts, parts + 30 * SECOND, number(world.hosts.len() / 2)));
    set_deadline(&mut world);
    world
}

fn coordinator_dies(mut world: World) -> World {
    world.name = "coordinator-dies";
    let dies = START + world.bound() / 4;
    world.outages = vec![(dies, dies + 20 * SECOND)];
    // Half of them start while it is down; they know no peers until it is back.
    let half = world.hosts.len() / 2;
    for plan in world.hosts.iter_mut().skip(half.max(1)) {
        plan.joins = dies + SECOND;
    }
    set_deadline(&mut world);
    world
}

fn late_seed(mut world: World) -> World {
    world.name = "late-seed";
    world.hosts[0].joins = START + 30 * SECOND;
    set_deadline(&mut world);
    world
}

fn liars(mut world: World, parameters: &Parameters) -> World {
    world.name = "liars";
    let each = parameters.slow.unwrap_or(parameters.receivers.div_ceil(16));
    let frozen = START + world.bound() / 4;
    let mut plans = world.hosts.iter_mut().skip(1);
    for character in [Character::Boaster, Character::Mute, Character::Dripping] {
        for plan in plans.by_ref().take(each) {
            plan.character = character;
            plan.holds = Holds::Everything;
        }
    }
    for plan in plans.by_ref().take(each) {
        let lasts = 60 * SECOND;
        plan.changes =
            vec![(frozen, HostChange::Freeze { lasts }), (frozen + lasts, HostChange::Thaw)];
    }
    // Full holders first, as everywhere.
    world.hosts[1..].sort_by_key(|plan| plan.holds == Holds::Nothing);
    set_deadline(&mut world);
    world
}

fn crowd(mut world: World, parameters: &Parameters) -> World {
    world.name = "crowd";
    let characters =
        [Character::Mute, Character::Trickling, Character::Poisonous { per_mille: 1000 }];
    let (sources, manner) =
        (if parameters.seed.is_multiple_of(2) { 1 } else { 16 }, parameters.seed / 2 % 4);
    let rate = world.hosts[0].up;
    for number in 0..parameters.slow.unwrap_or(CROWD) {
        let mut plan = HostPlan::honest(0, Holds::Everything, rate);
        let manner = usize::try_from(manner).unwrap_or(0);
        plan.character = *characters.get(manner).unwrap_or(&characters[number % characters.len()]);
        plan.source = u8::try_from(number % sources).ok();
        world.hosts.insert(1, plan);
    }
    set_deadline(&mut world);
    world
}

fn seed_vanishes(mut world: World) -> World {
    world.name = "seed-vanishes";
    let bound = world.bound();
    // Before it has sent everything once.
    let gone = START + bound - bound / 4;
    world.hosts[0].changes =
        vec![(gone, HostChange::Vanish), (gone + 200 * SECOND, HostChange::Rejoin)];
    set_deadline(&mut world);
    world
}

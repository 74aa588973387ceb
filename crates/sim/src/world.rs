//! What a run is made of: the file, the wires, the hosts and what becomes of them. A world and its
//! seed decide everything that happens.

use tnet_fileinfo::{ChunkSize, FileHash, Geometry, GeometryError};
use tnet_swarm::Config;

use crate::net::NetworkModel;
use crate::units::{HostId, MILLISECOND, Nanos, Rate, SECOND};

/// When receivers start: seeds have introduced themselves by then, as in the lab. Results are
/// counted from here.
pub const START: Nanos = SECOND;

/// A whole run.
#[derive(Debug, Clone)]
pub struct World {
    /// Of the scenario.
    pub name: &'static str,
    /// Decides every random choice.
    pub seed: u64,
    /// Of what a process that comes back finds of the file, so many chunks in a thousand are
    /// damaged.
    pub damaged_per_mille: u32,
    /// The file's chunks.
    pub chunks: u32,
    /// Bytes in each of them.
    pub chunk_size: ChunkSize,
    /// Settings of every core.
    pub swarm: Config,
    /// The wires.
    pub network: NetworkModel,
    /// Everybody. Full holders first.
    pub hosts: Vec<Plan>,
    /// How often hosts report to the coordinator.
    pub report_interval: Nanos,
    /// From a host to the coordinator.
    pub coordinator_delay: Nanos,
    /// When the coordinator goes down and when it is back, empty.
    pub outages: Vec<(Nanos, Nanos)>,
    /// When the network parts and heals, and the first host of the second half.
    pub partition: Option<(Nanos, Nanos, HostId)>,
    /// A run that takes longer has failed.
    pub deadline: Nanos,
    /// What is checked.
    pub checks: Checks,
}

/// What a run holds its hosts to, beyond what is always checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checks {
    /// Every so many inputs a core recounts its books. Zero: never.
    pub books_every: u64,
    /// Whether to go on after the last completion until the coordinator's table must be right.
    pub table: bool,
}

/// One host.
#[derive(Debug, Clone)]
pub struct Plan {
    /// When it starts.
    pub joins: Nanos,
    /// What it holds then.
    pub holds: Holds,
    /// Its uplink.
    pub up: Rate,
    /// Its downlink.
    pub down: Rate,
    /// Its disk, including verification.
    pub disk: Disk,
    /// How it treats others.
    pub character: Character,
    /// The address that it shares with all hosts of the same number; none: it has one of its own.
    pub source: Option<u8>,
    /// What is wrong with its program: the checkers must notice.
    pub defect: Option<Defect>,
    /// What happens to it, in order.
    pub changes: Vec<(Nanos, Change)>,
    /// What it does with the whole file.
    pub when_done: WhenDone,
}

/// What a host begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// The whole file.
    Everything,
    /// None of it.
    Nothing,
}

/// How fast chunks are stored, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Bytes per second.
    pub rate: Rate,
    /// And this for each chunk.
    pub latency: Nanos,
}

/// How a host treats others. Any but the first lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Character {
    /// As promised.
    Honest,
    /// Sends other bytes, for so many in a thousand chunks.
    Poisonous {
        /// How many.
        per_mille: u32,
    },
    /// Claims every chunk and refuses them all.
    Boaster,
    /// Accepts every request and sends nothing.
    Mute,
    /// Accepts every request and sends a few bytes a second.
    Dripping,
    /// The same with some more, so that it is not taken for one that does not send.
    Trickling,
}

impl Character {
    /// How many bytes of a chunk it sends in a second, if it never sends a whole one.
    pub(crate) fn drip(self) -> Option<u32> {
        match self {
            Character::Dripping => Some(4),
            Character::Trickling => Some(3000),
            _ => None,
        }
    }
}

/// A fault planted into the program of a host that means well, to see the checkers fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// Stores every chunk without verifying it.
    TrustsEverybody,
    /// Takes chunks for stored that never reach the disk.
    LosesWrites,
    /// Believes that what an earlier life left on the disk is still what it was.
    TrustsItsDisk,
    /// Never tells the coordinator that it is done.
    KeepsCompletionSecret,
    /// Sends nothing that it was asked for, and says that it did.
    SendsNothing,
}

/// What happens to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The process dies; what is on disk stays.
    Crash,
    /// The machine loses power: nobody is told.
    Vanish,
    /// It says goodbye to everybody and ends.
    Leave,
    /// It comes back with what is on its disk.
    Rejoin,
    /// It stops reading and sending.
    Freeze {
        /// For how long.
        lasts: Nanos,
    },
    /// It goes on. Follows each freeze by itself.
    Thaw,
}

/// What a host does when it has the whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenDone {
    /// Seeds for ever.
    Stay,
    /// Seeds until everybody it knows is done, then leaves, as `tnet get --foreground` does.
    Linger {
        /// Leaves after this long in any case.
        at_most: Nanos,
    },
}

impl Plan {
    /// An honest host with a fast disk that stays.
    pub fn honest(joins: Nanos, holds: Holds, rate: Rate) -> Plan {
        Plan {
            joins,
            holds,
            up: rate,
            down: rate,
            disk: Disk { rate: Rate::new(1_000_000_000), latency: MILLISECOND / 5 },
            character: Character::Honest,
            source: None,
            defect: None,
            changes: Vec::new(),
            when_done: WhenDone::Stay,
        }
    }

    /// Whether the host is to have the whole file in the end: it wants it, does not lie, and does
    /// not stay away.
    pub fn must_finish(&self) -> bool {
        let last = self.changes.iter().rev().find(|(_, change)| *change != Change::Thaw);
        let stays =
            last.is_none_or(|(_, change)| matches!(change, Change::Rejoin | Change::Freeze { .. }));
        self.holds == Holds::Nothing && self.character == Character::Honest && stays
    }
}

impl World {
    /// The file's chunks, all of the same length.
    ///
    /// # Errors
    /// More chunks than a file may have.
    pub fn geometry(&self) -> Result<Geometry, GeometryError> {
        Geometry::new(u64::from(self.chunks) * u64::from(self.chunk_size.get()), self.chunk_size)
    }

    /// Bytes of the file.
    pub fn file_len(&self) -> u64 {
        u64::from(self.chunks) * u64::from(self.chunk_size.get())
    }

    /// Names the file; only that it is the same everywhere matters.
    pub fn hash(&self) -> FileHash {
        FileHash::from_bytes([7; 32])
    }

    /// The fluid bound of Kumar and Ross: no protocol brings the file to everybody sooner. Nobody's
    /// overhead is in it, nor that hosts may come later than the start or lie.
    pub fn bound(&self) -> Nanos {
        let len = self.file_len();
        let receivers = || self.hosts.iter().filter(|plan| plan.must_finish());
        let seeds = self.hosts.iter().filter(|plan| plan.holds == Holds::Everything);
        let honest_seeds = seeds.filter(|plan| plan.character == Character::Honest);
        let seed_rate: u64 = honest_seeds.map(|plan| plan.up.bytes_per_second()).sum();
        let all_rates = seed_rate + receivers().map(|plan| plan.up.bytes_per_second()).sum::<u64>();
        let slowest = receivers().map(|plan| plan.down).min();
        let total = len.saturating_mul(receivers().count() as u64);
        let by_seeds = Rate::new(seed_rate).time_for(len);
        let by_all = Rate::new(all_rates).time_for(total);
        by_seeds.max(by_all).max(slowest.map_or(0, |rate| rate.time_for(len)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Parameters, Scenario};

    #[test]
    fn between_equals_the_bound_is_the_file_over_the_rate() {
        let world = Scenario::Equal.world(&Parameters {
            receivers: 100,
            chunks: 64,
            ..Parameters::default()
        });
        assert_eq!(world.bound(), Rate::mbit(100.0).time_for(world.file_len()));
    }

    #[test]
    fn slow_uplinks_raise_the_bound_to_what_all_can_send_together() {
        // 16 receivers, a quarter of them with a tenth of the uplink: 16 F / (1 + 12 + 0.4) u.
        let world = Scenario::SlowUplinks.world(&Parameters {
            receivers: 16,
            slow: Some(4),
            ..Parameters::default()
        });
        let alone = Rate::mbit(100.0).time_for(world.file_len());
        let expected = alone * 160 / 134;
        assert!(
            world.bound().abs_diff(expected) < expected / 1000,
            "{} instead of {expected}",
            world.bound()
        );
    }
}

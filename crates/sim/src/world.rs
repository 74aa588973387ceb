//! The description of a run: the file, the links, the hosts and what happens to them. A world and
//! its seed determine everything.

use tnet_fileinfo::{ChunkSize, FileHash, Geometry, GeometryError};
use tnet_swarm::Config;

use crate::net::NetworkModel;
use crate::units::{HostId, MILLISECOND, Nanos, Rate, SECOND};

/// When receivers start: seeds are known to the coordinator by then, as in the lab. Results are
/// counted from here.
pub const START: Nanos = SECOND;

/// A whole run.
#[derive(Debug, Clone)]
pub struct World {
    /// Of the scenario.
    pub name: &'static str,
    /// Decides every random choice.
    pub seed: u64,
    /// Chunks in a thousand that are damaged on the disk of a host that comes back.
    pub damaged_per_mille: u32,
    /// The file's chunks.
    pub chunks: u32,
    /// Bytes in each of them.
    pub chunk_size: ChunkSize,
    /// Settings of every core.
    pub swarm: Config,
    /// The links.
    pub network: NetworkModel,
    /// All hosts, full holders first.
    pub hosts: Vec<HostPlan>,
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

/// Checks beyond those that every run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checks {
    /// Inputs between two checks of a core's invariants; zero: never.
    pub books_every: u64,
    /// Whether to continue after the last completion until the coordinator's table must be right.
    pub table: bool,
}

/// One host.
#[derive(Debug, Clone)]
pub struct HostPlan {
    /// When it starts.
    pub joins: Nanos,
    /// What it holds then.
    pub holds: Holds,
    /// Its uplink.
    pub up: Rate,
    /// Its downlink.
    pub down: Rate,
    /// Its disk, including verification.
    pub disk: DiskModel,
    /// How it behaves towards others.
    pub character: Character,
    /// The address that it shares with all hosts of the same number; `None`: its own address.
    pub source: Option<u8>,
    /// A planted defect, which the checkers must find.
    pub defect: Option<Defect>,
    /// What happens to it, in order.
    pub changes: Vec<(Nanos, HostChange)>,
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
pub struct DiskModel {
    /// Bytes per second.
    pub rate: Rate,
    /// And this for each chunk.
    pub latency: Nanos,
}

/// How a host behaves towards others. All but the first misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Character {
    /// As promised.
    Honest,
    /// Forges some of the chunks that it sends.
    Poisonous {
        /// Chunks in a thousand that are forged.
        per_mille: u32,
    },
    /// Claims every chunk and refuses them all.
    Boaster,
    /// Accepts every request and sends nothing.
    Mute,
    /// Accepts every request and sends a few bytes a second.
    Dripping,
    /// The same with more bytes, so that it is not detected as stalled.
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

/// A defect planted into the program of an honest host, to test the checkers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// Stores every chunk without verifying it.
    TrustsEverybody,
    /// Reports chunks as stored that never reach the disk.
    LosesWrites,
    /// Trusts the chunks on its disk without verifying them.
    TrustsItsDisk,
    /// Never tells the coordinator that it is done.
    KeepsCompletionSecret,
    /// Sends no chunk, and reports that it did.
    SendsNothing,
}

/// What happens to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostChange {
    /// The process dies; what is on disk stays.
    Crash,
    /// The machine loses power: no connection is closed.
    Vanish,
    /// It sends `Bye` on all connections and ends.
    Leave,
    /// It comes back with what is on its disk.
    Rejoin,
    /// It stops reading and sending.
    Freeze {
        /// For how long.
        lasts: Nanos,
    },
    /// It continues. A plan has one after each freeze.
    Thaw,
}

/// What a host does when it has the whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenDone {
    /// Seeds for ever.
    Stay,
    /// Seeds until all its neighbours are done, then leaves, as `tnet get --foreground` does.
    Linger {
        /// Leaves after this long in any case.
        at_most: Nanos,
    },
}

impl HostPlan {
    /// An honest host with a fast disk that stays.
    pub fn honest(joins: Nanos, holds: Holds, rate: Rate) -> HostPlan {
        HostPlan {
            joins,
            holds,
            up: rate,
            down: rate,
            disk: DiskModel { rate: Rate::new(1_000_000_000), latency: MILLISECOND / 5 },
            character: Character::Honest,
            source: None,
            defect: None,
            changes: Vec::new(),
            when_done: WhenDone::Stay,
        }
    }

    /// Whether the host must have the whole file in the end: it wants it, is honest, and does not
    /// leave.
    pub fn must_finish(&self) -> bool {
        let last = self.changes.iter().rev().find(|(_, change)| *change != HostChange::Thaw);
        let stays = last.is_none_or(|(_, change)| {
            matches!(change, HostChange::Rejoin | HostChange::Freeze { .. })
        });
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

    /// Hash of the file; any value that is the same everywhere.
    pub fn hash(&self) -> FileHash {
        FileHash::from_bytes([7; 32])
    }

    /// The fluid bound of Kumar and Ross: no protocol brings the file to all receivers sooner. It
    /// ignores overhead, late arrivals and misbehaving hosts.
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

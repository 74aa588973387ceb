//! The outcome of a run: sums over all hosts, and the checkers' breaches.

use tnet_swarm::FileStats;

use super::Simulation;
use crate::check::{Breach, unfinished};
use crate::host::sum;
use crate::outcome::Outcome;
use crate::process::{Watch, peak_memory};
use crate::units::{HostId, Nanos, float, number, seconds};
use crate::world::{Character, Holds, START};

impl Simulation {
    pub(super) fn result(
        mut self,
        ended_at: Nanos,
        watch: Watch,
        table: Option<Breach>,
    ) -> Outcome {
        let breaches = self.breaches(ended_at, table);
        let done = self.completions();
        let after_start = |at: Nanos| seconds(at.saturating_sub(START));
        let at = |place: usize| done.get(place).map_or(f64::NAN, |(done, _)| after_start(*done));
        let bound = seconds(self.world.bound());
        let longest_own =
            done.iter().map(|(done, joined)| done - joined).max().map_or(f64::NAN, seconds);
        let last = if self.awaited == 0 { at(done.len().wrapping_sub(1)) } else { f64::NAN };

        let stats = self.stats();
        let traffic = &self.network.traffic;
        let chunk_size = self.geometry.chunk_size().get();
        let begun_with = |host: &&crate::host::Host| host.plan.holds == Holds::Nothing;
        let stored: u64 =
            self.hosts.iter().filter(begun_with).map(|host| u64::from(host.disk.count())).sum();
        let stored_bytes = stored * u64::from(chunk_size);
        let percent = |part: u64, whole: u64| float(part) * 100.0 / float(whole.max(1));
        let coordinator = self.messages.traffic.clone();
        let coordinator_bytes: u64 = coordinator.values().map(|count| count.bytes).sum();
        let is_seed = |host: HostId| self.hosts[host as usize].plan.holds == Holds::Everything;
        let hosts = || 0..number(self.hosts.len());
        let seeds_sent: u64 = hosts()
            .filter(|host| is_seed(*host))
            .map(|host| self.network.port_use(host).content_bytes)
            .sum();
        let up_hosts = hosts().filter(|host| self.hosts[*host as usize].is_up());
        let (neighbours, up_count) = up_hosts
            .fold((0, 0), |(sum, count), host| (sum + self.neighbours(host) as u64, count + 1));
        Outcome {
            scenario: self.world.name,
            seed: self.world.seed,
            receivers: self.world.hosts.iter().filter(|plan| plan.must_finish()).count(),
            finished: done.len(),
            chunks: self.world.chunks,
            chunk_size,
            bound,
            first: at(0),
            median: at(done.len() / 2),
            last,
            ratio: last / bound,
            longest_own: longest_own / bound,
            seed_copies: float(seeds_sent) / float(self.world.file_len()),
            duplicate_percent: percent(stats.duplicate, stored),
            wasted_percent: percent(traffic.part_bytes.saturating_sub(stored_bytes), stored_bytes),
            overhead_percent: percent(traffic.overhead_bytes(), stored_bytes),
            busy_percent: percent(stats.busy, stats.requested),
            neighbours: float(neighbours) / float(up_count.max(1)),
            coordinator_rate: float(coordinator_bytes) / seconds(self.queue.now()).max(1e-9),
            stats,
            traffic: traffic.by_name(),
            coordinator,
            uplink_use: [
                self.uplink_use(ended_at, Holds::Everything),
                self.uplink_use(ended_at, Holds::Nothing),
            ],
            uplink_spread: self.spread(|host| self.net_use(host, ended_at).0),
            downlink_spread: self.spread(|host| self.net_use(host, ended_at).1),
            idle: self.idleness.rows().to_vec(),
            events: self.events,
            inputs: self.inputs,
            wall: watch.elapsed().as_secs_f64(),
            peak_mib: peak_memory().map(|bytes| bytes >> 20),
            breaches,
            trace_hash: self.trace.hash(),
        }
    }

    fn breaches(&mut self, ended_at: Nanos, table: Option<Breach>) -> Vec<Breach> {
        for host in 0..number(self.hosts.len()) {
            let state = &self.hosts[host as usize];
            let is_writing = state
                .core
                .as_ref()
                .is_some_and(|core| !(core.writing.is_empty() && core.unverified.is_empty()));
            if state.plan.character == Character::Honest
                && !is_writing
                && let Some(status) = self.status(host)
            {
                self.safety.believes(host, status.stored, &self.hosts[host as usize].disk);
            }
        }
        let mut breaches = std::mem::take(&mut self.safety).breaches();
        let progress: Vec<(bool, u32)> =
            self.hosts.iter().map(|host| (host.done_at.is_some(), host.disk.count())).collect();
        breaches.extend(unfinished(&self.world, ended_at, &progress));
        breaches.extend(table);
        breaches
    }

    /// Completion and start of each host that must finish, in the order of completion.
    fn completions(&self) -> Vec<(Nanos, Nanos)> {
        let must = self.hosts.iter().filter(|host| host.plan.must_finish());
        let done = must.filter_map(|host| Some((host.done_at?, host.plan.joins.max(START))));
        let mut done: Vec<(Nanos, Nanos)> = done.collect();
        done.sort_unstable();
        done
    }

    fn stats(&self) -> FileStats {
        let of_host = |host: HostId| {
            let now = self.status(host).map_or(FileStats::default(), |status| status.stats);
            sum(self.hosts[host as usize].past, now)
        };
        (0..number(self.hosts.len())).map(of_host).fold(FileStats::default(), sum)
    }

    /// Shares of its uplink and of its downlink that a host used from its start to its own
    /// completion.
    fn net_use(&self, host: HostId, ended_at: Nanos) -> (f64, f64) {
        let state = &self.hosts[host as usize];
        let began = state.plan.joins.max(START);
        let time = state.done_at.unwrap_or(ended_at).saturating_sub(began).max(1);
        let used = self.network.port_use(host);
        let up_time = ended_at.saturating_sub(began).max(1);
        let share = |bytes, rate: crate::units::Rate, time| {
            float(bytes) / float(rate.bytes_in(time).max(1))
        };
        (
            share(used.up_bytes, state.plan.up, up_time),
            share(used.down_bytes, state.plan.down, time),
        )
    }

    /// Lowest, median and highest over the receivers that must finish.
    fn spread(&self, of: impl Fn(HostId) -> f64) -> [f64; 3] {
        let meant = (0..number(self.hosts.len()))
            .filter(|host| self.hosts[*host as usize].plan.must_finish());
        let mut all: Vec<f64> = meant.map(of).collect();
        all.sort_unstable_by(f64::total_cmp);
        let at = |place: usize| all.get(place).copied().unwrap_or(f64::NAN);
        [at(0), at(all.len() / 2), at(all.len().wrapping_sub(1))]
    }

    /// Share of the time since the start that the uplinks of such hosts were sending.
    fn uplink_use(&self, ended_at: Nanos, holds: Holds) -> f64 {
        let meant = (0..number(self.hosts.len()))
            .filter(|host| self.hosts[*host as usize].plan.holds == holds);
        let busy: Vec<Nanos> = meant.map(|host| self.network.port_use(host).up_busy).collect();
        let time = ended_at.saturating_sub(START).max(1) * busy.len().max(1) as u64;
        float(busy.iter().sum()) / float(time)
    }
}

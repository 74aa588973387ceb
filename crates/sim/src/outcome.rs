//! What a run came to, against the fluid bound.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use tnet_swarm::FileStats;

use crate::check::Breach;
use crate::idle::IdleRow;
use crate::tally::Count;

/// The result of a run. Times are seconds since the receivers' start; ratios are to the fluid
/// bound.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Name of the scenario.
    pub scenario: &'static str,
    /// Seed of the run.
    pub seed: u64,
    /// Hosts that must have the file in the end.
    pub receivers: usize,
    /// Those that have.
    pub finished: usize,
    /// Chunks of the file.
    pub chunks: u32,
    /// Bytes in each.
    pub chunk_size: u32,
    /// The fluid bound.
    pub bound: f64,
    /// First completion.
    pub first: f64,
    /// Half of them.
    pub median: f64,
    /// Last completion.
    pub last: f64,
    /// Last completion over the bound.
    pub ratio: f64,
    /// The longest time from a receiver's own start, over the bound.
    pub longest_own: f64,
    /// How often the seeds sent the file's bytes.
    pub seed_copies: f64,
    /// Chunks that arrived and were here already, per cent of those stored.
    pub duplicate_percent: f64,
    /// Bytes of chunks that were sent in vain, per cent of those stored.
    pub wasted_percent: f64,
    /// Bytes that are not content, per cent of those stored.
    pub overhead_percent: f64,
    /// Requests answered with busy, per cent.
    pub busy_percent: f64,
    /// Connections per host at the end.
    pub neighbours: f64,
    /// Bytes per second to and from the coordinator.
    pub coordinator_rate: f64,
    /// What the cores counted.
    #[serde(serialize_with = "stats_as_map")]
    pub stats: FileStats,
    /// Between peers, by message.
    pub traffic: BTreeMap<&'static str, Count>,
    /// To and from the coordinator, by message.
    pub coordinator: BTreeMap<&'static str, Count>,
    /// Share of its uplink that the busiest kind of host used until the last completion: seeds,
    /// receivers.
    pub uplink_use: [f64; 2],
    /// Bytes a receiver's uplink carried until the end of the run, as a share of what it could:
    /// lowest, median, highest.
    pub uplink_spread: [f64; 3],
    /// The same of its downlink, until its own completion.
    pub downlink_spread: [f64; 3],
    /// Why links were idle, over time.
    pub idle: Vec<IdleRow>,
    /// Events of the run.
    pub events: u64,
    /// Inputs given to cores.
    pub inputs: u64,
    /// Seconds of real time.
    pub wall: f64,
    /// Most memory the process ever had, in MiB.
    pub peak_mib: Option<u64>,
    /// Rules that were broken.
    #[serde(serialize_with = "breaches_as_text")]
    pub breaches: Vec<Breach>,
    /// Hash of all decisions, if asked for.
    pub trace_hash: Option<u64>,
}

impl Outcome {
    /// Whether every rule held.
    pub fn is_right(&self) -> bool {
        self.breaches.is_empty()
    }

    /// One line with the figures that matter most.
    pub fn headline(&self) -> String {
        format!(
            "{} seed {}: N={} M={} ratio {:.3} (first {:.3}, median {:.3}) copies {:.3} busy {:.0}% waste {:.2}% \
             overhead {:.2}% in {:.1} s{}",
            self.scenario,
            self.seed,
            self.receivers,
            self.chunks,
            self.ratio,
            self.first / self.bound,
            self.median / self.bound,
            self.seed_copies,
            self.busy_percent,
            self.wasted_percent,
            self.overhead_percent,
            self.wall,
            if self.is_right() { "" } else { " BROKEN" },
        )
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { bound, first, median, last, ratio, longest_own, .. } = self;
        writeln!(f, "scenario      {}, seed {}", self.scenario, self.seed)?;
        writeln!(f, "file          {} chunks of {} KiB", self.chunks, self.chunk_size / 1024)?;
        writeln!(f, "finished      {} of {}", self.finished, self.receivers)?;
        writeln!(f, "bound         {bound:.3} s")?;
        writeln!(f, "first         {first:.3} s = {:.3} of the bound", first / bound)?;
        writeln!(f, "median        {median:.3} s = {:.3}", median / bound)?;
        writeln!(f, "last          {last:.3} s = {ratio:.3}; longest own time {longest_own:.3}")?;
        writeln!(f, "seed copies   {:.3}", self.seed_copies)?;
        writeln!(
            f,
            "duplicates    {:.3} % of chunks, {:.3} % of bytes wasted",
            self.duplicate_percent, self.wasted_percent
        )?;
        writeln!(f, "overhead      {:.3} % beside content", self.overhead_percent)?;
        let FileStats { requested, busy, retried, hedged, corrupt, .. } = self.stats;
        writeln!(
            f,
            "requests      {requested}, {:.1} % busy ({busy}), {retried} retried, {hedged} hedged, {corrupt} corrupt",
            self.busy_percent
        )?;
        writeln!(
            f,
            "uplink use    seeds {:.1} %, receivers {:.1} %",
            self.uplink_use[0] * 100.0,
            self.uplink_use[1] * 100.0
        )?;
        let [up, down] =
            [self.uplink_spread, self.downlink_spread].map(|all| all.map(|share| share * 100.0));
        writeln!(
            f,
            "per receiver  up {:.0}-{:.0} % (median {:.0}), down until done {:.0}-{:.0} % (median {:.0})",
            up[0], up[2], up[1], down[0], down[2], down[1]
        )?;
        writeln!(f, "neighbours    {:.1}", self.neighbours)?;
        writeln!(f, "peer messages")?;
        write_counts(f, &self.traffic)?;
        writeln!(f, "coordinator   {:.0} bytes/s", self.coordinator_rate)?;
        write_counts(f, &self.coordinator)?;
        write_idle(f, &self.idle)?;
        let speed = crate::units::float(self.events) / self.wall.max(1e-9);
        write!(
            f,
            "run           {:.2} s, {} events ({speed:.0}/s), {} inputs",
            self.wall, self.events, self.inputs
        )?;
        match self.peak_mib {
            Some(mib) => writeln!(f, ", {mib} MiB")?,
            None => writeln!(f)?,
        }
        for breach in &self.breaches {
            writeln!(f, "BROKEN: {breach}")?;
        }
        Ok(())
    }
}

fn write_counts(f: &mut fmt::Formatter<'_>, counts: &BTreeMap<&'static str, Count>) -> fmt::Result {
    for (name, Count { messages, bytes }) in counts {
        writeln!(f, "  {name:<12}{messages:>14} messages{bytes:>18} bytes")?;
    }
    Ok(())
}

fn write_idle(f: &mut fmt::Formatter<'_>, rows: &[IdleRow]) -> fmt::Result {
    writeln!(f, "what wires did, per cent of looks; a row is a twentieth of the bound")?;
    writeln!(
        f,
        "  seeds' uplinks                  receivers' uplinks              receivers' downlinks"
    )?;
    writeln!(
        f,
        "  send held kept unasked useless  send held kept unasked useless  receive wait busy unasked done"
    )?;
    for row in rows {
        for looks in [&row.seeds, &row.uplinks, &row.downlinks] {
            let all = looks.iter().sum::<u64>().max(1);
            let share =
                |at: usize| crate::units::float(looks[at]) * 100.0 / crate::units::float(all);
            let [a, b, c, d, e] = [share(0), share(1), share(2), share(3), share(4)];
            write!(f, "  {a:>4.0} {b:>4.0} {c:>4.0} {d:>6.0} {e:>7.0} ")?;
        }
        writeln!(f)?;
    }
    Ok(())
}

fn stats_as_map<S: serde::Serializer>(stats: &FileStats, serializer: S) -> Result<S::Ok, S::Error> {
    let FileStats { requested, busy, arrived, duplicate, corrupt, retried, hedged, uploaded } =
        *stats;
    let named = [
        ("requested", requested),
        ("busy", busy),
        ("arrived", arrived),
        ("duplicate", duplicate),
        ("corrupt", corrupt),
        ("retried", retried),
        ("hedged", hedged),
        ("uploaded", uploaded),
    ];
    serializer.collect_map(named)
}

fn breaches_as_text<S: serde::Serializer>(
    breaches: &[Breach],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(breaches.iter().map(ToString::to_string))
}

//! The command line.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::str::FromStr;

use clap::Parser;
use tnet_fileinfo::ChunkSize;
use tnet_sim::{Checks, Headers, NetworkChanges, Parameters, Scenario, Setting};

/// Simulates whole swarms around the shipped core of a peer. The same arguments give the same run.
#[derive(Debug, Parser)]
#[command(name = "tnet-sim", version, max_term_width = 100)]
pub(crate) struct Args {
    /// Which world.
    #[arg(long, value_enum, default_value = "equal")]
    pub(crate) scenario: Scenario,
    /// Receivers.
    #[arg(long, short, default_value_t = 16)]
    n: usize,
    /// Chunks of the file.
    #[arg(long, default_value_t = 256, conflicts_with = "mib")]
    chunks: u32,
    /// Size of the file in MiB, instead of the number of chunks.
    #[arg(long)]
    mib: Option<u32>,
    /// Size of a chunk in KiB: a power of two from 16 to 16384.
    #[arg(long, default_value_t = 128)]
    chunk_size: u32,
    /// Rate of every link in Mbit/s.
    #[arg(long, default_value_t = 100.0)]
    mbit: f64,
    /// Rate of the seeds' links in Mbit/s, if it differs.
    #[arg(long)]
    seed_mbit: Option<f64>,
    /// From any host to any other, in ms.
    #[arg(long)]
    delay_ms: Option<f64>,
    /// Random delay added to that, in ms.
    #[arg(long)]
    jitter_ms: Option<f64>,
    /// Packets lost, in per cent.
    #[arg(long)]
    loss: Option<f64>,
    /// Receivers start within this time, in ms.
    #[arg(long, default_value_t = 20.0)]
    spread_ms: f64,
    /// Chunks in a thousand that are damaged on the disk of a host that comes back after a crash.
    #[arg(long, default_value_t = 0, value_name = "N")]
    damaged_per_mille: u32,
    /// Hosts of the special kind that a scenario is about: slow ones, seeds, misbehaving ones of
    /// each kind.
    #[arg(long)]
    special: Option<usize>,
    /// Whether packets have headers, as in the lab.
    #[arg(long)]
    headers: Option<bool>,
    /// Longest queues, in ms.
    #[arg(long)]
    queue_ms: Option<f64>,
    /// Bytes that one connection sends before the next has its turn, in KiB.
    #[arg(long)]
    turn_kib: Option<u64>,
    /// Unsent bytes at which the application stops writing, in KiB (`TCP_NOTSENT_LOWAT`).
    #[arg(long)]
    unsent_kib: Option<u64>,
    /// Parts of chunks that a host writes at once.
    #[arg(long)]
    turns: Option<usize>,
    /// Bytes of a chunk that are written at once, in KiB.
    #[arg(long)]
    part_kib: Option<u32>,
    /// Decides every random choice.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Runs all seeds FROM..TO instead, prints a line for each, and how to replay those that fail.
    #[arg(long, conflicts_with = "seed")]
    pub(crate) seeds: Option<SeedRange>,
    /// Draws each seed's world: its scenario, size, links and losses; with all checks.
    #[arg(long, conflicts_with_all = ["scenario", "n", "chunks", "mib"])]
    pub(crate) drawn: bool,
    /// Seeds that run at the same time.
    #[arg(long, default_value = "1")]
    pub(crate) jobs: NonZeroUsize,
    /// Prints every decision of every core.
    #[arg(long)]
    pub(crate) trace: bool,
    /// Prints the result as JSON, one object per run.
    #[arg(long)]
    pub(crate) json: bool,
    /// Prints one line per run.
    #[arg(long)]
    pub(crate) brief: bool,
    /// A setting of the cores, such as upload_slots.max=16; durations in ms. May be repeated.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<Setting>,
    /// A core checks its invariants every N inputs; 0: never.
    #[arg(long, default_value_t = 0)]
    check_books: u64,
    /// Continues after the last completion until the coordinator's table must be right.
    #[arg(long)]
    check_table: bool,
}

/// A range of seeds, the last one included.
#[derive(Debug, Clone)]
pub(crate) struct SeedRange(pub(crate) RangeInclusive<u64>);

/// The text is not a range.
#[derive(Debug, thiserror::Error)]
#[error("expected FROM..TO, with FROM not above TO")]
pub(crate) struct NoRange;

impl FromStr for SeedRange {
    type Err = NoRange;

    fn from_str(text: &str) -> Result<SeedRange, NoRange> {
        let (from, to) = text.split_once("..").ok_or(NoRange)?;
        let (from, to) = (from.parse().map_err(|_| NoRange)?, to.parse().map_err(|_| NoRange)?);
        if from <= to { Ok(SeedRange(from..=to)) } else { Err(NoRange) }
    }
}

/// Why the arguments are invalid.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArgsError {
    #[error("--chunk-size {kib}: a power of two from 16 to 16384")]
    ChunkSize { kib: u32 },
    #[error("--chunks: at least one, and at most what a file may have")]
    Chunks,
    #[error(transparent)]
    Setting(#[from] tnet_sim::SettingError),
}

impl Args {
    /// Everything but the seed.
    pub(crate) fn parameters(&self) -> Result<Parameters, ArgsError> {
        let kib = self.chunk_size;
        let chunk_size = kib.checked_mul(1024).and_then(|bytes| ChunkSize::new(bytes).ok());
        let chunk_size = chunk_size.ok_or(ArgsError::ChunkSize { kib })?;
        let chunks = match self.mib {
            Some(mib) => u32::try_from(u64::from(mib) * 1024 / u64::from(kib))
                .map_err(|_| ArgsError::Chunks)?,
            None => self.chunks,
        };
        if chunks == 0 {
            return Err(ArgsError::Chunks);
        }
        let mut parameters = Parameters {
            receivers: self.n,
            chunks,
            chunk_size,
            mbit: self.mbit,
            seed_mbit: self.seed_mbit,
            delay: self.delay_ms.map(nanos),
            spread: nanos(self.spread_ms),
            slow: self.special,
            damaged_per_mille: self.damaged_per_mille,
            seed: self.seed,
            network: NetworkChanges {
                headers: self
                    .headers
                    .map(|counted| if counted { Headers::Counted } else { Headers::Ignored }),
                turn_bytes: self.turn_kib.map(|kib| kib * 1024),
                unsent_bytes: self.unsent_kib.map(|kib| kib * 1024),
                turns: self.turns,
                part_bytes: self.part_kib.map(|kib| kib.saturating_mul(1024).max(1)),
                queue: self.queue_ms.map(nanos),
                jitter: self.jitter_ms.map(nanos),
                loss_ppm: self.loss.map(parts_per_million),
            },
            checks: Checks { books_every: self.check_books, table: self.check_table },
            ..Parameters::default()
        };
        for setting in &self.settings {
            setting.apply(&mut parameters.swarm)?;
        }
        Ok(parameters)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to a sane range first"
)]
fn nanos(milliseconds: f64) -> u64 {
    (milliseconds.clamp(0.0, 1e9) * 1e6).round() as u64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to a sane range first"
)]
fn parts_per_million(percent: f64) -> u32 {
    (percent.clamp(0.0, 100.0) * 10_000.0).round() as u32
}

//! Arguments for rates, numbers of peers, priorities and files of the server.

use std::ffi::OsString;
use std::num::NonZeroU64;

use clap::Args;
use tnet_peer::Priority;

use crate::render::units::{ParseRateError, parse_rate};

/// Limits of a peer of this machine.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct PeerLimits {
    /// Send at most this many bytes a second, like 10M; `tnet limit` changes it later
    #[arg(long, value_name = "RATE", value_parser = parse_limit)]
    pub(crate) limit_up: Option<Limit>,
    /// Request at most this many bytes a second
    #[arg(long, value_name = "RATE", value_parser = parse_limit)]
    pub(crate) limit_down: Option<Limit>,
    /// Connect to at most this many peers [default: 1000]
    #[arg(long, value_name = "N", value_parser = parse_max_peers)]
    pub(crate) max_peers: Option<u16>,
}

/// Files of the server, as the user names them.
#[derive(Debug, Args)]
pub(crate) struct FileNames {
    /// Path, or the first digits of the hash, at least 4
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct LimitArgs {
    /// Path, or the first digits of the hash, at least 4 [default: the whole server]
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<OsString>,
    /// Send at most this many bytes a second, like 500K, 10M or none
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub(crate) up: Option<u64>,
    /// Request at most this many bytes a second
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub(crate) down: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct PriorityArgs {
    /// The priority
    #[arg(value_name = "LEVEL")]
    pub(crate) level: Level,
    #[command(flatten)]
    pub(crate) files: FileNames,
}

/// Which of several files gets slots first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Level {
    /// Uses what other files leave
    Low,
    /// The default
    Normal,
    /// Served before other files
    High,
}

impl From<Level> for Priority {
    fn from(level: Level) -> Self {
        match level {
            Level::Low => Self::Low,
            Level::Normal => Self::Normal,
            Level::High => Self::High,
        }
    }
}

impl PeerLimits {
    /// These, and those of `other` where none is given.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            limit_up: self.limit_up.or(other.limit_up),
            limit_down: self.limit_down.or(other.limit_down),
            max_peers: self.max_peers.or(other.max_peers),
        }
    }
}

/// Fewer do not make a swarm; with more, each gets almost no bandwidth.
pub(crate) fn parse_max_peers(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(most @ 4..=10_000) => Ok(most),
        _ => Err("write a number from 4 to 10000".to_owned()),
    }
}

/// Bytes a second.
pub(crate) type Limit = Option<NonZeroU64>;

pub(crate) fn parse_limit(text: &str) -> Result<Limit, ParseRateError> {
    parse_rate(text).map(NonZeroU64::new)
}

//! Rules that hold in every run, whichever hosts misbehave, crash or are cut off. Each checker
//! receives facts and returns breaches; it is independent of how the simulator derives the facts.

mod liveness;
mod safety;
mod table;

use crate::units::{HostId, Nanos};

pub(crate) use liveness::unfinished;
pub(crate) use safety::Safety;
pub(crate) use table::table_differs;

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// A host sent a chunk that is not on its disk.
    #[error("host {host} served chunk {chunk} without having it")]
    ServedWithoutHaving {
        /// Who.
        host: HostId,
        /// What.
        chunk: u32,
    },
    /// A forged chunk reached a disk.
    #[error("host {host} stored chunk {chunk} although it was forged")]
    StoredForged {
        /// Who.
        host: HostId,
        /// What.
        chunk: u32,
    },
    /// A host fetched a chunk that it had stored before.
    #[error("host {host} fetched chunk {chunk} again")]
    FetchedAgain {
        /// Who.
        host: HostId,
        /// What.
        chunk: u32,
    },
    /// A host believes that it is done and is not.
    #[error("host {host} says it is done and lacks {missing} chunks")]
    DoneTooEarly {
        /// Who.
        host: HostId,
        /// How many.
        missing: u32,
    },
    /// The core's count and the disk disagree.
    #[error("host {host} has {disk} chunks on disk, and its core believes {core}")]
    Lost {
        /// Who.
        host: HostId,
        /// Chunks on disk.
        disk: u32,
        /// Chunks by the core.
        core: u32,
    },
    /// An honest host was cut, banned or accused.
    #[error("host {by} blamed host {host}, which is honest: {what}")]
    HonestBlamed {
        /// Who blamed.
        by: HostId,
        /// Who was blamed.
        host: HostId,
        /// For what.
        what: &'static str,
    },
    /// A host that should have the file does not.
    #[error("host {host} has {stored} of {chunks} chunks at the deadline of {deadline} ns")]
    Unfinished {
        /// Who.
        host: HostId,
        /// Chunks on its disk.
        stored: u32,
        /// Chunks of the file.
        chunks: u32,
        /// When the run ended.
        deadline: Nanos,
    },
    /// The coordinator's table is not who is there.
    #[error(
        "the table says {table_full} full and {table_partial} partial, there are {full} and {partial}"
    )]
    TableDiffers {
        /// Full holders in the table.
        table_full: u32,
        /// Partial holders in the table.
        table_partial: u32,
        /// Full holders alive.
        full: u32,
        /// Partial holders alive.
        partial: u32,
    },
}

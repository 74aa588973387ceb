//! The coordinator: one process that knows which peers hold which file, and tells whoever asks.
//!
//! Peers connect to it, report what they hold, and look up who holds what they want. It contacts nobody, stores
//! nothing on disk, and forgets a peer that is silent for longer than its lease. The address it hands out for a
//! peer is the one the peer's connection came from, so nobody can report for somebody else; others only within networks
//! that it was told ([`AllowAdvertise`]).
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tnet_coordinator::{Config, Coordinator};
//!
//! let listen = "127.0.0.1:0".parse()?; // any free port
//! let coordinator = Coordinator::bind(Config { listen, ..Config::default() })?.spawn();
//! println!("peers connect to {}", coordinator.local_addr());
//!
//! let stats = coordinator.stats().await?;
//! assert_eq!(stats.table.peers, 0);
//! coordinator.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Three layers, each unaware of the next: [`Table`] is the whole knowledge as a pure data structure, told the
//! time and asked for random [`Handout`]s; one task owns it, together with the watches; one task for each
//! connection owns its socket. A shared table for several coordinators would take the place of that one task,
//! whose messages are all it has in common with the rest.

// What comes from outside is never trusted to have a place.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod admission;
mod config;
mod connection;
mod handle;
mod handout;
mod line;
mod listener;
mod message;
mod networks;
mod notice;
mod place;
mod reception;
mod registrar;
mod server;
mod stats;
#[allow(clippy::indexing_slicing, reason = "its numbers are its own; callers only have hashes and addresses")]
mod table;
mod watch;

pub use config::{Config, DEFAULT_PORT};
pub use handle::{CoordinatorHandle, MAX_FILES_LISTED, Stopped};
pub use listener::BindError;
pub use networks::{AllowAdvertise, Network, ParseNetworkError};
pub use place::Place;
pub use server::Coordinator;
pub use stats::{LimitCounts, Stats};
pub use table::{
    Admitted, Arrival, Beat, Epoch, Expired, FileSummary, Footprint, Handout, LimitHit, Report,
    ReportOutcome, Scope, SwarmSize, Sweep, Table, TableLimits, TableSize,
};

/// For tests and fuzz targets: the table beside its model.
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::table::model::{FILES, Op, Rig};
}

//! The coordinator: one process that knows which peers hold which file, and answers lookups.
//!
//! Peers connect to it, report what they hold, and look up who holds what they want. It opens no
//! connections, stores nothing on disk, and forgets a peer that is silent for longer than its
//! lease. The address it hands out for a peer is the one the peer's connection came from, or one
//! that it declared within networks that the coordinator was told, private ones unless configured
//! otherwise ([`AllowAdvertise`]): no peer can direct others to an address outside those networks.
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
//! Two parts: [`registry`] decides, as a pure state machine that receives the time and events as
//! arguments; the server performs: one task owns the registry, and one task per connection owns its
//! socket. Coordinators that replicate each other would exchange inputs of the registry.

// Network input must never be used as an index: use `get`.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod config;
mod eviction;
pub mod registry;
mod server;

pub use config::Config;
pub use registry::location::PeerLocation;
pub use registry::networks::{AllowAdvertise, IpNetwork, ParseNetworkError};
pub use registry::stats::{LimitCounts, Stats};
pub use registry::table::{
    Admitted, Epoch, Expired, FileSummary, Footprint, Handout, HeartbeatOutcome, Introduction,
    LimitExceeded, Report, ReportOutcome, Scope, SwarmSize, SweepStatus, Table, TableLimits,
    TableSize,
};
pub use server::{BindError, Coordinator, CoordinatorHandle, MAX_FILES_LISTED, Stopped};
pub use tnet_proto::COORDINATOR_PORT;

/// For tests and fuzz targets: the table beside its model.
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::registry::table::model::{FILES, Op, Rig};
}

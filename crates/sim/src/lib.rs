//! A seeded, deterministic simulator of whole swarms.
//!
//! It drives the shipped core of a peer (`tnet_swarm::Swarm` and `CoordinatorSession`) and the
//! shipped registry of a coordinator, over a network of queues in virtual time. The same world and
//! seed give the same run, decision by decision.
//!
//! This crate is not published, so its types need not be `#[non_exhaustive]`.
//!
//! ```
//! use tnet_sim::{Parameters, Scenario, Simulation, Trace};
//!
//! let parameters = Parameters { receivers: 4, chunks: 64, ..Parameters::default() };
//! let outcome = Simulation::new(Scenario::Equal.world(&parameters), Trace::Off)?.run();
//! assert!(outcome.is_right());
//! assert!(outcome.ratio < 1.5, "{outcome}");
//! # Ok::<(), tnet_sim::GeometryError>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that meets a None has failed"))]

mod check;
mod draw;
mod event;
mod host;
mod idle;
mod net;
mod outcome;
mod process;
mod queue;
mod scenario;
mod setting;
mod simulation;
mod tally;
mod trace;
mod units;
mod wire;
mod world;

pub use check::Breach;
pub use draw::drawn;
pub use idle::IdleRow;
pub use net::NetworkModel;
pub use outcome::Outcome;
pub use scenario::{NetworkChanges, Parameters, Scenario};
pub use setting::{Setting, SettingError};
pub use simulation::Simulation;
pub use tally::Count;
pub use tnet_fileinfo::GeometryError;
pub use trace::Trace;
pub use units::{HostId, MICROSECOND, MILLISECOND, Nanos, Rate, SECOND};
pub use wire::Headers;
pub use world::{
    Character, Checks, Defect, DiskModel, Holds, HostChange, HostPlan, START, WhenDone, World,
};

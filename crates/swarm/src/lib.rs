//! The decisions of a `tnet` peer, without any input or output of its own.
//!
//! A [`Swarm`] holds what one process knows of its files and of the peers it is connected to. It is
//! told what happened ([`Input`]) and when, and answers what to do ([`Output`]). It never reads a
//! clock, never touches a socket or a file, and takes all luck from one seed: the same inputs give
//! the same outputs, in the real peer and in the simulator. What is said to a coordinator, and
//! when, a [`CoordinatorSession`] decides in the same manner.
//!
//! The caller drives the core with one loop: an input, all outputs, the next input. What an output
//! leads to at once is an input for after the last output.
//!
//! ```
//! use std::collections::VecDeque;
//!
//! use tnet_fileinfo::{ChunkSet, ChunkSize, FileHash, Geometry};
//! use tnet_proto::PeerId;
//! use tnet_swarm::{Config, FileKey, Goal, Input, Output, Swarm, Time};
//!
//! // The body of a chunk that arrived comes back with `Output::Store`.
//! let mut swarm: Swarm<Vec<u8>> = Swarm::new(Config::default(), PeerId([7; 16]), 42);
//! let geometry = Geometry::new(1 << 20, ChunkSize::new(64 * 1024)?)?;
//! let stored = ChunkSet::empty(&geometry);
//! let hash = FileHash::from_bytes([0; 32]);
//! let (file, vouched, goal) = (FileKey(1), stored.clone(), Goal::Download);
//! let mut inputs =
//!     VecDeque::from([Input::AddFile { file, hash, geometry, stored, vouched, goal }]);
//!
//! while let Some(input) = inputs.pop_front() {
//!     swarm.handle_input(Time::ZERO, input);
//!     while let Some(output) = swarm.poll_output() {
//!         match output {
//!             Output::Lookup { file } => {
//!                 let addresses = vec!["10.0.0.2:7401".parse().unwrap()];
//!                 inputs.push_back(Input::Holders { file, addresses });
//!             }
//!             Output::Connect { address } => assert_eq!(address.port(), 7401),
//!             output => panic!("{output:?}"),
//!         }
//!     }
//!     // Not before `swarm.next_timeout()`: `Input::Tick`.
//! }
//! # Ok::<(), tnet_fileinfo::GeometryError>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that meets a None has failed"))]

mod chunk_map;
mod chunks;
mod config;
mod coordinator;
mod file;
mod file_table;
mod io;
mod link;
mod rarity;
mod rate_limiter;
mod request_book;
mod slots;
mod suggest;
mod swarm;
mod throughput;
mod timers;
mod uplink;

pub use chunk_map::ChunkCell;
pub use config::{Config, SlotLimits};
pub use coordinator::{CoordinatorSession, ReconnectPause};
pub use file::FileStats;
pub use io::{Direction, Event, Goal, Input, Output, Priority, RateLimits, Violation};
pub use swarm::{FileSnapshot, PeerSnapshot, SlotSnapshot, Swarm};
pub use tnet_proto::{FileKey, PeerKey, Time, UploadEnd};

//! A `tnet` peer to embed: downloads files from many peers at once, verifies every chunk, and
//! serves what it has.
//!
//! ```
//! # use std::time::Duration;
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let coordinator = tnet_coordinator::Coordinator::bind(tnet_coordinator::Config {
//! #     listen: "127.0.0.1:0".parse()?, ..Default::default() })?.spawn();
//! # let directory = tempfile::tempdir()?;
//! # let (original, copy) = (directory.path().join("original"), directory.path().join("copy"));
//! # std::fs::write(&original, b"a file to share")?;
//! use tnet_peer::Peer;
//!
//! let builder = || Peer::builder().coordinator(coordinator.local_addr());
//! let seed = builder().listen("127.0.0.1:0".parse()?).spawn()?;
//! let info = seed.share(&original).await?;
//!
//! let peer = builder().listen("127.0.0.1:0".parse()?).spawn()?;
//! let mut download = peer.download(info, &copy).await?;
//! let summary = download.finished().await?;
//! assert_eq!(std::fs::read(&summary.path)?, b"a file to share");
//!
//! peer.shutdown().await;
//! seed.shutdown().await;
//! # coordinator.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! The caller owns the runtime, the directories and the logging (through `tracing`). Nothing is
//! global, and when a [`Peer`] is gone, no task, socket or temporary file of it is left.
//!
//! # What a version promises
//!
//! Semantic versions; before 1.0 the second number is the one that may break. Breaking is also a
//! protocol that peers of the version before cannot speak. Not breaking are other default settings,
//! other words of messages and logs, and a newer Rust. The control socket and `--json` have
//! versions of their own.

mod adopt_local;
mod api;
mod config;
mod coordinator_client;
mod coordinator_connection;
mod coordinator_ends;
mod coordinator_query;
mod dialer;
mod dir_share;
mod download;
mod engine;
mod listener;
mod listing;
mod peer;
mod poll_interval;
mod sharing;
mod thread_pool;

pub use api::{
    Ban, Bound, Bounds, CallFailure, ChunkMap, ConnectionStatus, CoordinatorContact,
    CoordinatorError, CoordinatorState, CorruptPeer, DamagedFile, DownloadError, FetchInfoError,
    FileChange, FileCursor, FileStatus, FilesPage, Limits, LimitsChange, Listing, ListingProblem,
    PeerGone, Phase, Priority, Progress, ShareError, SlotStatus, SourceShare, SpawnError, Status,
    Summary, SwarmMember, TimeShares, Traffic, TreeError, Unfit, Unreached, UselessHolders,
    Waiting,
};
pub use config::{Config, DownloadOptions};
pub use coordinator_query::{CoordinatorQuery, Holders, NamedHolder};
pub use download::Download;
pub use peer::{Peer, PeerBuilder, SharedTree, WantedTree};
pub use tnet_fileinfo::{self as fileinfo, Explain, Explanation, chain, explain};
pub use tnet_net::{
    AddressError, Advertise, Clock, CoordinatorAddress, Elapsed, Shortage, descriptors,
    parse_listen,
};
pub use tnet_proto::PEER_PORT;
pub use tnet_store as store;
pub use tnet_store::share::{self, LeftOut, LeftOutKind};
pub use tnet_swarm::{Config as SwarmConfig, Time};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

//! Which addresses a peer knows, and how the sources behind them behave, without IO.
//!
//! A *source* is what a host cannot multiply at no cost: an IPv4 address, or an IPv6 address and
//! its /64. [`SourceCounts`] and [`SourceRank`] say how much each of them has of something scarce,
//! [`Crowd`] which unproven holder of a place makes room for a newcomer. [`Sources`] remembers what
//! a source did wrong and for how long that counts. [`AddressBook`] knows which addresses may be
//! called for which file.
//!
//! ```
//! use std::net::IpAddr;
//!
//! use tnet_proto::Time;
//! use tnet_sources::{Offence, SourceState, Sources};
//!
//! let mut sources = Sources::default();
//! let host: IpAddr = "10.0.0.7".parse()?;
//! sources.offend(Time::ZERO, host, Offence::Stall);
//! let (of_host, of_network) = sources.state(Time::ZERO, host);
//! assert_eq!(of_host, SourceState::Paused);
//! assert_eq!(of_network, SourceState::Clean, "an IPv4 address has no network of its own");
//! # Ok::<(), std::net::AddrParseError>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that meets a None has failed"))]

mod addresses;
mod crowd;
mod rank;
mod sources;

pub use addresses::{AddressBook, Contact, Pause};
pub use crowd::Crowd;
pub use rank::{SourceCounts, SourceNetwork, SourceRank};
pub use sources::{Offence, SourceState, Sources, Trust};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

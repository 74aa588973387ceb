//! Whole networks in one process, for tests: a coordinator, peers by name, and everybody who wishes
//! them ill.
//!
//! ```
//! # #[tokio::main]
//! # async fn main() {
//! use tnet_testkit::{Content, Network, payload};
//!
//! let network = Network::builder().peer("seed").peer("ann").peer("bob").start().await;
//! let content = Content::of(payload(300_000, 1));
//! network.peer("seed").shares(&content).await;
//! tokio::join!(network.peer("ann").fetches(&content), network.peer("bob").fetches(&content));
//! network.coordinator_counts(content.hash(), 3, 0).await;
//! # }
//! ```
//!
//! Every port is free and every directory temporary; nothing is shared between two networks, and
//! nothing is left when one is dropped. Nobody sleeps: [`eventually`] waits for a condition and
//! says what was true instead.
//!
//! To stop a download in the middle, give it a [`RawPeer`] that stops giving. To break a cable, put
//! a [`Relay`] in it. To see what a server does with nonsense, be a [`RawClient`]. To see what the
//! user sees, run the [`Cli`].
//!
//! Whatever goes wrong here panics with the reason: that is how a test fails.

#![allow(
    clippy::disallowed_methods,
    reason = "what a test shows, its own files included, is for developers"
)]

mod cli;
mod content;
mod fake_reporter;
mod network;
mod node;
mod payload;
mod process;
mod raw;
mod raw_client;
mod relay;
mod resource_count;
mod wait;

pub use cli::{Cli, Server};
pub use content::Content;
pub use fake_reporter::{FakeReporter, Found, holders};
pub use network::{Network, NetworkBuilder};
pub use node::{Fetched, Node, stored};
pub use payload::{Payload, describe, payload};
pub use process::{Finished, Running};
pub use raw::{Behaviour, Counters, Description, RawPeer, RawPeerBuilder};
pub use raw_client::{Handshaken, RawClient};
pub use relay::Relay;
pub use resource_count::{ResourceCount, files_below};
pub use wait::{SOON, eventually, is, stays, within};

//! Whole networks in one process, for tests: a coordinator, peers by name, and clients
//! that break the protocol.
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
//! nothing is left when one is dropped. Tests do not sleep: [`eventually`] waits for a condition
//! and says what was true instead.
//!
//! To stop a download in the middle, give it a [`RawPeer`] that stops giving. To break a cable, put
//! a [`Relay`] in it. To send a server anything at all, use a [`RawClient`]. To see what the user
//! sees, run the [`Cli`]. To test a coordinator without a peer, use a [`FakeReporter`].
//!
//! Everything here panics with the reason when it fails, and so fails the test.

#![expect(
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
mod tree;
mod wait;

pub use cli::{Cli, Server, get_args};
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
pub use tree::Tree;
pub use wait::{SOON, eventually, is, stays, within};

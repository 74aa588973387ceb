//! One connection to another peer: the handshake, then a reader and a writer in one task, generic
//! over the stream.
//!
//! The reader turns bytes into [`SessionEvent`]s for the engine; while the engine is behind, it
//! stops reading. The writer carries out the engine's [`Order`]s; a full queue of orders means that
//! the other side does not read, and ends the session. What waits to be sent is counted in bytes,
//! see `backlog.rs`. The session ends when the reader or the writer does.

// Network input must never be used as an index: use `get`.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod announced;
mod backlog;
mod budget;
mod buffer_pool;
mod call_failure;
mod chunk_write;
mod cpu_pressure;
mod description;
mod event;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod handshake;
mod ingest;
mod linger;
mod long_messages;
mod open_requests;
mod order;
mod reader;
mod reading_pause;
mod reject;
mod reusable_timer;
mod send_half;
mod send_window;
mod session;
mod write_worker;
mod writer;
mod zero_copy;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

use std::time::Duration;

pub use backlog::MAX_PROCESS_BACKLOG;
pub use buffer_pool::ChunkBuffer;
pub use call_failure::CallFailure;
pub use chunk_write::{StoreResult, WriteOutcome, verify_and_write};
pub use event::{ChunkBody, SessionEvent};
pub use handshake::{HANDSHAKE_TIMEOUT, HandshakeError, Handshaken, handshake};
pub use ingest::Ingest;
pub use long_messages::MessageMemory;
pub use order::{Order, Upload};
pub use reject::reject;
pub use send_half::SendHalf;
pub use session::{Session, SessionContext};

use buffer_pool::BufferPool;
use event::EventSender;
use order::ReplySender;

/// A silent connection is sent a `Ping` after this time.
const PING_AFTER: Duration = Duration::from_secs(30);

/// A goodbye must be written within this time, and the other side then has as long to close.
const BYE_TIMEOUT: Duration = Duration::from_secs(1);

/// The time to close after a goodbye because the process ends. A peer that does not close by then
/// may miss the goodbye, and learns of the end all the same: no peer keeps the process from ending.
const SHUTDOWN_LINGER: Duration = Duration::from_millis(50);

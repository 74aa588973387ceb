//! The control socket: other processes of the same user ask a running peer for its state, hand it
//! downloads and stop it. The process that holds the [`StateLock`] of a state directory is the only
//! one that serves there.
//!
//! The server calls [`serve`], a client [`Client::connect`] and then one request:
//!
//! ```no_run
//! # async fn paths() -> Result<(), Box<dyn std::error::Error>> {
//! let client = tnet_control::Client::connect("/var/lib/tnet/state".as_ref()).await?;
//! for file in client.files().await? {
//!     println!("{} {}", file.hash, file.path.display());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Protocol
//! A Unix socket `control.sock`, mode 0600, in the state directory. JSON, one value a line. The
//! server speaks first: one `hello` line with its version. Then one request line of at most
//! [`MAX_REQUEST_LEN`] bytes, and one or several response lines of at most [`MAX_RESPONSE_LEN`]
//! bytes; then the connection ends. Every line carries `"v":1`.
//!
//! | request | responses |
//! |---|---|
//! | `{"v":1,"request":"status"}` | `status`, one `file` and `peer` line for each, `end` |
//! | `{"v":1,"request":"status","files":70}` | the same with at most so many `file` lines: downloads first, then the files that were active last |
//! | `{"v":1,"request":"ls"}` | one `file` line for each file, `end` |
//! | `{"v":1,"request":"get","fileinfo":"/a.fileinfo","out":"/a","overwrite":false,"timeout_ms":60000,"follow":true}` | `started`; if it is followed: `progress` lines, then `done` |
//! | the same with `"hash":"…"` instead of `"fileinfo"` | the same |
//! | the same with `"tree":"tree:…"` instead | the same; the output is a directory |
//! | the same with `"handed":["description","directory"]` and open files (`SCM_RIGHTS`) in that order | the same; they are used instead of the paths |
//! | the same with `"limits":{"up":…,"down":…}` (bytes a second), `"priority":"high"`, `"umask":18`, `"allow_outside_links":true` | the same; they hold for this file |
//! | `{"v":1,"request":"share","path":"/a","allow_outside_links":false}` | `shared`, when it was read |
//! | `{"v":1,"request":"unshare","hash":"…"}`; of a tree, the hash of its manifest | `unshared` |
//! | `{"v":1,"request":"limit","up":…,"down":…}`, of the whole server; 0 is no limit, a missing field changes nothing | `limits` |
//! | `{"v":1,"request":"update_file","hash":"…","change":"pause"}`, or `resume`; `priority` with `"level"`; `limits` with `"up"`, `"down"` | `file_updated` |
//! | `{"v":1,"request":"shutdown"}` | `stopping`; the connection ends when the peer has |
//!
//! Instead of any of them, and as the last line:
//! `{"v":1,"response":"fault","kind":"no_holder","cause":"…"}`. There may be a `"hint"`: what the
//! user can do; and a `"subject"`: the path that the cause or the hint names. With
//! `"temporary":true`, too many other clients follow downloads at this moment, and the same request
//! succeeds later; other requests are always served.
//!
//! A download goes on when the client that asked for it disconnects.

// Network input must never be used as an index: use `get`.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod client;
mod client_connection;
mod content_queue;
mod download_state;
mod downloads;
mod error;
mod fd_passing;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod json_lines;
mod json_values;
mod message;
mod server;
mod shares;
mod state_lock;
#[cfg(test)]
mod tests;
mod user_names;

pub use client::{Client, ConnectError, Followed, Following, HandedFiles, RequestError};
pub use error::{Fault, FaultKind, START_HOLDER};
pub use json_lines::{MAX_REQUEST_LEN, MAX_RESPONSE_LEN};
pub use message::{GetRequest, HandedKind, Hello, Source, VERSION};
pub use server::{Ended, StopReason, serve};
pub use shares::Shared;
pub use state_lock::{StateDirError, StateLock, make_state_dir};

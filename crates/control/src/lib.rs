//! The control socket: how other processes of the same user ask a running peer for its state, hand
//! it downloads and end it. Whoever holds the claim on a state directory is the only peer that
//! serves there.
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
//! | `{"v":1,"request":"status","files":70}` | the same with at most so many `file` lines: downloads, then what was active last |
//! | `{"v":1,"request":"ls"}` | one `file` line for each file, `end` |
//! | `{"v":1,"request":"get","fileinfo":"/a.fileinfo","out":"/a","overwrite":false,"timeout_ms":60000,"follow":true}` | `started`; if it is followed: `progress` again and again, `done` |
//! | the same with `"hash":"…"` instead of `"fileinfo"` | the same |
//! | the same with `"handed":["description","directory"]` and open files (`SCM_RIGHTS`) in that order | the same; they are used in place of what the paths lead the server to |
//! | `{"v":1,"request":"unshare","hash":"…"}` | `unshared` |
//! | `{"v":1,"request":"shutdown"}` | `stopping`; the connection ends when the peer has |
//!
//! Instead of any of them, and as the last line:
//! `{"v":1,"response":"fault","kind":"no_holder","message":"…"}`. A download goes on when the
//! client that asked for it goes away. A fault with `"passes":true` says that too many others
//! follow downloads at this moment: the same request has its turn later. Other requests always get
//! in.

// Network input must never be used as an index: use `get`.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod claim;
mod classify;
mod client;
mod downloads;
mod fault;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod handing;
mod line;
mod message;
mod portable;
mod server;
mod session;
#[cfg(test)]
mod tests;
mod turn;
mod users;

pub use claim::{Claim, ClaimError, make_state_dir};
pub use client::{Client, ConnectError, Followed, Following, Handed, RequestError};
pub use fault::{Fault, FaultKind};
pub use line::{MAX_REQUEST_LEN, MAX_RESPONSE_LEN};
pub use message::{GetRequest, HandedKind, Hello, Source, VERSION};
pub use server::{Ended, StopReason, serve};

//! A coordinator over real sockets. What needs a process of its own, because it measures the
//! process or lowers its limits, is in the files beside this directory.

#[path = "../client/mod.rs"]
mod client;

mod abuse;
mod lifecycle;
mod reports;
mod watches;

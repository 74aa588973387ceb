//! Failures as they cross the socket.

mod advice;
mod fault;
mod from;
mod kind;

pub use advice::START_HOLDER;
pub use fault::Fault;
pub use kind::FaultKind;

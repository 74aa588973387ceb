//! What cases are made with: the machine's means to break things, and the measures of what that did.

pub(crate) mod boundaries;
pub(crate) mod case;
pub(crate) mod disk_log;
mod disk_reader;
pub(crate) mod getting;
pub(crate) mod memory_group;
pub(crate) mod mounts;
pub(crate) mod needs;
pub(crate) mod process;
pub(crate) mod soak;
pub(crate) mod strace;
pub(crate) mod traced;
pub(crate) mod wrap;

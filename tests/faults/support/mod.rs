//! What cases are made with: the machine's means to break things, and the measures of what that
//! did.

pub(crate) mod boundaries;
pub(crate) mod case;
pub(crate) mod crowd;
pub(crate) mod damage;
pub(crate) mod disk_log;
pub(crate) mod disk_reader;
pub(crate) mod exchange;
pub(crate) mod false_holder;
pub(crate) mod flood;
pub(crate) mod getting;
pub(crate) mod greedy;
pub(crate) mod impostor;
pub(crate) mod lan;
pub(crate) mod machine;
pub(crate) mod measure;
pub(crate) mod memory_group;
pub(crate) mod mounts;
pub(crate) mod needs;
pub(crate) mod process;
pub(crate) mod raw_reporter;
pub(crate) mod schedule;
pub(crate) mod service;
pub(crate) mod soak;
pub(crate) mod strace;
pub(crate) mod traced;
pub(crate) mod unread;
pub(crate) mod wrap;

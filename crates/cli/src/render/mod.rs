//! Output for people and scripts. Commands report what happened; this decides where and how it is
//! shown.

pub(crate) mod batch;
mod batch_totals;
mod chunk_map;
#[cfg(test)]
mod documented;
pub(crate) mod fit;
pub(crate) mod output;
mod paragraph;
pub(crate) mod plain;
pub(crate) mod progress;
pub(crate) mod rate_meter;
pub(crate) mod screen;
pub(crate) mod status;
pub(crate) mod status_line;
pub(crate) mod summary;
pub(crate) mod swarm_view;
pub(crate) mod table;
pub(crate) mod terminal;
pub(crate) mod units;

pub(crate) use output::Output;

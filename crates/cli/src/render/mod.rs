//! What people and scripts see. Commands say what happened; only this decides where and how it
//! shows.

mod chunk_map;
pub(crate) mod fit;
pub(crate) mod look;
pub(crate) mod output;
mod paragraph;
pub(crate) mod plain;
pub(crate) mod progress;
pub(crate) mod rate_meter;
pub(crate) mod screen;
pub(crate) mod several;
pub(crate) mod status;
pub(crate) mod status_line;
pub(crate) mod swarm_view;
pub(crate) mod table;
pub(crate) mod units;

pub(crate) use output::Output;

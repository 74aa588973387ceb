//! What people and scripts see. Commands say what happened; only this decides where and how it shows.

pub(crate) mod fit;
pub(crate) mod output;
pub(crate) mod progress;
pub(crate) mod several;
pub(crate) mod status_line;
pub(crate) mod swarm_view;
pub(crate) mod table;
pub(crate) mod units;

pub(crate) use output::Output;

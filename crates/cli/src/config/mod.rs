//! The command line, the environment and `config.toml`, in three steps, each done once:
//!
//! 1. [`typed`]: what was typed, as the argument parser reads it (it reads the environment too).
//! 2. [`merge`]: that, and what the config file says where nothing was typed; each value with its
//!    origin.
//! 3. [`resolve`]: the values that hold for the command.

mod file;
mod merge;
pub(crate) mod reload;
mod resolve;
pub(crate) mod typed;

pub(crate) use file::{RATES, SETTINGS, Setting, UsedBy};
pub(crate) use merge::Merged;
pub(crate) use resolve::{Config, DEFAULT_LISTEN, absolute};

//! Whole networks in one process, and the command as a user has it. One binary, since nearly all of
//! the time of a case is waiting: many run at once.

mod changed_files;
#[cfg(target_os = "linux")]
mod checking;
mod cli_addresses;
mod cli_batch;
mod cli_change;
mod cli_commands;
mod cli_config;
mod cli_daemon;
mod cli_get;
mod cli_output;
#[cfg(target_os = "linux")]
mod cli_places;
mod cli_status;
mod cli_trees;
mod directory;
mod integrity;
mod links;
mod membership;
mod resume;
mod sharing;
mod silence;
mod sizes;
mod strangers;
mod trees;

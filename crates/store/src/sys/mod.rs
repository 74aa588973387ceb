//! The system calls behind the store, each with a portable fallback where only Linux has the good
//! one.
//!
//! Nothing is decided here: callers hold the rules, these files know flags and error numbers.

mod file_system;
mod memory;
mod names;
mod rights;
mod space;

pub use file_system::non_unix_file_system;
pub(crate) use memory::read_cached;
pub(crate) use memory::{drop_cached, is_in_memory, memory_bytes};
#[cfg(test)]
pub(crate) use names::link_new;
pub(crate) use names::{
    Entry, EntryKind, create_new, create_private, entry, entry_at, exchange, fingerprint,
    is_empty_directory, is_something_else, link_target, make_directory, make_link,
    notifies_all_changes, open_existing, open_for_reading, open_path_for_reading,
    open_subdirectory, path_of, remove, remove_directory, rename_between, rename_new,
    rename_replacing, sync_directory,
};
pub use names::{Protection, open_directory};
pub(crate) use rights::{
    LockOutcome, Unchangeable, check_readable, has_default_access, lock_exclusive,
    lock_for_process, set_mode, unchangeable, unlock, unlock_for_process,
};
pub use rights::{effective_user, ignores_modes, is_unchangeable, protection};
pub(crate) use space::{
    FreeSpace, Reservation, ReservationCost, file_size_limit, free_space, free_space_covers_names,
    longest_name, max_file_size, next_data, punch_hole, reflink, reservation_cost, reserve,
    storage_pool, sync_everything, sync_file_system,
};

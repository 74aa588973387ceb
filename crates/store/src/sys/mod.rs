//! The system calls behind the store, each with a portable fallback where only Linux has the good
//! one.
//!
//! Nothing is decided here: callers hold the rules, these files know flags and error numbers.

mod memory;
mod names;
mod rights;
mod space;

use std::os::fd::AsFd;

pub use memory::read_cached;
pub(crate) use memory::{drop_cached, is_in_memory, memory_bytes};
#[cfg(test)]
pub(crate) use names::link_new;
pub use names::open_directory;
pub(crate) use names::{
    Entry, EntryKind, create_new, create_private, entry, entry_at, fingerprint, is_something_else,
    notifies_all_changes, open_existing, open_for_reading, open_path_for_reading,
    open_subdirectory, path_of, remove, rename_new, rename_replacing, sync_directory,
};
pub(crate) use rights::{
    LockOutcome, Unchangeable, check_readable, has_default_access, lock_exclusive,
    lock_for_process, unchangeable, unlock, unlock_for_process,
};
pub use rights::{Protection, effective_user, ignores_modes, is_unchangeable, protection};
pub(crate) use space::{
    FreeSpace, Reservation, ReservationCost, file_size_limit, free_space, free_space_covers_names,
    max_file_size, next_data, punch_hole, reflink, reservation_cost, reserve, storage_pool,
    sync_file_system,
};

/// Magic numbers of file systems, see `statfs(2)`.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod magic {
    pub(super) const BTRFS: u64 = 0x9123_683e;
    /// ext2, ext3 and ext4.
    pub(super) const EXT: u64 = 0xef53;
    pub(super) const FAT: u64 = 0x4d44;
    pub(super) const OVERLAY: u64 = 0x794c_7630;
    pub(super) const RAMFS: u64 = 0x8584_58f6;
    pub(super) const TMPFS: u64 = 0x0102_1994;
    pub(super) const XFS: u64 = 0x5846_5342;
}

/// The name of the file system of an open file or directory, if it is one that lacks some
/// properties of Unix files, such as modes, links or sockets.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn non_unix_file_system(file: impl AsFd) -> Option<&'static str> {
    Some(match magic_of(file)? {
        magic::FAT => "FAT",
        0x2011_bab0 => "exFAT",
        0x5346_544e | 0x7366_746e => "NTFS",
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => "SMB",
        0x0102_1997 => "9p",
        0x786f_4256 => "vboxsf",
        0x6573_5546 => "FUSE",
        _ => return None,
    })
}

/// Not known on other systems.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn non_unix_file_system(_file: impl AsFd) -> Option<&'static str> {
    None
}

/// The magic number of the file system, see `statfs(2)`.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[allow(
    clippy::cast_sign_loss,
    clippy::unnecessary_cast,
    reason = "signed on some systems, and shorter"
)]
fn magic_of(file: impl AsFd) -> Option<u64> {
    Some(rustix::fs::fstatfs(file).ok()?.f_type as u64 & 0xffff_ffff)
}

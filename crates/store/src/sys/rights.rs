//! Calls on rights: owners and modes, what makes a file unchangeable, and locks.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FlockOperation, Mode};
use rustix::io::{Errno, retry_on_intr};

use super::names::{Protection, create_new, entry, remove};

/// Owner, group and mode of the open file or directory.
pub fn protection(file: impl AsFd) -> io::Result<Protection> {
    Ok(entry(file)?.protection)
}

/// Gives an open file or directory this mode, if its file system has modes.
pub(crate) fn set_mode(file: impl AsFd, mode: u32) -> io::Result<()> {
    match rustix::fs::fchmod(file, Mode::from_raw_mode(mode)) {
        // It is ours, so only the file system can refuse it.
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The user this process acts for.
pub fn effective_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Whether this process may open the file for reading.
pub(crate) fn check_readable(directory: impl AsFd, name: &OsStr) -> io::Result<()> {
    use rustix::fs::Access;
    Ok(rustix::fs::accessat(directory.as_fd(), name, Access::READ_OK, AtFlags::EACCESS)?)
}

/// Whether the directory has a default access list, which replaces the umask for new files.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn has_default_access(directory: impl AsFd) -> bool {
    rustix::fs::fgetxattr_query(directory, "system.posix_acl_default").is_ok_and(|len| len > 0)
}

/// Other systems have no such lists.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn has_default_access(_directory: impl AsFd) -> bool {
    false
}

/// Whether the file system ignores file modes, because the mount sets them: a new file is created
/// with mode 600 and removed, to see whether other users could open it.
pub fn ignores_modes(directory: impl AsFd) -> bool {
    const OTHERS: u32 = 0o077;
    let name = std::ffi::OsString::from(format!(".tnet-{:016x}", rand::random::<u64>()));
    let Ok(file) = create_new(&directory, &name, Some(0o600)) else { return false };
    let is_open = protection(&file).is_ok_and(|protection| protection.mode & OTHERS != 0);
    // What cannot be removed is only litter.
    let _ = remove(&directory, &name);
    is_open
}

/// Why a name cannot be changed, even by the superuser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unchangeable {
    /// `chattr +i`.
    Immutable,
    /// `chattr +a`: it may only grow.
    AppendOnly,
    /// Something is mounted there.
    MountPoint,
}

/// Whether no process can change what is in a directory, because it is immutable or append-only.
pub fn is_unchangeable(directory: impl AsFd) -> bool {
    unchangeable(directory, OsStr::new("")).is_some()
}

/// Why this entry, or with an empty name the directory itself, cannot be changed; `None` if it can.
#[cfg(target_os = "linux")]
pub(crate) fn unchangeable(directory: impl AsFd, name: &OsStr) -> Option<Unchangeable> {
    use rustix::fs::{StatxAttributes, StatxFlags, statx};
    let flags = if name.is_empty() { AtFlags::EMPTY_PATH } else { AtFlags::SYMLINK_NOFOLLOW };
    let attributes = statx(directory, name, flags, StatxFlags::TYPE).ok()?.stx_attributes;
    let has = |attribute| attributes.contains(attribute);
    if has(StatxAttributes::IMMUTABLE) {
        Some(Unchangeable::Immutable)
    } else if has(StatxAttributes::APPEND) {
        Some(Unchangeable::AppendOnly)
    } else {
        (!name.is_empty() && has(StatxAttributes::MOUNT_ROOT)).then_some(Unchangeable::MountPoint)
    }
}

/// On other systems only the change itself tells.
#[cfg(not(target_os = "linux"))]
pub(crate) fn unchangeable(_directory: impl AsFd, _name: &OsStr) -> Option<Unchangeable> {
    None
}

/// The result of trying to lock a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockOutcome {
    /// The lock is ours, until the file is closed or unlocked.
    Taken,
    /// Another open file holds it, in this process or another.
    HeldElsewhere,
}

/// Tries to lock the file for this open file alone, without waiting.
pub(crate) fn lock_exclusive(file: &File) -> io::Result<LockOutcome> {
    match retry_on_intr(|| rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => Ok(LockOutcome::Taken),
        Err(Errno::WOULDBLOCK) => Ok(LockOutcome::HeldElsewhere),
        Err(error) => Err(error.into()),
    }
}

/// Tries a lock that belongs to the process (`fcntl`): it keeps other processes out, and ends when
/// this one closes any descriptor of the file. For file systems without `flock`.
pub(crate) fn lock_for_process(file: &File) -> io::Result<LockOutcome> {
    match retry_on_intr(|| rustix::fs::fcntl_lock(file, FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => Ok(LockOutcome::Taken),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(LockOutcome::HeldElsewhere),
        Err(error) => Err(error.into()),
    }
}

/// Releases the lock before the file is closed.
pub(crate) fn unlock(file: &File) -> io::Result<()> {
    Ok(rustix::fs::flock(file, FlockOperation::Unlock)?)
}

/// Releases the lock of the process.
pub(crate) fn unlock_for_process(file: &File) -> io::Result<()> {
    Ok(rustix::fs::fcntl_lock(file, FlockOperation::Unlock)?)
}

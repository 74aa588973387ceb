//! Calls on space: what is free, reserving and giving back, sharing blocks, holes.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;

use rustix::io::{Errno, retry_on_intr};

#[cfg(any(target_os = "linux", target_os = "android"))]
use super::file_system::magic::{BTRFS, EXT, FAT, OVERLAY, TMPFS, XFS};
#[cfg(target_os = "linux")]
use super::file_system::magic::{F2FS, RAMFS};
#[cfg(any(target_os = "linux", target_os = "android"))]
use super::file_system::magic_of;
#[cfg(any(target_os = "linux", target_os = "android"))]
use super::rights::effective_user;

/// The free space of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FreeSpace {
    /// Bytes that this process can still write.
    pub(crate) bytes: u64,
    /// Files that can still be created; `None` if the file system does not count them.
    pub(crate) files: Option<u64>,
}

/// The free space of the file system of `file`; `None` if it does not tell.
pub(crate) fn free_space(file: impl AsFd) -> Option<FreeSpace> {
    let stat = rustix::fs::fstatvfs(&file).ok()?;
    let blocks = if may_use_reserved_blocks(&file) { stat.f_bfree } else { stat.f_bavail };
    // Some network and FUSE file systems leave all figures at zero.
    (stat.f_blocks > 0).then(|| FreeSpace {
        bytes: blocks.saturating_mul(stat.f_frsize),
        files: (stat.f_files > 0).then_some(stat.f_favail),
    })
}

/// Whether this process may use the blocks that are reserved for the superuser. On other file
/// systems the difference between free and available blocks means something else.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn may_use_reserved_blocks(file: impl AsFd) -> bool {
    effective_user() == 0 && magic_of(file) == Some(EXT)
}

/// Not used on other systems.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn may_use_reserved_blocks(_file: impl AsFd) -> bool {
    false
}

/// Whether the free space can take names as well as data: Btrfs allocates space for one or the
/// other.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn free_space_covers_names(file: impl AsFd) -> bool {
    magic_of(file) != Some(BTRFS)
}

/// Assumed on other systems.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn free_space_covers_names(_file: impl AsFd) -> bool {
    true
}

/// Identifies file systems that share one pool of space although their device numbers differ:
/// subvolumes, and overlays on one file system.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn storage_pool(file: impl AsFd) -> Option<(u64, u64)> {
    let kind = magic_of(&file)?;
    let stat = rustix::fs::fstatvfs(file).ok()?;
    match kind {
        // The other half is the number of the subvolume.
        BTRFS => Some((kind, stat.f_fsid & 0xffff_ffff)),
        // An overlay reports the figures of the file system below, except for its number.
        OVERLAY => Some((kind, stat.f_blocks)),
        _ => None,
    }
}

/// On other systems each device is a pool.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn storage_pool(_file: impl AsFd) -> Option<(u64, u64)> {
    None
}

/// Writes all of a file system to the disk: some report the space of a removed file as free only
/// then.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn sync_file_system(file: impl AsFd) {
    // If it fails, the space is not free.
    let _ = rustix::fs::syncfs(file);
}

/// Not known to be needed on other systems.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn sync_file_system(_file: impl AsFd) {}

/// Writes all of the file system to the disk, if that is known to tell of each write that failed
/// since `file` was opened; `None` if it is not.
#[cfg(target_os = "linux")]
pub(crate) fn sync_everything(file: impl AsFd) -> Option<io::Result<()>> {
    /// Not overlays, which do not pass on errors of the file system below, nor what asks a server.
    const TELLING: [u64; 6] = [EXT, XFS, BTRFS, F2FS, TMPFS, RAMFS];
    if !magic_of(&file).is_some_and(|kind| TELLING.contains(&kind)) || !syncfs_tells_errors() {
        return None;
    }
    Some(rustix::fs::syncfs(file).map_err(io::Error::from))
}

/// Not known on other systems.
#[cfg(not(target_os = "linux"))]
pub(crate) fn sync_everything(_file: impl AsFd) -> Option<io::Result<()>> {
    None
}

/// Since Linux 5.8.
#[cfg(target_os = "linux")]
fn syncfs_tells_errors() -> bool {
    let system = rustix::system::uname();
    let release = system.release().to_str().unwrap_or("");
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (5, 8),
        _ => false,
    }
}

/// The result of reserving space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reservation {
    /// Writing inside the reserved length cannot run out of space.
    Reserved,
    /// The file system cannot promise space.
    Unsupported,
}

/// Reserves `len` bytes at `from`; the file becomes at least that long. The only errors are that
/// there is no space, or that the file may not be so large: a file system need not support it.
#[cfg(target_os = "linux")]
pub(crate) fn reserve(file: &File, from: u64, len: u64) -> io::Result<Reservation> {
    use rustix::fs::FallocateFlags;
    match retry_on_intr(|| rustix::fs::fallocate(file, FallocateFlags::empty(), from, len)) {
        Ok(()) => Ok(Reservation::Reserved),
        Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => Err(error.into()),
        Err(_) => Ok(Reservation::Unsupported),
    }
}

/// The calls of other systems differ too much: the caller falls back to setting the length.
#[cfg(not(target_os = "linux"))]
pub(crate) fn reserve(_file: &File, _from: u64, _len: u64) -> io::Result<Reservation> {
    Ok(Reservation::Unsupported)
}

/// Frees the blocks in the range, with their data; the length stays. Best effort.
#[cfg(target_os = "linux")]
pub(crate) fn punch_hole(file: &File, range: Range<u64>) {
    use rustix::fs::FallocateFlags;
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    if range.start < range.end {
        let _ = rustix::fs::fallocate(file, hole, range.start, range.end - range.start);
    }
}

/// On other systems they stay.
#[cfg(not(target_os = "linux"))]
pub(crate) fn punch_hole(_file: &File, _range: Range<u64>) {}

/// What it costs to reserve space on the file system of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReservationCost {
    /// Next to nothing for any size: an extent is allocated.
    AtOnce,
    /// Time, page by page.
    InSteps,
    /// More than it is worth, or unknown: it switches compression off, writes zeroes, or asks a
    /// server.
    Never,
}

/// What it costs to reserve space for this file; see `docs/adr/006`.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn reservation_cost(file: impl AsFd) -> ReservationCost {
    match magic_of(file) {
        Some(EXT | XFS) => ReservationCost::AtOnce,
        Some(TMPFS) => ReservationCost::InSteps,
        _ => ReservationCost::Never,
    }
}

/// Nothing is reserved on other systems.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn reservation_cost(_file: impl AsFd) -> ReservationCost {
    ReservationCost::Never
}

/// The bytes of the longest name that the file system takes, if it tells.
pub(crate) fn longest_name(file: impl AsFd) -> Option<u64> {
    let longest = rustix::fs::fstatvfs(file).ok()?.f_namemax;
    (longest > 0).then_some(longest)
}

/// The largest file that the file system of this one can hold, where it is known to be less than
/// any file here.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn max_file_size(file: &File) -> Option<u64> {
    (magic_of(file) == Some(FAT)).then_some(u64::from(u32::MAX))
}

/// Not known on other systems.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn max_file_size(_file: &File) -> Option<u64> {
    None
}

/// The largest file that this process may write, if there is a limit.
pub(crate) fn file_size_limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Fsize).current
}

/// Makes all of `to` share the blocks of `from`, copy-on-write. False if the file system cannot do
/// that, or not between these two; then nothing has changed.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn reflink(from: &File, to: &File) -> bool {
    retry_on_intr(|| rustix::fs::ioctl_ficlone(to, from)).is_ok()
}

/// On other systems the caller copies.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn reflink(_from: &File, _to: &File) -> bool {
    false
}

/// The next stretch of the file at or after `from` that may hold data; `None` if only a hole
/// follows.
///
/// Where holes cannot be seen, everything is data.
#[cfg(target_os = "linux")]
pub(crate) fn next_data(file: &File, from: u64, size: u64) -> io::Result<Option<Range<u64>>> {
    use rustix::fs::SeekFrom;
    if from >= size {
        return Ok(None);
    }
    // Moves the file's cursor, which has no meaning: all our reads and writes are positioned.
    let start = match rustix::fs::seek(file, SeekFrom::Data(from)) {
        Ok(start) => start.min(size),
        Err(Errno::NXIO) => return Ok(None),
        Err(_) => return Ok(Some(from..size)),
    };
    match rustix::fs::seek(file, SeekFrom::Hole(start)) {
        Ok(end) if end > start => Ok(Some(start..end.min(size))),
        Ok(_) | Err(Errno::NXIO) => Ok(None), // truncated between the two calls
        Err(_) => Ok(Some(start..size)),
    }
}

/// Everything is data where holes cannot be seen.
#[cfg(not(target_os = "linux"))]
pub(crate) fn next_data(_file: &File, from: u64, size: u64) -> io::Result<Option<Range<u64>>> {
    Ok((from < size).then_some(from..size))
}

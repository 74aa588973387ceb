//! Calls on memory: what of a file is in the page cache, and dropping it from there.

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsFd;

#[cfg(any(target_os = "linux", target_os = "android"))]
use super::file_system::magic::{RAMFS, TMPFS};
#[cfg(any(target_os = "linux", target_os = "android"))]
use super::file_system::magic_of;

/// Whether the file system is in memory, so that no read or write waits for a disk.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn is_in_memory(file: impl AsFd) -> bool {
    magic_of(file).is_some_and(|kind| [TMPFS, RAMFS].contains(&kind))
}

/// Elsewhere it is not known.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn is_in_memory(_file: impl AsFd) -> bool {
    false
}

/// Fills `buf` from `offset` if the bytes are in the page cache; false if they are not, or if the
/// system does not tell. Never waits for a disk.
#[cfg(target_os = "linux")]
pub(crate) fn read_cached(file: &File, buf: &mut [u8], offset: u64) -> bool {
    use rustix::io::{IoSliceMut, ReadWriteFlags, preadv2};
    let wanted = buf.len();
    let read = preadv2(file, &mut [IoSliceMut::new(buf)], offset, ReadWriteFlags::NOWAIT);
    read.is_ok_and(|read| read == wanted)
}

/// Elsewhere it is not known.
#[cfg(not(target_os = "linux"))]
pub(crate) fn read_cached(_file: &File, _buf: &mut [u8], _offset: u64) -> bool {
    false
}

/// Drops clean pages of the range from the page cache, so that the next read comes from the disk.
/// Pages that are not on the disk yet stay. Only advice.
#[cfg(target_os = "linux")]
pub(crate) fn drop_cached(file: &File, range: Range<u64>) {
    use std::num::NonZeroU64;
    if let Some(length) = NonZeroU64::new(range.end.saturating_sub(range.start)) {
        let _ = rustix::fs::fadvise(file, range.start, Some(length), rustix::fs::Advice::DontNeed);
    }
}

/// There is no portable way to do this.
#[cfg(not(target_os = "linux"))]
pub(crate) fn drop_cached(_file: &File, _range: Range<u64>) {}

/// Bytes of memory of the machine, if the system tells.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[allow(clippy::useless_conversion, reason = "32 bits on some systems")]
pub(crate) fn memory_bytes() -> Option<u64> {
    let info = rustix::system::sysinfo();
    Some(u64::from(info.totalram).saturating_mul(u64::from(info.mem_unit)))
}

/// Not asked on other systems.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn memory_bytes() -> Option<u64> {
    None
}

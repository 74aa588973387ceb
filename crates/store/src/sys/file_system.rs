//! Which file system a file is on, by its magic number.

use std::os::fd::AsFd;

/// Magic numbers of file systems, see `statfs(2)`.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) mod magic {
    pub(in crate::sys) const BTRFS: u64 = 0x9123_683e;
    /// ext2, ext3 and ext4.
    pub(in crate::sys) const EXT: u64 = 0xef53;
    pub(in crate::sys) const F2FS: u64 = 0xf2f5_2010;
    pub(in crate::sys) const FAT: u64 = 0x4d44;
    pub(in crate::sys) const OVERLAY: u64 = 0x794c_7630;
    pub(in crate::sys) const RAMFS: u64 = 0x8584_58f6;
    pub(in crate::sys) const TMPFS: u64 = 0x0102_1994;
    pub(in crate::sys) const XFS: u64 = 0x5846_5342;
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
pub(super) fn magic_of(file: impl AsFd) -> Option<u64> {
    Some(rustix::fs::fstatfs(file).ok()?.f_type as u64 & 0xffff_ffff)
}

//! Calls on names: opening, creating, renaming and removing files in an open directory.
//!
//! A name is a single path component. A symbolic link in the place of one of our own files is never
//! followed; a path that the user named may be one.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

#[cfg(any(target_os = "linux", target_os = "android"))]
use super::file_system::{magic, magic_of};
use crate::fingerprint::{FileFingerprint, nanoseconds};

/// The metadata of one name in a directory; a link is not followed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// The kind of file.
    pub(crate) kind: EntryKind,
    /// Owner, group and mode.
    pub(crate) protection: Protection,
    /// The number of hard links.
    pub(crate) names: u64,
    /// Bytes that the file system has allocated for it.
    pub(crate) allocated: u64,
    /// Identity, size and times.
    pub(crate) fingerprint: FileFingerprint,
    /// Number of the device. Compare it only with another one that was read at the same moment.
    pub(crate) device: u64,
}

impl Entry {
    /// Whether both, read at the same moment, are of one file.
    pub(crate) fn is_same_file(&self, other: &Self) -> bool {
        self.device == other.device && self.fingerprint.is_same_file(&other.fingerprint)
    }
}

/// The kind of file that a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
    /// A block or character device.
    Device,
}

/// Owner, group and mode of a file or directory.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Protection {
    /// User id of the owner.
    pub owner: u32,
    /// Id of the group.
    pub group: u32,
    /// Permission and type bits.
    pub mode: u32,
}

/// Opens a directory for resolving names in it and for syncing it. A link at the end of `path` is
/// followed.
pub fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(retry_on_intr(|| rustix::fs::openat(CWD, path, flags, Mode::empty()))?)
}

/// Opens a directory inside another; a link with that name is an error.
pub(crate) fn open_subdirectory(directory: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(retry_on_intr(|| rustix::fs::openat(directory.as_fd(), name, flags, Mode::empty()))?)
}

/// Opens a file of ours for reading and writing.
pub(crate) fn open_existing(directory: impl AsFd, name: &OsStr) -> io::Result<File> {
    // NONBLOCK: opening a named pipe must not block before its kind is known.
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(retry_on_intr(|| rustix::fs::openat(directory.as_fd(), name, flags, Mode::empty()))?.into())
}

/// Opens a file of the user's for reading; a link is followed, because the user named it.
pub(crate) fn open_for_reading(directory: impl AsFd, name: impl AsRef<Path>) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(retry_on_intr(|| {
        rustix::fs::openat(directory.as_fd(), name.as_ref(), flags, Mode::empty())
    })?
    .into())
}

/// Opens a file of the user's by its path; a link is followed, because the user named it.
pub(crate) fn open_path_for_reading(path: &Path) -> io::Result<File> {
    open_for_reading(CWD, path)
}

/// Creates a file that only this user can read and write; one that exists is an error.
pub(crate) fn create_private(directory: impl AsFd, name: &OsStr) -> io::Result<File> {
    create_new(directory, name, Some(0o600))
}

/// Creates a file for reading and writing, with this mode or with the default one; one that exists
/// is an error.
pub(crate) fn create_new(
    directory: impl AsFd,
    name: &OsStr,
    mode: Option<u32>,
) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // The system subtracts the umask: at no moment are there more rights than the mode allows.
    let at_first = Mode::from_raw_mode(mode.unwrap_or(0o666));
    let file: File =
        retry_on_intr(|| rustix::fs::openat(directory.as_fd(), name, flags, at_first))?.into();
    if let Some(mode) = mode {
        // Some file systems have no modes.
        let _ = rustix::fs::fchmod(&file, Mode::from_raw_mode(mode));
    }
    Ok(file)
}

/// The metadata of a name; a link is not followed. `None` if nothing has the name.
pub(crate) fn entry_at(directory: impl AsFd, name: &OsStr) -> io::Result<Option<Entry>> {
    match retry_on_intr(|| rustix::fs::statat(directory.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW)) {
        Ok(stat) => Ok(Some(entry_of(&stat))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The text of a symbolic link.
pub(crate) fn link_target(directory: impl AsFd, name: &OsStr) -> io::Result<Vec<u8>> {
    Ok(rustix::fs::readlinkat(directory, name, Vec::new())?.into_bytes())
}

/// The metadata of an open file or directory.
pub(crate) fn entry(file: impl AsFd) -> io::Result<Entry> {
    Ok(entry_of(&rustix::fs::fstat(file)?))
}

/// The fingerprint of an open file or directory.
pub(crate) fn fingerprint(file: impl AsFd) -> io::Result<FileFingerprint> {
    Ok(entry(file)?.fingerprint)
}

#[allow(
    clippy::unnecessary_cast,
    clippy::cast_sign_loss,
    clippy::cast_lossless,
    reason = "the integer types of `stat` differ between systems; none of these fields is negative in practice, and \
              a wrapped one still compares equal to itself"
)]
fn entry_of(stat: &Stat) -> Entry {
    Entry {
        kind: match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => EntryKind::File,
            FileType::Directory => EntryKind::Directory,
            FileType::Symlink => EntryKind::Link,
            FileType::Fifo => EntryKind::Pipe,
            FileType::Socket => EntryKind::Socket,
            _ => EntryKind::Device,
        },
        protection: Protection {
            owner: stat.st_uid,
            group: stat.st_gid,
            mode: stat.st_mode as u32,
        },
        names: stat.st_nlink as u64,
        // Units of 512 bytes on every file system.
        allocated: (stat.st_blocks as u64).saturating_mul(512),
        fingerprint: FileFingerprint {
            inode: stat.st_ino as u64,
            size: stat.st_size as u64,
            modified_ns: nanoseconds(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            changed_ns: nanoseconds(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        },
        device: stat.st_dev as u64,
    }
}

/// Whether opening failed because a link, a directory or a socket has the name of a file of ours or
/// of a directory.
pub(crate) fn is_something_else(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::LOOP | Errno::ISDIR | Errno::NOTDIR | Errno::NXIO)
    )
}

/// The path of an open directory, as the kernel knows it now. It may lead elsewhere in this
/// process.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn path_of(directory: impl AsFd) -> Option<PathBuf> {
    use std::os::fd::AsRawFd;
    let path = std::fs::read_link(format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd())).ok();
    // The path of a removed directory has a suffix.
    path.filter(|path| path.is_dir())
}

/// Not known on other systems.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn path_of(_directory: impl AsFd) -> Option<PathBuf> {
    None
}

/// Renames inside one directory; [`io::ErrorKind::AlreadyExists`] if the new name is taken. Falls
/// back to [`link_new`] if the file system lacks the call; the error is that of the last attempt.
pub(crate) fn rename_new(directory: impl AsFd, from: &OsStr, to: &OsStr) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::RenameFlags;
        let directory = directory.as_fd();
        match rustix::fs::renameat_with(directory, from, directory, to, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => return Err(Errno::EXIST.into()),
            Err(_) => {} // no such flag on this file system, whichever error it returns
        }
    }
    link_new(directory, from, to)
}

/// The portable [`rename_new`]: a hard link never replaces. A crash between its two steps leaves
/// both names on one file.
pub(crate) fn link_new(directory: impl AsFd, from: &OsStr, to: &OsStr) -> io::Result<()> {
    let directory = directory.as_fd();
    match rustix::fs::linkat(directory, from, directory, to, AtFlags::empty()) {
        Ok(()) => return Ok(rustix::fs::unlinkat(directory, from, AtFlags::empty())?),
        Err(Errno::EXIST) => return Err(Errno::EXIST.into()),
        Err(_) => {}
    }
    // No hard links here (FAT and its kin): checking first is the best that remains, and better
    // than a download that can never end.
    if entry_at(directory, to)?.is_some() {
        return Err(Errno::EXIST.into());
    }
    rename_replacing(directory, from, to)
}

/// Renames inside one directory, replacing a file that has the new name.
pub(crate) fn rename_replacing(directory: impl AsFd, from: &OsStr, to: &OsStr) -> io::Result<()> {
    Ok(rustix::fs::renameat(directory.as_fd(), from, directory.as_fd(), to)?)
}

/// Exchanges two names of one directory in one step.
#[cfg(target_os = "linux")]
pub(crate) fn exchange(directory: impl AsFd, one: &OsStr, other: &OsStr) -> io::Result<()> {
    use rustix::fs::RenameFlags;
    let directory = directory.as_fd();
    Ok(rustix::fs::renameat_with(directory, one, directory, other, RenameFlags::EXCHANGE)?)
}

/// Other systems have no such call, or one that differs too much.
#[cfg(not(target_os = "linux"))]
pub(crate) fn exchange(_: impl AsFd, _: &OsStr, _: &OsStr) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Removes a name; a missing one is no error.
pub(crate) fn remove(directory: impl AsFd, name: &OsStr) -> io::Result<()> {
    match rustix::fs::unlinkat(directory.as_fd(), name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes an empty directory; a missing one is no error.
pub(crate) fn remove_directory(directory: impl AsFd, name: &OsStr) -> io::Result<()> {
    match rustix::fs::unlinkat(directory.as_fd(), name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether nothing is in an open directory.
pub(crate) fn is_empty_directory(directory: impl AsFd) -> io::Result<bool> {
    let mut names = rustix::fs::Dir::read_from(directory)?;
    while let Some(entry) = names.read() {
        if ![&b"."[..], b".."].contains(&entry?.file_name().to_bytes()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes a directory with this mode less the umask; anything that has the name is an error.
pub(crate) fn make_directory(directory: impl AsFd, name: &OsStr, mode: u32) -> io::Result<()> {
    Ok(rustix::fs::mkdirat(directory.as_fd(), name, Mode::from_raw_mode(mode))?)
}

/// Makes a link with this text, which is not looked at; anything that has the name is an error.
pub(crate) fn make_link(directory: impl AsFd, name: &OsStr, target: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::symlinkat(target, directory.as_fd(), name)?)
}

/// Renames from one directory to another. A file or an empty directory that has the new name is
/// replaced.
pub(crate) fn rename_between(
    from: impl AsFd,
    old: &OsStr,
    to: impl AsFd,
    new: &OsStr,
) -> io::Result<()> {
    Ok(rustix::fs::renameat(from.as_fd(), old, to.as_fd(), new)?)
}

/// Makes created, renamed and removed names in the directory survive a power cut.
pub(crate) fn sync_directory(directory: impl AsFd) -> io::Result<()> {
    Ok(retry_on_intr(|| rustix::fs::fsync(directory.as_fd()))?)
}

/// Whether all changes in the directory are made through this kernel, so that inotify reports them.
/// A network file system is also changed by other machines.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn notifies_all_changes(directory: impl AsFd) -> bool {
    /// Besides the named ones: bcachefs, ZFS; see `statfs(2)`.
    const LOCAL: [u64; 9] = [
        magic::EXT,
        magic::XFS,
        magic::BTRFS,
        magic::F2FS,
        0xca45_1a4e,
        0x2fc1_2fc1,
        magic::OVERLAY,
        magic::TMPFS,
        magic::RAMFS,
    ];
    magic_of(directory).is_some_and(|kind| LOCAL.contains(&kind))
}

/// Not known on other systems.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn notifies_all_changes(_directory: impl AsFd) -> bool {
    false
}

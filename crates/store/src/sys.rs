//! The system calls behind the store, each with a portable way where only Linux has the good one.
//!
//! Nothing is decided here: callers hold the rules, this file knows flags and error numbers. Names
//! are single path components, resolved from an open directory, and a symbolic link in the place of
//! one of our own files is never followed.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

use super::stamp::{Stamp, nanoseconds};

/// Whether the lock is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lock {
    /// It is, until the file is closed or unlocked.
    Taken,
    /// Another open file holds it, in this process or another.
    HeldElsewhere,
}

/// What is free on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Free {
    /// Bytes that this process can still write.
    pub(super) bytes: u64,
    /// Files that can still be made; `None` if the file system does not count them.
    pub(super) files: Option<u64>,
}

/// Whether a file system gave the space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reservation {
    /// Writing inside the reserved length cannot run out of space.
    Reserved,
    /// The file system cannot promise space.
    Unsupported,
}

/// One name in a directory, as seen without following a link.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// What it stands for.
    pub kind: EntryKind,
    /// Who may change it.
    pub protection: Protection,
    /// How many names it has.
    pub names: u64,
    /// What it looks like now.
    pub stamp: Stamp,
    /// The device it is on. Only to be compared with another one that was read just now.
    pub device: u64,
}

impl Entry {
    /// Whether both, read just now, are of one file.
    pub fn is_same_file(&self, other: &Self) -> bool {
        self.device == other.device && self.stamp.is_same_file(&other.stamp)
    }
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
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

/// Who may change a file or directory.
#[derive(Debug, Clone, Copy)]
pub struct Protection {
    /// User id of the owner.
    pub owner: u32,
    /// Id of the group.
    pub group: u32,
    /// Permission and type bits.
    pub mode: u32,
}

/// Opens a directory for resolving names in it and for syncing it.
pub fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(retry_on_intr(|| rustix::fs::openat(CWD, path, flags, Mode::empty()))?)
}

/// Opens a directory inside another; a link in its place is an error.
pub fn open_subdirectory(directory: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(retry_on_intr(|| rustix::fs::openat(directory.as_fd(), name, flags, Mode::empty()))?)
}

/// Creates a file that is not there yet, for this user alone to read and write.
pub(super) fn create_private(directory: impl AsFd, name: &OsStr) -> io::Result<File> {
    create_new(directory, name, Some(0o600))
}

/// Creates a file that is not there yet, for reading and writing: with this mode, or as any file
/// that a program writes.
pub(super) fn create_new(
    directory: impl AsFd,
    name: &OsStr,
    mode: Option<u32>,
) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Less the umask: at no moment may more than the mode allows.
    let at_first = Mode::from_raw_mode(mode.unwrap_or(0o666));
    let file: File =
        retry_on_intr(|| rustix::fs::openat(directory.as_fd(), name, flags, at_first))?.into();
    if let Some(mode) = mode {
        // Some file systems have no modes.
        let _ = rustix::fs::fchmod(&file, Mode::from_raw_mode(mode));
    }
    Ok(file)
}

/// Whether the directory gives each new file an access list, which then says who may do what in
/// place of a umask.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn has_default_access(directory: impl AsFd) -> bool {
    rustix::fs::fgetxattr_query(directory, "system.posix_acl_default").is_ok_and(|len| len > 0)
}

/// Elsewhere there are none of that kind.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn has_default_access(_directory: impl AsFd) -> bool {
    false
}

/// Opens a file of ours for reading and writing.
pub(super) fn open_existing(directory: impl AsFd, name: &OsStr) -> io::Result<File> {
    // NONBLOCK: a named pipe in this place must not hang us before we see what it is.
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(retry_on_intr(|| rustix::fs::openat(directory.as_fd(), name, flags, Mode::empty()))?.into())
}

/// Opens a file of the user's for reading; a link is followed, because the user named it.
pub(super) fn open_for_reading(directory: impl AsFd, name: impl AsRef<Path>) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(retry_on_intr(|| {
        rustix::fs::openat(directory.as_fd(), name.as_ref(), flags, Mode::empty())
    })?
    .into())
}

/// Opens a file of the user's by its path; a link is followed, because the user named it.
pub(super) fn open_path_for_reading(path: &Path) -> io::Result<File> {
    open_for_reading(CWD, path)
}

/// What the name stands for, not following a link; `None` if nothing has it.
pub fn entry_at(directory: impl AsFd, name: &OsStr) -> io::Result<Option<Entry>> {
    match retry_on_intr(|| rustix::fs::statat(directory.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW)) {
        Ok(stat) => Ok(Some(entry_of(&stat))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether opening failed because a link, a directory or a socket stands where a file of ours or a
/// directory should.
pub fn is_something_else(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::LOOP | Errno::ISDIR | Errno::NOTDIR | Errno::NXIO)
    )
}

/// Whether this process may open the file for reading.
pub fn check_readable(directory: impl AsFd, name: &OsStr) -> io::Result<()> {
    use rustix::fs::Access;
    Ok(rustix::fs::accessat(directory.as_fd(), name, Access::READ_OK, AtFlags::EACCESS)?)
}

/// Who may change the open file or directory.
pub fn protection(file: impl AsFd) -> io::Result<Protection> {
    Ok(entry(file)?.protection)
}

/// What the open file or directory is.
pub fn entry(file: impl AsFd) -> io::Result<Entry> {
    Ok(entry_of(&rustix::fs::fstat(file)?))
}

/// What the open file or directory looks like.
pub fn stamp(file: impl AsFd) -> io::Result<Stamp> {
    Ok(entry(file)?.stamp)
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
        stamp: Stamp {
            inode: stat.st_ino as u64,
            size: stat.st_size as u64,
            modified_ns: nanoseconds(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            changed_ns: nanoseconds(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        },
        device: stat.st_dev as u64,
    }
}

/// The path of an open directory, as the system knows it now. It may not lead there.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn path_of(directory: impl AsFd) -> Option<PathBuf> {
    use std::os::fd::AsRawFd;
    let path = std::fs::read_link(format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd())).ok();
    // That of one that was removed ends otherwise.
    path.filter(|path| path.is_dir())
}

/// Elsewhere it does not tell.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn path_of(_directory: impl AsFd) -> Option<PathBuf> {
    None
}

/// Tries to lock the file for this open file alone, without waiting.
pub(super) fn lock_exclusive(file: &File) -> io::Result<Lock> {
    match retry_on_intr(|| rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => Ok(Lock::Taken),
        Err(Errno::WOULDBLOCK) => Ok(Lock::HeldElsewhere),
        Err(error) => Err(error.into()),
    }
}

/// Tries the other kind of lock, which belongs to the process: it keeps other processes out, and
/// ends when this one closes any descriptor of the file. For file systems without the better one.
pub(super) fn lock_for_process(file: &File) -> io::Result<Lock> {
    match retry_on_intr(|| rustix::fs::fcntl_lock(file, FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => Ok(Lock::Taken),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(Lock::HeldElsewhere),
        Err(error) => Err(error.into()),
    }
}

/// Gives the lock back before the file is closed.
pub(super) fn unlock(file: &File) -> io::Result<()> {
    Ok(rustix::fs::flock(file, FlockOperation::Unlock)?)
}

/// Gives the lock of the process back.
pub(super) fn unlock_for_process(file: &File) -> io::Result<()> {
    Ok(rustix::fs::fcntl_lock(file, FlockOperation::Unlock)?)
}

/// Asks the file system for `len` bytes at `from`; the file becomes at least that long. Only that
/// there is no room, or that the file may not be so large, is an error: nobody has to be able to
/// reserve.
#[cfg(target_os = "linux")]
pub(super) fn reserve(file: &File, from: u64, len: u64) -> io::Result<Reservation> {
    use rustix::fs::FallocateFlags;
    match retry_on_intr(|| rustix::fs::fallocate(file, FallocateFlags::empty(), from, len)) {
        Ok(()) => Ok(Reservation::Reserved),
        Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => Err(error.into()),
        Err(_) => Ok(Reservation::Unsupported),
    }
}

/// Gives the blocks in the range back, and with them what is in it; the length stays. Best effort.
#[cfg(target_os = "linux")]
pub(super) fn give_back(file: &File, range: Range<u64>) {
    use rustix::fs::FallocateFlags;
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    if range.start < range.end {
        let _ = rustix::fs::fallocate(file, hole, range.start, range.end - range.start);
    }
}

/// Elsewhere they stay.
#[cfg(not(target_os = "linux"))]
pub(super) fn give_back(_file: &File, _range: Range<u64>) {}

/// What reserving space costs on the file system of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reserving {
    /// Nothing worth a thought, whatever the size: an extent is put aside.
    AtOnce,
    /// Time, page by page.
    InSteps,
    /// More than it gives, or nobody knows: it switches compression off, writes zeroes, or asks a
    /// server.
    Never,
}

/// What it costs on the file system of this file; see `docs/adr/006`.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn reserving(file: &File) -> Reserving {
    const EXT: u64 = 0xef53;
    const XFS: u64 = 0x5846_5342;
    match kind(file) {
        Some(EXT | XFS) => Reserving::AtOnce,
        Some(TMPFS) => Reserving::InSteps,
        _ => Reserving::Never,
    }
}

/// Elsewhere nothing is reserved.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn reserving(_file: &File) -> Reserving {
    Reserving::Never
}

/// The largest file that the file system of this one can hold, where it is known to be less than
/// any file here.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn largest_file(file: &File) -> Option<u64> {
    const FAT: u64 = 0x4d44;
    (kind(file) == Some(FAT)).then_some(u64::from(u32::MAX))
}

/// Elsewhere it is not known.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn largest_file(_file: &File) -> Option<u64> {
    None
}

/// The largest file that this process may write, if there is a limit.
pub(super) fn file_size_limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Fsize).current
}

/// What the file system of an open file or directory is called, if it is one that cannot hold all
/// that a Unix file has.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn foreign_kind(file: impl AsFd) -> Option<&'static str> {
    Some(match kind(file)? {
        0x4d44 => "FAT",
        0x2011_bab0 => "exFAT",
        0x5346_544e | 0x7366_746e => "NTFS",
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => "SMB",
        0x0102_1997 => "9p",
        0x786f_4256 => "vboxsf",
        0x6573_5546 => "FUSE",
        _ => return None,
    })
}

/// Elsewhere it is not known.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn foreign_kind(_file: impl AsFd) -> Option<&'static str> {
    None
}

/// Whether a new file in the directory is open to others although it was to be private: modes are
/// what the mount says.
pub fn gives_own_modes(directory: impl AsFd) -> bool {
    const OTHERS: u32 = 0o077;
    let name = std::ffi::OsString::from(format!(".tnet-{:016x}", rand::random::<u64>()));
    let Ok(file) = create_new(&directory, &name, Some(0o600)) else { return false };
    let is_open = protection(&file).is_ok_and(|protection| protection.mode & OTHERS != 0);
    // What cannot be removed is only litter.
    let _ = remove(&directory, &name);
    is_open
}

/// What keeps a name from being changed, whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fixed {
    /// `chattr +i`.
    Immutable,
    /// `chattr +a`: it may only grow.
    AppendOnly,
    /// Something is mounted there.
    MountPoint,
}

/// Whether a directory takes no changes, whoever asks.
pub fn is_fixed(directory: impl AsFd) -> bool {
    fixed(directory, OsStr::new("")).is_some()
}

/// What keeps this entry, or with an empty name the directory itself, from being changed.
#[cfg(target_os = "linux")]
pub(super) fn fixed(directory: impl AsFd, name: &OsStr) -> Option<Fixed> {
    use rustix::fs::{StatxAttributes, StatxFlags, statx};
    let flags = if name.is_empty() { AtFlags::EMPTY_PATH } else { AtFlags::SYMLINK_NOFOLLOW };
    let attributes = statx(directory, name, flags, StatxFlags::TYPE).ok()?.stx_attributes;
    let has = |attribute| attributes.contains(attribute);
    if has(StatxAttributes::IMMUTABLE) {
        Some(Fixed::Immutable)
    } else if has(StatxAttributes::APPEND) {
        Some(Fixed::AppendOnly)
    } else {
        (!name.is_empty() && has(StatxAttributes::MOUNT_ROOT)).then_some(Fixed::MountPoint)
    }
}

/// Elsewhere the call itself has to tell.
#[cfg(not(target_os = "linux"))]
pub(super) fn fixed(_directory: impl AsFd, _name: &OsStr) -> Option<Fixed> {
    None
}

/// Elsewhere the calls differ too much to trust: the caller falls back to the length alone.
#[cfg(not(target_os = "linux"))]
pub(super) fn reserve(_file: &File, _from: u64, _len: u64) -> io::Result<Reservation> {
    Ok(Reservation::Unsupported)
}

/// Makes all of `to` share the blocks of `from`, to be copied when either is written to. False
/// where the file system cannot do that, or not between these two; then nothing has changed.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn share_blocks(from: &File, to: &File) -> bool {
    retry_on_intr(|| rustix::fs::ioctl_ficlone(to, from)).is_ok()
}

/// Elsewhere it is copied.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn share_blocks(_from: &File, _to: &File) -> bool {
    false
}

/// Whether the file lies in memory, where nothing waits for a disk.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn is_in_memory(file: &File) -> bool {
    kind(file).is_some_and(|kind| [TMPFS, RAMFS].contains(&kind))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const TMPFS: u64 = 0x0102_1994;
#[cfg(any(target_os = "linux", target_os = "android"))]
const RAMFS: u64 = 0x8584_58f6;

/// Elsewhere it is not known.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn is_in_memory(_file: &File) -> bool {
    false
}

/// Whether all changes of what is in the directory are made through this system, which then has
/// word of them. A server's file system is changed by others too.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn hears_of_all_changes(directory: impl AsFd) -> bool {
    /// ext2 to ext4, XFS, Btrfs, F2FS, bcachefs, ZFS, overlays, tmpfs, ramfs; see `statfs(2)`.
    const LOCAL: [u64; 9] = [
        0xef53,
        0x5846_5342,
        0x9123_683e,
        0xf2f5_2010,
        0xca45_1a4e,
        0x2fc1_2fc1,
        0x794c_7630,
        TMPFS,
        RAMFS,
    ];
    kind(directory).is_some_and(|kind| LOCAL.contains(&kind))
}

/// What kind of file system it is on: a magic number, see `statfs(2)`.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[allow(
    clippy::cast_sign_loss,
    clippy::unnecessary_cast,
    reason = "signed on some systems, and shorter"
)]
fn kind(file: impl AsFd) -> Option<u64> {
    Some(rustix::fs::fstatfs(file).ok()?.f_type as u64 & 0xffff_ffff)
}

/// The system need not keep these pages in memory. Pages that are not on the disk yet stay.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn forget_pages(file: &File, from: u64, len: u64) {
    // Advice: that it was not taken changes nothing.
    let _ = rustix::fs::fadvise(
        file,
        from,
        std::num::NonZeroU64::new(len),
        rustix::fs::Advice::DontNeed,
    );
}

/// Elsewhere the system decides alone.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn forget_pages(_file: &File, _from: u64, _len: u64) {}

/// Bytes of memory the machine has, if the system tells.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[allow(clippy::useless_conversion, reason = "32 bits on some systems")]
pub(super) fn memory_bytes() -> Option<u64> {
    let info = rustix::system::sysinfo();
    Some(u64::from(info.totalram).saturating_mul(u64::from(info.mem_unit)))
}

/// Elsewhere it is not asked.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn memory_bytes() -> Option<u64> {
    None
}

/// Fills the buffer if that needs no disk; false if it would, or if the system does not tell.
#[cfg(target_os = "linux")]
pub fn read_cached(file: &File, buf: &mut [u8], offset: u64) -> bool {
    use rustix::io::{IoSliceMut, ReadWriteFlags, preadv2};
    let wanted = buf.len();
    let read = preadv2(file, &mut [IoSliceMut::new(buf)], offset, ReadWriteFlags::NOWAIT);
    read.is_ok_and(|read| read == wanted)
}

/// Elsewhere it is not known.
#[cfg(not(target_os = "linux"))]
pub fn read_cached(_file: &File, _buf: &mut [u8], _offset: u64) -> bool {
    false
}

/// Whether what is said to be free can take a name as well as data: Btrfs sets room aside for one
/// or the other.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn says_what_is_free(file: impl AsFd) -> bool {
    const BTRFS: u64 = 0x9123_683e;
    kind(file) != Some(BTRFS)
}

/// Elsewhere it is believed.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn says_what_is_free(_file: impl AsFd) -> bool {
    true
}

/// Whether this process may write to what is kept back for the superuser. On other file systems
/// what is free and not available is something else.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn may_use_reserve(file: impl AsFd) -> bool {
    const EXT: u64 = 0xef53;
    effective_user() == 0 && kind(file) == Some(EXT)
}

/// Elsewhere it is left alone.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn may_use_reserve(_file: impl AsFd) -> bool {
    false
}

/// What takes its room from one pool, though its device numbers differ: subvolumes, and overlays on
/// one file system.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn pool(file: impl AsFd) -> Option<(u64, u64)> {
    const BTRFS: u64 = 0x9123_683e;
    const OVERLAY: u64 = 0x794c_7630;
    let kind = kind(&file)?;
    let stat = rustix::fs::fstatvfs(file).ok()?;
    match kind {
        // The number of the subvolume is in the other half.
        BTRFS => Some((kind, stat.f_fsid & 0xffff_ffff)),
        // It says of itself what the file system below says, but for the number.
        OVERLAY => Some((kind, stat.f_blocks)),
        _ => None,
    }
}

/// Elsewhere a device is a pool.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn pool(_file: impl AsFd) -> Option<(u64, u64)> {
    None
}

/// Writes down all of a file system: some say only then that the room of a removed file is free.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn sync_file_system(file: impl AsFd) {
    // If it fails, the room is not there.
    let _ = rustix::fs::syncfs(file);
}

/// Elsewhere it is not known to be needed.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn sync_file_system(_file: impl AsFd) {}

/// What is free on the file system of `file`; `None` if it does not say.
pub(super) fn free(file: impl AsFd) -> Option<Free> {
    let stat = rustix::fs::fstatvfs(&file).ok()?;
    let blocks = if may_use_reserve(&file) { stat.f_bfree } else { stat.f_bavail };
    // Some network and FUSE file systems leave all figures at zero.
    (stat.f_blocks > 0).then(|| Free {
        bytes: blocks.saturating_mul(stat.f_frsize),
        files: (stat.f_files > 0).then_some(stat.f_favail),
    })
}

/// The next stretch of the file at or after `from` that may hold data; `None` if only a hole
/// follows.
///
/// Where holes cannot be seen, everything is data.
#[cfg(target_os = "linux")]
pub(super) fn next_data(file: &File, from: u64, size: u64) -> io::Result<Option<Range<u64>>> {
    use rustix::fs::SeekFrom;
    if from >= size {
        return Ok(None);
    }
    // Moves the file's cursor, which nobody uses: all our reads and writes are positioned.
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
pub(super) fn next_data(_file: &File, from: u64, size: u64) -> io::Result<Option<Range<u64>>> {
    Ok((from < size).then_some(from..size))
}

/// Lets go of clean cached pages in the range, so that the next read comes from the disk. Only
/// advice.
#[cfg(target_os = "linux")]
pub(super) fn drop_cached(file: &File, range: Range<u64>) {
    use std::num::NonZeroU64;
    if let Some(length) = NonZeroU64::new(range.end.saturating_sub(range.start)) {
        let _ = rustix::fs::fadvise(file, range.start, Some(length), rustix::fs::Advice::DontNeed);
    }
}

/// There is no portable way.
#[cfg(not(target_os = "linux"))]
pub(super) fn drop_cached(_file: &File, _range: Range<u64>) {}

/// Renames inside one directory; [`io::ErrorKind::AlreadyExists`] if the new name is taken. What
/// the file system cannot do is done in another way; what the last way says is the error.
pub(super) fn rename_new(directory: impl AsFd, from: &OsStr, to: &OsStr) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::RenameFlags;
        let directory = directory.as_fd();
        match rustix::fs::renameat_with(directory, from, directory, to, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => return Err(Errno::EXIST.into()),
            Err(_) => {} // this file system does not know the flag, whatever it says
        }
    }
    link_new(directory, from, to)
}

/// The portable [`rename_new`]: a hard link never replaces. A crash between its two steps leaves
/// both names on one file.
pub(super) fn link_new(directory: impl AsFd, from: &OsStr, to: &OsStr) -> io::Result<()> {
    let directory = directory.as_fd();
    match rustix::fs::linkat(directory, from, directory, to, AtFlags::empty()) {
        Ok(()) => return Ok(rustix::fs::unlinkat(directory, from, AtFlags::empty())?),
        Err(Errno::EXIST) => return Err(Errno::EXIST.into()),
        Err(_) => {}
    }
    // No hard links here (FAT and its kin): looking first is the best that is left, and better than
    // a download that can never end.
    if entry_at(directory, to)?.is_some() {
        return Err(Errno::EXIST.into());
    }
    rename_replacing(directory, from, to)
}

/// Renames inside one directory, replacing a file that has the new name.
pub(super) fn rename_replacing(directory: impl AsFd, from: &OsStr, to: &OsStr) -> io::Result<()> {
    Ok(rustix::fs::renameat(directory.as_fd(), from, directory.as_fd(), to)?)
}

/// Removes a name; one that is not there is fine.
pub(super) fn remove(directory: impl AsFd, name: &OsStr) -> io::Result<()> {
    match rustix::fs::unlinkat(directory.as_fd(), name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Makes created, renamed and removed names in the directory survive a power cut.
pub(super) fn sync_directory(directory: impl AsFd) -> io::Result<()> {
    Ok(retry_on_intr(|| rustix::fs::fsync(directory.as_fd()))?)
}

/// The user this process acts for.
pub fn effective_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

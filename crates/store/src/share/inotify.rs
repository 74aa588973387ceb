//! inotify: tells when a polled directory may have changed. It never replaces a scan, and an error
//! only means that the directory is polled alone.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// An inotify instance that watches some directories from when they were added. It tells only that
/// something changed.
#[derive(Debug)]
pub struct Notices(OwnedFd);

impl Notices {
    /// # Errors
    /// The system has no inotify, or allows no more instances.
    pub(super) fn new() -> io::Result<Notices> {
        queue().map(Notices)
    }

    /// Watches the directory and its entries from now on.
    ///
    /// # Errors
    /// inotify does not report all changes of this file system, or the limit of watches is reached.
    pub(super) fn add(&self, directory: BorrowedFd<'_>) -> io::Result<()> {
        add(&self.0, directory)
    }

    /// The descriptor, which is readable when something changed.
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn queue() -> io::Result<OwnedFd> {
    use rustix::fs::inotify::{self, CreateFlags};
    Ok(inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn add(queue: &OwnedFd, directory: BorrowedFd<'_>) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    use rustix::fs::inotify::{self, WatchFlags};

    if !crate::sys::notifies_all_changes(directory) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let happenings = WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVE
        | WatchFlags::MODIFY
        | WatchFlags::CLOSE_WRITE
        | WatchFlags::ATTRIB
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF;
    // By its descriptor: its name may lead elsewhere now.
    let directory = format!("/proc/self/fd/{}", directory.as_raw_fd());
    inotify::add_watch(queue, directory, happenings | WatchFlags::ONLYDIR)?;
    Ok(())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn queue() -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn add(_: &OwnedFd, _: BorrowedFd<'_>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

//! inotify: tells when a directory that is looked at now and then may have changed.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Collects word of some directories from when they were added. That something happened is all it
/// tells.
#[derive(Debug)]
pub struct Notices(OwnedFd);

impl Notices {
    /// # Errors
    /// The system gives no more of them, or never does.
    pub(super) fn new() -> io::Result<Notices> {
        queue().map(Notices)
    }

    /// From now on there is word of what happens to the directory and to what is directly in it.
    ///
    /// # Errors
    /// The system hears not of all changes there, or has word of too many directories to give.
    pub(super) fn add(&self, directory: BorrowedFd<'_>) -> io::Result<()> {
        add(&self.0, directory)
    }

    /// The descriptor, which is readable when there is word.
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

    if !crate::sys::hears_of_all_changes(directory) {
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
    // By its descriptor: its name may lead elsewhere by now.
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

//! Removes what is in a directory, whatever it is. No link is followed, and the number of open
//! directories does not grow with the depth: what is nested is first moved up.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::Dir;
use rustix::io::Errno;

use crate::sys::{self, EntryKind};

/// Removes one name, with everything below if it is a directory.
pub(crate) fn remove_any(directory: impl AsFd, name: &OsStr) -> io::Result<()> {
    let directory = directory.as_fd();
    match sys::entry_at(directory, name)?.map(|entry| entry.kind) {
        None => Ok(()),
        Some(EntryKind::Directory) => {
            empty(&sys::open_subdirectory(directory, name)?)?;
            sys::remove_directory(directory, name)
        }
        Some(_) => sys::remove(directory, name),
    }
}

/// Removes everything in the directory.
pub(super) fn empty(directory: &OwnedFd) -> io::Result<()> {
    // A round removes everything at the top, and moves up what is two directories deep.
    loop {
        let directories = remove_others(directory)?;
        if directories.is_empty() {
            return Ok(());
        }
        for name in directories {
            let inner = match sys::open_subdirectory(directory, &name) {
                Ok(inner) => inner,
                // It is something else by now: the next round removes it.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        || sys::is_something_else(&error) =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            };
            for nested in remove_others(&inner)? {
                let random = OsString::from(format!(".tnet-{:016x}", rand::random::<u64>()));
                sys::rename_between(&inner, &nested, directory, &random)?;
            }
            sys::remove_directory(directory, &name)?;
        }
    }
}

/// Removes everything in a directory but directories, which it answers with.
fn remove_others(directory: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut directories = Vec::new();
    for name in names(directory)? {
        match rustix::fs::unlinkat(directory, &name, rustix::fs::AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            // Linux says the first of a directory, other systems the second.
            Err(error @ (Errno::ISDIR | Errno::PERM)) => {
                match sys::entry_at(directory, &name)?.map(|entry| entry.kind) {
                    Some(EntryKind::Directory) => directories.push(name),
                    Some(_) => return Err(error.into()),
                    None => {}
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(directories)
}

/// The names in a directory, but for itself and the one that it is in.
pub(super) fn names(directory: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    let mut entries = Dir::read_from(directory)?;
    while let Some(entry) = entries.read() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if ![&b"."[..], b".."].contains(&name) {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

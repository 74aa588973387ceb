//! One look at everything below a directory. Never leaves it: directories are opened one inside the
//! other, and links are not followed, not even ones that take a directory's place during the walk.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::Dir;

use crate::named_dir::{Others, Trusted};
use crate::share::LeftOutKind;
use crate::sys::{self, Entry, EntryKind};
use crate::{JOURNAL_SUFFIX, PARTIAL_SUFFIX, Stamp};

const FILEINFO_SUFFIX: &str = ".fileinfo";

/// Something the walk came by.
pub(super) enum Seen<'a> {
    /// A directory that is about to be listed.
    Directory { path: &'a Path, directory: BorrowedFd<'a> },
    /// A regular file that is no file of ours and not hidden.
    File { path: &'a Path, stamp: Stamp, place: Place<'a> },
    /// A file that could not be looked at, or a directory that could not be read to its end.
    Unreadable { path: &'a Path, kind: io::ErrorKind },
    /// A private file that somebody else may have given a name here.
    Planted { path: &'a Path },
    /// A directory too deep to enter.
    TooDeep { path: &'a Path },
    /// Something that is never shared.
    Other { path: &'a Path, kind: LeftOutKind },
}

/// Where a file is, for one more question about it.
pub(super) struct Place<'a> {
    directory: BorrowedFd<'a>,
    name: &'a OsStr,
}

impl Place<'_> {
    /// Whether this process may read the file.
    pub(super) fn check_readable(&self) -> io::Result<()> {
        sys::check_readable(self.directory, self.name)
    }
}

/// Shows everything in `directory`, which has the path `path`, down to `depth` directories inside
/// one another.
///
/// # Errors
/// `directory` itself could not be read.
pub(super) fn walk(
    directory: OwnedFd,
    path: &Path,
    depth: u32,
    visit: &mut dyn FnMut(Seen<'_>),
) -> io::Result<()> {
    let mut path = path.to_owned();
    walk_into(directory, Trusted::now()?, &mut path, depth, visit)
}

fn walk_into(
    directory: OwnedFd,
    trusted: Trusted,
    path: &mut PathBuf,
    depth: u32,
    visit: &mut dyn FnMut(Seen<'_>),
) -> io::Result<()> {
    visit(Seen::Directory { path, directory: directory.as_fd() });
    let protection = sys::protection(&directory)?;
    let writers = Writers { others: trusted.other_writers(protection), owner: protection.owner };
    let mut entries = Dir::new(directory)?;
    while let Some(entry) = entries.read() {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if [&b"."[..], b".."].contains(&name.as_bytes()) {
            continue;
        }
        path.push(name);
        if name.as_bytes().starts_with(b".") {
            visit(Seen::Other { path, kind: LeftOutKind::Hidden });
            path.pop();
            continue;
        }
        let shown = show(entries.fd()?, trusted, writers, name, path, depth, visit);
        if let Err(error) = shown
            && error.kind() != io::ErrorKind::NotFound
        // gone since it was listed
        {
            visit(Seen::Unreadable { path, kind: error.kind() });
        }
        path.pop();
    }
    Ok(())
}

fn show(
    directory: BorrowedFd<'_>,
    trusted: Trusted,
    writers: Writers,
    name: &OsStr,
    path: &mut PathBuf,
    depth: u32,
    visit: &mut dyn FnMut(Seen<'_>),
) -> io::Result<()> {
    let Some(entry) = sys::entry_at(directory, name)? else { return Ok(()) };
    let mut leave_out = |kind| {
        visit(Seen::Other { path, kind });
        Ok(())
    };
    match entry.kind {
        EntryKind::File if is_companion(name) => leave_out(LeftOutKind::Companion),
        EntryKind::File if writers.may_have_planted(&entry) => {
            visit(Seen::Planted { path });
            Ok(())
        }
        EntryKind::File => {
            visit(Seen::File { path, stamp: entry.stamp, place: Place { directory, name } });
            Ok(())
        }
        EntryKind::Directory if depth == 0 => {
            visit(Seen::TooDeep { path });
            Ok(())
        }
        EntryKind::Directory => match sys::open_subdirectory(directory, name) {
            Ok(inside) => walk_into(inside, trusted, path, depth - 1, visit),
            // A link or a file took its place since: the next walk sees what it is.
            Err(error) if sys::is_something_else(&error) => Ok(()),
            Err(error) => Err(error),
        },
        // Links lead who knows where; pipes, sockets and devices have no content.
        EntryKind::Link => leave_out(LeftOutKind::Link),
        EntryKind::Pipe => leave_out(LeftOutKind::Pipe),
        EntryKind::Socket => leave_out(LeftOutKind::Socket),
        EntryKind::Device => leave_out(LeftOutKind::Device),
    }
}

/// Who may put names into a directory.
#[derive(Debug, Clone, Copy)]
struct Writers {
    others: Option<Others>,
    owner: u32,
}

impl Writers {
    /// Whether this may be a file that they cannot read and gave a second name. Most systems let
    /// nobody do that (`fs.protected_hardlinks`); a file that everybody may read they can read
    /// themselves.
    fn may_have_planted(self, entry: &Entry) -> bool {
        const OTHERS_READ: u32 = 0o004;
        entry.names > 1
            && entry.protection.mode & OTHERS_READ == 0
            && match self.others {
                None => false,
                Some(Others::Owner) => entry.protection.owner != self.owner,
                Some(Others::Group | Others::Everybody) => true,
            }
    }
}

/// Whether the name is one of the files that go with a download or a shared file.
fn is_companion(name: &OsStr) -> bool {
    [PARTIAL_SUFFIX, JOURNAL_SUFFIX, FILEINFO_SUFFIX]
        .iter()
        .any(|suffix| name.as_bytes().ends_with(suffix.as_bytes()))
}

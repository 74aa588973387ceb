//! Walks everything below a directory. Never leaves it: directories are opened one inside the
//! other, and links are not followed, not even ones that take a directory's place during the walk.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::Dir;

use crate::named_dir::{OtherUsers, TrustedUsers};
use crate::share::LeftOutKind;
use crate::sys::{self, Entry, EntryKind};
use crate::{FileFingerprint, JOURNAL_SUFFIX, PARTIAL_SUFFIX};

const FILEINFO_SUFFIX: &str = ".fileinfo";

/// An entry that the walk visits.
pub(super) enum Seen<'a> {
    /// A directory that is about to be listed.
    Directory { path: &'a Path, directory: BorrowedFd<'a> },
    /// A regular file that is not hidden and not a companion of a download.
    File { path: &'a Path, fingerprint: FileFingerprint, name: NameInDir<'a> },
    /// A file whose metadata could not be read, or a directory that could not be read to its end.
    Unreadable { path: &'a Path, kind: io::ErrorKind },
    /// A private file to which another user may have given a name here.
    HardLink { path: &'a Path },
    /// A directory too deep to enter.
    TooDeep { path: &'a Path },
    /// Something that is never shared.
    Other { path: &'a Path, kind: LeftOutKind },
}

/// The name of a file in its open directory.
pub(super) struct NameInDir<'a> {
    directory: BorrowedFd<'a>,
    name: &'a OsStr,
}

impl NameInDir<'_> {
    /// Whether this process may read the file.
    pub(super) fn check_readable(&self) -> io::Result<()> {
        sys::check_readable(self.directory, self.name)
    }
}

/// Visits everything in `directory`, which has the path `path`, down to `depth` nested directories.
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
    walk_into(directory, TrustedUsers::now()?, &mut path, depth, visit)
}

fn walk_into(
    directory: OwnedFd,
    trusted: TrustedUsers,
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
    trusted: TrustedUsers,
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
            visit(Seen::HardLink { path });
            Ok(())
        }
        EntryKind::File => {
            visit(Seen::File {
                path,
                fingerprint: entry.fingerprint,
                name: NameInDir { directory, name },
            });
            Ok(())
        }
        EntryKind::Directory if depth == 0 => {
            visit(Seen::TooDeep { path });
            Ok(())
        }
        EntryKind::Directory => match sys::open_subdirectory(directory, name) {
            Ok(inside) => walk_into(inside, trusted, path, depth - 1, visit),
            // A link or a file has replaced it since: the next walk sees it.
            Err(error) if sys::is_something_else(&error) => Ok(()),
            Err(error) => Err(error),
        },
        // Links may lead anywhere; pipes, sockets and devices have no content.
        EntryKind::Link => leave_out(LeftOutKind::Link),
        EntryKind::Pipe => leave_out(LeftOutKind::Pipe),
        EntryKind::Socket => leave_out(LeftOutKind::Socket),
        EntryKind::Device => leave_out(LeftOutKind::Device),
    }
}

/// The users who may create names in a directory.
#[derive(Debug, Clone, Copy)]
struct Writers {
    others: Option<OtherUsers>,
    owner: u32,
}

impl Writers {
    /// Whether this may be a file that they cannot read and gave a second name. Most systems forbid
    /// that (`fs.protected_hardlinks`); a file that all users may read is no secret.
    fn may_have_planted(self, entry: &Entry) -> bool {
        const OTHERS_READ: u32 = 0o004;
        entry.names > 1
            && entry.protection.mode & OTHERS_READ == 0
            && match self.others {
                None => false,
                Some(OtherUsers::Owner) => entry.protection.owner != self.owner,
                Some(OtherUsers::Group | OtherUsers::Everyone) => true,
            }
    }
}

/// Whether the name is that of a companion of a download or a shared file.
fn is_companion(name: &OsStr) -> bool {
    [PARTIAL_SUFFIX, JOURNAL_SUFFIX, FILEINFO_SUFFIX]
        .iter()
        .any(|suffix| name.as_bytes().ends_with(suffix.as_bytes()))
}

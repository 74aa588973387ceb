//! Where a download goes: the output and its two companions, always names in one directory that stays open.
//!
//! The directory is resolved once, and through no link that another user could have put there.
//! Whatever happens to the path above it, all names of one download stay together.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rand::RngExt;
use rustix::io::Errno;

use super::error::OpenError;
use super::named_dir::{self, FindError, Trusted};
use super::no_room::NoRoom;
use super::sys::{self, Entry};

/// Added to the output's name while it is incomplete.
pub(crate) const PARTIAL_SUFFIX: &str = ".partial";
/// Added to the output's name for the journal of stored chunks.
pub(crate) const JOURNAL_SUFFIX: &str = ".partial.journal";

#[derive(Debug)]
pub(super) struct Target {
    directory: OwnedFd,
    parent: PathBuf,
    out: OsString,
    partial: OsString,
    journal: OsString,
}

impl Target {
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let out = path.file_name().ok_or_else(|| OpenError::NoFileName { path: path.to_owned() })?;
        // The working directory may change while the download runs.
        let absolute = std::path::absolute(path).map_err(|source| OpenError::from_io(path, source))?;
        let parent = absolute.parent().ok_or_else(|| OpenError::NoFileName { path: path.to_owned() })?;
        let directory = named_dir::open(parent).map_err(|error| match error {
            FindError::ForeignLink { link } => OpenError::ForeignLink { link },
            FindError::Io(source) => match source.kind() {
                io::ErrorKind::NotFound => OpenError::ParentMissing { parent: parent.to_owned() },
                io::ErrorKind::NotADirectory => OpenError::ParentNotDirectory { parent: parent.to_owned() },
                _ => OpenError::from_io(parent, source),
            },
        })?;
        Ok(Self {
            directory,
            parent: parent.to_owned(),
            out: out.to_owned(),
            partial: with_suffix(out, PARTIAL_SUFFIX),
            journal: with_suffix(out, JOURNAL_SUFFIX),
        })
    }

    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    pub(super) fn out(&self) -> &OsStr {
        &self.out
    }

    pub(super) fn partial(&self) -> &OsStr {
        &self.partial
    }

    pub(super) fn journal(&self) -> &OsStr {
        &self.journal
    }

    /// The path of one of the three names, for people and for looking again later.
    pub(super) fn path(&self, name: &OsStr) -> PathBuf {
        self.parent.join(name)
    }

    /// What stands under one of the three names now.
    pub(super) fn entry(&self, name: &OsStr) -> Result<Option<Entry>, OpenError> {
        sys::entry_at(self.directory(), name).map_err(|source| self.error(name, source))
    }

    /// The directory, for people.
    pub(super) fn parent(&self) -> &Path {
        &self.parent
    }

    /// Refuses an output name of which the file system would drop the end: FAT and its kin give `a.` the name `a`. All
    /// else that it does not take it says of the `.partial`.
    pub(super) fn check_name(&self) -> Result<(), OpenError> {
        let end = match self.out.as_bytes().last() {
            Some(end @ (b'.' | b' ')) => char::from(*end),
            _ => return Ok(()),
        };
        let short = format!(".tnet-{:016x}", rand::rng().random::<u64>());
        let probe = OsString::from(format!("{short}{end}"));
        let kept = match sys::create_new(self.directory(), &probe) {
            Ok(_) => sys::entry_at(self.directory(), short.as_ref()).is_ok_and(|entry| entry.is_none()),
            Err(error) => !is_about_the_name(&error),
        };
        let _ = sys::remove(self.directory(), &probe);
        if kept { Ok(()) } else { Err(OpenError::NameRefused { path: self.path(&self.out) }) }
    }

    /// The error for what the system said when one of the names was to be made.
    pub(super) fn naming_error(&self, name: &OsStr, source: io::Error) -> OpenError {
        if is_about_the_name(&source) && self.takes_plain_names() {
            return OpenError::NameRefused { path: self.path(&self.out) };
        }
        self.error(name, source)
    }

    fn takes_plain_names(&self) -> bool {
        let plain = OsString::from(format!(".tnet-{:016x}", rand::rng().random::<u64>()));
        let is_made = sys::create_new(self.directory(), &plain).is_ok();
        // What cannot be removed is only litter.
        let _ = sys::remove(self.directory(), &plain);
        is_made
    }

    /// Number of the device that the directory is on; zero if it does not tell.
    pub(super) fn device(&self) -> u64 {
        sys::stamp(&self.directory).map_or(0, |stamp| stamp.device)
    }

    /// Whether no other user could have put this entry here.
    pub(super) fn is_trusted(&self, entry: &Entry) -> Result<bool, OpenError> {
        let trusted = Trusted::now()
            .and_then(|trusted| Ok(trusted.others_at(sys::protection(&self.directory)?, entry).is_none()));
        trusted.map_err(|source| self.error(&self.out, source))
    }

    /// The error for what the system said about one of the three names.
    pub(super) fn error(&self, name: &OsStr, source: io::Error) -> OpenError {
        let said = Errno::from_io_error(&source);
        // The longest of the three is meant, the shortest is what the user named.
        let path = self.path(if said == Some(Errno::NAMETOOLONG) { &self.out } else { name });
        if said == Some(Errno::PERM) && sys::is_fixed(self.directory()) {
            return OpenError::Unchangeable { path: self.parent.clone() };
        }
        match NoRoom::of_creating(&source, self.directory()) {
            // Not even a name or a block for the journal: how much is missing is not known.
            Some(why) => OpenError::DiskFull { path, needed: 1, why },
            None => OpenError::from_io(&path, source),
        }
    }
}

/// Whether the system may mean the name by it.
fn is_about_the_name(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::ILSEQ | Errno::NOENT))
}

fn with_suffix(name: &OsStr, suffix: &str) -> OsString {
    let mut name = name.to_owned();
    name.push(suffix);
    name
}

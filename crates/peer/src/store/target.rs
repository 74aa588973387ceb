//! Where a download goes: the output and its two companions, always names in one directory that stays open.
//!
//! The directory is resolved once, and through no link that another user could have put there.
//! Whatever happens to the path above it, all names of one download stay together; where that is
//! by then can be [asked](Target::find_place).

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use tnet_fileinfo::shown_path;

use super::error::OpenError;
use super::named_dir::{self, FindError, Trusted};
use super::sys::{self, Entry};

/// Added to the output's name while it is incomplete.
pub(crate) const PARTIAL_SUFFIX: &str = ".partial";
/// Added to the output's name for the journal of stored chunks.
pub(crate) const JOURNAL_SUFFIX: &str = ".partial.journal";

#[derive(Debug)]
pub(super) struct Target {
    directory: OwnedFd,
    /// Where the directory was when it was last looked for.
    parent: RwLock<PathBuf>,
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
            parent: RwLock::new(parent.to_owned()),
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
        self.parent.read().unwrap_or_else(PoisonError::into_inner).join(name)
    }

    /// Finds the directory again, if it was moved: from then on its paths are the true ones. One that cannot be found
    /// keeps the path it had.
    pub(super) fn find_place(&self) {
        let leads_here = |path: &Path| {
            let there = sys::open_directory(path).and_then(sys::entry);
            there.is_ok_and(|there| sys::entry(&self.directory).is_ok_and(|here| here.is_same_file(&there)))
        };
        let known = self.parent.read().unwrap_or_else(PoisonError::into_inner).clone();
        if leads_here(&known) {
            return;
        }
        if let Some(found) = sys::path_of(&self.directory).filter(|found| leads_here(found)) {
            tracing::info!(from = %shown_path(&known), to = %shown_path(&found), "the directory of a download was moved");
            *self.parent.write().unwrap_or_else(PoisonError::into_inner) = found;
        }
    }

    /// What stands under one of the three names now.
    pub(super) fn entry(&self, name: &OsStr) -> Result<Option<Entry>, OpenError> {
        sys::entry_at(self.directory(), name).map_err(|source| self.error(name, source))
    }

    /// Whether no other user could have put this entry here.
    pub(super) fn is_trusted(&self, entry: &Entry) -> Result<bool, OpenError> {
        let trusted = Trusted::now()
            .and_then(|trusted| Ok(trusted.others_at(sys::protection(&self.directory)?, entry).is_none()));
        trusted.map_err(|source| self.error(&self.out, source))
    }

    /// The error for what the system said about one of the three names.
    pub(super) fn error(&self, name: &OsStr, source: io::Error) -> OpenError {
        OpenError::from_io(&self.path(name), source)
    }
}

fn with_suffix(name: &OsStr, suffix: &str) -> OsString {
    let mut name = name.to_owned();
    name.push(suffix);
    name
}

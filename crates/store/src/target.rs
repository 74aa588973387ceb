//! The target of a download: the output and its two companions, always names in one directory that
//! stays open.
//!
//! The directory is resolved once, by us or by the process that passed it, and through no link that
//! another user could have put there. If the path above it changes, all names of one download stay
//! together; [`Target::relocate`] finds the new path.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tnet_fileinfo::shown_path;

use rand::RngExt;
use rustix::io::Errno;

use super::error::OpenError;
use super::named_dir::{self, FindError, TrustedUsers};
use super::no_room::NoRoom;
use super::origin::Origin;
use super::sys::{self, Entry};

/// Added to the output's name while it is incomplete.
pub const PARTIAL_SUFFIX: &str = ".partial";
/// Added to the output's name for the journal of stored chunks.
pub const JOURNAL_SUFFIX: &str = ".partial.journal";

/// Added to the output's name for the manifest of a tree while the tree is incomplete.
const MANIFEST_SUFFIX: &str = ".partial.manifest";

/// Where the manifest of a tree is kept while the tree is downloaded to `out`.
pub fn manifest_path(out: &Path) -> PathBuf {
    let name = out.file_name().unwrap_or_default();
    out.with_file_name(with_suffix(name, MANIFEST_SUFFIX))
}

/// Removes the manifest of a tree that is not going to be downloaded to `out`, in the directory
/// that was passed or the one that the path leads to. Best effort: it is only litter.
pub fn remove_manifest(out: &Path, handed: Option<Arc<OwnedFd>>) {
    if let Ok(target) = Target::open(out, handed) {
        let _ = sys::remove(target.directory(), target.manifest());
    }
}

/// Whether this is the path of the manifest of a tree that is being downloaded.
pub fn is_manifest_path(path: &Path) -> bool {
    path.as_os_str().as_bytes().ends_with(MANIFEST_SUFFIX.as_bytes())
}

#[derive(Debug)]
pub(super) struct Target {
    directory: Arc<OwnedFd>,
    /// The last known path of the directory.
    parent: RwLock<PathBuf>,
    out: OsString,
    partial: OsString,
    journal: OsString,
    manifest: OsString,
    origin: Origin,
}

impl Target {
    /// Opens the target in the directory that was passed, or in the one that the path leads to.
    pub(super) fn open(path: &Path, handed: Option<Arc<OwnedFd>>) -> Result<Self, OpenError> {
        let out =
            path.file_name().ok_or_else(|| OpenError::NoFileName { path: path.to_owned() })?;
        let (directory, parent, origin) = match handed {
            None => {
                let (directory, parent) = open_parent(path)?;
                (Arc::new(directory), parent, Origin::Named)
            }
            Some(handed) => {
                let parent = parent_of(path)?;
                // If this process sees another directory there, or none, it reopens the file by the
                // descriptor.
                let is_seen = named_dir::open(&parent)
                    .is_ok_and(|ours| is_same(&ours, &handed).unwrap_or(false));
                let origin =
                    if is_seen { Origin::Named } else { Origin::Handed(Arc::clone(&handed)) };
                (handed, parent, origin)
            }
        };
        Ok(Self {
            directory,
            parent: RwLock::new(parent),
            out: out.to_owned(),
            partial: with_suffix(out, PARTIAL_SUFFIX),
            journal: with_suffix(out, JOURNAL_SUFFIX),
            manifest: with_suffix(out, MANIFEST_SUFFIX),
            origin,
        })
    }

    /// How the finished file is opened again.
    pub(super) fn origin(&self) -> Origin {
        self.origin.clone()
    }

    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    pub(super) fn shared_directory(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.directory)
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

    /// The manifest of a tree.
    pub(super) fn manifest(&self) -> &OsStr {
        &self.manifest
    }

    /// The path of one of the three names, for display and for opening it later.
    pub(super) fn path(&self, name: &OsStr) -> PathBuf {
        self.parent().join(name)
    }

    /// Finds the directory again, if it was moved: from then on its paths are the true ones. One
    /// that cannot be found keeps the path it had.
    pub(super) fn relocate(&self) {
        let leads_here = |path: &Path| {
            let there = sys::open_directory(path).and_then(sys::entry);
            there.is_ok_and(|there| {
                sys::entry(&self.directory).is_ok_and(|here| here.is_same_file(&there))
            })
        };
        if matches!(self.origin, Origin::Handed(_)) {
            // The process that passed it sees another file system, and looks for the file itself.
            return;
        }
        let known = self.parent();
        if leads_here(&known) {
            return;
        }
        if let Some(found) = sys::path_of(&self.directory).filter(|found| leads_here(found)) {
            tracing::info!(from = %shown_path(&known), to = %shown_path(&found), "the directory of a download was moved");
            *self.parent.write().unwrap_or_else(PoisonError::into_inner) = found;
        }
    }

    /// The file that has one of the three names now.
    pub(super) fn entry(&self, name: &OsStr) -> Result<Option<Entry>, OpenError> {
        sys::entry_at(self.directory(), name).map_err(|source| self.error(name, source))
    }

    /// The path of the directory, for display.
    pub(super) fn parent(&self) -> PathBuf {
        self.parent.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Refuses an output name of which the file system would drop the end: FAT and its kin store
    /// `a.` as `a`. Other names that it refuses fail when the `.partial` is created.
    pub(super) fn check_name(&self) -> Result<(), OpenError> {
        let end = match self.out.as_bytes().last() {
            Some(end @ (b'.' | b' ')) => char::from(*end),
            _ => return Ok(()),
        };
        let short = format!(".tnet-{:016x}", rand::rng().random::<u64>());
        let probe = OsString::from(format!("{short}{end}"));
        let kept = match sys::create_new(self.directory(), &probe, None) {
            Ok(_) => {
                sys::entry_at(self.directory(), short.as_ref()).is_ok_and(|entry| entry.is_none())
            }
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
        match NoRoom::of_creating(&source, self.directory()) {
            // No space even for a name: how much is missing is not known.
            Some(why) => OpenError::DiskFull { path: self.path(name), needed: 1, why },
            None => self.error(name, source),
        }
    }

    fn takes_plain_names(&self) -> bool {
        let plain = OsString::from(format!(".tnet-{:016x}", rand::rng().random::<u64>()));
        let is_made = sys::create_new(self.directory(), &plain, None).is_ok();
        // A probe that cannot be removed does no harm.
        let _ = sys::remove(self.directory(), &plain);
        is_made
    }

    /// Number of the device that the directory is on; zero if it cannot be read.
    pub(super) fn device(&self) -> u64 {
        sys::entry(&self.directory).map_or(0, |entry| entry.device)
    }

    /// Whether no untrusted user could have put this entry here.
    pub(super) fn is_trusted(&self, entry: &Entry) -> Result<bool, OpenError> {
        let trusted = TrustedUsers::now().and_then(|trusted| {
            Ok(trusted.others_at(sys::protection(&self.directory)?, entry).is_none())
        });
        trusted.map_err(|source| self.error(&self.out, source))
    }

    /// The error for what the system said about one of the three names.
    pub(super) fn error(&self, name: &OsStr, source: io::Error) -> OpenError {
        let said = Errno::from_io_error(&source);
        // The longest of the three is meant, the shortest is what the user named.
        let path = self.path(if said == Some(Errno::NAMETOOLONG) { &self.out } else { name });
        if said == Some(Errno::PERM) && sys::is_unchangeable(self.directory()) {
            return OpenError::Unchangeable { path: self.parent() };
        }
        match NoRoom::of(&source) {
            // How much is missing is not known.
            Some(why) => OpenError::DiskFull { path, needed: 1, why },
            None => OpenError::from_io(&path, source),
        }
    }
}

/// The parent directory of a path, open, and its absolute path.
pub(super) fn open_parent(path: &Path) -> Result<(OwnedFd, PathBuf), OpenError> {
    let parent = parent_of(path)?;
    let directory = named_dir::open(&parent).map_err(|error| match error {
        FindError::ForeignLink { link } => OpenError::ForeignLink { link },
        FindError::Io(source) => match source.kind() {
            io::ErrorKind::NotFound => OpenError::ParentMissing { parent: parent.clone() },
            io::ErrorKind::NotADirectory => {
                OpenError::ParentNotDirectory { parent: parent.clone() }
            }
            _ => OpenError::from_io(&parent, source),
        },
    })?;
    Ok((directory, parent))
}

fn parent_of(path: &Path) -> Result<PathBuf, OpenError> {
    // The working directory may change while the download runs.
    let absolute = std::path::absolute(path).map_err(|source| OpenError::from_io(path, source))?;
    let parent =
        absolute.parent().ok_or_else(|| OpenError::NoFileName { path: path.to_owned() })?;
    Ok(parent.to_owned())
}

fn is_same(one: impl AsFd, other: impl AsFd) -> io::Result<bool> {
    Ok(sys::entry(one)?.is_same_file(&sys::entry(other)?))
}

/// Whether the error may be about the name.
fn is_about_the_name(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::ILSEQ | Errno::NOENT))
}

fn with_suffix(name: &OsStr, suffix: &str) -> OsString {
    let mut name = name.to_owned();
    name.push(suffix);
    name
}

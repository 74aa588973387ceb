//! The changes in a shared directory since the last scan. Applying all changes in order gives
//! exactly the files that exist, are readable and settled.
//!
//! A file is reported only once it is settled, so that one still being copied is not hashed
//! halfway: twice in a row the same, or untouched for a while when first seen.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tnet_fileinfo::shown_path;

use super::change::Change;
use super::inotify::Notices;
use super::left_out::{LeftOut, LeftOutKind};
use super::scan::{Files, Scan};
use super::secure::{ShareDirError, check_secure, open_secure};
use super::walk::walk;
use crate::named_dir::{FindError, find_directory};
use crate::sys;
use crate::{FileFingerprint, SharedRoot};

/// How a directory is watched.
///
/// Exhaustive, for `..WatchOptions::default()`; new fields have defaults.
#[derive(Debug, Clone, Copy)]
pub struct WatchOptions {
    /// Directories inside one another that are entered. Deeper ones are reported and left out; each
    /// level costs a file descriptor during a scan.
    pub max_depth: u32,
    /// Files that are watched. More are left out, which is reported; each costs about 200 bytes.
    pub max_files: usize,
    /// A file last modified longer ago than this is settled at first sight.
    pub settle: Duration,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self { max_depth: 32, max_files: 1_000_000, settle: Duration::from_secs(2) }
    }
}

/// Remembers what was seen in a directory and reported about it.
#[derive(Debug)]
pub struct DirWatch {
    root: Arc<SharedRoot>,
    options: WatchOptions,
    files: Files,
    /// Each directory that the last scan listed, the shared one included, as it was before.
    directories: Vec<(PathBuf, FileFingerprint)>,
    /// What was reported as left out and still is.
    reported_left_out: BTreeSet<PathBuf>,
    /// All that is left out since the last scan.
    left_out: Vec<LeftOut>,
    /// Files that were reported so and could not be read, though they could be opened.
    unread: BTreeMap<PathBuf, FileFingerprint>,
    /// No file has to be scanned again before it can be reported.
    is_settled: bool,
    too_many: Overflow,
    scan_number: u64,
    /// Reports changes since the last scan, if inotify is available and the scan left no file to
    /// check again.
    notices: Option<Notices>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overflow {
    None,
    Reported,
}

impl DirWatch {
    /// Prepares to watch `dir`, which may be a link to a directory; the one that it leads to now is
    /// meant. It stays open. Nothing in it is read yet.
    ///
    /// # Errors
    /// It does not exist, is not a directory, or other users could put files into it; see
    /// [`ShareDirError`].
    pub fn new(dir: &Path, options: WatchOptions) -> Result<Self, ShareDirError> {
        let dir = std::path::absolute(dir)
            .map_err(|source| ShareDirError::Io { dir: dir.to_owned(), source })?;
        let directory = open_secure(&dir)?;
        Ok(Self {
            root: Arc::new(SharedRoot::new(dir, directory)),
            options,
            files: Files::new(),
            directories: Vec::new(),
            reported_left_out: BTreeSet::new(),
            left_out: Vec::new(),
            unread: BTreeMap::new(),
            is_settled: true,
            too_many: Overflow::None,
            scan_number: 0,
            notices: None,
        })
    }

    /// The directory; absolute.
    pub fn dir(&self) -> &Path {
        self.root.path()
    }

    /// The directory, for opening what is in it.
    pub fn root(&self) -> Arc<SharedRoot> {
        Arc::clone(&self.root)
    }

    /// Scans the directory and returns what changed since the last scan. Blocks for as long as
    /// listing all of it takes.
    ///
    /// `wall_clock` is the time since the Unix epoch, used only to tell how old a modification is.
    /// A wrong clock only makes a report one scan late, or early.
    ///
    /// # Errors
    /// The directory itself cannot be read, is not safe any more, or was replaced by others.
    /// Nothing counts as changed then.
    pub fn poll(&mut self, wall_clock: Duration) -> Result<Vec<Change>, ShareDirError> {
        self.notices = None;
        let directory = self.find()?;
        self.scan_number += 1;
        let mut scan = Scan {
            number: self.scan_number,
            settled_before_ns: i128::try_from(
                wall_clock.saturating_sub(self.options.settle).as_nanos(),
            )
            .unwrap_or(i128::MAX),
            max_files: self.options.max_files,
            left_out: BTreeSet::new(),
            reported_before: &self.reported_left_out,
            kinds: BTreeMap::new(),
            overflowed: false,
            is_settled: true,
            notices: Notices::new().ok(),
            directories: Vec::with_capacity(self.directories.len()),
            changes: Vec::new(),
        };
        let files = &mut self.files;
        let walked = walk(directory, self.root.path(), self.options.max_depth, &mut |seen| {
            scan.on_seen(files, seen)
        });
        let Scan {
            left_out, kinds, overflowed, is_settled, notices, directories, mut changes, ..
        } = scan;
        if let Err(source) = walked {
            // The list ended early: without the rest, absence proves nothing. What was seen still
            // holds.
            tracing::debug!(dir = ?self.dir(), %source, "directory not read completely");
            self.reported_left_out.extend(left_out);
            if changes.is_empty() {
                return Err(ShareDirError::Io { dir: self.dir().to_owned(), source });
            }
            return Ok(changes);
        }
        self.directories = directories;
        self.reported_left_out = left_out;
        self.left_out = kinds
            .into_iter()
            .map(|(kind, (count, example))| LeftOut { kind, count, example })
            .collect();
        self.is_settled = is_settled;
        self.notices = notices.filter(|_| is_settled);
        self.remove_unseen(&mut changes);
        let reported = |path: &PathBuf| self.files.get(path).and_then(|known| known.reported);
        self.unread.retain(|path, fingerprint| reported(path) == Some(*fingerprint));
        for path in self.unread.keys() {
            count_unread(&mut self.left_out, path);
        }
        self.note_overflow(overflowed, &mut changes);
        Ok(changes)
    }

    /// The directory, if it is still the one that was named. Another one with its path is accepted
    /// if only trusted users could have put it there.
    fn find(&self) -> Result<OwnedFd, ShareDirError> {
        let dir = self.root.path();
        let found = open_secure(dir)?;
        let failed = |source| ShareDirError::Io { dir: dir.to_owned(), source };
        if self.root.is(&found).map_err(failed)? {
            return Ok(found);
        }
        let replaced = || ShareDirError::Replaced { dir: dir.to_owned() };
        let found = find_directory(dir).map_err(|error| match error {
            FindError::ForeignLink { .. } => replaced(),
            FindError::Io(source) => failed(source),
        })?;
        if found.others.is_some() {
            return Err(replaced());
        }
        check_secure(dir, &found.directory)?;
        tracing::info!(dir = %shown_path(dir), "the shared directory was replaced");
        self.root.replace(found.directory.try_clone().map_err(failed)?);
        Ok(found.directory)
    }

    /// Call it for a reported file that could not be opened as it was seen. If it exists at the
    /// next scan, it appears again.
    pub fn look_again_at(&mut self, path: &Path) {
        if let Some(known) = self.files.get_mut(path) {
            known.reported = None;
        }
    }

    /// Call it for a reported file that could not be read to its end. It counts as left out until
    /// it changes.
    pub fn could_not_read(&mut self, path: PathBuf) {
        let Some(fingerprint) = self.files.get(&path).and_then(|known| known.reported) else {
            return;
        };
        if self.unread.insert(path.clone(), fingerprint).is_none() {
            count_unread(&mut self.left_out, &path);
        }
    }

    /// What the last scan left out, by kind, and what could not be read since.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// How many files are reported and could be read, and their bytes.
    pub fn reported(&self) -> (u64, u64) {
        let files = self.files.iter().filter(|(path, _)| !self.unread.contains_key(*path));
        let reported = files.filter_map(|(_, known)| known.reported);
        reported.fold((0, 0), |(files, bytes), fingerprint| (files + 1, bytes + fingerprint.size))
    }

    /// Whether the directory of the last scan still has its path. If not, a scan tells what is
    /// there instead.
    pub fn is_in_place(&self) -> bool {
        sys::open_directory(self.root.path())
            .is_ok_and(|found| self.root.is(&found).unwrap_or(false))
    }

    /// Whether every directory and file of the last scan still has its fingerprint. Costs half of a
    /// scan: no directory is listed and no inotify watch is set up again. While the notices of the
    /// last scan report nothing, `true` means that another scan would find nothing.
    pub fn is_as_seen(&self) -> bool {
        // What is left out is judged by its rules, not by its fingerprint.
        let needs_scan = self.directories.is_empty()
            || !self.has_seen_all()
            || !self.unread.is_empty()
            || self.too_many != Overflow::None;
        if needs_scan {
            return false;
        }
        let Ok(root) = sys::open_directory(self.root.path()) else { return false };
        let is_as_seen = |path: &Path, then: FileFingerprint| match below(self.root.path(), path) {
            Some(inside) if !inside.is_empty() => sys::entry_at(&root, inside)
                .is_ok_and(|now| now.is_some_and(|now| now.fingerprint == then)),
            Some(_) => sys::fingerprint(&root).is_ok_and(|now| now == then),
            None => false,
        };
        self.root.is(&root).unwrap_or(false)
            && self.directories.iter().all(|(path, then)| is_as_seen(path, *then))
            && self.files.iter().all(|(path, known)| is_as_seen(path, known.seen))
    }

    /// Withdraws all reports, for a directory that is gone. Its files appear again when it is back.
    pub fn take_reported(&mut self) -> Vec<PathBuf> {
        let reported = self.files.iter_mut();
        reported.filter_map(|(path, known)| known.reported.take().map(|_| path.clone())).collect()
    }

    /// Reports changes after the last scan: until it does, another scan would find nothing. `None`:
    /// only the next scan can tell.
    pub fn take_notices(&mut self) -> Option<Notices> {
        self.notices.take()
    }

    /// Whether the last scan found no file that must be checked again before it can be reported.
    pub fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// Whether the last scan left nothing out.
    pub fn has_seen_all(&self) -> bool {
        self.reported_left_out.is_empty()
    }

    /// Forgets the files that this scan did not see, unless they are inside something that could
    /// not be read.
    fn remove_unseen(&mut self, changes: &mut Vec<Change>) {
        let (scan_number, reported_left_out) = (self.scan_number, &self.reported_left_out);
        self.files.retain(|path, known| {
            let kept = known.scan_number == scan_number
                || path.ancestors().any(|above| reported_left_out.contains(above));
            if !kept && known.reported.is_some() {
                changes.push(Change::Deleted { path: path.clone() });
            }
            kept
        });
    }

    fn note_overflow(&mut self, overflowed: bool, changes: &mut Vec<Change>) {
        if overflowed && self.too_many == Overflow::None {
            changes.push(Change::TooMany { limit: self.options.max_files });
        }
        self.too_many = if overflowed { Overflow::Reported } else { Overflow::None };
    }
}

/// The part of `path` below `root`: empty for `root` itself. By bytes, since both were put together
/// by the same walk: comparing components takes as long as asking the system.
fn below<'a>(root: &Path, path: &'a Path) -> Option<&'a OsStr> {
    let inside = path.as_os_str().as_bytes().strip_prefix(root.as_os_str().as_bytes())?;
    Some(OsStr::from_bytes(inside.strip_prefix(b"/").unwrap_or(inside)))
}

fn count_unread(left_out: &mut Vec<LeftOut>, path: &Path) {
    let kind = LeftOutKind::Unreadable;
    match left_out.iter_mut().find(|left_out| left_out.kind == kind) {
        Some(LeftOut { count, example, .. }) => {
            *count += 1;
            if path < &**example {
                path.clone_into(example);
            }
        }
        None => {
            left_out.push(LeftOut { kind, count: 1, example: path.to_owned() });
            left_out.sort_by_key(|left_out| left_out.kind);
        }
    }
}

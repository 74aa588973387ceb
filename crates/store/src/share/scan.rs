//! One scan of a shared directory, entry by entry: what changed, and what is left out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use super::change::Change;
use super::inotify::Notices;
use super::left_out::LeftOutKind;
use super::walk::{NameInDir, Seen};
use crate::FileFingerprint;
use crate::sys;

/// By path. A lookup compares one path: a scan does one lookup for each file.
pub(super) type Files = HashMap<PathBuf, Known>;

#[derive(Debug)]
pub(super) struct Known {
    pub(super) seen: FileFingerprint,
    pub(super) reported: Option<FileFingerprint>,
    /// The number of the scan that saw it last.
    pub(super) scan_number: u64,
}

/// A scan in progress.
pub(super) struct Scan<'a> {
    pub(super) number: u64,
    /// Modifications up to this time, since the Unix epoch, are long enough ago.
    pub(super) settled_before_ns: i128,
    pub(super) max_files: usize,
    pub(super) left_out: BTreeSet<PathBuf>,
    pub(super) reported_before: &'a BTreeSet<PathBuf>,
    /// How much of each kind is left out, and the first in the order of names.
    pub(super) kinds: BTreeMap<LeftOutKind, (u64, PathBuf)>,
    pub(super) overflowed: bool,
    /// No file has to be scanned again before it can be reported.
    pub(super) is_settled: bool,
    /// Of all directories so far.
    pub(super) notices: Option<Notices>,
    pub(super) directories: Vec<(PathBuf, FileFingerprint)>,
    pub(super) changes: Vec<Change>,
}

impl Scan<'_> {
    pub(super) fn on_seen(&mut self, files: &mut Files, seen: Seen<'_>) {
        match seen {
            // Watched before it is listed: a change from now on is in the list, or is reported.
            Seen::Directory { path, directory } => {
                let fingerprint = sys::fingerprint(directory).ok();
                self.notices = self
                    .notices
                    .take()
                    .filter(|notices| fingerprint.is_some() && notices.add(directory).is_ok());
                self.directories
                    .extend(fingerprint.map(|fingerprint| (path.to_owned(), fingerprint)));
            }
            Seen::File { path, fingerprint, name } => self.on_file(files, path, fingerprint, &name),
            Seen::Unreadable { path, kind } => {
                self.leave_out(path, Change::Unreadable { path: path.to_owned(), kind });
            }
            Seen::HardLink { path } => {
                self.leave_out(path, Change::HardLink { path: path.to_owned() })
            }
            Seen::TooDeep { path } => {
                self.leave_out(path, Change::TooDeep { path: path.to_owned() })
            }
            Seen::Other { path, kind } => self.count(path, kind),
        }
    }

    fn count(&mut self, path: &Path, kind: LeftOutKind) {
        match self.kinds.get_mut(&kind) {
            None => drop(self.kinds.insert(kind, (1, path.to_owned()))),
            Some((count, example)) => {
                *count += 1;
                if path < &**example {
                    path.clone_into(example);
                }
            }
        }
    }

    fn on_file(
        &mut self,
        files: &mut Files,
        path: &Path,
        fingerprint: FileFingerprint,
        name: &NameInDir<'_>,
    ) {
        let untouched = i128::from(fingerprint.modified_ns) <= self.settled_before_ns;
        let room = files.len() < self.max_files;
        let (known, settled) = match files.get_mut(path) {
            Some(known) => {
                let settled = known.seen == fingerprint || untouched;
                (known, settled)
            }
            None if room => {
                let known = Known { seen: fingerprint, reported: None, scan_number: self.number };
                (files.entry(path.to_owned()).or_insert(known), untouched)
            }
            None => {
                self.overflowed = true;
                return self.count(path, LeftOutKind::TooMany);
            }
        };
        known.seen = fingerprint;
        known.scan_number = self.number;
        self.is_settled &= settled;
        if known.reported == Some(fingerprint) {
            return;
        }
        if !settled {
            // The shared content is gone, also if the file is not settled yet.
            if known.reported.take().is_some() {
                self.changes.push(Change::Changing { path: path.to_owned() });
            }
            return;
        }
        match name.check_readable() {
            Ok(()) => {
                let path = path.to_owned();
                self.changes.push(match known.reported.replace(fingerprint) {
                    None => Change::Appeared { path, fingerprint },
                    Some(_) => Change::Changed { path, fingerprint },
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {} // the next scan sees it gone
            Err(error) => {
                if known.reported.take().is_some() {
                    self.changes.push(Change::Deleted { path: path.to_owned() });
                }
                self.leave_out(
                    path,
                    Change::Unreadable { path: path.to_owned(), kind: error.kind() },
                );
            }
        }
    }

    fn leave_out(&mut self, path: &Path, complaint: Change) {
        self.count(
            path,
            match complaint {
                Change::HardLink { .. } => LeftOutKind::HardLink,
                Change::TooDeep { .. } => LeftOutKind::TooDeep,
                _ => LeftOutKind::Unreadable,
            },
        );
        // As many again as files: a tree full of unreadable names must not fill the memory either.
        if self.left_out.len() < self.max_files
            && self.left_out.insert(path.to_owned())
            && !self.reported_before.contains(path)
        {
            self.changes.push(complaint);
        }
    }
}

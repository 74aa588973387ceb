//! Files on this machine from which bytes of a new content may be taken: those of the directory
//! that it replaces, and of places that the user named.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use tnet_fileinfo::scan::ProgressFn;

use super::error::TreeScanError;
use super::reuse::OldFile;
use super::walk::{TreeListing, What, path_of};
use crate::sys::{self, EntryKind};
use crate::{FileFingerprint, beneath, parallel};

/// Bytes that are read at a time.
const READ: usize = 256 * 1024;

/// The files of some places, numbered.
#[derive(Debug, Default)]
pub(crate) struct OldFiles {
    places: Vec<OwnedFd>,
    files: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    place: usize,
    path: Box<[u8]>,
    fingerprint: FileFingerprint,
    hash: Option<[u8; 32]>,
}

impl OldFiles {
    /// Adds what is in a directory.
    pub(crate) fn add(&mut self, listing: TreeListing) {
        let place = self.places.len();
        let TreeListing { directory, entries, .. } = listing;
        self.places.push(directory);
        self.files.extend(entries.into_iter().filter_map(|entry| match entry.what {
            What::File { fingerprint, .. } => {
                Some(Known { place, path: entry.path, fingerprint, hash: None })
            }
            What::Directory | What::Link { .. } => None,
        }));
    }

    /// Adds a file, or the files in a directory; only those of `size` if there is one. Links on the
    /// way are followed: the user named it.
    ///
    /// # Errors
    /// There is nothing, or something that cannot be listed.
    pub(crate) fn add_named(
        &mut self,
        path: &Path,
        size: Option<u64>,
    ) -> Result<(), TreeScanError> {
        let path = std::fs::canonicalize(path).map_err(TreeScanError::Open)?;
        match TreeListing::read(&path) {
            Ok(mut listing) => {
                listing.entries.retain(|entry| match &entry.what {
                    What::File { fingerprint, .. } => {
                        size.is_none_or(|size| fingerprint.size == size)
                    }
                    What::Directory | What::Link { .. } => false,
                });
                self.add(listing);
                Ok(())
            }
            Err(TreeScanError::NotADirectory) => {
                let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                    return Err(TreeScanError::NotADirectory);
                };
                let directory = sys::open_directory(parent).map_err(TreeScanError::Open)?;
                match self.add_file(directory, name).map_err(TreeScanError::Open)? {
                    true => Ok(()),
                    false => Err(TreeScanError::NotADirectory),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Adds one file of a directory; false if there is no regular file of that name.
    pub(crate) fn add_file(&mut self, directory: OwnedFd, name: &OsStr) -> io::Result<bool> {
        let entry = sys::entry_at(&directory, name)?;
        let Some(entry) = entry.filter(|entry| entry.kind == EntryKind::File) else {
            return Ok(false);
        };
        let (place, path) = (self.places.len(), name.as_bytes().into());
        self.places.push(directory);
        self.files.push(Known { place, path, fingerprint: entry.fingerprint, hash: None });
        Ok(true)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// What is known of each file, by number.
    pub(crate) fn known(&self) -> Vec<OldFile<'_>> {
        self.files
            .iter()
            .map(|file| OldFile { path: &file.path, size: file.fingerprint.size, hash: file.hash })
            .collect()
    }

    /// Opens a file, if it is still as it was listed.
    pub(crate) fn open(&self, number: usize) -> io::Result<File> {
        let known = &self.files[number];
        let file = beneath::open(&self.places[known.place], &path_of(&known.path))?;
        let entry = sys::entry(&file)?;
        if entry.kind == EntryKind::File && entry.fingerprint == known.fingerprint {
            Ok(file)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    /// Which place a file is in.
    pub(crate) fn place(&self, number: usize) -> usize {
        self.files[number].place
    }

    /// Reads and hashes the files of these sizes. One that cannot be read has no hash. False if
    /// `progress` said stop.
    pub(crate) fn hash(&mut self, sizes: &HashSet<u64>, progress: ProgressFn<'_>) -> bool {
        let wanted: Vec<usize> = (0..self.files.len())
            .filter(|number| {
                let size = self.files[*number].fingerprint.size;
                size > 0 && sizes.contains(&size)
            })
            .collect();
        let found = Mutex::new(Vec::new());
        let hash = |buf: &mut Vec<u8>, number: &usize| {
            if let Some(hash) = self.hash_of(*number, buf, progress)? {
                found.lock().unwrap_or_else(PoisonError::into_inner).push((*number, hash));
            }
            Ok::<_, Stopped>(())
        };
        let done = parallel::for_each(&wanted, READ, hash);
        for (number, hash) in found.into_inner().unwrap_or_else(PoisonError::into_inner) {
            self.files[number].hash = Some(hash);
        }
        done.is_ok()
    }

    /// None if it cannot be read.
    fn hash_of(
        &self,
        number: usize,
        buf: &mut Vec<u8>,
        progress: ProgressFn<'_>,
    ) -> Result<Option<[u8; 32]>, Stopped> {
        let Ok(file) = self.open(number) else { return Ok(None) };
        let (size, mut hasher, mut at) =
            (self.files[number].fingerprint.size, blake3::Hasher::new(), 0);
        while at < size {
            let len = usize::try_from(size - at).map_or(READ, |rest| rest.min(READ));
            if progress(len as u64).is_break() {
                return Err(Stopped);
            }
            buf.resize(len.max(buf.len()), 0);
            if file.read_exact_at(&mut buf[..len], at).is_err() {
                return Ok(None);
            }
            hasher.update(&buf[..len]);
            at += len as u64;
        }
        Ok(Some(*hasher.finalize().as_bytes()))
    }
}

/// `progress` said stop.
struct Stopped;

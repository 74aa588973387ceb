//! A file that was opened to be shared. It is read, described and served through one descriptor, so
//! the bytes that are served are those that were described, also if its name changes meanwhile.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tnet_fileinfo::{FileInfo, FileName, ProgressFn, ScanError, scan_open_file, verify_file};

use super::beneath;
use super::error::ShareError;
use super::file_store::FileStore;
use super::fingerprint::FileFingerprint;
use super::origin::Origin;
use super::shared_root::SharedRoot;

/// An open regular file.
#[derive(Debug)]
pub struct Candidate {
    file: File,
    metadata: Metadata,
    path: PathBuf,
    origin: Origin,
}

impl Candidate {
    /// The file at a path that the user named; links are followed.
    ///
    /// # Errors
    /// It cannot be opened, or is no regular file.
    pub fn named(path: &Path) -> Result<Self, ShareError> {
        let absolute = std::path::absolute(path)
            .map_err(|source| ShareError::Io { path: path.to_owned(), source })?;
        Self::open(absolute, Origin::Named)
    }

    /// The file at a path inside a shared directory, if it is the one that was `seen` there. No
    /// link is followed.
    ///
    /// # Errors
    /// It cannot be opened, is no regular file, or is another one.
    pub fn inside(
        root: &Arc<SharedRoot>,
        path: &Path,
        seen: FileFingerprint,
    ) -> Result<Self, ShareError> {
        let candidate = Self::open(path.to_owned(), Origin::Inside(Arc::clone(root)))?;
        if FileFingerprint::of(&candidate.metadata) == seen {
            Ok(candidate)
        } else {
            Err(ShareError::Replaced { path: candidate.path })
        }
    }

    pub(super) fn open(path: PathBuf, origin: Origin) -> Result<Self, ShareError> {
        let opened = origin.open(&path).and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) = match opened {
            Ok(opened) => opened,
            Err(error) if origin.is_inside() && beneath::leads_elsewhere(&error) => {
                return Err(ShareError::Replaced { path });
            }
            Err(source) => return Err(ShareError::Io { path, source }),
        };
        if !metadata.is_file() {
            return Err(ShareError::NotAFile { path });
        }
        Ok(Self { file, metadata, path, origin })
    }

    /// Where it was opened; absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its metadata when it was opened.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Describes it.
    ///
    /// # Errors
    /// It cannot be read, changed meanwhile, or `progress` said stop.
    pub fn scan(&self, progress: ProgressFn<'_>) -> Result<FileInfo, ScanError> {
        let name = self.path.file_name().and_then(|name| FileName::from_os_str(name).ok());
        scan_open_file(&self.file, name, None, progress)
    }

    /// Whether it has the content of `info`.
    ///
    /// # Errors
    /// It cannot be read, or `progress` said stop.
    pub(super) fn is_right(
        &self,
        info: &FileInfo,
        progress: ProgressFn<'_>,
    ) -> Result<bool, ScanError> {
        Ok(verify_file(&self.file, info, None, progress)?.is_full())
    }

    /// Whether its fingerprint is the one it had when it was opened, and it still has a name.
    pub fn is_as_it_was(&self) -> bool {
        self.file.metadata().is_ok_and(|now| {
            now.nlink() > 0 && FileFingerprint::of(&now) == FileFingerprint::of(&self.metadata)
        })
    }

    /// Serves it as `info`, which describes it as long as its fingerprint is the one it had when it
    /// was opened.
    ///
    /// # Errors
    /// Its fingerprint differs, or its size is not that of `info`.
    pub fn into_store(self, info: &FileInfo) -> Result<FileStore, ShareError> {
        let Self { file, metadata, path, origin } = self;
        let now = match file.metadata() {
            Ok(now) => now,
            Err(source) => return Err(ShareError::Io { path, source }),
        };
        let fingerprint = FileFingerprint::of(&now);
        if fingerprint != FileFingerprint::of(&metadata) || now.len() != info.size() {
            return Err(ShareError::Changed { path, found: now.len(), expected: info.size() });
        }
        Ok(FileStore::new(Arc::new(file), info.clone(), path, fingerprint).found_by(origin))
    }
}

/// Whether sharing failed only because another file, or none, had that name at that moment.
pub fn is_transient(error: &ShareError) -> bool {
    match error {
        ShareError::Replaced { .. } | ShareError::Changed { .. } | ShareError::NotAFile { .. } => {
            true
        }
        // Another process holds a lease on it, to write to it.
        ShareError::Io { source, .. } => source.kind() == io::ErrorKind::WouldBlock,
    }
}

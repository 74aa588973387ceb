//! What a `.fileinfo` describes: a file, or a tree by its manifest.

use crate::file_name::FileName;
use crate::info::{FileInfo, FileInfoError};
use crate::tree::{MAX_MANIFEST_LEN, TreeHash};

/// The subject of a `.fileinfo`.
///
/// ```
/// use tnet_fileinfo::{Described, scan, scan_file};
///
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("greeting");
/// std::fs::write(&path, "hello")?;
/// let file = Described::File(scan_file(&path, None, &scan::unwatched)?);
/// assert_eq!(Described::parse(file.to_json().as_bytes())?, file);
/// assert_eq!(file.tree(), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Described {
    /// A file.
    File(FileInfo),
    /// A tree: the description is that of its manifest, under the name of its directory.
    Tree(FileInfo),
}

/// The kind as it stands in a `.fileinfo`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Tree,
}

impl Kind {
    const ALL: [Self; 2] = [Self::File, Self::Tree];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Tree => "tree",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Described {
    /// The description: of the file, or of the manifest of the tree.
    pub fn info(&self) -> &FileInfo {
        match self {
            Self::File(info) | Self::Tree(info) => info,
        }
    }

    /// The hash of the tree; `None` if it is a file.
    pub fn tree(&self) -> Option<TreeHash> {
        match self {
            Self::File(_) => None,
            Self::Tree(manifest) => Some(TreeHash::of_manifest(manifest.hash())),
        }
    }

    /// The name of the file or the directory, if the description has it.
    pub fn name(&self) -> Option<&FileName> {
        self.info().name()
    }

    /// The description of a file.
    ///
    /// # Errors
    /// [`FileInfoError::Tree`] if it is of a tree.
    pub fn file(self) -> Result<FileInfo, FileInfoError> {
        match self {
            Self::File(info) => Ok(info),
            Self::Tree(_) => Err(FileInfoError::Tree),
        }
    }

    pub(crate) fn of_kind(kind: Kind, info: FileInfo) -> Result<Self, FileInfoError> {
        match kind {
            Kind::File => Ok(Self::File(info)),
            Kind::Tree if info.size() > MAX_MANIFEST_LEN as u64 => {
                Err(FileInfoError::ManifestTooLong { len: info.size() })
            }
            Kind::Tree => Ok(Self::Tree(info)),
        }
    }
}

//! Errors of files on disk. Each says as its subject which path it is about, and as its hint what
//! the user can do, if there is something.

use std::io;
use std::path::{Path, PathBuf};

use tnet_fileinfo::{ChunkIndex, Explain, ScanError, shown_path};

use super::no_room::{NoRoom, hint_on};
use super::tree::{TreeFault, TreeScanError};

/// A download cannot begin. The output is as it was, a `.partial` that was there has lost nothing
/// that is right, and nothing new is left behind.
///
/// Not `non_exhaustive`: each case must get an exit code of the command line.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The output path ends in `..` or is the root.
    #[error("{path:?} does not name a file")]
    NoFileName {
        /// The output path.
        path: PathBuf,
    },
    /// The name leaves no room for `.partial.journal`, or the path is too long altogether.
    #[error(
        "the name {path:?} is too long for its file system: it is `.partial.journal` longer until the file is whole"
    )]
    NameTooLong {
        /// The output path.
        path: PathBuf,
    },
    /// The file system takes no such name.
    #[error("the file system does not take the name {path:?}")]
    NameRefused {
        /// The output path.
        path: PathBuf,
    },
    /// `chattr +i` or `+a` was applied to the directory, or to the existing file.
    #[error("{path:?} is immutable or append-only")]
    Unchangeable {
        /// The directory or the output path.
        path: PathBuf,
    },
    /// The output is a mount point, as a single file that is mounted into a container.
    #[error("{path:?} is a mount point and cannot be replaced")]
    MountPoint {
        /// The output path.
        path: PathBuf,
    },
    /// The directory of the output does not exist.
    #[error("directory {parent:?} does not exist")]
    ParentMissing {
        /// The directory.
        parent: PathBuf,
    },
    /// On the way to the output is a link that another user could have put there, or could change
    /// at any moment.
    #[error("the link {link:?} on the way is in a directory that other users may change")]
    ForeignLink {
        /// The link.
        link: PathBuf,
    },
    /// The parent of the output is not a directory.
    #[error("{parent:?} is not a directory")]
    ParentNotDirectory {
        /// The path in question.
        parent: PathBuf,
    },
    /// The user lacks the permission.
    #[error("no permission to write {path:?}")]
    NotAllowed {
        /// What could not be opened or created.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file system cannot be written.
    #[error("{path:?} is on a read-only file system")]
    ReadOnly {
        /// What could not be created.
        path: PathBuf,
    },
    /// The output path is a directory.
    #[error("{path:?} is a directory")]
    IsDirectory {
        /// The output path.
        path: PathBuf,
    },
    /// The output path is a device, a pipe or a socket, which is never replaced.
    #[error("{path:?} is not a regular file")]
    NotAFile {
        /// The output path.
        path: PathBuf,
    },
    /// The output exists with other content.
    #[error("{path:?} exists with other content")]
    Exists {
        /// The output path.
        path: PathBuf,
    },
    /// Another download writes the same output.
    #[error("another download is writing {path:?}")]
    Busy {
        /// The `.partial`.
        path: PathBuf,
    },
    /// The existing `.partial` is a link, has a second name or belongs to another user, who could
    /// change it after it was verified; or it is a directory with something in it and without a
    /// journal beside it, which no download of a tree leaves.
    #[error("{path:?} is not what a download of this user leaves there")]
    ForeignPartial {
        /// The `.partial`.
        path: PathBuf,
    },
    /// The file does not fit, or the file system refuses more data for another reason.
    #[error("{}", no_room_for(path, *needed, *why))]
    DiskFull {
        /// What was to be reserved.
        path: PathBuf,
        /// Bytes that had to be reserved and could not be.
        needed: u64,
        /// What there is not enough of.
        why: NoRoom,
    },
    /// The file system cannot hold a file of this size.
    #[error("{path:?} would have {size} bytes, more than its file system allows in one file")]
    TooLarge {
        /// What was to be reserved.
        path: PathBuf,
        /// Bytes in the file.
        size: u64,
    },
    /// This process may not write a file of this size.
    #[error(
        "{path:?} would have {size} bytes, and this process may write only {limit} into one file"
    )]
    OverLimit {
        /// What was to be reserved.
        path: PathBuf,
        /// Bytes in the file.
        size: u64,
        /// Bytes that the process may write.
        limit: u64,
    },
    /// The output is a directory, and its file system cannot put another one in its place in one
    /// step.
    #[error("the file system of {path:?} cannot exchange two directories in one step")]
    NoExchange {
        /// The output path.
        path: PathBuf,
    },
    /// Bytes were to be taken from there, and what is there cannot be listed.
    #[error("cannot take anything from {path:?}")]
    Reuse {
        /// The directory that is to be replaced, or the path that was named.
        path: PathBuf,
        /// Why.
        #[source]
        source: TreeScanError,
    },
    /// The output of a tree exists and is something else.
    #[error("{path:?} exists and is not this tree")]
    TreeInTheWay {
        /// The output path.
        path: PathBuf,
    },
    /// The directory of a tree cannot be made.
    #[error("making {path:?}")]
    Tree {
        /// The output path.
        path: PathBuf,
        /// What is wrong, and with which entry.
        #[source]
        fault: TreeFault,
    },
    /// The caller stopped the verification of existing data.
    #[error("stopped while verifying the existing {path:?}")]
    Cancelled {
        /// What was being read.
        path: PathBuf,
    },
    /// Anything else.
    #[error("opening {path:?}")]
    Io {
        /// What could not be opened, read or written.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl OpenError {
    /// The error for what the system said about `path`.
    pub(super) fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::NotAllowed { path, source },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path },
            io::ErrorKind::InvalidFilename => Self::NameTooLong { path },
            _ => match NoRoom::of(&source) {
                // There is no space even for a name or a block of the journal: how much is missing
                // is not known.
                Some(why) => Self::DiskFull { path, needed: 1, why },
                None => Self::Io { path, source },
            },
        }
    }
}

impl Explain for OpenError {
    fn hint(&self) -> Option<&str> {
        Some(match self {
            Self::NameTooLong { .. } => "choose a shorter output name",
            Self::NameRefused { .. } | Self::MountPoint { .. } => {
                "choose another output name with -o"
            }
            Self::Unchangeable { .. } => {
                "choose another directory, or change that with `chattr -ia`"
            }
            Self::ParentMissing { .. } => "create it first",
            Self::ForeignLink { .. } => "name the directory it leads to",
            Self::NotAllowed { .. } => "choose another directory or change its permissions",
            Self::ReadOnly { .. } => "choose another directory",
            Self::IsDirectory { .. } => "name the file in it",
            Self::Exists { .. } => "pass --overwrite to replace it",
            Self::NoExchange { .. } => "move it away, and name it with --reuse",
            Self::Reuse { source, .. } => source.hint()?,
            Self::TreeInTheWay { .. } => "remove it, or choose another output name with -o",
            Self::Tree { fault, .. } => fault.hint()?,
            Self::ForeignPartial { .. } => "move it away, or choose another output name with -o",
            Self::DiskFull { why, .. } => why.hint(),
            Self::TooLarge { .. } => NoRoom::FileSize.hint(),
            Self::OverLimit { .. } => "raise that with `ulimit -f unlimited`",
            Self::Io { source, .. } => hint_on(source)?,
            Self::NoFileName { .. }
            | Self::ParentNotDirectory { .. }
            | Self::NotAFile { .. }
            | Self::Busy { .. }
            | Self::Cancelled { .. } => return None,
        })
    }

    fn subject(&self) -> Option<&Path> {
        Some(match self {
            Self::NoFileName { path }
            | Self::NameTooLong { path }
            | Self::NameRefused { path }
            | Self::Unchangeable { path }
            | Self::MountPoint { path }
            | Self::NotAllowed { path, .. }
            | Self::ReadOnly { path }
            | Self::IsDirectory { path }
            | Self::NotAFile { path }
            | Self::Exists { path }
            | Self::Busy { path }
            | Self::TreeInTheWay { path }
            | Self::NoExchange { path }
            | Self::Reuse { path, .. }
            | Self::Tree { path, .. }
            | Self::ForeignPartial { path }
            | Self::DiskFull { path, .. }
            | Self::TooLarge { path, .. }
            | Self::OverLimit { path, .. }
            | Self::Cancelled { path }
            | Self::Io { path, .. } => path,
            Self::ParentMissing { parent } | Self::ParentNotDirectory { parent } => parent,
            Self::ForeignLink { link } => link,
        })
    }
}

fn no_room_for(path: &Path, needed: u64, why: NoRoom) -> String {
    match why {
        NoRoom::Space => format!("not enough space for {path:?}: {needed} bytes more are needed"),
        _ => format!("{path:?} cannot be written: {why}"),
    }
}

/// A file cannot be shared.
///
/// Not `non_exhaustive`: each case must get an exit code of the command line.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// A directory, a device, a pipe or a socket.
    #[error("{path:?} is not a regular file")]
    NotAFile {
        /// The path asked for.
        path: PathBuf,
    },
    /// In a shared directory: another file, a link or nothing has that name now.
    #[error("{path:?} was replaced after it was found")]
    Replaced {
        /// The path that was seen.
        path: PathBuf,
    },
    /// It changed after it was scanned.
    #[error("{path:?} changed after it was scanned: {found} bytes instead of {expected}")]
    Changed {
        /// The path asked for.
        path: PathBuf,
        /// Bytes it has.
        found: u64,
        /// Bytes it had.
        expected: u64,
    },
    /// It cannot be opened.
    #[error("opening {path:?}")]
    Io {
        /// The path asked for.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl Explain for ShareError {
    fn subject(&self) -> Option<&Path> {
        match self {
            Self::NotAFile { path }
            | Self::Replaced { path }
            | Self::Changed { path, .. }
            | Self::Io { path, .. } => Some(path),
        }
    }
}

/// A touched file cannot be shared again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadAgainError {
    /// It has other content now.
    #[error("it has other content")]
    OtherContent,
    /// It cannot be opened, or changed meanwhile.
    #[error(transparent)]
    Open(#[from] ShareError),
    /// It cannot be read, or the reading was stopped.
    #[error(transparent)]
    Read(#[from] ScanError),
}

impl Explain for ReadAgainError {
    fn hint(&self) -> Option<&str> {
        match self {
            Self::OtherContent => None,
            Self::Open(error) => error.hint(),
            Self::Read(error) => error.hint(),
        }
    }

    fn subject(&self) -> Option<&Path> {
        match self {
            Self::OtherContent => None,
            Self::Open(error) => error.subject(),
            Self::Read(error) => error.subject(),
        }
    }
}

impl ReadAgainError {
    /// Whether the file may be unchanged and readable later: the error says nothing about its
    /// content.
    pub fn is_transient(&self) -> bool {
        let is_there = |error: &io::Error| {
            !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        };
        match self {
            Self::Open(ShareError::Io { source, .. })
            | Self::Read(ScanError::Open(source) | ScanError::Read { source, .. }) => {
                is_there(source)
            }
            Self::OtherContent | Self::Open(_) | Self::Read(_) => false,
        }
    }
}

/// A part of a chunk cannot be read.
///
/// Not `non_exhaustive`: a caller must decide about each case whether the file can still be served.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The part reaches past the end of the chunk.
    #[error("chunk {chunk} has no bytes {offset}..{}", u64::from(*offset) + *length)]
    OutOfRange {
        /// The chunk.
        chunk: ChunkIndex,
        /// Where in the chunk the part begins, in bytes.
        offset: u32,
        /// Bytes in the part.
        length: u64,
    },
    /// The download does not have this chunk yet.
    #[error("chunk {chunk} is not stored")]
    NotStored {
        /// The chunk.
        chunk: ChunkIndex,
    },
    /// The chunk was found wrong or unreadable before, and is not served.
    #[error("chunk {chunk} is withdrawn")]
    Withdrawn {
        /// The chunk.
        chunk: ChunkIndex,
    },
    /// The file got another name, owner or mode, or was written to with its time of modification
    /// set back: it has to be read again.
    #[error("the file was touched since it was shared")]
    Touched,
    /// The file was written to or truncated since it was shared. It must not be served any more.
    #[error("the file changed since it was shared")]
    Changed,
    /// The file was deleted or replaced. It must not be served any more.
    #[error("the file was deleted or replaced")]
    Gone,
    /// A member of a tree that has bytes in this chunk is not what was shared. The chunks it is in
    /// are withdrawn; the others are served.
    #[error("a file of the tree changed, with bytes in chunk {chunk}")]
    MemberChanged {
        /// The chunk.
        chunk: ChunkIndex,
    },
    /// The disk failed.
    #[error("reading chunk {chunk}")]
    Io {
        /// The chunk.
        chunk: ChunkIndex,
        /// The system's answer.
        source: io::Error,
    },
}

/// A chunk was not stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The file system, which could not promise space, takes no more data.
    #[error("{why}: {written} of {wanted} bytes of chunk {chunk} written")]
    DiskFull {
        /// What there is not enough of.
        why: NoRoom,
        /// The chunk.
        chunk: ChunkIndex,
        /// Bytes that still fitted.
        written: u64,
        /// Bytes in the chunk.
        wanted: u64,
    },
    /// The space for the rest of the file cannot be reserved any more.
    #[error("reserving space for {}", shown_path(path))]
    Reserve {
        /// The `.partial`.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The disk failed twice.
    #[error("writing chunk {chunk}")]
    Io {
        /// The chunk.
        chunk: ChunkIndex,
        /// The system's second answer.
        source: io::Error,
    },
    /// Syncs failed repeatedly while the chunk was being written.
    #[error("writing chunk {chunk}: syncs of the disk fail repeatedly")]
    SyncsFail {
        /// The chunk.
        chunk: ChunkIndex,
    },
    /// The download was abandoned or discarded.
    #[error("the download is closed")]
    Closed,
}

impl WriteError {
    /// Whether the only cause is a lack of space.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::DiskFull { .. } => true,
            Self::Reserve { source, .. } => NoRoom::of(source).is_some(),
            Self::Io { .. } | Self::SyncsFail { .. } | Self::Closed => false,
        }
    }
}

impl Explain for WriteError {
    fn hint(&self) -> Option<&str> {
        match self {
            Self::DiskFull { why, .. } => Some(why.hint()),
            Self::Reserve { source, .. } => hint_on(source),
            Self::Io { .. } | Self::SyncsFail { .. } | Self::Closed => None,
        }
    }

    fn subject(&self) -> Option<&Path> {
        match self {
            Self::Reserve { path, .. } => Some(path),
            _ => None,
        }
    }
}

/// Stored chunks cannot be made durable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The disk did not take the data. The sync is not repeated, since the kernel does not remember
    /// what it dropped.
    #[error("syncing: {} chunks are lost", lost.len())]
    Data {
        /// Missing again: to be fetched and written anew.
        lost: Vec<ChunkIndex>,
        /// The system's answer.
        source: io::Error,
    },
    /// The data is safe, but a restart would have to hash it again. The next sync writes the
    /// journal anew.
    #[error("writing the journal")]
    Journal {
        /// The system's answer.
        source: io::Error,
    },
    /// The download was abandoned or discarded.
    #[error("the download is closed")]
    Closed,
}

impl SyncError {
    /// The chunks that are missing again.
    pub fn lost(&self) -> &[ChunkIndex] {
        match self {
            Self::Data { lost, .. } => lost,
            Self::Journal { .. } | Self::Closed => &[],
        }
    }
}

impl Explain for SyncError {
    fn hint(&self) -> Option<&str> {
        match self {
            Self::Data { source, .. } | Self::Journal { source } => hint_on(source),
            Self::Closed => None,
        }
    }
}

/// A download cannot be finished. Except where stated, the `.partial` is unchanged and nothing is
/// lost.
///
/// Not `non_exhaustive`: each case must get an exit code of the command line.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// Chunks are missing.
    #[error("{missing} chunks are missing")]
    Incomplete {
        /// How many.
        missing: u32,
    },
    /// The disk did not take the data; some chunks are missing again.
    #[error("syncing the finished file")]
    Sync {
        /// Which chunks are lost, and why.
        #[source]
        source: SyncError,
    },
    /// The output was created or replaced by another process meanwhile.
    #[error("{path:?} appeared during the download")]
    Exists {
        /// The output path.
        path: PathBuf,
    },
    /// The `.partial` was removed, replaced or truncated.
    #[error("{path:?} was removed or changed during the download")]
    Gone {
        /// The `.partial`.
        path: PathBuf,
    },
    /// The directory of a tree cannot be completed.
    #[error("finishing {path:?}")]
    Tree {
        /// The output path.
        path: PathBuf,
        /// What is wrong, and with which entry.
        #[source]
        fault: TreeFault,
    },
    /// The `.partial` could not be renamed.
    #[error("renaming to {path:?}")]
    Rename {
        /// The output path.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The download is finished already, abandoned or discarded.
    #[error("the download is closed")]
    Closed,
}

impl Explain for FinishError {
    fn hint(&self) -> Option<&str> {
        match self {
            Self::Sync { source } => source.hint(),
            Self::Exists { .. } => Some("pass --overwrite to replace it"),
            Self::Rename { source, .. } => hint_on(source),
            Self::Tree { fault, .. } => fault.hint(),
            Self::Incomplete { .. } | Self::Gone { .. } | Self::Closed => None,
        }
    }

    fn subject(&self) -> Option<&Path> {
        match self {
            Self::Exists { path }
            | Self::Gone { path }
            | Self::Tree { path, .. }
            | Self::Rename { path, .. } => Some(path),
            Self::Incomplete { .. } | Self::Sync { .. } | Self::Closed => None,
        }
    }
}

/// The leftovers of a download cannot be removed.
#[derive(Debug, thiserror::Error)]
#[error("removing {path:?}")]
#[non_exhaustive]
pub struct DiscardError {
    /// The file that still exists.
    pub path: PathBuf,
    /// The system's answer.
    pub source: io::Error,
}

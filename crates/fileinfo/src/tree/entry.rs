//! What is in a tree, and how it stands in a manifest.

use std::fmt;

use crate::hash::FileHash;

pub(super) const DIRECTORY: u8 = 1;
pub(super) const FILE: u8 = 2;
pub(super) const EXECUTABLE: u8 = 3;
pub(super) const LINK: u8 = 4;

/// One thing in a tree.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its path from the top of the tree, with slashes. Untrusted bytes: open it component by
    /// component below a directory, and show it with [`shown`](crate::shown).
    pub path: &'a [u8],
    /// What it is.
    pub kind: EntryKind<'a>,
}

/// What an entry is. Exhaustive: a kind is a number of the format.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum EntryKind<'a> {
    /// A directory, which may be empty.
    Directory,
    /// A regular file.
    File {
        /// Bytes.
        size: u64,
        /// Its own BLAKE3.
        hash: FileHash,
        /// Whether its owner may execute it.
        is_executable: bool,
    },
    /// A symbolic link.
    Link {
        /// Its text, untrusted.
        target: &'a [u8],
    },
}

impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.path.escape_ascii(), self.kind)
    }
}

impl fmt::Debug for EntryKind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory => f.write_str("directory"),
            Self::File { size, hash, is_executable } => {
                let kind = if *is_executable { "executable" } else { "file" };
                write!(f, "{kind} of {size} bytes, {}", hash.short())
            }
            Self::Link { target } => write!(f, "link to {}", target.escape_ascii()),
        }
    }
}

/// Bytes from the front on.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.take(len.into())
    }

    /// An entry; none if the bytes end within it, an unknown kind with its path.
    pub(super) fn entry(&mut self) -> Option<Result<Entry<'a>, (&'a [u8], u8)>> {
        let [kind] = self.array()?;
        let path = self.text()?;
        let kind = match kind {
            DIRECTORY => EntryKind::Directory,
            FILE | EXECUTABLE => {
                let size = self.u64()?;
                let hash = FileHash::from_bytes(self.array()?);
                EntryKind::File { size, hash, is_executable: kind == EXECUTABLE }
            }
            LINK => EntryKind::Link { target: self.text()? },
            unknown => return Some(Err((path, unknown))),
        };
        Some(Ok(Entry { path, kind }))
    }
}

/// The entry that begins there.
pub(super) fn entry_at(bytes: &[u8], start: u32) -> Option<Entry<'_>> {
    Reader(bytes.get(start as usize..)?).entry()?.ok()
}

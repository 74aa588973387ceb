//! Why a file system accepts no more data: each error number of this kind has its own cause and its
//! own advice. Only for a lack of space is the advice to delete other files.

use std::fmt;
use std::io;
use std::os::fd::AsFd;

use super::sys;

/// If this many bytes are free, a new name is refused for another reason than a lack of space.
const PLENTY: u64 = 1024 * 1024;

/// Why a file system accepts no more data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoRoom {
    /// No blocks are free.
    Space,
    /// Blocks are free, inodes are not: no more files can be made.
    Inodes,
    /// The directory cannot hold another name.
    Names,
    /// The quota of this user, group or project is used up.
    Quota,
    /// The file system allows no file of that size.
    FileSize,
    /// This process may write no file of that size.
    ProcessLimit,
}

impl NoRoom {
    /// The reason in the error, if it means that no more data is accepted.
    pub(super) fn of(error: &io::Error) -> Option<Self> {
        match error.kind() {
            io::ErrorKind::StorageFull => Some(Self::Space),
            io::ErrorKind::QuotaExceeded => Some(Self::Quota),
            io::ErrorKind::FileTooLarge if sys::file_size_limit().is_some() => {
                Some(Self::ProcessLimit)
            }
            io::ErrorKind::FileTooLarge => Some(Self::FileSize),
            _ => None,
        }
    }

    /// The reason in the error of creating a name in this directory.
    pub(super) fn of_creating(error: &io::Error, directory: impl AsFd) -> Option<Self> {
        let (why, free) = (Self::of(error)?, sys::free_space(&directory));
        Some(Self::of_name(why, free, sys::free_space_covers_names(directory)))
    }

    fn of_name(why: Self, free: Option<sys::FreeSpace>, is_true: bool) -> Self {
        match (why, free) {
            (Self::Space, Some(free)) if free.bytes > 0 && free.files == Some(0) => Self::Inodes,
            (Self::Space, Some(free)) if free.bytes >= PLENTY && is_true => Self::Names,
            (why, _) => why,
        }
    }

    /// What the user can do about it.
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::Space => {
                "make room or choose another disk with -o, then run the same command again"
            }
            Self::Inodes => "delete files there, however small, or choose another disk with -o",
            Self::Names => "choose another directory with -o",
            Self::Quota => {
                "delete files that count against it, have it raised, or choose another disk with -o; then run the same command again"
            }
            Self::FileSize => "choose another disk with -o",
            Self::ProcessLimit => {
                "raise the limit with `ulimit -f unlimited`, then run the same command again"
            }
        }
    }
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Space => "disk full",
            Self::Inodes => {
                "the file system has no inodes left for more files, though it has space"
            }
            Self::Names => "the directory takes no more names, though its file system has space",
            Self::Quota => "disk quota used up",
            Self::FileSize => "the file system allows no larger file",
            Self::ProcessLimit => "this process may write no larger file (`ulimit -f`)",
        })
    }
}

/// What the user can do about an error of the disk, if the error tells.
pub(super) fn hint_on(error: &io::Error) -> Option<&'static str> {
    NoRoom::of(error).map(NoRoom::hint)
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_name_is_refused_for_want_of_what_there_is_none_of() {
        let free = |bytes, files| Some(sys::FreeSpace { bytes, files });
        for (free, is_true, why) in [
            (None, true, NoRoom::Space),
            (free(0, Some(0)), true, NoRoom::Space),
            (free(PLENTY, Some(0)), true, NoRoom::Inodes),
            (free(PLENTY - 1, Some(9)), true, NoRoom::Space),
            (free(PLENTY, Some(9)), true, NoRoom::Names),
            // Free data chunks of Btrfs cannot hold names.
            (free(1000 * PLENTY, None), false, NoRoom::Space),
        ] {
            assert_eq!(NoRoom::of_name(NoRoom::Space, free, is_true), why, "{free:?}");
        }
        assert_eq!(NoRoom::of_name(NoRoom::Quota, free(PLENTY, None), true), NoRoom::Quota);
    }

    #[test]
    fn each_error_number_has_its_own_words_and_only_a_full_disk_is_told_to_make_room() {
        for (errno, why) in [(Errno::NOSPC, NoRoom::Space), (Errno::DQUOT, NoRoom::Quota)] {
            assert_eq!(NoRoom::of(&errno.into()), Some(why));
        }
        for errno in
            [Errno::NOSYS, Errno::NOLCK, Errno::IO, Errno::PERM, Errno::INVAL, Errno::MFILE]
        {
            assert_eq!(NoRoom::of(&errno.into()), None, "{errno}");
        }
        let all =
            [NoRoom::Inodes, NoRoom::Names, NoRoom::Quota, NoRoom::FileSize, NoRoom::ProcessLimit];
        for why in all {
            assert!(!why.hint().contains("make room"), "{why}");
        }
    }
}

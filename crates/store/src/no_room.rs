//! Why a file system takes no more, in words that are true: each error number of this kind has its
//! own cause and its own next step. Only space can be made by deleting other things.

use std::fmt;
use std::io;
use std::os::fd::AsFd;

use super::sys;

/// So much is free where a new name is refused though not for want of space.
const PLENTY: u64 = 1024 * 1024;

/// Why no more is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// No blocks are free.
    Space,
    /// Blocks are free, inodes are not: no more files can be made.
    Inodes,
    /// The directory has no place for one more name.
    Names,
    /// The share of this user, group or project is used up.
    Quota,
    /// The file system allows no file of that size.
    FileSize,
    /// This process may write no file of that size.
    ProcessLimit,
}

impl NoRoom {
    /// What the error says, if it says that no more data is taken.
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

    /// The same for a new name in this directory.
    pub(super) fn of_creating(error: &io::Error, directory: impl AsFd) -> Option<Self> {
        let (why, free) = (Self::of(error)?, sys::free(&directory));
        Some(Self::of_name(why, free, sys::says_what_is_free(directory)))
    }

    fn of_name(why: Self, free: Option<sys::Free>, is_true: bool) -> Self {
        match (why, free) {
            (Self::Space, Some(free)) if free.bytes > 0 && free.files == Some(0) => Self::Inodes,
            (Self::Space, Some(free)) if free.bytes >= PLENTY && is_true => Self::Names,
            (why, _) => why,
        }
    }

    /// What can be done about it.
    pub(super) fn advice(self) -> &'static str {
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

/// What can be done about an error of the disk, as the end of a sentence; nothing if it does not
/// tell.
pub(super) fn advice_on(error: &io::Error) -> String {
    NoRoom::of(error).map(|why| format!("; {}", why.advice())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_name_is_refused_for_want_of_what_there_is_none_of() {
        let free = |bytes, files| Some(sys::Free { bytes, files });
        for (free, is_true, why) in [
            (None, true, NoRoom::Space),
            (free(0, Some(0)), true, NoRoom::Space),
            (free(PLENTY, Some(0)), true, NoRoom::Inodes),
            (free(PLENTY - 1, Some(9)), true, NoRoom::Space),
            (free(PLENTY, Some(9)), true, NoRoom::Names),
            // Chunks of data that are free take no names.
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
            assert!(!why.advice().contains("make room"), "{why}");
        }
    }
}

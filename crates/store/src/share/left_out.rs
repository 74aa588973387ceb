//! Entries of a shared directory that are not shared.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Entries of one kind that are not shared.
///
/// Exhaustive: clients of a server read it from JSON and build it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Why they are not shared.
    pub kind: LeftOutKind,
    /// How many there are, without the content of directories that are left out.
    pub count: u64,
    /// One of them.
    pub example: PathBuf,
}

/// Why something is not shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LeftOutKind {
    /// A symbolic link, which may lead anywhere.
    Link,
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
    /// A block or character device.
    Device,
    /// Its name begins with a dot.
    Hidden,
    /// Its name is that of a companion of a download or of a shared file.
    Companion,
    /// It cannot be read.
    Unreadable,
    /// It has a second name, is private, and other users may create names in its directory.
    HardLink,
    /// It is a directory inside too many others.
    TooDeep,
    /// It exceeds the number of files that are watched.
    TooMany,
}

impl LeftOutKind {
    /// The name of one or several of them.
    pub fn noun(self, count: u64) -> &'static str {
        let (one, several) = match self {
            Self::Link => ("symbolic link", "symbolic links"),
            Self::Pipe => ("pipe", "pipes"),
            Self::Socket => ("socket", "sockets"),
            Self::Device => ("device", "devices"),
            Self::Hidden => ("name with a dot in front", "names with a dot in front"),
            Self::Companion => (
                "name that ends as those of tnet's own files",
                "names that end as those of tnet's own files",
            ),
            Self::Unreadable => ("name that cannot be read", "names that cannot be read"),
            Self::HardLink => (
                "private file with a second name, where others may put names",
                "private files with a second name, where others may put names",
            ),
            Self::TooDeep => {
                ("directory inside too many others", "directories inside too many others")
            }
            Self::TooMany => ("file more than are watched", "files more than are watched"),
        };
        if count == 1 { one } else { several }
    }
}

/// For display.
impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, count, example } = self;
        write!(f, "{count} {}, as {}", kind.noun(*count), tnet_fileinfo::shown_path(example))
    }
}

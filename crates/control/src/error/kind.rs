//! The kinds of failures. They are stable: they are never renamed, and each has its own exit code
//! in the command line.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

/// What kind of failure it is. Exhaustive: each kind has its own exit code in the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Nothing of the below.
    Other,
    /// The request is invalid; repeating it is useless.
    Usage,
    /// Something that was named is not there.
    NotFound,
    /// No reachable peer has the file, or no data arrived in time.
    NoHolder,
    /// The coordinator or an address cannot be reached or used.
    Network,
    /// Content is not what it should be.
    Integrity,
    /// A part of the file is here; the same request continues from there.
    Incomplete,
    /// The disk is full or failed.
    Disk,
    /// Something is in the way and was not to be replaced.
    Exists,
    /// The user may not do this.
    NotAllowed,
    /// The other side is of another version.
    Version,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Other,
        Self::Usage,
        Self::NotFound,
        Self::NoHolder,
        Self::Network,
        Self::Integrity,
        Self::Incomplete,
        Self::Disk,
        Self::Exists,
        Self::NotAllowed,
        Self::Version,
    ];

    /// The name that crosses the socket.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Usage => "usage",
            Self::NotFound => "not_found",
            Self::NoHolder => "no_holder",
            Self::Network => "network",
            Self::Integrity => "integrity",
            Self::Incomplete => "incomplete",
            Self::Disk => "disk",
            Self::Exists => "exists",
            Self::NotAllowed => "not_allowed",
            Self::Version => "version",
        }
    }

    /// The kind of what the system said about a file, if it says anything clear.
    pub fn of_io(error: &io::Error) -> Option<Self> {
        match error.kind() {
            io::ErrorKind::NotFound => Some(Self::NotFound),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Some(Self::NotAllowed)
            }
            io::ErrorKind::AlreadyExists => Some(Self::Exists),
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Some(Self::Disk),
            _ if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                Some(Self::Disk)
            }
            _ => None,
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The kind of a system error, or the other one if the system's answer does not decide it.
pub(super) fn io_or(error: &io::Error, otherwise: FaultKind) -> FaultKind {
    FaultKind::of_io(error).unwrap_or(otherwise)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_crosses_the_socket_under_its_name() {
        for kind in FaultKind::ALL {
            let json = serde_json::to_string(&kind).expect("a string");
            assert_eq!(json, format!("\"{}\"", kind.name()));
            assert_eq!(serde_json::from_str::<FaultKind>(&json).expect("its own name"), kind);
        }
    }
}

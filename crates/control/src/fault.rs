//! A failure as it crosses the socket: what kind, for programs, and one line, for people. The kinds
//! are stable: they are never renamed, and each has its own exit code in the command line.

use std::error::Error;
use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};
use tnet_peer::chain;

/// What kind of failure it is: what the one who asked can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Nothing of the below.
    Other,
    /// The request makes no sense; asking again is useless.
    Usage,
    /// Something that was named is not there.
    NotFound,
    /// Nobody has the file, or nobody gave anything in time.
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

/// A failure with its kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// For programs.
    pub kind: FaultKind,
    /// For people: one line.
    pub message: String,
    /// It passes by itself: the same request has its turn later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passes: bool,
}

impl Fault {
    /// A failure in words.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), passes: false }
    }

    /// No failure of the request's: there are too many others at this moment.
    pub fn passing(message: impl Into<String>) -> Self {
        Self { passes: true, ..Self::new(FaultKind::Other, message) }
    }

    /// A failure that has an error, with all its causes.
    pub fn of(kind: FaultKind, error: &dyn Error) -> Self {
        Self { kind, message: chain(error), passes: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no permission to write \"a\"; choose another directory")]
    struct Outer(#[source] io::Error);

    #[test]
    fn what_to_do_comes_after_all_causes() {
        let error = Outer(io::Error::other("permission denied"));
        assert_eq!(
            chain(&error),
            "no permission to write \"a\": permission denied; choose another directory"
        );
    }

    #[test]
    fn a_cause_that_repeats_its_source_is_said_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("reading: {0}")]
        struct Repeats(#[source] io::Error);
        assert_eq!(chain(&Repeats(io::Error::other("end of file"))), "reading: end of file");
    }

    #[test]
    fn a_line_end_in_a_message_does_not_end_the_line() {
        assert_eq!(chain(&io::Error::other("a\nb")), "a b");
    }

    #[test]
    fn every_kind_crosses_the_socket_under_its_name() {
        for kind in FaultKind::ALL {
            let json = serde_json::to_string(&kind).expect("a string");
            assert_eq!(json, format!("\"{}\"", kind.name()));
            assert_eq!(serde_json::from_str::<FaultKind>(&json).expect("its own name"), kind);
        }
    }
}

//! The one error type of commands. A failure is printed as `cause; hint` on one line.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;

use tnet_control::{ConnectError, Fault, FaultKind, RequestError, StateDirError};
use tnet_coordinator::BindError;
use tnet_fileinfo::{FileInfoError, ScanError, shown_path};
use tnet_peer::{
    CoordinatorQueryError, DownloadError, FetchInfoError, PeerGone, ShareError, SpawnError, chain,
    explain,
};

use crate::exit::Exit;

/// Why a command did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// What went wrong.
    pub(crate) cause: String,
    /// What the user can do about it.
    pub(crate) hint: Option<String>,
    /// The path or name that the cause or the hint mentions.
    pub(crate) subject: Option<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl Failure {
    pub(crate) fn new(exit: Exit, cause: impl Into<String>) -> Self {
        Self { exit, cause: cause.into(), hint: None, subject: None }
    }

    /// Ended by a signal.
    pub(crate) fn interrupted(cause: impl Into<String>) -> Self {
        Self::new(Exit::Interrupted, cause)
    }

    /// A failure with an error, with all its causes.
    fn of(exit: Exit, error: &dyn Error) -> Self {
        let explanation = explain(error);
        Self { hint: explanation.hint, ..Self::new(exit, explanation.cause) }
    }

    /// The line that is printed.
    pub(crate) fn message(&self) -> String {
        self.to_string()
    }

    /// What to do about it, unless the error said so itself.
    #[must_use]
    pub(crate) fn or_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// What else to do about it.
    #[must_use]
    pub(crate) fn and_hint(mut self, hint: impl AsRef<str>) -> Self {
        self.hint = Some(match self.hint {
            Some(first) => format!("{first}; {}", hint.as_ref()),
            None => hint.as_ref().to_owned(),
        });
        self
    }

    /// Records that the cause or the hint mentions this path or name.
    #[must_use]
    pub(crate) fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// What was being done.
    #[must_use]
    pub(crate) fn during(mut self, what: &str) -> Self {
        self.cause.insert_str(0, ": ");
        self.cause.insert_str(0, what);
        self
    }

    /// Puts the name of the file in front, unless the failure is about it (or its `.partial`)
    /// already.
    #[must_use]
    pub(crate) fn named(self, name: &str) -> Self {
        match &self.subject {
            Some(subject) if subject.starts_with(name) => self,
            _ => self.during(name).about(name),
        }
    }
}

impl From<BindError> for Failure {
    fn from(error: BindError) -> Self {
        Self::of(Exit::from(&error), &error).or_hint("choose another address with --listen")
    }
}

impl From<&BindError> for Exit {
    fn from(error: &BindError) -> Self {
        match error {
            BindError::InUse { .. } | BindError::NotAvailable { .. } | BindError::Io { .. } => {
                Self::Network
            }
            BindError::NotPermitted { .. } => Self::NotAllowed,
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self {
            exit: fault.kind.into(),
            cause: fault.cause,
            hint: fault.hint,
            subject: fault.subject,
        }
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Fault(fault) => fault.into(),
            error => Self::of(FaultKind::from(&error).into(), &error),
        }
    }
}

macro_rules! failure_from {
    ($($error:ty),+) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::of(FaultKind::from(&error).into(), &error)
            }
        }
    )+};
}

failure_from!(
    FileInfoError,
    ScanError,
    SpawnError,
    ShareError,
    DownloadError,
    FetchInfoError,
    CoordinatorQueryError,
    PeerGone,
    StateDirError,
    ConnectError
);

/// What the system said about a file.
pub(crate) fn file_failure(what: &str, path: &Path, error: &io::Error) -> Failure {
    let kind = FaultKind::of_io(error);
    let path = shown_path(path).to_string();
    let hint = match kind {
        Some(FaultKind::NotFound) => Some("check the path"),
        Some(FaultKind::NotAllowed) => Some("check its permissions"),
        Some(FaultKind::Disk) => Some("check the disk"),
        _ => None,
    };
    let exit = kind.map_or(Exit::Other, Exit::from);
    let failure = Failure::new(exit, format!("cannot {what} {path}: {}", chain(error))).about(path);
    match hint {
        Some(hint) => failure.or_hint(hint),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use tnet_peer::UselessHolders;

    use super::*;

    #[test]
    fn a_failure_has_the_same_code_here_and_through_the_server() {
        for kind in FaultKind::ALL {
            assert_eq!(Exit::from(kind).kind(), kind.name());
            let fault = Fault::new(kind, "told by the server");
            assert_eq!(Failure::from(RequestError::Fault(fault)).exit, Exit::from(kind));
        }
    }

    #[test]
    fn each_error_of_the_libraries_has_its_code() {
        use std::net::SocketAddr;
        use std::time::Duration;

        use tnet_peer::{Shortage, Unreached};
        let (waited, address) = (Duration::from_secs(1), SocketAddr::from(([127, 0, 0, 1], 7400)));
        let hash = tnet_fileinfo::FileHash::from_bytes([0; 32]);
        let stalled = |missing| {
            let corrupt_peers = Vec::new();
            DownloadError::Stalled {
                waited,
                missing,
                without_holder: 1,
                full: 0,
                chunks: 4,
                corrupt_peers,
            }
        };
        let io = |kind: io::ErrorKind| io::Error::from(kind);
        let lying = UselessHolders { silent: 1, lying: 1, ..UselessHolders::default() };
        let silent = UselessHolders { silent: 2, ..UselessHolders::default() };
        let nobody = Unreached { full: 1, ..Unreached::default() };
        let unreached = |missing| {
            let holders = nobody.clone();
            DownloadError::Unreachable { waited, holders, missing, chunks: 4 }
        };
        let failures: [(Failure, u8); 22] = [
            (unreached(4).into(), 5),
            (unreached(1).into(), 7),
            (FetchInfoError::Unreachable { hash, waited, holders: nobody.clone() }.into(), 5),
            (DownloadError::NoHolder { waited }.into(), 4),
            (DownloadError::AllFull { waited, full: 3 }.into(), 4),
            (
                DownloadError::CoordinatorUnreachable {
                    address: address.into(),
                    waited,
                    cause: None,
                }
                .into(),
                5,
            ),
            (stalled(1).into(), 7),
            (stalled(4).into(), 4),
            (DownloadError::Cancelled.into(), 7),
            (DownloadError::OutOfDescriptors(Shortage { limit: Some(256) }).into(), 1),
            (DownloadError::AlreadyRunning { hash, out: "a".into() }.into(), 9),
            (FetchInfoError::NoHolder { hash, waited }.into(), 4),
            (FetchInfoError::NoneValid { hash, holders: lying }.into(), 6),
            (FetchInfoError::NoneValid { hash, holders: silent }.into(), 4),
            (
                FetchInfoError::CoordinatorUnreachable {
                    address: address.into(),
                    waited,
                    cause: None,
                }
                .into(),
                5,
            ),
            (FileInfoError::MissingField("size").into(), 6),
            (FileInfoError::VersionMismatch { found: 2, supported: 1 }.into(), 11),
            (ScanError::Open(io(io::ErrorKind::NotFound)).into(), 3),
            (ScanError::Open(io(io::ErrorKind::PermissionDenied)).into(), 10),
            (ScanError::Read { offset: 0, source: io(io::ErrorKind::Other) }.into(), 8),
            (SpawnError::AddressInUse { address }.into(), 5),
            (ConnectError::NotRunning { dir: "a".into() }.into(), 3),
        ];
        for (failure, code) in failures {
            assert_eq!(failure.exit.code(), code, "{failure}");
        }
        assert_eq!(Exit::from(&BindError::InUse { address }).code(), 5);
        assert_eq!(Exit::from(&BindError::NotPermitted { address }).code(), 10);
    }

    #[test]
    fn the_first_hint_stays_unless_another_is_added() {
        let failure = Failure::new(Exit::Other, "cause").or_hint("do this").or_hint("or that");
        assert_eq!(failure.message(), "cause; do this");
        assert_eq!(failure.and_hint("and that").message(), "cause; do this; and that");
        // A cause may hold any words.
        let failure = Failure::new(Exit::Other, "a; b").or_hint("do this");
        assert_eq!(failure.message(), "a; b; do this");
    }

    #[test]
    fn a_failure_names_its_file_once() {
        let bare = Failure::new(Exit::Other, "no space").named("/d/a");
        assert_eq!(bare.message(), "/d/a: no space");
        let names_it = Failure::new(Exit::Other, "no space for /d/a.partial").about("/d/a.partial");
        assert_eq!(names_it.clone().named("/d/a"), names_it);
        let other = Failure::new(Exit::Other, "no such directory: /e").about("/e").named("/d/a");
        assert_eq!(other.message(), "/d/a: no such directory: /e");
    }

    #[test]
    fn the_hint_and_the_subject_of_a_fault_arrive() {
        let error = DownloadError::Cancelled;
        let fault = Fault::of_download(&error, Path::new("/d/a"));
        let failure = Failure::from(fault.clone());
        assert_eq!(failure.message(), fault.to_string());
        assert_eq!((failure.hint.is_some(), failure.subject.as_deref()), (true, Some("/d/a")));
    }
}

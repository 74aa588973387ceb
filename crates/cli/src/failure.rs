//! The one error type of commands. A failure is printed as `cause; hint` on one line.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tnet_control::{Fault, FaultKind};
use tnet_coordinator::BindError;
use tnet_fileinfo::{chain, shown_path};

use crate::exit::Exit;

/// Why a command did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// What went wrong.
    pub(crate) cause: String,
    /// What the user can do about it.
    pub(crate) hint: Option<String>,
    /// The path that the cause or the hint names.
    pub(crate) subject: Option<PathBuf>,
    /// Which failure it is, where a program decides by it.
    pub(crate) reason: Option<Reason>,
}

/// A failure that a program of ours decides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    /// Another server has the state directory.
    ServerRunning,
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
        Self { exit, cause: cause.into(), hint: None, subject: None, reason: None }
    }

    /// Ended by a signal.
    pub(crate) fn interrupted(cause: impl Into<String>) -> Self {
        Self::new(Exit::Interrupted, cause)
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

    /// Records that the cause or the hint names this path.
    #[must_use]
    pub(crate) fn about(mut self, subject: impl Into<PathBuf>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Records which failure it is.
    #[must_use]
    pub(crate) fn because(mut self, reason: Reason) -> Self {
        self.reason = Some(reason);
        self
    }

    /// What was being done.
    #[must_use]
    pub(crate) fn during(mut self, what: &str) -> Self {
        self.cause.insert_str(0, ": ");
        self.cause.insert_str(0, what);
        self
    }

    /// Puts the path of the file in front, unless the failure is about it, its `.partial` or its
    /// journal already.
    #[must_use]
    pub(crate) fn named(self, file: &Path) -> Self {
        match &self.subject {
            Some(subject) if belongs_to(subject, file) => self,
            _ => self.during(&shown_path(file).to_string()).about(file),
        }
    }
}

/// Whether the path is that of the file or of what is beside it while it is downloaded.
fn belongs_to(path: &Path, file: &Path) -> bool {
    ["", ".partial", ".partial.journal"].iter().any(|end| {
        let mut beside = file.as_os_str().to_owned();
        beside.push(end);
        path == Path::new(&beside)
    })
}

/// A coordinator that cannot accept connections.
pub(crate) fn bind_failure(error: &BindError) -> Failure {
    Failure::new(error.into(), chain(error)).or_hint("choose another address with --listen")
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

/// Every error of the libraries becomes a [`Fault`] first, which has its kind.
impl<E: Into<Fault>> From<E> for Failure {
    fn from(error: E) -> Self {
        let fault: Fault = error.into();
        Self {
            hint: fault.hint,
            subject: fault.subject,
            ..Self::new(fault.kind.into(), fault.cause)
        }
    }
}

/// What the system said about a file.
pub(crate) fn file_failure(what: &str, path: &Path, error: &io::Error) -> Failure {
    let kind = FaultKind::of_io(error);
    let hint = match kind {
        Some(FaultKind::NotFound) => Some("check the path"),
        Some(FaultKind::NotAllowed) => Some("check its permissions"),
        Some(FaultKind::Disk) => Some("check the disk"),
        _ => None,
    };
    let exit = kind.map_or(Exit::Other, Exit::from);
    let cause = format!("cannot {what} {}: {}", shown_path(path), chain(error));
    let failure = Failure::new(exit, cause).about(path);
    match hint {
        Some(hint) => failure.or_hint(hint),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use tnet_control::{ConnectError, RequestError};
    use tnet_fileinfo::{FileInfoError, ScanError};
    use tnet_peer::{CoordinatorError, DownloadError, FetchInfoError, SpawnError, UselessHolders};

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
        let no_answer = || {
            let address = address.into();
            CoordinatorError::Silent { address, waited, cause: None }
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
            (DownloadError::from(no_answer()).into(), 5),
            (stalled(1).into(), 7),
            (stalled(4).into(), 4),
            (DownloadError::Cancelled.into(), 7),
            (DownloadError::OutOfDescriptors(Shortage { limit: Some(256) }).into(), 1),
            (DownloadError::AlreadyRunning { hash, out: "a".into() }.into(), 9),
            (FetchInfoError::NoHolder { hash, waited }.into(), 4),
            (FetchInfoError::NoneValid { hash, holders: lying }.into(), 6),
            (FetchInfoError::NoneValid { hash, holders: silent }.into(), 4),
            (FetchInfoError::from(no_answer()).into(), 5),
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
        let file = Path::new("/d/a");
        let bare = Failure::new(Exit::Other, "no space").named(file);
        assert_eq!(bare.message(), "/d/a: no space");
        for path in ["/d/a", "/d/a.partial", "/d/a.partial.journal"] {
            let names_it = Failure::new(Exit::Other, format!("no space for {path}")).about(path);
            assert_eq!(names_it.clone().named(file), names_it);
        }
        for path in ["/e", "/d/ab", "/d"] {
            let other = Failure::new(Exit::Other, format!("not there: {path}")).about(path);
            assert_eq!(other.named(file).message(), format!("/d/a: not there: {path}"));
        }
    }

    #[test]
    fn the_hint_and_the_subject_of_a_fault_arrive() {
        let out = Path::new("/d/a");
        let fault = Fault::of_download(&DownloadError::Cancelled, out);
        let failure = Failure::from(fault.clone());
        assert_eq!(failure.message(), fault.to_string());
        assert_eq!((failure.hint.is_some(), failure.subject.as_deref()), (true, Some(out)));
    }
}

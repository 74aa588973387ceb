//! Exit codes and the failures that carry them. The numbers are a promise to scripts: they are
//! never renumbered.

use tnet_control::{ClaimError, ConnectError, Fault, FaultKind, RequestError};
use tnet_coordinator::BindError;
use tnet_fileinfo::{FileInfoError, ScanError};
use tnet_peer::chain;
use tnet_peer::share::ShareDirError;
use tnet_peer::{DownloadError, FetchInfoError, InquiryError, PeerGone, ShareError, SpawnError};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// It did what it was asked.
    Ok = 0,
    /// Nothing of the below.
    Other = 1,
    /// The command line or the request makes no sense.
    Usage = 2,
    /// A file, a directory or the server is not there.
    NotFound = 3,
    /// Nobody has the file and a place for us, or nobody gave anything of it in time.
    NoHolder = 4,
    /// The coordinator or an address cannot be reached or used.
    Network = 5,
    /// Content is not what it should be; also a `.fileinfo` that cannot be read as one or does not
    /// prove itself.
    Integrity = 6,
    /// A part of the file is here; the same command continues from there.
    Incomplete = 7,
    /// The disk is full or failed.
    Disk = 8,
    /// Something is there already and was not to be replaced.
    Exists = 9,
    /// The user may not do this.
    NotAllowed = 10,
    /// A `.fileinfo` or a server of another version.
    Version = 11,
    /// Ctrl-C or SIGTERM.
    Interrupted = 130,
}

impl Exit {
    /// The number the process ends with.
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }

    /// The name in `--json`.
    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Other => FaultKind::Other.name(),
            Self::Usage => FaultKind::Usage.name(),
            Self::NotFound => FaultKind::NotFound.name(),
            Self::NoHolder => FaultKind::NoHolder.name(),
            Self::Network => FaultKind::Network.name(),
            Self::Integrity => FaultKind::Integrity.name(),
            Self::Incomplete => FaultKind::Incomplete.name(),
            Self::Disk => FaultKind::Disk.name(),
            Self::Exists => FaultKind::Exists.name(),
            Self::NotAllowed => FaultKind::NotAllowed.name(),
            Self::Version => FaultKind::Version.name(),
            Self::Interrupted => "interrupted",
        }
    }
}

/// Of all exit codes, for `tnet help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed for another reason
  2    wrong usage
  3    something that was named does not exist, or no server is running
  4    no peer has the file and a place for us, or nothing of it came in time
  5    network: the coordinator or an address cannot be reached or used
  6    wrong content, or a .fileinfo that is none or does not prove itself
  7    incomplete; the same command continues where it ended
  8    disk full or failing
  9    something is there already; see --overwrite
  10   not allowed
  11   .fileinfo or server of another version
  130  interrupted by Ctrl-C or SIGTERM";

impl From<FaultKind> for Exit {
    fn from(kind: FaultKind) -> Self {
        match kind {
            FaultKind::Other => Self::Other,
            FaultKind::Usage => Self::Usage,
            FaultKind::NotFound => Self::NotFound,
            FaultKind::NoHolder => Self::NoHolder,
            FaultKind::Network => Self::Network,
            FaultKind::Integrity => Self::Integrity,
            FaultKind::Incomplete => Self::Incomplete,
            FaultKind::Disk => Self::Disk,
            FaultKind::Exists => Self::Exists,
            FaultKind::NotAllowed => Self::NotAllowed,
            FaultKind::Version => Self::Version,
        }
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

/// Why a command did not do what it was asked: one line `cause; what to do`, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// Ended by a signal.
    pub(crate) fn interrupted(message: impl Into<String>) -> Self {
        Self::new(Exit::Interrupted, message)
    }

    /// What to do about it, unless the error said so itself.
    #[must_use]
    pub(crate) fn or_hint(mut self, hint: &str) -> Self {
        if !self.message.contains("; ") {
            self.message.push_str("; ");
            self.message.push_str(hint);
        }
        self
    }

    /// What was being done.
    #[must_use]
    pub(crate) fn during(mut self, what: &str) -> Self {
        self.message.insert_str(0, ": ");
        self.message.insert_str(0, what);
        self
    }
}

impl From<BindError> for Failure {
    fn from(error: BindError) -> Self {
        Self::new(Exit::from(&error), chain(&error)).or_hint("choose another address with --listen")
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::new(fault.kind.into(), fault.message)
    }
}

macro_rules! failure_from {
    ($($error:ty),+) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::new(FaultKind::from(&error).into(), chain(&error))
            }
        }
    )+};
}

failure_from!(
    FileInfoError,
    ScanError,
    SpawnError,
    ShareError,
    ShareDirError,
    DownloadError,
    FetchInfoError,
    InquiryError,
    PeerGone,
    ClaimError,
    ConnectError,
    RequestError
);

/// What the system said about a file.
pub(crate) fn file_failure(what: &str, path: &std::path::Path, error: &std::io::Error) -> Failure {
    let exit = FaultKind::of_io(error).map_or(Exit::Other, Exit::from);
    let path = crate::render::units::shown_path(path);
    let hint = match exit {
        Exit::NotFound => "; check the path",
        Exit::NotAllowed => "; check its permissions",
        Exit::Disk => "; check the disk",
        _ => "",
    };
    Failure::new(exit, format!("cannot {what} {path}: {}{hint}", chain(error)))
}

#[cfg(test)]
mod tests {
    use tnet_peer::UselessHolders;

    use super::*;

    /// The promise, written down a second time on purpose.
    const CODES: [(Exit, u8, &str); 13] = [
        (Exit::Ok, 0, "ok"),
        (Exit::Other, 1, "other"),
        (Exit::Usage, 2, "usage"),
        (Exit::NotFound, 3, "not_found"),
        (Exit::NoHolder, 4, "no_holder"),
        (Exit::Network, 5, "network"),
        (Exit::Integrity, 6, "integrity"),
        (Exit::Incomplete, 7, "incomplete"),
        (Exit::Disk, 8, "disk"),
        (Exit::Exists, 9, "exists"),
        (Exit::NotAllowed, 10, "not_allowed"),
        (Exit::Version, 11, "version"),
        (Exit::Interrupted, 130, "interrupted"),
    ];

    #[test]
    fn codes_and_kinds_are_what_was_promised() {
        for (exit, code, kind) in CODES {
            assert_eq!((exit.code(), exit.kind()), (code, kind));
        }
    }

    #[test]
    fn every_code_is_in_the_help() {
        for (exit, code, _) in CODES {
            let line = format!("\n  {code:<5}");
            assert!(EXIT_CODES.contains(&line), "{exit:?}");
        }
        assert_eq!(EXIT_CODES.lines().count(), CODES.len() + 1);
    }

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
        let io = |kind: std::io::ErrorKind| std::io::Error::from(kind);
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
            (ScanError::Open(io(std::io::ErrorKind::NotFound)).into(), 3),
            (ScanError::Open(io(std::io::ErrorKind::PermissionDenied)).into(), 10),
            (ScanError::Read { offset: 0, source: io(std::io::ErrorKind::Other) }.into(), 8),
            (SpawnError::AddressInUse { address }.into(), 5),
            (ConnectError::NotRunning { dir: "a".into() }.into(), 3),
        ];
        for (failure, code) in failures {
            assert_eq!(failure.exit.code(), code, "{}", failure.message);
        }
        assert_eq!(Exit::from(&BindError::InUse { address }).code(), 5);
        assert_eq!(Exit::from(&BindError::NotPermitted { address }).code(), 10);
    }

    #[test]
    fn a_hint_is_given_once() {
        let failure = Failure::new(Exit::Other, "cause").or_hint("do this").or_hint("or that");
        assert_eq!(failure.message, "cause; do this");
    }
}

//! Failures as they cross the socket: a kind for programs and one line for people. The kinds are
//! stable: they are never renamed, and each has its own exit code in the command line. The `From`
//! implementations below are the only place that maps the library's errors to kinds.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tnet_fileinfo::{FileInfoError, ScanError, shown_path};
use tnet_peer::{
    CoordinatorQueryError, DownloadError, FetchInfoError, PeerGone, ShareError, SpawnError, Unfit,
    explain,
};
use tnet_store::share::ShareDirError;
use tnet_store::{FinishError, OpenError, WriteError};

/// What kind of failure it is. Exhaustive: each kind has its own exit code in the command line.
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

/// A failure with its kind. Displayed as `cause; hint`, one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "FaultFields", into = "FaultFields")]
#[non_exhaustive]
pub struct Fault {
    /// For programs.
    pub kind: FaultKind,
    /// What went wrong, for people.
    pub cause: String,
    /// What the user can do about it.
    pub hint: Option<String>,
    /// The path or name that the cause or the hint mentions.
    pub subject: Option<String>,
    /// It passes by itself: the same request has its turn later.
    pub passes: bool,
}

impl Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl Fault {
    /// A failure in words.
    pub fn new(kind: FaultKind, cause: impl Into<String>) -> Self {
        Self { kind, cause: cause.into(), hint: None, subject: None, passes: false }
    }

    /// No failure of the request's: there are too many others at this moment.
    pub fn passing(cause: impl Into<String>) -> Self {
        Self { passes: true, ..Self::new(FaultKind::Other, cause) }
    }

    /// A failure that has an error, with all its causes.
    pub fn of(kind: FaultKind, error: &dyn Error) -> Self {
        let explanation = explain(error);
        Self { hint: explanation.hint, ..Self::new(kind, explanation.cause) }
    }

    /// A download to `out` that failed. Where the error does not say what to do, this does.
    pub fn of_download(error: &DownloadError, out: &Path) -> Self {
        let fault = Self {
            subject: subject_of(error).map(|path| shown_path(path).to_string()),
            ..Self::of(error.into(), error)
        };
        match advice_on(error) {
            Some(Advice::Continue) => fault.or_continue(out),
            Some(Advice::StartHolder) => fault.or_hint(START_HOLDER),
            Some(Advice::CheckDisk) => fault.or_hint(
                "check the disk or choose another with -o, then run the same command again",
            ),
            None => fault,
        }
    }

    /// Tells that the same command continues, unless there is a hint.
    #[must_use]
    pub fn or_continue(self, out: &Path) -> Self {
        if self.hint.is_some() {
            return self;
        }
        let out = shown_path(out).to_string();
        let hint = format!(
            "what arrived is kept in {out}.partial: run the same command again to continue"
        );
        Self { hint: Some(hint), subject: Some(out), ..self }
    }

    /// What the user can do, unless that was said.
    #[must_use]
    pub fn or_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }
}

/// The hint for a file that no peer has.
pub const START_HOLDER: &str =
    "is a machine that has it running `tnet start-server`, with the same --coordinator?";

/// What the user can do about a failed download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Advice {
    /// The same command continues from what is there.
    Continue,
    /// Somebody has to serve the file.
    StartHolder,
    CheckDisk,
}

/// What helps against this error, if it is known.
fn advice_on(error: &DownloadError) -> Option<Advice> {
    match error {
        DownloadError::NoHolder { .. } | DownloadError::AllFull { .. } => Some(Advice::StartHolder),
        DownloadError::Stalled { missing, chunks, .. } if missing >= chunks => {
            Some(Advice::StartHolder)
        }
        DownloadError::Stalled { .. }
        | DownloadError::Unreachable { .. }
        | DownloadError::Cancelled
        | DownloadError::PeerGone(_)
        | DownloadError::Open(OpenError::Cancelled { .. })
        | DownloadError::Finish(FinishError::Incomplete { .. }) => Some(Advice::Continue),
        DownloadError::Write(_)
        | DownloadError::Sync(_)
        | DownloadError::Finish(FinishError::Sync { .. }) => Some(Advice::CheckDisk),
        DownloadError::Open(OpenError::Io { source, .. })
        | DownloadError::Finish(FinishError::Rename { source, .. }) => {
            (io_or(source, FaultKind::Disk) == FaultKind::Disk).then_some(Advice::CheckDisk)
        }
        // They say it themselves, or nothing is known to help.
        DownloadError::Open(_)
        | DownloadError::Finish(_)
        | DownloadError::AlreadyRunning { .. }
        | DownloadError::CoordinatorUnreachable { .. }
        | DownloadError::CoordinatorUnfit { .. }
        | DownloadError::OutOfDescriptors(_) => None,
    }
}

/// The output path, or the `.partial` beside it, if the error mentions one.
fn subject_of(error: &DownloadError) -> Option<&Path> {
    match error {
        DownloadError::AlreadyRunning { out, .. } => Some(out),
        DownloadError::Open(error) => match error {
            OpenError::NoFileName { path }
            | OpenError::NameTooLong { path }
            | OpenError::NameRefused { path }
            | OpenError::Unchangeable { path }
            | OpenError::MountPoint { path }
            | OpenError::NotAllowed { path, .. }
            | OpenError::ReadOnly { path }
            | OpenError::IsDirectory { path }
            | OpenError::NotAFile { path }
            | OpenError::Exists { path }
            | OpenError::Busy { path }
            | OpenError::ForeignPartial { path }
            | OpenError::DiskFull { path, .. }
            | OpenError::TooLarge { path, .. }
            | OpenError::OverLimit { path, .. }
            | OpenError::Cancelled { path }
            | OpenError::Io { path, .. } => Some(path),
            OpenError::ParentMissing { .. }
            | OpenError::ParentNotDirectory { .. }
            | OpenError::ForeignLink { .. } => None,
        },
        DownloadError::Write(WriteError::Reserve { path, .. })
        | DownloadError::Finish(
            FinishError::Exists { path }
            | FinishError::Gone { path }
            | FinishError::Rename { path, .. },
        ) => Some(path),
        _ => None,
    }
}

/// A fault in JSON. Clients that know no `hint` show the `message`, which has it too.
#[derive(Serialize, Deserialize)]
struct FaultFields {
    kind: FaultKind,
    /// `cause; hint`, one line.
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    passes: bool,
}

impl From<Fault> for FaultFields {
    fn from(fault: Fault) -> Self {
        let message = fault.to_string();
        let Fault { kind, hint, subject, passes, .. } = fault;
        Self { kind, message, hint, subject, passes }
    }
}

impl From<FaultFields> for Fault {
    fn from(fields: FaultFields) -> Self {
        let FaultFields { kind, message, hint, subject, passes } = fields;
        let cause = hint
            .as_deref()
            .and_then(|hint| message.strip_suffix(hint)?.strip_suffix("; "))
            .map(str::to_owned);
        // A message that does not end with its hint is shown as it is.
        let (cause, hint) = match cause {
            Some(cause) => (cause, hint),
            None => (message, None),
        };
        Self { kind, cause, hint, subject, passes }
    }
}

fn io_or(error: &io::Error, otherwise: FaultKind) -> FaultKind {
    FaultKind::of_io(error).unwrap_or(otherwise)
}

impl From<&FileInfoError> for FaultKind {
    fn from(error: &FileInfoError) -> Self {
        match error {
            FileInfoError::VersionMismatch { .. } => Self::Version,
            FileInfoError::TooLong { .. }
            | FileInfoError::NotJson(_)
            | FileInfoError::Malformed(_)
            | FileInfoError::MissingField(_)
            | FileInfoError::Name(_)
            | FileInfoError::Geometry(_)
            | FileInfoError::ChunkCount { .. }
            | FileInfoError::SumCount { .. }
            | FileInfoError::HashMismatch { .. }
            | FileInfoError::Tail(_) => Self::Integrity,
        }
    }
}

impl From<&ScanError> for FaultKind {
    fn from(error: &ScanError) -> Self {
        match error {
            ScanError::Open(source) => io_or(source, Self::Other),
            ScanError::Read { source, .. } => io_or(source, Self::Disk),
            ScanError::NotAFile | ScanError::UnknownLength | ScanError::Geometry(_) => Self::Usage,
            ScanError::Changed | ScanError::Cancelled => Self::Other,
        }
    }
}

impl From<&SpawnError> for FaultKind {
    fn from(error: &SpawnError) -> Self {
        match error {
            SpawnError::AddressInUse { .. } | SpawnError::AddressNotHere { .. } => Self::Network,
            SpawnError::Listen { source, .. } => io_or(source, Self::Network),
        }
    }
}

impl From<&ShareError> for FaultKind {
    fn from(error: &ShareError) -> Self {
        match error {
            ShareError::Scan(error) => error.into(),
            ShareError::Store(tnet_store::ShareError::NotAFile { .. }) => Self::Usage,
            ShareError::Store(
                tnet_store::ShareError::Changed { .. } | tnet_store::ShareError::Replaced { .. },
            ) => Self::Other,
            ShareError::Store(tnet_store::ShareError::Io { source, .. }) => {
                io_or(source, Self::Disk)
            }
            ShareError::Dir(error) => error.into(),
            ShareError::PeerGone(_) => Self::Other,
        }
    }
}

impl From<&ShareDirError> for FaultKind {
    fn from(error: &ShareDirError) -> Self {
        match error {
            ShareDirError::Missing { .. } => Self::NotFound,
            ShareDirError::NotADirectory { .. } => Self::Usage,
            ShareDirError::Insecure { .. } | ShareDirError::Replaced { .. } => Self::NotAllowed,
            ShareDirError::Io { source, .. } => io_or(source, Self::Disk),
        }
    }
}

impl From<&OpenError> for FaultKind {
    fn from(error: &OpenError) -> Self {
        match error {
            OpenError::NoFileName { .. }
            | OpenError::NameTooLong { .. }
            | OpenError::NameRefused { .. } => Self::Usage,
            OpenError::ParentMissing { .. } | OpenError::ParentNotDirectory { .. } => {
                Self::NotFound
            }
            OpenError::NotAllowed { .. }
            | OpenError::ReadOnly { .. }
            | OpenError::Unchangeable { .. }
            | OpenError::MountPoint { .. }
            | OpenError::ForeignPartial { .. }
            | OpenError::ForeignLink { .. } => Self::NotAllowed,
            OpenError::IsDirectory { .. }
            | OpenError::NotAFile { .. }
            | OpenError::Exists { .. }
            | OpenError::Busy { .. } => Self::Exists,
            OpenError::DiskFull { .. }
            | OpenError::TooLarge { .. }
            | OpenError::OverLimit { .. } => Self::Disk,
            OpenError::Cancelled { .. } => Self::Incomplete,
            OpenError::Io { source, .. } => io_or(source, Self::Disk),
        }
    }
}

impl From<&FinishError> for FaultKind {
    fn from(error: &FinishError) -> Self {
        match error {
            FinishError::Incomplete { .. } => Self::Incomplete,
            FinishError::Sync { .. } => Self::Disk,
            FinishError::Exists { .. } => Self::Exists,
            FinishError::Gone { .. } | FinishError::Closed => Self::Other,
            FinishError::Rename { source, .. } => io_or(source, Self::Disk),
        }
    }
}

impl From<Unfit> for FaultKind {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::OtherVersion => Self::Version,
            Unfit::NotCoordinator => Self::Network,
        }
    }
}

impl From<&DownloadError> for FaultKind {
    fn from(error: &DownloadError) -> Self {
        match error {
            DownloadError::Open(error) => error.into(),
            DownloadError::AlreadyRunning { .. } => Self::Exists,
            DownloadError::CoordinatorUnreachable { .. } => Self::Network,
            DownloadError::CoordinatorUnfit { fault, .. } => Self::from(*fault),
            DownloadError::Unreachable { missing, chunks, .. } if missing < chunks => {
                Self::Incomplete
            }
            DownloadError::Unreachable { .. } => Self::Network,
            DownloadError::NoHolder { .. } | DownloadError::AllFull { .. } => Self::NoHolder,
            DownloadError::Stalled { missing, chunks, .. } if missing >= chunks => Self::NoHolder,
            DownloadError::Stalled { .. } => Self::Incomplete,
            DownloadError::Write(_) | DownloadError::Sync(_) => Self::Disk,
            DownloadError::Finish(error) => error.into(),
            DownloadError::OutOfDescriptors(_) => Self::Other,
            DownloadError::Cancelled | DownloadError::PeerGone(_) => Self::Incomplete,
        }
    }
}

impl From<&FetchInfoError> for FaultKind {
    fn from(error: &FetchInfoError) -> Self {
        match error {
            FetchInfoError::CoordinatorUnreachable { .. } => Self::Network,
            FetchInfoError::CoordinatorUnfit { fault, .. } => Self::from(*fault),
            FetchInfoError::NoCoordinator { .. } => Self::Usage,
            FetchInfoError::NoHolder { .. } => Self::NoHolder,
            FetchInfoError::Unreachable { .. } => Self::Network,
            FetchInfoError::NoneValid { holders, .. } if holders.lying > 0 => Self::Integrity,
            // They may give it another time.
            FetchInfoError::NoneValid { .. } => Self::NoHolder,
            FetchInfoError::OutOfDescriptors(_) | FetchInfoError::PeerGone(_) => Self::Other,
        }
    }
}

impl From<&CoordinatorQueryError> for FaultKind {
    fn from(error: &CoordinatorQueryError) -> Self {
        match error {
            CoordinatorQueryError::Unreachable { .. } => Self::Network,
            CoordinatorQueryError::Unfit { fault, .. } => Self::from(*fault),
        }
    }
}

impl From<&PeerGone> for FaultKind {
    fn from(_: &PeerGone) -> Self {
        Self::Other
    }
}

macro_rules! fault_from {
    ($($error:ty),+) => {$(
        impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                Self::of(FaultKind::from(&error), &error)
            }
        }
    )+};
}

fault_from!(FileInfoError, ScanError, SpawnError, ShareError, PeerGone);

impl From<FetchInfoError> for Fault {
    fn from(error: FetchInfoError) -> Self {
        let fault = Self::of(FaultKind::from(&error), &error);
        match error {
            FetchInfoError::NoHolder { .. } => fault.or_hint(START_HOLDER),
            FetchInfoError::NoneValid { holders, .. } if holders.lying == 0 => {
                fault.or_hint(START_HOLDER)
            }
            _ => fault,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tnet_peer::chain;

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

    #[test]
    fn a_stalled_download_can_be_resumed_only_if_something_is_there() {
        let stalled = |missing| DownloadError::Stalled {
            waited: Duration::from_secs(60),
            missing,
            without_holder: missing,
            full: 0,
            chunks: 10,
            corrupt_peers: Vec::new(),
        };
        assert_eq!(FaultKind::from(&stalled(9)), FaultKind::Incomplete);
        assert_eq!(FaultKind::from(&stalled(10)), FaultKind::NoHolder);
    }

    #[test]
    fn what_the_system_says_decides_where_it_is_clear() {
        let opening = |kind: io::ErrorKind| {
            let error = OpenError::Io { path: "a".into(), source: kind.into() };
            FaultKind::from(&DownloadError::Open(error))
        };
        assert_eq!(opening(io::ErrorKind::PermissionDenied), FaultKind::NotAllowed);
        assert_eq!(opening(io::ErrorKind::NotFound), FaultKind::NotFound);
        assert_eq!(opening(io::ErrorKind::StorageFull), FaultKind::Disk);
        assert_eq!(opening(io::ErrorKind::Interrupted), FaultKind::Disk);
        let broken = io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error());
        assert_eq!(FaultKind::from(&ScanError::Open(broken)), FaultKind::Disk);
        assert_eq!(
            FaultKind::from(&ScanError::Open(io::ErrorKind::NotFound.into())),
            FaultKind::NotFound
        );
    }

    #[test]
    fn a_fault_crosses_the_socket_with_its_hint_and_stays_readable_without_it() {
        let fault = Fault {
            subject: Some("/a".to_owned()),
            ..Fault::new(FaultKind::Exists, "\"/a\" exists; really").or_hint("remove it; or not")
        };
        let json = serde_json::to_value(&fault).expect("it serializes");
        assert_eq!(json["message"], "\"/a\" exists; really; remove it; or not");
        assert_eq!(serde_json::from_value::<Fault>(json.clone()).expect("our own"), fault);
        // Without a hint, and with one that is not the end of the message.
        for hint in [serde_json::Value::Null, "something else".into()] {
            let mut line = json.clone();
            line["hint"] = hint;
            let read: Fault = serde_json::from_value(line).expect("a fault");
            assert_eq!((read.to_string(), read.hint.as_ref()), (fault.to_string(), None));
        }
        let bare = serde_json::to_string(&Fault::new(FaultKind::Other, "a")).expect("serializes");
        assert_eq!(bare, r#"{"kind":"other","message":"a"}"#);
    }

    #[test]
    fn a_failed_download_says_what_to_do_by_its_error() {
        let hint = |error: DownloadError| Fault::of_download(&error, Path::new("/d/a")).hint;
        let waited = Duration::from_secs(1);
        let no_holder = hint(DownloadError::NoHolder { waited }).expect("a hint");
        assert!(no_holder.contains("tnet start-server"), "{no_holder}");
        let cancelled = Fault::of_download(&DownloadError::Cancelled, Path::new("/d/a"));
        assert_eq!(cancelled.subject.as_deref(), Some("/d/a"));
        assert!(cancelled.hint.is_some_and(|hint| hint.contains("/d/a.partial")));
        let own = hint(DownloadError::Open(OpenError::Exists { path: "/d/a".into() }));
        assert_eq!(own.as_deref(), Some("pass --overwrite to replace it"));
    }
}

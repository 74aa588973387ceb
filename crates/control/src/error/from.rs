//! The only place that maps the libraries' errors to kinds; `client.rs` maps its own.

use tnet_fileinfo::tree::ManifestError;
use tnet_fileinfo::{FileInfoError, ScanError};
use tnet_peer::{
    CoordinatorError, DownloadError, FetchInfoError, PeerGone, ShareError, SpawnError, TreeError,
    Unfit,
};
use tnet_store::share::ShareDirError;
use tnet_store::tree::{TreeFault, TreeScanError};
use tnet_store::{FinishError, OpenError};

use super::kind::io_or;
use super::{Fault, FaultKind, START_HOLDER};
use crate::state_lock::StateDirError;

impl From<&FileInfoError> for FaultKind {
    fn from(error: &FileInfoError) -> Self {
        match error {
            FileInfoError::VersionMismatch { .. } | FileInfoError::UnknownKind { .. } => {
                Self::Version
            }
            FileInfoError::Tree => Self::Usage,
            FileInfoError::TooLong { .. }
            | FileInfoError::NotJson(_)
            | FileInfoError::Malformed(_)
            | FileInfoError::MissingField(_)
            | FileInfoError::ManifestTooLong { .. }
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
            ShareError::Tree(error) => error.into(),
            ShareError::Dir(error) => error.into(),
            ShareError::PeerGone(_) => Self::Other,
        }
    }
}

impl From<&TreeScanError> for FaultKind {
    fn from(error: &TreeScanError) -> Self {
        match error {
            TreeScanError::Open(source) => io_or(source, Self::Other),
            TreeScanError::Read { source, .. } => io_or(source, Self::Disk),
            TreeScanError::Changed { .. } | TreeScanError::Cancelled => Self::Other,
            TreeScanError::NotADirectory
            | TreeScanError::NoContent { .. }
            | TreeScanError::UnknownLength { .. }
            | TreeScanError::OutsideLink { .. }
            | TreeScanError::TooDeep { .. }
            | TreeScanError::PathTooLong { .. }
            | TreeScanError::TooLarge
            | TreeScanError::Geometry(_)
            | TreeScanError::Manifest(_) => Self::Usage,
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
            | OpenError::TreeInTheWay { .. }
            | OpenError::NoExchange { .. }
            | OpenError::Busy { .. } => Self::Exists,
            OpenError::DiskFull { .. }
            | OpenError::TooLarge { .. }
            | OpenError::OverLimit { .. } => Self::Disk,
            OpenError::Cancelled { .. } => Self::Incomplete,
            OpenError::Tree { fault, .. } => of_tree(fault),
            OpenError::Reuse { source, .. } => Self::from(source),
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
            FinishError::Tree { fault, .. } => of_tree(fault),
        }
    }
}

fn of_tree(fault: &TreeFault) -> FaultKind {
    match fault {
        TreeFault::OneName { .. } | TreeFault::NameRefused { .. } => FaultKind::Usage,
        TreeFault::Foreign { .. } => FaultKind::NotAllowed,
        TreeFault::Io { source, .. } => io_or(source, FaultKind::Disk),
        _ => FaultKind::Other,
    }
}

impl From<&DownloadError> for FaultKind {
    fn from(error: &DownloadError) -> Self {
        match error {
            DownloadError::Open(error) => error.into(),
            DownloadError::AlreadyRunning { .. } => Self::Exists,
            DownloadError::Coordinator(error) => error.into(),
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

impl From<&TreeError> for FaultKind {
    fn from(error: &TreeError) -> Self {
        match error {
            TreeError::FetchInfo(error) => error.into(),
            TreeError::Download(error) => error.into(),
            TreeError::Manifest { source: ManifestError::Version { .. }, .. } => Self::Version,
            TreeError::Manifest { .. }
            | TreeError::ManifestTooLong { .. }
            | TreeError::OutsideLink { .. }
            | TreeError::OtherPayload { .. } => Self::Integrity,
            TreeError::Read { .. } => Self::Disk,
            TreeError::PeerGone(_) => Self::Incomplete,
        }
    }
}

impl From<&FetchInfoError> for FaultKind {
    fn from(error: &FetchInfoError) -> Self {
        match error {
            FetchInfoError::Coordinator(error) => error.into(),
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

impl From<&CoordinatorError> for FaultKind {
    fn from(error: &CoordinatorError) -> Self {
        match error {
            CoordinatorError::Unfit { fault: Unfit::OtherVersion, .. } => Self::Version,
            // It is silent, cannot be reached, or is no coordinator.
            _ => Self::Network,
        }
    }
}

impl From<&PeerGone> for FaultKind {
    fn from(_: &PeerGone) -> Self {
        Self::Other
    }
}

impl From<&StateDirError> for FaultKind {
    fn from(error: &StateDirError) -> Self {
        match error {
            StateDirError::AlreadyRunning { .. } | StateDirError::InTheWay { .. } => Self::Exists,
            StateDirError::Insecure { .. }
            | StateDirError::Foreign { .. }
            | StateDirError::Unchangeable { .. }
            | StateDirError::Replaceable { .. }
            | StateDirError::ForeignLink { .. } => Self::NotAllowed,
            StateDirError::PathTooLong { .. } | StateDirError::Unfit { .. } => Self::Usage,
            StateDirError::Io { source, .. } => Self::of_io(source).unwrap_or(Self::Other),
        }
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

fault_from!(
    FileInfoError,
    ScanError,
    SpawnError,
    ShareError,
    DownloadError,
    CoordinatorError,
    PeerGone,
    StateDirError,
    TreeScanError
);

impl From<TreeError> for Fault {
    fn from(error: TreeError) -> Self {
        match error {
            TreeError::FetchInfo(error) => error.into(),
            error => Self::of(FaultKind::from(&error), &error),
        }
    }
}

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

    use std::io;

    use super::*;

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
}

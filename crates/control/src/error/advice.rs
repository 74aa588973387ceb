//! What the user can do about a failed download where its error does not say it.

use tnet_peer::DownloadError;
use tnet_store::{FinishError, OpenError};

use super::FaultKind;
use super::kind::io_or;

/// The hint for a file that no peer has.
pub const START_HOLDER: &str =
    "is a machine that has it running `tnet start-server`, with the same --coordinator?";

/// The hint for a disk that failed.
pub(super) const CHECK_DISK: &str =
    "check the disk or choose another with -o, then run the same command again";

/// What the user can do about a failed download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Advice {
    /// The same command continues from what is there.
    Continue,
    /// Somebody has to serve the file.
    StartHolder,
    CheckDisk,
}

/// What helps against this error, if it is known.
pub(super) fn advice_on(error: &DownloadError) -> Option<Advice> {
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
        | DownloadError::Coordinator(_)
        | DownloadError::OutOfDescriptors(_) => None,
    }
}

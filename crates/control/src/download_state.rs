//! What followers of a download are told.

use tnet_peer::{Progress, Summary};

use super::error::Fault;

/// The latest state of a download.
#[derive(Debug, Clone)]
pub(crate) enum DownloadState {
    /// Nothing yet.
    Started,
    Progress(Progress),
    /// Final, as is `Failed`.
    Done(Summary),
    Failed(Fault),
}

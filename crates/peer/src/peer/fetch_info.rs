//! Gets a description from the peers that hold a file.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tnet_fileinfo::{FileHash, FileInfo};
use tnet_infosearch::InfoSearch;

use super::Peer;
use crate::api::{CoordinatorError, FetchInfoError};
use crate::engine::Command;

/// The time of a search without one: longer than a process runs, and short enough to be added to
/// any moment.
const UNLIMITED: Duration = Duration::from_secs(365 * 24 * 3600);

impl Peer {
    /// Gets the description of a file from those who hold it, knowing only its hash. Without a time
    /// it waits until a holder is found.
    ///
    /// # Errors
    /// No peer holds it, or none gave a description that proves itself, within the given time.
    pub async fn fetch_info(
        &self,
        hash: FileHash,
        within: impl Into<Option<Duration>>,
    ) -> Result<FileInfo, FetchInfoError> {
        let within = within.into().unwrap_or(UNLIMITED);
        if let Some(source) = self.ask(|done| Command::Find { hash, done }).await?
            && let Some(info) = source.info()
        {
            return Ok(info.clone());
        }
        let Some(coordinator) = self.config.coordinator.clone() else {
            return Err(FetchInfoError::NoCoordinator { hash });
        };
        let (asked, began) = (Arc::new(AtomicUsize::new(0)), self.clock.now());
        let mut search = InfoSearch::new(hash, self.askers.clone());
        let searching = search.run(&asked, || self.ask(|done| Command::FindHolders { hash, done }));
        let await_end = |done| Command::AwaitSearchEnd { within, asked: Arc::clone(&asked), done };
        let end = tokio::select! {
            found = searching => return Ok(found?),
            end = self.ask(await_end) => end?,
        };
        if let Some(shortage) = end.shortage {
            return Err(FetchInfoError::OutOfDescriptors(shortage));
        }
        let (holders, waited) = (search.useless(), (self.clock.now() - began).min(within));
        if let Some(holders) = search.unreached() {
            return Err(FetchInfoError::Unreachable { hash, waited, holders });
        }
        if holders.asked() > 0 {
            return Err(FetchInfoError::NoneValid { hash, holders });
        }
        Err(match end.unfit {
            Some(fault) => CoordinatorError::Unfit { address: coordinator, fault }.into(),
            None if end.is_connected => FetchInfoError::NoHolder { hash, waited },
            None => {
                let cause = end.last_error;
                CoordinatorError::Silent { address: coordinator, waited, cause }.into()
            }
        })
    }
}

//! What users of the crate see: the peer, its downloads, their state and their errors.

mod error;
mod progress;
mod status;
mod time;

pub use error::{DownloadError, FetchInfoError, PeerGone, ShareError, SpawnError};
pub use progress::{CoordinatorState, Phase, Progress, SourceShare, Summary, Traffic};
pub use status::{ConnectionStatus, FileStatus, SlotStatus, Status, SwarmMember};
pub use time::TimeShares;

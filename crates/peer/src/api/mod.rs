//! What users of the crate see: the peer, its downloads, their state and their errors.

mod bounds;
mod chunk_map;
mod error;
mod file_settings;
mod progress;
mod status;
mod time;
mod tree_error;
mod waiting;

pub use bounds::{Bound, Bounds};
pub use chunk_map::ChunkMap;
pub use error::{
    CoordinatorError, DownloadError, FetchInfoError, PeerGone, ShareError, SpawnError, Unfit,
};
pub use file_settings::{FileChange, Limits, LimitsChange, Priority};
pub use progress::{CoordinatorState, CorruptPeer, Phase, Progress, SourceShare, Summary, Traffic};
pub use status::{
    Ban, ConnectionStatus, CoordinatorContact, DamagedFile, FileCursor, FileStatus, FilesPage,
    Listing, ListingProblem, SlotStatus, Status, SwarmMember,
};
pub use time::TimeShares;
pub use tnet_infosearch::{Unreached, UselessHolders};
pub use tnet_session::CallFailure;
pub use tree_error::TreeError;
pub use waiting::Waiting;

//! The sending half of the stream, with a time limit for each write.

use std::io;

use tnet_net::WRITE_AT_MOST;
use tnet_store::ReadError;
use tokio::io::AsyncWriteExt;

use super::super::SendHalf;
use super::super::description::OutgoingDescription;
use super::super::reusable_timer::{Elapsed, ReusableTimer};

pub(super) struct Output<W> {
    pub(super) half: W,
    pub(super) timer: ReusableTimer,
}

/// Why a session stops writing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the other side has not read for {WRITE_AT_MOST:?}")]
    NotRead,
    #[error("the file changed while it was sent, or cannot be read")]
    Unreadable,
}

impl From<Elapsed> for SendError {
    fn from(Elapsed: Elapsed) -> SendError {
        SendError::NotRead
    }
}

/// Why a part of a chunk was not written.
#[derive(Debug)]
pub(crate) enum PartError {
    Write(SendError),
    /// The file changed or cannot be read. If some of the part's frame is written, the connection
    /// is of no more use.
    Unreadable(ReadError),
}

impl From<io::Error> for PartError {
    fn from(error: io::Error) -> PartError {
        PartError::Write(error.into())
    }
}

impl From<Elapsed> for PartError {
    fn from(elapsed: Elapsed) -> PartError {
        PartError::Write(elapsed.into())
    }
}

impl<W: SendHalf> Output<W> {
    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        let writing = self.half.write_all(bytes);
        self.timer.timeout(WRITE_AT_MOST, writing).await?.map_err(SendError::Io)
    }

    pub(super) async fn write_description(
        &mut self,
        description: &OutgoingDescription,
    ) -> Result<(), SendError> {
        let writing = description.write(&mut self.half);
        self.timer.timeout(WRITE_AT_MOST, writing).await?.map_err(SendError::Io)
    }
}

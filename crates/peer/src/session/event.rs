//! What a session reports to the engine.

use tnet_fileinfo::ChunkIndex;
use tnet_proto::{FileHandle, PeerMessage};
use tnet_swarm::{FileKey, PeerKey, UploadEnd};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::long_messages::MessageMemory;
use super::{ChunkBuffer, WriteOutcome};
use crate::store::ReadError;

#[derive(Debug)]
pub(crate) enum SessionEvent {
    Message(PeerMessage),
    /// A message whose memory counts against a budget until the engine has dropped it.
    LongMessage(Box<(PeerMessage, MessageMemory)>),
    DataReceived {
        bytes: u32,
    },
    /// The session waits for memory and reads nothing.
    ReadingPaused,
    ReadingResumed,
    ChunkArrived {
        handle: FileHandle,
        chunk: u32,
        /// Bytes received since the last event.
        last_part: u32,
        body: ChunkBody,
    },
    /// The outcome for a chunk that the session wrote itself.
    ChunkWritten {
        file: FileKey,
        chunk: ChunkIndex,
        outcome: WriteOutcome,
    },
    UploadEnded {
        file: FileKey,
        chunk: ChunkIndex,
        end: UploadEnd,
        failed: Option<ReadError>,
    },
    /// The other side broke the protocol. Nothing more is read; the engine is to close the session
    /// with the reason.
    Violated,
    /// The last event of a session.
    Ended,
}

/// The body of a chunk on its way through the engine and the core.
#[derive(Debug)]
pub(crate) enum ChunkBody {
    /// Bytes to verify and write.
    InMemory(ChunkBuffer),
    /// The session verifies and writes the chunk; a `ChunkWritten` follows.
    WrittenBySession,
}

/// Sends the events of one session.
#[derive(Debug, Clone)]
pub(super) struct EventSender {
    pub(super) peer: PeerKey,
    pub(super) events: mpsc::Sender<(PeerKey, SessionEvent)>,
}

impl EventSender {
    /// Waits while the engine is behind. Without an engine the process ends, and the event is
    /// dropped.
    pub(super) async fn send(&self, event: SessionEvent) {
        let _ = self.events.send((self.peer, event)).await;
    }

    /// Gives the event back while the engine is behind.
    pub(super) fn try_send(&self, event: SessionEvent) -> Result<(), SessionEvent> {
        match self.events.try_send((self.peer, event)) {
            Err(TrySendError::Full((_, event))) => Err(event),
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
        }
    }

    /// Like `send`, for a thread that may block.
    pub(super) fn send_blocking(&self, event: SessionEvent) {
        let _ = self.events.blocking_send((self.peer, event));
    }
}

//! What a session reports to the engine.

use tnet_fileinfo::ChunkIndex;
use tnet_proto::{FileHandle, PeerMessage};
use tnet_proto::{FileKey, PeerKey, UploadEnd};
use tnet_store::ReadError;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::long_messages::MessageMemory;
use super::{ChunkBuffer, WriteOutcome};

/// What happened on a connection. Exhaustive, because the engine must handle each event.
#[derive(Debug)]
pub enum SessionEvent {
    /// A message of at most 4 KiB.
    Message(PeerMessage),
    /// A message whose memory counts against a budget until the engine has dropped both.
    LongMessage(Box<(PeerMessage, MessageMemory)>),
    /// Some bytes of a chunk were received.
    DataReceived {
        /// Since the last event.
        bytes: u32,
    },
    /// The session waits for memory and reads nothing.
    ReadingPaused,
    /// The end of a `ReadingPaused`.
    ReadingResumed,
    /// A requested chunk is complete.
    ChunkArrived {
        /// The other side's handle of the file.
        handle: FileHandle,
        /// Its index.
        chunk: u32,
        /// Bytes received since the last event.
        last_part: u32,
        /// Its bytes, or where they are.
        body: ChunkBody,
    },
    /// The outcome for a chunk that the session wrote itself.
    ChunkWritten {
        /// The download.
        file: FileKey,
        /// The chunk.
        chunk: ChunkIndex,
        /// Stored, corrupt or failed.
        outcome: WriteOutcome,
    },
    /// A chunk was sent, or no more of it is.
    UploadEnded {
        /// The file of the upload.
        file: FileKey,
        /// The chunk of the upload.
        chunk: ChunkIndex,
        /// `Sent`: the kernel has sent all of it.
        end: UploadEnd,
        /// Why the source and its spares could not be read.
        failed: Option<ReadError>,
    },
    /// The other side broke the protocol. Nothing more is read; the engine is to close the session
    /// with the reason.
    Violated,
    /// The last event of a session.
    Ended,
}

/// The body of a chunk on its way through the engine and the core. Exhaustive: the engine must
/// handle each.
#[derive(Debug)]
pub enum ChunkBody {
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

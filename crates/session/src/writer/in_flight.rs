//! The parts of a turn, from their write until the kernel has sent them.

use std::pin::pin;
use std::time::Duration;

use tnet_fileinfo::ChunkIndex;
use tnet_net::WRITE_AT_MOST;
use tnet_proto::{FileKey, TURN_TIMEOUT, Time};
use tokio::sync::OwnedSemaphorePermit;

use super::super::reusable_timer::{Elapsed, ReusableTimer};

pub(super) struct PartsInFlight {
    turn: Option<OwnedSemaphorePermit>,
    since: Time,
    /// Bytes of all parts.
    len: u32,
    /// The chunks that are complete with these parts.
    completed: Vec<(FileKey, ChunkIndex)>,
}

impl PartsInFlight {
    pub(super) fn new(turn: OwnedSemaphorePermit, now: Time) -> PartsInFlight {
        PartsInFlight { turn: Some(turn), since: now, len: 0, completed: Vec::new() }
    }

    pub(super) fn has_turn(&self) -> bool {
        self.turn.is_some()
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// Adds a part that is written, and the chunk that it completes.
    pub(super) fn add(&mut self, len: u32, completed: Option<(FileKey, ChunkIndex)>) {
        self.len += len;
        self.completed.extend(completed);
    }

    /// Performs a write of this turn. The turn ends if the write takes longer than a turn.
    pub(super) async fn write<E: From<Elapsed>>(
        &mut self,
        timer: &mut ReusableTimer,
        writing: impl Future<Output = Result<(), E>>,
    ) -> Result<(), E> {
        let mut writing = pin!(writing);
        match timer.timeout(TURN_TIMEOUT, &mut writing).await {
            Ok(written) => written,
            Err(Elapsed) => {
                self.turn = None;
                timer.timeout(WRITE_AT_MOST, writing).await?
            }
        }
    }

    /// How long the kernel may take until these parts are late: for their turn, then at all.
    pub(super) fn patience(&self, now: Time) -> Duration {
        let limit = if self.has_turn() { TURN_TIMEOUT } else { WRITE_AT_MOST };
        limit.saturating_sub(now - self.since)
    }

    pub(super) fn end_turn(&mut self) {
        self.turn = None;
    }

    /// Ends the turn. Returns the bytes that were sent and the chunks that they completed.
    pub(super) fn into_sent(self) -> (u32, Vec<(FileKey, ChunkIndex)>) {
        (self.len, self.completed)
    }
}

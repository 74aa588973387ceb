//! The end of a connection that is not kept: one message, and no session.

use std::sync::Arc;

use bytes::BytesMut;
use tnet_proto::{ByeReason, PeerMessage, encode};
use tokio::io::AsyncReadExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::{BYE_AT_MOST, Greeted, SessionContext};

/// What the other side may still send meanwhile is read into this.
const READ_LEN: usize = 1024;

/// Tells one who has just said hello that he cannot stay, and why. As there was nothing before, it
/// fits into the socket.
pub(crate) fn turn_away(
    context: &SessionContext,
    greeted: Greeted<OwnedReadHalf, OwnedWriteHalf>,
    reason: ByeReason,
) {
    let Greeted { mut input, output, .. } = greeted;
    let mut farewell = BytesMut::new();
    encode(&PeerMessage::Bye { reason }, &mut farewell);
    let was_said = output.try_write(&farewell).is_ok_and(|len| len == farewell.len());
    // Says that nothing follows.
    drop(output);
    let Some(one_of_few) =
        Arc::clone(&context.farewells).try_acquire_owned().ok().filter(|_| was_said)
    else {
        return;
    };
    let stop = context.stop.clone();
    context.tasks.spawn(async move {
        let mut rest = [0; READ_LEN];
        let until_closed = async { while input.read(&mut rest).await.is_ok_and(|len| len > 0) {} };
        // Who is still sending to a closed socket gets an error, and may never read what was said
        // last.
        let _ = stop.run_until_cancelled(timeout(BYE_AT_MOST, until_closed)).await;
        drop(one_of_few);
    });
}

//! Ends a connection that is not kept: one message, and no session.

use std::sync::Arc;

use bytes::BytesMut;
use tnet_proto::{ByeReason, PeerMessage, encode};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::linger::linger;
use super::{BYE_TIMEOUT, Handshaken, SessionContext};

/// Tells a peer that has just said hello why the connection ends, and closes it. Nothing was
/// written since our hello, so the message fits into the socket's buffer.
pub fn reject(
    context: &SessionContext,
    connection: Handshaken<OwnedReadHalf, OwnedWriteHalf>,
    reason: ByeReason,
) {
    let Handshaken { mut input, output, .. } = connection;
    let mut bye = BytesMut::new();
    encode(&PeerMessage::Bye { reason }, &mut bye);
    let is_sent = output.try_write(&bye).is_ok_and(|len| len == bye.len());
    // Sends FIN.
    drop(output);
    let Some(permit) =
        Arc::clone(&context.linger_permits).try_acquire_owned().ok().filter(|_| is_sent)
    else {
        return;
    };
    let stop = context.stop.clone();
    context.tasks.spawn(async move {
        let _ = stop.run_until_cancelled(linger(&mut input, BYE_TIMEOUT)).await;
        drop(permit);
    });
}

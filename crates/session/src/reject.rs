//! Ends a connection that is not kept: one message, and no session.

use std::sync::Arc;

use bytes::BytesMut;
use tnet_proto::{ByeReason, PeerMessage, encode};
use tokio::io::AsyncReadExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::{BYE_TIMEOUT, Handshaken, SessionContext};

/// What the other side still sends is read into a buffer of this length.
const READ_LEN: usize = 1024;

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
        let mut rest = [0; READ_LEN];
        let until_closed = async { while input.read(&mut rest).await.is_ok_and(|len| len > 0) {} };
        // A peer that still sends when the socket is closed gets an error, and may never read the
        // goodbye.
        let _ = stop.run_until_cancelled(timeout(BYE_TIMEOUT, until_closed)).await;
        drop(permit);
    });
}

//! The end of a connection after a goodbye. A peer that still sends when the socket is closed gets
//! an error, and may never read the goodbye; so what it sends is read until it closes.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// What the other side still sends is read into a buffer of this length.
const READ_LEN: usize = 4096;

/// Reads and discards until the other side has closed, for this time at most.
pub(super) async fn linger(input: &mut (impl AsyncRead + Unpin), at_most: Duration) {
    let mut rest = [0; READ_LEN];
    let until_closed = async { while input.read(&mut rest).await.is_ok_and(|len| len > 0) {} };
    let _ = timeout(at_most, until_closed).await;
}

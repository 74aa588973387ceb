//! Accepting, which no passing error of the system ends.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use tnet_proto::canonical;

/// The next connection, with the [`canonical`] address of the other side. An error that only one
/// connection suffers from is skipped. Of any other, for example a lack of descriptors, `failed` is
/// told, and `pause` passes before the next attempt: without descriptors the system call fails at
/// once, again and again, until one is freed.
///
/// Cancel-safe: no connection is lost if the future is dropped.
pub async fn accept(
    listener: &TcpListener,
    pause: Duration,
    mut failed: impl FnMut(&io::Error),
) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => return (stream, canonical(remote)),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                failed(&error);
                sleep(pause).await;
            }
        }
    }
}

/// Whether only the connection that was about to be accepted is lost.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

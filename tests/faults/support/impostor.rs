//! Claims to be a peer of its own host: has that peer's id, which every neighbour is told, and its
//! port.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tnet_proto::{
    FrameHead, Hello, MAX_FRAME_BEFORE_HELLO, PREAMBLE_LEN, PeerId, PeerMessage, Protocol, decode,
    encode, preamble,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Pause between two calls.
const AGAIN: Duration = Duration::from_millis(20);

/// Connections that it keeps, the newest.
const KEPT: usize = 40;

/// The other side must answer within this time, or is not there yet.
const LIMIT: Duration = Duration::from_secs(2);

/// Calls `to` again and again in the name of the peer at `of`, which is at the same address.
/// Returns how often it was let in.
pub(crate) async fn calls_as(of: SocketAddr, to: SocketAddr, stop: CancellationToken) -> usize {
    let (mut kept, mut calls) = (VecDeque::new(), 0);
    while !stop.is_cancelled() {
        if let Some(id) = id_of(of).await
            && let Some(stream) =
                call(Hello { peer_id: id, listen_port: of.port(), capabilities: 0 }, to).await
        {
            calls += 1;
            kept.push_back(stream);
            if kept.len() > KEPT {
                kept.pop_front();
            }
        }
        sleep(AGAIN).await;
    }
    calls
}

async fn id_of(address: SocketAddr) -> Option<PeerId> {
    let asking = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.read_exact(&mut [0; PREAMBLE_LEN]).await.ok()?;
        let mut buffered = BytesMut::new();
        loop {
            if let Ok(Some(head)) = FrameHead::parse(&buffered, MAX_FRAME_BEFORE_HELLO)
                && buffered.len() >= head.head_len() + head.body_len()
            {
                buffered.advance(head.head_len());
                let Ok(PeerMessage::Hello(hello)) = decode(&buffered.split_to(head.body_len()))
                else {
                    return None;
                };
                return Some(hello.peer_id);
            }
            stream.read_buf(&mut buffered).await.ok().filter(|len| *len > 0)?;
        }
    };
    timeout(LIMIT, asking).await.ok()?
}

async fn call(hello: Hello, to: SocketAddr) -> Option<TcpStream> {
    let mut words = BytesMut::from(&preamble(Protocol::Peer)[..]);
    encode(&PeerMessage::Hello(hello), &mut words);
    let calling = async {
        let mut stream = TcpStream::connect(to).await.ok()?;
        stream.write_all(&words).await.ok()?;
        Some(stream)
    };
    timeout(LIMIT, calling).await.ok()?
}

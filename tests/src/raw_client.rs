//! A client of a peer's port that sends anything: nothing at all, arbitrary bytes, or messages in
//! correct frames.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use tnet_fileinfo::ChunkSet;
use tnet_proto::{
    FileHandle, Hello, Holdings, MessageCodec, Open, PREAMBLE_LEN, PeerMessage, Protocol, Received,
    encode, exchange_preamble,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;
use tokio_util::codec::Framed;

use crate::content::Content;
use crate::raw::random_id;
use crate::wait::within;

/// The number a client gives the file it opens.
const CLIENT_HANDLE: FileHandle = FileHandle(1);

/// A connection over which anything can be sent.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
}

/// A connection after preambles and hellos.
#[derive(Debug)]
pub struct Handshaken {
    framed: Framed<TcpStream, MessageCodec<PeerMessage, PeerMessage>>,
}

impl RawClient {
    /// Calls, and says nothing yet.
    ///
    /// # Errors
    /// The connection is refused.
    pub async fn call(address: SocketAddr) -> io::Result<RawClient> {
        Ok(RawClient { stream: TcpStream::connect(address).await? })
    }

    /// Calls from this IPv4 address of this machine.
    ///
    /// # Errors
    /// The connection is refused, or the address is not one of this machine.
    pub async fn call_from(from: Ipv4Addr, address: SocketAddr) -> io::Result<RawClient> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        Ok(RawClient { stream: socket.connect(address).await? })
    }

    /// Sends bytes as they are. An error is ignored: the other side may have closed.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Sends a message in a frame.
    pub async fn say(&mut self, message: &PeerMessage) {
        let mut frame = BytesMut::new();
        encode(message, &mut frame);
        self.send(&frame).await;
    }

    /// Reads until the other side closes, and tells how long that took and what came before.
    ///
    /// # Panics
    /// If it does not close within `limit`.
    pub async fn until_closed(mut self, limit: Duration) -> (Duration, Vec<u8>) {
        let began = Instant::now();
        let mut bytes = Vec::new();
        // An orderly end and a reset are both a close.
        let _ =
            within("the connection is closed", limit, self.stream.read_to_end(&mut bytes)).await;
        (began.elapsed(), bytes)
    }

    /// Whether the other side has closed, as far as can be told without waiting. Drops what it
    /// said.
    pub fn is_closed(&mut self) -> bool {
        let mut bytes = [0; 1024];
        loop {
            match self.stream.try_read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
        }
    }

    /// Whether the other side introduces itself, rather than closing.
    ///
    /// # Panics
    /// If it does neither within `limit`.
    pub async fn is_greeted(&mut self, limit: Duration) -> bool {
        let mut theirs = [0; PREAMBLE_LEN];
        within("a preamble, or the end", limit, self.stream.read_exact(&mut theirs)).await.is_ok()
    }

    /// Back to messages, after an introduction.
    pub fn resume(self) -> Handshaken {
        let mut framed = Framed::new(self.stream, MessageCodec::new());
        framed.codec_mut().hello_done();
        Handshaken { framed }
    }

    /// Reads the other side's preamble and hello, when ours were sent already.
    ///
    /// # Panics
    /// If they do not come within `limit`.
    pub async fn after_greeting(mut self, limit: Duration) -> Handshaken {
        let greeting = async {
            let mut theirs = [0; PREAMBLE_LEN];
            self.stream.read_exact(&mut theirs).await.expect("a peer introduces itself");
            self.resume()
        };
        let mut client = within("a peer introduces itself", limit, greeting).await;
        let first = client.hear(limit).await;
        assert!(
            matches!(first, Some(PeerMessage::Hello(_))),
            "a peer's first message is its hello, not {first:?}"
        );
        client
    }

    /// Says hello, and returns what the other side says of itself.
    ///
    /// # Panics
    /// If it is no peer.
    pub async fn hello(mut self) -> Hello {
        exchange_preamble(&mut self.stream, Protocol::Peer)
            .await
            .expect("a peer speaks the peer protocol");
        let mut framed = Framed::new(self.stream, MessageCodec::<PeerMessage, PeerMessage>::new());
        let hello = Hello { peer_id: random_id(), listen_port: 0, capabilities: 0 };
        framed.send(PeerMessage::Hello(hello)).await.expect("a peer reads a hello");
        match framed.next().await {
            Some(Ok(Received::Message(PeerMessage::Hello(hello)))) => hello,
            first => panic!("a peer's first message is its hello, not {first:?}"),
        }
    }

    /// Exchanges preambles and hellos like a peer that does not listen.
    ///
    /// # Panics
    /// If the other side does not, within `limit`.
    pub async fn handshake(mut self, limit: Duration) -> Handshaken {
        let greeting = async {
            exchange_preamble(&mut self.stream, Protocol::Peer)
                .await
                .expect("a peer speaks the peer protocol");
            let mut framed = Framed::new(self.stream, MessageCodec::new());
            let hello = Hello { peer_id: random_id(), listen_port: 0, capabilities: 0 };
            framed.send(PeerMessage::Hello(hello)).await.expect("a peer reads a hello");
            let first = framed.next().await;
            let said_hello = matches!(first, Some(Ok(Received::Message(PeerMessage::Hello(_)))));
            assert!(said_hello, "a peer's first message is its hello, not {first:?}");
            framed.codec_mut().hello_done();
            Handshaken { framed }
        };
        within("a peer says hello", limit, greeting).await
    }
}

impl Handshaken {
    /// Sends a message. An error is ignored: the other side may have closed.
    pub async fn say(&mut self, message: PeerMessage) {
        let _ = self.framed.send(message).await;
    }

    /// The next message, or `None` when the other side has closed.
    ///
    /// # Panics
    /// If neither happens within `limit`.
    pub async fn hear(&mut self, limit: Duration) -> Option<PeerMessage> {
        match within("a peer says something", limit, self.framed.next()).await {
            Some(Ok(Received::Message(message))) => Some(message),
            Some(Ok(Received::Unknown { number })) => {
                panic!("a peer sent message {number}, which does not exist")
            }
            Some(Err(_)) | None => None,
        }
    }

    /// Listens until `wanted` finds what it looks for; `None` when the other side closes before.
    ///
    /// # Panics
    /// If neither happens within `limit`.
    pub async fn hear_until<T>(
        &mut self,
        limit: Duration,
        mut wanted: impl FnMut(PeerMessage) -> Option<T>,
    ) -> Option<T> {
        let listening = async {
            loop {
                let message = self.hear(limit).await?;
                if let Some(found) = wanted(message) {
                    return Some(found);
                }
            }
        };
        within("a peer says what is expected", limit, listening).await
    }

    /// Joins the content's swarm as a peer that holds nothing, and returns the other side's own
    /// open.
    ///
    /// # Panics
    /// If there is none within `limit`.
    pub async fn opens(&mut self, content: &Content, limit: Duration) -> Open {
        let geometry = content.info().geometry();
        self.say(PeerMessage::Open(Open {
            file: CLIENT_HANDLE,
            hash: *content.hash().as_bytes(),
            size: geometry.size(),
            chunk_size: geometry.chunk_size().get(),
            holdings: Holdings::Bitmap(ChunkSet::empty(geometry).to_bytes()),
        }))
        .await;
        let opened = self.hear_until(limit, |message| match message {
            PeerMessage::Open(open) => Some(open),
            _ => None,
        });
        opened.await.expect("a peer that shares the file stays")
    }

    /// Asks for a chunk of the content that was opened.
    pub async fn asks_for(&mut self, chunk: u32) {
        self.say(PeerMessage::Request { file: CLIENT_HANDLE, chunk }).await;
    }

    /// Back to bytes, for what no codec would write.
    pub fn into_raw(self) -> RawClient {
        RawClient { stream: self.framed.into_inner() }
    }
}

//! The reading half of a session, for the fuzz targets.

use std::sync::Arc;

use bytes::BytesMut;
use tnet_net::Clock;
use tnet_proto::PeerKey;
use tnet_proto::{FileHandle, PeerMessage};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::backlog::ProcessBacklog;
use super::budget::Claimant;
use super::open_requests::OpenRequests;
use super::order::order_queue;
use super::reader::Reader;
use super::reusable_timer::ReusableTimer;
use super::{ChunkBody, EventSender, Ingest, Order, SessionEvent};

/// What the engine is told of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A message.
    Message(PeerMessage),
    /// So many bytes of a chunk were received.
    Data(u32),
    /// A complete chunk.
    Chunk {
        /// The other side's handle.
        handle: FileHandle,
        /// Index as on the wire, unchecked.
        chunk: u32,
        /// Its bytes.
        bytes: Vec<u8>,
    },
}

/// Reads everything that comes after the hello, with `chunk_memory` bytes for chunks. Returns
/// whether the other side broke the protocol.
pub async fn listen_to(
    input: impl AsyncRead + Unpin,
    chunk_memory: u64,
    mut hear: impl FnMut(Heard),
) -> bool {
    // Short, so that the reader has to wait for the engine.
    let (events, mut received) = mpsc::channel(4);
    let (orders, mut queue) = order_queue(ProcessBacklog::default().of_session());
    let replies = orders.replies();
    let reading = async move {
        let events = EventSender { peer: PeerKey(1), events };
        let ingest = Ingest::new(chunk_memory, Clock::new(), TaskTracker::new());
        let (requests, claimant) =
            (Arc::new(OpenRequests::any()), Claimant::new([127, 0, 0, 1].into()));
        let timer = ReusableTimer::new(Clock::new());
        let mut reader =
            Reader::new(input, BytesMut::new(), replies, ingest, requests, claimant, timer);
        let Err(error) = reader.run(&events).await;
        error.is_violation()
    };
    let hearing = async move {
        while let Some((_, event)) = received.recv().await {
            match event {
                SessionEvent::LongMessage(long) => hear(Heard::Message(long.0)),
                SessionEvent::Message(message) => {
                    if let PeerMessage::InfoRequest { hash, .. } = message {
                        let answer = Order::Send(PeerMessage::InfoNotFound { hash });
                        assert!(orders.try_send(answer), "the writer takes all orders");
                    }
                    hear(Heard::Message(message));
                }
                SessionEvent::ReadingPaused | SessionEvent::ReadingResumed => {}
                SessionEvent::DataReceived { bytes } => hear(Heard::Data(bytes)),
                SessionEvent::ChunkArrived {
                    handle,
                    chunk,
                    last_part,
                    body: ChunkBody::InMemory(buffer),
                } => {
                    hear(Heard::Data(last_part));
                    hear(Heard::Chunk { handle, chunk, bytes: buffer.bytes().to_vec() });
                }
                other => unreachable!("a reader does not report {other:?}"),
            }
        }
    };
    let writing = async move {
        while let Some(order) = queue.recv().await {
            queue.settle(order.cost());
        }
    };
    tokio::join!(reading, hearing, writing).0
}

//! The reading half of a session, for the fuzz targets.

use std::sync::Arc;

use bytes::BytesMut;
use tnet_net::Clock;
use tnet_proto::{FileHandle, PeerMessage};
use tnet_swarm::PeerKey;
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::asked::Asked;
use super::backlog::Load;
use super::budget::Claimant;
use super::reader::Reader;
use super::time_limit::TimeLimit;
use super::{Answers, Backlogs, ChunkBody, Intake, Order, Reports, SessionEvent};

/// What the engine hears of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A message.
    Message(PeerMessage),
    /// So many bytes of a chunk.
    Data(u32),
    /// A whole chunk.
    Chunk {
        /// The other side's number for the file.
        handle: FileHandle,
        /// As on the wire.
        chunk: u32,
        /// Its bytes.
        bytes: Vec<u8>,
    },
}

/// Reads to the end what comes after the hello, with so many bytes for chunks. Answers whether the
/// other side broke the protocol, rather than the connection.
pub async fn listen_to(
    input: impl AsyncRead + Unpin,
    chunk_memory: u64,
    mut hear: impl FnMut(Heard),
) -> bool {
    // Small, so that reading has to wait for hearing.
    let (events, mut queue) = mpsc::channel(4);
    let (_orders, weak) = {
        let (orders, queue) = mpsc::channel(4);
        let weak = orders.downgrade();
        ((orders, queue), weak)
    };
    let backlog = Arc::new(Backlogs::default().of_session());
    let answered = Arc::clone(&backlog);
    let reading = async move {
        let report = Reports { peer: PeerKey(1), events };
        let intake = Intake::new(chunk_memory, Clock::new(), TaskTracker::new());
        let asked = Arc::new(Asked::anything());
        let (answers, claimant) =
            (Answers { orders: weak, backlog }, Claimant::new([127, 0, 0, 1].into()));
        let time = TimeLimit::new(Clock::new());
        let mut reader =
            Reader::new(input, BytesMut::new(), answers, intake, asked, claimant, time);
        let Err(error) = reader.run(&report).await;
        error.is_violation()
    };
    let hearing = async {
        while let Some((_, event)) = queue.recv().await {
            match event {
                SessionEvent::LongMessage(long) => hear(Heard::Message(long.0)),
                SessionEvent::Message(message) => {
                    if matches!(message, PeerMessage::InfoRequest { .. }) {
                        let answer =
                            Load::of(&Order::Send(PeerMessage::InfoNotFound { hash: [0; 32] }));
                        answered.add(answer);
                        answered.remove(answer);
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
    tokio::join!(reading, hearing).0
}

//! What the engine orders a session to do. Orders wait in a bounded queue; a full one means that
//! the other side does not read.

use std::sync::Arc;

use tnet_fileinfo::{ChunkIndex, FileInfo};
use tnet_proto::FileKey;
use tnet_proto::{ByeReason, Holdings, PeerMessage};
use tnet_store::ChunkSource;
use tnet_store::FileStore;
use tokio::sync::mpsc;

use super::backlog::{OrderCost, SessionBacklog};

/// Orders that may wait for the writer.
const QUEUE_DEPTH: usize = 4096;

/// What a session is to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum Order {
    /// Send a message, before any chunk data that waits.
    Send(PeerMessage),
    /// Send a description, with as many sums from `first` on as fit into a message. It is encoded
    /// when it is written.
    Describe {
        /// The description.
        info: FileInfo,
        /// Index of the first sum.
        first: u32,
    },
    /// Send a chunk. An [`UploadEnded`](crate::SessionEvent::UploadEnded) follows.
    Upload(Upload),
    /// Send no more of a chunk.
    StopUpload {
        /// The file of the upload.
        file: FileKey,
        /// The chunk of the upload.
        chunk: ChunkIndex,
    },
    /// Send what waits, except chunks, then a goodbye, and end the connection.
    Close(ByeReason),
}

impl Order {
    /// What the order adds to the backlog.
    pub(super) fn cost(&self) -> OrderCost {
        let mut cost = OrderCost { bytes: size_of::<Order>(), ..OrderCost::default() };
        match self {
            Order::Send(message) => {
                cost.bytes += heap_bytes(message);
                cost.answers = usize::from(is_answer(message));
                cost.info_answers =
                    usize::from(matches!(message, PeerMessage::InfoNotFound { .. }));
            }
            Order::Describe { .. } => (cost.answers, cost.info_answers) = (1, 1),
            Order::Upload(upload) => cost.bytes += size_of_val(&*upload.spares),
            Order::StopUpload { .. } | Order::Close(_) => {}
        }
        cost
    }
}

/// A chunk to send. Exhaustive: the engine makes it whole.
#[derive(Debug)]
pub struct Upload {
    /// Names the file on the wire.
    pub file: FileKey,
    /// The chunk to send.
    pub chunk: ChunkIndex,
    /// Bytes of the chunk.
    pub len: u32,
    /// Where its bytes are read.
    pub source: ChunkSource,
    /// Files with the same content, in case reading the source fails.
    pub spares: Vec<Arc<FileStore>>,
}

/// The engine's end of the queue. The session ends when it is dropped.
#[derive(Debug)]
pub(super) struct OrderSender {
    orders: mpsc::Sender<Order>,
    backlog: Arc<SessionBacklog>,
}

/// The reader's end of the queue, for answers that need no decision. It does not keep the queue
/// open.
#[derive(Debug)]
pub(super) struct ReplySender {
    orders: mpsc::WeakSender<Order>,
    backlog: Arc<SessionBacklog>,
}

/// The writer's end of the queue.
#[derive(Debug)]
pub(super) struct OrderQueue {
    orders: mpsc::Receiver<Order>,
    backlog: Arc<SessionBacklog>,
}

pub(super) fn order_queue(backlog: SessionBacklog) -> (OrderSender, OrderQueue) {
    let (sender, orders) = mpsc::channel(QUEUE_DEPTH);
    let backlog = Arc::new(backlog);
    (OrderSender { orders: sender, backlog: Arc::clone(&backlog) }, OrderQueue { orders, backlog })
}

impl OrderSender {
    /// False if there is no room for the order.
    #[must_use]
    pub(super) fn try_send(&self, order: Order) -> bool {
        try_send(&self.orders, &self.backlog, order)
    }

    pub(super) fn replies(&self) -> ReplySender {
        ReplySender { orders: self.orders.downgrade(), backlog: Arc::clone(&self.backlog) }
    }

    pub(super) fn backlog(&self) -> &SessionBacklog {
        &self.backlog
    }
}

impl ReplySender {
    /// Drops the answer if there is no room: the other side asks faster than it reads.
    pub(super) fn send(&self, message: PeerMessage) {
        if let Some(orders) = self.orders.upgrade() {
            let _ = try_send(&orders, &self.backlog, Order::Send(message));
        }
    }

    pub(super) fn backlog(&self) -> &SessionBacklog {
        &self.backlog
    }
}

impl OrderQueue {
    /// `None`: the engine has dropped its end. Cancel safe.
    pub(super) async fn recv(&mut self) -> Option<Order> {
        self.orders.recv().await
    }

    pub(super) fn try_recv(&mut self) -> Option<Order> {
        self.orders.try_recv().ok()
    }

    /// The order has been carried out, or never will be.
    pub(super) fn settle(&self, cost: OrderCost) {
        self.backlog.remove(cost);
    }
}

fn try_send(orders: &mpsc::Sender<Order>, backlog: &SessionBacklog, order: Order) -> bool {
    let cost = order.cost();
    if !backlog.add(cost) {
        return false;
    }
    let is_queued = orders.try_send(order).is_ok();
    if !is_queued {
        backlog.remove(cost);
    }
    is_queued
}

/// Bytes of the lists in a message.
fn heap_bytes(message: &PeerMessage) -> usize {
    match message {
        PeerMessage::Open(open) => match &open.holdings {
            Holdings::Full => 0,
            Holdings::Bitmap(bits) => bits.len(),
        },
        PeerMessage::Have { chunks, .. } => size_of_val(&**chunks),
        PeerMessage::Peers { peers, .. } => size_of_val(&**peers),
        PeerMessage::Data { bytes, .. } => bytes.0.len(),
        PeerMessage::Extension { body, .. } => body.len(),
        PeerMessage::Info(info) => {
            info.tail_leaf.len() + size_of_val(&*info.tail_path) + size_of_val(&*info.sums)
        }
        _ => 0,
    }
}

/// Whether the message answers one that costs the other side nothing.
fn is_answer(message: &PeerMessage) -> bool {
    matches!(
        message,
        PeerMessage::Busy { .. }
            | PeerMessage::Refused { .. }
            | PeerMessage::Pong { .. }
            | PeerMessage::Unsupported { .. }
            | PeerMessage::InfoNotFound { .. }
    )
}

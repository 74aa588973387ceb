//! What the engine orders a session to do. Orders wait in a bounded queue; a full one means that
//! the other side does not read.

use std::sync::Arc;

use tnet_fileinfo::{ChunkIndex, FileInfo};
use tnet_proto::{ByeReason, PeerMessage};
use tnet_swarm::FileKey;
use tokio::sync::mpsc;

use super::backlog::{OrderCost, SessionBacklog};
use crate::source::Source;
use crate::store::FileStore;

/// Orders that may wait for the writer.
const QUEUE_DEPTH: usize = 4096;

#[derive(Debug)]
pub(crate) enum Order {
    Send(PeerMessage),
    /// Send a description, with the sums from `first` on. It is encoded when it is written.
    Describe {
        info: FileInfo,
        first: u32,
    },
    Upload(Upload),
    StopUpload {
        file: FileKey,
        chunk: ChunkIndex,
    },
    Close(ByeReason),
}

/// A chunk to send.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) file: FileKey,
    pub(crate) chunk: ChunkIndex,
    /// Bytes of the chunk.
    pub(crate) len: u32,
    pub(crate) source: Source,
    /// Files with the same content, in case reading the source fails.
    pub(crate) spares: Vec<Arc<FileStore>>,
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
    let cost = OrderCost::of(&order);
    if !backlog.add(cost) {
        return false;
    }
    let is_queued = orders.try_send(order).is_ok();
    if !is_queued {
        backlog.remove(cost);
    }
    is_queued
}

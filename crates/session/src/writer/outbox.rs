//! What goes before chunk data: encoded messages, and descriptions that are encoded when they are
//! written.

use std::collections::VecDeque;

use bytes::BytesMut;
use tnet_proto::{ByeReason, PeerMessage, encode};

use super::super::backlog::OrderCost;
use super::super::description::OutgoingDescription;

/// Bytes of messages at which they are written; the rest of the orders waits.
const BATCH_LEN: usize = 64 * 1024;

/// Memory that a connection keeps while it has nothing to send.
const IDLE_LEN: usize = 8 * 1024;

#[derive(Default)]
pub(super) struct Outbox {
    messages: BytesMut,
    /// Of all messages whose write is not settled, those already taken included.
    cost: OrderCost,
    descriptions: VecDeque<(OutgoingDescription, OrderCost)>,
    pings: u64,
}

impl Outbox {
    pub(super) fn push(&mut self, message: &PeerMessage, cost: OrderCost) {
        encode(message, &mut self.messages);
        self.cost = self.cost.plus(cost);
    }

    pub(super) fn push_ping(&mut self) {
        self.pings += 1;
        encode(&PeerMessage::Ping { nonce: self.pings }, &mut self.messages);
    }

    pub(super) fn push_bye(&mut self, reason: ByeReason) {
        encode(&PeerMessage::Bye { reason }, &mut self.messages);
    }

    pub(super) fn push_description(&mut self, description: OutgoingDescription, cost: OrderCost) {
        self.descriptions.push_back((description, cost));
    }

    /// Whether there are no messages; descriptions may wait.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.messages.len() >= BATCH_LEN
    }

    /// The encoded messages. Their cost stays until [`take_cost`](Self::take_cost).
    pub(super) fn take_messages(&mut self) -> BytesMut {
        let messages = self.messages.split();
        if messages.len() > IDLE_LEN {
            self.messages = BytesMut::new();
        }
        messages
    }

    /// The cost of all messages so far, once they are written; `None` if it is zero.
    pub(super) fn take_cost(&mut self) -> Option<OrderCost> {
        let cost = std::mem::take(&mut self.cost);
        (cost != OrderCost::default()).then_some(cost)
    }

    pub(super) fn next_description(&mut self) -> Option<(OutgoingDescription, OrderCost)> {
        self.descriptions.pop_front()
    }
}

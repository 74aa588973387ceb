//! Orders in, bytes out. Messages go before chunk data; chunks go in parts, so a message waits for
//! one part at most.
//!
//! A session writes parts while it holds a turn: one part, or as many as may be unsent in the
//! kernel. The turn ends when the kernel has sent them. So what waits for the network waits here,
//! where messages can pass it, and a chunk counts as sent when it has left the kernel.

mod in_flight;
mod outbox;
mod output;
mod part_buffer;
mod turn_queue;
mod upload_queue;

use std::sync::Arc;
use std::time::Duration;

use tnet_fileinfo::ChunkIndex;
use tnet_proto::{ByeReason, PeerMessage, data_header};
use tnet_proto::{FileKey, UploadEnd};
use tnet_store::ReadError;
use tokio::io::AsyncWriteExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::backlog::OrderCost;
use super::description::OutgoingDescription;
use super::order::OrderQueue;
use super::reusable_timer::{Elapsed, ReusableTimer};
use super::send_window::SendWindow;
use super::zero_copy::ZeroCopyPart;
use super::{BYE_TIMEOUT, EventSender, Order, PING_AFTER, SHUTDOWN_LINGER, SendHalf, SessionEvent};
use in_flight::PartsInFlight;
use outbox::Outbox;
pub(super) use output::PartError;
use output::{Output, SendError};
use part_buffer::{PartBuffer, REUSE_WITHIN};
use turn_queue::TurnQueue;
use upload_queue::UploadQueue;

pub(super) struct Writer<W> {
    orders: OrderQueue,
    outbox: Outbox,
    uploads: UploadQueue,
    turns: TurnQueue,
    buffer: PartBuffer,
    output: Output<W>,
    in_flight: Option<PartsInFlight>,
    window: SendWindow,
    /// Ordered to close; no more parts begin.
    closing: Option<ByeReason>,
}

/// What happens to a session that has nothing to write at once.
enum Step {
    Order(Option<Order>),
    /// A turn to write parts.
    Turn(OwnedSemaphorePermit),
    /// The kernel has sent the parts in flight.
    Sent,
    /// The kernel has not sent them for long.
    Late,
    Idle,
}

impl<W: SendHalf> Writer<W> {
    pub(super) fn new(
        half: W,
        orders: OrderQueue,
        turns: Arc<Semaphore>,
        demo_delay: Duration,
        timer: ReusableTimer,
    ) -> Writer<W> {
        Writer {
            orders,
            outbox: Outbox::default(),
            uploads: UploadQueue::default(),
            turns: TurnQueue::new(turns, demo_delay),
            buffer: PartBuffer::default(),
            output: Output { half, timer },
            in_flight: None,
            window: SendWindow::new(),
            closing: None,
        }
    }

    /// Writes until the session is closed. Returns how long the other side may take to close.
    pub(super) async fn run(mut self, events: &EventSender) -> Result<Duration, SendError> {
        loop {
            self.take_orders(events).await;
            if let Some(reason) = self.closing {
                self.write_bye(reason).await?;
                let is_shutdown = reason == ByeReason::SHUTDOWN;
                return Ok(if is_shutdown { SHUTDOWN_LINGER } else { BYE_TIMEOUT });
            }
            if !self.outbox.is_empty() {
                self.write_messages().await?;
                continue;
            }
            if let Some((description, cost)) = self.outbox.next_description() {
                self.output.write_description(&description).await?;
                self.orders.settle(cost);
                continue;
            }
            if self.uploads.is_empty() {
                self.buffer.free_if_unused();
            }
            match self.next_step().await? {
                Step::Order(Some(order)) => self.take(order, events).await,
                // The engine has dropped the session.
                Step::Order(None) => return Ok(BYE_TIMEOUT),
                Step::Turn(turn) => self.write_parts(turn, events).await?,
                Step::Sent => self.on_sent(events).await,
                Step::Late => self.on_late()?,
                Step::Idle if self.buffer.is_kept() => {}
                Step::Idle => self.outbox.push_ping(),
            }
        }
    }

    async fn next_step(&mut self) -> Result<Step, SendError> {
        let Writer { orders, uploads, turns, buffer, output, in_flight, .. } = self;
        let Output { half, timer } = output;
        let is_in_flight = in_flight.is_some();
        let patience = match in_flight {
            Some(parts) => parts.patience(timer.now()),
            None if buffer.is_kept() => REUSE_WITHIN,
            None => PING_AFTER,
        };
        let next = async move {
            tokio::select! {
                biased;
                order = orders.recv() => Ok(Step::Order(order)),
                result = half.drained(), if is_in_flight => result.map(|()| Step::Sent),
                turn = turns.acquire(), if !is_in_flight && !uploads.is_empty() => {
                    Ok(Step::Turn(turn))
                }
            }
        };
        match timer.timeout(patience, next).await {
            Ok(step) => step.map_err(SendError::Io),
            Err(Elapsed) if is_in_flight => Ok(Step::Late),
            Err(Elapsed) => Ok(Step::Idle),
        }
    }

    async fn take_orders(&mut self, events: &EventSender) {
        while !self.outbox.is_full()
            && let Some(order) = self.orders.try_recv()
        {
            self.take(order, events).await;
        }
    }

    async fn take(&mut self, order: Order, events: &EventSender) {
        let cost = order.cost();
        match order {
            Order::Send(message) => {
                self.outbox.push(&message, cost);
                return;
            }
            Order::Describe { info, first } => {
                self.outbox.push_description(OutgoingDescription::new(info, first), cost);
                return;
            }
            Order::Upload(upload) => self.uploads.push(upload),
            Order::StopUpload { file, chunk } => self.stop_upload(file, chunk, events).await,
            Order::Close(reason) => self.closing = Some(reason),
        }
        self.orders.settle(cost);
    }

    async fn write_messages(&mut self) -> Result<(), SendError> {
        let messages = self.outbox.take_messages();
        self.output.write_all(&messages).await?;
        self.settle_messages();
        Ok(())
    }

    /// The messages that were taken from the outbox are written.
    fn settle_messages(&mut self) {
        if let Some(cost) = self.outbox.take_cost() {
            self.orders.settle(cost);
        }
    }

    async fn write_bye(&mut self, reason: ByeReason) -> Result<(), SendError> {
        self.outbox.push_bye(reason);
        let messages = self.outbox.take_messages();
        let half = &mut self.output.half;
        let writing = async {
            half.write_all(&messages).await?;
            half.shutdown().await
        };
        match timeout(BYE_TIMEOUT, writing).await {
            Ok(written) => written.map_err(SendError::Io),
            Err(_) => Err(SendError::NotRead),
        }
    }

    /// Writes parts of the chunks in front, until as many bytes are unsent as may be.
    async fn write_parts(
        &mut self,
        turn: OwnedSemaphorePermit,
        events: &EventSender,
    ) -> Result<(), SendError> {
        let mut parts = PartsInFlight::new(turn, self.output.timer.now());
        while self.closing.is_none()
            && parts.has_turn()
            && let Some(len) = self.uploads.next_part_len()
            && (parts.len() == 0
                || !self.turns.has_delay() && parts.len() + len <= self.window.limit())
        {
            self.write_part(len, &mut parts, events).await?;
            // Messages go between two parts and take no packet of their own.
            self.take_orders(events).await;
            self.buffer.append(&self.outbox.take_messages());
        }
        if !self.buffer.is_empty() {
            let Output { half, timer } = &mut self.output;
            let buffer = &mut self.buffer;
            let writing = async { buffer.write_to(half).await.map_err(SendError::Io) };
            parts.write(timer, writing).await?;
        }
        self.settle_messages();
        self.turns.start_delay();
        if parts.len() > 0 {
            self.in_flight = Some(parts);
        }
        Ok(())
    }

    /// Writes the next part of the chunk in front, of `len` bytes, behind what the buffer holds.
    async fn write_part(
        &mut self,
        len: u32,
        parts: &mut PartsInFlight,
        events: &EventSender,
    ) -> Result<(), SendError> {
        let Some(mut sending) = self.uploads.pop() else { return Ok(()) };
        let (file, chunk, offset) = (sending.upload.file, sending.upload.chunk, sending.sent);
        let header = data_header(file.handle(), chunk.get(), offset, len);
        // On a slow connection zero copy would only make more and smaller packets: 48 receivers at
        // 25 Mbit/s on two cores take 1.21 times the bound instead of 1.19.
        let zero_copy = match self.window.is_fast() {
            true => ZeroCopyPart::new(&sending.upload, offset, len),
            false => None,
        };
        if zero_copy.is_some() {
            self.buffer.append(&header);
        } else {
            match self.buffer.read_part(&header, &sending.upload, offset, len).await {
                Ok(()) => {}
                Err(PartError::Unreadable(error)) => {
                    self.give_up(file, chunk, Some(error), events).await;
                    return Ok(());
                }
                Err(PartError::Write(error)) => return Err(error),
            }
        }
        let Output { half, timer } = &mut self.output;
        let buffer = &mut self.buffer;
        let writing = async {
            match zero_copy {
                Some(part) => part.send(half, buffer.head()).await,
                None => buffer.write_to(half).await.map_err(PartError::from),
            }
        };
        match parts.write(timer, writing).await {
            Ok(()) => {}
            Err(PartError::Unreadable(error)) => {
                report_end(file, chunk, UploadEnd::Stopped, Some(error), events).await;
                return Err(SendError::Unreadable);
            }
            Err(PartError::Write(error)) => return Err(error),
        }
        sending.sent += len;
        if sending.is_complete() {
            parts.add(len, Some((file, chunk)));
        } else {
            parts.add(len, None);
            self.uploads.push_front(sending);
        }
        Ok(())
    }

    async fn on_sent(&mut self, events: &EventSender) {
        let Some(parts) = self.in_flight.take() else { return };
        let (len, completed) = parts.into_sent();
        if let Some(limit) = self.window.sent(len, Instant::now()) {
            self.output.half.limit_unsent(limit);
        }
        for (file, chunk) in completed {
            report_end(file, chunk, UploadEnd::Sent, None, events).await;
        }
    }

    /// Parts that take long first lose their turn; then the other side does not read.
    fn on_late(&mut self) -> Result<(), SendError> {
        match &mut self.in_flight {
            None => Ok(()),
            Some(parts) if parts.has_turn() => {
                parts.end_turn();
                Ok(())
            }
            Some(_) => Err(SendError::NotRead),
        }
    }

    async fn stop_upload(&mut self, file: FileKey, chunk: ChunkIndex, events: &EventSender) {
        if self.uploads.remove(file, chunk) {
            self.give_up(file, chunk, None, events).await;
            if self.uploads.is_empty() {
                self.turns.leave();
            }
        }
    }

    /// Tells the other side and the engine that no more of a chunk is sent.
    async fn give_up(
        &mut self,
        file: FileKey,
        chunk: ChunkIndex,
        failed: Option<ReadError>,
        events: &EventSender,
    ) {
        let stopped = PeerMessage::Stopped { file: file.handle(), chunk: chunk.get() };
        self.outbox.push(&stopped, OrderCost::default());
        report_end(file, chunk, UploadEnd::Stopped, failed, events).await;
    }
}

async fn report_end(
    file: FileKey,
    chunk: ChunkIndex,
    end: UploadEnd,
    failed: Option<ReadError>,
    events: &EventSender,
) {
    events.send(SessionEvent::UploadEnded { file, chunk, end, failed }).await;
}

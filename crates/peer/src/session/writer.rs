//! Orders in, bytes out. Messages go before chunk data; data goes in parts, so that a message waits
//! for one at most.
//!
//! Parts are written when it is this session's turn: one, or as many as may be unsent. The turn
//! ends when the kernel has sent them. So what waits for the wire waits here, where messages can
//! pass it, and a chunk counts as sent when it has left.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tnet_fileinfo::ChunkIndex;
use tnet_net::WRITE_AT_MOST;
use tnet_proto::{ByeReason, MAX_DATA_LEN, PeerMessage, data_header, encode};
use tnet_swarm::{FileKey, Time, UploadEnd};
use tokio::io::AsyncWriteExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::PollSemaphore;

use super::backlog::Load;
use super::description::Description;
use super::pace::Pace;
use super::time_limit::{Elapsed, TimeLimit};
use super::uncopied::{SendError, Uncopied, read_somewhere};
use super::{
    BYE_AT_MOST, CLOSES_AT_END, Order, Orders, Outlet, PING_AFTER, Reports, SessionEvent, Upload,
};
use crate::store;

/// Bytes of a chunk sent at once.
const PART_LEN: u32 = 256 * 1024;
const _: () = assert!(PART_LEN as usize <= MAX_DATA_LEN);

/// Messages are written when there are so many bytes of them; the rest of the queue waits.
const BATCH_LEN: usize = 64 * 1024;

/// Memory that a connection keeps while it has nothing to send.
const KEPT_LEN: usize = 8 * 1024;

/// A connection that sends chunks may send another one soon: its memory is kept so long.
const KEPT_FOR: Duration = Duration::from_secs(1);

/// A part that takes longer holds up nobody else: its turn ends before it is sent.
const TURN_AT_MOST: Duration = Duration::from_millis(100);

pub(super) struct Writer<W> {
    output: W,
    orders: Orders,
    messages: BytesMut,
    /// What the messages count as.
    messages_load: Load,
    descriptions: VecDeque<(Description, Load)>,
    uploads: VecDeque<Sending>,
    /// The parts that the kernel has not sent yet.
    leaving: Option<Leaving>,
    turns: PollSemaphore,
    pace: Pace,
    demo_delay: Duration,
    /// Until then no part is sent. Never set without a delay.
    held_until: Option<Instant>,
    closing: Option<ByeReason>,
    /// What goes out next: the end of a part, messages, the header of another part and its bytes,
    /// as far as they are copied.
    ahead: Vec<u8>,
    /// When a part was last copied.
    copied_at: Option<Instant>,
    pings: u64,
    time: TimeLimit,
}

struct Sending {
    upload: Upload,
    sent: u32,
}

struct Leaving {
    turn: Option<OwnedSemaphorePermit>,
    since: Time,
    /// Bytes.
    len: u32,
    /// The chunks that end with these parts.
    ends: Vec<(FileKey, ChunkIndex)>,
}

/// What a session waits for when it has nothing to write.
enum Step {
    Order(Option<Order>),
    /// Our turn to write parts.
    Turn(OwnedSemaphorePermit),
    /// The kernel has sent the last parts.
    Left,
    /// The last parts take long.
    Late,
    Silence,
}

/// Why a session stops writing.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the other side has not read for {WRITE_AT_MOST:?}")]
    NotRead,
    #[error("the file changed while it was sent, or cannot be read")]
    Unreadable,
}

impl From<Elapsed> for WriteError {
    fn from(Elapsed: Elapsed) -> WriteError {
        WriteError::NotRead
    }
}

impl<W: Outlet> Writer<W> {
    pub(super) fn new(
        output: W,
        orders: Orders,
        turns: Arc<Semaphore>,
        demo_delay: Duration,
        time: TimeLimit,
    ) -> Writer<W> {
        Writer {
            output,
            orders,
            messages: BytesMut::new(),
            messages_load: Load::default(),
            descriptions: VecDeque::new(),
            uploads: VecDeque::new(),
            leaving: None,
            turns: PollSemaphore::new(turns),
            pace: Pace::new(),
            demo_delay,
            held_until: None,
            closing: None,
            ahead: Vec::new(),
            copied_at: None,
            pings: 0,
            time,
        }
    }

    /// Until all is said. Answers how long the other side may take to close.
    pub(super) async fn run(mut self, report: &Reports) -> Result<Duration, WriteError> {
        loop {
            self.take_orders(report).await;
            if let Some(reason) = self.closing {
                self.say_bye(reason).await?;
                return Ok(if reason == ByeReason::SHUTDOWN { CLOSES_AT_END } else { BYE_AT_MOST });
            }
            if !self.messages.is_empty() {
                self.write_messages().await?;
                continue;
            }
            if let Some((description, load)) = self.descriptions.pop_front() {
                self.time.within(WRITE_AT_MOST, description.write(&mut self.output)).await??;
                self.orders.backlog.remove(load);
                continue;
            }
            self.release_memory();
            match self.next_step().await? {
                Step::Order(Some(order)) => self.take(order, report).await,
                // The engine has let go of us without a word.
                Step::Order(None) => return Ok(BYE_AT_MOST),
                Step::Turn(turn) => self.send_parts(turn, report).await?,
                Step::Left => self.on_left(report).await,
                Step::Late => self.on_late()?,
                Step::Silence if self.copied_at.is_some() => {}
                Step::Silence => self.ping(),
            }
        }
    }

    async fn next_step(&mut self) -> Result<Step, WriteError> {
        let Writer { output, orders, turns, leaving, uploads, held_until, time, copied_at, .. } =
            self;
        let is_leaving = leaving.is_some();
        let patience = match leaving {
            Some(Leaving { turn: Some(_), since, .. }) => {
                TURN_AT_MOST.saturating_sub(time.now() - *since)
            }
            Some(Leaving { since, .. }) => WRITE_AT_MOST.saturating_sub(time.now() - *since),
            None if copied_at.is_some() => KEPT_FOR,
            None => PING_AFTER,
        };
        let next = async move {
            tokio::select! {
                biased;
                order = orders.queue.recv() => Ok(Step::Order(order)),
                result = output.drained(), if is_leaving => Ok(result.map(|()| Step::Left)?),
                turn = turn_after(*held_until, turns), if !is_leaving && !uploads.is_empty() => {
                    Ok(Step::Turn(turn.expect("turns are never closed")))
                }
            }
        };
        let too_long = if is_leaving { Step::Late } else { Step::Silence };
        time.within(patience, next).await.unwrap_or(Ok(too_long))
    }

    async fn take_orders(&mut self, report: &Reports) {
        while self.messages.len() < BATCH_LEN
            && let Ok(order) = self.orders.queue.try_recv()
        {
            self.take(order, report).await;
        }
    }

    async fn take(&mut self, order: Order, report: &Reports) {
        let load = Load::of(&order);
        match order {
            Order::Send(message) => {
                encode(&message, &mut self.messages);
                self.messages_load = self.messages_load.plus(load);
                return;
            }
            Order::Describe { info, first } => {
                self.descriptions.push_back((Description::of(info, first), load));
                return;
            }
            Order::Upload(upload) => self.uploads.push_back(Sending { upload, sent: 0 }),
            Order::StopUpload { file, chunk } => self.stop(file, chunk, report).await,
            Order::Close(reason) => self.closing = Some(reason),
        }
        self.orders.backlog.remove(load);
    }

    async fn write_messages(&mut self) -> Result<(), WriteError> {
        let messages = self.messages.split();
        if messages.len() > KEPT_LEN {
            self.messages = BytesMut::new();
        }
        self.time.within(WRITE_AT_MOST, self.output.write_all(&messages)).await??;
        self.messages_are_sent();
        Ok(())
    }

    fn messages_are_sent(&mut self) {
        let load = std::mem::take(&mut self.messages_load);
        if load != Load::default() {
            self.orders.backlog.remove(load);
        }
    }

    /// A connection that sends no more chunks does not keep the memory for a part.
    fn release_memory(&mut self) {
        if self.uploads.is_empty()
            && self.copied_at.is_some_and(|copied| copied.elapsed() >= KEPT_FOR)
        {
            self.ahead = Vec::new();
            self.copied_at = None;
        }
    }

    fn ping(&mut self) {
        self.pings += 1;
        encode(&PeerMessage::Ping { nonce: self.pings }, &mut self.messages);
    }

    async fn say_bye(&mut self, reason: ByeReason) -> Result<(), WriteError> {
        let mut messages = self.messages.split();
        encode(&PeerMessage::Bye { reason }, &mut messages);
        let farewell = async {
            self.output.write_all(&messages).await?;
            self.output.shutdown().await
        };
        timeout(BYE_AT_MOST, farewell)
            .await
            .map_err(|_| WriteError::NotRead)?
            .map_err(WriteError::Io)
    }

    /// Hands parts of the chunks in front to the kernel, until so much is unsent as may be.
    async fn send_parts(
        &mut self,
        turn: OwnedSemaphorePermit,
        report: &Reports,
    ) -> Result<(), WriteError> {
        let mut leaving =
            Leaving { turn: Some(turn), since: self.time.now(), len: 0, ends: Vec::new() };
        while self.closing.is_none()
            && leaving.turn.is_some()
            && let Some(len) = self.next_part_len()
            && (leaving.len == 0
                || self.demo_delay.is_zero() && leaving.len + len <= self.pace.limit())
        {
            self.send_part(len, &mut leaving, report).await?;
            // They go between two parts, and cost no packet of their own.
            self.take_orders(report).await;
            self.ahead.extend_from_slice(&self.messages.split());
        }
        if !self.ahead.is_empty() {
            let writing = self.output.write_all(&self.ahead);
            within_turn(&mut leaving.turn, &mut self.time, writing).await??;
            self.ahead.clear();
        }
        self.messages_are_sent();
        if leaving.len > 0 {
            self.leaving = Some(leaving);
        }
        if !self.demo_delay.is_zero() {
            self.held_until = Some(Instant::now() + self.demo_delay);
        }
        Ok(())
    }

    fn next_part_len(&self) -> Option<u32> {
        self.uploads.front().map(|sending| (sending.upload.len - sending.sent).min(PART_LEN))
    }

    /// Hands the next part of the chunk in front to the kernel, of `len` bytes, behind what is to
    /// go ahead of it.
    async fn send_part(
        &mut self,
        len: u32,
        leaving: &mut Leaving,
        report: &Reports,
    ) -> Result<(), WriteError> {
        let Some(mut sending) = self.uploads.pop_front() else { return Ok(()) };
        let (file, chunk, offset) = (sending.upload.file, sending.upload.chunk, sending.sent);
        let header = data_header(file.handle(), chunk.get(), offset, len);
        // What the memory holds goes straight from there. On a slow connection it would go in more
        // and smaller packets for nothing: 48 receivers at 25 Mbit/s on two cores take 1.21 times
        // the bound instead of 1.19.
        let uncopied = match self.pace.is_fast() {
            true => Uncopied::of(&sending.upload, offset, len),
            false => None,
        };
        if uncopied.is_some() {
            self.ahead.extend_from_slice(&header);
        } else {
            self.copied_at = Some(Instant::now());
            if let Err(error) = self.read_part(&sending.upload, offset, len, &header).await? {
                self.give_up(file, chunk, Some(error), report).await;
                return Ok(());
            }
        }
        let written = {
            let (output, ahead) = (&mut self.output, &mut self.ahead);
            let writing = async {
                match uncopied {
                    Some(part) => part.send(output, ahead).await,
                    None => {
                        output.write_all(ahead).await?;
                        ahead.clear();
                        Ok(())
                    }
                }
            };
            within_turn(&mut leaving.turn, &mut self.time, writing).await?
        };
        match written {
            Err(SendError::Unreadable(error)) => {
                let end = UploadEnd::Stopped;
                report
                    .send(SessionEvent::UploadEnded { file, chunk, end, failed: Some(error) })
                    .await;
                return Err(WriteError::Unreadable);
            }
            Err(SendError::Io(error)) => return Err(error.into()),
            Ok(()) => {}
        }
        sending.sent += len;
        leaving.len += len;
        if sending.sent == sending.upload.len {
            leaving.ends.push((file, chunk));
        } else {
            self.uploads.push_front(sending);
        }
        Ok(())
    }

    /// Reads a part behind its header, and behind what is to go ahead of it; nothing is added if
    /// that fails.
    #[expect(clippy::indexing_slicing, reason = "the memory was made longer just before")]
    async fn read_part(
        &mut self,
        upload: &Upload,
        offset: u32,
        len: u32,
        header: &[u8],
    ) -> io::Result<Result<(), store::ReadError>> {
        let mut ahead = std::mem::take(&mut self.ahead);
        let before = ahead.len();
        ahead.extend_from_slice(header);
        let start = ahead.len();
        ahead.resize(start + len as usize, 0);
        let chunk = upload.chunk;
        // What the memory holds is here before another thread has woken up.
        let mut result = Ok(());
        if !matches!(upload.source.read_at_once(chunk, offset, &mut ahead[start..]), Some(Ok(()))) {
            let (source, spares) = (upload.source.clone(), upload.spares.clone());
            let read = tokio::task::spawn_blocking(move || {
                let result = read_somewhere(&source, &spares, chunk, offset, &mut ahead[start..]);
                (ahead, result)
            });
            (ahead, result) = read.await.map_err(io::Error::other)?;
        }
        if result.is_err() {
            ahead.truncate(before);
        }
        self.ahead = ahead;
        Ok(result)
    }

    async fn on_left(&mut self, report: &Reports) {
        let Some(Leaving { turn, len, ends, .. }) = self.leaving.take() else { return };
        drop(turn);
        if let Some(limit) = self.pace.sent(len, Instant::now()) {
            self.output.limit_unsent(limit);
        }
        for (file, chunk) in ends {
            let end = UploadEnd::Sent;
            report.send(SessionEvent::UploadEnded { file, chunk, end, failed: None }).await;
        }
    }

    fn on_late(&mut self) -> Result<(), WriteError> {
        let Some(leaving) = &mut self.leaving else { return Ok(()) };
        match leaving.turn.take() {
            Some(_) => Ok(()),
            None => Err(WriteError::NotRead),
        }
    }

    async fn stop(&mut self, file: FileKey, chunk: ChunkIndex, report: &Reports) {
        let at = self
            .uploads
            .iter()
            .position(|sending| sending.upload.file == file && sending.upload.chunk == chunk);
        if at.and_then(|at| self.uploads.remove(at)).is_some() {
            self.give_up(file, chunk, None, report).await;
            if self.uploads.is_empty() {
                // Else a turn could come to us that we do not look for.
                self.turns = PollSemaphore::new(self.turns.clone_inner());
            }
        }
    }

    async fn give_up(
        &mut self,
        file: FileKey,
        chunk: ChunkIndex,
        failed: Option<store::ReadError>,
        report: &Reports,
    ) {
        encode(
            &PeerMessage::Stopped { file: file.handle(), chunk: chunk.get() },
            &mut self.messages,
        );
        report
            .send(SessionEvent::UploadEnded { file, chunk, end: UploadEnd::Stopped, failed })
            .await;
    }
}

/// Writes what a turn is for. What takes longer than a turn goes on without one.
async fn within_turn<T>(
    turn: &mut Option<OwnedSemaphorePermit>,
    time: &mut TimeLimit,
    writing: impl Future<Output = T>,
) -> Result<T, Elapsed> {
    let mut writing = pin!(writing);
    if let Ok(written) = time.within(TURN_AT_MOST, &mut writing).await {
        return Ok(written);
    }
    *turn = None;
    time.within(WRITE_AT_MOST, writing).await
}

/// A turn, asked for only when the delay is over: nobody else's connection waits for it.
async fn turn_after(
    held_until: Option<Instant>,
    turns: &mut PollSemaphore,
) -> Option<OwnedSemaphorePermit> {
    if let Some(until) = held_until {
        sleep_until(until).await;
    }
    poll_fn(|context| turns.poll_acquire(context)).await
}

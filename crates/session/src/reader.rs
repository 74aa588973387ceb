//! Bytes in, events out. The body of a chunk is read straight into its buffer; the chunk is
//! reported when it is complete.
//!
//! The parts of a chunk come in order and not interleaved with another chunk's, so at most one
//! chunk is being assembled.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use tnet_fileinfo::{ChunkSize, FileHash, Geometry};
use tnet_proto::{
    DecodeError, FileHandle, FrameError, FrameHead, MAX_FRAME_LEN, PeerMessage, PeerMessageKind,
    SILENCE_TIMEOUT, Time, decode,
};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::announced::{AnnouncedContents, Content};
use super::budget::{Claimant, FillProgress};
use super::long_messages::{MESSAGE_TIMEOUT, SHORT};
use super::open_requests::OpenRequests;
use super::reading_pause::report_pause;
use super::reusable_timer::{Elapsed, ReusableTimer};
use super::{ChunkBody, ChunkBuffer, EventSender, Ingest, ReplySender, SessionEvent};

/// Bytes read from the socket at a time while no chunk is being read. What is read beyond the head
/// of a part is copied once more, so this is no more than messages need.
const READ_LEN: usize = 2 * 1024;

/// The same within a long message.
const LONG_READ_LEN: usize = 16 * 1024;

/// A chunk that has begun must be complete after `CHUNK_PATIENCE` plus its transmission time at
/// `MIN_RATE` bytes per second; no single wait for more bytes of a part is longer than
/// `CHUNK_PATIENCE`. While other sessions wait for memory it has less time, see `buffer_pool.rs`.
const CHUNK_PATIENCE: Duration = Duration::from_secs(20);
const MIN_RATE: u32 = 1024;

/// Interval at which the received bytes of a part are reported: on a slow connection a part takes
/// long, and its source is not silent meanwhile.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Reader<R> {
    input: R,
    buffered: BytesMut,
    announced: AnnouncedContents,
    assembly: Option<Assembly>,
    replies: ReplySender,
    ingest: Ingest,
    open_requests: Arc<OpenRequests>,
    claimant: Claimant,
    timer: ReusableTimer,
}

/// A chunk of which some parts have come.
struct Assembly {
    handle: FileHandle,
    chunk: u32,
    len: u32,
    buffer: ChunkBuffer,
    progress: Arc<FillProgress>,
    /// When it must be complete.
    deadline: Time,
    /// Bytes of it that were reported to the engine, and when.
    reported: usize,
    reported_at: Time,
}

/// Why a session stops reading.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReceiveError {
    #[error("closed by the other side")]
    Closed,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("silent for {SILENCE_TIMEOUT:?}")]
    Silent,
    #[error("a message that is not whole within {MESSAGE_TIMEOUT:?}")]
    LateMessage,
    #[error("a chunk that comes slower than {MIN_RATE} bytes per second")]
    TooSlow,
    #[error("slow while others wait for the memory")]
    Evicted,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("data for a file that was not announced, or past its end")]
    UnknownChunk,
    #[error("data that was not asked for")]
    Unrequested,
    #[error("parts of a chunk out of order")]
    OutOfOrder,
    #[error("a geometry that no file has")]
    BadGeometry,
}

impl ReceiveError {
    /// Whether the other side broke the protocol, rather than the connection.
    pub(super) fn is_violation(&self) -> bool {
        match self {
            ReceiveError::Closed
            | ReceiveError::Io(_)
            | ReceiveError::Silent
            | ReceiveError::LateMessage
            | ReceiveError::TooSlow
            | ReceiveError::Evicted => false,
            ReceiveError::Frame(_)
            | ReceiveError::Decode(_)
            | ReceiveError::UnknownChunk
            | ReceiveError::Unrequested
            | ReceiveError::OutOfOrder
            | ReceiveError::BadGeometry => true,
        }
    }
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(
        input: R,
        buffered: BytesMut,
        replies: ReplySender,
        ingest: Ingest,
        open_requests: Arc<OpenRequests>,
        claimant: Claimant,
        timer: ReusableTimer,
    ) -> Reader<R> {
        Reader {
            input,
            buffered,
            announced: AnnouncedContents::default(),
            assembly: None,
            replies,
            ingest,
            open_requests,
            claimant,
            timer,
        }
    }

    /// Gives up everything that was read, and the memory for it.
    pub(super) fn into_input(self) -> R {
        self.input
    }

    pub(super) async fn run(&mut self, events: &EventSender) -> Result<Infallible, ReceiveError> {
        loop {
            self.replies.backlog().room().await;
            let head = self.head().await?;
            self.buffered.advance(head.head_len());
            match head {
                FrameHead::Message { len } => self.message(len, events).await?,
                FrameHead::Data { file, chunk, offset, len } => {
                    self.data(file, chunk, offset, len, events).await?
                }
            }
        }
    }

    async fn head(&mut self) -> Result<FrameHead, ReceiveError> {
        let mut deadline = None;
        loop {
            if let Some(head) = FrameHead::parse(&self.buffered, MAX_FRAME_LEN)? {
                return Ok(head);
            }
            if !self.buffered.is_empty() {
                deadline.get_or_insert_with(|| self.timer.now() + MESSAGE_TIMEOUT);
            }
            self.read_more(READ_LEN, deadline).await?;
        }
    }

    /// Reads some of the `missing` bytes of a message. The message must be complete at `deadline`,
    /// and a chunk that is being assembled at its own.
    async fn read_more(
        &mut self,
        missing: usize,
        deadline: Option<Time>,
    ) -> Result<(), ReceiveError> {
        self.buffered.reserve(missing.clamp(READ_LEN, LONG_READ_LEN));
        let chunk = self.assembly.as_ref();
        let chunk_deadline = chunk.map(|assembly| assembly.deadline);
        let first = deadline.into_iter().chain(chunk_deadline).min();
        let reading = self.input.read_buf(&mut self.buffered);
        let read = tokio::select! {
            biased;
            read = self.timer.timeout_until(SILENCE_TIMEOUT, first, reading) => read,
            () = evicted(chunk) => return Err(ReceiveError::Evicted),
        };
        let has_passed = |deadline: Option<Time>| deadline.is_some_and(|at| at <= self.timer.now());
        match read {
            Err(Elapsed) if has_passed(deadline) => Err(ReceiveError::LateMessage),
            Err(Elapsed) if has_passed(chunk_deadline) => Err(ReceiveError::TooSlow),
            Err(Elapsed) => Err(ReceiveError::Silent),
            Ok(Ok(0)) => Err(ReceiveError::Closed),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
        }
    }

    async fn message(&mut self, len: usize, events: &EventSender) -> Result<(), ReceiveError> {
        if len > SHORT {
            return self.long_message(len, events).await;
        }
        self.read_whole(len, None).await?;
        if let Some(message) = self.decode(len)? {
            events.send(SessionEvent::Message(message)).await;
        }
        Ok(())
    }

    /// Reads a long message once there is memory for it; an ignored one is skipped without.
    async fn long_message(&mut self, len: usize, events: &EventSender) -> Result<(), ReceiveError> {
        let kind = LongMessage::of(self.buffered.first_chunk());
        if let LongMessage::Ignored { unknown } = kind {
            self.skip(len).await?;
            unknown
                .into_iter()
                .for_each(|number| self.replies.send(PeerMessage::Unsupported { message: number }));
            return Ok(());
        }
        let allocating = self.ingest.long_messages.allocate(len, &self.claimant);
        let memory = report_pause(allocating, &self.replies, events).await;
        // All of it at once: a buffer that grows step by step fragments the heap.
        let mut whole = BytesMut::with_capacity(len + READ_LEN);
        whole.extend_from_slice(&self.buffered);
        self.buffered = whole;
        tokio::select! {
            result = self.read_whole(len, Some(memory.progress())) => result?,
            () = memory.progress().evicted() => return Err(ReceiveError::Evicted),
        }
        let message = self.decode(len);
        // The memory of the message must not stay with the connection.
        self.buffered = BytesMut::from(&self.buffered[..]);
        if let Some(message) = message? {
            events.send(SessionEvent::LongMessage(Box::new((message, memory)))).await;
        }
        Ok(())
    }

    async fn read_whole(
        &mut self,
        len: usize,
        progress: Option<&FillProgress>,
    ) -> Result<(), ReceiveError> {
        let mut deadline = None;
        while self.buffered.len() < len {
            deadline.get_or_insert_with(|| self.timer.now() + MESSAGE_TIMEOUT);
            self.read_more(len - self.buffered.len(), deadline).await?;
            if let Some(progress) = progress {
                progress.set_received(self.buffered.len());
            }
        }
        Ok(())
    }

    /// Reads and discards `len` bytes.
    async fn skip(&mut self, len: usize) -> Result<(), ReceiveError> {
        let (mut left, deadline) = (len, Some(self.timer.now() + MESSAGE_TIMEOUT));
        loop {
            let here = left.min(self.buffered.len());
            self.buffered.advance(here);
            left -= here;
            if left == 0 {
                return Ok(());
            }
            self.read_more(READ_LEN, deadline).await?;
        }
    }

    /// Decodes the message in the next `len` bytes and answers it if that needs no decision.
    /// `None`: the engine is not told.
    fn decode(&mut self, len: usize) -> Result<Option<PeerMessage>, ReceiveError> {
        let message = match decode(&self.buffered.split_to(len)) {
            Ok(message) => message,
            Err(DecodeError::UnknownMessage { number }) => {
                self.replies.send(PeerMessage::Unsupported { message: number });
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        match &message {
            PeerMessage::Ping { nonce } => {
                self.replies.send(PeerMessage::Pong { nonce: *nonce });
                return Ok(None);
            }
            PeerMessage::Info(_)
            | PeerMessage::InfoNotFound { .. }
            | PeerMessage::Unsupported { .. }
            | PeerMessage::Extension { .. } => return Ok(None),
            PeerMessage::InfoRequest { .. } => self.replies.backlog().add_info_request(),
            PeerMessage::Open(open) => {
                let chunk_size =
                    ChunkSize::new(open.chunk_size).map_err(|_| ReceiveError::BadGeometry)?;
                let geometry =
                    Geometry::new(open.size, chunk_size).map_err(|_| ReceiveError::BadGeometry)?;
                let hash = FileHash::from_bytes(open.hash);
                let is_wanted = |content: &Content| self.ingest.is_downloading(content);
                self.announced.open(open.file, Content { hash, geometry }, is_wanted);
            }
            PeerMessage::Close { file } => self.announced.close(*file),
            PeerMessage::Stopped { file, chunk } => {
                self.drop_assembly(*file, *chunk);
                self.settle(*file, *chunk);
            }
            PeerMessage::Busy { file, chunk, .. } | PeerMessage::Refused { file, chunk } => {
                self.settle(*file, *chunk);
            }
            _ => {}
        }
        Ok(Some(message))
    }

    /// The final answer to a request has come.
    fn settle(&self, handle: FileHandle, chunk: u32) {
        if let Some(content) = self.announced.get(handle) {
            self.open_requests.settle(content, chunk);
        }
    }

    fn drop_assembly(&mut self, handle: FileHandle, chunk: u32) {
        if self
            .assembly
            .as_ref()
            .is_some_and(|assembly| assembly.handle == handle && assembly.chunk == chunk)
        {
            self.assembly = None;
        }
    }

    async fn data(
        &mut self,
        handle: FileHandle,
        chunk: u32,
        offset: u32,
        len: u32,
        events: &EventSender,
    ) -> Result<(), ReceiveError> {
        let mut assembly = match self.assembly.take() {
            Some(assembly) => assembly,
            None => self.begin(handle, chunk, events).await?,
        };
        let filled = assembly.buffer.bytes().len();
        if (assembly.handle, assembly.chunk) != (handle, chunk) || filled != offset as usize {
            return Err(ReceiveError::OutOfOrder);
        }
        if offset + len > assembly.len {
            return Err(ReceiveError::UnknownChunk);
        }
        self.fill(&mut assembly, filled + len as usize, events).await?;
        assembly.progress.set_received(assembly.buffer.bytes().len());
        if assembly.buffer.bytes().len() == assembly.len as usize {
            self.finish(assembly, events).await;
        } else {
            self.report_received(&mut assembly, events).await;
            self.assembly = Some(assembly);
        }
        Ok(())
    }

    /// Writes a complete chunk inline, or passes it to the engine.
    async fn finish(&mut self, assembly: Assembly, events: &EventSender) {
        let last_part = assembly.unreported();
        let Assembly { handle, chunk, buffer, .. } = assembly;
        self.settle(handle, chunk);
        let inline = match self.announced.get(handle) {
            Some(content) => self.ingest.inline_chunk(content, chunk, buffer),
            None => Err(buffer),
        };
        let (body, inline) = match inline {
            Ok(inline) => (ChunkBody::WrittenBySession, Some(inline)),
            Err(buffer) => (ChunkBody::InMemory(buffer), None),
        };
        // Before the write, so that the engine knows of the chunk when `ChunkWritten` comes.
        events.send(SessionEvent::ChunkArrived { handle, chunk, last_part, body }).await;
        if let Some(inline) = inline {
            self.ingest.write(inline, events);
        }
    }

    async fn begin(
        &mut self,
        handle: FileHandle,
        chunk: u32,
        events: &EventSender,
    ) -> Result<Assembly, ReceiveError> {
        let content = self.announced.get(handle).ok_or(ReceiveError::UnknownChunk)?;
        let geometry = &content.geometry;
        let len = geometry.chunk_len(geometry.chunk(chunk).ok_or(ReceiveError::UnknownChunk)?);
        let cancelled = self.open_requests.find(content, chunk).ok_or(ReceiveError::Unrequested)?;
        let allocating = self.ingest.buffers.allocate(len, &self.claimant, cancelled);
        let buffer = report_pause(allocating, &self.replies, events).await;
        let now = self.timer.now();
        let deadline = now + CHUNK_PATIENCE + Duration::from_secs((len / MIN_RATE).into());
        let progress = Arc::clone(buffer.progress());
        Ok(Assembly {
            handle,
            chunk,
            len,
            buffer,
            progress,
            deadline,
            reported: 0,
            reported_at: now,
        })
    }

    /// Tells the engine how much more of the chunk was received.
    async fn report_received(&mut self, assembly: &mut Assembly, events: &EventSender) {
        let bytes = assembly.unreported();
        assembly.reported = assembly.buffer.bytes().len();
        assembly.reported_at = self.timer.now();
        events.send(SessionEvent::DataReceived { bytes }).await;
    }

    /// Reads until the buffer holds `until` bytes.
    async fn fill(
        &mut self,
        assembly: &mut Assembly,
        until: usize,
        events: &EventSender,
    ) -> Result<(), ReceiveError> {
        let wanted = until - assembly.buffer.bytes().len();
        let early = self.buffered.split_to(wanted.min(self.buffered.len()));
        assembly.buffer.bytes_mut().extend_from_slice(&early);
        while assembly.buffer.bytes().len() < until {
            let room = until - assembly.buffer.bytes().len();
            let mut rest = (&mut *assembly.buffer.bytes_mut()).limit(room);
            let reading = self.input.read_buf(&mut rest);
            let read = tokio::select! {
                biased;
                read = self.timer.timeout_until(CHUNK_PATIENCE, Some(assembly.deadline), reading) => read,
                () = assembly.progress.evicted() => return Err(ReceiveError::Evicted),
            };
            match read {
                Err(Elapsed) => return Err(ReceiveError::TooSlow),
                Ok(Ok(0)) => return Err(ReceiveError::Closed),
                Ok(Ok(_)) => assembly.progress.set_received(assembly.buffer.bytes().len()),
                Ok(Err(error)) => return Err(error.into()),
            }
            let is_filled = assembly.buffer.bytes().len() >= until;
            if !is_filled && self.timer.now() - assembly.reported_at >= REPORT_INTERVAL {
                self.report_received(assembly, events).await;
            }
        }
        Ok(())
    }
}

impl Assembly {
    /// Bytes received since the last report.
    fn unreported(&self) -> u32 {
        u32::try_from(self.buffer.bytes().len().saturating_sub(self.reported)).unwrap_or(u32::MAX)
    }
}

/// What to do with a long message.
enum LongMessage {
    Read,
    /// Skip it; the number, if no message has it.
    Ignored {
        unknown: Option<u32>,
    },
}

impl LongMessage {
    /// By the number that the message begins with.
    fn of(number: Option<&[u8; 4]>) -> LongMessage {
        let number = number.map_or(0, |number| u32::from_le_bytes(*number));
        match PeerMessageKind::of(number) {
            None => LongMessage::Ignored { unknown: Some(number) },
            Some(PeerMessageKind::Info | PeerMessageKind::Extension) => {
                LongMessage::Ignored { unknown: None }
            }
            Some(_) => LongMessage::Read,
        }
    }
}

/// Returns when the memory of the chunk must be given up; never without a chunk.
async fn evicted(chunk: Option<&Assembly>) {
    match chunk {
        Some(assembly) => assembly.progress.evicted().await,
        None => std::future::pending().await,
    }
}

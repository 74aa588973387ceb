//! Bytes in, events out. The body of a chunk is read straight into its buffer; the chunk is
//! reported when it is whole.
//!
//! A chunk's parts come in order and not interleaved with another chunk's, so at most one is being
//! put together.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use tnet_fileinfo::{ChunkSize, FileHash, Geometry};
use tnet_proto::{
    DecodeError, FileHandle, FrameError, FrameHead, MAX_FRAME_LEN, PeerMessage, WireMessage, decode,
};
use tnet_swarm::Time;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::announced::{Announced, AnnouncedFiles};
use super::asked::Asked;
use super::budget::{Claimant, Hold};
use super::long_messages::{SHORT, WHOLE_WITHIN};
use super::pause::told;
use super::time_limit::{Elapsed, TimeLimit};
use super::{Answers, ChunkBody, ChunkBuffer, Intake, Reports, SILENT_AT_MOST, SessionEvent};

/// Bytes asked of the socket at once while no chunk is being read. What comes behind the head of a
/// part is copied once more; so no more than messages need.
const READ_LEN: usize = 2 * 1024;

/// The same in the middle of a long message.
const READ_MOST: usize = 16 * 1024;

/// A chunk that has begun must be whole after `CHUNK_PATIENCE` and the time that it takes at
/// `SLOWEST` bytes per second; no single wait for more of it in the middle of a part is longer than
/// that patience. While others wait for the memory it has less time, see `buffers.rs`.
const CHUNK_PATIENCE: Duration = Duration::from_secs(20);
const SLOWEST: u32 = 1024;

/// What is here of a part is told so often: on a slow connection a part takes long, and its source
/// is not silent meanwhile.
const TELL_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Reader<R> {
    input: R,
    buffered: BytesMut,
    /// Files the other side has announced.
    files: AnnouncedFiles,
    assembly: Option<Assembly>,
    answers: Answers,
    intake: Intake,
    asked: Arc<Asked>,
    claimant: Claimant,
    time: TimeLimit,
}

struct Assembly {
    handle: FileHandle,
    chunk: u32,
    len: u32,
    buffer: ChunkBuffer,
    /// Of its memory.
    hold: Arc<Hold>,
    /// When it must be whole.
    end: Time,
    /// Bytes of it that were told, and when.
    told: usize,
    told_at: Time,
}

/// Why a session stops reading.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("closed by the other side")]
    Closed,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("silent for {SILENT_AT_MOST:?}")]
    Silent,
    #[error("a message that is not whole within {WHOLE_WITHIN:?}")]
    LateMessage,
    #[error("a chunk that comes slower than {SLOWEST} bytes per second")]
    TooSlow,
    #[error("slow while others wait for the memory")]
    GaveWay,
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

impl ReadError {
    /// Whether the other side broke the protocol, rather than the connection.
    pub(super) fn is_violation(&self) -> bool {
        match self {
            ReadError::Closed
            | ReadError::Io(_)
            | ReadError::Silent
            | ReadError::LateMessage
            | ReadError::TooSlow
            | ReadError::GaveWay => false,
            ReadError::Frame(_)
            | ReadError::Decode(_)
            | ReadError::UnknownChunk
            | ReadError::Unrequested
            | ReadError::OutOfOrder
            | ReadError::BadGeometry => true,
        }
    }
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(
        input: R,
        buffered: BytesMut,
        answers: Answers,
        intake: Intake,
        asked: Arc<Asked>,
        claimant: Claimant,
        time: TimeLimit,
    ) -> Reader<R> {
        let files = AnnouncedFiles::default();
        Reader { input, buffered, files, assembly: None, answers, intake, asked, claimant, time }
    }

    /// Reads on for nothing, until the other side has closed.
    pub(super) async fn discard(mut self) {
        self.assembly = None;
        loop {
            self.buffered.clear();
            self.buffered.reserve(READ_MOST);
            match self.input.read_buf(&mut self.buffered).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    pub(super) async fn run(&mut self, report: &Reports) -> Result<Infallible, ReadError> {
        loop {
            self.answers.backlog.has_room().await;
            let head = self.head().await?;
            self.buffered.advance(head.head_len());
            match head {
                FrameHead::Message { len } => self.message(len, report).await?,
                FrameHead::Data { file, chunk, offset, len } => {
                    self.data(file, chunk, offset, len, report).await?
                }
            }
        }
    }

    async fn head(&mut self) -> Result<FrameHead, ReadError> {
        let mut end = None;
        loop {
            if let Some(head) = FrameHead::parse(&self.buffered, MAX_FRAME_LEN)? {
                return Ok(head);
            }
            if !self.buffered.is_empty() {
                end.get_or_insert_with(|| self.time.now() + WHOLE_WITHIN);
            }
            self.read_more(READ_LEN, end).await?;
        }
    }

    /// Some bytes, of which so many are missing, in time for the chunk that is under way and for
    /// the message, which is to be whole at `end`.
    async fn read_more(&mut self, missing: usize, end: Option<Time>) -> Result<(), ReadError> {
        self.buffered.reserve(missing.clamp(READ_LEN, READ_MOST));
        let chunk = self.assembly.as_ref();
        let chunk_end = chunk.map(|assembly| assembly.end);
        let first_end = end.into_iter().chain(chunk_end).min();
        let reading = self.input.read_buf(&mut self.buffered);
        let read = tokio::select! {
            biased;
            read = self.time.within_until(SILENT_AT_MOST, first_end, reading) => read,
            () = has_to_leave(chunk) => return Err(ReadError::GaveWay),
        };
        let is_over = |end: Option<Time>| end.is_some_and(|end| end <= self.time.now());
        match read {
            Err(Elapsed) if is_over(end) => Err(ReadError::LateMessage),
            Err(Elapsed) if is_over(chunk_end) => Err(ReadError::TooSlow),
            Err(Elapsed) => Err(ReadError::Silent),
            Ok(Ok(0)) => Err(ReadError::Closed),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
        }
    }

    async fn message(&mut self, len: usize, report: &Reports) -> Result<(), ReadError> {
        if len > SHORT {
            return self.long_message(len, report).await;
        }
        self.read_whole(len, None).await?;
        if let Some(message) = self.decoded(len)? {
            report.send(SessionEvent::Message(message)).await;
        }
        Ok(())
    }

    /// A message that is read only when there is memory for it; one that is of no interest is not
    /// kept at all.
    async fn long_message(&mut self, len: usize, report: &Reports) -> Result<(), ReadError> {
        let kind = MessageKind::of(self.buffered.first_chunk());
        if let MessageKind::Ignored { unknown } = kind {
            self.skip(len).await?;
            unknown
                .into_iter()
                .for_each(|number| self.answers.send(PeerMessage::Unsupported { message: number }));
            return Ok(());
        }
        let admission = self.intake.long_messages.admit(len, &self.claimant);
        let share = told(admission, &self.answers, report).await;
        // All of it at once: memory that grows step by step leaves holes behind.
        let mut whole = BytesMut::with_capacity(len + READ_LEN);
        whole.extend_from_slice(&self.buffered);
        self.buffered = whole;
        tokio::select! {
            result = self.read_whole(len, Some(share.hold())) => result?,
            () = share.hold().has_to_leave() => return Err(ReadError::GaveWay),
        }
        let message = self.decoded(len);
        // The memory that it was read into must not stay with the connection.
        self.buffered = BytesMut::from(&self.buffered[..]);
        if let Some(message) = message? {
            report.send(SessionEvent::LongMessage(Box::new((message, share)))).await;
        }
        Ok(())
    }

    async fn read_whole(&mut self, len: usize, hold: Option<&Hold>) -> Result<(), ReadError> {
        let mut end = None;
        while self.buffered.len() < len {
            end.get_or_insert_with(|| self.time.now() + WHOLE_WITHIN);
            self.read_more(len - self.buffered.len(), end).await?;
            if let Some(hold) = hold {
                hold.received(self.buffered.len());
            }
        }
        Ok(())
    }

    /// Reads past so many bytes.
    async fn skip(&mut self, len: usize) -> Result<(), ReadError> {
        let (mut left, end) = (len, Some(self.time.now() + WHOLE_WITHIN));
        loop {
            let here = left.min(self.buffered.len());
            self.buffered.advance(here);
            left -= here;
            if left == 0 {
                return Ok(());
            }
            self.read_more(READ_LEN, end).await?;
        }
    }

    /// The message in the next bytes, if the engine is to hear of it; answers those that need no
    /// decision.
    fn decoded(&mut self, len: usize) -> Result<Option<PeerMessage>, ReadError> {
        let message = match decode(&self.buffered.split_to(len)) {
            Ok(message) => message,
            Err(DecodeError::UnknownMessage { number }) => {
                self.answers.send(PeerMessage::Unsupported { message: number });
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        match &message {
            PeerMessage::Ping { nonce } => {
                self.answers.send(PeerMessage::Pong { nonce: *nonce });
                return Ok(None);
            }
            PeerMessage::Info(_)
            | PeerMessage::InfoNotFound { .. }
            | PeerMessage::Unsupported { .. }
            | PeerMessage::Extension { .. } => return Ok(None),
            PeerMessage::InfoRequest { .. } => self.answers.backlog.note_question(),
            PeerMessage::Open(open) => {
                let chunk_size =
                    ChunkSize::new(open.chunk_size).map_err(|_| ReadError::BadGeometry)?;
                let geometry =
                    Geometry::new(open.size, chunk_size).map_err(|_| ReadError::BadGeometry)?;
                let hash = FileHash::from_bytes(open.hash);
                let destinations = &self.intake.destinations;
                let is_wanted = |file: &Announced| destinations.has(file.hash, &file.geometry);
                self.files.open(open.file, Announced { hash, geometry }, is_wanted);
            }
            PeerMessage::Close { file } => self.files.close(*file),
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

    /// There is no more to come of what was asked for.
    fn settle(&self, handle: FileHandle, chunk: u32) {
        if let Some(content) = self.files.get(handle) {
            self.asked.settle(content, chunk);
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
        report: &Reports,
    ) -> Result<(), ReadError> {
        let mut assembly = match self.assembly.take() {
            Some(assembly) => assembly,
            None => self.begin(handle, chunk, report).await?,
        };
        let filled = assembly.buffer.bytes().len();
        if (assembly.handle, assembly.chunk) != (handle, chunk) || filled != offset as usize {
            return Err(ReadError::OutOfOrder);
        }
        if offset + len > assembly.len {
            return Err(ReadError::UnknownChunk);
        }
        self.fill(&mut assembly, filled + len as usize, report).await?;
        assembly.hold.received(assembly.buffer.bytes().len());
        let bytes = assembly.untold();
        if assembly.buffer.bytes().len() == assembly.len as usize {
            self.arrived(handle, chunk, bytes, assembly.buffer, report).await;
        } else {
            self.tell(&mut assembly, report).await;
            self.assembly = Some(assembly);
        }
        Ok(())
    }

    async fn arrived(
        &mut self,
        handle: FileHandle,
        chunk: u32,
        last_part: u32,
        buffer: ChunkBuffer,
        report: &Reports,
    ) {
        self.settle(handle, chunk);
        let quick = match self.files.get(handle) {
            Some(Announced { hash, geometry }) => self.intake.quick(*hash, geometry, chunk, buffer),
            None => Err(buffer),
        };
        let (body, quick) = match quick {
            Ok(quick) => (ChunkBody::WrittenBySession, Some(quick)),
            Err(buffer) => (ChunkBody::InMemory(buffer), None),
        };
        // First, so that the engine knows of the chunk when it hears what became of it.
        report.send(SessionEvent::ChunkArrived { handle, chunk, last_part, body }).await;
        if let Some(quick) = quick {
            self.intake.take_in(quick, report);
        }
    }

    async fn begin(
        &mut self,
        handle: FileHandle,
        chunk: u32,
        report: &Reports,
    ) -> Result<Assembly, ReadError> {
        let content = self.files.get(handle).ok_or(ReadError::UnknownChunk)?;
        let geometry = &content.geometry;
        let len = geometry.chunk_len(geometry.chunk(chunk).ok_or(ReadError::UnknownChunk)?);
        let cancelled = self.asked.find(content, chunk).ok_or(ReadError::Unrequested)?;
        let taking = self.intake.buffers.take(len, &self.claimant, cancelled);
        let buffer = told(taking, &self.answers, report).await;
        let end = self.time.now() + CHUNK_PATIENCE + Duration::from_secs((len / SLOWEST).into());
        let hold = Arc::clone(buffer.hold());
        let told_at = self.time.now();
        Ok(Assembly { handle, chunk, len, buffer, hold, end, told: 0, told_at })
    }

    /// Tells the engine what has come of the chunk.
    async fn tell(&mut self, assembly: &mut Assembly, report: &Reports) {
        let bytes = assembly.untold();
        (assembly.told, assembly.told_at) = (assembly.buffer.bytes().len(), self.time.now());
        report.send(SessionEvent::DataReceived { bytes }).await;
    }

    /// Reads until the buffer holds `until` bytes.
    async fn fill(
        &mut self,
        assembly: &mut Assembly,
        until: usize,
        report: &Reports,
    ) -> Result<(), ReadError> {
        let wanted = until - assembly.buffer.bytes().len();
        let early = self.buffered.split_to(wanted.min(self.buffered.len()));
        assembly.buffer.bytes_mut().extend_from_slice(&early);
        while assembly.buffer.bytes().len() < until {
            let room = until - assembly.buffer.bytes().len();
            let mut place = (&mut *assembly.buffer.bytes_mut()).limit(room);
            let reading = self.input.read_buf(&mut place);
            let read = tokio::select! {
                biased;
                read = self.time.within_until(CHUNK_PATIENCE, Some(assembly.end), reading) => read,
                () = assembly.hold.has_to_leave() => return Err(ReadError::GaveWay),
            };
            match read {
                Err(Elapsed) => return Err(ReadError::TooSlow),
                Ok(Ok(0)) => return Err(ReadError::Closed),
                Ok(Ok(_)) => assembly.hold.received(assembly.buffer.bytes().len()),
                Ok(Err(error)) => return Err(error.into()),
            }
            let is_whole = assembly.buffer.bytes().len() >= until;
            if !is_whole && self.time.now() - assembly.told_at >= TELL_EVERY {
                self.tell(assembly, report).await;
            }
        }
        Ok(())
    }
}

impl Assembly {
    /// Bytes that came since the last were told.
    fn untold(&self) -> u32 {
        u32::try_from(self.buffer.bytes().len().saturating_sub(self.told)).unwrap_or(u32::MAX)
    }
}

/// What a long message is good for.
enum MessageKind {
    Wanted,
    /// Nothing, and perhaps its number is unknown.
    Ignored {
        unknown: Option<u32>,
    },
}

impl MessageKind {
    /// By its number, with which it begins.
    fn of(number: Option<&[u8; 4]>) -> MessageKind {
        let number = number.map_or(0, |number| u32::from_le_bytes(*number));
        let name = usize::try_from(number).ok().and_then(|number| PeerMessage::NAMES.get(number));
        match name.copied() {
            None => MessageKind::Ignored { unknown: Some(number) },
            Some("Info" | "Extension") => MessageKind::Ignored { unknown: None },
            Some(_) => MessageKind::Wanted,
        }
    }
}

/// Until others need the memory of the chunk more; never without one.
async fn has_to_leave(chunk: Option<&Assembly>) {
    match chunk {
        Some(assembly) => assembly.hold.has_to_leave().await,
        None => std::future::pending().await,
    }
}

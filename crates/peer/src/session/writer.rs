//! Orders in, bytes out. Messages go before chunk data; data goes in parts, so that a message waits for one at most.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tnet_fileinfo::ChunkIndex;
use tnet_proto::{ByeReason, MAX_DATA_LEN, PeerMessage, data_header, encode};
use tnet_swarm::{FileKey, UploadEnd};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{BYE_AT_MOST, Order, PING_AFTER, Reports, SessionEvent, Upload};
use crate::source::Source;
use crate::store::{self, FileStore};

/// Bytes of a chunk sent at once.
const PART_LEN: u32 = 256 * 1024;
const _: () = assert!(PART_LEN as usize <= MAX_DATA_LEN);

/// The other side must take what is written within this time, or it does not read.
const WRITE_AT_MOST: Duration = Duration::from_secs(60);

pub(super) struct Writer<W> {
    output: W,
    orders: mpsc::Receiver<Order>,
    messages: BytesMut,
    uploads: VecDeque<Sending>,
    closing: Option<ByeReason>,
    /// The memory of one part, header included.
    part: Vec<u8>,
    pings: u64,
}

struct Sending {
    upload: Upload,
    sent: u32,
}

/// Why a session stops writing.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the other side has not read for {WRITE_AT_MOST:?}")]
    NotRead,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub(super) fn new(output: W, orders: mpsc::Receiver<Order>) -> Writer<W> {
        let (messages, uploads) = (BytesMut::new(), VecDeque::new());
        Writer { output, orders, messages, uploads, closing: None, part: Vec::new(), pings: 0 }
    }

    pub(super) async fn run(mut self, report: &Reports) -> Result<(), WriteError> {
        loop {
            while let Ok(order) = self.orders.try_recv() {
                self.take(order, report).await;
            }
            if let Some(reason) = self.closing {
                return self.say_bye(reason).await;
            }
            if !self.messages.is_empty() {
                let messages = self.messages.split();
                self.write(&messages).await?;
            } else if let Some(sending) = self.uploads.pop_front() {
                self.send_part(sending, report).await?;
            } else {
                match timeout(PING_AFTER, self.orders.recv()).await {
                    Ok(Some(order)) => self.take(order, report).await,
                    // The engine has let go of us without a word.
                    Ok(None) => return Ok(()),
                    Err(_) => self.ping(),
                }
            }
        }
    }

    async fn take(&mut self, order: Order, report: &Reports) {
        match order {
            Order::Send(message) => encode(&message, &mut self.messages),
            Order::Upload(upload) => self.uploads.push_back(Sending { upload, sent: 0 }),
            Order::StopUpload { file, chunk } => self.stop(file, chunk, report).await,
            Order::Close(reason) => self.closing = Some(reason),
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
        timeout(BYE_AT_MOST, farewell).await.map_err(|_| WriteError::NotRead)?.map_err(WriteError::Io)
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        match timeout(WRITE_AT_MOST, self.output.write_all(bytes)).await {
            Err(_) => Err(WriteError::NotRead),
            Ok(result) => Ok(result?),
        }
    }

    /// Sends the next part of the chunk in front.
    async fn send_part(&mut self, mut sending: Sending, report: &Reports) -> Result<(), WriteError> {
        let Upload { file, chunk, len, source, spares } = &sending.upload;
        let (file, chunk, offset) = (*file, *chunk, sending.sent);
        let part_len = (len - offset).min(PART_LEN);
        let mut part = std::mem::take(&mut self.part);
        part.clear();
        part.extend_from_slice(&data_header(file.handle(), chunk.get(), offset, part_len));
        let header_len = part.len();
        part.resize(header_len + part_len as usize, 0);
        let (source, spares) = (source.clone(), spares.clone());
        let read = tokio::task::spawn_blocking(move || {
            let result = read_somewhere(&source, &spares, chunk, offset, &mut part[header_len..]);
            (part, result)
        });
        let (part, result) = read.await.map_err(io::Error::other)?;
        self.part = part;
        if let Err(error) = result {
            self.give_up(file, chunk, Some(error), report).await;
            return Ok(());
        }
        let part = std::mem::take(&mut self.part);
        let written = self.write(&part).await;
        self.part = part;
        written?;
        sending.sent += part_len;
        if sending.sent == sending.upload.len {
            let end = UploadEnd::Sent;
            report.send(SessionEvent::UploadEnded { file, chunk, end, failed: None }).await;
        } else {
            self.uploads.push_front(sending);
        }
        Ok(())
    }

    async fn stop(&mut self, file: FileKey, chunk: ChunkIndex, report: &Reports) {
        let at = self
            .uploads
            .iter()
            .position(|sending| sending.upload.file == file && sending.upload.chunk == chunk);
        if at.and_then(|at| self.uploads.remove(at)).is_some() {
            self.give_up(file, chunk, None, report).await;
        }
    }

    async fn give_up(
        &mut self,
        file: FileKey,
        chunk: ChunkIndex,
        failed: Option<store::ReadError>,
        report: &Reports,
    ) {
        encode(&PeerMessage::Stopped { file: file.handle(), chunk: chunk.get() }, &mut self.messages);
        report.send(SessionEvent::UploadEnded { file, chunk, end: UploadEnd::Stopped, failed }).await;
    }
}

/// From the source, or from a spare if the source fails; then the source's error is no news.
fn read_somewhere(
    source: &Source,
    spares: &[Arc<FileStore>],
    chunk: ChunkIndex,
    offset: u32,
    buf: &mut [u8],
) -> Result<(), store::ReadError> {
    source.read(chunk, offset, buf).or_else(|error| {
        let mut spares = spares.iter();
        spares.find_map(|spare| spare.read_chunk_part(chunk, offset, buf).ok()).ok_or(error)
    })
}

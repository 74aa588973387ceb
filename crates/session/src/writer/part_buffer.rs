//! What is written next, in one piece: the end of a part, messages, the header of another part, and
//! its bytes unless they go by zero copy.

use std::time::Duration;
use std::{io, mem};

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::super::Upload;
use super::super::zero_copy::read_with_spares;
use super::PartError;

/// A connection that has sent a chunk may send another one soon: it keeps the memory of a part for
/// this time.
pub(super) const REUSE_WITHIN: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct PartBuffer {
    bytes: Vec<u8>,
    /// When a part was last read into it.
    used_at: Option<Instant>,
}

impl PartBuffer {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The bytes, for a writer that sends them ahead of others.
    pub(super) fn head(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Writes all bytes; the buffer is empty then.
    pub(super) async fn write_to(
        &mut self,
        output: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        output.write_all(&self.bytes).await?;
        self.bytes.clear();
        Ok(())
    }

    /// Appends `header` and `len` bytes of the chunk from `offset`; nothing, if they cannot be
    /// read.
    #[expect(clippy::indexing_slicing, reason = "the memory was made longer just before")]
    pub(super) async fn read_part(
        &mut self,
        header: &[u8],
        upload: &Upload,
        offset: u32,
        len: u32,
    ) -> Result<(), PartError> {
        self.used_at = Some(Instant::now());
        let mut bytes = mem::take(&mut self.bytes);
        let before = bytes.len();
        bytes.extend_from_slice(header);
        let start = bytes.len();
        bytes.resize(start + len as usize, 0);
        let chunk = upload.chunk;
        let mut result = Ok(());
        // Bytes in the page cache are read before another thread would have woken up.
        let read = upload.source.read_at_once(chunk, offset, &mut bytes[start..]);
        if !matches!(read, Some(Ok(()))) {
            let (source, spares) = (upload.source.clone(), upload.spares.clone());
            let reading = tokio::task::spawn_blocking(move || {
                let result = read_with_spares(&source, &spares, chunk, offset, &mut bytes[start..]);
                (bytes, result)
            });
            (bytes, result) = reading.await.map_err(io::Error::other)?;
        }
        if result.is_err() {
            bytes.truncate(before);
        }
        self.bytes = bytes;
        result.map_err(PartError::Unreadable)
    }

    /// Whether memory is kept for another part.
    pub(super) fn is_kept(&self) -> bool {
        self.used_at.is_some()
    }

    /// Frees the memory if no part was read into it lately.
    pub(super) fn free_if_unused(&mut self) {
        if self.used_at.is_some_and(|used_at| used_at.elapsed() >= REUSE_WITHIN) {
            *self = PartBuffer::default();
        }
    }
}

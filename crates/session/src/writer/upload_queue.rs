//! The chunks to send, in the order in which they were ordered. The one in front is sent part by
//! part.

use std::collections::VecDeque;

use tnet_fileinfo::ChunkIndex;
use tnet_proto::{FileKey, PART_LEN};

use super::super::Upload;

#[derive(Default)]
pub(super) struct UploadQueue {
    chunks: VecDeque<PartialUpload>,
}

/// A chunk of which the first `sent` bytes are written.
pub(super) struct PartialUpload {
    pub(super) upload: Upload,
    pub(super) sent: u32,
}

impl UploadQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(super) fn push(&mut self, upload: Upload) {
        self.chunks.push_back(PartialUpload { upload, sent: 0 });
    }

    pub(super) fn push_front(&mut self, sending: PartialUpload) {
        self.chunks.push_front(sending);
    }

    pub(super) fn pop(&mut self) -> Option<PartialUpload> {
        self.chunks.pop_front()
    }

    /// Bytes of the next part of the chunk in front.
    pub(super) fn next_part_len(&self) -> Option<u32> {
        self.chunks.front().map(|sending| (sending.upload.len - sending.sent).min(PART_LEN))
    }

    /// Whether the chunk was there.
    pub(super) fn remove(&mut self, file: FileKey, chunk: ChunkIndex) -> bool {
        let is_it =
            |sending: &PartialUpload| sending.upload.file == file && sending.upload.chunk == chunk;
        let at = self.chunks.iter().position(is_it);
        at.and_then(|at| self.chunks.remove(at)).is_some()
    }
}

impl PartialUpload {
    pub(super) fn is_complete(&self) -> bool {
        self.sent == self.upload.len
    }
}

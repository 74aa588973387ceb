//! The application's end of a pipe, a model of the session's writer. Messages go before chunks; a
//! chunk goes in parts, of which the host writes a few at a time; the next write begins when the
//! kernel has sent all but a little of the last one.

use tnet_proto::UploadEnd;
use tnet_proto::{FileHandle, MAX_DATA_LEN, PeerMessage};

use super::pipe::{EndState, Parcel, PipeId, QueuedUpload, Taint, Wrapped};
use super::{Network, UploadEnded};
use crate::event::SimEvent;
use crate::queue::Queue;
use crate::units::number;
use crate::wire::{PART_HEADER_LEN, message_len};

impl Network {
    pub(crate) fn send_message(
        &mut self,
        queue: &mut Queue<SimEvent>,
        pipe: PipeId,
        message: PeerMessage,
    ) {
        let state = &mut self.pipes[pipe.index()];
        if !matches!(state.end, EndState::Open | EndState::Closing) {
            return;
        }
        self.messages.push(&mut state.messages, message);
        self.write(pipe);
        self.await_turn(queue, pipe);
    }

    /// Sends a chunk; its end is reported. False if there is no connection.
    pub(crate) fn upload(
        &mut self,
        queue: &mut Queue<SimEvent>,
        pipe: PipeId,
        chunk: u32,
        len: u32,
        taint: Taint,
    ) -> bool {
        let state = &mut self.pipes[pipe.index()];
        if state.end != EndState::Open {
            return false;
        }
        self.uploads.push(&mut state.uploads, QueuedUpload { chunk, len, written: 0, taint });
        self.write(pipe);
        self.await_turn(queue, pipe);
        true
    }

    /// Stops sending a chunk at the next part; nothing happens if its last part has been written.
    pub(crate) fn stop_upload(
        &mut self,
        queue: &mut Queue<SimEvent>,
        pipe: PipeId,
        chunk: u32,
        file: FileHandle,
    ) {
        let state = &mut self.pipes[pipe.index()];
        if self.uploads.remove(&mut state.uploads, |upload| upload.chunk == chunk).is_some() {
            self.ended.push(UploadEnded { pipe, chunk, end: UploadEnd::Stopped });
            self.send_message(queue, pipe, PeerMessage::Stopped { file, chunk });
        }
    }

    /// Sends a few bytes of a chunk, for hosts that never send a whole one.
    pub(crate) fn drip(&mut self, queue: &mut Queue<SimEvent>, pipe: PipeId, chunk: u32, len: u32) {
        let part = Parcel::Part { chunk, len, is_last: false, taint: Taint::Genuine };
        if self.is_open(pipe) {
            self.commit(pipe, u64::from(len + PART_HEADER_LEN), part);
            self.await_turn(queue, pipe);
        }
    }

    /// Writes as much as the socket accepts.
    pub(super) fn write(&mut self, pipe: PipeId) {
        loop {
            let state = &mut self.pipes[pipe.index()];
            if state.end == EndState::Closed {
                return;
            }
            if state.unsent() == 0 {
                if let Some(chunk) = state.finishing.take() {
                    self.ended.push(UploadEnded { pipe, chunk, end: UploadEnd::Sent });
                }
                self.end_turn(pipe);
            }
            let state = &self.pipes[pipe.index()];
            if state.unsent() > self.unsent_at_most(state.from) {
                return;
            }
            let state = &mut self.pipes[pipe.index()];
            if let Some(message) = self.messages.pop(&mut state.messages) {
                let len = message_len(&message);
                self.traffic.count(&message, len);
                self.commit(pipe, len, Parcel::Message(message));
            } else if state.end == EndState::Closing {
                state.end = EndState::Closed;
                self.commit(pipe, 1, Parcel::Close);
            } else if !self.write_part(pipe) {
                return;
            }
        }
    }

    fn write_part(&mut self, pipe: PipeId) -> bool {
        let state = &self.pipes[pipe.index()];
        if state.is_leaving || self.uploads.front(state.uploads).is_none() || !self.take_turn(pipe)
        {
            return false;
        }
        let state = &mut self.pipes[pipe.index()];
        let Some(upload) = self.uploads.front_mut(state.uploads) else { return false };
        state.is_leaving = true;
        let len =
            (upload.len - upload.written).min(self.model.part_bytes.min(number(MAX_DATA_LEN)));
        upload.written += len;
        let (chunk, taint, is_last) = (upload.chunk, upload.taint, upload.written == upload.len);
        if is_last {
            self.uploads.pop(&mut state.uploads);
            state.finishing = Some(chunk);
        }
        let from = state.from;
        self.port_mut(from).used.content_bytes += u64::from(len);
        self.traffic.parts += 1;
        self.traffic.part_bytes += u64::from(len);
        self.traffic.part_header_bytes += u64::from(PART_HEADER_LEN);
        self.commit(
            pipe,
            u64::from(len + PART_HEADER_LEN),
            Parcel::Part { chunk, len, is_last, taint },
        );
        true
    }

    fn commit(&mut self, pipe: PipeId, len: u64, parcel: Parcel) {
        let state = &mut self.pipes[pipe.index()];
        state.written += len;
        self.parcels.push(&mut state.stream, Wrapped { ends_at: state.written, parcel });
    }
}

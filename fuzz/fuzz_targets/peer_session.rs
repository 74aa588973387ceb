//! Any bytes from a peer after its hello, cut anywhere: the engine receives exactly the messages,
//! chunks are whole and of an announced file, and no more memory is used than the budget for chunks
//! and some frames.

#![no_main]

use std::collections::VecDeque;

use libfuzzer_sys::fuzz_target;
use tnet_fileinfo::{ChunkSize, Geometry, MAX_CHUNK_SIZE};
use tnet_fuzz::memory::in_use;
use tnet_fuzz::pieces::{InPieces, block_on};
use tnet_proto::{DecodeError, FileHandle, FrameHead, MAX_FRAME_LEN, PeerMessage, decode};
use tnet_session::fuzzing::{Heard, listen_to};

/// Files that are remembered: none is downloaded here.
const FILES: usize = 64;

/// A longer message of no interest is not looked into.
const SHORT: usize = 4096;

/// The buffer of a frame, which doubles as it grows, and what waits in the queues.
const BESIDE_CHUNKS: usize = 4 * MAX_FRAME_LEN;

fuzz_target!(|data: &[u8]| {
    let [first_len, second_len, stream @ ..] = data else { return };
    let mut expected = by_hand(stream);
    let before = in_use();
    let (mut heard, mut most) = (0, 0);
    let input = InPieces::new(stream, [*first_len, *second_len]);
    let is_violation = block_on(listen_to(input, MAX_CHUNK_SIZE.into(), |event| {
        most = most.max(in_use().saturating_sub(before));
        assert_eq!(expected.events.get(heard), Some(&event), "what was said");
        heard += 1;
    }));
    let allowed = MAX_CHUNK_SIZE as usize + BESIDE_CHUNKS + 4 * stream.len();
    assert!(most <= allowed, "{most} bytes in use for {} received", stream.len());
    expected.events.truncate(heard);
    assert_eq!((heard, is_violation), (expected.count, expected.is_violation));
});

/// What a stream says, read by hand.
#[derive(Debug, Default)]
struct Said {
    events: Vec<Heard>,
    count: usize,
    is_violation: bool,
}

/// The last files that were announced, each under its last number.
type Files = VecDeque<(FileHandle, ([u8; 32], Geometry))>;

/// A chunk of which some parts are there.
#[derive(Debug)]
struct Part {
    handle: FileHandle,
    chunk: u32,
    /// As the file was cut when the chunk began; it may be announced anew meanwhile.
    len: u32,
    bytes: Vec<u8>,
}

fn by_hand(mut stream: &[u8]) -> Said {
    let mut said = Said::default();
    let mut files = Files::new();
    let mut part: Option<Part> = None;
    loop {
        let head = match FrameHead::parse(stream, MAX_FRAME_LEN) {
            Ok(Some(head)) => head,
            Ok(None) => break,
            Err(_) => {
                said.is_violation = true;
                break;
            }
        };
        let rest = &stream[head.head_len()..];
        let outcome = match head {
            FrameHead::Message { len } => {
                let Some(body) = rest.get(..len) else { break };
                message(body, &mut files, &mut part, &mut said)
            }
            FrameHead::Data { file, chunk, offset, len } => {
                let body = rest.get(..len as usize);
                match data(&files, &mut part, (file, chunk, offset, len), body, &mut said) {
                    Some(true) => break,
                    Some(false) => Some(()),
                    None => None,
                }
            }
        };
        if outcome.is_none() {
            said.is_violation = true;
            break;
        }
        stream = &rest[head.body_len()..];
    }
    said.count = said.events.len();
    said
}

/// None: a violation.
fn message(body: &[u8], files: &mut Files, part: &mut Option<Part>, said: &mut Said) -> Option<()> {
    // An `Info` or an `Extension`.
    if body.len() > SHORT && matches!(body[..4], [14 | 21, 0, 0, 0]) {
        return Some(());
    }
    let message = match decode::<PeerMessage>(body) {
        Ok(
            PeerMessage::Ping { .. }
            | PeerMessage::Info(_)
            | PeerMessage::InfoNotFound { .. }
            | PeerMessage::Unsupported { .. }
            | PeerMessage::Extension { .. },
        ) => return Some(()),
        Err(DecodeError::UnknownMessage { .. }) => return Some(()),
        Ok(message) => message,
        Err(_) => return None,
    };
    match &message {
        PeerMessage::Open(open) => {
            let geometry = Geometry::new(open.size, ChunkSize::new(open.chunk_size).ok()?).ok()?;
            let file = (open.hash, geometry);
            files.retain(|(handle, known)| *handle != open.file && *known != file);
            files.push_back((open.file, file));
            if files.len() > FILES {
                files.pop_front();
            }
        }
        PeerMessage::Close { file } => {
            files.retain(|(handle, _)| handle != file);
        }
        PeerMessage::Stopped { file, chunk } => {
            part.take_if(|part| (part.handle, part.chunk) == (*file, *chunk));
        }
        _ => {}
    }
    said.events.push(Heard::Message(message));
    Some(())
}

/// None: a violation. Otherwise whether the stream ends within the part.
fn data(
    files: &Files,
    part: &mut Option<Part>,
    (handle, chunk, offset, len): (FileHandle, u32, u32, u32),
    body: Option<&[u8]>,
    said: &mut Said,
) -> Option<bool> {
    let mut current = match part.take() {
        Some(part) => part,
        None => {
            let (_, (_, geometry)) = files.iter().find(|(known, _)| *known == handle)?;
            let len = geometry.chunk_len(geometry.chunk(chunk)?);
            Part { handle, chunk, len, bytes: Vec::new() }
        }
    };
    if (current.handle, current.chunk, current.bytes.len()) != (handle, chunk, offset as usize) {
        return None;
    }
    if offset + len > current.len {
        return None;
    }
    let Some(body) = body else { return Some(true) };
    current.bytes.extend_from_slice(body);
    said.events.push(Heard::Data(len));
    if current.bytes.len() == current.len as usize {
        said.events.push(Heard::Chunk { handle, chunk, bytes: current.bytes });
    } else {
        *part = Some(current);
    }
    Some(false)
}

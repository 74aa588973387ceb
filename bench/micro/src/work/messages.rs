//! The wire format.

use std::hint::black_box;

use bytes::BytesMut;
use tnet_proto::{
    FileHandle, FrameHead, MAX_FRAME_LEN, PREFIX_LEN, PeerMessage, data_header, decode, encode,
};

use super::Step;

pub(crate) fn codec() -> Step {
    let message = PeerMessage::Have {
        file: FileHandle(1),
        chunks: (0..16).map(|chunk| chunk * 97).collect(),
    };
    let mut wire = BytesMut::new();
    Box::new(move || {
        wire.clear();
        encode(&message, &mut wire);
        let read: PeerMessage = decode(&wire[PREFIX_LEN..]).expect("it was just encoded");
        u64::from(matches!(read, PeerMessage::Have { .. }))
    })
}

pub(crate) fn data_head() -> Step {
    let mut chunk = 0;
    Box::new(move || {
        chunk = (chunk + 1) % 8192;
        let head = black_box(data_header(FileHandle(1), chunk, 0, 65_536));
        match FrameHead::parse(&head, MAX_FRAME_LEN) {
            Ok(Some(FrameHead::Data { chunk, .. })) => u64::from(chunk),
            other => panic!("the head of data was read as {other:?}"),
        }
    })
}

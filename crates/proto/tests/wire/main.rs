//! The wire as a whole, through the public API only.

mod document;
mod frames;
mod golden;
mod hostile;
mod round_trip;
mod samples;
mod strategies;

#[cfg(feature = "codec")]
mod codec;

use bytes::BytesMut;
use tnet_proto::{PREFIX_LEN, WireMessage, encode};

/// The encoded message without its length prefix.
fn body_of<M: WireMessage>(message: &M) -> Vec<u8> {
    frame_of(message).split_off(PREFIX_LEN)
}

/// The encoded message as it goes over the wire.
fn frame_of<M: WireMessage>(message: &M) -> Vec<u8> {
    let mut frame = BytesMut::new();
    encode(message, &mut frame);
    frame.to_vec()
}

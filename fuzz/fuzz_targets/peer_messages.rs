//! Any bytes as messages between peers, cut anywhere: the codec reads the same as a reference
//! reader, messages are within their limits and have the same bytes when they are encoded again,
//! and nothing is allocated beyond a frame or based on a length field alone.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tnet_fuzz::messages::check_stream;
use tnet_proto::{
    Holdings, MAX_BITMAP_LEN, MAX_DATA_LEN, MAX_EXTENSION_LEN, MAX_HAVE_CHUNKS, MAX_HOLDERS,
    MAX_INFO_SUMS, MAX_TAIL_LEAF, MAX_TAIL_PATH, PeerMessage,
};

fuzz_target!(|data: &[u8]| check_stream(data, is_within_limits));

fn is_within_limits(message: &PeerMessage) -> bool {
    match message {
        PeerMessage::Open(open) => match &open.holdings {
            Holdings::Full => true,
            Holdings::Bitmap(bits) => bits.len() <= MAX_BITMAP_LEN,
        },
        PeerMessage::Have { chunks, .. } => chunks.len() <= MAX_HAVE_CHUNKS,
        PeerMessage::Data { bytes, .. } => (1..=MAX_DATA_LEN).contains(&bytes.0.len()),
        PeerMessage::Info(info) => {
            info.tail_leaf.len() <= MAX_TAIL_LEAF
                && info.tail_path.len() <= MAX_TAIL_PATH
                && info.sums.len() <= MAX_INFO_SUMS
        }
        PeerMessage::Peers { peers, .. } => peers.len() <= MAX_HOLDERS,
        PeerMessage::Extension { body, .. } => body.len() <= MAX_EXTENSION_LEN,
        _ => true,
    }
}

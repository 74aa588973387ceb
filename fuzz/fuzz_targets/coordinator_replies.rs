//! Any bytes as what the coordinator says, cut anywhere: the codec reads what a reader by hand
//! does, what is read keeps its limits and has the same bytes when it is written again, and nothing
//! is reserved beyond a frame or on the word of a length.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tnet_fuzz::messages::check_stream;
use tnet_proto::{CoordinatorReply, MAX_EXTENSION_LEN, MAX_HOLDERS};

fuzz_target!(|data: &[u8]| check_stream(data, is_within_limits));

fn is_within_limits(message: &CoordinatorReply) -> bool {
    match message {
        CoordinatorReply::Holders { holders, .. } => holders.len() <= MAX_HOLDERS,
        CoordinatorReply::Extension { body, .. } => body.len() <= MAX_EXTENSION_LEN,
        _ => true,
    }
}

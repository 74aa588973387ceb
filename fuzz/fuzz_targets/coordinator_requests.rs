//! Any bytes as messages of peers to the coordinator, cut anywhere: the codec reads the same as a
//! reference reader, messages are within their limits and have the same bytes when they are encoded
//! again, and nothing is allocated beyond a frame or based on a length field alone.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tnet_fuzz::messages::check_stream;
use tnet_proto::{CoordinatorRequest, MAX_EXTENSION_LEN, MAX_HOLDERS, MAX_REPORT_ENTRIES};

fuzz_target!(|data: &[u8]| check_stream(data, is_within_limits));

fn is_within_limits(message: &CoordinatorRequest) -> bool {
    match message {
        CoordinatorRequest::Report { entries, .. } => entries.len() <= MAX_REPORT_ENTRIES,
        CoordinatorRequest::Extension { body, .. } => body.len() <= MAX_EXTENSION_LEN,
        CoordinatorRequest::Calls { results } => results.len() <= MAX_HOLDERS,
        _ => true,
    }
}

//! Any bytes as what peers say to the coordinator, cut anywhere: the codec reads what a reader by
//! hand does, what is read keeps its limits and has the same bytes when it is written again, and
//! nothing is reserved beyond a frame or on the word of a length.

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

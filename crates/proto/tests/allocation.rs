//! Decoding allocates in proportion to the bytes received, not to the lengths they claim. Alone in
//! its process: the counts are of the whole process.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tnet_proto::{WireMessage, decode};

#[path = "wire/samples.rs"]
mod samples;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// An address takes 10 bytes on the wire and 32 in memory; nothing else grows as much.
const GROWTH: usize = 4;

/// From hopeless down to lengths that are within each list's own limit.
const CLAIMS: [u64; 9] = [u64::MAX, 1 << 60, 1 << 32, 262_144, 131_072, 65_536, 4_096, 50, 14];

/// Runs it a few times. The test harness has a thread of its own that may allocate meanwhile, which
/// can only add.
fn least_allocated(run: impl Fn() -> bool) -> (usize, bool) {
    let measure = |_| {
        let region = Region::new(ALLOCATOR);
        let outcome = run();
        (region.change().bytes_allocated, outcome)
    };
    (0..3).map(measure).min_by_key(|(allocated, _)| *allocated).expect("three runs")
}

fn assert_bounded<M: WireMessage>(samples: &[(M, &str)]) {
    for (message, golden) in samples {
        let golden = samples::hex(golden);
        for at in 0..golden.len().saturating_sub(7) {
            for claim in CLAIMS {
                let mut body = golden.clone();
                body[at..at + 8].copy_from_slice(&claim.to_le_bytes());
                let (allocated, outcome) = least_allocated(|| decode::<M>(&body).is_ok());
                assert!(
                    allocated <= GROWTH * body.len(),
                    "{message:?} with {claim} at byte {at}: {allocated} bytes for {} received (taken: {outcome})",
                    body.len(),
                );
            }
        }
    }
}

#[test]
fn no_claimed_length_makes_decoding_allocate_beyond_the_bytes_received() {
    assert_bounded(&samples::peer_messages());
    assert_bounded(&samples::coordinator_requests());
    assert_bounded(&samples::coordinator_replies());
}

//! How much memory something reserves. Counted for the whole process, in which nothing else runs
//! meanwhile.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What `run` answers, and how many bytes it asked for in all, given back or not.
pub fn counted<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let region = Region::new(ALLOCATOR);
    let answer = run();
    (answer, region.change().bytes_allocated)
}

/// Bytes that are reserved at the moment.
pub fn in_use() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.saturating_sub(stats.bytes_deallocated)
}

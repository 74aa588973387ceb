//! Measures allocations. They are counted for the whole process, in which nothing else runs
//! meanwhile.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The result of `run`, and how many bytes it allocated in total, freed or not.
pub fn counted<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let region = Region::new(ALLOCATOR);
    let answer = run();
    (answer, region.change().bytes_allocated)
}

/// Bytes allocated now.
pub fn in_use() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.saturating_sub(stats.bytes_deallocated)
}

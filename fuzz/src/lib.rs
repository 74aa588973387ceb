//! Code shared by the fuzz targets. Each target is one file in `fuzz_targets/` and states its
//! invariants there.

pub mod hostile;
pub mod memory;
pub mod messages;
pub mod pieces;
pub mod truth;

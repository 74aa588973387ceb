//! What the fuzz targets share. Each target is one file in `fuzz_targets/` and says there what must
//! hold.

pub mod hostile;
pub mod memory;
pub mod messages;
pub mod pieces;
pub mod truth;

//! How much a tree may have.

/// Entries of a tree at most.
pub const MAX_ENTRIES: u32 = 10_000_000;

/// Bytes of a manifest at most: 1 GiB.
pub const MAX_MANIFEST_LEN: usize = 1 << 30;

/// Bytes of a path, and of the target of a link, at most: what Linux takes without the final NUL.
pub const MAX_PATH_LEN: usize = 4095;

/// Bytes of one component at most: what Linux and most file systems take.
pub const MAX_COMPONENT_LEN: usize = 255;

/// Components of a path at most.
pub const MAX_DEPTH: usize = 256;

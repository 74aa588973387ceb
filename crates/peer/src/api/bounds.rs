//! How much of what is bounded is in use.

use serde::{Deserialize, Serialize};

/// What is in use of what there may be: a number of things, or bytes where the name says so.
///
/// Exhaustive: clients of a server read it from JSON and build it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// In use.
    pub used: u64,
    /// At most.
    pub most: u64,
}

/// The bounds that a person may run into.
///
/// Exhaustive: clients of a server read it from JSON and build it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Connections to peers.
    pub connections: Bound,
    /// Addresses of peers that are remembered.
    pub known_peers: Bound,
    /// Shared files that stay open between two reads.
    pub open_files: Bound,
    /// Files here, of as many as are taken from shared directories; none if no directory is shared.
    pub files: Option<Bound>,
    /// Bytes that arrived and are not in the file yet. When they reach the bound, asking stops.
    pub storing_bytes: Bound,
    /// Bytes of memory for chunks between network and disk. When they are used up, reading stops.
    pub chunk_memory_bytes: Bound,
}

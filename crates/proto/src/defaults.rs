//! Numbers that hold unless a user chooses others.

use std::time::Duration;

/// TCP port of a coordinator.
pub const COORDINATOR_PORT: u16 = 7400;

/// TCP port of a peer.
pub const PEER_PORT: u16 = 7401;

/// Time between two reports of a peer to its coordinator.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(10);

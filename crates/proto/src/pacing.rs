//! How chunks are sent: in parts, from a few connections at a time, with little unsent in the
//! kernel. A session sends by these numbers, and the simulator models it by the same.

use std::time::Duration;

use crate::limits::MAX_DATA_LEN;

/// Bytes of a chunk that are sent at a time. Messages go between such parts.
pub const PART_LEN: u32 = 256 * 1024;
const _: () = assert!(PART_LEN as usize <= MAX_DATA_LEN);

/// Requests without a final answer at one source, those taken back included; with more it is not
/// asked for anything.
pub const MAX_UNANSWERED: usize = 32;

/// Sessions that write parts of chunks to their sockets at the same time. A chunk that waits here
/// lets messages pass and leaves as soon as the network is free; in the kernel it would do neither.
/// More than one, because the wake-up between two parts takes time: with 4 and 6 the last of 16
/// receivers takes 1.13 times the bound; on a busy machine with 2, 4 and 8 it took 1.31, 1.19 and
/// 1.28.
pub const TURNS: usize = 4;

/// Parts that take longer lose their turn before they are sent, so that other sessions go on.
pub const TURN_TIMEOUT: Duration = Duration::from_millis(100);

/// Bytes that may be unsent in the kernel before the speed of a connection is known. A fast
/// connection soon gets more; on a slow one more would delay messages for long.
pub const UNSENT_AT_FIRST: u32 = 16 * 1024;

/// The time in which a connection sends what may be unsent in the kernel once its speed is known.
pub const UNSENT_AHEAD: Duration = Duration::from_millis(5);

//! What a raw peer has seen and done so far.

use std::collections::BTreeMap;

use tnet_proto::ByeReason;

/// Counters of a raw peer, over all its connections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections that said hello and are still there.
    pub connected: usize,
    /// Connections that ever said hello.
    pub greeted: usize,
    /// How often each chunk was asked for.
    pub requests: BTreeMap<u32, u32>,
    /// How often each chunk was handed to its socket to its last byte, whatever the bytes.
    pub served: BTreeMap<u32, u32>,
    /// Chunks that went out with a wrong bit.
    pub flipped: u32,
    /// Parts of the description sent.
    pub described: u32,
    /// Why others said goodbye.
    pub byes: Vec<ByeReason>,
    /// Messages of ours that others do not know.
    pub unsupported: u32,
}

impl Counters {
    /// Requests in all.
    pub fn requests_in_all(&self) -> u32 {
        self.requests.values().sum()
    }

    /// Chunks sent in all.
    pub fn served_in_all(&self) -> u32 {
        self.served.values().sum()
    }

    /// Whether a connection was ended for corrupt chunks.
    pub fn was_banned(&self) -> bool {
        self.byes.contains(&ByeReason::BANNED)
    }
}

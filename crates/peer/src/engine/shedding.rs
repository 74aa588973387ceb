//! When too much waits to be sent in all, sessions end until it does not: first of the source that
//! has most waiting, and there the one that has most. Sessions whose other side reads have next to
//! nothing waiting.

use std::net::IpAddr;

use tnet_session::MAX_PROCESS_BACKLOG;
use tnet_sources::{SourceCounts, SourceRank};
use tnet_swarm::PeerKey;

use super::Engine;

impl Engine {
    pub(super) fn shed_backlog(&mut self) {
        while let Some(peer) = self.greediest() {
            let Some(open) = self.sessions.remove(&peer) else { return };
            let bytes = open.session.waiting_bytes();
            tracing::info!(remote = %open.session.remote, bytes, "peer does not read, and too much waits to be sent in all");
            open.session.abort();
        }
    }

    /// The session that is to end next, if one is.
    fn greediest(&self) -> Option<PeerKey> {
        let waiting = self.sessions.iter().map(|(peer, open)| {
            (*peer, open.session.remote.ip(), open.session.waiting_bytes() as u64)
        });
        greediest(waiting.collect(), MAX_PROCESS_BACKLOG as u64)
    }
}

/// Of the source with the highest rank the one with most, if all have more than `most`.
fn greediest(waiting: Vec<(PeerKey, IpAddr, u64)>, most: u64) -> Option<PeerKey> {
    let mut sources = SourceCounts::new();
    for (_, ip, bytes) in &waiting {
        sources.add(*ip, *bytes);
    }
    if sources.total() <= most {
        return None;
    }
    let rank = |(peer, ip, bytes): &(PeerKey, IpAddr, u64)| -> (SourceRank, u64, PeerKey) {
        (sources.rank(*ip), *bytes, *peer)
    };
    waiting.iter().max_by_key(|session| rank(session)).map(|(peer, ..)| *peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(key: u64, ip: &str, bytes: u64) -> (PeerKey, IpAddr, u64) {
        (PeerKey(key), ip.parse().expect("an address"), bytes)
    }

    #[test]
    fn the_source_with_most_gives_way_and_there_the_session_with_most() {
        let sessions = vec![
            session(1, "10.0.0.1", 500),
            session(2, "10.0.0.2", 300),
            session(3, "10.0.0.2", 301),
            session(4, "10.0.0.3", 0),
        ];
        assert_eq!(greediest(sessions.clone(), 1100), Some(PeerKey(3)));
        assert_eq!(greediest(sessions, 1101), None);
    }

    #[test]
    fn many_addresses_of_one_prefix_count_together_only_among_equals() {
        let mut sessions: Vec<_> =
            (1..=9).map(|host| session(host, &format!("2001:db8::{host}"), 100)).collect();
        sessions.push(session(20, "10.0.0.1", 100));
        assert_ne!(greediest(sessions.clone(), 0), Some(PeerKey(20)));
        sessions.push(session(21, "10.0.0.1", 50));
        assert_eq!(greediest(sessions, 0), Some(PeerKey(20)));
    }
}

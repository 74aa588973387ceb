//! Peers that broke the rules, for people to see. Which to avoid and for how long is the core's
//! decision.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use tnet_swarm::Time;

use crate::api::{Ban, CorruptPeer};

/// Bans that are remembered. With more, a person needs the log.
const MOST_BANS: usize = 64;

/// Senders of wrong bytes that are counted, and those that are shown.
const MOST_CORRUPT_PEERS: usize = 1024;
const CORRUPT_PEERS_SHOWN: usize = 16;

/// Peers that are not talked to, the last one first.
#[derive(Debug, Default)]
pub(super) struct Bans {
    last: VecDeque<(SocketAddr, String, Time)>,
}

impl Bans {
    pub(super) fn note(
        &mut self,
        now: Time,
        address: SocketAddr,
        reason: String,
        duration: Duration,
    ) {
        self.last.retain(|(other, _, until)| *other != address && *until > now);
        self.last.truncate(MOST_BANS - 1);
        self.last.push_front((address, reason, now + duration));
    }

    pub(super) fn at(&self, now: Time) -> Vec<Ban> {
        let current = self.last.iter().filter(|(_, _, until)| *until > now);
        let ban = |(address, reason, until): &(SocketAddr, String, Time)| Ban {
            address: *address,
            reason: reason.clone(),
            remaining: *until - now,
        };
        current.map(ban).collect()
    }
}

/// Senders of wrong bytes in one download.
#[derive(Debug, Default)]
pub(super) struct CorruptPeers {
    known: BTreeMap<Option<SocketAddr>, CorruptPeer>,
}

impl CorruptPeers {
    pub(super) fn count(&mut self, address: Option<SocketAddr>) {
        if self.known.len() < MOST_CORRUPT_PEERS || self.known.contains_key(&address) {
            let peer = self.known.entry(address).or_insert(CorruptPeer {
                address,
                corrupt: 0,
                banned: false,
            });
            peer.corrupt += 1;
        }
    }

    pub(super) fn ban(&mut self, address: Option<SocketAddr>) {
        if let Some(peer) = self.known.get_mut(&address) {
            peer.banned = true;
        }
    }

    /// Those to show: the banned ones first, then by what they sent.
    pub(super) fn shown(&self) -> Vec<CorruptPeer> {
        let mut corrupt_peers: Vec<CorruptPeer> = self.known.values().copied().collect();
        corrupt_peers.sort_by_key(|peer| std::cmp::Reverse((peer.banned, peer.corrupt)));
        corrupt_peers.truncate(CORRUPT_PEERS_SHOWN);
        corrupt_peers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn at(seconds: u64) -> Time {
        Time::after_start(Duration::from_secs(seconds))
    }

    #[test]
    fn a_ban_is_shown_until_it_ends_and_once() {
        let mut bans = Bans::default();
        bans.note(at(0), address(1), "lied".into(), Duration::from_secs(10));
        bans.note(at(1), address(2), "babbled".into(), Duration::from_secs(60));
        bans.note(at(2), address(1), "lied again".into(), Duration::from_secs(10));
        let shown: Vec<_> =
            bans.at(at(5)).into_iter().map(|ban| (ban.address, ban.remaining.as_secs())).collect();
        assert_eq!(shown, [(address(1), 7), (address(2), 56)]);
        assert_eq!(bans.at(at(30)).len(), 1);
        assert!(bans.at(at(61)).is_empty());
    }

    #[test]
    fn no_crowd_of_corrupt_peers_fills_the_memory() {
        let (mut bans, mut corrupt_peers) = (Bans::default(), CorruptPeers::default());
        for port in 1..=u16::MAX {
            bans.note(at(0), address(port), "lied".into(), Duration::from_secs(10));
            corrupt_peers.count(Some(address(port)));
        }
        assert_eq!((bans.last.len(), bans.last[0].0), (MOST_BANS, address(u16::MAX)));
        assert_eq!(corrupt_peers.known.len(), MOST_CORRUPT_PEERS);
    }

    #[test]
    fn the_banned_are_named_first() {
        let mut corrupt_peers = CorruptPeers::default();
        corrupt_peers.count(None);
        for _ in 0..3 {
            corrupt_peers.count(Some(address(1)));
        }
        corrupt_peers.count(Some(address(2)));
        corrupt_peers.ban(Some(address(2)));
        let shown: Vec<_> = corrupt_peers
            .shown()
            .into_iter()
            .map(|peer| (peer.address, peer.corrupt, peer.banned))
            .collect();
        assert_eq!(
            shown,
            [(Some(address(2)), 1, true), (Some(address(1)), 3, false), (None, 1, false)]
        );
    }
}

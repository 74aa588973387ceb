//! Memory of links. What a link holds is counted in bytes, and the links that others open share one
//! budget.
//!
//! When it is used up, a connection of the source with most gives up its least useful links to a
//! connection of a source with less: first one that neither sent nor received a chunk lately. Those
//! that did give up links only to one that did too, or while connections that had no chance yet
//! have less than an eighth of the budget. An `Open` that finds no room is answered as if the file
//! were not here, and the peer may ask again. Links that we open ourselves are counted and always
//! have room.

use std::time::Duration;

use tnet_sources::{SourceCounts, SourceRank};

use super::Swarm;
use super::caller_admission::PROVEN_FOR;
use super::connections::Peer;
use crate::Time;
use crate::config::MAX_LINKS_PER_PEER;
use crate::link::LINK_BYTES;
use crate::{FileKey, PeerKey};

/// Bytes of one address up to which it weighs no more than an address with one link: one connection
/// with as many links as it may have, or many receivers behind one address. Else a host with an
/// IPv6 address for each connection outweighs them.
const FREE: u64 = MAX_LINKS_PER_PEER as u64 * LINK_BYTES;

/// This part of the budget is not for connections that took or sent a chunk.
const CHANCE_PART: u64 = 8;

/// After finding no room a peer is not considered again before this time: it costs a pass over all
/// connections.
const REFUSED_FOR: Duration = Duration::from_millis(250);

/// Links that a connection gives up at once, so that not each new link costs a look at all
/// connections.
const AT_ONCE: usize = 32;

/// The least useful links of a connection that are looked at: more than can be in use.
pub(super) const MAX_CANDIDATES: usize = 64;

/// What all links hold.
#[derive(Debug, Default)]
pub(super) struct LinkMemory {
    /// Bytes by source.
    sources: SourceCounts,
}

impl LinkMemory {
    /// What connections of this rank weigh with so many bytes more.
    fn weight(rank: SourceRank, more: u64) -> SourceRank {
        SourceRank { host: (rank.host + more).max(FREE), network: rank.network + more }
    }

    fn weight_of(&self, peer: &Peer, more: u64) -> SourceRank {
        LinkMemory::weight(self.sources.rank(peer.source), more)
    }

    /// Whether the one connection gives way to the other one, which wants `more`: only if it has
    /// more even then.
    fn gives_way(&self, now: Time, peer: &Peer, other: &Peer, more: u64) -> bool {
        if !peer.is_useful(now) && other.is_useful(now) {
            return true;
        }
        if peer.source == other.source {
            return other.link_bytes + more < peer.link_bytes;
        }
        self.weight_of(other, more) < self.weight_of(peer, 0)
    }
}

impl Peer {
    /// Whether it sent or took a chunk lately.
    fn is_useful(&self, now: Time) -> bool {
        self.useful_at.is_some_and(|at| now < at + PROVEN_FOR)
    }
}

impl<B> Swarm<B> {
    /// Counts what a link holds. What it held before is counted no more.
    pub(super) fn count_link(&mut self, peer: PeerKey, file: FileKey) {
        let link = self.files.link_mut(file, peer);
        let Some(link) = link else { return };
        let bytes = link.bytes();
        let before = std::mem::replace(&mut link.counted, bytes);
        if before != bytes {
            self.change_link_bytes(peer, before, bytes);
        }
    }

    pub(super) fn change_link_bytes(&mut self, peer: PeerKey, before: u64, after: u64) {
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        connection.link_bytes = connection.link_bytes - before + after;
        self.link_memory.sources.remove(connection.source, before);
        self.link_memory.sources.add(connection.source, after);
    }

    /// Room for so many bytes more at a link of this connection, if need be that of links that are
    /// of less use.
    pub(super) fn make_link_memory(&mut self, now: Time, peer: PeerKey, bytes: u64) -> bool {
        if bytes == 0 || self.has_link_memory(bytes) {
            return true;
        }
        if self.peers.get(&peer).is_none_or(|connection| now < connection.no_link_before) {
            return false;
        }
        while !self.has_link_memory(bytes) {
            if self.give_up_finished(now, peer) {
                continue;
            }
            let gives_way = self.pick_link_victim(now, peer, bytes);
            if !gives_way
                .is_some_and(|(other, most)| self.give_up_links(now, other, peer, bytes, most))
            {
                if let Some(connection) = self.peers.get_mut(&peer) {
                    connection.no_link_before = now + REFUSED_FOR;
                }
                return false;
            }
        }
        true
    }

    fn has_link_memory(&self, more: u64) -> bool {
        self.link_memory.sources.total() + more <= self.config.link_bytes
    }

    /// Closes a link of the connection that neither side wants anything of. Answers whether there
    /// was one.
    fn give_up_finished(&mut self, now: Time, peer: PeerKey) -> bool {
        let links = &self.peers[&peer].links;
        let finished =
            links.by_use().take(MAX_CANDIDATES).take_while(|file| links.is_finished(*file));
        let idle = { finished }.find(|file| self.may_give_up(peer, *file));
        let Some(file) = idle else { return false };
        self.close(now, peer, file);
        true
    }

    /// The connection that is to give up links for this one, and how many bytes at most.
    fn pick_link_victim(&self, now: Time, peer: PeerKey, bytes: u64) -> Option<(PeerKey, u64)> {
        let newcomer = &self.peers[&peer];
        let linked = || self.peers.iter().filter(|(_, known)| known.link_bytes > 0);
        let idle = || linked().filter(|(_, known)| !known.is_useful(now));
        let weight = |(key, known): &(&PeerKey, &Peer)| {
            (self.link_memory.weight_of(known, 0), known.link_bytes, **key)
        };
        let gives_way = |(_, known): &(&PeerKey, &Peer)| {
            self.link_memory.gives_way(now, known, newcomer, bytes)
        };
        if let Some((other, _)) = idle().max_by_key(weight).filter(gives_way) {
            return Some((*other, u64::MAX));
        }
        let most = if newcomer.is_useful(now) {
            u64::MAX
        } else {
            let chances = idle().map(|(_, known)| known.link_bytes).sum();
            (self.config.link_bytes / CHANCE_PART).saturating_sub(chances)
        };
        let (other, _) =
            linked().max_by_key(weight).filter(|other| bytes <= most && gives_way(other))?;
        Some((*other, most))
    }

    /// Closes the least useful links of a connection that gives way to another one, and holds so
    /// many bytes less then at most. Answers whether there were any.
    fn give_up_links(
        &mut self,
        now: Time,
        peer: PeerKey,
        newcomer: PeerKey,
        bytes: u64,
        most: u64,
    ) -> bool {
        let links = &self.peers[&peer].links;
        let least: Vec<FileKey> = links.by_use().take(MAX_CANDIDATES).collect();
        let (had, mut given_up) = (self.peers[&peer].link_bytes, 0);
        for file in least {
            // What it has given up so far is there for the other one.
            let more = bytes + had - self.peers[&peer].link_bytes;
            let (connection, other) = (&self.peers[&peer], &self.peers[&newcomer]);
            let gives_way =
                more <= most && self.link_memory.gives_way(now, connection, other, more);
            if given_up >= AT_ONCE || !gives_way {
                break;
            }
            if self.may_give_up(peer, file) {
                self.close(now, peer, file);
                self.ask_sooner_if_alone(now, file);
                given_up += 1;
            }
        }
        given_up > 0
    }

    /// Whether nothing is under way over the link.
    fn may_give_up(&self, peer: PeerKey, file: FileKey) -> bool {
        self.requests.of_link(peer, file).unanswered() == 0 && !self.uploads.is_sending(peer, file)
    }

    /// Panics unless what is counted is what the links say.
    #[cfg(any(test, feature = "check"))]
    pub(super) fn check_link_memory(&self) {
        let mut sources = SourceCounts::new();
        for (key, peer) in &self.peers {
            let counted = peer.links.iter().map(|file| self.files[&file].links[key].counted).sum();
            assert_eq!(peer.link_bytes, counted, "bytes of links of {key:?}");
            sources.add(peer.source, counted);
        }
        assert_eq!(self.link_memory.sources, sources, "bytes of links by source");
    }
}

//! Telling peers of others in a file's swarm.
//!
//! Where they are most members have said themselves, and whoever passes that on answers for it. So
//! first come those that we have reached, then those that gave or took a chunk; and of each source
//! few that have not given, beside those of other sources.

use std::net::{IpAddr, SocketAddr};

use rand::seq::SliceRandom;
use tnet_proto::{MAX_HOLDERS, PeerMessage, SourceCounts, SourceNetwork, SourceRank};

use super::Swarm;
use crate::io::{FileKey, PeerKey};
use crate::time::Time;
use crate::timers::Timer;

/// Peers that are named of one host and of one network beside others, if they have given nothing.
const NAMED_OF_HOST: u64 = 3;
const NAMED_OF_NETWORK: u64 = 16;

/// What speaks for the address of a connected peer. The best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Vouched {
    Reached,
    Gave,
    Took,
    Nothing,
}

/// A peer in a file's swarm, as it may be named to others.
#[derive(Debug, Clone, Copy)]
struct Member {
    peer: PeerKey,
    vouched: Vouched,
    address: SocketAddr,
    source: IpAddr,
}

impl Swarm {
    /// Tells a peer of others in the file's swarm.
    pub(super) fn exchange_peers(&mut self, peer: PeerKey, file: FileKey) {
        let members = self.members(file);
        self.name_members(peer, file, &members);
    }

    /// Tells all peers that still need others.
    pub(super) fn exchange_all(&mut self, now: Time, file: FileKey) {
        let Some(state) = self.files.get(&file) else { return };
        if state.download.is_none() {
            return;
        }
        let needing = state.links.iter().filter(|(_, link)| link.handle.is_some() && !link.held.is_full());
        let peers: Vec<PeerKey> = needing.map(|(peer, _)| *peer).collect();
        let members = self.members(file);
        for peer in peers {
            self.name_members(peer, file, &members);
        }
        self.timers.arm(Timer::Exchange(file), now + self.config.exchange_every);
    }

    /// Peers in the file's swarm that accept others, as far as they say.
    fn members(&self, file: FileKey) -> Vec<Member> {
        let links = self.files[&file].links.iter().filter(|(_, link)| link.handle.is_some());
        let members = links.filter_map(|(peer, _)| {
            let connection = &self.peers[peer];
            let vouched = match () {
                () if self.reached_at(*peer).is_some() => Vouched::Reached,
                () if connection.is_proven => Vouched::Gave,
                () if connection.sent_chunks > 0 => Vouched::Took,
                () => Vouched::Nothing,
            };
            let address = connection.address?;
            Some(Member { peer: *peer, vouched, address, source: connection.source })
        });
        members.collect()
    }

    /// Names as many of them to a peer as there is room for in a message.
    fn name_members(&mut self, peer: PeerKey, file: FileKey, members: &[Member]) {
        let mut others: Vec<Member> = members.iter().copied().filter(|member| member.peer != peer).collect();
        let Some(first) = others.first().map(|member| member.source) else { return };
        let network = SourceNetwork::of(first);
        let hosts_compete = others.iter().any(|member| member.source != first);
        let networks_compete = others.iter().any(|member| SourceNetwork::of(member.source) != network);
        if hosts_compete || others.len() > MAX_HOLDERS {
            others.shuffle(&mut self.rng);
            others.sort_by_key(|member| member.vouched);
        }
        let mut named = SourceCounts::new();
        others.retain(|member| {
            let SourceRank { host, network } = named.rank(member.source);
            let is_one_too_many =
                hosts_compete && host >= NAMED_OF_HOST || networks_compete && network >= NAMED_OF_NETWORK;
            let is_named = member.vouched <= Vouched::Gave || !is_one_too_many;
            if is_named {
                named.add(member.source, 1);
            }
            is_named
        });
        let peers = others.iter().take(MAX_HOLDERS).map(|member| member.address).collect();
        self.send(peer, PeerMessage::Peers { file: file.handle(), peers });
    }
}

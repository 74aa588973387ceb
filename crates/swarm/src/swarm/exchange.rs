//! Telling peers the addresses of others in a file's swarm.
//!
//! Most members have declared their address themselves, and a peer that passes a false one on is
//! held to account. So addresses that we have reached come first, then those of peers that sent or
//! received a chunk; and of each source only a few that have not sent one, beside those of other
//! sources.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rand::RngExt;
use rand::seq::SliceRandom;
use tnet_proto::{MAX_HOLDERS, PeerMessage};
use tnet_sources::{SourceCounts, SourceNetwork, SourceRank};

use super::Swarm;
use crate::Time;
use crate::timers::Timer;
use crate::{FileKey, PeerKey};

/// Peers that are named of one host and of one network beside others, if they have given nothing.
const NAMED_OF_HOST: u64 = 3;
const NAMED_OF_NETWORK: u64 = 16;

/// Members that are looked at for one message.
const MAX_CANDIDATES: usize = 4 * MAX_HOLDERS;

/// Of a swarm with more members than this the list is kept for a moment: a crowd that joins a
/// thousand times a second must not have it made each time.
const FEW: usize = 64;
const KEPT_FOR: Duration = Duration::from_millis(250);

/// The members of the file that was looked at last, the best first and else by chance.
#[derive(Debug)]
pub(super) struct Members {
    file: FileKey,
    since: Time,
    list: Vec<Member>,
}

/// What speaks for the address of a connected peer. The best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Vouched {
    Reached,
    Sent,
    Received,
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

impl<B> Swarm<B> {
    /// Tells a peer of others in the file's swarm.
    pub(super) fn exchange_peers(&mut self, now: Time, peer: PeerKey, file: FileKey) {
        let is_large = self.files[&file].links.len() > FEW;
        let is_kept = |kept: &Members| is_large && kept.file == file && now < kept.since + KEPT_FOR;
        let members =
            self.members.take().filter(is_kept).unwrap_or_else(|| self.look_for_members(now, file));
        self.name_members(peer, file, &members.list);
        self.members = Some(members);
    }

    /// Tells all peers that still need others.
    pub(super) fn exchange_all(&mut self, now: Time, file: FileKey) {
        let Some(state) = self.files.get(file) else { return };
        if state.download.is_none() {
            return;
        }
        let needing =
            state.links.iter().filter(|(_, link)| link.handle.is_some() && !link.held.is_full());
        let peers: Vec<PeerKey> = needing.map(|(peer, _)| *peer).collect();
        let members = self.look_for_members(now, file);
        for peer in peers {
            self.name_members(peer, file, &members.list);
        }
        self.timers.arm(Timer::Exchange(file), now + self.config.exchange_every);
    }

    /// Peers in the file's swarm that accept others, as far as they say.
    fn look_for_members(&mut self, now: Time, file: FileKey) -> Members {
        let links = self.files[&file].links.iter().filter(|(_, link)| link.handle.is_some());
        let members = links.filter_map(|(peer, _)| {
            let connection = &self.peers[peer];
            let vouched = match () {
                () if self.reached_at(*peer).is_some() => Vouched::Reached,
                () if connection.is_proven => Vouched::Sent,
                () if connection.sent_chunks > 0 => Vouched::Received,
                () => Vouched::Nothing,
            };
            let address = connection.address?;
            Some(Member { peer: *peer, vouched, address, source: connection.source })
        });
        let mut list: Vec<Member> = members.collect();
        if list.len() > MAX_HOLDERS {
            list.shuffle(&mut self.rng);
        }
        list.sort_by_key(|member| member.vouched);
        Members { file, since: now, list }
    }

    /// Names as many of them to a peer as there is room for in a message, of those that are as good
    /// as each other by chance.
    fn name_members(&mut self, peer: PeerKey, file: FileKey, members: &[Member]) {
        let vicinity = self.peers[&peer].vicinity;
        let mut others = Vec::with_capacity(members.len().min(MAX_CANDIDATES));
        for equals in members.chunk_by(|one, other| one.vouched == other.vouched) {
            let (before, after) = equals.split_at(self.rng.random_range(0..equals.len()));
            let room = MAX_CANDIDATES - others.len();
            let is_other =
                |member: &&Member| member.peer != peer && vicinity.shares(member.address);
            others.extend(after.iter().chain(before).filter(is_other).take(room));
        }
        let Some(first) = others.first().map(|member: &Member| member.source) else { return };
        let network = SourceNetwork::of(first);
        let hosts_compete = others.iter().any(|member| member.source != first);
        let networks_compete =
            others.iter().any(|member| SourceNetwork::of(member.source) != network);
        let mut named = SourceCounts::new();
        let mut peers = Vec::new();
        for member in others {
            let SourceRank { host, network } = named.rank(member.source);
            let is_one_too_many = hosts_compete && host >= NAMED_OF_HOST
                || networks_compete && network >= NAMED_OF_NETWORK;
            if member.vouched <= Vouched::Sent || !is_one_too_many {
                named.add(member.source, 1);
                peers.push(member.address);
            }
            if peers.len() == MAX_HOLDERS {
                break;
            }
        }
        self.send(peer, PeerMessage::Peers { file: file.handle(), peers });
    }
}

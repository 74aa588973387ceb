//! Which connections may be asked for a chunk: proven ones, then unproven ones within their
//! source's limit, then late ones. With one source and none proven there is no limit by source.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use rand::RngExt;
use tnet_fileinfo::ChunkIndex;
use tnet_sources::SourceNetwork;

use super::Swarm;
use super::connections::Peer;
use crate::Time;
use crate::file::File;
use crate::file_table::FileTable;
use crate::io::Direction;
use crate::link::{Link, MAX_UNANSWERED};
use crate::request_book::{FileRequests, LinkRequests, PROBES_AT_MOST, RequestBook};
use crate::{FileKey, PeerKey};
use tnet_sources::SourceState;
use tnet_sources::Trust;

/// Times as many chunks as there are slots may be under way when one that has not proven itself is
/// asked for one more: those that keep us waiting leave room to go on searching, more of it while
/// none has proven itself.
const WHEN_SERVED: u32 = 2;
const WHEN_SEARCHING: u32 = 3;

/// Chunks under way at all of a source that have not proven themselves: corrupt chunks
/// waste no more than these. Each of them that proves itself is soon asked for more.
const FEW: u32 = 2;

/// The same if there is no other source.
const FEW_ALONE: u32 = 4;

/// Of a network that offended at most this part of the slots is under way at what has not proven
/// itself.
const SUSPECT_NETWORK: u32 = 4;

/// A file and what is requested of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileView<'a> {
    pub(super) file: &'a File,
    pub(super) requests: &'a FileRequests,
}

impl<'a> FileView<'a> {
    pub(super) fn of(
        file: FileKey,
        files: &'a FileTable,
        requests: &'a RequestBook,
    ) -> FileView<'a> {
        FileView { file: &files[&file], requests: requests.of_file(file) }
    }

    /// Every peer of its swarm.
    pub(super) fn links(self) -> impl Iterator<Item = Candidate<'a>> {
        let links = self.requests.join(&self.file.links);
        links.map(|(peer, link, requests)| Candidate { peer, link, requests })
    }

    pub(super) fn candidate(self, peer: PeerKey) -> Option<Candidate<'a>> {
        let (link, requests) = (self.file.links.get(&peer)?, self.requests.of_link(peer));
        Some(Candidate { peer, link, requests })
    }

    /// Bytes in its longest chunk.
    pub(super) fn longest_chunk(self) -> u32 {
        self.file.longest_chunk()
    }
}

/// A peer that may be asked for one more chunk of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub(super) peer: PeerKey,
    pub(super) link: &'a Link,
    pub(super) requests: &'a LinkRequests,
}

impl Candidate<'_> {
    pub(super) fn is_proven(&self) -> bool {
        self.link.trust == Trust::Proven
    }

    /// Whether it can be asked for this chunk without making an answer ambiguous.
    pub(super) fn may_be_asked_for(&self, chunk: ChunkIndex) -> bool {
        self.link.held.contains(chunk) && !self.requests.awaits(chunk)
    }

    /// Whether it may be asked for one more chunk, as far as the link is concerned.
    pub(super) fn is_free(&self, now: Time, most_requests: usize) -> bool {
        self.link.handle.is_some()
            && self.requests.open().len() < most_requests
            && self.requests.unanswered() < MAX_UNANSWERED
            && !self.link.is_busy(now)
            && self.link.trust != Trust::Stalled
    }
}

/// What can send us chunks of a file.
#[derive(Debug, Default)]
pub(super) struct Competition {
    proven: usize,
    /// Connections that are not proven.
    others: usize,
    /// Sources of those about which nothing is known, and their networks.
    hosts: BTreeSet<IpAddr>,
    networks: BTreeSet<SourceNetwork>,
    /// There is but one source.
    is_alone: bool,
    /// Chunks of sources that have not proven themselves which have come and are being verified.
    unverified: BTreeMap<IpAddr, u32>,
}

impl Competition {
    fn share(all: u32, among: usize) -> u32 {
        (all / u32::try_from(among.max(1)).unwrap_or(u32::MAX)).max(1)
    }

    fn unverified_of_host(&self, ip: IpAddr) -> u32 {
        self.unverified.get(&ip.to_canonical()).copied().unwrap_or(0)
    }

    fn unverified_of_network(&self, ip: IpAddr) -> u32 {
        let network = SourceNetwork::of(ip.to_canonical());
        let of_it = self.unverified.iter().filter(|(ip, _)| SourceNetwork::of(**ip) == network);
        of_it.map(|(_, count)| count).sum()
    }
}

impl<B> Swarm<B> {
    /// Counts the connections that can send us missing chunks of the file.
    pub(super) fn competition(&self, now: Time, view: FileView) -> Competition {
        let is_asked = |peer| !view.requests.of_link(peer).open().is_empty();
        self.competition_of_use(now, view, |peer, link| link.wanted > 0 || is_asked(peer))
    }

    /// The same when none is missing and some are to be asked for twice.
    pub(super) fn competition_for_second_copies(&self, now: Time, view: FileView) -> Competition {
        self.competition_of_use(now, view, |_, link| !link.held.is_empty())
    }

    fn competition_of_use(
        &self,
        now: Time,
        view: FileView,
        is_of_use: impl Fn(PeerKey, &Link) -> bool,
    ) -> Competition {
        let mut competition = Competition::default();
        let linked = view.file.links.iter().filter(|(_, link)| link.handle.is_some());
        let useful = linked.filter(|(peer, link)| is_of_use(**peer, link));
        let mut sources = BTreeSet::new();
        for (peer, link) in useful {
            if link.trust == Trust::Proven {
                competition.proven += 1;
                continue;
            }
            competition.others += 1;
            let ip = self.peers[peer].source.to_canonical();
            sources.insert(ip);
            if link.trust == Trust::Unproven && self.sources.state(now, ip).0 == SourceState::Clean
            {
                competition.hosts.insert(ip);
                competition.networks.insert(SourceNetwork::of(ip));
            }
        }
        competition.is_alone = competition.proven == 0 && sources.len() <= 1;
        if competition.others > 0 {
            let senders = view.file.download.iter().flat_map(|download| download.senders.values());
            let is_proven =
                |peer| self.peers.get(peer).is_some_and(|peer| peer.trust() == Trust::Proven);
            for sender in senders.filter(|sender| !is_proven(&sender.peer)) {
                *competition.unverified.entry(sender.source.to_canonical()).or_default() += 1;
            }
        }
        competition
    }

    /// Requests of the file that one source may have open. With few sources each must have more to
    /// fill our slots.
    pub(super) fn requests_per_source(&self, view: FileView, competition: &Competition) -> usize {
        let least = self.config.requests_per_source.max(1);
        let capacity = self.requests.slots().capacity(view.longest_chunk());
        let useful = if competition.is_alone {
            competition.others
        } else {
            competition.proven + competition.hosts.len()
        };
        let share = capacity.div_ceil(u32::try_from(useful.max(1)).unwrap_or(u32::MAX));
        share.max(least) as usize
    }

    /// Links of use that may be asked for one more chunk: those that come first. Of others than
    /// proven ones as many as fit, each for itself: one chunk is asked for, then we look again.
    pub(super) fn candidates<'a>(
        &self,
        now: Time,
        view: FileView<'a>,
        competition: &Competition,
        is_of_use: impl Fn(&Link) -> bool,
    ) -> Vec<Candidate<'a>> {
        let free = self.free_links(now, view, competition, is_of_use);
        // A source that is alone leaves room for one that comes later.
        let may_try = self.may_search(view, self.proven > 0 || competition.is_alone)
            && self.requests.has_room(view.longest_chunk(), false, 0);
        // Grown link by link it would be copied again and again, for each request.
        let mut sources = Vec::with_capacity(view.file.links.len());
        sources.extend(free.filter(|of| match of.link.trust {
            Trust::Proven => true,
            Trust::Unproven => may_try && self.is_worth_a_try(now, of.peer, view, competition),
            Trust::Late | Trust::Stalled => false,
        }));
        let capacity = self.requests.slots().capacity(view.longest_chunk());
        if self.requests.unproven().chunks >= capacity.div_ceil(PROBES_AT_MOST)
            && sources.iter().any(Candidate::is_proven)
        {
            sources.retain(Candidate::is_proven);
        }
        sources
    }

    /// Whether so little is under way that one that has not proven itself may be asked for one more
    /// chunk.
    fn may_search(&self, view: FileView, is_served: bool) -> bool {
        let times = if is_served { WHEN_SERVED } else { WHEN_SEARCHING };
        let (slots, len) = (self.requests.slots(), view.longest_chunk());
        slots.is_below(times, len) || slots.has_room(len)
    }

    /// A source that was never asked, and would not be because others keep us waiting. One of those
    /// gives up what is under way there, as if it had stalled. Each source makes others give way
    /// once, so that slow ones among themselves come to an end.
    pub(super) fn make_room_for_a_newcomer(&mut self, now: Time, file: FileKey) -> Option<PeerKey> {
        if self.requests.late().chunks == 0 {
            return None;
        }
        let view = FileView::of(file, &self.files, &self.requests);
        if self.is_served(now, view.file) {
            return None;
        }
        let is_new = |of: &Candidate| {
            of.link.trust == Trust::Unproven
                && of.link.wanted > 0
                && of.is_free(now, 1)
                && !self.sources.was_asked(self.peers[&of.peer].source)
                && !self.is_resting(now, of.peer)
        };
        let newcomers: Vec<PeerKey> = view.links().filter(is_new).map(|of| of.peer).collect();
        let newcomer = *newcomers.get(self.rng.random_range(0..newcomers.len().max(1)))?;
        let source = self.peers[&newcomer].source;
        let may_search = self.may_search(view, self.proven > 0);
        if may_search && self.is_worth_a_try(now, newcomer, view, &self.competition(now, view)) {
            return None;
        }
        let keeps_waiting = |key: &PeerKey, peer: &Peer| {
            peer.trust() == Trust::Late && self.requests.has_open_at(*key)
        };
        // Where there is room it is its network that has none.
        let is_in_the_way = |peer: &Peer| {
            !may_search || SourceNetwork::of(peer.source) == SourceNetwork::of(source)
        };
        let late = self.peers.iter();
        let late = late.filter(|(key, peer)| keeps_waiting(key, peer) && is_in_the_way(peer));
        let worth = |(_, peer): &(&PeerKey, &Peer)| {
            (Reverse(self.sources.late(peer.source)), peer.is_proven, peer.in_chunk)
        };
        let gives_way = *late.min_by_key(worth)?.0;
        self.take_back_all(now, gives_way);
        Some(newcomer)
    }

    /// Links of use that may be asked for one more chunk, as far as they are concerned.
    fn free_links<'a>(
        &self,
        now: Time,
        view: FileView<'a>,
        competition: &Competition,
        is_of_use: impl Fn(&Link) -> bool,
    ) -> impl Iterator<Item = Candidate<'a>> {
        let most = self.requests_per_source(view, competition);
        view.links().filter(move |of| is_of_use(of.link) && of.is_free(now, most))
    }

    /// Those that come last: late ones, and those whose source is not worth a try. None while a
    /// proven one can still send us something.
    pub(super) fn last_candidates<'a>(
        &self,
        now: Time,
        view: FileView<'a>,
        competition: &Competition,
        is_of_use: impl Fn(&Link) -> bool,
    ) -> Vec<Candidate<'a>> {
        let has_slot = self.requests.slots().has_room(view.longest_chunk());
        if !has_slot || self.is_served(now, view.file) {
            return Vec::new();
        }
        let free = self.free_links(now, view, competition, is_of_use);
        free.filter(|of| match of.link.trust {
            Trust::Late => true,
            Trust::Unproven => self.is_worth_a_last_try(now, of.peer, competition),
            Trust::Proven | Trust::Stalled => false,
        })
        .collect()
    }

    /// Whether a proven source has chunks that we lack, and still sends. One that once sent a chunk
    /// and then only answers busy keeps no other source out.
    fn is_served(&self, now: Time, state: &File) -> bool {
        let mut proven = state.links.iter().filter(|(_, link)| link.trust == Trust::Proven);
        proven.any(|(peer, link)| link.wanted > 0 && self.sends(now, *peer))
    }

    /// Whether a proven source that still sends holds the chunk, though it may be busy.
    pub(super) fn is_served_with(
        &self,
        now: Time,
        view: FileView,
        chunk: ChunkIndex,
        besides: PeerKey,
    ) -> bool {
        view.links().any(|of| {
            of.peer != besides
                && of.is_proven()
                && of.may_be_asked_for(chunk)
                && self.sends(now, of.peer)
        })
    }

    fn sends(&self, now: Time, peer: PeerKey) -> bool {
        now < self.peers[&peer].verified_at + self.config.progress_window * 3
    }

    /// Whether to use a slot that this peer has reserved for us.
    pub(super) fn may_accept_from(
        &self,
        now: Time,
        peer: PeerKey,
        view: FileView,
        competition: &Competition,
    ) -> bool {
        match view.file.links.get(&peer).map(|link| link.trust) {
            Some(Trust::Proven) => true,
            Some(Trust::Unproven) => {
                let ip = self.peers[&peer].source.to_canonical();
                // As long as others are clean, one that is not offers in vain.
                let is_best = competition.hosts.contains(&ip) || competition.hosts.is_empty();
                self.is_worth_a_try(now, peer, view, competition)
                    || is_best
                        && !self.is_served(now, view.file)
                        && self.is_worth_a_last_try(now, peer, competition)
            }
            Some(Trust::Late) => competition.hosts.is_empty() && !self.is_served(now, view.file),
            Some(Trust::Stalled) | None => false,
        }
    }

    /// Whether the connection is not asked because its source sent corrupt chunks. A connection
    /// that we made, to an address that sent nothing wrong, need not wait: honest peers may share
    /// an IP address with corrupt ones, and a peer that calls us can come back under another port.
    fn is_resting(&self, now: Time, peer: PeerKey) -> bool {
        let connection = &self.peers[&peer];
        let is_blameless = connection.corrupt == 0
            && connection.address.is_some_and(|at| self.addresses.strikes(at) == 0);
        let is_exempt = connection.direction == Direction::Outbound && is_blameless;
        !is_exempt && self.sources.is_resting(now, connection.source)
    }

    /// Whether this connection, which has not proven itself, may be tried with a chunk.
    pub(super) fn is_worth_a_try(
        &self,
        now: Time,
        peer: PeerKey,
        view: FileView,
        competition: &Competition,
    ) -> bool {
        let ip = self.peers[&peer].source;
        if competition.is_alone {
            return self.is_worth_a_last_try(now, peer, competition);
        }
        if self.is_resting(now, peer) {
            return false;
        }
        let capacity = self.requests.slots().capacity(view.longest_chunk());
        let (host, network) = self.sources.state(now, ip);
        let (of_host, of_network) = self.sources.probes(ip);
        let (of_host, of_network) = (
            of_host + competition.unverified_of_host(ip),
            of_network + competition.unverified_of_network(ip),
        );
        let host_has_room = match host {
            SourceState::Paused => false,
            SourceState::Suspect => of_host == 0,
            SourceState::Clean => {
                of_host < Competition::share(capacity, competition.hosts.len()).min(FEW)
            }
        };
        host_has_room
            && match network {
                SourceState::Paused => false,
                SourceState::Suspect => of_network < (capacity / SUSPECT_NETWORK).max(1),
                SourceState::Clean => {
                    of_network < Competition::share(capacity, competition.networks.len())
                }
            }
    }

    /// Whether it may be tried with a chunk because there is no better source. As many as keep us
    /// waiting there may be tried once more, so that all of many are in a few rounds.
    fn is_worth_a_last_try(&self, now: Time, peer: PeerKey, competition: &Competition) -> bool {
        let ip = self.peers[&peer].source;
        let few = match () {
            () if competition.is_alone => FEW_ALONE,
            () if self.sources.has_sent_corrupt(now, ip) => 1,
            () => FEW,
        };
        let (all, late) = self.sources.probes_of_host(ip);
        !self.is_resting(now, peer)
            && all + competition.unverified_of_host(ip) - late < few.max(late)
    }
}

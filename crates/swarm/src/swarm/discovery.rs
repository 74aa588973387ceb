//! Finding others: addresses from the coordinator and from peers, whom of them to call, and making room for them when
//! those we know are of no use.

use std::net::SocketAddr;
use std::time::Duration;

use rand::seq::IteratorRandom;
use tnet_proto::{ByeReason, FileHandle, MAX_HOLDERS, PeerMessage};

use super::Swarm;
use crate::addresses::NamedBy;
use crate::io::{FileKey, Output, PeerKey};
use crate::time::Time;
use crate::timers::Timer;

/// When there are addresses to call and no connections left for them, how long until we look again.
const CROWDED: Duration = Duration::from_secs(1);

/// Shortest time between two rounds of calls that only the clock asks for.
const CALL_ROUND: Duration = Duration::from_millis(10);

/// Addresses known of one file, for each neighbour wanted, at which what peers name is not learned any more.
const KNOWN_PER_NEIGHBOUR: usize = 4;

/// Lookups in a row without a chunk in between, after which neighbours are exchanged.
const IDLE_LOOKUPS: u32 = 3;

impl Swarm {
    pub(super) fn on_peers(&mut self, now: Time, peer: PeerKey, handle: FileHandle, peers: &[SocketAddr]) {
        let file = match self.file_of(peer, handle) {
            Err(violation) => return self.cut(now, peer, violation),
            Ok(None) => return,
            Ok(Some(file)) => file,
        };
        let state = self.files.get_mut(&file).expect("a number stands for a file that is there");
        let link = state.links.get_mut(&peer).expect("their number stands for a file: they are linked");
        // One that talks much more often than we would is not listened to: each address may cost a call.
        if now < link.exchange_after {
            return;
        }
        link.exchange_after = now + self.config.exchange_every / 4;
        if self.incomplete.contains(&file) {
            self.learn_all(now, file, peers, NamedBy::Peer);
        }
    }

    pub(super) fn on_holders(&mut self, now: Time, file: FileKey, addresses: &[SocketAddr]) {
        if self.incomplete.contains(&file) {
            self.learn_all(now, file, addresses, NamedBy::Coordinator);
        }
    }

    fn learn_all(&mut self, now: Time, file: FileKey, addresses: &[SocketAddr], by: NamedBy) {
        // The neighbours of neighbours soon are the whole swarm: thousands of addresses of which we call a few.
        let enough = self.config.neighbours.saturating_mul(KNOWN_PER_NEIGHBOUR);
        for address in addresses.iter().filter(|address| can_be_called(address)) {
            if by == NamedBy::Peer && self.addresses.known(file) >= enough {
                break;
            }
            let connected = self.addresses.learn(*address, file, by);
            if let Some(peer) = connected {
                self.open_file(now, peer, file);
            }
        }
        self.connect_more(now, file);
    }

    /// Tells a peer of others in the file's swarm.
    pub(super) fn exchange_peers(&mut self, peer: PeerKey, file: FileKey) {
        let others =
            self.files[&file].links.iter().filter(|(other, link)| **other != peer && link.handle.is_some());
        let known = others.filter_map(|(other, _)| self.peers[other].address);
        let peers: Vec<SocketAddr> = known.sample(&mut self.rng, MAX_HOLDERS);
        if !peers.is_empty() {
            self.send(peer, PeerMessage::Peers { file: file.handle(), peers });
        }
    }

    /// Tells all peers that still need others.
    pub(super) fn exchange_all(&mut self, now: Time, file: FileKey) {
        let Some(state) = self.files.get(&file) else { return };
        if state.download.is_none() {
            return;
        }
        let needing = state.links.iter().filter(|(_, link)| link.handle.is_some() && !link.held.is_full());
        let peers: Vec<PeerKey> = needing.map(|(peer, _)| *peer).collect();
        for peer in peers {
            self.exchange_peers(peer, file);
        }
        self.timers.arm(Timer::Exchange(file), now + self.config.exchange_every);
    }

    /// Calls addresses of the file's swarm while it has fewer neighbours than it should.
    pub(super) fn connect_more(&mut self, now: Time, file: FileKey) {
        let Some(state) = self.files.get(&file) else { return };
        if !self.incomplete.contains(&file) {
            return;
        }
        let have = state.links.len() + self.addresses.calling_for(file);
        let wanted = self.config.neighbours.saturating_sub(have);
        let room = self.config.max_peers.saturating_sub(self.peers.len() + self.addresses.calling());
        if wanted == 0 {
            return;
        }
        for address in self.addresses.choose(file, now, wanted.min(room), &mut self.rng) {
            self.addresses.set_calling(address);
            self.output(Output::Connect { address });
        }
        if let Some(next) = self.addresses.next_callable(file) {
            let earliest = if room == 0 { CROWDED } else { CALL_ROUND };
            self.timers.arm(Timer::Addresses, next.max(now + earliest));
        }
    }

    pub(super) fn connect_more_all(&mut self, now: Time) {
        for file in self.incomplete.clone() {
            self.connect_more(now, file);
        }
    }

    /// Asks who holds the file now, and again later, less and less often, while neighbours are lacking or useless.
    pub(super) fn ask_coordinator(&mut self, now: Time, file: FileKey) {
        let Some(state) = self.files.get_mut(&file) else { return };
        let Some(download) = &mut state.download else { return };
        let times = download.lookups;
        download.lookups = times.saturating_add(1);
        let is_crowded = state.links.len() >= self.config.neighbours;
        let pause =
            self.config.lookup_after.saturating_mul(1 << times.min(16)).min(self.config.lookup_at_most);
        let pause = self.jitter(pause);
        self.timers.arm(Timer::Lookup(file), now + pause);
        let is_starved = self.is_starved(file);
        if !is_crowded || is_starved {
            self.output(Output::Lookup { file });
        }
        if is_crowded && is_starved {
            self.exchange_useless_neighbours(now, file);
        }
    }

    /// Whether no chunk has arrived for a few lookups. What neighbours say that they hold proves nothing.
    fn is_starved(&mut self, file: FileKey) -> bool {
        let Some(state) = self.files.get_mut(&file) else { return false };
        let Some(download) = &mut state.download else { return false };
        if download.chunks.unstored() == download.chunks.vouched() {
            // Nothing is wanted of them.
            download.idle_lookups = 0;
            return false;
        }
        let before = std::mem::replace(&mut download.arrived_at_lookup, state.stats.arrived);
        let is_idle = before == state.stats.arrived;
        download.idle_lookups = if is_idle { download.idle_lookups.saturating_add(1) } else { 0 };
        download.idle_lookups >= IDLE_LOOKUPS
    }

    /// Lets go of some neighbours that send nothing, as many as there are others to try.
    fn exchange_useless_neighbours(&mut self, now: Time, file: FileKey) {
        let most = (self.config.neighbours / 4).max(1);
        let others = self.addresses.choose(file, now, most, &mut self.rng).len();
        let is_useless =
            |peer: &PeerKey| self.peers[peer].window_bytes == 0 && !self.uploads.is_serving(*peer);
        let useless = self.files[&file].links.keys().copied().filter(is_useless);
        let leaving: Vec<PeerKey> = useless.sample(&mut self.rng, others);
        for peer in leaving {
            self.disconnect(now, peer, ByeReason::IDLE);
        }
    }

    /// Everybody is gone: the coordinator is asked soon, however long it was not.
    pub(super) fn ask_sooner_if_alone(&mut self, now: Time, file: FileKey) {
        if !self.incomplete.contains(&file) {
            return;
        }
        let Some(state) = self.files.get_mut(&file) else { return };
        let Some(download) = state.download.as_mut().filter(|_| state.links.is_empty()) else { return };
        download.lookups = 0;
        let pause = self.jitter(self.config.lookup_after);
        self.timers.arm(Timer::Lookup(file), now + pause);
    }
}

fn can_be_called(address: &SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast()
}

//! Discovery: learning addresses from the coordinator and from peers, choosing which to call, and
//! making room for new connections when those we have are of no use.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rand::seq::IteratorRandom;
use tnet_proto::{ByeReason, FileHandle, Vicinity, unmapped};
use tnet_sources::{SourceCounts, SourceRank};

use super::Swarm;
use super::connections::Peer;
use crate::Time;
use crate::file::File;
use crate::io::Output;
use crate::link::Link;
use crate::timers::Timer;
use crate::{FileKey, PeerKey};
use tnet_sources::Trust;

/// When there are addresses to call and no connections left for them, how long until we look again.
const CROWDED: Duration = Duration::from_secs(1);

/// Shortest time between two rounds of calls that only the clock asks for.
const CALL_ROUND: Duration = Duration::from_millis(10);

/// When what may be called waits for other calls to its host, how long until we look again. Their
/// ends come first.
const HOST_IS_CALLED: Duration = Duration::from_millis(100);

/// Own addresses that are remembered.
const MAX_OWN_IPS: usize = 64;

/// Addresses known of one file, for each neighbour wanted, at which what peers name is not learned
/// any more; unless most of them are hearsay of others.
const KNOWN_PER_NEIGHBOUR: usize = 4;

/// Neighbours that have not proven themselves and count as such, of one host and of one network.
const UNPROVEN_OF_HOST: u64 = 2;
const UNPROVEN_OF_NETWORK: u64 = 16;

/// Lookups in a row without a chunk in between, after which more are called than usual, and
/// neighbours are exchanged.
const IDLE_LOOKUPS: u32 = 3;

/// So many times the usual neighbours at most while no chunk arrives.
const STARVED_NEIGHBOURS: u32 = 4;

impl<B> Swarm<B> {
    pub(super) fn on_peers(
        &mut self,
        now: Time,
        peer: PeerKey,
        handle: FileHandle,
        peers: &[SocketAddr],
    ) {
        let file = match self.file_of(peer, handle) {
            Err(violation) => return self.cut(now, peer, violation),
            Ok(None) => return,
            Ok(Some(file)) => file,
        };
        let state = self.files.get_mut(file).expect("a number stands for a file that is there");
        let link =
            state.links.get_mut(&peer).expect("their number stands for a file: they are linked");
        // One that talks much more often than we would is not listened to: each address may cost a
        // call.
        if now < link.exchange_after {
            return;
        }
        link.exchange_after = now + self.config.exchange_every / 4;
        let Peer { source: namer, vicinity, .. } = self.peers[&peer];
        let peers: Vec<SocketAddr> =
            peers.iter().filter_map(|address| vicinity.located(*address)).collect();
        if self.files.is_incomplete(file) && self.sources.may_name(now, namer) {
            self.learn_all(now, file, &peers, Some(namer));
        }
    }

    pub(super) fn on_holders(&mut self, now: Time, file: FileKey, addresses: &[SocketAddr]) {
        if self.files.is_incomplete(file) {
            self.learn_all(now, file, addresses, None);
        }
    }

    /// Takes in what a peer, or the coordinator, named.
    fn learn_all(
        &mut self,
        now: Time,
        file: FileKey,
        addresses: &[SocketAddr],
        namer: Option<IpAddr>,
    ) {
        // The neighbours of neighbours soon are the whole swarm: thousands of addresses of which we
        // call a few.
        let enough = self.config.neighbours.saturating_mul(KNOWN_PER_NEIGHBOUR);
        let is_elsewhere = namer.is_some_and(|namer| !self.is_here(namer));
        for address in addresses.iter().copied().map(unmapped).filter(can_be_called) {
            let connected = match namer {
                None => self.addresses.learn(address, file),
                Some(namer) if self.knows_enough(file, namer, enough) => break,
                // A peer elsewhere cannot name what is on this machine.
                Some(_) if is_elsewhere && self.is_here(address.ip()) => None,
                Some(namer) => self.addresses.learn_from(namer, address, file, now),
            };
            if let Some(peer) = connected {
                self.open_file(now, peer, file);
            }
        }
        self.connect_more(now, file);
    }

    /// Whether what a peer names for the file is not learned any more. Addresses that others named
    /// and that were not reached do not keep out the few that a later peer names.
    fn knows_enough(&self, file: FileKey, namer: IpAddr, enough: usize) -> bool {
        let known = self.addresses.known(file);
        let proven = known - self.addresses.unproven(file);
        known >= enough && (proven >= enough || !self.addresses.has_named_few(namer))
    }

    /// What we have in common with the other end of a connection.
    pub(super) fn vicinity(
        &self,
        source: IpAddr,
        local: Option<SocketAddr>,
        address: Option<SocketAddr>,
    ) -> Vicinity {
        // Both ends of a link-local connection have the interface; not each has said where it
        // accepts.
        let ends = || [address, local].into_iter().flatten();
        let interface = ends().find_map(|end| match end {
            SocketAddr::V6(end) if end.scope_id() != 0 => Some(end.scope_id()),
            _ => None,
        });
        let mut remote = SocketAddr::new(source, 0);
        if let (SocketAddr::V6(remote), Some(interface)) = (&mut remote, interface) {
            remote.set_scope_id(interface);
        }
        Vicinity::of(remote, self.is_here(source))
    }

    fn is_here(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_loopback() || self.own_ips.contains(&ip)
    }

    /// This is one of our own addresses.
    pub(super) fn note_own(&mut self, ip: IpAddr) {
        if self.own_ips.len() < MAX_OWN_IPS {
            self.own_ips.insert(ip.to_canonical());
        }
    }

    /// Calls addresses of the file's swarm while it has fewer neighbours than it should.
    pub(super) fn connect_more(&mut self, now: Time, file: FileKey) {
        let Some(state) = self.files.get(file) else { return };
        if !self.files.is_incomplete(file) {
            return;
        }
        let have = self.neighbours_of(state) + self.addresses.calling_for(file);
        let wanted = self.neighbours_for(state).saturating_sub(have);
        let room =
            self.config.max_peers.saturating_sub(self.peers.len() + self.addresses.calling());
        if wanted == 0 {
            return;
        }
        for address in self.addresses.choose(file, now, wanted.min(room), &mut self.rng) {
            self.addresses.set_calling(address);
            self.output(Output::Connect { address });
        }
        if let Some(next) = self.addresses.next_callable(file) {
            let earliest = match () {
                () if room == 0 => CROWDED,
                () if next <= now => HOST_IS_CALLED,
                () => CALL_ROUND,
            };
            self.timers.arm(Timer::Addresses, next.max(now + earliest));
        }
    }

    /// Neighbours that the file should have. While no chunk arrives, more with each lookup: the
    /// slow ones keep their places, since one of them may be honest, but they must not keep us from
    /// peers that were not tried yet.
    fn neighbours_for(&self, state: &File) -> usize {
        let idle = state.download.as_ref().map_or(0, |download| download.idle_lookups);
        let times = (idle + 2).saturating_sub(IDLE_LOOKUPS).clamp(1, STARVED_NEIGHBOURS);
        self.config.neighbours.saturating_mul(times as usize)
    }

    /// Neighbours in the file's swarm. Of one source few count that have not proven themselves:
    /// else many callers keep us from calling others.
    fn neighbours_of(&self, state: &File) -> usize {
        if state.links.len() < self.config.neighbours / 2 {
            return state.links.len();
        }
        let mut counted = SourceCounts::new();
        let mut counts = |peer: &PeerKey, link: &Link| {
            let source = self.peers[peer].source;
            let SourceRank { host, network } = counted.rank(source);
            let counts = link.trust == Trust::Proven
                || host < UNPROVEN_OF_HOST && network < UNPROVEN_OF_NETWORK;
            if counts && link.trust != Trust::Proven {
                counted.add(source, 1);
            }
            counts
        };
        state.links.iter().filter(|(peer, link)| counts(peer, link)).count()
    }

    pub(super) fn connect_more_all(&mut self, now: Time) {
        for file in self.files.incomplete().clone() {
            self.connect_more(now, file);
        }
    }

    /// Asks for holders of the file now, and again later, less and less often, while neighbours are
    /// lacking or useless.
    pub(super) fn ask_coordinator(&mut self, now: Time, file: FileKey) {
        let Some(state) = self.files.get_mut(file) else { return };
        let Some(download) = &mut state.download else { return };
        let times = download.lookups;
        download.lookups = times.saturating_add(1);
        let pause = self
            .config
            .lookup_after
            .saturating_mul(1 << times.min(16))
            .min(self.config.lookup_at_most);
        let pause = self.jitter(pause);
        self.timers.arm(Timer::Lookup(file), now + pause);
        let is_starved = self.is_starved(file);
        let state = &self.files[&file];
        let is_crowded = self.neighbours_of(state) >= self.neighbours_for(state);
        if !is_crowded || is_starved {
            self.output(Output::Lookup { file });
        }
        match () {
            () if is_crowded && is_starved => self.exchange_useless_neighbours(now, file),
            () if is_starved => self.connect_more(now, file),
            () => {}
        }
    }

    /// Whether no chunk has arrived for a few lookups. What neighbours say that they hold proves
    /// nothing.
    fn is_starved(&mut self, file: FileKey) -> bool {
        let Some(state) = self.files.get_mut(file) else { return false };
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

    /// No peer is left that gives a sign of life: the same as when all are gone. Perhaps they
    /// are elsewhere by now.
    pub(super) fn ask_sooner_if_silent(&mut self, now: Time, file: FileKey) {
        if !self.files.is_incomplete(file) || !self.is_deserted(file) {
            return;
        }
        let pause = self.jitter(self.config.lookup_after);
        if let Some(download) = self.files.download_mut(file) {
            download.lookups = 0;
            self.timers.arm(Timer::Lookup(file), now + pause);
        }
    }

    /// Whether all neighbours are asked for a sign of life.
    fn is_deserted(&self, file: FileKey) -> bool {
        self.files
            .get(file)
            .is_some_and(|state| state.links.keys().all(|peer| self.peers[peer].probed.is_some()))
    }

    /// All peers are gone: the coordinator is asked soon, however long it was not.
    pub(super) fn ask_sooner_if_alone(&mut self, now: Time, file: FileKey) {
        if !self.files.is_incomplete(file) {
            return;
        }
        let Some(state) = self.files.get_mut(file) else { return };
        let Some(download) = state.download.as_mut().filter(|_| state.links.is_empty()) else {
            return;
        };
        download.lookups = 0;
        let pause = self.jitter(self.config.lookup_after);
        self.timers.arm(Timer::Lookup(file), now + pause);
    }
}

fn can_be_called(address: &SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    let is_one_host = match ip {
        IpAddr::V4(ip) => ip.octets()[0] != 0 && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_unspecified(),
    };
    address.port() != 0 && is_one_host && !ip.is_multicast()
}

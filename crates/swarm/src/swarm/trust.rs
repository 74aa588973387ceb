//! How far a connection is trusted. One that has sent a chunk that verified is proven; one that
//! keeps us waiting is late; one that sent too little for a whole window has stalled. Chunks under
//! way at connections that are not proven are counted by source, so that many connections of one
//! source count no more than one.

use std::net::IpAddr;
use std::time::Duration;

use super::Swarm;
use super::connections::Peer;
use crate::PeerKey;
use crate::Time;
use crate::timers::Timer;
use tnet_sources::Offence;
use tnet_sources::Trust;

/// How long a connection that has not proven itself may keep us waiting at least, before others are
/// asked in its place.
const PATIENCE: Duration = Duration::from_millis(250);

/// The same as a multiple of the time that chunks take on average.
const PATIENCE_TIMES: u32 = 4;

impl Peer {
    pub(super) fn trust(&self) -> Trust {
        match () {
            () if self.is_stalled => Trust::Stalled,
            () if self.is_late => Trust::Late,
            () if self.is_proven => Trust::Proven,
            () => Trust::Unproven,
        }
    }
}

impl<B> Swarm<B> {
    /// Changes what a connection is worth, and everything that is counted by that.
    pub(super) fn change_trust(&mut self, peer: PeerKey, change: impl FnOnce(&mut Peer)) {
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        let before = connection.trust();
        change(connection);
        let (after, source) = (connection.trust(), connection.source);
        if before == after {
            return;
        }
        for file in connection.links.iter() {
            if let Some(link) = self.files.link_mut(file, peer) {
                link.trust = after;
            }
        }
        let open = self.requests.set_trust(peer, after);
        self.sources.unasked(source, before, open);
        self.sources.asked(source, after, open);
        self.proven -= u32::from(before == Trust::Proven);
        self.proven += u32::from(after == Trust::Proven);
        if (before == Trust::Late) != (after == Trust::Late) {
            self.sources.set_late(source, after == Trust::Late);
        }
    }

    /// The connection, on which nothing is open any more, is gone.
    pub(super) fn forget_trust(&mut self, now: Time, peer: PeerKey) {
        let Some(connection) = self.peers.get(&peer) else { return };
        let (trust, source) = (connection.trust(), connection.source);
        self.proven -= u32::from(trust == Trust::Proven);
        if trust == Trust::Late {
            self.sources.set_late(source, false);
        }
        self.sources.disconnected(now, source);
    }

    /// A chunk of this connection is verified and stored.
    pub(super) fn on_verified(&mut self, now: Time, peer: PeerKey, source: IpAddr) {
        self.sources.verified(source);
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        connection.verified_at = now;
        connection.useful_at = Some(now);
        if !connection.is_proven {
            self.change_trust(peer, |connection| connection.is_proven = true);
        }
    }

    /// The other side ends the connection, or makes us end it, maybe in the middle of a chunk.
    pub(super) fn note_leaving(&mut self, now: Time, peer: PeerKey) {
        let has_open = self.requests.has_open_at(peer);
        let Some(connection) = self.peers.get(&peer).filter(|peer| has_open && !peer.is_proven)
        else {
            return;
        };
        // A peer that sends most of a chunk and leaves wastes bandwidth each time it comes back.
        // Any other was asked in place of another one: when it comes back it is no newcomer.
        let is_in_a_chunk = connection.in_chunk > 0;
        let offence = if is_in_a_chunk { Offence::Corrupt } else { Offence::Stall };
        self.offend(now, connection.source, offence);
    }

    /// The source failed us. When its rest is over the files are looked at again.
    pub(super) fn offend(&mut self, now: Time, source: IpAddr, offence: Offence) {
        self.sources.offend(now, source, offence);
        if offence == Offence::Corrupt {
            self.watch_rests(now);
        }
    }

    /// A rest is over, or another one began.
    pub(super) fn watch_rests(&mut self, now: Time) {
        if let Some(at) = self.sources.next_rest(now) {
            self.timers.rearm(Timer::Rest, at);
        }
    }

    /// How long one that has not proven itself may take for a chunk of `len` bytes before others
    /// are asked instead.
    pub(super) fn patience(&self, len: u32) -> Duration {
        self.uplink.usual(len).map_or(PATIENCE, |usual| PATIENCE.max(usual * PATIENCE_TIMES))
    }
}

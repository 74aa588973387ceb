//! How far a connection is trusted. One that has sent a chunk that verified is proven; one that
//! keeps us waiting is late; one that sent too little for a whole window has stalled. What is under
//! way at others than proven ones is counted by source, so that a crowd of connections counts no
//! more than one.

use std::net::IpAddr;
use std::time::Duration;

use super::Swarm;
use super::connections::Peer;
use crate::Time;
use crate::io::PeerKey;
use crate::link::Trust;
use crate::slots::InFlight;
use crate::sources::Offence;
use crate::timers::Timer;

/// How long a connection that has not proven itself may keep us waiting at least, before others are
/// asked in its place.
const PATIENCE: Duration = Duration::from_millis(250);

/// The same as a multiple of the time that chunks take on average.
const PATIENCE_TIMES: u32 = 4;

impl Peer {
    /// Whether a part of a chunk that it was asked for has come.
    pub(super) fn is_in_a_chunk(&self) -> bool {
        self.in_chunk > 0 && self.open.chunks > 0
    }

    pub(super) fn trust(&self) -> Trust {
        match () {
            () if self.is_stalled => Trust::Stalled,
            () if self.is_late => Trust::Late,
            () if self.is_proven => Trust::Proven,
            () => Trust::Unproven,
        }
    }
}

impl Swarm {
    /// One more chunk of `len` bytes is under way at this connection. Answers how many are.
    pub(super) fn hold(&mut self, peer: PeerKey, len: u32) -> u32 {
        let connection = self.peers.get_mut(&peer).expect("a linked peer is connected");
        connection.open.add(len);
        let (open, trust, source) = (connection.open.chunks, connection.trust(), connection.source);
        self.count_in(trust, source, InFlight { chunks: 1, bytes: len.into() });
        open
    }

    /// One chunk less.
    pub(super) fn let_go(&mut self, peer: PeerKey, len: u32) -> u32 {
        let connection = self.peers.get_mut(&peer).expect("a linked peer is connected");
        connection.open.remove(len);
        let (open, trust, source) = (connection.open.chunks, connection.trust(), connection.source);
        self.count_out(trust, source, InFlight { chunks: 1, bytes: len.into() });
        open
    }

    /// Changes what a connection is worth, and everything that is counted by that.
    pub(super) fn change_trust(&mut self, peer: PeerKey, change: impl FnOnce(&mut Peer)) {
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        let before = connection.trust();
        change(connection);
        let (after, source, open) = (connection.trust(), connection.source, connection.open);
        if before == after {
            return;
        }
        for file in connection.links.iter() {
            if let Some(link) =
                self.files.get_mut(&file).and_then(|state| state.links.get_mut(&peer))
            {
                link.trust = after;
            }
        }
        self.count_out(before, source, open);
        self.count_in(after, source, open);
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

    fn count_in(&mut self, trust: Trust, source: IpAddr, held: InFlight) {
        if trust != Trust::Proven && held.chunks > 0 {
            self.probes.chunks += held.chunks;
            self.probes.bytes += held.bytes;
            self.sources.add_probes(source, held.chunks);
        }
        if trust == Trust::Late {
            self.late.chunks += held.chunks;
            self.late.bytes += held.bytes;
            self.sources.add_late_chunks(source, held.chunks);
        }
    }

    fn count_out(&mut self, trust: Trust, source: IpAddr, held: InFlight) {
        if trust != Trust::Proven && held.chunks > 0 {
            self.probes.chunks -= held.chunks;
            self.probes.bytes -= held.bytes;
            self.sources.remove_probes(source, held.chunks);
        }
        if trust == Trust::Late {
            self.late.chunks -= held.chunks;
            self.late.bytes -= held.bytes;
            self.sources.remove_late_chunks(source, held.chunks);
        }
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
        let Some(connection) = self.peers.get(&peer) else { return };
        // Who sends most of a chunk and goes costs bandwidth, as often as it comes back.
        if connection.is_in_a_chunk() && !connection.is_proven {
            self.offend(now, connection.source, Offence::Corrupt);
        } else if connection.open.chunks > 0 && !connection.is_proven {
            // It was asked in the place of another one. Coming back, it is no newcomer.
            self.offend(now, connection.source, Offence::Stall);
        }
    }

    /// The source failed us. When its rest is over somebody has to look.
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

//! Whether a connection is alive. An id and a port are only declared: a caller that declares those
//! of a connected peer does not take its place, but makes us ping it.

use std::time::Duration;

use tnet_proto::{ByeReason, PeerMessage};

use super::Swarm;
use super::connections::Peer;
use crate::Time;
use crate::io::{Event, Output};
use crate::timers::Timer;
use crate::{FileKey, PeerKey};

/// How long a connection may take to give a sign of life when there is reason to doubt that it is
/// one.
pub(super) const PROBE: Duration = Duration::from_secs(5);

/// The same if it has been silent for that long already, and a peer that says it is the same one
/// has called again.
const PROBE_OF_SILENT: Duration = Duration::from_secs(2);

impl<B> Swarm<B> {
    /// Asks for a sign of life, unless that is being waited for already. Without one the connection
    /// ends.
    pub(super) fn probe(&mut self, now: Time, peer: PeerKey) {
        let Some(connection) = self.peers.get_mut(&peer).filter(|peer| peer.probed.is_none())
        else {
            return;
        };
        connection.probed = Some(now);
        self.timers.arm(Timer::Probe(peer), now + PROBE);
        self.send(peer, PeerMessage::Ping { nonce: 0 });
    }

    /// The same because there is a new connection to what may be the same peer: the older one need
    /// not keep what it has for long if nothing comes from it.
    pub(super) fn probe_older(&mut self, now: Time, peer: PeerKey) {
        self.probe(now, peer);
        if self.peers.get(&peer).is_some_and(|connection| now - connection.heard >= PROBE) {
            self.timers.arm(Timer::Probe(peer), now + PROBE_OF_SILENT);
        }
    }

    /// What was said in answer may be read only now.
    pub(super) fn renew_probe(&mut self, now: Time, peer: PeerKey) {
        if let Some(asked) =
            self.peers.get_mut(&peer).and_then(|connection| connection.probed.as_mut())
        {
            *asked = now;
            self.timers.rearm(Timer::Probe(peer), now + PROBE);
        }
    }

    /// A source of which something is under way has sent nothing for a while, not even another
    /// message. A flow that died without a word looks like this, and is made anew.
    pub(super) fn probe_if_silent(&mut self, now: Time, peer: PeerKey) {
        let Some(connection) = self.peers.get(&peer) else { return };
        if now - connection.heard < self.config.progress_window / 2 {
            return;
        }
        self.probe(now, peer);
        let links: Vec<FileKey> = self.peers[&peer].links.iter().collect();
        for file in links {
            self.ask_sooner_if_silent(now, file);
        }
    }

    /// What was asked on this connection is left without any answer.
    pub(super) fn tell_silent(&mut self, peer: PeerKey) {
        let Some(Peer { source, received, .. }) = self.peers.get(&peer) else { return };
        let (source, received) = (*source, *received);
        self.output(Output::Event(Event::FellSilent { source, received }));
    }

    pub(super) fn on_probe_over(&mut self, now: Time, peer: PeerKey) {
        // What has come waits in the socket while it is we who do not read.
        let is_our_fault = self.is_our_fault(peer);
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        let Some(asked) = connection.probed.take() else { return };
        if connection.heard > asked || is_our_fault {
            return;
        }
        if self.requests.has_open_at(peer) || self.requests.has_withdrawn_at(peer) {
            self.tell_silent(peer);
        }
        // A peer that is told of a double takes the other one for the one that stays: there must be
        // one.
        let reason = if self.has_double(peer) { ByeReason::DUPLICATE } else { ByeReason::IDLE };
        self.disconnect(now, peer, reason);
    }

    /// Whether there is another connection to what may be the same process.
    fn has_double(&self, peer: PeerKey) -> bool {
        let Some(this) = self.peers.get(&peer) else { return false };
        let is_double = |known: &Peer| known.id == this.id && known.source == this.source;
        self.peers.iter().any(|(other, known)| *other != peer && is_double(known))
    }
}

//! Whether a connection still leads to somebody. An id and a port are only said: who says those of a peer that is
//! connected does not take its place, but makes us ask whether it is there.

use std::time::Duration;

use tnet_proto::{ByeReason, PeerMessage};

use super::Swarm;
use crate::io::PeerKey;
use crate::time::Time;
use crate::timers::Timer;

/// How long a connection may take to give a sign of life when there is reason to doubt that it is one.
pub(super) const PROBE: Duration = Duration::from_secs(5);

impl Swarm {
    /// Asks for a sign of life, unless that is being waited for already. Without one the connection ends.
    pub(super) fn probe(&mut self, now: Time, peer: PeerKey) {
        let Some(connection) = self.peers.get_mut(&peer).filter(|peer| peer.probed.is_none()) else { return };
        connection.probed = Some(now);
        self.timers.arm(Timer::Probe(peer), now + PROBE);
        self.send(peer, PeerMessage::Ping { nonce: 0 });
    }

    pub(super) fn on_probe_over(&mut self, now: Time, peer: PeerKey) {
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        let Some(asked) = connection.probed.take() else { return };
        if connection.heard <= asked {
            self.disconnect(now, peer, ByeReason::DUPLICATE);
        }
    }
}

//! Progress of sources. One with open requests is looked at once in each window. If too little
//! came, its requests go to others and it gets none for as long; after a few such windows in a row
//! the connection is given up.

use std::time::Duration;

use tnet_proto::ByeReason;

use super::Swarm;
use crate::Time;
use crate::timers::Timer;
use crate::{FileKey, PeerKey};
use tnet_sources::Offence;
use tnet_sources::Trust;

impl<B> Swarm<B> {
    /// The first request is open at this peer.
    pub(super) fn begin_window(&mut self, now: Time, peer: PeerKey) {
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        connection.window_began = now;
        connection.window_bytes = 0;
        connection.has_delivered = false;
        let (trust, open) = (connection.trust(), self.requests.open_at(peer));
        let window = window(self.config.progress_window, connection.stalls);
        let ends = now + self.jitter(window);
        // One that has not proven itself is looked at before that, too.
        let mut look = ends;
        if trust == Trust::Unproven {
            let len = open.bytes.checked_div(open.chunks.into()).unwrap_or(0);
            look = ends.min(now + self.patience(u32::try_from(len).unwrap_or(u32::MAX)));
        }
        if let Some(connection) = self.peers.get_mut(&peer) {
            connection.window_ends = ends;
        }
        self.timers.rearm(Timer::Progress(peer), look);
    }

    /// Nothing is open at this peer.
    pub(super) fn end_window(&mut self, peer: PeerKey) {
        self.timers.disarm(Timer::Progress(peer));
        self.change_trust(peer, |connection| {
            connection.window_bytes = 0;
            connection.is_late = false;
        });
    }

    /// The window of a source with open requests is over, or a first part of it.
    pub(super) fn check_progress(&mut self, now: Time, peer: PeerKey) {
        let is_our_fault = self.is_our_fault(peer);
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        let (ends, has_delivered) = (connection.window_ends, connection.has_delivered);
        if !has_delivered && !is_our_fault {
            self.change_trust(peer, |connection| connection.is_late = true);
        }
        if now < ends {
            self.timers.rearm(Timer::Progress(peer), ends);
            return self.fill_downloads(now);
        }
        if !is_our_fault {
            self.probe_if_silent(now, peer);
        }
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        let milliseconds =
            u64::try_from((now - connection.window_began).as_millis()).unwrap_or(u64::MAX);
        let enough = milliseconds.saturating_mul(self.config.progress_floor) / 1000;
        if connection.window_bytes >= enough || is_our_fault {
            self.begin_window(now, peer);
            return self.fill_downloads(now);
        }
        self.withdraw_everything(peer);
        self.on_stall(now, peer);
    }

    /// While our own disk is behind, or there is no memory to read into, it is we who do not read.
    pub(super) fn is_our_fault(&self, peer: PeerKey) -> bool {
        self.files.storing_bytes() >= self.config.storing_bytes
            || self.peers.get(&peer).is_some_and(|connection| connection.is_unread)
    }

    pub(super) fn on_reading_paused(&mut self, peer: PeerKey) {
        if let Some(connection) = self.peers.get_mut(&peer) {
            connection.is_unread = true;
        }
    }

    /// What waited is read from now on: no source is judged by the time before.
    pub(super) fn on_reading_resumed(&mut self, now: Time, peer: PeerKey) {
        let Some(connection) = self.peers.get_mut(&peer).filter(|peer| peer.is_unread) else {
            return;
        };
        connection.is_unread = false;
        connection.heard = now;
        if self.requests.has_open_at(peer) {
            self.begin_window(now, peer);
        }
        self.renew_probe(now, peer);
    }

    /// What is under way there goes to others before its window is over.
    pub(super) fn take_back_all(&mut self, now: Time, peer: PeerKey) {
        self.withdraw_everything(peer);
        self.note_stall(now, peer);
    }

    fn withdraw_everything(&mut self, peer: PeerKey) {
        let Some(connection) = self.peers.get(&peer) else { return };
        let links: Vec<FileKey> = connection.links.iter().collect();
        for file in links {
            self.withdraw_all(peer, file);
        }
    }

    fn on_stall(&mut self, now: Time, peer: PeerKey) {
        self.note_stall(now, peer);
        if self
            .peers
            .get(&peer)
            .is_some_and(|connection| connection.stalls >= self.config.stalls_to_drop)
        {
            return self.disconnect(now, peer, ByeReason::IDLE);
        }
        self.fill_downloads(now);
    }

    /// It is not asked for a while.
    fn note_stall(&mut self, now: Time, peer: PeerKey) {
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        let pause = window(self.config.progress_window, connection.stalls);
        connection.stalls += 1;
        let (stalls, source) = (connection.stalls, connection.source);
        self.change_trust(peer, |connection| {
            connection.is_stalled = true;
            connection.is_proven = false;
        });
        if stalls == 1 {
            self.offend(now, source, Offence::Stall);
        }
        let pause = self.jitter(pause);
        self.timers.rearm(Timer::Recover(peer), now + pause);
    }

    /// The pause of a source that did not deliver is over.
    pub(super) fn on_recover(&mut self, now: Time, peer: PeerKey) {
        // A source that does not even answer to what was taken back is dead or mute: asking it for
        // more tells nothing new.
        if self.requests.has_withdrawn_at(peer) {
            if self.is_our_fault(peer) {
                let pause = self.jitter(self.config.progress_window);
                return self.timers.rearm(Timer::Recover(peer), now + pause);
            }
            return self.on_stall(now, peer);
        }
        self.change_trust(peer, |connection| connection.is_stalled = false);
        self.fill_downloads(now);
    }

    /// The source has sent a whole chunk.
    pub(super) fn on_delivered(&mut self, peer: PeerKey) {
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        connection.stalls = 0;
        connection.in_chunk = 0;
        connection.has_delivered = true;
        if connection.is_stalled || connection.is_late {
            self.change_trust(peer, |connection| {
                connection.is_late = false;
                connection.is_stalled = false;
            });
            self.timers.disarm(Timer::Recover(peer));
        }
    }
}

/// The window after so many without enough bytes: twice as long each time.
fn window(first: Duration, stalls: u32) -> Duration {
    first.saturating_mul(1 << stalls.min(6))
}

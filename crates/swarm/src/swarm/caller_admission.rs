//! Which callers keep their connection when there are more of them than places. Connections that we
//! made are never evicted.
//!
//! A caller proves itself by a chunk: one that it sent and that verified, or one that it received.
//! One that sent is not evicted as long as the proof is fresh. One that has proven nothing is
//! evicted first, by source. One that only received is mostly kept, but receiving is cheap: an
//! eighth of the places is reserved for callers that had no chance yet. When receivers fill that
//! too, the source with most of them gives one up for a source with fewer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use tnet_sources::Crowd;

use crate::PeerKey;
use crate::Time;

/// How long a proof counts.
pub(super) const PROVEN_FOR: Duration = Duration::from_secs(30);

/// How long a caller has a place for itself, before another one of its own source, or of one that
/// has as few places, gets it. Enough for a round trip, an open and the first chunk. With fewer
/// callers than 750 places in that time each has longer; with more of them, seven thousand a
/// second, some are turned away.
pub(super) const SETTLING: Duration = Duration::from_millis(100);

/// The same before another one of its own address gets it. Callers that come back at once after
/// they were turned away would else replace each other all the time.
const SETTLING_OF_OWN: Duration = Duration::from_secs(1);

/// So many callers behind one address weigh no more than one: containers that start at the same
/// time, and those of them that receive chunks. A host with an IPv6 address for each connection
/// must not outweigh them.
const FREE_UNPROVEN: u64 = 32;
const FREE_RECEIVERS: u64 = 128;

/// This part of the places is not for callers that only received.
const CHANCE_PART: usize = 8;

/// Callers looked at in search of one that makes room: each one may be in use just now.
const MAX_CANDIDATES: usize = 8;

/// Callers, by what they have proven.
#[derive(Debug)]
pub(super) struct CallerAdmission {
    most: usize,
    unproven: Crowd<PeerKey, Time>,
    receivers: Crowd<PeerKey, Time>,
    proven: BTreeMap<PeerKey, Proofs>,
    /// When each proof is to be looked at again.
    due: BTreeSet<(Time, PeerKey)>,
}

#[derive(Debug)]
struct Proofs {
    ip: IpAddr,
    received: Option<Time>,
    sent: Option<Time>,
    due: Time,
}

impl Proofs {
    fn last(&self) -> Time {
        self.received.max(self.sent).unwrap_or(Time::ZERO)
    }
}

/// What a chunk proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// It was sent to us and verified.
    Sent,
    /// It was received to its last byte.
    Received,
}

impl CallerAdmission {
    /// `most` places.
    pub(super) fn new(most: usize) -> CallerAdmission {
        CallerAdmission {
            most,
            unproven: Crowd::new(FREE_UNPROVEN),
            receivers: Crowd::new(FREE_RECEIVERS),
            proven: BTreeMap::new(),
            due: BTreeSet::new(),
        }
    }

    /// How many have called.
    pub(super) fn len(&self) -> usize {
        self.unproven.len() + self.proven.len()
    }

    pub(super) fn enter(&mut self, now: Time, peer: PeerKey, ip: IpAddr) {
        self.unproven.insert(peer, ip, now);
    }

    pub(super) fn leave(&mut self, peer: PeerKey) {
        self.unproven.remove(peer);
        self.receivers.remove(peer);
        if let Some(proof) = self.proven.remove(&peer) {
            self.due.remove(&(proof.due, peer));
        }
    }

    /// The peer has proven itself, if it is one that called.
    pub(super) fn prove(&mut self, now: Time, peer: PeerKey, proof: Proof) {
        if let Some(proofs) = self.proven.get_mut(&peer) {
            match proof {
                Proof::Received => proofs.received = Some(now),
                Proof::Sent => {
                    if proofs.sent.replace(now).is_none() {
                        self.receivers.remove(peer);
                    }
                }
            }
            return;
        }
        let Some((ip, _)) = self.unproven.remove(peer) else { return };
        let (received, sent) = match proof {
            Proof::Sent => (None, Some(now)),
            Proof::Received => (Some(now), None),
        };
        if sent.is_none() {
            self.receivers.insert(peer, ip, now);
        }
        let due = now + PROVEN_FOR;
        self.due.insert((due, peer));
        self.proven.insert(peer, Proofs { ip, received, sent, due });
    }

    /// The caller to evict for one from this address, if that is to be admitted. `is_in_use` tells
    /// whether a chunk is under way on a connection just now.
    pub(super) fn makes_room_for(
        &mut self,
        now: Time,
        newcomer: IpAddr,
        is_in_use: impl Fn(PeerKey) -> bool,
    ) -> Option<PeerKey> {
        self.forget_old_proofs(now);
        let ago = |time: Duration| now.elapsed().checked_sub(time).map(Time::after_start);
        let (ripe, ripe_of_own) = (ago(SETTLING), ago(SETTLING_OF_OWN));
        for _ in 0..MAX_CANDIDATES {
            let Some(peer) = self.unproven.makes_room_for(newcomer, ripe, ripe_of_own) else {
                break;
            };
            if !is_in_use(peer) {
                return Some(peer);
            }
            // As if it had come just now.
            let (ip, _) = self.unproven.remove(peer)?;
            self.unproven.insert(peer, ip, now);
        }
        let chances = (self.most / CHANCE_PART).max(1);
        for _ in 0..MAX_CANDIDATES {
            // With none ripe only a source with more gives way.
            let receiver = self.receivers.makes_room_for(newcomer, None, None);
            let peer = receiver.filter(|_| self.unproven.len() < chances)?;
            let last = self.proven.get(&peer).map_or(now, Proofs::last);
            let (ip, since) = self.receivers.remove(peer)?;
            self.receivers.insert(peer, ip, last);
            if since == last && !is_in_use(peer) {
                return Some(peer);
            }
        }
        None
    }

    fn forget_old_proofs(&mut self, now: Time) {
        while let Some((at, peer)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, peer));
            let Some(proof) = self.proven.get_mut(&peer) else { continue };
            let (ip, last) = (proof.ip, proof.last());
            let is_fresh =
                |proof: Option<Time>| proof.is_some_and(|proof| proof + PROVEN_FOR > now);
            if !is_fresh(Some(last)) {
                self.proven.remove(&peer);
                self.receivers.remove(peer);
                self.unproven.insert(peer, ip, last);
                continue;
            }
            if !is_fresh(proof.sent) {
                proof.sent = None;
                self.receivers.insert(peer, ip, last);
            }
            proof.due = last + PROVEN_FOR;
            self.due.insert((proof.due, peer));
        }
    }

    /// Panics unless each connected caller is here once.
    #[cfg(any(test, feature = "check"))]
    pub(super) fn check(&self, callers: impl Iterator<Item = PeerKey>) {
        let mut count = 0;
        for peer in callers {
            let is_proven = self.proven.contains_key(&peer);
            assert_ne!(is_proven, self.unproven.contains(peer), "the place of {peer:?}");
            count += 1;
        }
        assert_eq!(count, self.len(), "a place is kept for a caller that is gone");
        assert_eq!(self.due.len(), self.proven.len(), "proofs that are looked at");
        for (peer, proof) in &self.proven {
            assert!(self.due.contains(&(proof.due, *peer)), "when to look at {peer:?}");
            assert_eq!(
                proof.sent.is_none(),
                self.receivers.contains(*peer),
                "whether {peer:?} only received"
            );
        }
        assert!(self.receivers.len() <= self.proven.len(), "receivers that have proven nothing");
    }
}

//! Who keeps a place when there are more callers than places. Connections that we made are not in
//! question.
//!
//! A caller proves itself by a chunk: one that it sent and that verified, or one that it took. Who
//! gave is safe as long as the proof is fresh. Who has proven nothing makes room first, by source.
//! Who only took is as good as safe, but taking is cheap: an eighth of the places is kept for those
//! who had no chance yet, and when the others take that too the source with most of them gives way
//! to one with fewer.

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

/// The same before another one of its own address gets it. A crowd that comes back at once from
/// where it was sent away would else change places all the time, which is of use to nobody.
const SETTLING_OF_OWN: Duration = Duration::from_secs(1);

/// So many callers behind one address weigh no more than one: containers that start at the same
/// time, and those of them that take chunks. A host with an IPv6 address for each connection must
/// not outweigh them.
const FREE_UNPROVEN: u64 = 32;
const FREE_TAKERS: u64 = 128;

/// This part of the places is not for takers.
const CHANCE_PART: usize = 8;

/// Callers looked at in search of one that makes room: each one may be in use just now.
const LOOKED_AT: usize = 8;

/// Callers, by what they have proven.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    unproven: Crowd<PeerKey, Time>,
    takers: Crowd<PeerKey, Time>,
    proven: BTreeMap<PeerKey, Proof>,
    /// When each proof is to be looked at again.
    due: BTreeSet<(Time, PeerKey)>,
}

#[derive(Debug)]
struct Proof {
    ip: IpAddr,
    took: Option<Time>,
    gave: Option<Time>,
    due: Time,
}

impl Proof {
    fn last(&self) -> Time {
        self.took.max(self.gave).unwrap_or(Time::ZERO)
    }
}

/// What a chunk proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// It was sent to us and verified.
    Gave,
    /// It was taken to its last byte.
    Took,
}

impl Places {
    /// Of so many for callers.
    pub(super) fn new(most: usize) -> Places {
        Places {
            most,
            unproven: Crowd::new(FREE_UNPROVEN),
            takers: Crowd::new(FREE_TAKERS),
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
        self.takers.remove(peer);
        if let Some(proof) = self.proven.remove(&peer) {
            self.due.remove(&(proof.due, peer));
        }
    }

    /// The peer has proven itself, if it is one that called.
    pub(super) fn prove(&mut self, now: Time, peer: PeerKey, deed: Deed) {
        if let Some(proof) = self.proven.get_mut(&peer) {
            match deed {
                Deed::Took => proof.took = Some(now),
                Deed::Gave => {
                    if proof.gave.replace(now).is_none() {
                        self.takers.remove(peer);
                    }
                }
            }
            return;
        }
        let Some((ip, _)) = self.unproven.remove(peer) else { return };
        let (took, gave) = match deed {
            Deed::Gave => (None, Some(now)),
            Deed::Took => (Some(now), None),
        };
        if gave.is_none() {
            self.takers.insert(peer, ip, now);
        }
        let due = now + PROVEN_FOR;
        self.due.insert((due, peer));
        self.proven.insert(peer, Proof { ip, took, gave, due });
    }

    /// Who is to make room for a caller from this address, if it is to be let in. `is_in_use` tells
    /// who is being sent a chunk just now.
    pub(super) fn makes_room_for(
        &mut self,
        now: Time,
        newcomer: IpAddr,
        is_in_use: impl Fn(PeerKey) -> bool,
    ) -> Option<PeerKey> {
        self.forget_old_proofs(now);
        let ago = |time: Duration| now.elapsed().checked_sub(time).map(Time::after_start);
        let (ripe, ripe_of_own) = (ago(SETTLING), ago(SETTLING_OF_OWN));
        for _ in 0..LOOKED_AT {
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
        for _ in 0..LOOKED_AT {
            // With none ripe only a source with more gives way.
            let taker = self.takers.makes_room_for(newcomer, None, None);
            let peer = taker.filter(|_| self.unproven.len() < chances)?;
            let last = self.proven.get(&peer).map_or(now, Proof::last);
            let (ip, since) = self.takers.remove(peer)?;
            self.takers.insert(peer, ip, last);
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
            let is_fresh = |deed: Option<Time>| deed.is_some_and(|deed| deed + PROVEN_FOR > now);
            if !is_fresh(Some(last)) {
                self.proven.remove(&peer);
                self.takers.remove(peer);
                self.unproven.insert(peer, ip, last);
                continue;
            }
            if !is_fresh(proof.gave) {
                proof.gave = None;
                self.takers.insert(peer, ip, last);
            }
            proof.due = last + PROVEN_FOR;
            self.due.insert((proof.due, peer));
        }
    }

    /// Panics unless each of those who called is here once.
    #[cfg(any(test, feature = "check"))]
    pub(super) fn check(&self, callers: impl Iterator<Item = PeerKey>) {
        let mut count = 0;
        for peer in callers {
            let is_proven = self.proven.contains_key(&peer);
            assert_ne!(is_proven, self.unproven.contains(peer), "the place of {peer:?}");
            count += 1;
        }
        assert_eq!(count, self.len(), "places are kept for those who are gone");
        assert_eq!(self.due.len(), self.proven.len(), "proofs that are looked at");
        for (peer, proof) in &self.proven {
            assert!(self.due.contains(&(proof.due, *peer)), "when to look at {peer:?}");
            assert_eq!(
                proof.gave.is_none(),
                self.takers.contains(*peer),
                "whether {peer:?} only took"
            );
        }
        assert!(self.takers.len() <= self.proven.len(), "takers who have proven nothing");
    }
}

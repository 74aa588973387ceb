//! The engine's end of the coordinator connection: reports go out as the reporter decides, lookups when they can, and
//! holders come in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use tnet_fileinfo::FileHash;
use tnet_proto::{CoordinatorReply, CoordinatorRequest};
use tnet_swarm::{FileKey, Input};
use tokio::sync::{Notify, mpsc, oneshot};

use super::{Engine, keys_of};
use crate::api::{CoordinatorState, Unfit};
use crate::coordinator_client::CoordinatorEvent;

/// Neighbours with which a download does without news of further holders.
const ENOUGH_NEIGHBOURS: usize = 16;

pub(super) struct CoordinatorLink {
    pub(super) address: Option<SocketAddr>,
    pub(super) state: CoordinatorState,
    requests: Option<mpsc::Sender<CoordinatorRequest>>,
    /// To be asked when there is room or a connection.
    lookups: BTreeSet<FileHash>,
    watched: BTreeSet<FileHash>,
    waiting: BTreeMap<FileHash, Vec<oneshot::Sender<Vec<SocketAddr>>>>,
    limits_told: BTreeSet<u64>,
    hurry: Arc<Notify>,
}

impl CoordinatorLink {
    pub(super) fn new(address: Option<SocketAddr>, hurry: Arc<Notify>) -> CoordinatorLink {
        let state = if address.is_some() { CoordinatorState::Connecting } else { CoordinatorState::None };
        CoordinatorLink {
            address,
            state,
            requests: None,
            lookups: BTreeSet::new(),
            watched: BTreeSet::new(),
            waiting: BTreeMap::new(),
            limits_told: BTreeSet::new(),
            hurry,
        }
    }

    /// Somebody has begun to wait: a coordinator that was not reachable is called now, not after a pause.
    pub(super) fn call_soon(&self) {
        if self.state != CoordinatorState::Connected {
            self.hurry.notify_one();
        }
    }

    /// False if there is no room or no connection.
    fn try_send(&self, request: CoordinatorRequest) -> bool {
        self.requests.as_ref().is_some_and(|requests| requests.try_send(request).is_ok())
    }

    fn has_room(&self) -> bool {
        self.requests.as_ref().is_some_and(|requests| requests.capacity() > 0)
    }

    pub(super) fn say_bye(&self) {
        self.try_send(CoordinatorRequest::Bye);
    }
}

impl Engine {
    pub(super) fn on_coordinator(&mut self, event: CoordinatorEvent) {
        match event {
            CoordinatorEvent::Welcome { table, requests } => {
                if self.coordinator.state != CoordinatorState::Connected {
                    let address = self.coordinator.address.map(tracing::field::display);
                    tracing::info!(address, "coordinator connected");
                }
                self.coordinator.state = CoordinatorState::Connected;
                self.coordinator.requests = Some(requests);
                let now = self.now();
                self.reporter.on_welcome(now, table);
                // Watches and questions belong to a connection.
                let again = std::mem::take(&mut self.coordinator.watched);
                self.coordinator.lookups.extend(again);
                self.coordinator.lookups.extend(self.coordinator.waiting.keys());
            }
            CoordinatorEvent::Reply(reply) => self.on_reply(&reply),
            CoordinatorEvent::Down { unfit } => {
                let state = match unfit {
                    None => CoordinatorState::Unreachable,
                    Some(Unfit::OtherVersion) => CoordinatorState::OtherVersion,
                    Some(Unfit::NotCoordinator) => CoordinatorState::NotCoordinator,
                };
                if self.coordinator.state != state {
                    let why = unfit.map(|unfit| unfit.to_string());
                    let address = self.coordinator.address.map(tracing::field::display);
                    tracing::warn!(address, why, "coordinator not reachable; trying again and again");
                }
                self.coordinator.state = state;
                self.coordinator.requests = None;
                self.reporter.on_disconnect();
            }
        }
    }

    fn on_reply(&mut self, reply: &CoordinatorReply) {
        self.reporter.on_reply(reply);
        match reply {
            CoordinatorReply::Holders { hash, full, partial, holders } => {
                let hash = FileHash::from_bytes(*hash);
                tracing::debug!(file = %hash.short(), full, partial, "the coordinator says how many have it");
                let addresses: Vec<SocketAddr> = holders.iter().map(|holder| holder.address).collect();
                for waiting in self.coordinator.waiting.remove(&hash).unwrap_or_default() {
                    let _ = waiting.send(addresses.clone());
                }
                for file in keys_of(&self.by_hash, &hash) {
                    self.feed(Input::Holders { file, addresses: addresses.clone() });
                    self.maybe_unwatch(file, hash);
                }
            }
            CoordinatorReply::LimitReached { limit, value }
                if self.coordinator.limits_told.insert(*value) =>
            {
                tracing::warn!(?limit, value, "the coordinator does not take all of our reports");
            }
            _ => {}
        }
    }

    fn maybe_unwatch(&mut self, file: FileKey, hash: FileHash) {
        let settled = self.files.get(&file).is_none_or(|entry| entry.running.is_none());
        if (settled || self.swarm.neighbours(file) >= ENOUGH_NEIGHBOURS)
            && self.coordinator.watched.remove(&hash)
        {
            self.coordinator.try_send(CoordinatorRequest::Unwatch { hash: *hash.as_bytes() });
        }
    }

    /// The core wants to know who holds the file.
    pub(super) fn look_up(&mut self, file: FileKey) {
        if let Some(entry) = self.files.get(&file) {
            self.coordinator.lookups.insert(entry.info.hash());
        }
    }

    pub(super) fn find_holders(&mut self, hash: FileHash, done: oneshot::Sender<Vec<SocketAddr>>) {
        let waiting = self.coordinator.waiting.entry(hash).or_default();
        waiting.retain(|waiting| !waiting.is_closed());
        waiting.push(done);
        self.coordinator.call_soon();
        self.coordinator.lookups.insert(hash);
    }

    /// Sends what is due, as far as there is room; the rest stays where it is.
    pub(super) fn send_reports(&mut self) {
        let now = self.now();
        while self.coordinator.has_room()
            && let Some(request) = self.reporter.poll(now)
        {
            self.coordinator.try_send(request);
        }
        while self.coordinator.has_room()
            && let Some(hash) = self.coordinator.lookups.pop_first()
        {
            let few = |file: &FileKey| {
                self.files[file].running.is_some() && self.swarm.neighbours(*file) < ENOUGH_NEIGHBOURS
            };
            let watch =
                keys_of(&self.by_hash, &hash).iter().any(few) && !self.coordinator.watched.contains(&hash);
            tracing::debug!(file = %hash.short(), "asking the coordinator who has it");
            let bytes = *hash.as_bytes();
            if watch {
                self.coordinator.watched.insert(hash);
                self.coordinator.try_send(CoordinatorRequest::Watch { hash: bytes });
            } else {
                self.coordinator.try_send(CoordinatorRequest::Lookup { hash: bytes });
            }
        }
    }
}

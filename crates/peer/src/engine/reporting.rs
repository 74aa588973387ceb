//! The engine's end of the coordinator connection: sends what the [`CoordinatorSession`] decides
//! while there is room, and passes on what comes in.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tnet_fileinfo::{FileHash, explain};
use tnet_infosearch::Found;
use tnet_net::CoordinatorAddress;
use tnet_proto::{CoordinatorReply, CoordinatorRequest, Limit};
use tnet_session::ChunkBody;
use tnet_swarm::{CoordinatorSession, FileKey, Input, Swarm, Time};
use tokio::sync::{Notify, mpsc, oneshot};

use super::{Engine, keys_of};
use crate::api::{CoordinatorContact, CoordinatorState, Listing, Unfit};
use crate::coordinator_client::CoordinatorEvent;

pub(super) struct CoordinatorLink {
    pub(super) address: Option<CoordinatorAddress>,
    pub(super) state: CoordinatorState,
    /// When that began.
    since: Time,
    /// When it was connected last.
    lost: Time,
    /// How long it was not connected, up to the last connection.
    absent: Duration,
    /// When it last confirmed what it was told.
    confirmed: Option<Time>,
    pub(super) last_error: Option<String>,
    /// Where it sends others, when it said so last.
    listing: Listing,
    requests: Option<mpsc::Sender<CoordinatorRequest>>,
    pub(super) session: CoordinatorSession,
    waiting: BTreeMap<FileHash, Vec<oneshot::Sender<Found>>>,
    /// Which of its limits were told the owner.
    pub(super) limits_told: Vec<Limit>,
    hurry: Arc<Notify>,
}

impl CoordinatorLink {
    pub(super) fn new(
        address: Option<CoordinatorAddress>,
        session: CoordinatorSession,
        hurry: Arc<Notify>,
    ) -> CoordinatorLink {
        let state =
            if address.is_some() { CoordinatorState::Connecting } else { CoordinatorState::None };
        CoordinatorLink {
            address,
            state,
            since: Time::ZERO,
            lost: Time::ZERO,
            absent: Duration::ZERO,
            confirmed: None,
            last_error: None,
            listing: Listing::default(),
            requests: None,
            session,
            waiting: BTreeMap::new(),
            limits_told: Vec::new(),
            hurry,
        }
    }

    /// A request waits for it: a coordinator that was not reachable is called now, not after a
    /// pause.
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

    /// Time in the present state begins with a change of it.
    fn enter(&mut self, now: Time, state: CoordinatorState) {
        match (self.state, state) {
            (CoordinatorState::Connected, CoordinatorState::Connected) => {}
            (CoordinatorState::Connected, _) => self.lost = now,
            (_, CoordinatorState::Connected) => self.absent += now - self.lost,
            _ => {}
        }
        if self.state != state {
            (self.state, self.since) = (state, now);
        }
    }

    /// For how long there has been none, for a download that began then. A short absence is no long
    /// one because it comes late.
    pub(super) fn missing(&self, now: Time, began: Time) -> Option<Duration> {
        (self.state != CoordinatorState::Connected).then(|| now - began.max(self.lost))
    }

    /// For how long there has been none, in all.
    pub(super) fn absent(&self, now: Time) -> Duration {
        match self.state {
            CoordinatorState::Connected => self.absent,
            _ => self.absent + (now - self.lost),
        }
    }

    /// What is wrong with what answers there, and for how long that has been so, or has been of
    /// interest to a download that began then.
    pub(super) fn unfit(&self, now: Time, began: Time) -> Option<(Unfit, Duration)> {
        Unfit::of(self.state).map(|fault| (fault, now - began.max(self.since)))
    }

    pub(super) fn contact(&self, now: Time, files_reported: u64) -> CoordinatorContact {
        CoordinatorContact {
            since: now - self.since,
            last_report: self.confirmed.map(|confirmed| now - confirmed),
            files_reported,
            last_error: self.last_error.clone(),
            listing: self.listing.clone(),
        }
    }

    pub(super) fn say_bye(&self) {
        self.try_send(CoordinatorRequest::Bye);
    }
}

impl Engine {
    pub(super) fn on_coordinator(&mut self, event: CoordinatorEvent) {
        match event {
            CoordinatorEvent::Welcome { lease, table, listing, requests } => {
                if self.coordinator.state != CoordinatorState::Connected {
                    let address = self.coordinator.address.as_ref().map(tracing::field::display);
                    tracing::info!(address, "coordinator connected");
                }
                let now = self.now;
                self.coordinator.enter(now, CoordinatorState::Connected);
                self.coordinator.requests = Some(requests);
                self.note_listing(listing);
                self.coordinator.session.on_welcome(now, lease, table);
                // Questions belong to a connection.
                for hash in self.coordinator.waiting.keys() {
                    self.coordinator.session.look_up(*hash);
                }
            }
            CoordinatorEvent::Reply(reply) => self.on_reply(&reply),
            CoordinatorEvent::Down { unfit, error, is_narrow } => {
                let state = match unfit {
                    None => CoordinatorState::Unreachable,
                    Some(Unfit::OtherVersion) => CoordinatorState::OtherVersion,
                    Some(Unfit::NotCoordinator) => CoordinatorState::NotCoordinator,
                };
                if self.coordinator.state != state {
                    let why = unfit.map(|unfit| explain(&unfit).to_string());
                    let address = self.coordinator.address.as_ref().map(tracing::field::display);
                    tracing::warn!(address, why, "coordinator not reachable; retrying");
                }
                if is_narrow {
                    let address = self.coordinator.address.as_ref().map(tracing::field::display);
                    tracing::warn!(
                        address,
                        "small packets pass to the coordinator and large ones seem to get lost (path MTU); from now \
                         on it is called with small ones"
                    );
                    self.narrow_since = Some(self.now);
                }
                self.coordinator.enter(self.now, state);
                self.coordinator.last_error = Some(error);
                self.coordinator.requests = None;
                self.coordinator.session.on_disconnect();
            }
        }
    }

    /// Told once, until it changes.
    fn note_listing(&mut self, listing: Listing) {
        if self.coordinator.listing == listing {
            return;
        }
        match &listing {
            Listing::Unknown | Listing::Nowhere => {}
            Listing::At(address) => {
                tracing::info!(%address, "coordinator refers peers to this address")
            }
            Listing::SameMachine { port } => {
                tracing::info!(port, "coordinator refers peers to this port of its own machine");
            }
            Listing::Refused(problem) => {
                let hint = problem.hint();
                tracing::warn!("coordinator does not refer peers to this one: {problem}; {hint}");
            }
        }
        self.coordinator.listing = listing;
    }

    fn on_reply(&mut self, reply: &CoordinatorReply) {
        self.coordinator.session.on_reply(reply);
        match reply {
            CoordinatorReply::Holders { hash, full, partial, holders } => {
                let hash = FileHash::from_bytes(*hash);
                tracing::debug!(file = %hash.short(), full, partial, "the coordinator says how many have it");
                let addresses: Vec<SocketAddr> =
                    holders.iter().map(|holder| holder.address).collect();
                for waiting in self.coordinator.waiting.remove(&hash).unwrap_or_default() {
                    let _ = waiting.send(Found { full: *full, addresses: addresses.clone() });
                }
                for file in keys_of(&self.by_hash, &hash) {
                    if let Some(running) = self.files.running_mut(file) {
                        running.holders.note(*full, &addresses);
                    }
                    self.feed(Input::Holders { file, addresses: addresses.clone() });
                }
                self.unwatch_if_settled(hash);
            }
            CoordinatorReply::LimitReached { limit: Limit::WatchesPerPeer, .. } => {
                tracing::debug!("coordinator takes no more watches; polling it");
            }
            CoordinatorReply::Accepted { .. } | CoordinatorReply::Renewed => {
                self.coordinator.confirmed = Some(self.now);
            }
            CoordinatorReply::LimitReached { limit, value }
                if !self.coordinator.limits_told.contains(limit) =>
            {
                self.coordinator.limits_told.push(*limit);
                tracing::warn!(
                    ?limit,
                    value,
                    "coordinator limit reached; not all files are reported"
                );
            }
            _ => {}
        }
    }

    /// Ends the watch of a file that is not downloaded any more, or for which there are enough
    /// neighbours.
    pub(super) fn unwatch_if_settled(&mut self, hash: FileHash) {
        if !needs_holders(&self.by_hash, &self.swarm, &hash) {
            self.coordinator.session.unwatch(hash);
        }
    }

    /// The core wants to know who holds the file.
    pub(super) fn look_up(&mut self, file: FileKey) {
        if let Some(entry) = self.files.get(&file) {
            self.coordinator.session.look_up(entry.info.hash());
        }
    }

    pub(super) fn find_holders(&mut self, hash: FileHash, done: oneshot::Sender<Found>) {
        let waiting = self.coordinator.waiting.entry(hash).or_default();
        waiting.retain(|waiting| !waiting.is_closed());
        waiting.push(done);
        self.coordinator.call_soon();
        self.coordinator.session.look_up(hash);
    }

    /// Sends what is due, as far as there is room; the rest stays where it is.
    pub(super) fn send_reports(&mut self) {
        let now = self.now;
        while self.coordinator.has_room() {
            let is_watched = |hash: &FileHash| needs_holders(&self.by_hash, &self.swarm, hash);
            let Some(request) = self.coordinator.session.poll(now, is_watched) else { return };
            if let CoordinatorRequest::Watch { hash } | CoordinatorRequest::Lookup { hash } =
                &request
            {
                let file = FileHash::from_bytes(*hash).short();
                tracing::debug!(%file, "asking the coordinator for holders");
            }
            self.coordinator.try_send(request);
        }
    }
}

/// Whether a download of the content wants more neighbours.
fn needs_holders(
    by_hash: &HashMap<FileHash, BTreeSet<FileKey>>,
    swarm: &Swarm<ChunkBody>,
    hash: &FileHash,
) -> bool {
    keys_of(by_hash, hash).iter().any(|file| swarm.needs_holders(*file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_absence_of_the_coordinator_is_not_long_because_it_comes_late() {
        let at = |seconds| Time::after_start(Duration::from_secs(seconds));
        let address = SocketAddr::from(([10, 0, 0, 1], 7400));
        let mut link = CoordinatorLink::new(
            Some(address.into()),
            CoordinatorSession::new(Duration::ZERO),
            Arc::default(),
        );
        let waited = |link: &CoordinatorLink, now: u64| {
            link.missing(at(now), at(2)).map(|time| time.as_secs())
        };
        // Never there: from the start of the download on, whatever it is called.
        link.enter(at(3), CoordinatorState::Unreachable);
        assert_eq!(waited(&link, 9), Some(7));
        link.enter(at(10), CoordinatorState::Connected);
        assert_eq!(waited(&link, 14), None);
        link.enter(at(14), CoordinatorState::Unreachable);
        link.enter(at(15), CoordinatorState::NotCoordinator);
        assert_eq!(waited(&link, 16), Some(2));
        assert_eq!(link.absent(at(16)), Duration::from_secs(12));
        link.enter(at(17), CoordinatorState::Connected);
        assert_eq!(link.absent(at(30)), Duration::from_secs(13));
    }

    #[test]
    fn whoever_answers_instead_of_an_absent_coordinator_is_not_unfit_for_as_long_as_that_was_absent()
     {
        let at = |seconds| Time::after_start(Duration::from_secs(seconds));
        let address = SocketAddr::from(([10, 0, 0, 1], 7400));
        let session = CoordinatorSession::new(Duration::ZERO);
        let mut link = CoordinatorLink::new(Some(address.into()), session, Arc::default());
        link.enter(at(3), CoordinatorState::Unreachable);
        assert_eq!(link.unfit(at(12), at(1)), None);
        link.enter(at(13), CoordinatorState::NotCoordinator);
        let since = |now, began| link.unfit(at(now), at(began)).map(|(_, since)| since.as_secs());
        assert_eq!((since(14, 1), since(23, 1), since(23, 20)), (Some(1), Some(10), Some(3)));
    }
}

//! What a peer says to one coordinator, and when: reports and signs of life, who has which file,
//! what came of calls.
//!
//! A [`CoordinatorSession`] outlives connections; the caller tells it of each and sends what
//! [`poll`] gives while there is room.
//!
//! [`poll`]: CoordinatorSession::poll

mod call_results;
mod reconnect;
mod reporter;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tnet_fileinfo::FileHash;
use tnet_proto::{Availability, CoordinatorReply, CoordinatorRequest, Limit, ReportDigest};

pub use reconnect::ReconnectPause;

use crate::Time;
use call_results::CallResults;
use reporter::Reporter;

/// One peer's dealings with one coordinator.
#[derive(Debug)]
pub struct CoordinatorSession {
    reporter: Reporter,
    calls: CallResults,
    /// To be asked when there is room or a connection.
    lookups: BTreeSet<FileHash>,
    /// Of these the coordinator pushes new holders.
    watched: BTreeSet<FileHash>,
    /// Those among them for which it has not said yet that it will.
    unanswered: BTreeSet<FileHash>,
    /// No longer of interest, and the coordinator is to be told.
    to_unwatch: BTreeSet<FileHash>,
    /// It takes no more watches of ours; lookups still work.
    watches_are_full: bool,
}

impl CoordinatorSession {
    /// Not connected, with nothing to report. A sign of life is due each `interval`.
    pub fn new(interval: Duration) -> CoordinatorSession {
        CoordinatorSession {
            reporter: Reporter::new(interval),
            calls: CallResults::default(),
            lookups: BTreeSet::new(),
            watched: BTreeSet::new(),
            unanswered: BTreeSet::new(),
            to_unwatch: BTreeSet::new(),
            watches_are_full: false,
        }
    }

    /// From now on we hold this much of the file of `size` bytes.
    pub fn set(&mut self, hash: FileHash, size: u64, availability: Availability) {
        self.reporter.set(hash, size, availability);
    }

    /// How much of the file was last set.
    pub fn availability(&self, hash: &FileHash) -> Availability {
        self.reporter.availability(hash)
    }

    /// Files reported.
    pub fn files_reported(&self) -> usize {
        self.reporter.len()
    }

    /// The coordinator welcomed us: it forgets us after a silence of `lease`, and `table` is the
    /// digest of what it still has of us. Watches belong to a connection, so they begin anew.
    pub fn on_welcome(&mut self, now: Time, lease: Duration, table: ReportDigest) {
        self.reporter.on_lease(lease);
        self.reporter.on_welcome(now, table);
        self.calls.on_welcome();
        self.lookups.extend(std::mem::take(&mut self.watched));
        self.unanswered.clear();
        self.to_unwatch.clear();
        self.watches_are_full = false;
    }

    /// The connection is gone.
    pub fn on_disconnect(&mut self) {
        self.reporter.on_disconnect();
    }

    /// The coordinator answered, or pushed.
    pub fn on_reply(&mut self, reply: &CoordinatorReply) {
        self.reporter.on_reply(reply);
        match reply {
            CoordinatorReply::Holders { hash, holders, .. } => {
                self.unanswered.remove(&FileHash::from_bytes(*hash));
                self.calls.on_named(holders.iter().map(|holder| holder.address));
            }
            CoordinatorReply::LimitReached { limit: Limit::WatchesPerPeer, .. } => {
                self.watches_are_full = true;
                for hash in std::mem::take(&mut self.unanswered) {
                    self.watched.remove(&hash);
                    self.lookups.insert(hash);
                }
            }
            CoordinatorReply::Unsupported { message } => self.calls.on_unsupported(*message),
            _ => {}
        }
    }

    /// A peer answered at this address.
    pub fn on_reached(&mut self, address: SocketAddr) {
        self.calls.on_reached(address);
    }

    /// No peer answered at this address.
    pub fn on_failed(&mut self, address: SocketAddr) {
        self.calls.on_failed(address);
    }

    /// The holders of this file are wanted.
    pub fn look_up(&mut self, hash: FileHash) {
        self.lookups.insert(hash);
    }

    /// New holders of this file are not wanted any more.
    pub fn unwatch(&mut self, hash: FileHash) {
        self.unanswered.remove(&hash);
        if self.watched.remove(&hash) {
            self.to_unwatch.insert(hash);
        }
    }

    /// The next message to send now, until there is none. `is_watched` says for which files a
    /// lookup is to be a watch.
    pub fn poll(
        &mut self,
        now: Time,
        is_watched: impl FnOnce(&FileHash) -> bool,
    ) -> Option<CoordinatorRequest> {
        if let Some(request) = self.reporter.poll(now).or_else(|| self.calls.poll(now)) {
            return Some(request);
        }
        if let Some(hash) = self.to_unwatch.pop_first() {
            return Some(CoordinatorRequest::Unwatch { hash: *hash.as_bytes() });
        }
        let hash = self.lookups.pop_first()?;
        let bytes = *hash.as_bytes();
        if !self.watches_are_full && is_watched(&hash) && self.watched.insert(hash) {
            self.unanswered.insert(hash);
            return Some(CoordinatorRequest::Watch { hash: bytes });
        }
        Some(CoordinatorRequest::Lookup { hash: bytes })
    }

    /// When to poll again at the latest.
    pub fn next_timeout(&self) -> Option<Time> {
        self.reporter.next_timeout()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: FileHash = FileHash::from_bytes([1; 32]);
    const WATCH: CoordinatorRequest = CoordinatorRequest::Watch { hash: [1; 32] };
    const LOOKUP: CoordinatorRequest = CoordinatorRequest::Lookup { hash: [1; 32] };

    fn welcomed() -> CoordinatorSession {
        let mut session = CoordinatorSession::new(Duration::from_secs(10));
        session.on_welcome(Time::ZERO, Duration::from_secs(30), ReportDigest::default());
        session
    }

    fn polled(session: &mut CoordinatorSession, is_watched: bool) -> Vec<CoordinatorRequest> {
        std::iter::from_fn(|| session.poll(Time::ZERO, |_| is_watched)).collect()
    }

    fn no_holders() -> CoordinatorReply {
        CoordinatorReply::Holders { hash: [1; 32], full: 0, partial: 0, holders: Vec::new() }
    }

    #[test]
    fn a_file_is_watched_once_and_looked_up_then() {
        let mut session = welcomed();
        session.look_up(FILE);
        assert_eq!(polled(&mut session, true), [WATCH]);
        session.look_up(FILE);
        assert_eq!(polled(&mut session, true), [LOOKUP]);
    }

    #[test]
    fn a_watch_begins_anew_with_each_connection() {
        let mut session = welcomed();
        session.look_up(FILE);
        assert_eq!(polled(&mut session, true), [WATCH]);
        session.on_reply(&no_holders());
        session.on_disconnect();
        session.on_welcome(Time::ZERO, Duration::from_secs(30), ReportDigest::default());
        assert_eq!(polled(&mut session, true), [WATCH]);
    }

    #[test]
    fn what_is_not_watched_because_there_is_no_room_is_looked_up() {
        let mut session = welcomed();
        session.look_up(FILE);
        assert_eq!(polled(&mut session, true), [WATCH]);
        session
            .on_reply(&CoordinatorReply::LimitReached { limit: Limit::WatchesPerPeer, value: 1 });
        assert_eq!(polled(&mut session, true), [LOOKUP]);
        session.look_up(FILE);
        assert_eq!(polled(&mut session, true), [LOOKUP]);
    }

    #[test]
    fn only_what_was_watched_is_unwatched() {
        let mut session = welcomed();
        session.unwatch(FILE);
        session.look_up(FILE);
        assert_eq!(polled(&mut session, false), [LOOKUP]);
        session.unwatch(FILE);
        assert_eq!(polled(&mut session, false), []);
        session.look_up(FILE);
        assert_eq!(polled(&mut session, true), [WATCH]);
        session.unwatch(FILE);
        assert_eq!(polled(&mut session, true), [CoordinatorRequest::Unwatch { hash: [1; 32] }]);
    }
}

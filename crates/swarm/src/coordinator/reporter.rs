//! What to tell the coordinator, and when: changes at once, a sign of life each interval,
//! everything when asked to.
//!
//! Invariant: once every message handed out has been answered, the coordinator's digest of us is
//! ours.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tnet_fileinfo::FileHash;
use tnet_proto::{
    Availability, CoordinatorReply, CoordinatorRequest, Limit, MAX_REPORT_ENTRIES, ReportDigest,
    ReportEntry,
};

use crate::Time;

/// Decides what to report. One per process; told of changes, connections and replies.
#[derive(Debug)]
pub(super) struct Reporter {
    interval: Duration,
    /// What the coordinator gives us, if it gives less than we asked for.
    lease: Duration,
    shared: BTreeMap<FileHash, (u64, Availability)>,
    digest: ReportDigest,
    changed: BTreeSet<FileHash>,
    session: Option<Session>,
}

/// What has been said on the present connection.
#[derive(Debug)]
struct Session {
    seq: u64,
    queue: VecDeque<CoordinatorRequest>,
    /// Sent and not answered yet, in order; so are the answers.
    sent: VecDeque<Sent>,
    next_heartbeat: Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Report { seq: u64 },
    Heartbeat,
}

/// Signs of life in the time of a lease: two may be lost.
const BEATS_IN_LEASE: u32 = 3;

/// Between two signs of life, whatever lease a coordinator gives.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// Messages whose answers are waited for. A coordinator that owes more is as good as gone; the
/// oldest are forgotten.
const MAX_SENT: usize = 1024;

impl Session {
    fn new(next_heartbeat: Time) -> Session {
        Session { seq: 0, queue: VecDeque::new(), sent: VecDeque::new(), next_heartbeat }
    }

    fn note_sent(&mut self, sent: Sent) {
        if self.sent.len() >= MAX_SENT {
            self.sent.pop_front();
        }
        self.sent.push_back(sent);
    }

    /// The first message of this kind is answered, and with it all before it.
    fn answered(&mut self, is_it: impl FnMut(&Sent) -> bool) {
        if let Some(at) = self.sent.iter().position(is_it) {
            self.sent.drain(..=at);
        }
    }
}

impl Reporter {
    /// Reports nothing yet; gives a sign of life each `interval`.
    pub(super) fn new(interval: Duration) -> Reporter {
        Reporter {
            interval,
            lease: Duration::MAX,
            shared: BTreeMap::new(),
            digest: ReportDigest::default(),
            changed: BTreeSet::new(),
            session: None,
        }
    }

    /// From now on we hold this much of the file.
    pub(super) fn set(&mut self, hash: FileHash, size: u64, availability: Availability) {
        let before = self.shared.get(&hash).copied();
        if before.map_or(Availability::None, |(_, availability)| availability) == availability {
            return;
        }
        if let Some((size, availability)) = before {
            self.digest.toggle(&ReportEntry { hash: *hash.as_bytes(), size, availability });
        }
        self.digest.toggle(&ReportEntry { hash: *hash.as_bytes(), size, availability });
        match availability {
            Availability::None => self.shared.remove(&hash),
            _ => self.shared.insert(hash, (size, availability)),
        };
        self.changed.insert(hash);
    }

    /// How much of a file was last set.
    pub(super) fn availability(&self, hash: &FileHash) -> Availability {
        self.shared.get(hash).map_or(Availability::None, |(_, availability)| *availability)
    }

    /// Files reported.
    pub(super) fn len(&self) -> usize {
        self.shared.len()
    }

    /// The coordinator forgets us after this long a silence. To be told before the welcome: with a
    /// short lease the signs of life come more often than each interval.
    pub(super) fn on_lease(&mut self, lease: Duration) {
        self.lease = lease;
    }

    /// Between two signs of life.
    fn pause(&self) -> Duration {
        self.interval.min((self.lease / BEATS_IN_LEASE).max(SHORTEST_PAUSE))
    }

    /// A coordinator welcomed us; `table` is what it still has of us.
    pub(super) fn on_welcome(&mut self, now: Time, table: ReportDigest) {
        self.session = Some(Session::new(now + self.pause()));
        if table == self.digest {
            self.changed.clear();
        } else {
            self.queue_everything();
        }
    }

    /// The connection is gone.
    pub(super) fn on_disconnect(&mut self) {
        self.session = None;
    }

    /// A reply came in.
    pub(super) fn on_reply(&mut self, reply: &CoordinatorReply) {
        let Some(session) = &mut self.session else { return };
        match reply {
            CoordinatorReply::Accepted { seq } => {
                session.answered(|sent| *sent == Sent::Report { seq: *seq })
            }
            CoordinatorReply::Renewed => session.answered(|sent| *sent == Sent::Heartbeat),
            CoordinatorReply::LimitReached {
                limit: Limit::EntriesPerPeer | Limit::EntriesTotal,
                ..
            } => {
                session.answered(|_| true);
            }
            CoordinatorReply::Resync => {
                session.answered(|sent| *sent == Sent::Heartbeat);
                // With a report sent after that heartbeat the table may be right by now: the next
                // heartbeat tells.
                if session.sent.is_empty() && session.queue.is_empty() {
                    self.queue_everything();
                }
            }
            _ => {}
        }
    }

    /// The next message to send now, until there is none.
    pub(super) fn poll(&mut self, now: Time) -> Option<CoordinatorRequest> {
        if self.session.as_ref()?.queue.is_empty() {
            self.queue_changes();
        }
        let pause = self.pause();
        let session = self.session.as_mut()?;
        if let Some(request) = session.queue.pop_front() {
            if let CoordinatorRequest::Report { seq, .. } = request {
                session.note_sent(Sent::Report { seq });
            }
            session.next_heartbeat = now + pause;
            return Some(request);
        }
        if now < session.next_heartbeat {
            return None;
        }
        session.next_heartbeat = now + pause;
        session.note_sent(Sent::Heartbeat);
        Some(CoordinatorRequest::Heartbeat { digest: self.digest })
    }

    /// When to poll again at the latest.
    pub(super) fn next_timeout(&self) -> Option<Time> {
        self.session.as_ref().map(|session| session.next_heartbeat)
    }

    fn queue_changes(&mut self) {
        let changed = std::mem::take(&mut self.changed);
        let entries: Vec<ReportEntry> = changed.iter().map(|hash| self.entry(hash)).collect();
        self.queue_reports(&entries, false);
    }

    fn queue_everything(&mut self) {
        self.changed.clear();
        let entries: Vec<ReportEntry> = self.shared.keys().map(|hash| self.entry(hash)).collect();
        self.queue_reports(&entries, true);
    }

    fn entry(&self, hash: &FileHash) -> ReportEntry {
        let (size, availability) =
            self.shared.get(hash).copied().unwrap_or((0, Availability::None));
        ReportEntry { hash: *hash.as_bytes(), size, availability }
    }

    fn queue_reports(&mut self, entries: &[ReportEntry], replace: bool) {
        let Some(session) = &mut self.session else { return };
        let nothing: &[ReportEntry] = &[];
        let parts = entries.chunks(MAX_REPORT_ENTRIES);
        let parts = parts.chain((replace && entries.is_empty()).then_some(nothing));
        for (at, part) in parts.enumerate() {
            session.seq += 1;
            let report = CoordinatorRequest::Report {
                seq: session.seq,
                replace: replace && at == 0,
                entries: part.to_vec(),
            };
            session.queue.push_back(report);
        }
    }
}

#[cfg(test)]
mod tests;

//! What is due when. Each timer has at most one due moment.

use std::collections::{BTreeMap, BTreeSet};

use crate::Time;
use crate::{FileKey, PeerKey};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Announce what was stored.
    Announce(FileKey),
    /// Say anew what we hold.
    Reopen(FileKey),
    /// Ask the coordinator again.
    Lookup(FileKey),
    /// A chunk that failed often may be tried again.
    Retry(FileKey),
    /// A request may have become old enough for a second source.
    Hedge(FileKey),
    /// Tell neighbours of each other.
    Exchange(FileKey),
    /// Did this source deliver?
    Progress(PeerKey),
    /// A stalled source may be asked again.
    Recover(PeerKey),
    /// A busy source may be asked again.
    Patience(PeerKey, FileKey),
    /// A peer did not answer our open.
    Unanswered(PeerKey, FileKey),
    /// A kept upload slot was not used.
    Reservation(PeerKey),
    /// A connection without a common file.
    Idle(PeerKey),
    /// Did this connection answer?
    Probe(PeerKey),
    /// A file that neither side wants anything of.
    Finished(PeerKey, FileKey),
    /// An address may be called again.
    Addresses,
    /// A rate limit allows the next chunk.
    RateLimit,
    /// A source that sent corrupt chunks may be asked again.
    Rest,
}

#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeSet<(Time, Timer)>,
    due: BTreeMap<Timer, Time>,
}

impl Timers {
    /// Keeps the earlier moment if it is set already.
    pub(crate) fn arm(&mut self, timer: Timer, at: Time) {
        match self.due.get(&timer) {
            Some(due) if *due <= at => {}
            _ => self.rearm(timer, at),
        }
    }

    /// Replaces the moment.
    pub(crate) fn rearm(&mut self, timer: Timer, at: Time) {
        self.disarm(timer);
        self.due.insert(timer, at);
        self.queue.insert((at, timer));
    }

    pub(crate) fn disarm(&mut self, timer: Timer) {
        if let Some(due) = self.due.remove(&timer) {
            self.queue.remove(&(due, timer));
        }
    }

    pub(crate) fn disarm_peer(&mut self, peer: PeerKey) {
        let timers = [
            Timer::Progress(peer),
            Timer::Recover(peer),
            Timer::Reservation(peer),
            Timer::Idle(peer),
            Timer::Probe(peer),
        ];
        timers.into_iter().for_each(|timer| self.disarm(timer));
    }

    pub(crate) fn disarm_link(&mut self, peer: PeerKey, file: FileKey) {
        self.disarm(Timer::Patience(peer, file));
        self.disarm(Timer::Unanswered(peer, file));
        self.disarm(Timer::Finished(peer, file));
    }

    pub(crate) fn disarm_file(&mut self, file: FileKey) {
        let timers = [
            Timer::Announce(file),
            Timer::Reopen(file),
            Timer::Lookup(file),
            Timer::Retry(file),
            Timer::Hedge(file),
            Timer::Exchange(file),
        ];
        timers.into_iter().for_each(|timer| self.disarm(timer));
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes one timer that is due.
    pub(crate) fn pop(&mut self, now: Time) -> Option<Timer> {
        let (at, timer) = *self.queue.first()?;
        if at > now {
            return None;
        }
        self.disarm(timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const FILE: FileKey = FileKey(1);

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn arming_twice_keeps_the_earlier_moment() {
        let mut timers = Timers::default();
        timers.arm(Timer::Retry(FILE), at(5));
        timers.arm(Timer::Retry(FILE), at(9));
        assert_eq!(timers.next(), Some(at(5)));
        timers.arm(Timer::Retry(FILE), at(2));
        assert_eq!(timers.next(), Some(at(2)));
    }

    #[test]
    fn rearming_replaces_the_moment() {
        let mut timers = Timers::default();
        timers.arm(Timer::Retry(FILE), at(5));
        timers.rearm(Timer::Retry(FILE), at(9));
        assert_eq!(timers.next(), Some(at(9)));
    }

    #[test]
    fn a_timer_is_taken_once_and_not_before_its_moment() {
        let mut timers = Timers::default();
        timers.arm(Timer::Retry(FILE), at(5));
        assert_eq!(timers.pop(at(4)), None);
        assert_eq!(timers.pop(at(5)), Some(Timer::Retry(FILE)));
        assert_eq!(timers.pop(at(5)), None);
    }
}

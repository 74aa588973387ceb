//! Corruption reports: peers say that chunks we sent are corrupt, and these are read again.
//!
//! Each report costs a read of the disk, and any peer may send one. So few are remembered, each
//! source has less of that room and waits longer the more often it was wrong, and what was just
//! found right is not read again.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use tnet_fileinfo::ChunkIndex;
use tnet_sources::SourceCounts;
use tnet_swarm::{FileKey, PeerKey, Time};

/// Corruption reports about one chunk that are remembered. When they are so many, the one of
/// the source that was wrong most often gives way.
const REPORTS_PER_CHUNK: usize = 4;

/// Corruption reports that wait. When they are so many, the source that has most of them gives up
/// one.
const MOST_WAITING: usize = 256;

/// Chunks that were found right, and how long they count as that.
const MOST_RIGHT: usize = 4096;
const RIGHT_LASTS: Duration = Duration::from_secs(600);

/// Sources that were wrong, and how long that is remembered.
const MOST_WRONG: usize = 1024;
const WRONG_LASTS: Duration = Duration::from_secs(600);

/// The report of a source waits so much longer for each time that it was wrong.
const WAIT_PER_WRONG: Duration = Duration::from_secs(5);
const WAIT_AT_MOST: Duration = Duration::from_secs(60);

/// A reason to read a chunk again: a corruption report, or what we saw. The chunk is numbered as
/// the file is served.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    file: FileKey,
    chunk: ChunkIndex,
    /// The source of the report and its connection; none: we have seen it.
    source: Option<(IpAddr, PeerKey)>,
    due: Time,
}

impl Doubt {
    fn is_about(&self, file: FileKey, chunk: ChunkIndex) -> bool {
        (self.file, self.chunk) == (file, chunk)
    }

    fn ip(&self) -> Option<IpAddr> {
        self.source.map(|(ip, _)| ip.to_canonical())
    }
}

/// A chunk to be looked at now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Doubted {
    pub(super) file: FileKey,
    pub(super) chunk: ChunkIndex,
    /// The sources that report it as corrupt; none if only we have seen it.
    pub(super) reporters: Vec<(IpAddr, PeerKey)>,
}

#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// First come first.
    waiting: VecDeque<Doubt>,
    /// Places in `waiting`.
    places: SourceCounts,
    wrong: BTreeMap<IpAddr, Wrong>,
    /// The oldest first.
    right: VecDeque<(FileKey, ChunkIndex, Time)>,
}

#[derive(Debug, Clone, Copy)]
struct Wrong {
    times: u32,
    last: Time,
}

/// What came of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// There was something to find.
    Justified,
    /// The chunk is right.
    Unfounded,
    /// Nothing was learnt.
    Unknown,
}

impl Doubts {
    /// A peer reports a chunk as corrupt. False: it was found right not long ago.
    pub(super) fn add(
        &mut self,
        now: Time,
        file: FileKey,
        chunk: ChunkIndex,
        who: (IpAddr, PeerKey),
    ) -> bool {
        self.forget_old(now);
        if self.right.iter().any(|(right, other, _)| (*right, *other) == (file, chunk)) {
            self.note_wrong(now, who.0);
            return false;
        }
        let due = now + self.wait(now, who.0);
        self.put(now, Doubt { file, chunk, source: Some(who), due });
        true
    }

    /// How long a report of a source waits.
    fn wait(&self, now: Time, ip: IpAddr) -> Duration {
        WAIT_PER_WRONG.saturating_mul(self.times_wrong(now, ip)).min(WAIT_AT_MOST)
    }

    /// Other reports of the source wait too.
    fn put_off(&mut self, now: Time, ip: IpAddr) {
        let due = now + self.wait(now, ip);
        let of_source = |doubt: &Doubt| doubt.source.is_some_and(|(other, _)| other == ip);
        for doubt in self.waiting.iter_mut().filter(|doubt| of_source(doubt)) {
            doubt.due = doubt.due.max(due);
        }
    }

    /// We have seen for ourselves that something is wrong with a chunk, and look at it from a
    /// moment on.
    pub(super) fn add_own(&mut self, due: Time, file: FileKey, chunk: ChunkIndex) {
        self.put(due, Doubt { file, chunk, source: None, due });
    }

    fn put(&mut self, now: Time, doubt: Doubt) {
        let of_chunk = |known: &&mut Doubt| known.is_about(doubt.file, doubt.chunk);
        let said = self.waiting.iter_mut().filter(of_chunk).find(|known| known.ip() == doubt.ip());
        if let Some(known) = said {
            known.due = known.due.min(doubt.due);
            return;
        }
        if !self.make_room_in_chunk(now, &doubt) {
            return;
        }
        if self.waiting.len() >= MOST_WAITING && !self.make_room(&doubt) {
            return;
        }
        if let Some((ip, _)) = doubt.source {
            self.places.add(ip, 1);
        }
        self.waiting.push_back(doubt);
    }

    /// Of one chunk too many say the same: who was wrong most often goes, if that is more often
    /// than the new one was.
    fn make_room_in_chunk(&mut self, now: Time, doubt: &Doubt) -> bool {
        let Some(ip) = doubt.ip() else { return true };
        let reports = self.waiting.iter().enumerate();
        let reports = reports.filter(|(_, known)| known.is_about(doubt.file, doubt.chunk));
        let times =
            reports.filter_map(|(at, known)| Some((self.times_wrong(now, known.ip()?), at)));
        let times: Vec<_> = times.collect();
        if times.len() < REPORTS_PER_CHUNK {
            return true;
        }
        let most = times.into_iter().max().filter(|(times, _)| *times > self.times_wrong(now, ip));
        let gone = most.and_then(|(_, at)| self.waiting.remove(at));
        gone.iter().for_each(|gone| self.forget_place(gone));
        gone.is_some()
    }

    /// The last doubt of the source that has most of them goes, if that still has more than the new
    /// one's then.
    fn make_room(&mut self, doubt: &Doubt) -> bool {
        let rank = |waiting: &Doubt| waiting.source.map(|(ip, _)| self.places.rank(ip));
        let most = self.waiting.iter().enumerate().max_by_key(|(at, waiting)| (rank(waiting), *at));
        let Some((at, most)) = most.and_then(|(at, waiting)| Some((at, rank(waiting)?))) else {
            return false;
        };
        let gives_way = match doubt.source {
            Some((ip, _)) => most.gives_way_to(self.places.rank(ip), 1),
            None => true,
        };
        if gives_way && let Some(gone) = self.waiting.remove(at) {
            self.forget_place(&gone);
        }
        gives_way
    }

    /// Takes the next chunk whose moment has come: of the source that was wrong least often, first
    /// come first.
    pub(super) fn next(&mut self, now: Time) -> Option<Doubted> {
        let due = self.waiting.iter().enumerate().filter(|(_, doubt)| doubt.due <= now);
        let times = |doubt: &Doubt| doubt.source.map_or(0, |(ip, _)| self.times_wrong(now, ip));
        let (_, next) = due.min_by_key(|(at, doubt)| (times(doubt), *at))?;
        let (file, chunk) = (next.file, next.chunk);
        let reports = self.waiting.iter().filter(|doubt| doubt.is_about(file, chunk));
        let reporters = reports.filter_map(|doubt| doubt.source).collect();
        self.forget(|doubt| doubt.is_about(file, chunk));
        Some(Doubted { file, chunk, reporters })
    }

    /// The chunks of a file that are doubted.
    pub(super) fn of_file(&self, file: FileKey) -> impl Iterator<Item = ChunkIndex> {
        self.waiting.iter().filter(move |doubt| doubt.file == file).map(|doubt| doubt.chunk)
    }

    /// When there is something to look at.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.waiting.iter().map(|doubt| doubt.due).min()
    }

    /// It was looked at.
    pub(super) fn settle(&mut self, now: Time, doubted: &Doubted, outcome: Outcome) {
        match outcome {
            Outcome::Justified => {
                for (ip, _) in &doubted.reporters {
                    self.wrong.remove(&ip.to_canonical());
                }
            }
            Outcome::Unfounded => {
                for (ip, _) in &doubted.reporters {
                    self.note_wrong(now, *ip);
                    self.put_off(now, *ip);
                }
                if self.right.len() == MOST_RIGHT {
                    self.right.pop_front();
                }
                self.right.push_back((doubted.file, doubted.chunk, now));
            }
            Outcome::Unknown => {}
        }
    }

    /// The file is gone.
    pub(super) fn forget_file(&mut self, file: FileKey) {
        self.forget(|doubt| doubt.file == file);
        self.right.retain(|(right, ..)| *right != file);
    }

    /// Reports that came over this connection are ignored.
    pub(super) fn forget_corruption_reports(&mut self, peer: PeerKey) {
        self.forget(|doubt| doubt.source.is_some_and(|(_, other)| other == peer));
    }

    fn forget(&mut self, is_gone: impl Fn(&Doubt) -> bool) {
        let gone: Vec<Doubt> = self.waiting.iter().copied().filter(&is_gone).collect();
        gone.iter().for_each(|doubt| self.forget_place(doubt));
        self.waiting.retain(|doubt| !is_gone(doubt));
    }

    fn forget_place(&mut self, doubt: &Doubt) {
        if let Some((ip, _)) = doubt.source {
            self.places.remove(ip, 1);
        }
    }

    fn forget_old(&mut self, now: Time) {
        while self.right.front().is_some_and(|(.., since)| now - *since >= RIGHT_LASTS) {
            self.right.pop_front();
        }
    }

    fn times_wrong(&self, now: Time, ip: IpAddr) -> u32 {
        let wrong =
            self.wrong.get(&ip.to_canonical()).filter(|wrong| now - wrong.last < WRONG_LASTS);
        wrong.map_or(0, |wrong| wrong.times)
    }

    fn note_wrong(&mut self, now: Time, ip: IpAddr) {
        let times = self.times_wrong(now, ip).saturating_add(1);
        if self.wrong.len() >= MOST_WRONG && !self.wrong.contains_key(&ip.to_canonical()) {
            let oldest = self.wrong.iter().min_by_key(|(_, wrong)| wrong.last).map(|(ip, _)| *ip);
            oldest.map(|oldest| self.wrong.remove(&oldest));
        }
        self.wrong.insert(ip.to_canonical(), Wrong { times, last: now });
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use tnet_fileinfo::{ChunkSize, Geometry, MIN_CHUNK_SIZE};

    use super::*;

    const FILE: FileKey = FileKey(1);

    fn chunk(index: u32) -> ChunkIndex {
        let size = u64::from(MIN_CHUNK_SIZE) * 100_000;
        Geometry::new(size, ChunkSize::new(MIN_CHUNK_SIZE).unwrap()).unwrap().chunk(index).unwrap()
    }

    fn at(seconds: u64) -> Time {
        Time::after_start(Duration::from_secs(seconds))
    }

    fn host(n: u8) -> (IpAddr, PeerKey) {
        ([10, 0, 0, n].into(), PeerKey(n.into()))
    }

    fn next(doubts: &mut Doubts, now: Time) -> Option<u32> {
        doubts.next(now).map(|doubt| doubt.chunk.get())
    }

    #[test]
    fn a_chunk_is_looked_at_once_however_many_doubt_it() {
        let mut doubts = Doubts::default();
        for n in 0..9 {
            doubts.add(at(0), FILE, chunk(7), host(n));
        }
        assert_eq!((next(&mut doubts, at(0)), next(&mut doubts, at(99))), (Some(7), None));
        assert_eq!(doubts.places.total(), 0);
    }

    #[test]
    fn a_report_that_repeats_others_does_not_go_with_theirs() {
        let mut doubts = Doubts::default();
        for n in 0..3 {
            doubts.add(at(0), FILE, chunk(n), host(1));
            let doubt = doubts.next(at(60)).unwrap();
            doubts.settle(at(0), &doubt, Outcome::Unfounded);
        }
        doubts.add(at(0), FILE, chunk(7), host(1));
        doubts.add(at(0), FILE, chunk(7), host(2));
        assert_eq!(doubts.next_due(), Some(at(0)), "who was not wrong does not wait");
        doubts.forget_corruption_reports(host(1).1);
        let doubted = doubts.next(at(0)).unwrap();
        assert_eq!((doubted.chunk, doubted.reporters), (chunk(7), vec![host(2)]));
        assert_eq!((doubts.next_due(), doubts.places.total()), (None, 0));
    }

    #[test]
    fn sources_that_were_wrong_keep_no_other_from_a_chunk() {
        let mut doubts = Doubts::default();
        for n in 1..=9 {
            doubts.add(at(0), FILE, chunk(n.into()), host(n));
            let doubt = doubts.next(at(60)).unwrap();
            doubts.settle(at(0), &doubt, Outcome::Unfounded);
            doubts.add(at(0), FILE, chunk(20), host(n));
        }
        doubts.add_own(at(9), FILE, chunk(20));
        doubts.add(at(0), FILE, chunk(20), host(10));
        assert_eq!(doubts.waiting.len(), REPORTS_PER_CHUNK + 1);
        let doubted = doubts.next(at(0)).unwrap();
        assert!(doubted.reporters.contains(&host(10)), "{doubted:?}");
        assert_eq!((doubts.next_due(), doubts.places.total()), (None, 0));
    }

    #[test]
    fn what_was_found_right_is_not_looked_at_again_for_a_while() {
        let mut doubts = Doubts::default();
        doubts.add(at(0), FILE, chunk(7), host(1));
        let doubt = doubts.next(at(0)).unwrap();
        doubts.settle(at(1), &doubt, Outcome::Unfounded);
        assert!(!doubts.add(at(2), FILE, chunk(7), host(2)));
        assert_eq!(doubts.next_due(), None);
        assert!(doubts.add(at(700), FILE, chunk(7), host(2)));
    }

    #[test]
    fn who_was_wrong_waits_longer_and_comes_after_who_was_not() {
        let mut doubts = Doubts::default();
        for n in 0..3 {
            doubts.add(at(0), FILE, chunk(n), host(1));
            let doubt = doubts.next(at(60)).unwrap();
            doubts.settle(at(0), &doubt, Outcome::Unfounded);
        }
        doubts.add(at(0), FILE, chunk(10), host(1));
        assert_eq!(doubts.next_due(), Some(at(15)));
        doubts.add(at(20), FILE, chunk(11), host(2));
        assert_eq!((next(&mut doubts, at(20)), next(&mut doubts, at(20))), (Some(11), Some(10)));
    }

    #[test]
    fn one_false_report_puts_off_the_others_of_its_source() {
        let mut doubts = Doubts::default();
        for n in 0..100 {
            doubts.add(at(0), FILE, chunk(n), host(1));
        }
        let (mut now, mut looks) = (at(0), 0);
        while now < at(300) {
            if let Some(doubt) = doubts.next(now) {
                looks += 1;
                doubts.settle(now, &doubt, Outcome::Unfounded);
            }
            now = now + Duration::from_secs(1);
        }
        assert!((5..=15).contains(&looks), "{looks} looks in five minutes");
        doubts.forget_corruption_reports(host(1).1);
        assert_eq!((doubts.next_due(), doubts.places.total()), (None, 0));
    }

    #[test]
    fn who_was_right_in_the_end_is_believed_at_once() {
        let mut doubts = Doubts::default();
        for (n, outcome) in [(0, Outcome::Unfounded), (1, Outcome::Justified)] {
            doubts.add(at(0), FILE, chunk(n), host(1));
            let doubt = doubts.next(at(60)).unwrap();
            doubts.settle(at(0), &doubt, outcome);
        }
        doubts.add(at(0), FILE, chunk(2), host(1));
        assert_eq!(doubts.next_due(), Some(at(0)));
    }

    #[test]
    fn a_source_that_fills_the_queue_keeps_nobody_else_out_of_it() {
        let mut doubts = Doubts::default();
        for n in 0..10_000 {
            doubts.add(at(0), FILE, chunk(n), host(1));
        }
        assert_eq!(doubts.waiting.len(), MOST_WAITING);
        for n in 0..100 {
            doubts.add(at(0), FILE, chunk(20_000 + u32::from(n)), host(2 + n));
        }
        let of_others = doubts.waiting.iter().filter(|doubt| doubt.chunk.get() >= 20_000).count();
        assert_eq!((doubts.waiting.len(), of_others), (MOST_WAITING, 100));
        doubts.add_own(at(0), FileKey(2), chunk(1));
        assert!(doubts.waiting.iter().any(|doubt| doubt.source.is_none()));
        doubts.forget_file(FILE);
        assert_eq!((doubts.waiting.len(), doubts.places.total()), (1, 0));
    }

    #[test]
    fn no_crowd_fills_the_memory() {
        let mut doubts = Doubts::default();
        for n in 0..20_000u32 {
            let who = (IpAddr::from(n.to_be_bytes()), PeerKey(n.into()));
            doubts.add(at(n.into()), FILE, chunk(n), who);
            if let Some(doubt) = doubts.next(at(u64::from(n) + 60)) {
                doubts.settle(at(n.into()), &doubt, Outcome::Unfounded);
            }
        }
        assert!(doubts.wrong.len() <= MOST_WRONG && doubts.right.len() <= MOST_RIGHT);
    }
}

//! Which connections watch which file, and when the next push about a file is due. Pure.
//!
//! A file has a due time exactly when it has watchers and new holders, and two pushes about a file
//! are at least the interval apart: a thousand peers that start at once cause one push a second,
//! not a thousand.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use tnet_fileinfo::FileHash;
use tnet_proto::{Limit, MAX_HOLDERS};
use tnet_sources::{SourceCounts, SourceNetwork};

use crate::eviction::heaviest;
use crate::registry::table::{Epoch, LimitExceeded};

/// Granularity at which addresses are compared by their watches. Addresses that do not differ by it
/// are compared by the watches of their networks.
const GRAIN: u64 = 64;

/// New holders that a push names first, in total and of one network. The rest is drawn from all
/// holders, so that a peer that reconnects all the time does not fill every push.
const FRESH: usize = MAX_HOLDERS / 2;
const FRESH_OF_NETWORK: usize = 3;

/// Connections that are compared for an eviction.
const COMPARED: usize = 16;

/// All watches of a coordinator. At the limit, a watch of the source with most is evicted for a
/// source with fewer.
#[derive(Debug)]
pub(crate) struct Watches {
    max: u32,
    max_per_connection: u32,
    interval: Duration,
    total: u32,
    /// Watches per source. One IP address may have an eighth of all.
    sources: SourceCounts,
    /// Keyed hashing (the standard hasher): hashes are chosen outside.
    files: HashMap<FileHash, WatchedFile>,
    by_connection: BTreeMap<Epoch, ConnectionWatches>,
    due: BTreeSet<(Duration, FileHash)>,
    /// Where the next comparison begins, so that all connections are compared in turn.
    cursor: Epoch,
}

#[derive(Debug)]
struct ConnectionWatches {
    ip: IpAddr,
    files: BTreeSet<FileHash>,
}

#[derive(Debug, Default)]
struct WatchedFile {
    watchers: BTreeSet<Epoch>,
    /// Some of the new holders since the last push. The others are candidates for the rest of a
    /// push, like every holder.
    fresh: Vec<(Epoch, SourceNetwork)>,
    /// No push before this.
    quiet_until: Duration,
    due: Option<Duration>,
}

/// A due push: new holders, and the watchers to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Push {
    pub(crate) hash: FileHash,
    pub(crate) fresh: Vec<Epoch>,
    pub(crate) watchers: Vec<Epoch>,
}

impl Watches {
    pub(crate) fn new(max: u32, max_per_connection: u32, interval: Duration) -> Watches {
        Watches {
            max,
            max_per_connection,
            interval,
            total: 0,
            sources: SourceCounts::new(),
            files: HashMap::new(),
            by_connection: BTreeMap::new(),
            due: BTreeSet::new(),
            cursor: Epoch(0),
        }
    }

    /// Begins a watch, or keeps an existing one. Returns the connection whose watch was evicted for
    /// it.
    pub(crate) fn watch(
        &mut self,
        epoch: Epoch,
        ip: IpAddr,
        hash: FileHash,
    ) -> Result<Option<Epoch>, LimitExceeded> {
        let of_connection =
            self.by_connection.get(&epoch).map(|of_connection| &of_connection.files);
        if of_connection.is_some_and(|files| files.contains(&hash)) {
            return Ok(None);
        }
        if of_connection.map_or(0, BTreeSet::len) >= self.max_per_connection as usize {
            return Err(LimitExceeded::new(Limit::WatchesPerPeer, self.max_per_connection));
        }
        let max_per_ip = self.max.div_ceil(8).max(self.max_per_connection);
        if self.sources.rank(ip).host >= u64::from(max_per_ip) {
            return Err(LimitExceeded::new(Limit::WatchesPerPeer, max_per_ip));
        }
        let mut evicted = None;
        if self.total >= self.max {
            let hit = LimitExceeded::new(Limit::WatchesPerPeer, self.max);
            let loser = self.pick_victim(ip).filter(|loser| *loser != epoch).ok_or(hit)?;
            let its_last = self.by_connection.get(&loser).and_then(|of| of.files.last()).copied();
            self.unwatch(loser, its_last.ok_or(hit)?);
            evicted = Some(loser);
        }
        let of_connection = self
            .by_connection
            .entry(epoch)
            .or_insert_with(|| ConnectionWatches { ip, files: BTreeSet::new() });
        of_connection.files.insert(hash);
        self.sources.add(ip, 1);
        self.files.entry(hash).or_default().watchers.insert(epoch);
        self.total += 1;
        Ok(evicted)
    }

    /// Of some connections one whose source has most watches, if the newcomer's source has fewer.
    fn pick_victim(&mut self, newcomer: IpAddr) -> Option<Epoch> {
        let before = self.by_connection.range(..self.cursor);
        let candidates = self.by_connection.range(self.cursor..).chain(before).take(COMPARED);
        let compared: Vec<(Epoch, IpAddr)> =
            candidates.map(|(epoch, of)| (*epoch, of.ip)).collect();
        self.cursor = Epoch(compared.last()?.0.0 + 1);
        let (epoch, surplus) = heaviest(compared.into_iter(), &self.sources, newcomer, GRAIN)?;
        (surplus > 1).then_some(epoch)
    }

    /// Ends a watch, if there is one.
    pub(crate) fn unwatch(&mut self, epoch: Epoch, hash: FileHash) {
        let Some(of_connection) = self.by_connection.get_mut(&epoch) else { return };
        if !of_connection.files.remove(&hash) {
            return;
        }
        self.sources.remove(of_connection.ip, 1);
        if of_connection.files.is_empty() {
            self.by_connection.remove(&epoch);
        }
        self.remove_watcher(epoch, hash);
    }

    /// Ends all watches of a connection.
    pub(crate) fn forget(&mut self, epoch: Epoch) {
        let Some(ConnectionWatches { ip, files }) = self.by_connection.remove(&epoch) else {
            return;
        };
        self.sources.remove(ip, files.len() as u64);
        for hash in files {
            self.remove_watcher(epoch, hash);
        }
    }

    /// The peer on the connection `holder` from `ip` now holds the file.
    pub(crate) fn note_holder(&mut self, now: Duration, hash: FileHash, holder: Epoch, ip: IpAddr) {
        let Some(watched) = self.files.get_mut(&hash) else { return };
        let network = SourceNetwork::of(ip);
        let of_network = watched.fresh.iter().filter(|(_, other)| *other == network).count();
        if watched.fresh.len() < FRESH
            && of_network < FRESH_OF_NETWORK
            && watched.fresh.iter().all(|(other, _)| *other != holder)
        {
            watched.fresh.push((holder, network));
        }
        if watched.due.is_none() {
            let due = watched.quiet_until.max(now);
            watched.due = Some(due);
            self.due.insert((due, hash));
        }
    }

    /// The next push whose time has come.
    pub(crate) fn take_due(&mut self, now: Duration) -> Option<Push> {
        let (due, hash) = *self.due.first()?;
        if due > now {
            return None;
        }
        self.due.remove(&(due, hash));
        let watched =
            self.files.get_mut(&hash).expect("remove_watcher drops the due time with the file");
        watched.due = None;
        watched.quiet_until = now.saturating_add(self.interval);
        let fresh =
            std::mem::take(&mut watched.fresh).into_iter().map(|(holder, _)| holder).collect();
        Some(Push { hash, fresh, watchers: watched.watchers.iter().copied().collect() })
    }

    /// When the first push is due.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Watches in total.
    pub(crate) fn len(&self) -> u32 {
        self.total
    }

    fn remove_watcher(&mut self, epoch: Epoch, hash: FileHash) {
        let watched = self.files.get_mut(&hash).expect("a watched file has a record");
        watched.watchers.remove(&epoch);
        self.total -= 1;
        if watched.watchers.is_empty() {
            if let Some(due) = watched.due {
                self.due.remove(&(due, hash));
            }
            self.files.remove(&hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(1);
    const FILE: FileHash = FileHash::from_bytes([1; 32]);

    const IP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn watches() -> Watches {
        Watches::new(3, 2, INTERVAL)
    }

    fn peer(number: u64) -> Epoch {
        Epoch(number)
    }

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_first_new_holder_is_due_at_once_and_the_next_after_the_interval() {
        let mut watches = watches();
        watches.watch(Epoch(1), IP, FILE).expect("there is room");
        watches.note_holder(at(100), FILE, peer(1), IP);
        let push = Push { hash: FILE, fresh: vec![peer(1)], watchers: vec![Epoch(1)] };
        assert_eq!(watches.take_due(at(100)), Some(push));

        watches.note_holder(at(200), FILE, peer(2), IP);
        watches.note_holder(at(300), FILE, peer(3), IP);
        assert_eq!(watches.take_due(at(1099)), None); // a millisecond early
        let push = Push { hash: FILE, fresh: vec![peer(2), peer(3)], watchers: vec![Epoch(1)] };
        assert_eq!(watches.take_due(at(1100)), Some(push));
        assert_eq!(watches.next_due(), None);
    }

    #[test]
    fn holders_of_an_unwatched_file_leave_no_trace() {
        let mut watches = watches();
        watches.note_holder(at(0), FILE, peer(1), IP);
        assert_eq!((watches.next_due(), watches.files.len()), (None, 0));
    }

    #[test]
    fn the_last_watcher_takes_the_file_and_its_due_push_along() {
        let mut watches = watches();
        watches.watch(Epoch(1), IP, FILE).expect("there is room");
        watches.watch(Epoch(2), IP, FILE).expect("there is room");
        watches.note_holder(at(0), FILE, peer(1), IP);
        watches.unwatch(Epoch(1), FILE);
        assert_eq!(watches.next_due(), Some(at(0)));
        watches.forget(Epoch(2));
        assert_eq!((watches.take_due(at(5)), watches.len(), watches.files.len()), (None, 0, 0));
        assert!(watches.by_connection.is_empty());
    }

    #[test]
    fn limits_hold_per_connection_and_in_total_and_a_repeated_watch_is_free() {
        let mut watches = watches();
        let file = |number| FileHash::from_bytes([number; 32]);
        let mut watch = |epoch, number| {
            watches
                .watch(
                    Epoch(epoch),
                    Ipv4Addr::from_bits(u32::try_from(epoch).expect("few")).into(),
                    file(number),
                )
                .map_err(|hit| hit.value)
        };
        assert_eq!([watch(1, 1), watch(1, 2), watch(1, 2)], [Ok(None); 3]);
        assert_eq!(watch(1, 3), Err(2)); // two per connection
        assert_eq!(watch(2, 3), Ok(None));
        assert_eq!(watch(2, 4), Err(3)); // three in total
        watches.unwatch(Epoch(1), file(1));
        assert_eq!(watches.watch(Epoch(2), IP, file(4)), Ok(None));
    }

    #[test]
    fn one_source_has_an_eighth_of_all() {
        let mut watches = Watches::new(80, 10, INTERVAL);
        let file = |number| FileHash::from_bytes([number; 32]);
        let granted = (0..20)
            .filter(|number| watches.watch(Epoch(u64::from(*number)), IP, file(*number)).is_ok());
        assert_eq!(granted.count(), 10);
        watches.forget(Epoch(0));
        assert_eq!(watches.watch(Epoch(30), IP, file(1)), Ok(None));
        assert_eq!(watches.watch(Epoch(31), Ipv4Addr::BROADCAST.into(), file(1)), Ok(None));
    }

    #[test]
    fn hosts_that_took_all_give_way_to_others_and_only_to_those() {
        let mut watches = Watches::new(80, 10, INTERVAL);
        let file = |number: u64| {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&number.to_le_bytes());
            FileHash::from_bytes(hash)
        };
        let of_crowd =
            |host: u64| IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(host)));
        for number in 0..80 {
            let watched = watches.watch(Epoch(number / 10), of_crowd(number / 10), file(number));
            assert_eq!(watched, Ok(None));
        }
        let neighbour = of_crowd(999);
        for (epoch, ip) in [(100, IP), (101, neighbour)] {
            let lost = watches.watch(Epoch(epoch), ip, file(epoch)).expect("the crowd gives way");
            assert!(lost.is_some_and(|lost| lost < Epoch(8)), "{lost:?}");
        }
        assert_eq!(watches.len(), 80);
        assert!(
            watches.watch(Epoch(0), of_crowd(0), file(1000)).is_err(),
            "the crowd takes nothing back"
        );
    }

    #[test]
    fn new_holders_in_one_push_are_bounded_and_different_and_of_different_networks() {
        let mut watches = watches();
        watches.watch(Epoch(1), IP, FILE).expect("there is room");
        for port in (1..=1000).chain(1..=1000) {
            watches.note_holder(at(0), FILE, peer(port), IP);
        }
        for port in (2001..=3000).chain(2001..=3000) {
            watches.note_holder(
                at(0),
                FILE,
                peer(port),
                Ipv4Addr::from_bits(u32::try_from(port).expect("few")).into(),
            );
        }
        let fresh = watches.take_due(at(0)).expect("it is due").fresh;
        assert_eq!(fresh.len(), FRESH);
        assert_eq!(fresh.iter().collect::<BTreeSet<_>>().len(), FRESH);
        assert_eq!(fresh.iter().filter(|holder| holder.0 <= 1000).count(), FRESH_OF_NETWORK);
    }
}

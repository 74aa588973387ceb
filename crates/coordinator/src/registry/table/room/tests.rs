//! Floods of files with one holder, under a budget in bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tnet_proto::{Availability, PeerId, ReportDigest, ReportEntry};

use super::*;
use crate::registry::table::{
    HeartbeatOutcome, Introduction, Report, ReportOutcome, Scope, TableLimits,
};

/// Room for about 11 000 files of one holder.
const BUDGET: u64 = 2 << 20;

const NOW: Duration = Duration::from_secs(1);

/// A table and the peers that report to it.
struct Scene {
    table: Table,
    epochs: u64,
    files: u64,
}

struct Reporter {
    epoch: Epoch,
    seq: u64,
    entries: Vec<ReportEntry>,
    digest: ReportDigest,
}

impl Scene {
    fn new(max_bytes_per_ip: u64) -> Scene {
        let limits = TableLimits { max_bytes: BUDGET, max_bytes_per_ip, ..TableLimits::default() };
        Scene { table: Table::new(limits), epochs: 0, files: 0 }
    }

    fn join(&mut self, ip: IpAddr) -> Reporter {
        self.epochs += 1;
        let id = PeerId(u128::from(self.epochs).to_le_bytes());
        let introduction =
            Introduction::seen_at(SocketAddr::new(ip, 7401), id, Duration::from_secs(10));
        self.table
            .hello(NOW, Epoch(self.epochs), &introduction)
            .expect("far below the limit of peers");
        Reporter {
            epoch: Epoch(self.epochs),
            seq: 0,
            entries: Vec::new(),
            digest: ReportDigest::default(),
        }
    }

    /// Reports this many files without another holder.
    fn reports(&mut self, peer: &mut Reporter, files: u64) -> ReportOutcome {
        let entries: Vec<ReportEntry> = (self.files..self.files + files)
            .map(|number| {
                let mut hash = [0; 32];
                hash[..8].copy_from_slice(&number.to_le_bytes());
                ReportEntry { hash, size: 1, availability: Availability::Full }
            })
            .collect();
        self.files += files;
        peer.seq += 1;
        entries.iter().for_each(|entry| peer.digest.toggle(entry));
        peer.entries.extend(&entries);
        let report = Report { seq: peer.seq, scope: Scope::Changes, entries: &entries };
        let outcome = self.table.report(NOW, peer.epoch, report, |_| {});
        assert!(self.table.bytes() <= BUDGET, "{} bytes", self.table.bytes());
        outcome
    }

    /// How many files of the peer a lookup finds.
    fn found(&self, peer: &Reporter) -> usize {
        let mut rng = StdRng::seed_from_u64(1);
        let is_found = |entry: &&ReportEntry| {
            !self
                .table
                .handout(&FileHash::from_bytes(entry.hash), None, &mut rng)
                .holders
                .is_empty()
        };
        peer.entries.iter().filter(is_found).count()
    }
}

fn v4(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, last).into()
}

fn of_one_prefix(host: u16) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host).into()
}

#[test]
fn one_source_gets_its_share_and_no_more() {
    let mut scene = Scene::new(BUDGET / 8);
    let mut greedy = scene.join(v4(66));
    let outcomes: Vec<ReportOutcome> = (0..20).map(|_| scene.reports(&mut greedy, 1000)).collect();
    let hit = LimitExceeded { limit: Limit::EntriesPerPeer, value: BUDGET / 8 };
    assert_eq!(outcomes.last(), Some(&ReportOutcome::Truncated(hit)));
    assert!(scene.table.bytes() <= BUDGET / 8 + 256 * CELL_BYTES);
    let mut honest = scene.join(v4(1));
    assert_eq!(scene.reports(&mut honest, 1000), ReportOutcome::Accepted);
    scene.table.check();
}

#[test]
fn earlier_entries_survive_a_flood_and_newcomers_get_in() {
    let mut scene = Scene::new(BUDGET / 4);
    let mut seed = scene.join(v4(1));
    assert_eq!(scene.reports(&mut seed, 1500), ReportOutcome::Accepted);
    for host in 100..116 {
        let mut greedy = scene.join(v4(host));
        for _ in 0..4 {
            scene.reports(&mut greedy, 1000);
        }
    }
    assert!(
        scene.table.bytes() > BUDGET * 9 / 10,
        "the flood has filled it: {}",
        scene.table.bytes()
    );
    assert_eq!(scene.found(&seed), 1500);
    for host in 2..10 {
        let mut newcomer = scene.join(v4(host));
        assert_eq!(scene.reports(&mut newcomer, 20), ReportOutcome::Accepted);
        assert_eq!(scene.found(&newcomer), 20);
    }
    assert!(scene.table.size().evicted >= 160);
    scene.table.check();
}

#[test]
fn one_host_with_all_addresses_of_a_prefix_does_not_lock_others_out() {
    let mut scene = Scene::new(BUDGET / 8);
    let mut seed = scene.join(v4(1));
    assert_eq!(scene.reports(&mut seed, 1000), ReportOutcome::Accepted);
    let mut neighbour = scene.join(of_one_prefix(1));
    assert_eq!(scene.reports(&mut neighbour, 1000), ReportOutcome::Accepted);
    for host in 1000..1500 {
        let mut greedy = scene.join(of_one_prefix(host));
        scene.reports(&mut greedy, 40);
    }
    assert_eq!((scene.found(&seed), scene.found(&neighbour)), (1000, 1000));
    // A source elsewhere has room for many, one in the same prefix for a few.
    for (ip, files) in [(v4(2), 200), (of_one_prefix(2), 2)] {
        let mut newcomer = scene.join(ip);
        assert_eq!(scene.reports(&mut newcomer, files), ReportOutcome::Accepted);
        assert_eq!(scene.found(&newcomer), usize::try_from(files).expect("few"));
    }
    scene.table.check();
}

/// Two peers report the same flood, so no file has only one holder.
#[test]
fn a_flood_that_two_report_together_gives_way_too() {
    let mut scene = Scene::new(u64::MAX);
    let mut flood = [scene.join(of_one_prefix(1)), scene.join(of_one_prefix(1))];
    while scene.table.bytes() < BUDGET / 10 * 9 {
        let first = scene.files;
        for peer in &mut flood {
            scene.files = first;
            scene.reports(peer, 100);
        }
    }
    for host in 2..9 {
        let mut honest = scene.join(v4(host));
        assert_eq!(scene.reports(&mut honest, 200), ReportOutcome::Accepted);
        scene.table.check();
    }
    assert!(scene.table.size().evicted > 0, "the table was full");
}

#[test]
fn two_that_want_everything_do_not_drive_each_other_out_in_turn() {
    let mut scene = Scene::new(BUDGET);
    let (mut first, mut second) = (scene.join(v4(1)), scene.join(v4(2)));
    for _ in 0..40 {
        scene.reports(&mut first, 200);
    }
    for _ in 0..40 {
        scene.reports(&mut second, 200);
        scene.reports(&mut first, 200);
    }
    let given = scene.table.size().evicted;
    for _ in 0..40 {
        scene.reports(&mut first, 200);
        scene.reports(&mut second, 200);
    }
    let more = scene.table.size().evicted - given;
    assert!(given > 0 && more <= 2, "{given} entries at first, then {more} went back and forth");
}

#[test]
fn an_evicted_peer_is_told_and_asked_again_when_there_is_room() {
    let mut scene = Scene::new(BUDGET);
    let mut greedy = scene.join(v4(66));
    for _ in 0..13 {
        scene.reports(&mut greedy, 1000);
    }
    let mut honest = scene.join(v4(1));
    assert_eq!(scene.reports(&mut honest, 500), ReportOutcome::Accepted);
    let hit = LimitExceeded { limit: Limit::EntriesTotal, value: BUDGET };
    // A report would not help, so none is requested.
    assert_eq!(
        scene.table.heartbeat(NOW, greedy.epoch, greedy.digest),
        HeartbeatOutcome::Truncated(hit)
    );
    let later = NOW + Duration::from_secs(100);
    assert_eq!(
        scene.table.heartbeat(later, greedy.epoch, greedy.digest),
        HeartbeatOutcome::Truncated(hit)
    );
    // A third of it is removed: now there is room, and the rest is requested, at most once a
    // minute.
    let gone: Vec<ReportEntry> = greedy
        .entries
        .iter()
        .take(5000)
        .map(|entry| ReportEntry { availability: Availability::None, ..*entry })
        .collect();
    let report = Report { seq: greedy.seq + 1, scope: Scope::Changes, entries: &gone };
    assert_eq!(scene.table.report(later, greedy.epoch, report, |_| {}), ReportOutcome::Accepted);
    let digest = ReportDigest([1; 16]);
    assert_eq!(scene.table.heartbeat(later, greedy.epoch, digest), HeartbeatOutcome::Resync);
    assert_eq!(
        scene.table.heartbeat(later, greedy.epoch, digest),
        HeartbeatOutcome::Truncated(hit)
    );
    scene.table.check();
}

#[test]
fn what_others_ask_for_does_not_give_way() {
    let mut scene = Scene::new(BUDGET);
    let mut greedy = scene.join(v4(66));
    for _ in 0..13 {
        scene.reports(&mut greedy, 1000);
    }
    let asker = scene.join(v4(2)).epoch;
    let before = scene.table.peers.at(scene.table.by_epoch[&greedy.epoch]).contested;
    let hash = FileHash::from_bytes(greedy.entries[0].hash);
    scene.table.asked_for(&hash, greedy.epoch);
    let own = scene.table.peers.at(scene.table.by_epoch[&greedy.epoch]).contested;
    assert_eq!(own, before, "to ask for one's own proves nothing");
    scene.table.asked_for(&hash, asker);
    assert_eq!(scene.table.peers.at(scene.table.by_epoch[&greedy.epoch]).contested, before - 1);
    scene.table.check();
}

#[test]
fn a_peer_without_a_connection_makes_room_for_peers_with_one() {
    let limits = TableLimits { max_peers: 10, max_peers_per_ip: 4, ..TableLimits::default() };
    let mut scene = Scene { table: Table::new(limits), epochs: 0, files: 0 };
    for host in [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 4, 5] {
        let mut peer = scene.join(v4(host));
        scene.reports_anyway(&mut peer);
        scene.table.disconnected(peer.epoch);
        assert!(scene.table.size().peers <= 10);
    }
    scene.table.check();
}

impl Scene {
    fn reports_anyway(&mut self, peer: &mut Reporter) {
        let entry = ReportEntry { hash: [7; 32], size: 1, availability: Availability::Full };
        let report = Report { seq: 1, scope: Scope::Everything, entries: &[entry] };
        assert_eq!(self.table.report(NOW, peer.epoch, report, |_| {}), ReportOutcome::Accepted);
    }
}

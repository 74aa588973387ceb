//! The bytes that the table counts are never below what it has allocated, after any history. The
//! only test in its process: allocations are counted for the whole process.

#![expect(clippy::print_stdout, reason = "the figures are for developers, with --nocapture")]

use std::alloc::System;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tnet_coordinator::{Epoch, Introduction, Report, Scope, SweepStatus, Table, TableLimits};
use tnet_proto::{Availability, MAX_REPORT_ENTRIES, PeerId, ReportEntry};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const BUDGET: u64 = 16 << 20;

/// Bytes per peer, which are not in the table's bytes but bounded by the number of peers, and of
/// the empty table.
const BYTES_PER_PEER: u64 = 1024;
const EMPTY: u64 = 512 * 1024;

const NOW: Duration = Duration::from_secs(1);

struct Scene<'a> {
    table: Table,
    region: Region<'a, System>,
    peers: u64,
    most: u64,
    widest: f64,
}

impl Scene<'_> {
    fn join(&mut self, ip: u32) -> Epoch {
        self.peers += 1;
        let address = SocketAddr::from((Ipv4Addr::from_bits(0x0a00_0000 + ip), 7401));
        let introduction = Introduction::seen_at(
            address,
            PeerId(u128::from(self.peers).to_le_bytes()),
            Duration::from_secs(10),
        );
        self.table
            .hello(NOW, Epoch(self.peers), &introduction)
            .expect("far below the limit of peers");
        Epoch(self.peers)
    }

    /// Reports files with these numbers.
    fn reports(
        &mut self,
        epoch: Epoch,
        seq: u64,
        files: std::ops::Range<u64>,
        availability: Availability,
    ) {
        let entries: Vec<ReportEntry> = files
            .map(|number| {
                let mut hash = [0; 32];
                hash[..8].copy_from_slice(&number.to_le_bytes());
                ReportEntry { hash, size: 1, availability }
            })
            .collect();
        self.table.report(
            NOW,
            epoch,
            Report { seq, scope: Scope::Changes, entries: &entries },
            |_| {},
        );
        drop(entries);
        self.compare();
    }

    fn compare(&mut self) {
        let change = self.region.change();
        let allocated =
            (change.bytes_allocated as u64).saturating_sub(change.bytes_deallocated as u64);
        let size = self.table.size();
        let peers = u64::from(size.peers).div_ceil(256) * 256 * BYTES_PER_PEER;
        let counted = size.bytes + peers + EMPTY;
        assert!(size.bytes <= BUDGET, "{} bytes", size.bytes);
        assert!(allocated <= counted, "{allocated} bytes allocated, {counted} counted, {size:?}");
        self.most = self.most.max(allocated);
        self.widest = self.widest.max(allocated as f64 / counted as f64);
    }
}

#[test]
fn what_is_counted_is_never_below_what_is_allocated() {
    let region = Region::new(ALLOCATOR);
    let limits =
        TableLimits { max_bytes: BUDGET, max_bytes_per_ip: BUDGET / 2, ..TableLimits::default() };
    let mut scene = Scene { table: Table::new(limits), region, peers: 0, most: 0, widest: 0.0 };
    let step = MAX_REPORT_ENTRIES as u64;
    // Files of one holder, from a few hosts, until entries are evicted.
    let mut greedy = Vec::new();
    for host in 0..16 {
        let epoch = scene.join(host);
        greedy.push(epoch);
        for part in 0..8 {
            let first = (u64::from(host) * 8 + part) * step;
            scene.reports(epoch, part + 1, first..first + step, Availability::Full);
        }
    }
    assert!(scene.table.size().bytes > BUDGET * 9 / 10 && scene.table.size().evicted > 0);
    scene.table.check();
    // They report anew, and leave one after the other.
    for (host, epoch) in (0..).zip(&greedy) {
        let first = host * 8 * step;
        scene.reports(*epoch, 9, first..first + step, Availability::Partial);
        scene.reports(*epoch, 10, first..first + step / 2, Availability::None);
    }
    for epoch in greedy {
        scene.table.bye(epoch);
        while scene.table.sweep() == SweepStatus::More {
            scene.compare();
        }
        scene.compare();
    }
    assert_eq!(scene.table.size().bytes, 0, "memory goes with the files");
    // Many peers with the same few files, then many peers with a file each.
    for host in 0..2000 {
        let epoch = scene.join(1000 + host);
        scene.reports(epoch, 1, 0..100, Availability::Full);
    }
    for host in 0..5000 {
        let epoch = scene.join(10_000 + host);
        let own = 1_000_000 + u64::from(host);
        scene.reports(epoch, 1, own..own + 1, Availability::Full);
    }
    scene.table.check();
    println!("{} MiB allocated at most, {:.2} of what was counted", scene.most >> 20, scene.widest);
    assert!(scene.widest > 0.4, "the count is far above what is allocated: {:.2}", scene.widest);
}

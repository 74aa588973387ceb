//! A million entries cost at most 32 bytes each: by the capacities of the collections, and by what
//! the system says the process has grown. One test in this file, so that nothing else grows with
//! it.

#![expect(clippy::print_stdout, reason = "the figures are for developers, with --nocapture")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tnet_coordinator::{Epoch, Introduction, Report, ReportOutcome, Scope, Table, TableLimits};
use tnet_proto::{Availability, PeerId, ReportEntry};

const MAX_BYTES_PER_ENTRY: f64 = 32.0;

/// `peers` peers that each hold `files` of the same files.
fn fill(peers: u32, files: u32) -> Table {
    let mut table = Table::new(TableLimits::default());
    let entries: Vec<ReportEntry> = (0..files)
        .map(|file| {
            let mut hash = [0; 32];
            hash[..4].copy_from_slice(&file.to_le_bytes());
            let availability =
                if file % 2 == 0 { Availability::Full } else { Availability::Partial };
            ReportEntry { hash, size: 1 << 30, availability }
        })
        .collect();
    for peer in 0..peers {
        let epoch = Epoch(u64::from(peer) + 1);
        let address = SocketAddr::from((Ipv4Addr::from_bits(0x0a00_0000 + peer), 7401));
        let introduction = Introduction::seen_at(
            address,
            PeerId(u128::from(peer).to_le_bytes()),
            Duration::from_secs(10),
        );
        table.hello(Duration::ZERO, epoch, &introduction).expect("far below the limit of peers");
        let report = Report { seq: 1, scope: Scope::Everything, entries: &entries };
        assert_eq!(table.report(Duration::ZERO, epoch, report, |_| {}), ReportOutcome::Accepted);
    }
    table
}

/// Bytes of memory in use by this process; `None` where the system does not tell.
fn resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

#[test]
fn an_entry_costs_at_most_32_bytes() {
    let empty = resident_bytes();
    // A power of two plus one files: the map of each peer has just doubled, so this is the worst
    // case.
    let table = fill(1115, 897);
    let entries = f64::from(table.size().entries);
    if let (Some(before), Some(after)) = (empty, resident_bytes()) {
        // It includes everything: entries, files, peers and allocator overhead.
        let grown = (after - before) as f64 / entries;
        println!("the process grew by {grown:.1} bytes per entry");
        assert!(grown <= MAX_BYTES_PER_ENTRY, "grown by {grown:.1} bytes per entry");
    }
    assert_footprint(&table, 1115, 897);
    // As many of each; many peers with few files; few peers with many.
    for (peers, files) in [(1000, 1000), (10_000, 100), (100, 10_000)] {
        assert_footprint(&fill(peers, files), peers, files);
    }
}

fn assert_footprint(table: &Table, peers: u32, files: u32) {
    assert_eq!(table.size().entries, peers * files);
    let footprint = table.footprint();
    let per_entry = footprint.entries as f64 / f64::from(peers * files);
    println!(
        "{peers} peers x {files} files: {per_entry:.1} bytes per entry, {:.0} per file, {:.0} per peer",
        footprint.files as f64 / f64::from(files),
        footprint.peers as f64 / f64::from(peers),
    );
    assert!(per_entry <= MAX_BYTES_PER_ENTRY, "{per_entry:.1} bytes per entry by capacity");
}

//! The coordinator's table.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tnet_coordinator::{Epoch, HeartbeatOutcome, Introduction, Report, Scope, Table, TableLimits};
use tnet_fileinfo::FileHash;
use tnet_proto::{Availability, PeerId, ReportDigest, ReportEntry};

use super::Step;

const PEERS: u32 = 10_000;
const FILES: u8 = 20;

/// Every peer holds every file, half of them in part.
fn full() -> (Table, Vec<(Epoch, ReportDigest)>) {
    let limits = TableLimits { max_peers: 2 * PEERS, ..TableLimits::default() };
    let mut table = Table::new(limits);
    let mut peers = Vec::new();
    for number in 0..PEERS {
        let epoch = Epoch(u64::from(number) + 1);
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_le_bytes());
        let address = SocketAddr::from((Ipv4Addr::from_bits(0x0a00_0001 + number), 7401));
        let introduction = Introduction::seen_at(address, PeerId(id), Duration::from_secs(10));
        table.hello(Duration::ZERO, epoch, &introduction).expect("there is room");
        let availability = if number % 2 == 0 { Availability::Full } else { Availability::Partial };
        let entries: Vec<ReportEntry> = (0..FILES)
            .map(|file| ReportEntry { hash: [file; 32], size: 1 << 30, availability })
            .collect();
        table.report(
            Duration::ZERO,
            epoch,
            Report { seq: 1, scope: Scope::Everything, entries: &entries },
            |_| {},
        );
        let mut digest = ReportDigest::default();
        entries.iter().for_each(|entry| digest.toggle(entry));
        peers.push((epoch, digest));
    }
    (table, peers)
}

pub(crate) fn heartbeat() -> Step {
    let (mut table, peers) = full();
    let mut turn = 0;
    Box::new(move || {
        turn += 1;
        let (epoch, digest) = peers[turn * 7919 % peers.len()];
        let beat = table.heartbeat(Duration::from_micros(turn as u64), epoch, digest);
        u64::from(beat == HeartbeatOutcome::Renewed)
    })
}

pub(crate) fn handout() -> Step {
    let (table, peers) = full();
    let mut rng = StdRng::seed_from_u64(4);
    let mut turn = 0;
    Box::new(move || {
        turn += 1;
        let asker = peers[turn * 7919 % peers.len()].0;
        let file =
            FileHash::from_bytes([u8::try_from(turn % usize::from(FILES)).expect("below 20"); 32]);
        table.handout(&file, Some(asker), &mut rng).holders.len() as u64
    })
}

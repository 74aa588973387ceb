//! Any history of connections, reports, leases and removals: after each step the coordinator's
//! table answers like a model made of plain maps, and its own check holds. Time only goes forward.

#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use tnet_coordinator::fuzzing::{FILES, Op, Rig};
use tnet_coordinator::{Scope, TableLimits};
use tnet_proto::{Availability, ReportEntry};

/// Steps in one history; longer ones find nothing more and take their time.
const MOST_STEPS: usize = 150;

fuzz_target!(|data: &[u8]| {
    let mut u = Unstructured::new(data);
    let Ok(mut rig) = limits(&mut u).map(Rig::new) else { return };
    for _ in 0..MOST_STEPS {
        match step(&mut u) {
            Ok(op) if !u.is_empty() => rig.step(&op),
            _ => return,
        }
    }
});

/// Either room for everything, so that the entries of peers that leave are removed in several
/// steps, or limits that are reached all the time. Not both: the model does not know the entries of
/// retired peers, which count until they are swept.
fn limits(u: &mut Unstructured<'_>) -> Result<TableLimits> {
    let sweep_entries = u32::from(u.arbitrary::<u8>()? % 4);
    if u.arbitrary::<u8>()? % 2 == 0 {
        return Ok(TableLimits { sweep_entries, ..TableLimits::default() });
    }
    Ok(TableLimits {
        lease_multiplier: u32::from(u.arbitrary::<u8>()? % 4).max(1),
        max_peers: u32::from(u.arbitrary::<u8>()? % 8),
        max_peers_per_ip: u32::from(u.arbitrary::<u8>()? % 6),
        max_entries: u32::from(u.arbitrary::<u8>()? % 16),
        max_entries_per_ip: u32::from(u.arbitrary::<u8>()? % 12),
        max_entries_per_peer: u32::from(u.arbitrary::<u8>()? % 8),
        ..TableLimits::default()
    })
}

fn step(u: &mut Unstructured<'_>) -> Result<Op> {
    let (what, connection): (u8, u8) = (u.arbitrary()?, u.arbitrary()?);
    let which = usize::from(connection);
    Ok(match what % 24 {
        0..5 => Op::Hello {
            ip: connection % 3,
            port: u16::from(connection / 3 % 4),
            id: connection / 12 % 4,
            interval_ms: u64::from(u.arbitrary::<u8>()?) << (what / 24),
            late: what >= 200,
        },
        5..13 => Op::Report {
            connection: which,
            step: match what / 24 {
                0 => 0,
                1 => 2,
                2 => u64::from(u.arbitrary::<u16>()?),
                _ => 1,
            },
            scope: if what % 2 == 0 { Scope::Everything } else { Scope::Changes },
            entries: entries(u)?,
        },
        13..16 => Op::Heartbeat { connection: which, honest: what < 150 },
        16 => Op::Bye { connection: which },
        17 => Op::Disconnect { connection: which },
        18..21 => Op::Pass { ms: u64::from(connection) << (what / 24) },
        _ => Op::Sweep,
    })
}

fn entries(u: &mut Unstructured<'_>) -> Result<Vec<ReportEntry>> {
    let count = u.arbitrary::<u8>()? % 8;
    let entry = |byte: u8| ReportEntry {
        hash: [byte % FILES; 32],
        size: if byte < 200 { 1000 } else { 7 },
        availability: match byte / FILES % 3 {
            0 => Availability::None,
            1 => Availability::Partial,
            _ => Availability::Full,
        },
    };
    (0..count).map(|_| u.arbitrary().map(entry)).collect()
}

//! Questions by the thousand whose answers are never read, and files by the thousand that are
//! joined.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use tnet_fileinfo::ChunkSize;
use tnet_testkit::{Network, Payload, eventually};
use tokio::time::{Instant, sleep};

use crate::support::case::cases;
use crate::support::getting::MIB;
use crate::support::machine::{Machine, Serving};
use crate::support::process::memory;
use crate::support::soak::at_length;
use crate::support::unread::{Crowd, Kind, SmallFile, Target};

cases![
    70 "thousands of questions on each of many connections, and no answer is read; thousands of files joined" answers_that_are_not_read_fill_no_memory .works() .lasts(60);
];

/// By how much the memory may grow, and how much of it may stay afterwards.
const GROWTH_KIB: u64 = 64 * 1024;
const LEFT_KIB: u64 = 32 * 1024;

/// How long the peer may take to notice that all are gone.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(10);

/// Of a file of so many bytes a description has 4096 sums: one message of 128 KiB.
const SIZE: u64 = 256 * MIB;

/// Things that are said on each connection.
const WORDS: u32 = 4096;

/// To share a thousand files takes seconds.
const SHARED_WITHIN: Duration = Duration::from_secs(120);

async fn answers_that_are_not_read_fill_no_memory() -> String {
    let crowd = Measure {
        connections: at_length(96, 512),
        lasts: at_length(Duration::from_millis(800), Duration::from_secs(15)),
        small_files: at_length(1024, WORDS),
        joining: at_length(128, 512),
        joining_lasts: at_length(Duration::from_secs(30), Duration::from_secs(300)),
    };
    let one: Vec<IpAddr> = vec![[127, 0, 0, 2].into()];
    let many: Vec<IpAddr> = (2..100).map(|host| [127, 0, 0, host].into()).collect();
    let mut kinds: Vec<(Kind, &[IpAddr])> = Kind::ALL.map(|kind| (kind, &one[..])).into();
    kinds.extend([Kind::KnownFiles, Kind::Mix].map(|kind| (kind, &many[..])));
    let network = Network::builder().start().await;
    // At full length a process for each kind: what one leaves behind is not the next one's.
    let together = at_length(kinds.len(), 1);
    let mut figures = Vec::new();
    for (number, kinds) in kinds.chunks(together).enumerate() {
        let machine = Machine::new(network.user(&format!("ann{number}")), Ipv4Addr::LOCALHOST);
        figures.extend(crowd.of_kinds(&machine, kinds).await);
    }
    let machine = Machine::new(network.user("bob"), Ipv6Addr::LOCALHOST);
    figures.extend(crowd.of_kinds(&machine, &[(Kind::Mix, &[Ipv6Addr::LOCALHOST.into()])]).await);
    let is_bounded = |figure: &Figure| figure.grown <= GROWTH_KIB && figure.left <= LEFT_KIB;
    assert!(figures.iter().all(is_bounded), "{figures:?}");
    let grown = figures.iter().max_by_key(|figure| figure.grown).expect("there are kinds");
    let left = figures.iter().max_by_key(|figure| figure.left).expect("there are kinds");
    format!(
        "{} connections of each of {} kinds, {} that join {} files each: at most {} MiB more ({:?}), at most {} MiB left after they closed ({:?})",
        crowd.connections,
        Kind::ALL.len(),
        crowd.joining,
        crowd.small_files,
        grown.grown / 1024,
        grown.kind,
        left.left / 1024,
        left.kind
    )
}

/// How many at once, and for how long.
struct Measure {
    connections: usize,
    lasts: Duration,
    /// Files that each connection of a crowd joins, and how many connections that is.
    small_files: u32,
    joining: usize,
    /// It ends before when all are answered.
    joining_lasts: Duration,
}

/// By how much the memory grew while there was such a crowd, and how much of that stayed, in KiB.
#[derive(Debug)]
struct Figure {
    kind: Kind,
    grown: u64,
    left: u64,
}

impl Measure {
    /// A crowd of each kind, one after another, at one process.
    async fn of_kinds(&self, machine: &Machine, kinds: &[(Kind, &[IpAddr])]) -> Vec<Figure> {
        let joins_files = kinds.iter().any(|(kind, _)| *kind == Kind::KnownFiles);
        let (serving, target) =
            seeds(machine, if joins_files { self.small_files } else { 0 }).await;
        let resident = || memory(serving.process.id()).now_kib;
        let before = resident();
        let mut figures = Vec::new();
        for (kind, from) in kinds {
            let (connections, lasts) = match kind {
                Kind::KnownFiles => (self.joining, self.joining_lasts),
                _ => (self.connections, self.lasts),
            };
            let crowd = Crowd::of(*kind, target.clone(), connections, WORDS, from);
            let (began, mut peak) = (Instant::now(), 0);
            // A peer that fails fills the machine in seconds.
            while began.elapsed() < lasts && !crowd.is_answered() && peak <= before + 8 * GROWTH_KIB
            {
                peak = peak.max(resident());
                sleep(Duration::from_millis(10)).await;
            }
            drop(crowd);
            let closed = Instant::now();
            let left = loop {
                let left = resident().saturating_sub(before);
                if left <= LEFT_KIB || closed.elapsed() > GIVEN_BACK_WITHIN {
                    break left;
                }
                sleep(Duration::from_millis(50)).await;
            };
            figures.push(Figure { kind: *kind, grown: peak.saturating_sub(before), left });
        }
        figures
    }
}

/// A server of its own process that shares a file with a long description, and many small ones.
async fn seeds(machine: &Machine, small_files: u32) -> (Serving, Target) {
    let shared = machine.cli().path("shared");
    std::fs::create_dir(&shared).expect("a home of our own is writable");
    let long = Payload::Sparse { len: SIZE };
    long.write(&shared.join("file")).expect("a hole takes no space");
    for number in 0..small_files {
        let path = shared.join(format!("small{number}"));
        std::fs::write(path, SmallFile(number).bytes()).expect("a home of our own is writable");
    }
    let serving = machine.serves(&["start-server", "--foreground", "--dir", "shared"], 0).await;
    eventually("all files are shared", SHARED_WITHIN, async || {
        let status = machine.cli().run(["status", "--json"]).await.with_code(0).result();
        let total = status["status"]["files_total"].clone();
        if total == small_files + 1 { Ok(()) } else { Err(total) }
    })
    .await;
    let info = long.describe(ChunkSize::default_for(SIZE));
    let (hash, geometry) = (*info.hash().as_bytes(), *info.geometry());
    let small_files = (0..small_files).map(|number| SmallFile(number).hash()).collect();
    let target = Target { address: serving.address, hash, geometry, small_files };
    (serving, target)
}

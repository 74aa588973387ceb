//! Questions by the thousand whose answers are never read, and files by the thousand that are joined.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use tnet_fileinfo::{ChunkSize, FileHash, Geometry};
use tnet_testkit::{Network, Payload, SOON, eventually};
use tokio::time::{Instant, sleep};

use crate::support::case::cases;
use crate::support::getting::MIB;
use crate::support::machine::{Machine, Serving};
use crate::support::process::memory;
use crate::support::soak::at_length;
use crate::support::unread::{Crowd, Kind, SmallFile, Target};

cases![
    70 "thousands of questions on each of many connections, and no answer is read; thousands of files joined" answers_that_are_not_read_fill_no_memory .alone();
];

/// By how much the memory may grow, and how much of it may stay afterwards.
const GROWTH_KIB: u64 = 64 * 1024;
const LEFT_KIB: u64 = 32 * 1024;

/// How long the peer may take to notice that all are gone.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(10);

/// Of a file of so many bytes a description has 4096 sums: one message of 128 KiB.
const SIZE: u64 = 256 * MIB;

/// Things that are said on each connection; also as many small files are shared.
const WORDS: u32 = 4096;

async fn answers_that_are_not_read_fill_no_memory() -> String {
    let crowd = Measure {
        connections: at_length(96, 512),
        lasts: at_length(Duration::from_millis(800), Duration::from_secs(15)),
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
        "{} connections of each of {} kinds: at most {} MiB more ({:?}), at most {} MiB left after they closed ({:?})",
        crowd.connections,
        Kind::ALL.len(),
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
        let (serving, target) = seeds(machine).await;
        let resident = || memory(serving.process.id()).now_kib;
        let before = resident();
        let mut figures = Vec::new();
        for (kind, from) in kinds {
            let crowd = Crowd::of(*kind, target.clone(), self.connections, WORDS, from);
            let (began, mut peak) = (Instant::now(), 0);
            // A peer that fails fills the machine in seconds.
            while began.elapsed() < self.lasts && peak <= before + 8 * GROWTH_KIB {
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
async fn seeds(machine: &Machine) -> (Serving, Target) {
    let shared = machine.cli().path("shared");
    std::fs::create_dir(&shared).expect("a home of our own is writable");
    Payload::Sparse { len: SIZE }.write(&shared.join("file")).expect("a hole takes no space");
    let serving = machine.serves(&["start-server", "--foreground", "--dir", "shared"], 0).await;
    let status = async || machine.cli().run(["status", "--json"]).await.with_code(0).result();
    let hash = eventually("the file is shared", SOON, async || {
        let status = status().await;
        let hash =
            status["status"]["files"][0]["hash"].as_str().and_then(|hash| hash.parse::<FileHash>().ok());
        hash.ok_or(status)
    })
    .await;
    for number in 0..WORDS {
        let path = shared.join(format!("small{number}"));
        std::fs::write(path, SmallFile(number).bytes()).expect("a home of our own is writable");
    }
    eventually("the small files are shared", SOON, async || {
        let total = status().await["status"]["files_total"].clone();
        if total == WORDS + 1 { Ok(()) } else { Err(total) }
    })
    .await;
    let geometry = Geometry::new(SIZE, ChunkSize::default_for(SIZE)).expect("a size that files have");
    let small_files = (0..WORDS).map(|number| SmallFile(number).hash()).collect();
    let target = Target { address: serving.address, hash: *hash.as_bytes(), geometry, small_files };
    (serving, target)
}

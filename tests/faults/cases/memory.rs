//! Little memory, and a disk that takes long.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tnet_testkit::{Cli, Content, Network, Node, Payload, eventually};

use crate::support::case::cases;
use crate::support::getting::{Getting, MIB, small_chunks};
use crate::support::memory_group::MemoryGroup;
use crate::support::needs::Need;
use crate::support::strace::Strace;
use crate::support::traced::{peak_kib, terminate, traced};

cases![
    52 "64 MiB of memory for a file of 512 MiB" a_file_of_512_mib_is_received_and_served_in_64_mib
        .needing(&[Need::MemoryGroup, Need::Strace]);
    59 "every write takes 200 ms" a_slow_disk_slows_the_download_and_fills_no_memory
        .needing(&[Need::Strace]);
    59 "every write takes 6 s" a_stalled_disk_is_reported
        .needing(&[Need::Strace]);
];

/// A machine that does other things at the same time.
const PATIENT: Duration = Duration::from_secs(120);

async fn a_file_of_512_mib_is_received_and_served_in_64_mib() -> String {
    const SIZE: u64 = 512 * MIB;
    let network = Network::builder().peer("seed").peer("bob").start().await;
    let content = shared(network.peer("seed"), SIZE).await;
    // On a disk: what a file system in memory holds cannot be let go of.
    let home =
        tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a place for temporary files");
    let getting =
        Getting::with(Cli::at(home.path()).with_coordinator(network.coordinator()), &content);
    let group = MemoryGroup::of_bytes(64 * MIB);
    let mut command = getting.seeding_command();
    command.args(["--linger", "10m"]);
    let began = Instant::now();
    // Slower than the network: what came must wait for the disk, and may not fill the memory
    // meanwhile.
    let strace =
        Strace::of("pwrite64", &getting.cli.path("trace")).inject("pwrite64:delay_enter=50000");
    let mut running = getting.start(group.run(&strace.run(&command)));
    eventually("the file is whole", PATIENT, async || {
        assert!(running.is_running(), "it ended: {}", running.stderr());
        if getting.out().exists() { Ok(()) } else { Err(running.stdout()) }
    })
    .await;
    let came = began.elapsed();
    let pid = traced(running.id()).expect("it seeds now");
    let downloading = peak_kib(pid).expect("it seeds");
    content.is_at(&getting.out()).await;
    // The same process, now the only one that has it.
    network.peer("seed").unshare(content.hash()).await.expect("it runs");
    let bob = network.peer("bob");
    bob.fetches_within(&content, PATIENT).await;
    assert!(running.is_running(), "it ended: {}", running.stderr());
    let seeding = peak_kib(pid).expect("it seeds");
    assert_eq!(group.kills(), 0);
    terminate(pid);
    let _ = running.ends(PATIENT).await.with_code(0);
    assert!(seeding < 64 * 1024, "{seeding} KiB");
    format!(
        "512 MiB in {:.0} s: peak RSS {} MiB downloading, {} MiB after seeding it too; the group with its page cache {} of 64 MiB, 0 kills",
        came.as_secs_f64(),
        downloading / 1024,
        seeding / 1024,
        group.peak() / MIB
    )
}

async fn a_slow_disk_slows_the_download_and_fills_no_memory() -> String {
    const SIZE: u64 = 256 * MIB;
    let network = Network::builder().peer("seed").start().await;
    let content = shared(network.peer("seed"), SIZE).await;
    let home =
        tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a place for temporary files");
    let getting =
        Getting::with(Cli::at(home.path()).with_coordinator(network.coordinator()), &content);
    let log = getting.cli.path("trace");
    let strace =
        Strace::of("pwrite64", &log).on(getting.paths()).inject("pwrite64:delay_enter=200000");
    let began = Instant::now();
    let mut running = getting.start(strace.run(&getting.command(&[])));
    let mut peak = 0;
    eventually("the download ends", PATIENT, async || {
        peak = peak.max(traced(running.id()).and_then(peak_kib).unwrap_or(0));
        if running.is_running() { Err(peak) } else { Ok(()) }
    })
    .await;
    let took = began.elapsed();
    getting.is_complete(running.ends(PATIENT).await).await;
    // 40 MiB may wait for the disk; the rest is the program.
    assert!(peak > 0 && peak < 80 * 1024, "{peak} KiB");
    let (writes, kib) =
        (content.chunk_count(), content.info().geometry().chunk_size().get() / 1024);
    format!(
        "256 MiB in {writes} writes of {kib} KiB, {:.1} s: peak RSS {} MiB",
        took.as_secs_f64(),
        peak / 1024
    )
}

async fn a_stalled_disk_is_reported() -> String {
    /// Of which one holds up everything, when the file is in memory; after that it is known.
    const WRITE: u64 = 6;
    const TOLD_WITHIN: f64 = 10.0;
    let network = Network::builder().peer("seed").start().await;
    let content = small_chunks(3, 59);
    network.peer("seed").shares(&content).await;
    let homes = [Path::new(env!("CARGO_TARGET_TMPDIR")), Path::new("/dev/shm")];
    let told = homes.map(async |home| {
        let home = tempfile::tempdir_in(home).expect("a place for temporary files");
        let getting =
            Getting::with(Cli::at(home.path()).with_coordinator(network.coordinator()), &content);
        let log = getting.cli.path("trace");
        let delay = format!("pwrite64:delay_enter={}", WRITE * 1_000_000);
        let strace = Strace::of("pwrite64", &log).on([getting.partial()]).inject(&delay);
        let began = Instant::now();
        let mut running = getting.start(strace.run(&getting.command(&[])));
        let disk = |text: &str| {
            let mut events =
                text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            events.find(|event| event["waiting"]["what"] == "disk")
        };
        running.prints("it waits for the disk", PATIENT, disk).await;
        let told = began.elapsed().as_secs_f64();
        getting.is_complete(running.ends(PATIENT).await).await;
        told
    });
    let [on_disk, in_memory] = told;
    let (on_disk, in_memory) = tokio::join!(on_disk, in_memory);
    assert!(
        on_disk < TOLD_WITHIN && in_memory < TOLD_WITHIN,
        "after {on_disk} s and {in_memory} s"
    );
    format!(
        "said after {on_disk:.1} s, after {in_memory:.1} s where the file is in memory; both files whole"
    )
}

/// So many zeros, shared by a peer. They come and go as any bytes do, and a seed has them for
/// nothing.
async fn shared(seed: &Node, bytes: u64) -> Content {
    let payload = Payload::Sparse { len: bytes };
    let original = seed.path("original");
    payload.write(&original).expect("our own directory");
    Content::described(payload, seed.share(&original).await.expect("it is there"))
}

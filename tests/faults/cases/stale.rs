//! What an earlier attempt left is not any more what it was, under a journal that still fits.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tnet_fileinfo::{ChunkSize, MIN_CHUNK_SIZE};
use tnet_peer::Phase;
use tnet_testkit::{Content, Network, Payload, SOON, eventually};

use crate::support::boundaries::open;
use crate::support::case::cases;
use crate::support::damage::{Damage, Pair};
use crate::support::getting::{CHUNK, Getting, small_chunks};
use crate::support::machine::events;
use crate::support::needs::Need;
use crate::support::soak::at_length;
use crate::support::strace::Strace;

cases![
    68 "a part and its journal, changed in any way between two attempts" whatever_was_left_the_file_is_right;
    68 "a part that was zeroed in place, with others that fetch from it" a_damaged_part_is_not_served;
    68 "a disk that is slow, or fails, while a part is verified" a_slow_disk_is_no_silence_and_a_failing_one_no_end
        .needing(&[Need::Strace]);
];

const CHUNKS: u32 = 12;

/// Downloads at the same time.
const LANES: usize = 8;

/// How the attempts with damaged files ended.
#[derive(Default)]
struct Outcomes {
    variants: AtomicUsize,
    /// The file under the final name was another one.
    wrong: AtomicUsize,
    /// Something that was vouched for was fetched again.
    noticed: AtomicUsize,
}

async fn whatever_was_left_the_file_is_right() -> String {
    const SEED: u64 = 68;
    let network = Network::builder().peer("sam").start().await;
    let content = small_chunks(u64::from(CHUNKS), SEED);
    network.peer("sam").shares(&content).await;
    let (bytes, outcomes) = (content.payload().bytes(), Outcomes::default());
    let each = at_length(240, 2000) / LANES;
    let lane = async |lane: usize| {
        let mut luck = StdRng::seed_from_u64(SEED + lane as u64);
        let getting = Getting::new(&network, &format!("ann{lane}"), &content);
        for number in 0..each {
            // Each kind is the first as often as any other; often others follow.
            let first = Damage::ALL[(lane * each + number) % Damage::ALL.len()];
            let further = (0..luck.random_range(0..3))
                .map(|_| Damage::ALL[luck.random_range(0..Damage::ALL.len())]);
            let kinds: Vec<Damage> =
                std::iter::once(first).chain(further.collect::<Vec<_>>()).collect();
            attempt(&getting, &content, &bytes, &kinds, &mut luck, &outcomes).await;
        }
    };
    join_all((0..LANES).map(lane)).await;
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    let (variants, wrong, noticed) =
        (count(&outcomes.variants), count(&outcomes.wrong), count(&outcomes.noticed));
    assert_eq!(wrong, 0, "of {variants} files that were accepted, so many are wrong");
    assert!(
        noticed > variants / 4,
        "only {noticed} of {variants} had damaged chunks under a journal that fits"
    );
    let (verified, from) = resume_ms_per_gib().await;
    format!(
        "{variants} variants of part and journal, {noticed} with damage under a journal that fits: 0 wrong accepted; \
         {verified:.0} ms per GiB to resume a file that lacks only its name ({from} MiB, this build)"
    )
}

/// Leaves an interrupted download, damages it, and completes it with the real command.
async fn attempt(
    getting: &Getting,
    content: &Content,
    bytes: &[u8],
    kinds: &[Damage],
    luck: &mut StdRng,
    outcomes: &Outcomes,
) {
    let out = getting.out();
    let (another, _) = open(content, &getting.dir().join("b"));
    let write = |download: &tnet_peer::store::Download, chunks: &[u32]| {
        for chunk in content.chunks(chunks.iter().copied()) {
            let range = content.info().geometry().range(chunk);
            let range = usize::try_from(range.start).expect("small")
                ..usize::try_from(range.end).expect("small");
            download.write_chunk(chunk, &bytes[range]).expect("the disk works");
        }
        download.sync().expect("the disk works");
    };
    let both = |name: &str| {
        let read =
            |suffix: &str| fs::read(getting.dir().join(format!("{name}{suffix}"))).expect("there");
        (read(".partial"), read(".partial.journal"))
    };
    write(&another, &(0..CHUNKS).collect::<Vec<_>>());
    let others = both("b");
    another.discard().expect("removable");
    let (download, _) = open(content, &out);
    let mut chunks: Vec<u32> = (0..CHUNKS).filter(|_| luck.random_bool(0.8)).collect();
    let later = chunks.split_off(chunks.len() / 2);
    write(&download, &chunks);
    let earlier = both("a");
    later.chunks(3).for_each(|some| write(&download, some));
    drop(download);
    let (partial, journal) = (getting.partial(), getting.journal());
    let (size, chunk) = (content.info().size(), CHUNK);
    let pair = Pair {
        partial: &partial,
        journal: &journal,
        size,
        chunk,
        earlier: &earlier,
        others: &others,
    };
    kinds.iter().for_each(|kind| kind.strike(&pair, luck));

    let report = getting.start(getting.command(&[])).ends(SOON).await.with_code(0).result();

    let differs = content.payload().first_difference(&out).expect("readable").is_some();
    outcomes.variants.fetch_add(1, Ordering::Relaxed);
    outcomes.wrong.fetch_add(usize::from(differs), Ordering::Relaxed);
    let noticed = report["bytes_damaged"].as_u64().unwrap_or(0) > 0;
    outcomes.noticed.fetch_add(usize::from(noticed), Ordering::Relaxed);
    for name in getting.names() {
        fs::remove_file(getting.dir().join(name)).expect("it is ours");
    }
}

/// How long the real command takes for a file of which all is here, and how many MiB it had.
async fn resume_ms_per_gib() -> (f64, u64) {
    const MIB: u64 = 1024 * 1024;
    let size = at_length(128, 1024) * MIB;
    let chunk_size = ChunkSize::new(1024 * 1024).expect("a size for chunks");
    let content = Content::chunked(Payload::Sparse { len: size }, chunk_size);
    let network = Network::builder().start().await;
    let getting = Getting::new(&network, "ann", &content);
    let (download, _) = open(&content, &getting.out());
    let bytes = vec![0; chunk_size.get() as usize];
    for chunk in content.info().geometry().chunks() {
        download.write_chunk(chunk, &bytes).expect("the disk works");
    }
    download.sync().expect("the disk works");
    drop(download);
    let report = getting.completes(&[]).await;
    let seconds = report["seconds"].as_f64().expect("a number");
    (seconds * 1000.0 * f64::from(1 << 30) / size as f64, size / MIB)
}

async fn a_damaged_part_is_not_served() -> String {
    let network = Network::builder().peer("ann").peer("bob").peer("sam").start().await;
    let content = small_chunks(u64::from(CHUNKS), 69);
    let partial = all_but(&content, &network.peer("ann").copy(), &[]);
    let half = content.info().size() / 2;
    let file = fs::File::options().write(true).open(partial).expect("there");
    std::os::unix::fs::FileExt::write_all_at(
        &file,
        &vec![0; usize::try_from(half).expect("small")],
        0,
    )
    .expect("writable");

    // No other peer has anything, until both have what is right.
    let ann = network.peer("ann").begins(&content).await;
    let bob = network.peer("bob").begins(&content).await;
    for download in [&ann, &bob] {
        eventually("the right half is there", SOON, async || {
            let progress = download.progress();
            assert_ne!(progress.phase, Phase::Complete, "half of it is nowhere");
            if progress.bytes_done == half { Ok(()) } else { Err(progress) }
        })
        .await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let damaged = ann.progress().bytes_damaged;
    network.peer("sam").shares(&content).await;
    let ann = network.peer("ann").completes(ann, &content, SOON).await;
    let bob = network.peer("bob").completes(bob, &content, SOON).await;
    assert_eq!((damaged, ann.summary.bytes_damaged), (half, half));
    assert_eq!(ann.summary.bytes_resumed, half);
    assert_eq!((ann.summary.traffic.corrupt, bob.summary.traffic.corrupt), (0, 0));
    format!("{} of {CHUNKS} chunks damaged: 0 of them served, the rest served at once", CHUNKS / 2)
}

/// Leaves a download of which all chunks are here but these, and the journal says so.
fn all_but(content: &Content, out: &Path, missing: &[u32]) -> PathBuf {
    let (download, _) = open(content, out);
    let bytes = content.payload().bytes();
    for (chunk, bytes) in
        content.info().geometry().chunks().zip(bytes.chunks(MIN_CHUNK_SIZE as usize))
    {
        if !missing.contains(&chunk.get()) {
            download.write_chunk(chunk, bytes).expect("the disk works");
        }
    }
    download.sync().expect("the disk works");
    download.partial_path()
}

async fn a_slow_disk_is_no_silence_and_a_failing_one_no_end() -> String {
    /// What the disk takes to read one chunk, in milliseconds.
    const READ: u64 = 80;
    const CHUNKS: u64 = 40;
    let mut network = Network::builder().start().await;
    let content = small_chunks(CHUNKS, 70);
    let getting = Getting::new(&network, "ann", &content);
    let (log, reads) = (getting.cli.path("trace"), "pread64,preadv2");
    let traced =
        |what: &str| Strace::of(reads, &log).on(getting.paths()).inject(&format!("{reads}:{what}"));
    let slow = traced(&format!("delay_enter={}", READ * 1000));

    // The time-out for chunks without a holder begins at the end of the verification.
    all_but(&content, &getting.out(), &[5]);
    let command = slow.run(&getting.command(&["--timeout", "1s"]));
    let began = Instant::now();
    let alone = getting.start(command).ends(SOON).await.with_code(7);
    let gave_up_after = began.elapsed();
    let least = Duration::from_millis((CHUNKS - 1) * READ);
    assert!(gave_up_after > least, "it gave up after {gave_up_after:?}, while the disk was read");
    getting.is_not_there();
    let checked: BTreeSet<u64> =
        events(&alone.stdout).filter_map(|event| event["bytes_checked"].as_u64()).collect();
    assert!(checked.len() >= 3, "told only {checked:?}");

    // One that cannot be read is fetched again, as the one that was missing.
    let seed = network.raw_seed(&content).await;
    let failing = getting.start(traced("error=EIO:when=9").run(&getting.command(&[])));
    let report = getting.is_complete(failing.ends(SOON).await).await;
    let fetched = u64::from(seed.counters().served_in_all());
    assert_eq!((report["bytes_damaged"].as_u64(), fetched), (Some(CHUNK), 2), "{report}");
    drop(seed);

    // A file that lacks only its name needs no peer, however long it takes.
    fs::remove_file(getting.out()).expect("it is ours");
    network.kill_coordinator();
    all_but(&content, &getting.out(), &[]);
    let ended = getting.start(slow.run(&getting.command(&["--timeout", "1s"]))).ends(SOON).await;
    assert!(events(&ended.stdout).any(|event| event["phase"] == "checking"), "{}", ended.stdout);
    let report = getting.is_complete(ended).await;
    assert_eq!(report["bytes_resumed"], content.info().size());
    format!(
        "{READ} ms a chunk: given up {:.1} s after the last of {} chunks was verified, not before; 1 chunk unreadable: \
         fetched again; no peer and no coordinator: complete",
        gave_up_after.saturating_sub(least).as_secs_f64(),
        CHUNKS - 1
    )
}

//! The process dies at any moment, without a word.

use std::fs;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tnet_fileinfo::ChunkSize;
use tnet_testkit::{Content, Network, Payload, Relay, SOON};
use tokio::time::sleep;

use crate::support::boundaries::{Before, Boundary, each, open};
use crate::support::case::cases;
use crate::support::getting::{CHUNK, Getting, chunks_said, chunks_written, small_chunks};
use crate::support::needs::Need;
use crate::support::soak::at_length;

cases![
    41 "a peer is killed at random moments, over and over" killed_over_and_over_it_fetches_hardly_anything_again;
    42 "killed before every system call that changes the disk" killed_before_any_call_it_leaves_the_old_state_or_the_new
        .needing(&[Need::Strace]);
];

/// Lives of a download in row 41: each is so long at most. Some end before the first chunk, some
/// after the last.
const LIFE_AT_MOST: Duration = Duration::from_millis(700);

/// The seed sends one chunk after the other, so that no more than the one on its way is lost with a
/// life; and what waits in the sockets of a busy machine.
const LOST_AT_MOST: u64 = 4 * CHUNK;

async fn killed_over_and_over_it_fetches_hardly_anything_again() -> String {
    const RATE: u32 = 600_000;
    const SEED: u64 = 41;
    let kills = at_length(20, 1000);
    let mut luck = StdRng::seed_from_u64(SEED);
    let network = Network::builder().start().await;
    let content = small_chunks(160, SEED);
    let seed = content.raw_peer().start().await.expect("there are free ports");
    let cable = Relay::to(seed.address()).await.expect("there are free ports");
    cable.limit(RATE.try_into().expect("not zero"));
    let _reporter = network.announce(cable.address().port(), &content).await;
    let getting = Getting::new(&network, "ann", &content);
    let (mut killed, mut completed, mut known) = (0, 0, 0);
    while killed < kills {
        let running = getting.start(getting.command(&[]));
        sleep(LIFE_AT_MOST.mul_f64(luck.random())).await;
        running.kill();
        let ended = running.ends(SOON).await;
        // What an earlier life said it had, this one has.
        let said = chunks_said(&ended.stdout);
        assert!(said == 0 || said >= known, "{said} chunks after {known}");
        known = known.max(said);
        killed += u64::from(ended.signal == Some(9));
        if getting.out().exists() {
            getting.completes(&[]).await;
            fs::remove_file(getting.out()).expect("it is ours");
            (known, completed) = (0, completed + 1);
        } else {
            getting.is_not_there();
        }
    }
    getting.completes(&[]).await;
    completed += 1;
    let (fetched, needed) = (cable.carried(), completed * content.info().size());
    let again = fetched.checked_sub(needed).expect("every chunk of every file came");
    assert!(again <= killed * LOST_AT_MOST, "{again} bytes again after {killed} kills");
    let (believed, hashed) = (resume_ms_per_gib(true), resume_ms_per_gib(false));
    format!(
        "{killed} kills at moments from seed {SEED}, {completed} files whole, {:.1} % fetched again ({} of {} KiB, messages included); beginning again takes \
         {believed:.0} ms per GiB with its journal, {hashed:.0} without",
        100.0 * again as f64 / needed as f64,
        again / 1024,
        needed / 1024,
    )
}

/// How long a download that was all but whole takes to begin again.
fn resume_ms_per_gib(with_journal: bool) -> f64 {
    const MIB: u32 = 1024 * 1024;
    let size = u64::from(at_length(64, 1024) * MIB);
    let content = Content::chunked(
        Payload::Sparse { len: size },
        ChunkSize::new(MIB).expect("a size for chunks"),
    );
    let dir = tempfile::tempdir().expect("a place for temporary files");
    let out = dir.path().join("a");
    let (download, _) = open(&content, &out);
    let bytes = vec![0; MIB as usize];
    for chunk in content.chunks(1..content.chunk_count()) {
        download.write_chunk(chunk, &bytes).expect("the disk works");
    }
    if with_journal {
        download.sync().expect("the disk works");
    }
    drop(download);
    let began = Instant::now();
    let (_download, stored) = open(&content, &out);
    let took = began.elapsed();
    assert_eq!(stored.count(), content.chunk_count() - 1);
    took.as_secs_f64() * 1000.0 * f64::from(1 << 30) / size as f64
}

/// Chunks of the file of row 42.
const CHUNKS: u64 = 4;

async fn killed_before_any_call_it_leaves_the_old_state_or_the_new() -> String {
    let network = Network::builder().start().await;
    let content = small_chunks(CHUNKS, 42);
    let _seed = network.raw_seed(&content).await;
    let mut passed = Vec::new();
    for before in Before::ALL {
        passed.push(
            each(&network, &content, before, async |boundary| {
                passes(&network, &content, boundary).await
            })
            .await,
        );
    }
    let all: usize = passed.iter().sum();
    let [fresh, resuming, replacing] = passed[..] else {
        unreachable!("one count for each beginning")
    };
    format!(
        "{all} of {all} boundaries: {fresh} of a new file, {resuming} of one that goes on, {replacing} of one that goes \
         on without its journal and replaces another"
    )
}

/// Kills it before this call, looks at what is there, and goes on. False if there was no such call.
async fn passes(network: &Network, content: &Content, boundary: Boundary) -> bool {
    let (getting, strace) = boundary.prepared(network, "killed", content);
    let (before, arguments) = (boundary.before, boundary.before.arguments());
    let strace = strace.kill_before(&boundary.kind, boundary.nth);
    let ended = getting.start(strace.run(&getting.command(arguments))).ends(SOON).await;
    if ended.signal != Some(9) {
        getting.is_complete(ended).await;
        return false;
    }
    before.is_old_or_new(&getting, content).await;
    let report = getting.completes(arguments).await;
    // What it wrote before is kept: a crash of the process takes nothing from the page cache.
    let kept = (chunks_written(&getting.cli.path("trace")) + before.chunks()) * CHUNK;
    assert_eq!(report["bytes_resumed"], kept, "{boundary:?}: {report}");
    fs::remove_dir_all(getting.cli.home()).expect("it is ours");
    true
}

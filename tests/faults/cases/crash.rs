//! The process dies at any moment, without a word.

use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tnet_fileinfo::{ChunkSet, ChunkSize};
use tnet_fileinfo::scan::unwatched;
use tnet_peer::store::{self, Opened};
use tnet_testkit::{Content, Network, Payload, Relay, SOON};
use tokio::time::sleep;

use crate::support::case::cases;
use crate::support::getting::{CHUNK, Getting, chunks_said, chunks_written, small_chunks};
use crate::support::needs::Need;
use crate::support::soak::length;
use crate::support::strace::{Strace, calls};

cases![
    41 "a peer is killed at random moments, over and over" killed_over_and_over_it_fetches_hardly_anything_again;
    42 "killed before every system call that changes the disk" killed_before_any_call_it_leaves_the_old_state_or_the_new
        .needing(&[Need::Strace]);
];

/// Lives of a download in row 41: each is so long at most. Some end before the first chunk, some after the last.
const LIFE_AT_MOST: Duration = Duration::from_millis(700);

/// The seed sends one chunk after the other, so that no more than the one on its way is lost with a life; and what waits
/// in the sockets of a busy machine.
const LOST_AT_MOST: u64 = 4 * CHUNK;

async fn killed_over_and_over_it_fetches_hardly_anything_again() -> String {
    const RATE: u32 = 600_000;
    const SEED: u64 = 41;
    let kills = length(20, 1000);
    println!("row 41: the moments come from the seed {SEED}");
    let mut luck = StdRng::seed_from_u64(SEED);
    let network = Network::builder().start().await;
    let content = small_chunks(160, SEED);
    let seed = content.raw_peer().start().await.expect("there are free ports");
    let cable = Relay::to(seed.address()).await.expect("there are free ports");
    cable.limit(RATE.try_into().expect("not zero"));
    let _herald = network.announce(cable.address().port(), &content).await;
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
        "{killed} kills, {completed} files whole, {:.1} % fetched again ({} of {} KiB, messages included); resuming takes \
         {believed:.0} ms per GiB with its journal, {hashed:.0} without",
        100.0 * again as f64 / needed as f64,
        again / 1024,
        needed / 1024,
    )
}

/// How long a download that was all but whole takes to begin again.
fn resume_ms_per_gib(with_journal: bool) -> f64 {
    const MIB: u32 = 1024 * 1024;
    let size = u64::from(length(64, 1024) * MIB);
    let content = Content::chunked(Payload::Sparse { len: size }, ChunkSize::new(MIB).expect("a size for chunks"));
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

/// What can change the disk. A file is made by opening it.
const CALLS: &str = "openat,fallocate,ftruncate,pwrite64,fsync,fdatasync,renameat,renameat2,linkat,unlinkat";

/// Chunks of the file of row 42.
const CHUNKS: u64 = 4;

/// Boundaries that are tried at once.
const AT_ONCE: usize = 2;

async fn killed_before_any_call_it_leaves_the_old_state_or_the_new() -> String {
    let network = Network::builder().start().await;
    let content = small_chunks(CHUNKS, 42);
    let _seed = network.raw_seed(&content).await;
    let fresh = passes_all(&network, &content, Before::Nothing).await;
    let replacing = passes_all(&network, &content, Before::PartAndOldFile).await;
    let resuming = passes_all(&network, &content, Before::PartAndJournal).await;
    let all = fresh + replacing + resuming;
    format!(
        "{all} of {all} boundaries: {fresh} of a new file, {resuming} of one that goes on, {replacing} of one that goes \
         on without its journal and replaces another"
    )
}

/// What is there when the download begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    /// A part without a journal, of which two chunks are right; and another file under the final name.
    PartAndOldFile,
    /// A part with two chunks that its journal vouches for, and the torn end of a record.
    PartAndJournal,
}

const OLD: &[u8] = b"the old state";

/// Kills it before its first call of each kind, its second, and so on, until it ends alive. Answers how many it passed.
async fn passes_all(network: &Network, content: &Content, before: Before) -> usize {
    let kinds = kinds_of_calls(network, content, before).await;
    let mut passed = 0;
    for kind in &kinds {
        for first in (1..).step_by(AT_ONCE) {
            let tries = (first..first + AT_ONCE).map(|nth| passes(network, content, before, kind, nth));
            let results = futures_util::future::join_all(tries).await;
            passed += results.iter().filter(|was_killed| **was_killed).count();
            if results.contains(&false) {
                break;
            }
        }
    }
    assert!(passed >= 10, "{passed} boundaries among {kinds:?}");
    passed
}

/// The calls that a download on this machine makes.
async fn kinds_of_calls(network: &Network, content: &Content, before: Before) -> Vec<String> {
    let getting = prepared(network, &format!("{before:?}-counts"), content, before);
    let log = getting.cli.path("trace");
    let traced = Strace::of(CALLS, &log).on(getting.paths()).run(&getting.command(before.arguments()));
    let finished = getting.start(traced).ends(SOON).await;
    getting.is_complete(finished).await;
    let calls = calls(&fs::read_to_string(log).expect("the log"));
    let mut kinds: Vec<String> = calls.into_iter().map(|call| call.name).filter(|name| CALLS.contains(name.as_str())).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

/// Kills it before its `nth` call of a kind, looks at what is there, and goes on. False if there was no such call.
async fn passes(network: &Network, content: &Content, before: Before, kind: &str, nth: usize) -> bool {
    let getting = prepared(network, &format!("{before:?}-{kind}-{nth}"), content, before);
    let log = getting.cli.path("trace");
    let strace = Strace::of(CALLS, &log);
    // Every program opens many files at first, but the one thread that begins a download opens these.
    let strace = if kind == "openat" { strace.on(getting.paths()) } else { strace.in_order() };
    let strace = strace.kill_before(kind, nth);
    let ended = getting.start(strace.run(&getting.command(before.arguments()))).ends(SOON).await;
    if ended.signal != Some(9) {
        getting.is_complete(ended).await;
        return false;
    }
    // What it wrote before is kept: a crash of the process takes nothing from the page cache.
    let wrote = chunks_written(&log);
    let mut names = getting.names();
    names.retain(|name| !["a.partial", "a.partial.journal"].contains(&name.as_str()));
    let now = fs::read(getting.out()).ok();
    match (&now, before) {
        (None, Before::Nothing | Before::PartAndJournal) => {}
        (Some(bytes), Before::PartAndOldFile) if bytes == OLD => {}
        (Some(_), _) => content.is_at(&getting.out()).await,
        (None, Before::PartAndOldFile) => panic!("{kind} {nth}: the old file is gone, and no new one is there"),
    }
    assert!(names.iter().all(|name| name == "a"), "{names:?}");
    let report = getting.completes(before.arguments()).await;
    let kept = report["bytes_resumed"].as_u64().unwrap_or(0);
    let expected = (wrote + before.chunks()) * CHUNK;
    assert_eq!(kept, expected, "{kind} {nth}: {report}");
    fs::remove_dir_all(getting.cli.home()).expect("it is ours");
    true
}

impl Before {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Before::Nothing | Before::PartAndJournal => &[],
            Before::PartAndOldFile => &["--overwrite"],
        }
    }

    /// Right chunks that are there.
    fn chunks(self) -> u64 {
        match self {
            Before::Nothing => 0,
            Before::PartAndOldFile | Before::PartAndJournal => 2,
        }
    }
}

/// A user of that name, with what is to be there before.
fn prepared(network: &Network, name: &str, content: &Content, before: Before) -> Getting {
    let getting = Getting::new(network, name, content);
    let bytes = content.payload().bytes();
    let half = &bytes[..usize::try_from(2 * CHUNK).expect("small")];
    match before {
        Before::Nothing => {}
        Before::PartAndOldFile => {
            fs::write(getting.out(), OLD).expect("a home is writable");
            let file = fs::File::create_new(getting.partial()).expect("a home is writable");
            file.write_all_at(half, 0).expect("a home is writable");
            file.write_all_at(half, 2 * CHUNK).expect("a home is writable");
        }
        Before::PartAndJournal => {
            let (download, _) = open(content, &getting.out());
            for (chunk, bytes) in content.chunks(0..2).into_iter().zip(half.chunks(CHUNK as usize)) {
                download.write_chunk(chunk, bytes).expect("the disk works");
            }
            download.sync().expect("the disk works");
            drop(download);
            let mut journal = fs::File::options().append(true).open(getting.journal()).expect("it was made");
            journal.write_all(b"torn").expect("a home is writable");
        }
    }
    getting
}

/// Opens a download in this process.
fn open(content: &Content, out: &Path) -> (store::Download, ChunkSet) {
    match store::Download::open(content.info(), out, store::DownloadOptions::default(), &unwatched) {
        Ok(Opened::Partial(download, stored)) => (download, stored),
        other => panic!("{other:?}"),
    }
}

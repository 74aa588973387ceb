//! Bytes on a disk that are not any more what they were, or that it does not give.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tnet_peer::store::ScanCache;
use tnet_proto::{FileHandle, PeerMessage};
use tnet_testkit::{
    Cli, Content, Finished, Handshaken, Network, RawClient, Running, SOON, eventually, is, payload,
    stays, within,
};

use crate::support::case::cases;
use crate::support::needs::Need;
use crate::support::service::Service;
use crate::support::soak::at_length;
use crate::support::strace::Strace;

cases![
    78 "bytes of a shared file rot; another seed is sound" a_rotten_seed_serves_what_is_right_and_says_so;
    78 "bytes of the only seed's file rot" the_right_chunks_of_a_rotten_file_can_be_fetched;
    78 "bytes of a file rot of which the seed has another copy" a_sound_copy_takes_the_place_of_a_rotten_one;
    78 "bytes of a partial file rot while it is downloaded and served" a_rotten_chunk_of_a_download_is_fetched_again;
    78 "the disk does not give one chunk, for a while" a_chunk_that_cannot_be_read_is_withdrawn_and_comes_back
        .needing(&[Need::Strace]);
    78 "the disk fails in the middle of a part that goes out without a copy" a_part_that_fails_on_its_way_costs_one_chunk
        .needing(&[Need::Strace]);
    78 "a receiver says of sound chunks that they are wrong" false_reports_cost_few_reads_and_withdraw_nothing;
];

/// What the seed's own cut makes of the length.
const CHUNK: u64 = 16 * 1024;
const CHUNKS: u64 = 97;

/// A server that shares one directory.
struct Seed {
    cli: Cli,
    service: Service,
}

impl Seed {
    /// Shares the content under these names.
    async fn start(network: &Network, name: &str, content: &Content, files: &[&str]) -> Seed {
        let sound: Vec<_> = files.iter().map(|file| (*file, Vec::new())).collect();
        Seed::start_rotten(network, name, content, &sound).await
    }

    /// The same with files of which these chunks rotted unnoticed: the disk gives other
    /// bytes than were written, and nothing else tells. No program can do that to a file, so the
    /// server is made to remember that it read them.
    async fn start_rotten(
        network: &Network,
        name: &str,
        content: &Content,
        rotten: &[(&str, Vec<u64>)],
    ) -> Seed {
        let cli = network.user(name);
        std::fs::create_dir(cli.path("shared")).expect("a home is writable");
        let mut private = std::fs::DirBuilder::new();
        private.mode(0o700).create(cli.path("state")).expect("a home is writable");
        let scans = ScanCache::at(cli.path("state/scans"));
        for (file, chunks) in rotten {
            let path = cli.path("shared").join(file);
            content.write(&path).await;
            rot(&path, chunks.iter().copied());
            let metadata = path.metadata().expect("just written");
            let named = content.info().clone().with_name(Some(file.parse().expect("a name")));
            scans.remember_own(&path, &metadata, &named);
        }
        drop(scans);
        let files: Vec<&str> = rotten.iter().map(|(file, _)| *file).collect();
        let service = Service::peer(&cli, &["--dir", "shared", "-v"]).await;
        let seed = Seed { cli, service };
        eventually("the seed shares its files", SOON, async || {
            let log = seed.service.running.stderr();
            let is_shared = |file: &&str| log.contains(&format!("shared/{file}"));
            if files.iter().all(is_shared) { Ok(()) } else { Err(log) }
        })
        .await;
        seed
    }

    fn file(&self, name: &str) -> PathBuf {
        self.cli.path("shared").join(name)
    }

    async fn status(&self) -> Value {
        self.cli.run(["status", "--json"]).await.with_code(0).result()["status"]["files"][0].clone()
    }

    /// Waits until the status tells of so many wrong chunks and has looked at all of them.
    async fn knows_of_wrong(&self, chunks: u64) -> Value {
        eventually("the seed knows which chunks are wrong", SOON, async || {
            let file = self.status().await;
            let damaged = &file["damaged"][0];
            if damaged["wrong"] == chunks && damaged["checking"] == false {
                Ok(file)
            } else {
                Err(file)
            }
        })
        .await
    }
}

/// Flips a bit in each of these chunks.
fn rot(path: &Path, chunks: impl IntoIterator<Item = u64>) {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("it is there");
    for chunk in chunks {
        let mut byte = [0];
        file.read_exact_at(&mut byte, chunk * CHUNK + 100).expect("readable");
        file.write_all_at(&[byte[0] ^ 4], chunk * CHUNK + 100).expect("writable");
    }
}

/// So many chunks of the file, one in each stretch of it.
fn scattered(count: u64) -> Vec<u64> {
    (0..count).map(|number| number * (CHUNKS / count) + 3).collect()
}

/// A user's download of the content to `a`, to its end.
async fn get(cli: &Cli, content: &Content, timeout: &str) -> Finished {
    start_get(cli, content, timeout).ends(SOON).await
}

fn start_get(cli: &Cli, content: &Content, timeout: &str) -> Running {
    content.write_info(&cli.path("a.fileinfo"));
    let args = ["get", "a.fileinfo", "-o", "a", "--foreground", "--json", "--linger", "0s"];
    cli.start(args.iter().chain(&["--listen", "127.0.0.1:0", "--timeout", timeout]))
}

/// The chunks that a download had at its end.
fn chunks_done(finished: &Finished) -> u64 {
    let done = |line: &Value| line["chunks_done"].as_u64();
    finished.json_lines().iter().filter_map(done).max().unwrap_or(0)
}

async fn a_rotten_seed_serves_what_is_right_and_says_so() -> String {
    const ROTTEN: u64 = 32;
    let network = Network::builder().start().await;
    let content = Content::of(payload(CHUNKS * CHUNK, 78));
    let rotten =
        Seed::start_rotten(&network, "rotten", &content, &[("file", scattered(ROTTEN))]).await;
    let _sound = Seed::start(&network, "sound", &content, &["file"]).await;
    network.coordinator_counts(content.hash(), 2, 0).await;
    let began = Instant::now();
    let ann = network.user("ann");
    get(&ann, &content, "20s").await.with_code(0);
    content.is_at(&ann.path("a")).await;
    let told = began.elapsed();
    // It may be that the other seed served nearly all.
    for number in 0..5 {
        if network.swarm(content.hash()).await != (2, 0) {
            break;
        }
        get(&network.user(&format!("bob{number}")), &content, "20s").await.with_code(0);
    }
    network.coordinator_counts(content.hash(), 1, 1).await;
    let file = rotten.knows_of_wrong(ROTTEN).await;
    assert_eq!(file["chunks_done"], CHUNKS - ROTTEN, "{file}");
    let shown = rotten.cli.run(["status"]).await.with_code(0).stdout;
    assert!(shown.contains(&format!("{ROTTEN} chunks wrong on disk")), "{shown}");
    let log = rotten.service.running.stderr();
    let lines =
        log.lines().filter(|line| line.contains("WARN") && line.contains("shared/file")).count();
    assert!((1..=3).contains(&lines), "{lines} lines of it in {log}");
    format!(
        "complete; {ROTTEN} of {CHUNKS} chunks withdrawn, {} served; partial at the coordinator; the download took {:.1} s; \
         {lines} lines in the log",
        CHUNKS - ROTTEN,
        told.as_secs_f64()
    )
}

async fn the_right_chunks_of_a_rotten_file_can_be_fetched() -> String {
    const ROTTEN: u64 = 8;
    let network = Network::builder().start().await;
    let content = Content::of(payload(CHUNKS * CHUNK, 79));
    let seed = Seed::start_rotten(&network, "seed", &content, &[("file", scattered(ROTTEN))]).await;
    network.coordinator_counts(content.hash(), 1, 0).await;
    let ann = network.user("ann");
    let first = get(&ann, &content, "2s").await;
    let had_first = chunks_done(&first);
    // The next attempt, a new process, has no bans.
    let second = get(&ann, &content, "2s").await;
    let (had, address) = (chunks_done(&second), seed.service.address);
    assert_eq!(had, CHUNKS - ROTTEN, "first {had_first}: {}\n{}", first.stderr, second.stderr);
    let blamed = format!("{address} sent wrong bytes for ");
    assert!(first.code == Some(7) || had_first == 0, "{first:?}");
    assert!(first.stderr.contains(&blamed), "{}", first.stderr);
    // A seed that was told looks at all chunks, and may have withdrawn the others before it sends a
    // second wrong one.
    let is_one = first.stderr.contains(&format!("{blamed}1 chunk"));
    assert!(is_one || first.stderr.contains("and was banned"), "{}", first.stderr);
    assert!(first.result()["error"].to_string().contains(&blamed), "{}", first.result());
    let words = format!("{ROTTEN} of {CHUNKS} chunks missing, {ROTTEN} of them held by nobody");
    assert!(second.with_code(7).stderr.contains(&words), "not {words:?}");
    network.coordinator_counts(content.hash(), 0, 1).await;
    seed.knows_of_wrong(ROTTEN).await;
    // The bytes come back as they were: seldom looked at, and noticed by a restart at the latest.
    format!(
        "first attempt {had_first} chunks, second all {had} that are right; {ROTTEN} withdrawn, held by nobody"
    )
}

async fn a_sound_copy_takes_the_place_of_a_rotten_one() -> String {
    let network = Network::builder().start().await;
    let content = Content::of(payload(CHUNKS * CHUNK, 80));
    let rotten = [("one", vec![3, 50]), ("two", vec![50, 90])];
    let seed = Seed::start_rotten(&network, "seed", &content, &rotten).await;
    network.coordinator_counts(content.hash(), 1, 0).await;
    // A receiver bans the seed for two wrong chunks; the next one knows nothing of that.
    let mut had = 0;
    for attempt in 0..3 {
        let finished = get(&network.user(&format!("ann{attempt}")), &content, "2s").await;
        had = chunks_done(&finished);
        if had == CHUNKS - 1 {
            break;
        }
    }
    assert_eq!(had, CHUNKS - 1, "{}", seed.status().await);
    network.coordinator_counts(content.hash(), 0, 1).await;
    let file = seed.status().await;
    assert_eq!(file["chunks_done"], CHUNKS - 1, "{file}");
    format!("two copies with 2 wrong chunks each, one of them the same: {had} of {CHUNKS} served")
}

async fn a_rotten_chunk_of_a_download_is_fetched_again() -> String {
    let mut network = Network::builder().start().await;
    let content = Content::of(payload(CHUNKS * CHUNK, 81));
    let source = network.raw(content.raw_peer().allowing(40)).await;
    network.start_peer("ann").await;
    network.start_peer("bob").await;
    let ann = network.peer("ann");
    let download = ann.begins(&content).await;
    tnet_testkit::stored(&download, 40).await;
    let partial = ann.path("copy.partial");
    let before = source.counters().served;
    let held: Vec<u64> = before.keys().map(|chunk| u64::from(*chunk)).collect();
    rot(&partial, held[..4].iter().copied());
    // A peer that fetches them from ann tells ann.
    let bob = network.peer("bob");
    let copy = bob.begins(&content).await;
    eventually("ann fetches a chunk again", SOON, async || {
        let progress = download.progress();
        if progress.chunks_done < 40 { Ok(()) } else { Err((progress, copy.progress())) }
    })
    .await;
    source.allow_all().await;
    let ann_has = within("ann ends", SOON, ann.completes(download, &content, SOON));
    ann_has.await;
    bob.completes(copy, &content, SOON).await;
    let again = source.counters().served.values().filter(|times| **times > 1).count();
    format!(
        "4 chunks of a partial file rot: told by a receiver, fetched again; {again} chunks sent twice or more by the source"
    )
}

/// Has the process of a seed fail calls from now on, as `inject` says, where they concern the file.
fn failing(seed: &Seed, calls: &str, path: &Path, inject: &str) -> Running {
    let log = seed.cli.path("trace");
    let strace =
        Strace::of(calls, &log).on([path.canonicalize().expect("it is there")]).inject(inject);
    let mut command = strace.attach(seed.service.running.id());
    command.current_dir(seed.cli.home());
    let running = seed.cli.start_command(command);
    // It says nothing when it has attached, but the system does.
    let status = format!("/proc/{}/status", seed.service.running.id());
    let is_traced = || {
        let status = std::fs::read_to_string(&status).unwrap_or_default();
        status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
    };
    let began = Instant::now();
    while !is_traced() {
        assert!(began.elapsed() < SOON, "strace attaches: {}", running.stderr());
        std::thread::sleep(Duration::from_millis(10));
    }
    running
}

/// Has the next read come from the disk.
fn forget_pages(path: &Path) {
    let file = File::open(path).expect("it is shared");
    file.sync_all().expect("it is ours");
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("it is a file");
}

/// Calls that were made to fail so far.
fn failed(seed: &Seed) -> usize {
    let log = std::fs::read_to_string(seed.cli.path("trace")).unwrap_or_default();
    log.matches("(INJECTED)").count()
}

async fn a_chunk_that_cannot_be_read_is_withdrawn_and_comes_back() -> String {
    let network = Network::builder().start().await;
    let content = Content::of(payload(CHUNKS * CHUNK, 82));
    let seed = Seed::start(&network, "seed", &content, &["file"]).await;
    network.coordinator_counts(content.hash(), 1, 0).await;
    let path = seed.file("file");
    forget_pages(&path);
    // The first read of each thread for the disk: of two or three chunks.
    let failing = failing(&seed, "pread64", &path, "pread64:error=EIO:when=1");
    let ann = network.user("ann");
    let running = start_get(&ann, &content, "20s");
    let part = eventually("the coordinator hears of it", SOON, async || {
        let counts = network.swarm(content.hash()).await;
        // The receiver is a partial holder too.
        if counts.0 == 0 && failed(&seed) > 0 { Ok(seed.status().await) } else { Err(counts) }
    })
    .await;
    failing.terminate();
    let began = Instant::now();
    running.ends(SOON).await.with_code(0);
    content.is_at(&ann.path("a")).await;
    network.coordinator_counts(content.hash(), 1, 0).await;
    let back = began.elapsed();
    let file = seed.status().await;
    assert_eq!(
        (&file["chunks_done"], &file["damaged"]),
        (&CHUNKS.into(), &Value::Array(Vec::new()))
    );
    let unreadable = part["damaged"][0]["unreadable"].as_u64().unwrap_or(0);
    let served = part["chunks_done"].as_u64().unwrap_or(CHUNKS);
    assert!(served + 8 >= CHUNKS, "{part}");
    format!(
        "{} reads failed: {unreadable} of {CHUNKS} chunks withdrawn, {served} served, all back after {:.1} s; the \
         download completed",
        failed(&seed),
        back.as_secs_f64()
    )
}

async fn a_part_that_fails_on_its_way_costs_one_chunk() -> String {
    let network = Network::builder().start().await;
    let content = Content::of(payload(CHUNKS * CHUNK, 83));
    let seed = Seed::start(&network, "seed", &content, &["file"]).await;
    network.coordinator_counts(content.hash(), 1, 0).await;
    // Sending without a copy fails, and so does reading what is missing of the part.
    let calls = "sendfile,pread64";
    let _failing =
        failing(&seed, calls, &seed.file("file"), "sendfile,pread64:error=EIO:when=1..2");
    let mut attempts = 0;
    // Whether parts go out without a copy depends on how fast the last ones went.
    while failed(&seed) == 0 && attempts < 8 {
        attempts += 1;
        let ann = network.user(&format!("ann{attempts}"));
        get(&ann, &content, "20s").await.with_code(0);
        content.is_at(&ann.path("a")).await;
    }
    let failed = failed(&seed);
    assert!(failed > 0, "nothing failed in {attempts} downloads");
    network.coordinator_counts(content.hash(), 1, 0).await;
    format!("{failed} calls failed; the download completed, the seed has the whole file again")
}

/// What the process has read by system calls, in bytes.
fn bytes_read(pid: u32) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).expect("the process runs");
    let read = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    read.and_then(|read| read.parse().ok()).expect("the system counts")
}

const THEIRS: FileHandle = FileHandle(1);

/// Fetches as many chunks over a connection as are asked for, and says of each, several times, that
/// it is wrong.
async fn slanders(
    seed: &Seed,
    content: &Content,
    chunks: impl IntoIterator<Item = u32>,
) -> Handshaken {
    let stranger = RawClient::call(seed.service.address).await.expect("it accepts");
    let mut caller = stranger.handshake(SOON).await;
    caller.opens(content, SOON).await;
    for chunk in chunks {
        let sent = fetch(&mut caller, chunk).await;
        for _ in 0..4 {
            caller.say(PeerMessage::Corrupt { file: THEIRS, chunk: sent }).await;
        }
    }
    caller
}

/// Gets that chunk, or the one that the seed would rather give; answers which.
async fn fetch(caller: &mut Handshaken, chunk: u32) -> u32 {
    caller.asks_for(chunk).await;
    let mut arrived = 0;
    loop {
        match caller.hear(SOON).await.expect("the seed stays") {
            PeerMessage::Data { chunk, bytes, .. } => {
                arrived += bytes.0.len() as u64;
                if arrived == CHUNK {
                    return chunk;
                }
            }
            PeerMessage::Ready { chunk, .. } | PeerMessage::Suggest { chunk, .. }
                if arrived == 0 =>
            {
                caller.asks_for(chunk).await;
            }
            _ => {}
        }
    }
}

async fn false_reports_cost_few_reads_and_withdraw_nothing() -> String {
    let network = Network::builder().start().await;
    let content = Content::of(payload(CHUNKS * CHUNK, 84));
    let seed = Seed::start(&network, "seed", &content, &["file"]).await;
    network.coordinator_counts(content.hash(), 1, 0).await;
    let pid = seed.service.running.id();
    // What serving the same chunks costs, without a word.
    let connections = at_length(4, 40);
    let mut callers = Vec::new();
    let before = bytes_read(pid);
    for _ in 0..connections {
        callers.push(slanders(&seed, &content, std::iter::empty()).await);
    }
    let greetings = bytes_read(pid) - before;
    let before = bytes_read(pid);
    for number in 0..connections {
        let first = number * 16 % 80;
        callers.push(slanders(&seed, &content, first..first + 16).await);
    }
    // Chunks that were never sent, and one past the end, which ends the connection.
    for chunk in 90..97 {
        callers[0].say(PeerMessage::Corrupt { file: THEIRS, chunk }).await;
    }
    callers[1].say(PeerMessage::Corrupt { file: THEIRS, chunk: 97 }).await;
    stays("the file is whole", Duration::from_secs(3), async || {
        is(network.swarm(content.hash()).await, (1, 0))
    })
    .await;
    let read = (bytes_read(pid) - before).saturating_sub(greetings);
    let file = seed.status().await;
    assert_eq!(
        (&file["chunks_done"], &file["damaged"]),
        (&CHUNKS.into(), &Value::Array(Vec::new()))
    );
    // Serving reads each chunk once, and the end of each part a second time.
    let sent = file["sent_bytes"].as_u64().expect("a number");
    assert!(sent >= u64::from(connections) * 16 * CHUNK, "{file}");
    let looks = read.saturating_sub(sent) / CHUNK;
    assert!(
        looks <= 2 * u64::from(connections),
        "{looks} looks, {read} bytes read for {sent} sent"
    );
    let ann = network.user("ann");
    get(&ann, &content, "20s").await.with_code(0);
    content.is_at(&ann.path("a")).await;
    format!(
        "{} false words by {connections} connections: at most {looks} looks beyond what was sent, 0 chunks withdrawn",
        connections * 16 * 4
    )
}

//! Very many files by one command, and a process that may open only a few.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tnet_testkit::{Cli, Content, Network, Node, Running, SOON, eventually, get_args, payload};

use crate::support::case::cases;
use crate::support::process::{descriptors, memory, memory_while_it_runs};
use crate::support::soak::at_length;
use crate::support::wrap::wrapped;

cases![
    83 "very many files by one get, few descriptors" many_files_by_one_get_hold_few_descriptors .measures() .lasts(20);
    83 "the same through a server" many_files_through_a_server_hold_few_descriptors .measures();
    83 "no descriptors left in the middle" a_get_without_descriptors_says_so_and_recovers .lasts(20);
];

/// Bytes of each file.
const LEN: usize = 8192;

/// As long as a hundred thousand files may take.
const PATIENT: Duration = Duration::from_secs(600);

/// How soon it is said that there are no descriptors left.
const SAID_WITHIN: f64 = 10.0;

async fn many_files_by_one_get_hold_few_descriptors() -> String {
    let (files, limit, most) = at_length((2000, 256, 160), (100_000, 1024, 600));
    let network = Network::builder().peer("seed").start().await;
    let cli = network.user("ann");
    share_many(network.peer("seed"), &cli, files).await;
    let get = [
        "get",
        "-i",
        "list",
        "-o",
        "out/",
        "--foreground",
        "--linger",
        "0s",
        "--listen",
        "127.0.0.1:0",
    ];
    let (running, began) = (cli.start_command(limited(limit, &cli, &get)), Instant::now());
    let held = Held::until_the_end(running).await;
    let took = began.elapsed().as_secs_f64();
    are_there(&cli.path("out"), files).await;
    assert!(held.descriptors <= most, "{held:?}");
    // Not a line for each of them.
    assert!(held.lines < files / 4, "{held:?}");
    format!(
        "{files} files in {took:.1} s with {limit} descriptors: at most {} held, {} MiB of memory, {} lines said",
        held.descriptors,
        held.peak_kib / 1024,
        held.lines
    )
}

async fn many_files_through_a_server_hold_few_descriptors() -> String {
    let (files, limit, most) = at_length((600, 256, 160), (20_000, 1024, 600));
    let network = Network::builder().peer("seed").start().await;
    let cli = network.user("ann");
    share_many(network.peer("seed"), &cli, files).await;
    let start = ["start-server", "--json", "--listen", "127.0.0.1:0"];
    let started = cli.start_command(limited(limit, &cli, &start)).ends(SOON).await.with_code(0);
    let server = cli.guard(started.result()["pid"].as_u64());
    let (mut running, began) = (cli.start(["get", "-i", "list", "-o", "out/"]), Instant::now());
    let mut held = 0;
    eventually("all files are there", PATIENT, async || {
        held = held.max(descriptors(server.pid()));
        if running.is_running() { Err(held) } else { Ok(()) }
    })
    .await;
    let _ = running.ends(SOON).await.with_code(0);
    let took = began.elapsed().as_secs_f64();
    are_there(&cli.path("out"), files).await;
    assert!(held <= most, "{held} descriptors");
    let status = cli.run(["status", "--json"]).await.with_code(0).result();
    assert_eq!(status["status"]["files_total"], files);
    format!(
        "{files} files in {took:.1} s: the server with {limit} descriptors held {held}, and has {} MiB of memory",
        memory(server.pid()).peak_kib / 1024
    )
}

async fn a_get_without_descriptors_says_so_and_recovers() -> String {
    let network = Network::builder().peer("seed").start().await;
    let contents = [81, 82, 83].map(|seed| Content::of(payload(LEN as u64, seed)));
    let [recovers, ends, through_server] = &contents;
    let (ann, bob, carl) = (network.user("ann"), network.user("bob"), network.user("carl"));
    let (mut ann_gets, mut bob_gets) = (
        begins_to_wait(&network, &ann, recovers, "120s").await,
        begins_to_wait(&network, &bob, ends, "12s").await,
    );
    let server = carl.server([] as [&str; 0]).await;
    let carl_gets = carl.start(["get", &through_server.hash().to_string(), "-o", "a"]);
    let ids = [ann_gets.id(), bob_gets.id(), server.pid()];
    waits_for_a_holder(&network, through_server).await;
    let before = ids.map(|id| set_limit(id, 8));
    let began = Instant::now();
    for (number, content) in contents.iter().enumerate() {
        network.peer("seed").shares_as(content, &format!("{number}")).await;
    }
    let said =
        |text: &str| (text.contains("ulimit -n") && text.contains("may have 8")).then_some(());
    let said_by = async |what: &str, text: &dyn Fn() -> String| {
        eventually(what, 2 * SOON, async || said(&text()).ok_or_else(text)).await;
        began.elapsed().as_secs_f64()
    };
    let by_get = said_by("get says so", &|| ann_gets.stderr()).await;
    let log = carl.path("state/server.log");
    let by_log =
        said_by("the log says so", &|| std::fs::read_to_string(&log).unwrap_or_default()).await;
    assert!(by_get < SAID_WITHIN && by_log < SAID_WITHIN, "after {by_get} s and {by_log} s");
    assert!(ann_gets.is_running() && bob_gets.is_running());
    let ended = bob_gets.ends(2 * SOON).await.with_code(1);
    assert!(said(&ended.stderr).is_some() && !ended.stderr.contains("no peer"), "{}", ended.stderr);
    set_limit(ids[0], before[0]);
    set_limit(ids[2], before[2]);
    let again = Instant::now();
    let _ = ann_gets.ends(2 * SOON).await.with_code(0);
    recovers.is_at(&ann.path("a")).await;
    let _ = carl_gets.ends(2 * SOON).await.with_code(0);
    through_server.is_at(&carl.path("a")).await;
    format!(
        "said after {by_get:.1} s by get, {by_log:.1} s in a server's log; get ends with 1 and that reason; both whole {:.1} s after there are some again",
        again.elapsed().as_secs_f64()
    )
}

/// What a process held at most.
#[derive(Debug)]
struct Held {
    descriptors: usize,
    peak_kib: u64,
    lines: usize,
}

impl Held {
    /// Waits for the success of a command, and looks at it meanwhile.
    async fn until_the_end(mut running: Running) -> Held {
        let (id, mut most, mut peak_kib) = (running.id(), 0, 0);
        eventually("the command ends", PATIENT, async || {
            if !running.is_running() {
                return Ok(());
            }
            let count = std::fs::read_dir(format!("/proc/{id}/fd")).map(Iterator::count);
            most = most.max(count.unwrap_or(0));
            peak_kib = peak_kib.max(memory_while_it_runs(id).map_or(0, |memory| memory.peak_kib));
            Err(most)
        })
        .await;
        let finished = running.ends(SOON).await.with_code(0);
        let lines = finished.stdout.lines().count() + finished.stderr.lines().count();
        Held { descriptors: most, peak_kib, lines }
    }
}

/// Bytes of one of many files.
fn bytes_of(number: usize) -> Vec<u8> {
    format!("{number:08}").repeat(LEN / 8).into_bytes()
}

/// Has the seed share so many files, and writes the list of them.
async fn share_many(seed: &Node, cli: &Cli, files: usize) {
    let mut list = String::new();
    for number in 0..files {
        let path = seed.path(&format!("{number}"));
        std::fs::write(&path, bytes_of(number)).expect("our own directory");
        let info = seed.share(&path).await.expect("it is there");
        list.push_str(&format!("{}\n", info.hash()));
    }
    std::fs::create_dir(cli.path("out")).expect("our own directory");
    std::fs::write(cli.path("list"), list).expect("our own directory");
}

/// All are there, each with its own bytes.
async fn are_there(out: &Path, files: usize) {
    let mut numbers = vec![false; files];
    for entry in std::fs::read_dir(out).expect("the command made it") {
        let bytes = std::fs::read(entry.expect("readable").path()).expect("readable");
        let number: usize =
            std::str::from_utf8(&bytes[..8]).expect("digits").parse().expect("a number");
        assert!(bytes == bytes_of(number), "the file {number} has other bytes");
        numbers[number] = true;
    }
    assert!(numbers.iter().all(|is_there| *is_there), "some are not there");
}

/// The command with so many descriptors.
fn limited(descriptors: u64, cli: &Cli, args: &[&str]) -> std::process::Command {
    wrapped("prlimit", [&format!("--nofile={descriptors}"), "--"], &cli.command(args))
}

/// `tnet get` of a file without a holder.
async fn begins_to_wait(network: &Network, cli: &Cli, content: &Content, timeout: &str) -> Running {
    let hash = content.hash().to_string();
    let get = get_args(&hash, &["--linger", "0s"]);
    let running = cli.start([&get[..], &["--timeout", timeout]].concat());
    waits_for_a_holder(network, content).await;
    running
}

/// The getter has asked, and was told that there is no holder.
async fn waits_for_a_holder(network: &Network, content: &Content) {
    // Its questions are not counted; after this time it has asked.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    network.coordinator_counts(content.hash(), 0, 0).await;
}

/// Gives a process that runs another limit of descriptors; answers the one before.
fn set_limit(id: u32, descriptors: u64) -> u64 {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw).expect("a process id");
    let maximum = getrlimit(Resource::Nofile).maximum;
    let new = Rlimit { current: Some(descriptors), maximum };
    let before = prlimit(Some(pid), Resource::Nofile, new).expect("a process of our own");
    before.current.unwrap_or(u64::MAX)
}

//! Every command, and every exit code that a user can bring about: the numbers are a promise to
//! scripts.

use std::path::Path;
use std::time::Duration;

use tnet_fileinfo::FileInfo;
use tnet_testkit::{
    Cli, Content, Description, Finished, Network, SOON, eventually, get_args, is, payload,
};
use tokio::net::TcpSocket;

/// 32 chunks of 16 KiB.
const LEN: u64 = 32 * 16 * 1024;

/// A free port: tests must not use the default one.
const LISTEN: [&str; 2] = ["--listen", "127.0.0.1:0"];

/// For commands that wait first, for example for an answer that does not come within 10 s.
const PATIENT: Duration = Duration::from_secs(30);

/// A user who has the description of a content.
async fn user_with_a_description(seed: u64) -> (Network, Cli, Content) {
    let network = Network::builder().start().await;
    let content = Content::of(payload(LEN, seed));
    let cli = network.user_with_info("ann", &content);
    (network, cli, content)
}

/// The failure is on standard error in one line, as the command's own, and says what it has to.
fn says(finished: &Finished, words: &str) {
    let lines: Vec<&str> =
        finished.stderr.lines().filter(|line| line.starts_with("tnet: ")).collect();
    assert!(
        lines.len() == 1 && lines[0].contains(words),
        "{words:?} in one line of {:?}",
        finished.stderr
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_has_help_and_the_help_has_the_exit_codes() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    let help = cli.run(["help"]).await.with_code(0).stdout;
    let commands = [
        "demo",
        "create",
        "verify",
        "show",
        "coordinator",
        "start-server",
        "get",
        "who",
        "status",
        "ls",
        "kill-server",
    ];
    for command in commands {
        assert!(help.contains(&format!("\n  {command} ")), "{command} in {help}");
        let of_command = cli.run(["help", command]).await.with_code(0).stdout;
        assert!(of_command.contains(&format!("Example:\n  tnet {command}")), "{of_command}");
    }
    for code in ["0 ", "3 ", "11 ", "130 "] {
        assert!(help.contains(&format!("\n  {code}")), "{help}");
    }
    assert_eq!(cli.run(["--version"]).await.with_code(0).stdout.lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_usage_is_2() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    let usages: [&[&str]; 6] = [
        &[],
        &["sing"],
        &["get"],
        &["get", "x", "--sideways"],
        &["get", "x", "--timeout", "soon"],
        &["create", "x", "--chunk-size", "17"],
    ];
    for usage in usages {
        let finished = cli.run(usage).await.with_code(2);
        assert!(finished.stdout.is_empty() && !finished.stderr.is_empty(), "{finished:?}");
    }
    says(&cli.run(["create", "/dev/null"]).await.with_code(2), "device");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn create_describes_the_file_and_never_replaces_unasked() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    let content = Content::of(payload(LEN, 1));
    content.write(&cli.path("file")).await;
    let created = cli.run(["create", "file"]).await.with_code(0);
    assert!(created.stdout.contains(&content.hash().to_string()), "{}", created.stdout);
    let info = FileInfo::parse(&std::fs::read(cli.path("file.fileinfo")).expect("written"));
    let info = info.expect("what was written proves itself");
    assert_eq!((info.hash(), info.sums()), (content.hash(), content.info().sums()));
    assert_eq!(info.name().expect("named").as_str(), "file");

    says(&cli.run(["create", "file"]).await.with_code(9), "--overwrite");
    let again = ["create", "file", "--overwrite", "--chunk-size", "64K", "--json"];
    let report = cli.run(again).await.with_code(0).result();
    assert_eq!((&report["chunks"], &report["chunk_size"]), (&8.into(), &65536.into()));
    assert_eq!(report["hash"], content.hash().to_string());
    let info = FileInfo::parse(&std::fs::read(cli.path("file.fileinfo")).expect("written"))
        .expect("proves itself");
    assert_eq!(info.geometry().chunk_count(), 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_file_is_3() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    Content::of(payload(LEN, 2)).write_info(&cli.path("a.fileinfo"));
    says(&cli.run(["create", "nothing"]).await.with_code(3), "nothing");
    says(&cli.run(["verify", "nothing", "a.fileinfo"]).await.with_code(3), "nothing");
    says(
        &cli.run(["get", "nothing.fileinfo", "--foreground"]).await.with_code(3),
        "nothing.fileinfo",
    );
    let into_nowhere = ["get", "a.fileinfo", "-o", "no/such/directory/a", "--foreground"];
    says(&cli.run(into_nowhere.iter().chain(&LISTEN)).await.with_code(3), "directory");
    let dir = ["start-server", "--foreground", "--dir", "nowhere"];
    says(&cli.run(dir.iter().chain(&LISTEN)).await.with_code(3), "nowhere");
    for command in ["status", "ls", "kill-server"] {
        says(&cli.run([command]).await.with_code(3), "no server");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_without_holders_is_4() {
    let (_network, cli, content) = user_with_a_description(3).await;
    let hash = content.hash().to_string();
    for wanted in ["a.fileinfo", &hash] {
        let get = get_args(wanted, &["--timeout", "500ms"]);
        says(&cli.run(get).await.with_code(4), "start-server");
        assert!(!cli.path("a").exists());
        says(&cli.run(["who", wanted]).await.with_code(4), "start-server");
    }
    let _ = cli.run(["who"]).await.with_code(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_cannot_be_reached_is_5() {
    let network = Network::builder().start().await;
    // Bound and never listening: connections are refused, and no other process can take the port.
    let bound = TcpSocket::new_v4().expect("a socket");
    bound.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let refusing = bound.local_addr().expect("bound").to_string();
    let cli = network.user("ann");
    Content::of(payload(LEN, 4)).write_info(&cli.path("a.fileinfo"));
    let get = get_args("a.fileinfo", &["--timeout", "12s", "--coordinator", &refusing]);
    let unreachable = cli.run_within(PATIENT, get).await.with_code(5);
    // As long as the user said, and not less.
    says(&unreachable, &format!("{refusing} did not answer within 12"));
    says(&unreachable, "(Connection refused");
    for who in [&["who"][..], &["who", "a.fileinfo"]] {
        says(
            &cli.run(who.iter().chain(&["--coordinator", &refusing])).await.with_code(5),
            &refusing,
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_content_is_6() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    let content = Content::of(payload(LEN, 5));
    content.write(&cli.path("file")).await;
    content.write_info(&cli.path("file.fileinfo"));
    let right = cli.run(["verify", "file", "file.fileinfo"]).await.with_code(0);
    assert!(right.stdout.contains(&content.hash().to_string()), "{}", right.stdout);

    let mut bytes = content.payload().bytes();
    bytes[3 * 16 * 1024] ^= 1;
    bytes[4 * 16 * 1024] ^= 1;
    bytes[31 * 16 * 1024] ^= 1;
    std::fs::write(cli.path("file"), &bytes).expect("writable");
    says(
        &cli.run(["verify", "file", "file.fileinfo"]).await.with_code(6),
        "3 of 32 chunks wrong (3-4, 31)",
    );
    std::fs::write(cli.path("file"), [&content.payload().bytes()[..], b"x"].concat())
        .expect("writable");
    says(
        &cli.run(["verify", "file", "file.fileinfo"]).await.with_code(6),
        "524289 bytes instead of 524288",
    );

    let json = std::fs::read_to_string(cli.path("file.fileinfo")).expect("written");
    let edited = json.replacen("524288", "524287", 1);
    for (name, text) in [
        ("edited", edited.as_str()),
        ("cut", &json[..json.len() / 2]),
        ("none", "hello"),
        ("empty", ""),
    ] {
        std::fs::write(cli.path(name), text).expect("writable");
        let get = ["get", name, "--foreground"];
        says(&cli.run(get.iter().chain(&LISTEN)).await.with_code(6), name);
        says(&cli.run(["verify", "file", name]).await.with_code(6), name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_description_sent_only_by_false_holders_is_6() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    let content = Content::of(payload(LEN, 6));
    let _forger = network.raw(content.raw_peer().describing(Description::Forged)).await;
    let hash = content.hash().to_string();
    let get = ["get", &hash, "--foreground", "--timeout", "4s"];
    says(&cli.run(get.iter().chain(&LISTEN)).await.with_code(6), &hash);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_the_file_is_7_and_the_same_command_goes_on() {
    let (network, cli, content) = user_with_a_description(7).await;
    let half = network.raw(content.raw_peer().holding(content.chunks(0..16))).await;
    let get = get_args("a.fileinfo", &["--timeout", "1s", "--linger", "0s", "--json"]);
    let stalled = cli.run(&get).await.with_code(7);
    says(&stalled, "16 of 32 chunks missing");
    half.gain(content.chunks(16..32)).await;
    let report = cli.run(&get).await.with_code(0).result();
    assert_eq!(report["bytes_resumed"], LEN / 2);
    content.is_at(&cli.path("a")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_does_not_take_the_file_is_8() {
    let (network, cli, content) = user_with_a_description(8).await;
    let seed = network.raw_seed(&content).await;
    // A limit of the shell's stands for the end of the disk: no privilege is needed for it.
    let tnet = cli.command(get_args("a.fileinfo", &[]));
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 512; exec \"$0\" \"$@\""]);
    shell.arg(tnet.get_program()).args(tnet.get_args()).current_dir(cli.home()).env_clear();
    shell.envs(tnet.get_envs().filter_map(|(name, value)| value.map(|value| (name, value))));
    let full = cli.start_command(shell).ends(SOON).await.with_code(8);
    says(&full, "");
    assert_eq!(seed.counters().requests_in_all(), 0, "not one chunk was asked for");
    assert!(!cli.path("a").exists() && !cli.path("a.partial").exists(), "nothing is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_existing_file_is_9_and_stays() {
    let (network, cli, content) = user_with_a_description(9).await;
    std::fs::write(cli.path("a"), "mine").expect("writable");
    let get = |more: &[&'static str]| get_args("a.fileinfo", &[&["--linger", "0s"], more].concat());
    says(&cli.run(get(&[])).await.with_code(9), "--overwrite");
    assert_eq!(std::fs::read(cli.path("a")).expect("there"), b"mine");
    let _seed = network.raw_seed(&content).await;
    let _ = cli.run(get(&["--overwrite"])).await.with_code(0);
    content.is_at(&cli.path("a")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_right_already_is_not_fetched_again() {
    let (network, cli, content) = user_with_a_description(12).await;
    let seed = network.raw_seed(&content).await;
    let _ = cli.run(get_args("a.fileinfo", &["--linger", "0s"])).await.with_code(0);
    let mut old = std::fs::read(cli.path("a")).expect("there");
    old[0] ^= 1;
    std::fs::write(cli.path("old"), &old).expect("writable");
    std::fs::write(cli.path("a"), &old[..old.len() / 2]).expect("writable");
    let asked = seed.counters().requests_in_all();
    let get = ["--linger", "0s", "--update", "--reuse", "old", "--json"];
    let report = cli.run(get_args("a.fileinfo", &get)).await.with_code(0).result();
    assert_eq!(seed.counters().requests_in_all() - asked, 1, "the first chunk is another");
    assert!(report["bytes_resumed"].as_u64().is_some_and(|bytes| bytes > LEN * 9 / 10));
    content.is_at(&cli.path("a")).await;
    assert_eq!(std::fs::read(cli.path("old")).expect("there"), old);
    std::fs::remove_file(cli.path("a")).expect("ours");
    let lacking = get_args("a.fileinfo", &["--reuse", "none"]);
    says(&cli.run(lacking).await.with_code(3), "cannot take anything from");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forbidden_action_is_10() {
    let (_network, cli, _) = user_with_a_description(10).await;
    // Writing through this link would let another user choose what is overwritten.
    std::fs::write(cli.path("precious"), "precious").expect("writable");
    std::os::unix::fs::symlink("precious", cli.path("a.partial")).expect("writable");
    says(&cli.run(get_args("a.fileinfo", &[])).await.with_code(10), "a.partial");
    assert_eq!(std::fs::read(cli.path("precious")).expect("there"), b"precious");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_description_of_another_version_is_11() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    let json = Content::of(payload(LEN, 11)).info().to_json();
    let newer = json.replacen("\"tnet_fileinfo\": 1", "\"tnet_fileinfo\": 2", 1);
    assert_ne!(newer, json);
    std::fs::write(cli.path("newer.fileinfo"), newer).expect("writable");
    says(
        &cli.run(["get", "newer.fileinfo", "--foreground"].iter().chain(&LISTEN))
            .await
            .with_code(11),
        "version 2",
    );
    says(&cli.run(["verify", "newer.fileinfo", "newer.fileinfo"]).await.with_code(11), "version 2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partial_file_that_disappears_is_1() {
    let (network, cli, content) = user_with_a_description(12).await;
    let seed = network.raw(content.raw_peer().allowing(10)).await;
    let running = cli.start(get_args("a.fileinfo", &[]));
    seed.counters_are("ten chunks went out", SOON, |counters| counters.served_in_all() == 10).await;
    std::fs::remove_file(cli.path("a.partial")).expect("it is there");
    seed.allow_all().await;
    says(&running.ends(SOON).await.with_code(1), "removed or changed");
    assert!(!cli.path("a").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_machines_of_the_manual_walk_get_the_file_through_servers() {
    let network = Network::builder().start().await;
    let home = |name: &str| -> Cli { network.user(name) };
    let (hub, seed, ann) = (home("hub"), home("seed"), home("ann"));
    let mut coordinator = hub.start(["coordinator", "--json", "--listen", "127.0.0.1:0"]);
    let address = coordinator
        .prints("the coordinator is ready", SOON, |text| {
            let event: serde_json::Value = serde_json::from_str(text.lines().next()?).ok()?;
            Some(event["listen"].as_str()?.parse().expect("an address"))
        })
        .await;
    let (seed, ann) = (
        Cli::at(seed.home()).with_coordinator(address),
        Cli::at(ann.home()).with_coordinator(address),
    );
    let content = Content::of(payload(LEN, 13));
    std::fs::create_dir(seed.path("images")).expect("writable");
    content.write(&seed.path("images/debian.iso")).await;
    let _ = seed.run(["create", "images/debian.iso"]).await.with_code(0);
    let _server = seed.server(["--dir", "images"]).await;
    std::fs::copy(seed.path("images/debian.iso.fileinfo"), ann.path("debian.iso.fileinfo"))
        .expect("writable");
    let got = ann.run(["get", "debian.iso.fileinfo", "--json"].iter().chain(&LISTEN)).await;
    let started =
        got.json_lines().into_iter().find(|event| event["event"] == "started").expect("it started");
    let _anns = ann.guard(started["pid"].as_u64());
    let _ = got.with_code(0);
    content.is_at(&ann.path("debian.iso")).await;
    coordinator.terminate();
    let _ = coordinator.ends(SOON).await.with_code(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_sees_the_holders_of_a_file_and_that_a_dead_peer_is_dropped() {
    let interval = Duration::from_millis(300);
    let mut network = Network::builder().peers("seed", 2).report_interval(interval).start().await;
    let content = Content::of(payload(LEN, 15));
    let cli = network.user_with_info("ann", &content);
    for seed in network.peers() {
        seed.shares(&content).await;
    }
    let both = asked_until(&cli, 2).await;
    let listed: Vec<&str> = both["holders"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|h| h["address"].as_str())
        .collect();
    for seed in network.peers() {
        assert!(listed.contains(&seed.local_addr().to_string().as_str()), "{both}");
    }
    let shown = cli.run(["who", "a.fileinfo"]).await.with_code(0).stdout;
    assert!(
        shown.starts_with("2 peers have the whole file, 0 a part") && shown.lines().count() == 3,
        "{shown}"
    );
    let name = network.peers().next().expect("there are two").name().to_owned();
    network.kill(&name);
    asked_until(&cli, 1).await;
    // The commands that asked left no entry: only the seed that runs is in the table.
    let coordinator = network.coordinator_handle();
    eventually("only one peer is in the table", SOON, async || {
        is(coordinator.stats().await.expect("it runs").table.peers, 1)
    })
    .await;
}

/// What `who` answers when it knows so many holders.
async fn asked_until(cli: &Cli, full: u64) -> serde_json::Value {
    eventually("the coordinator knows the holders", SOON, async || {
        let result = cli.run(["who", "a.fileinfo", "--json"]).await.result();
        if result["full"] == full { Ok(result) } else { Err(result) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_needs_nothing_verifies_every_copy_and_leaves_nothing() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    std::fs::create_dir(cli.path("tmp")).expect("writable");
    let demo = |args: &[&str]| {
        let mut command = cli.command(args);
        command.env_remove("TNET_COORDINATOR").env("TMPDIR", cli.path("tmp"));
        cli.start_command(command)
    };
    let shown = demo(&["demo", "--size", "8M"]).ends(PATIENT).await.with_code(0);
    assert!(shown.stdout.contains("verified: 3 of 3 copies are right"), "{}", shown.stdout);
    assert!(is_empty(&cli.path("tmp")));

    let content = Content::of(payload(LEN, 14));
    content.write(&cli.path("mine")).await;
    let report = demo(&["demo", "mine", "--json"]).ends(PATIENT).await.with_code(0).result();
    assert_eq!(report["hash"], content.hash().to_string());
    let downloads = report["downloads"].as_array().expect("a list");
    assert!(
        downloads.len() == 3 && downloads.iter().all(|download| download["verified"] == true),
        "{report}"
    );
    content.is_at(&cli.path("mine")).await;
    assert!(is_empty(&cli.path("tmp")));

    let interrupted = demo(&["demo", "--size", "256M"]);
    eventually("the demo is at work", SOON, async || {
        if is_empty(&cli.path("tmp")) { Err(()) } else { Ok(()) }
    })
    .await;
    interrupted.interrupt();
    says(&interrupted.ends(PATIENT).await.with_code(130), "interrupted");
    assert!(is_empty(&cli.path("tmp")));
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).expect("readable").next().is_none()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_may_open_as_many_descriptors_as_the_system_allows() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    // As many systems start processes: a low soft limit and a higher hard one.
    let inner = cli.command(["start-server", "--json", "--listen", "127.0.0.1:0"]);
    let mut command = std::process::Command::new("prlimit");
    command.args(["--nofile=256:2048", "--"]).arg(inner.get_program()).args(inner.get_args());
    command.current_dir(cli.home()).env_clear();
    command.envs(inner.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let started = cli.start_command(command).ends(SOON).await.with_code(0);
    let server = cli.guard(started.result()["pid"].as_u64());
    let limits =
        std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).expect("it runs");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .expect("every process has that limit");
    let soft = line.split_whitespace().nth(3);
    assert_eq!(soft, Some("2048"), "{line}");
}

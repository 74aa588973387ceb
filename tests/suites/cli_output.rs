//! What the command writes where: for people, for scripts, for pipes that close, for terminals
//! without colour.

use std::fs::File;
use std::io::Read;
use std::num::NonZeroU32;
use std::process::Stdio;
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;
use tnet_testkit::{Behaviour, Cli, Content, Network, Running, SOON, eventually, is, payload};
use tokio::task::spawn_blocking;

/// 128 chunks of 16 KiB.
const LEN: u64 = 2 * 1024 * 1024;

async fn described(cli: &Cli) -> Content {
    let content = Content::of(payload(LEN, 1));
    content.write(&cli.path("file")).await;
    content.write_info(&cli.path("file.fileinfo"));
    content
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_json_every_line_is_an_event_and_the_last_is_the_result() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    let content = described(&cli).await;
    let _seed = network.raw_seed(&content).await;
    let listen = ["--listen", "127.0.0.1:0"];
    let commands: [(&str, &[&str], i32); 9] = [
        ("create", &["create", "file", "-o", "new.fileinfo"], 0),
        ("create", &["create", "nothing"], 3),
        ("verify", &["verify", "file", "file.fileinfo"], 0),
        ("verify", &["verify", "file.fileinfo", "file.fileinfo"], 6),
        ("get", &["get", "file.fileinfo", "-o", "copy", "--foreground", "--linger", "0s"], 0),
        ("get", &["get", "nothing", "--foreground"], 3),
        ("ls", &["ls"], 3),
        ("status", &["status"], 3),
        ("demo", &["demo", "--size", "1M"], 0),
    ];
    for (name, args, code) in commands {
        let finished = cli.run(args.iter().chain(&listen).chain(&["--json"])).await.with_code(code);
        for event in finished.json_lines() {
            assert_eq!(event["v"], 1, "{event}");
            assert!(event["event"].is_string(), "{event}");
        }
        let results =
            finished.json_lines().into_iter().filter(|event| event["event"] == "result").count();
        assert_eq!(results, 1, "{name} gives one result");
        let result = finished.result();
        assert_eq!(
            (&result["command"], &result["ok"]),
            (&Value::from(name), &Value::from(code == 0)),
            "{result}"
        );
        match code {
            0 => assert!(result.get("error").is_none(), "{result}"),
            _ => {
                assert_eq!(result["error"]["exit_code"], code, "{result}");
                assert!(
                    result["error"]["message"].as_str().is_some_and(|text| !text.contains('\n')),
                    "{result}"
                );
                assert!(result["error"]["kind"].is_string(), "{result}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_usage_with_json_is_a_result_too() {
    let network = Network::builder().start().await;
    let finished = network.user("ann").run(["get", "x", "--sideways", "--json"]).await.with_code(2);
    let result = finished.result();
    assert_eq!((&result["ok"], &result["error"]["exit_code"]), (&false.into(), &2.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipe_that_closes_is_no_reason_to_panic_or_to_leave_work_undone() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    described(&cli).await;
    let commands: [&[&str]; 5] = [
        &["help"],
        &["--version"],
        &["create", "file", "-o", "piped.fileinfo"],
        &["create", "file", "-o", "piped json.fileinfo", "--json"],
        &["verify", "file", "file.fileinfo"],
    ];
    for args in commands {
        let mut command = cli.command(args);
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let (mut errors, errors_writer) = std::io::pipe().expect("a pipe");
        // The output is never read.
        drop(reader);
        let mut child =
            command.stdout(writer).stderr(errors_writer).spawn().expect("the command starts");
        // The command keeps its own ends of the pipes for as long as it is there.
        drop(command);
        let waited = spawn_blocking(move || {
            let mut text = String::new();
            errors
                .read_to_string(&mut text)
                .map(|_| text)
                .and_then(|text| Ok((text, child.wait()?)))
        });
        let (text, status) = tnet_testkit::within("the command ends", SOON, waited)
            .await
            .expect("no panic")
            .expect("readable");
        assert_eq!(status.code(), Some(0), "{args:?}: {text}");
        assert!(text.is_empty(), "{args:?}: {text}");
    }
    assert!(cli.path("piped.fileinfo").exists() && cli.path("piped json.fileinfo").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipe_from_the_command_that_starts_a_server_closes_when_that_command_ends() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    let mut command = cli.command(["start-server", "--json", "--listen", "127.0.0.1:0"]);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts");
    let (mut out, mut err) =
        (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let read = spawn_blocking(move || {
        let (mut text, mut errors) = (String::new(), String::new());
        out.read_to_string(&mut text)
            .and_then(|_| err.read_to_string(&mut errors))
            .map(|_| (text, errors))
    });
    let (text, errors) = tnet_testkit::within("both pipes close", SOON, read)
        .await
        .expect("no panic")
        .expect("readable");
    let result: Value =
        serde_json::from_str(text.lines().last().unwrap_or_default()).expect("a result");
    let server = cli.guard(result["pid"].as_u64());
    let status = spawn_blocking(move || child.wait()).await.expect("no panic").expect("our child");
    assert!(status.success(), "{errors}");
    assert!(server.is_running());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipe_gets_no_escape_sequences() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    let content = described(&cli).await;
    let _seed = network.raw_seed(&content).await;
    let verbose = [&GET[..9], &["-vv"]].concat();
    let commands: [&[&str]; 4] =
        [&["help", "get"], &["demo", "--size", "4M"], &verbose, &["get", "--sideways"]];
    for args in commands {
        let finished = cli.run(args).await;
        assert!(
            !finished.stdout.contains('\x1b') && !finished.stderr.contains('\x1b'),
            "{finished:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_gets_bars_and_with_no_color_none() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    assert!(on_a_terminal(&cli, &[("TERM", "xterm")]).await.contains("\x1b["), "bars move");
    let plain = on_a_terminal(&cli, &[("TERM", "xterm"), ("NO_COLOR", "1")]).await;
    assert!(!plain.contains('\x1b'), "{plain:?}");
}

/// What a terminal on standard error gets of the demo.
async fn on_a_terminal(cli: &Cli, environment: &[(&str, &str)]) -> String {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&master).expect("a terminal of our own");
    unlockpt(&master).expect("a terminal of our own");
    let name = ptsname(&master, Vec::new()).expect("a terminal has a name");
    let slave = File::options()
        .read(true)
        .write(true)
        .open(name.to_str().expect("plain ASCII"))
        .expect("it is there");
    let mut command = cli.command(["demo", "--size", "32M"]);
    command.envs(environment.iter().copied()).stdout(Stdio::null()).stderr(slave);
    let mut child = command.spawn().expect("the command starts");
    // Ours would keep the terminal open for ever.
    drop(command);
    let mut master = File::from(master);
    let seen = spawn_blocking(move || {
        let mut seen = Vec::new();
        // Ends with an error when the last one on the other side has closed it.
        let _ = master.read_to_end(&mut seen);
        seen
    });
    let seen = tnet_testkit::within("the demo ends", Duration::from_secs(30), seen)
        .await
        .expect("no panic");
    eventually("the demo has ended", SOON, async || {
        let ended = child.try_wait().expect("our child");
        ended.filter(|status| status.success()).map(|_| ()).ok_or(ended)
    })
    .await;
    String::from_utf8_lossy(&seen).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quiet_is_quiet_except_about_errors() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    described(&cli).await;
    let quiet = cli.run(["verify", "file", "file.fileinfo", "-q"]).await.with_code(0);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    let failed = cli.run(["verify", "file.fileinfo", "file.fileinfo", "-q"]).await.with_code(6);
    assert_eq!((failed.stdout.as_str(), failed.stderr.lines().count()), ("", 1));
}

/// A download in its own process, which ends as soon as the file is whole.
const GET: [&str; 10] = [
    "get",
    "file.fileinfo",
    "-o",
    "copy",
    "--foreground",
    "--linger",
    "0s",
    "--listen",
    "127.0.0.1:0",
    "--json",
];

/// The shares of a result's time, in seconds: wire, peers, disk, verification. They sum to all of
/// it.
fn shares(result: &Value) -> [f64; 4] {
    let share =
        |name: &str| result["time"][name].as_f64().unwrap_or_else(|| panic!("{name} in {result}"));
    let shares =
        ["wire_seconds", "peers_seconds", "disk_seconds", "verification_seconds"].map(share);
    let (sum, total) = (shares.iter().sum::<f64>(), result["seconds"].as_f64().expect("a number"));
    assert!((sum - total).abs() < 1e-6, "{sum} of {total} s in {result}");
    assert!(shares.iter().all(|share| *share >= 0.0), "{result}");
    shares
}

/// Lets a download wait for so long, by its own clock.
const WAIT: f64 = 1.2;

async fn has_waited(download: &mut Running) {
    let waited =
        |event: &Value| event["event"] == "progress" && event["seconds"].as_f64() >= Some(WAIT);
    let seen = |text: &str| {
        let mut events = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        events.any(|event| waited(&event)).then_some(())
    };
    download.prints("a download that waited", SOON, seen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_line_of_a_download_says_where_its_time_went() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    let content = described(&cli).await;
    let _seed = network.raw_seed(&content).await;
    let result = cli.run(GET).await.with_code(0).result();
    let [wire, ..] = shares(&result);
    assert!(wire > 0.0, "{result}");
    assert!(result["verify_busy_seconds"].as_f64() > Some(0.0), "128 chunks were hashed: {result}");

    std::fs::remove_file(cli.path("copy")).expect("it is there");
    let shown = cli.run(&GET[..GET.len() - 1]).await.with_code(0).stdout;
    let last = shown.lines().last().unwrap_or_default();
    let (_, time) = last.split_once(" wasted; time: ").unwrap_or_else(|| panic!("{last}"));
    let percent = |part: &str| part.split_once(" % ").and_then(|(percent, _)| percent.parse().ok());
    let percents: Option<Vec<u64>> = time.split(", ").map(percent).collect();
    let percents = percents.unwrap_or_else(|| panic!("{last}"));
    assert_eq!((percents.len(), percents.iter().sum()), (4, 100), "{last}");

    // Once more: it is there, so looking at it is all that was done.
    let result = cli.run(GET).await.with_code(0).result();
    let [wire, peers, disk, _] = shares(&result);
    assert!((wire + peers + disk).abs() < 1e-9, "{result}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_a_holder_is_time_of_the_peers() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    let content = described(&cli).await;
    let mut download = cli.start(GET);
    has_waited(&mut download).await;
    let _seed = network.raw_seed(&content).await;
    let result = download.ends(SOON).await.with_code(0).result();
    let [_, peers, ..] = shares(&result);
    assert!(peers >= WAIT, "{result}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_a_busy_holder_is_time_of_the_peers() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    let content = described(&cli).await;
    let seed = network.raw(content.raw_peer().allowing(0)).await;
    let mut download = cli.start(GET);
    has_waited(&mut download).await;
    seed.allow_all().await;
    let result = download.ends(SOON).await.with_code(0).result();
    let [_, peers, ..] = shares(&result);
    assert!(peers >= WAIT * 0.8, "all but the moments of asking: {result}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_sender_is_time_of_the_wire() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    let content = described(&cli).await;
    let a_second_and_more = NonZeroU32::new(1_500_000).expect("not zero");
    let drip = Behaviour::Drips { bytes_per_second: a_second_and_more };
    let _seed = network.raw(content.raw_peer().behaving(drip)).await;
    let result = cli.run(GET).await.with_code(0).result();
    let [wire, ..] = shares(&result);
    assert!(wire >= 1.0, "{result}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seed_says_how_many_copies_of_a_file_it_has_sent() {
    let network = Network::builder().peer("bob").start().await;
    let cli = network.user("ann");
    let content = Content::of(payload(LEN + 5, 1));
    std::fs::create_dir(cli.path("shared")).expect("writable");
    content.write(&cli.path("shared/file")).await;
    let _server = cli.server(["--dir", "shared"]).await;
    network.coordinator_counts(content.hash(), 1, 0).await;
    let before = cli.run(["status"]).await.with_code(0).stdout;
    assert!(
        before.contains("sent nothing") && before.contains("0 B sent, 0 B received"),
        "{before}"
    );

    network.peer("bob").fetches(&content).await;
    // The seed hears of the end of its last chunk about when bob does.
    let status = eventually("a copy was sent", SOON, async || {
        let status = cli.run(["status", "--json"]).await.with_code(0).result();
        match status["status"]["files"][0]["sent_bytes"].as_u64() >= Some(LEN + 5) {
            true => Ok(status),
            false => Err(status),
        }
    })
    .await;
    let file = &status["status"]["files"][0];
    assert!(file["sent_copies"].as_f64() >= Some(1.0), "{status}");
    assert_eq!(status["status"]["sent_bytes"], file["sent_bytes"], "it is the only file: {status}");
    assert_eq!(status["status"]["received_bytes"], 0, "{status}");
    let shown = cli.run(["status"]).await.with_code(0).stdout;
    assert!(shown.contains("sent 1.0") && shown.contains(" copies (2 MiB)"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unwritable_output_fails_every_command() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    std::fs::write(cli.path("file"), "content").expect("writable");
    let _server = cli.server::<&str>([]).await;
    for args in [
        &["status"][..],
        &["status", "--json"],
        &["status", "--watch"],
        &["ls", "--json"],
        &["limit"],
        &["config", "show"],
        &["create", "file", "--overwrite"],
        &["completions", "bash"],
        &["--help"],
        &["get", "--help"],
        &["--version"],
    ] {
        let mut command = cli.command(args);
        let full = File::options().write(true).open("/dev/full").expect("every Linux has it");
        command.stdout(full).stderr(Stdio::piped());
        let output = spawn_blocking(move || command.output()).await.expect("no panic");
        let output = output.expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(8), "{args:?}: {said}");
        assert!(said.contains("cannot write to stdout"), "{args:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_cannot_be_written_stops_nothing() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    std::fs::create_dir(cli.path("state")).expect("writable");
    // A directory stands where the log would be; to root everything else can be written.
    std::fs::create_dir(cli.path("state/server.log")).expect("writable");
    let started = cli.run(["start-server", "--listen", "127.0.0.1:0"]).await.with_code(0);
    assert_eq!(started.stderr.matches("server.log").count(), 1, "{}", started.stderr);
    let status = cli.run(["status", "--json"]).await.with_code(0).result();
    let _server = cli.guard(status["pid"].as_u64());
    // Nor does a full disk under stderr.
    let mut command =
        cli.command(["start-server", "--foreground", "-v", "--listen", "127.0.0.1:0"]);
    command.env("TNET_STATE_DIR", cli.path("other"));
    let full = File::options().write(true).open("/dev/full").expect("every Linux has it");
    let mut child = command.stdout(Stdio::null()).stderr(full).spawn().expect("it starts");
    eventually("it answers", SOON, async || {
        let asked = cli.run(["status", "--state-dir", "other"]).await;
        is(asked.code, Some(0))
    })
    .await;
    let _ = cli.run(["kill-server", "--state-dir", "other"]).await.with_code(0);
    assert!(child.wait().expect("our child").success());
}

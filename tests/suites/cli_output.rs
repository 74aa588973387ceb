//! What the command writes where: for people, for scripts, for pipes that close, for terminals without colour.

use std::fs::File;
use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;
use tnet_testkit::{Cli, Content, Network, SOON, eventually, payload};
use tokio::task::spawn_blocking;

/// 32 chunks of 64 KiB.
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
        let results = finished.json_lines().into_iter().filter(|event| event["event"] == "result").count();
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
        // Nobody ever reads.
        drop(reader);
        let mut child = command.stdout(writer).stderr(errors_writer).spawn().expect("the command starts");
        // The command keeps its own ends of the pipes for as long as it is there.
        drop(command);
        let waited = spawn_blocking(move || {
            let mut text = String::new();
            errors.read_to_string(&mut text).map(|_| text).and_then(|text| Ok((text, child.wait()?)))
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
    let (mut out, mut err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let read = spawn_blocking(move || {
        let (mut text, mut errors) = (String::new(), String::new());
        out.read_to_string(&mut text).and_then(|_| err.read_to_string(&mut errors)).map(|_| (text, errors))
    });
    let (text, errors) =
        tnet_testkit::within("both pipes close", SOON, read).await.expect("no panic").expect("readable");
    let result: Value = serde_json::from_str(text.lines().last().unwrap_or_default()).expect("a result");
    let server = cli.guard(result["pid"].as_u64());
    let status = spawn_blocking(move || child.wait()).await.expect("no panic").expect("our child");
    assert!(status.success(), "{errors}");
    assert!(server.is_running());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_a_terminal_gets_no_escape_sequences() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    let content = described(&cli).await;
    let _seed = network.raw_seed(&content).await;
    let commands: [&[&str]; 4] = [
        &["help", "get"],
        &["demo", "--size", "4M"],
        &[
            "get",
            "file.fileinfo",
            "-o",
            "copy",
            "--foreground",
            "--linger",
            "0s",
            "-vv",
            "--listen",
            "127.0.0.1:0",
        ],
        &["get", "--sideways"],
    ];
    for args in commands {
        let finished = cli.run(args).await;
        assert!(!finished.stdout.contains('\x1b') && !finished.stderr.contains('\x1b'), "{finished:?}");
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
    let seen = tnet_testkit::within("the demo ends", Duration::from_secs(30), seen).await.expect("no panic");
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

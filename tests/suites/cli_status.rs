//! What `tnet status` says of a server at work, once and again and again.

use std::fs::File;
use std::io::Read;
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::Value;
use tnet_testkit::{Cli, Content, Network, RawPeer, Running, SOON, Server, eventually, payload};
use tokio::task::spawn_blocking;

/// 32 chunks of 16 KiB.
const LEN: u64 = 32 * 16 * 1024;

/// The server and what it downloads, of which no peer has more than half.
async fn half_a_download(network: &Network, cli: &Cli) -> (RawPeer, Server, Running) {
    let content = Content::of(payload(LEN, 1));
    content.write_info(&cli.path("file.fileinfo"));
    let half = network.raw(content.raw_peer().holding(content.chunks(0..16))).await;
    let server = cli.server(Vec::<&str>::new()).await;
    let download = cli.start(["get", "file.fileinfo", "-o", "copy", "--timeout", "0"]);
    eventually("half of it is here", SOON, async || {
        let status = cli.run(["status", "--json"]).await.with_code(0).result();
        if status["status"]["files"][0]["chunks_done"] == 16 { Ok(()) } else { Err(status) }
    })
    .await;
    (half, server, download)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_shows_where_the_chunks_of_a_download_are_and_what_is_in_use() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    let (half, _server, _download) = half_a_download(&network, &cli).await;
    let shown = cli.run(["status"]).await.with_code(0).stdout;
    assert!(shown.is_ascii(), "a pipe, and no locale: {shown}");
    let map = format!("\n    [{}{}]\n", "#".repeat(16), " ".repeat(16));
    assert!(shown.contains("\n1 download\n") && shown.contains(&map), "{shown}");
    assert!(
        shown.contains("\n1 connected peer ") && shown.contains(" of 1000 connections, "),
        "{shown}"
    );

    let status = cli.run(["status", "--json"]).await.with_code(0).result();
    let status = &status["status"];
    let map = &status["files"][0]["chunk_map"];
    let sum = |name: &str| {
        map[name].as_array().into_iter().flatten().filter_map(Value::as_u64).sum::<u64>()
    };
    assert_eq!((sum("chunks"), sum("stored"), sum("under_way")), (32, 16, 0), "{map}");
    assert_eq!((&status["files_total"], &status["downloads_total"]), (&1.into(), &1.into()));
    assert_eq!(status["bounds"]["connections"]["used"], 1);
    assert_eq!(status["peers"][0]["address"], half.address().to_string());
    assert!(status["peers"][0]["round_trip"].is_object(), "it was called: {status}");
    assert!(status["coordinator_contact"]["last_report"].is_object(), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watched_status_goes_on_until_it_is_interrupted() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    let _server = cli.server(Vec::<&str>::new()).await;
    let mut watching = cli.start(["status", "--watch", "100ms"]);
    let pages = |text: &str| (text.split("\n\nserver ").count() >= 3).then_some(());
    watching.prints("three pictures with a line between them", SOON, pages).await;
    watching.interrupt();
    let ended = watching.ends(SOON).await.with_code(0);
    assert!(ended.stdout.starts_with("server ") && ended.stderr.is_empty(), "{ended:?}");
    assert!(!ended.stdout.contains('\x1b'), "a pipe is no terminal: {}", ended.stdout);

    let mut watching = cli.start(["status", "--watch=100ms", "--json"]);
    watching.prints("three events", SOON, |text| (text.lines().count() >= 3).then_some(())).await;
    watching.interrupt();
    let ended = watching.ends(SOON).await.with_code(0);
    let (events, result) = (ended.json_lines(), ended.result());
    let statuses =
        events.iter().filter(|event| event["event"] == "status" && event["status"].is_object());
    assert_eq!(
        (statuses.count(), &result["shown"]),
        (events.len() - 1, &(events.len() - 1).into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watched_status_says_when_the_server_ends() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    let none = cli.run(["status", "--watch"]).await.with_code(3);
    assert!(none.stdout.is_empty() && none.stderr.contains("start-server"), "{none:?}");

    let server = cli.server(Vec::<&str>::new()).await;
    let mut watching = cli.start(["status", "--watch", "100ms"]);
    watching.prints("a picture", SOON, |text| text.contains("server ").then_some(())).await;
    let _ = cli.run(["kill-server"]).await.with_code(0);
    let ended = watching.ends(SOON).await.with_code(3);
    assert_eq!(ended.stderr, format!("tnet: the server, pid {}, ended\n", server.pid()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watched_status_ends_with_its_reader() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    let _server = cli.server(Vec::<&str>::new()).await;
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = cli.command(["status", "--watch", "100ms"]);
    let mut child =
        command.stdout(writer).stderr(Stdio::null()).spawn().expect("the command starts");
    drop((command, reader));
    let ended = spawn_blocking(move || child.wait());
    let status =
        tnet_testkit::within("it ends", SOON, ended).await.expect("no panic").expect("our child");
    assert!(status.success(), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watched_status_fits_its_terminal_and_leaves_it_as_it_was() {
    let network = Network::builder().start().await;
    let cli = network.user("ann");
    let _server = cli.server(Vec::<&str>::new()).await;
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&master).expect("a terminal of our own");
    unlockpt(&master).expect("a terminal of our own");
    let size = Winsize { ws_row: 6, ws_col: 30, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&master, size).expect("a terminal has a size");
    let name = ptsname(&master, Vec::new()).expect("a terminal has a name");
    let slave = File::options().read(true).write(true).open(name.to_str().expect("plain ASCII"));
    let mut command = cli.command(["status", "--watch", "100ms"]);
    command.env("TERM", "xterm").env("LANG", "C.UTF-8").stdout(slave.expect("it is there"));
    let mut child = command.stderr(Stdio::null()).spawn().expect("the command starts");
    // Ours would keep the terminal open for ever.
    drop(command);
    let pid = rustix::process::Pid::from_child(&child);
    let seen = spawn_blocking(move || {
        let (mut master, mut seen, mut part) = (File::from(master), Vec::new(), [0; 4096]);
        // Reading ends with an error when the last one on the other side has closed it.
        while let Ok(len @ 1..) = master.read(&mut part) {
            seen.extend_from_slice(&part[..len]);
            if seen.windows(3).filter(|bytes| bytes == b"\x1b[H").count() == 4 {
                // Fails if the signal came before, which is as good.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
            }
        }
        seen
    });
    let seen = tnet_testkit::within("it ends", SOON, seen).await.expect("no panic");
    let status = spawn_blocking(move || child.wait()).await.expect("no panic").expect("our child");
    assert!(status.success(), "{status}");
    let seen = String::from_utf8(seen).expect("text");
    assert!(seen.starts_with("\x1b[?1049h") && seen.ends_with("\x1b[?1049l"), "{seen:?}");
    let pictures: Vec<&str> = seen.split("\x1b[H").skip(2).collect();
    assert!(pictures.len() >= 3, "{seen:?}");
    for picture in pictures {
        let lines: Vec<&str> = picture.split('\n').collect();
        assert_eq!(lines.len(), 6, "{picture:?}");
        assert!(
            lines[0].contains("server       pid ") && lines[5].contains(" more lines"),
            "{picture:?}"
        );
    }
}
